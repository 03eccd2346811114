/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --dry-run: commands that change nothing in the chip are sent, so that what depends on the chip's
 * state is right; the others are shown and answered 9000 in its place. Keys in the clear are shown
 * as stars.
 */
#include "config/tool.h"

#include "wire/apdu.h"

#include <stdio.h>
#include <string.h>

enum { PLAIN_PAIR_LEN = A71CH_SCALAR_LEN + A71CH_POINT_LEN, PLAIN_KEY_P2 = 0x01 };

static bool
changes_nothing(const struct apdu *cmd)
{
    switch (cmd->ins) {
    case INS_PAIR_GET:
    case INS_PUB_GET:
    case INS_PUB_VERIFY:
    case INS_COUNTER_GET:
    case INS_GP_GET:
    case INS_MODULE_GET:
    case INS_RANDOM:
    case INS_SHA256:
    case INS_SELECT:
        return true;
    default:
        return false;
    }
}

/* How many bytes at the front of the data are a key in the clear. */
static size_t
secret_len(const struct apdu *cmd)
{
    switch (cmd->ins) {
    case INS_PAIR_SET:
        return cmd->data.len == PLAIN_PAIR_LEN ? A71CH_SCALAR_LEN : 0;
    case INS_CONFIG_SET:
    case INS_SYM_SET:
        return cmd->p2 == PLAIN_KEY_P2 ? cmd->data.len : 0;
    case INS_PUT_KEY:
        return cmd->data.len;
    default:
        return 0;
    }
}

static void
show(struct span cmd, size_t secret)
{
    struct rd r = rd_of(cmd);

    printf("not sent: ");
    print_hex(rd_span(&r, cmd.len < 5 ? cmd.len : 5));
    for (; secret > 0 && rd_left(&r) > 0; secret--) {
        (void)rd_u8(&r);
        printf("**");
    }
    print_hex(rd_rest(&r));
    (void)putchar('\n');
}

static size_t
filter(void *arg, const uint8_t *bytes, size_t len, uint8_t rsp[A71CH_APDU_RSP_MAX])
{
    static const uint8_t done[] = { 0x90, 0x00 };
    struct apdu cmd;

    (void)arg;
    if (apdu_parse(span_of(bytes, len), &cmd) != BM_OK) {
        show(span_of(bytes, len), 0);
    } else if (changes_nothing(&cmd)) {
        printf("sent: ");
        print_hex(span_of(bytes, len));
        (void)putchar('\n');
        return 0;
    } else {
        show(span_of(bytes, len), secret_len(&cmd));
    }
    memcpy(rsp, done, sizeof done);
    return sizeof done;
}

void
dry_run_begin(struct tool *t)
{
    a71ch_set_filter(t->chip, filter, NULL);
}

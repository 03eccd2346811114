/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `scp put|auth -h VERSION -k FILE`, `scp clear_host`: the secure channel. SPEC a71ch 8.3; the key
 * file is in 4.8.
 *
 * A channel lives as long as the connection, so `auth` is of use in a script or interactively.
 */
#include "config/tool.h"

#include "base/file.h"
#include "scp03/keyfile.h"

#include <stdio.h>
#include <string.h>

static enum code
read_keys(const char *path, a71ch_scp_keys *out)
{
    struct buf text = { 0 };
    struct scp03_keys keys;
    struct bm_msg msg = { "" };
    enum code code = CODE_OK;

    if (file_read(path, SCP03_KEYFILE_MAX, &text, &msg) != BM_OK) {
        printf("failed to open %s\n", path);
        code = CODE_FILE_OPEN;
    } else if (scp03_keyfile_parse(buf_span(&text), &keys, &msg) != BM_OK) {
        code = CODE_FILE_FORMAT;
    } else {
        memcpy(out->enc, keys.enc, sizeof keys.enc);
        memcpy(out->mac, keys.mac, sizeof keys.mac);
        memcpy(out->dek, keys.dek, sizeof keys.dek);
        bm_wipe(&keys, sizeof keys);
    }
    if (code != CODE_OK)
        fprintf(stderr, "%s: %s\n", path, msg.text);
    if (text.ptr != NULL)
        bm_wipe(text.ptr, text.cap);
    buf_fini(&text);
    return code;
}

static enum code
for_good(struct tool *t)
{
    return tool_for_good(t,
        "these keys can not be replaced or taken out; and after the first 'scp auth' "
        "the chip does nothing any more for whoever does not have them",
        UNDO_BY_RESET);
}

/* The first one makes the channel mandatory; and what follows would depend on its answer. */
static enum code
not_in_dry_run(const struct tool *t)
{
    if (!t->dry_run)
        return CODE_OK;
    fprintf(stderr, "a channel cannot be opened without changing the chip; --dry-run ends here\n");
    return CODE_HALTED;
}

static enum code
with_keys(struct tool *t, struct args *a, bool put)
{
    a71ch_scp_keys keys;
    const char *path;
    uint8_t version;
    size_t len;
    a71ch_result res;
    enum code code = opt_hex(a, "-h", 1, 1, &version, &len);

    if (code == CODE_OK)
        code = opt_text(a, "-k", &path);
    if (code == CODE_OK)
        code = put ? for_good(t) : not_in_dry_run(t);
    if (code == CODE_OK)
        code = read_keys(path, &keys);
    if (code != CODE_OK)
        return code;
    if (put)
        res = a71ch_scp_put_keys(t->chip, version, &keys);
    else
        res = a71ch_channel_open(t->chip, &keys, 0); /* the version is not used, SPEC 4.2 */
    bm_wipe(&keys, sizeof keys);
    return tool_done(t, res);
}

static enum code
put(struct tool *t, struct args *a)
{
    return with_keys(t, a, true);
}

static enum code
authenticate(struct tool *t, struct args *a)
{
    return with_keys(t, a, false);
}

static enum code
clear_host(struct tool *t, struct args *a)
{
    (void)a;
    a71ch_channel_close(t->chip);
    return CODE_OK;
}

enum code
cmd_scp(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "put", put },
        { "auth", authenticate },
        { "clear_host", clear_host },
        { NULL, NULL },
    };

    return tool_sub(t, a, "scp", subs);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* `lock pair|pub -x N`, `lock gp -h OFFSET -n SEGMENTS`, `lock inject_plain`: all for good. */
#include "config/tool.h"

#include <stdio.h>

enum { SEGMENTS_MAX = 192 };

static enum code
lock_slot(struct tool *t, struct args *a, const char *what,
    a71ch_result (*freeze)(a71ch *chip, unsigned index))
{
    char lost[128];
    unsigned index;
    enum code code = opt_index(a, &index);

    if (code != CODE_OK)
        return code;
    (void)snprintf(
        lost, sizeof lost, "%s %u can never be set, generated or erased again", what, index);
    code = tool_for_good(t, lost, UNDO_BY_RESET);
    return code == CODE_OK ? tool_done(t, freeze(t->chip, index)) : code;
}

static enum code
lock_pair(struct tool *t, struct args *a)
{
    return lock_slot(t, a, "key pair", a71ch_pair_freeze);
}

static enum code
lock_pub(struct tool *t, struct args *a)
{
    return lock_slot(t, a, "public key", a71ch_pub_freeze);
}

static enum code
lock_gp(struct tool *t, struct args *a)
{
    char lost[128];
    unsigned offset;
    unsigned segments;
    size_t len;
    enum code code = opt_offset(a, &offset);

    if (code == CODE_OK)
        code = opt_number(a, "-n", 1, SEGMENTS_MAX, &segments);
    if (code != CODE_OK)
        return code;
    len = (size_t)segments * A71CH_SEGMENT_LEN;
    (void)snprintf(lost, sizeof lost,
        "the %zu bytes of storage from offset 0x%04X can never be written again", len, offset);
    code = tool_for_good(t, lost, UNDO_BY_RESET);
    return code == CODE_OK ? tool_done(t, a71ch_gp_freeze(t->chip, offset, len)) : code;
}

static enum code
lock_inject_plain(struct tool *t, struct args *a)
{
    enum code code = tool_for_good(t,
        "no key can be set in the clear again; key pairs and public keys are generated, locked and "
        "erased only with a code made of a configuration key, symmetric keys never erased",
        UNDO_BY_RESET);

    (void)a;
    return code == CODE_OK ? tool_done(t, a71ch_inject_lock(t->chip)) : code;
}

enum code
cmd_lock(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "pair", lock_pair },
        { "pub", lock_pub },
        { "gp", lock_gp },
        { "inject_plain", lock_inject_plain },
        { NULL, NULL },
    };

    return tool_sub(t, a, "lock", subs);
}

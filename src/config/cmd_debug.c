/* SPDX-License-Identifier: Apache-2.0 */
/* `debug reset|permanently_disable_debug`: wipe an evaluation chip; make it a production chip. */
#include "config/tool.h"

static enum code
reset(struct tool *t, struct args *a)
{
    (void)a;
    return tool_done(t, a71ch_debug_reset(t->chip));
}

static enum code
disable(struct tool *t, struct args *a)
{
    enum code code = tool_for_good(t,
        "no 'debug reset' and no 'erase cnt' any more, so that every lock and freeze of this chip "
        "becomes final",
        UNDO_NEVER);

    (void)a;
    return code == CODE_OK ? tool_done(t, a71ch_debug_disable(t->chip)) : code;
}

enum code
cmd_debug(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "reset", reset },
        { "permanently_disable_debug", disable },
        { NULL, NULL },
    };

    return tool_sub(t, a, "debug", subs);
}

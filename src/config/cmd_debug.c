/* SPDX-License-Identifier: Apache-2.0 */
/* `debug reset`: wipe an evaluation chip. */
#include "config/tool.h"

static enum code
reset(struct tool *t, struct args *a)
{
    a71ch_result res = a71ch_debug_reset(t->chip);

    (void)a;
    return res == A71CH_OK ? CODE_OK : tool_chip_failed(t, res);
}

enum code
cmd_debug(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "reset", reset },
        { "permanently_disable_debug", NULL },
        { NULL, NULL },
    };

    return tool_sub(t, a, "debug", subs);
}

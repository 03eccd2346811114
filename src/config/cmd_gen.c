/* SPDX-License-Identifier: Apache-2.0 */
/* `gen pair -x N`: let the chip make a key pair. */
#include "config/tool.h"

static enum code
gen_pair(struct tool *t, struct args *a)
{
    unsigned index;
    enum code code = opt_index(a, &index);

    return code == CODE_OK ? tool_done(t, a71ch_pair_generate(t->chip, index)) : code;
}

enum code
cmd_gen(struct tool *t, struct args *a)
{
    static const struct sub subs[] = { { "pair", gen_pair }, { NULL, NULL } };

    return tool_sub(t, a, "gen", subs);
}

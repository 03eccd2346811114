/* SPDX-License-Identifier: Apache-2.0 */
/* `erase pair|pub|sym|cnt -x N`: empty a slot, or set a counter to 0 (evaluation chips). */
#include "config/tool.h"

static enum code
erase(struct tool *t, struct args *a, a71ch_result (*run)(a71ch *chip, unsigned index))
{
    unsigned index;
    enum code code = opt_index(a, &index);

    return code == CODE_OK ? tool_done(t, run(t->chip, index)) : code;
}

static enum code
erase_pair(struct tool *t, struct args *a)
{
    return erase(t, a, a71ch_pair_erase);
}

static enum code
erase_pub(struct tool *t, struct args *a)
{
    return erase(t, a, a71ch_pub_erase);
}

static enum code
erase_sym(struct tool *t, struct args *a)
{
    return erase(t, a, a71ch_sym_erase);
}

static enum code
erase_cnt(struct tool *t, struct args *a)
{
    return erase(t, a, a71ch_debug_counter_erase);
}

enum code
cmd_erase(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "pair", erase_pair },
        { "pub", erase_pub },
        { "sym", erase_sym },
        { "cnt", erase_cnt },
        { NULL, NULL },
    };

    return tool_sub(t, a, "erase", subs);
}

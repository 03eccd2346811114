/* SPDX-License-Identifier: Apache-2.0 */
/* `gen pair -x N`: let the chip make a key pair. */
#include "config/tool.h"

static enum code
gen_pair(struct tool *t, struct args *a)
{
    unsigned index;
    enum code code = opt_index(a, &index);
    a71ch_result res;

    if (code != CODE_OK)
        return code;
    res = a71ch_pair_generate(t->chip, index);
    return res == A71CH_OK ? CODE_OK : tool_chip_failed(t, res);
}

enum code
cmd_gen(struct tool *t, struct args *a)
{
    static const struct sub subs[] = { { "pair", gen_pair }, { NULL, NULL } };

    return tool_sub(t, a, "gen", subs);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* `erase pair|pub -x N`: empty a slot. */
#include "config/tool.h"

static enum code
erase(struct tool *t, struct args *a, a71ch_result (*run)(a71ch *chip, unsigned index))
{
    unsigned index;
    enum code code = opt_index(a, &index);
    a71ch_result res;

    if (code != CODE_OK)
        return code;
    res = run(t->chip, index);
    return res == A71CH_OK ? CODE_OK : tool_chip_failed(t, res);
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

enum code
cmd_erase(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "pair", erase_pair },
        { "pub", erase_pub },
        { "sym", NULL },
        { "cnt", NULL },
        { NULL, NULL },
    };

    return tool_sub(t, a, "erase", subs);
}

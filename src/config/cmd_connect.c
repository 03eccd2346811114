/* SPDX-License-Identifier: Apache-2.0 */
/* `connect close|open`: give the link back and take it again, in a script or interactive. */
#include "config/tool.h"

static enum code
close_link(struct tool *t, struct args *a)
{
    (void)a;
    a71ch_close(t->chip);
    t->chip = NULL;
    return CODE_OK;
}

static enum code
open_link(struct tool *t, struct args *a)
{
    a71ch_result res;
    enum code code = close_link(t, a);

    res = tool_open(t);
    if (res == A71CH_OK)
        return code;
    code = tool_done(t, res);
    if (res == A71CH_ERR_CONNECT || res == A71CH_ERR_TIMEOUT)
        t->sw = HOST_LINK_FAILED;
    (void)close_link(t, a);
    return code;
}

enum code
cmd_connect(struct tool *t, struct args *a)
{
    static const struct sub subs[] = { { "close", close_link }, { "open", open_link },
        { NULL, NULL } };

    return tool_sub(t, a, "connect", subs);
}

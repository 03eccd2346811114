/* SPDX-License-Identifier: Apache-2.0 */
/* `apdu -cmd HEX -sw HEX`: one raw command; its status word must be the one given. */
#include "config/tool.h"

#include <stdio.h>

enum { CMD_MIN = 4, CMD_MAX = 256, SW_LEN = 2 };

enum code
cmd_apdu(struct tool *t, struct args *a)
{
    uint8_t cmd[CMD_MAX];
    uint8_t want[SW_LEN];
    uint8_t rsp[A71CH_APDU_RSP_MAX];
    size_t cmd_len;
    size_t want_len;
    size_t rsp_len = sizeof rsp;
    struct rd r;
    a71ch_result res;
    enum code code = opt_hex(a, "-cmd", CMD_MIN, CMD_MAX, cmd, &cmd_len);

    if (code == CODE_OK)
        code = opt_hex(a, "-sw", SW_LEN, SW_LEN, want, &want_len);
    if (code != CODE_OK)
        return code;
    res = a71ch_transceive(t->chip, cmd, cmd_len, rsp, &rsp_len);
    if (res != A71CH_OK)
        return tool_chip_failed(t, res);
    print_bytes_compact("cmd", span_of(cmd, cmd_len));
    print_bytes_compact("rsp", span_of(rsp, rsp_len));
    r = rd_of(SPAN(want));
    t->sw = a71ch_status_word(t->chip);
    return t->sw == rd_u16(&r) ? CODE_OK : CODE_FAILED;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* `transport lock`, `transport unlock -h KEY`: a chip that is of no use until it is unlocked. */
#include "config/tool.h"

static enum code
lock(struct tool *t, struct args *a)
{
    enum code code = tool_for_good(t,
        "the chip does nothing until 'transport unlock' with its configuration key 0, and after "
        "that can never be transport locked again");

    (void)a;
    return code == CODE_OK ? tool_done(t, a71ch_transport_lock(t->chip)) : code;
}

static enum code
unlock(struct tool *t, struct args *a)
{
    uint8_t key[A71CH_KEY_LEN];
    uint8_t unlock_code[A71CH_KEY_LEN];
    size_t len;
    a71ch_result res;
    enum code code = opt_hex(a, "-h", sizeof key, sizeof key, key, &len);

    if (code == CODE_OK)
        code = tool_for_good(t, "the chip can never be transport locked again");
    if (code == CODE_OK) {
        res = a71ch_get_code(t->chip, A71CH_CODE_MODULE, key, unlock_code);
        if (res == A71CH_OK)
            res = a71ch_transport_unlock(t->chip, unlock_code);
        code = tool_done(t, res);
    }
    bm_wipe(key, sizeof key);
    return code;
}

enum code
cmd_transport(struct tool *t, struct args *a)
{
    static const struct sub subs[] = { { "lock", lock }, { "unlock", unlock }, { NULL, NULL } };

    return tool_sub(t, a, "transport", subs);
}

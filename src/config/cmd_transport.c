/* SPDX-License-Identifier: Apache-2.0 */
/* `transport lock`, `transport unlock -h KEY`: a chip that is of no use until it is unlocked. */
#include "config/tool.h"

static enum code
lock(struct tool *t, struct args *a)
{
    enum code code = tool_for_good(t,
        "the chip does nothing until 'transport unlock' with its configuration key 0, and after "
        "that can never be transport locked again",
        UNDO_NEVER);

    (void)a;
    return code == CODE_OK ? tool_done(t, a71ch_transport_lock(t->chip)) : code;
}

/* Challenge and code: another client's SELECT between them would spoil both. */
static a71ch_result
unlock_with_key(a71ch *chip, void *key)
{
    uint8_t unlock_code[A71CH_KEY_LEN];
    a71ch_result res = a71ch_get_code(chip, A71CH_CODE_MODULE, key, unlock_code);

    return res == A71CH_OK ? a71ch_transport_unlock(chip, unlock_code) : res;
}

static enum code
unlock(struct tool *t, struct args *a)
{
    uint8_t key[A71CH_KEY_LEN];
    size_t len;
    enum code code = opt_hex(a, "-h", sizeof key, sizeof key, key, &len);

    if (code == CODE_OK)
        code = tool_for_good(t, "the chip can never be transport locked again", UNDO_BY_RESET);
    if (code == CODE_OK)
        code = tool_done(t, a71ch_sequence(t->chip, unlock_with_key, key));
    bm_wipe(key, sizeof key);
    return code;
}

enum code
cmd_transport(struct tool *t, struct args *a)
{
    static const struct sub subs[] = { { "lock", lock }, { "unlock", unlock }, { NULL, NULL } };

    return tool_sub(t, a, "transport", subs);
}

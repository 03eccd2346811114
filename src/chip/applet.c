/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The applet: SELECT, who may send what in the clear, and the table that finds the function of an
 * instruction (cmd_*.c).
 *
 * INS values not in the table answer 6D00; those of a switched-off debug mode as if they were not.
 */
#include "chip/cmd.h"

enum {
    VERSION = 0x0131, /* applet 1.3 with debug commands, SPEC 1.1 */
    VERSION_DEBUG = 0x0001,
};

uint16_t
chip_version(const struct chip *c)
{
    return lock_debug_allowed(c) ? VERSION : VERSION & ~VERSION_DEBUG;
}

/* SPEC 1.1 */
static uint16_t
run_select(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p1 != 0x04 || cmd->p2 != 0x00)
        return SW_WRONG_P1P2;
    if (cmd->data.len == 0)
        return quirk(s->chip, QUIRK_SELECT_EMPTY);
    if (!span_eq(cmd->data, span_str("a71ch")))
        return SW_NOT_FOUND;
    chip_session_reset(s);
    s->selected = true;
    wr_u16(out, chip_version(s->chip));
    return SW_OK;
}

static const struct command {
    uint8_t ins;
    bool debug; /* gone when debug mode is */
    cmd_fn *run;
} commands[] = {
    { INS_PAIR_GET, false, run_pair_get },
    { INS_PAIR_SET, false, run_pair_set },
    { INS_PAIR_FREEZE, false, run_pair_freeze },
    { INS_PAIR_ERASE, false, run_pair_erase },
    { INS_PAIR_SIGN, false, run_pair_sign },
    { INS_PAIR_MASTER, false, run_pair_master },
    { INS_PAIR_ECDH, false, run_pair_ecdh },
    { INS_PUB_GET, false, run_pub_get },
    { INS_PUB_SET, false, run_pub_set },
    { INS_PUB_FREEZE, false, run_pub_freeze },
    { INS_PUB_ERASE, false, run_pub_erase },
    { INS_PUB_VERIFY, false, run_pub_verify },
    { INS_CONFIG_SET, false, run_config_set },
    { INS_SYM_SET, false, run_sym_set },
    { INS_SYM_ERASE, false, run_sym_erase },
    { INS_SYM_HKDF, false, run_hkdf },
    { INS_SYM_MASTER, false, run_psk_master },
    { INS_SYM_HMAC, false, run_hmac },
    { INS_INIT_UPDATE, false, run_initialize_update },
    { INS_COUNTER_GET, false, run_counter_get },
    { INS_COUNTER_SET, false, run_counter_set },
    { INS_COUNTER_ERASE, true, run_counter_erase },
    { INS_GP_GET, false, run_gp_get },
    { INS_GP_SET, false, run_gp_set },
    { INS_GP_FREEZE, false, run_gp_freeze },
    { INS_MODULE_GET, false, run_module_get },
    { INS_MODULE_SET, false, run_module_set },
    { INS_DEBUG_DISABLE, true, run_debug_disable },
    { INS_DEBUG_RESET, true, run_debug_reset },
    { INS_RANDOM, false, run_random },
    { INS_SHA256, false, run_sha256 },
    { INS_PUT_KEY, false, run_put_key },
    { INS_REFLECT, true, run_reflect },
};

static const struct command *
find(uint8_t ins)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (commands[i].ins == ins)
            return &commands[i];
    }
    return NULL;
}

/*
 * SPEC 1.6: unique id, module info, the challenge that opens it, and opening it. Where those want a
 * channel, beginning one works, too: otherwise nobody could ever unlock that chip.
 */
static bool
works_while_locked(const struct chip *c, const struct apdu *cmd)
{
    if (cmd->ins == INS_MODULE_GET)
        return cmd->p1 == 0 && (cmd->p2 == 1 || cmd->p2 == 3 || cmd->p2 == 5);
    if (cmd->ins == INS_INIT_UPDATE)
        return scp_state(c) == SCP_MANDATORY;
    return cmd->ins == INS_MODULE_SET && cmd->p1 == 0 && cmd->p2 == 3;
}

uint16_t
applet_command(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    const struct command *c = find(cmd->ins);
    struct wr start = *out;
    uint16_t sw;

    if (lock_transport(s->chip) == TRANSPORT_LOCKED && !works_while_locked(s->chip, cmd))
        return quirk(s->chip, QUIRK_TRANSPORT_LOCKED);
    if (c == NULL)
        return SW_INS_UNKNOWN;
    if (c->debug && !lock_debug_allowed(s->chip))
        return quirk(s->chip, QUIRK_NO_DEBUG);
    sw = c->run(s, cmd, out);
    if (sw != SW_OK)
        *out = start; /* a refusal carries no data */
    return sw;
}

uint16_t
applet_run(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { CLA_ISO = 0x00 };

    if (cmd->cla == CLA_ISO && cmd->ins == INS_SELECT)
        return run_select(s, cmd, out);
    if (cmd->cla != SCP03_CLA_PLAIN && cmd->cla != SCP03_CLA_SECURE)
        return SW_CLA_UNKNOWN;
    if (!s->selected)
        return quirk(s->chip, QUIRK_NOT_SELECTED);
    if (cmd->cla == SCP03_CLA_SECURE)
        return scp_run_secure(s, cmd, out);
    if (scp_state(s->chip) == SCP_MANDATORY && !scp_clear_allowed(cmd))
        return quirk(s->chip, QUIRK_CLEAR);
    return applet_command(s, cmd, out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See decode.h. */
#include "wire/decode.h"

enum { ANY = -1, P2_CODE = 0x10 };

/* What P1 and P2 mean beside telling rows apart. */
enum operand { PLAIN, SLOT, KEYS, OFFSET };

enum { KEY_IN = 1, KEY_OUT = 2 }; /* secrets in the command's data, in the answer */

static const struct row {
    uint8_t ins;
    int p1, p2; /* to match, or ANY */
    enum operand operand;
    const char *name;
    unsigned secret;
} rows[] = {
    { INS_SELECT, ANY, ANY, PLAIN, "select", 0 },
    { INS_PAIR_GET, ANY, 0x01, SLOT, "pair-usage", 0 },
    { INS_PAIR_GET, ANY, ANY, SLOT, "pair-get", 0 },
    { INS_PAIR_SET, ANY, P2_CODE, SLOT, "pair-generate", 0 },
    { INS_PAIR_SET, ANY, ANY, SLOT, "pair-set", KEY_IN },
    { INS_PAIR_FREEZE, ANY, ANY, SLOT, "pair-freeze", 0 },
    { INS_PAIR_ERASE, ANY, ANY, SLOT, "pair-erase", 0 },
    { INS_PAIR_SIGN, ANY, ANY, SLOT, "pair-sign", 0 },
    { INS_PAIR_MASTER, ANY, ANY, SLOT, "pair-master-secret", KEY_OUT },
    { INS_PAIR_ECDH, ANY, ANY, SLOT, "pair-ecdh", KEY_OUT },
    { INS_PUB_GET, ANY, ANY, SLOT, "pub-get", 0 },
    { INS_PUB_SET, ANY, ANY, SLOT, "pub-set", 0 },
    { INS_PUB_FREEZE, ANY, ANY, SLOT, "pub-freeze", 0 },
    { INS_PUB_ERASE, ANY, ANY, SLOT, "pub-erase", 0 },
    { INS_PUB_VERIFY, ANY, 0x01, PLAIN, "verify-external", 0 },
    { INS_PUB_VERIFY, ANY, ANY, SLOT, "pub-verify", 0 },
    { INS_CONFIG_SET, ANY, ANY, SLOT, "config-set", KEY_IN },
    { INS_SYM_SET, ANY, ANY, SLOT, "sym-set", KEY_IN },
    { INS_SYM_ERASE, ANY, ANY, SLOT, "sym-erase", 0 },
    { INS_SYM_HKDF, ANY, ANY, KEYS, "sym-hkdf", KEY_OUT },
    { INS_SYM_MASTER, ANY, ANY, KEYS, "sym-master-secret", KEY_OUT },
    { INS_SYM_HMAC, ANY, 0x00, KEYS, "sym-hmac", KEY_OUT },
    { INS_SYM_HMAC, ANY, 0x01, KEYS, "sym-hmac-init", KEY_OUT },
    { INS_SYM_HMAC, ANY, 0x02, KEYS, "sym-hmac-update", KEY_OUT },
    { INS_SYM_HMAC, ANY, ANY, KEYS, "sym-hmac-final", KEY_OUT },
    { INS_COUNTER_GET, ANY, ANY, SLOT, "counter-get", 0 },
    { INS_COUNTER_SET, ANY, ANY, SLOT, "counter-set", 0 },
    { INS_COUNTER_ERASE, ANY, ANY, SLOT, "counter-erase", 0 },
    { INS_GP_GET, ANY, ANY, OFFSET, "gp-get", 0 },
    { INS_GP_SET, ANY, ANY, OFFSET, "gp-set", 0 },
    { INS_GP_FREEZE, ANY, ANY, OFFSET, "gp-freeze", 0 },
    { INS_MODULE_GET, ANY, 0x01, PLAIN, "module-uid", 0 },
    { INS_MODULE_GET, ANY, 0x02, PLAIN, "module-free-memory", 0 },
    { INS_MODULE_GET, ANY, 0x03, PLAIN, "module-info", 0 },
    { INS_MODULE_GET, ANY, 0x04, PLAIN, "module-map", 0 },
    { INS_MODULE_GET, 0x00, 0x05, PLAIN, "module-challenge", 0 },
    { INS_MODULE_GET, 0x01, 0x05, PLAIN, "pair-challenge", 0 },
    { INS_MODULE_GET, 0x02, 0x05, PLAIN, "pub-challenge", 0 },
    { INS_MODULE_GET, ANY, 0x06, PLAIN, "module-restricted", 0 },
    { INS_MODULE_SET, ANY, 0x01, PLAIN, "inject-lock", 0 },
    { INS_MODULE_SET, ANY, 0x02, PLAIN, "transport-lock", 0 },
    { INS_MODULE_SET, ANY, 0x03, PLAIN, "transport-unlock", 0 },
    { INS_MODULE_SET, ANY, 0x05, PLAIN, "tls-label", 0 },
    { INS_DEBUG_DISABLE, ANY, ANY, PLAIN, "debug-disable", 0 },
    { INS_DEBUG_RESET, ANY, ANY, PLAIN, "debug-reset", 0 },
    { INS_RANDOM, 0x01, ANY, PLAIN, "client-hello-random", KEY_OUT },
    { INS_RANDOM, ANY, ANY, PLAIN, "random", KEY_OUT },
    { INS_SHA256, ANY, 0x00, PLAIN, "sha256", 0 },
    { INS_SHA256, ANY, 0x01, PLAIN, "sha256-init", 0 },
    { INS_SHA256, ANY, 0x02, PLAIN, "sha256-update", 0 },
    { INS_SHA256, ANY, ANY, PLAIN, "sha256-final", 0 },
    { INS_REFLECT, ANY, ANY, PLAIN, "reflect", 0 },
    { INS_INIT_UPDATE, ANY, ANY, PLAIN, "initialize-update", 0 },
    { INS_EXT_AUTH, ANY, ANY, PLAIN, "external-authenticate", 0 },
    { INS_PUT_KEY, ANY, ANY, PLAIN, "put-key", KEY_IN },
};

static void
apply(struct decoded *d, const struct row *row, uint8_t p1, uint8_t p2)
{
    d->name = row->name;
    d->command_secret = (row->secret & KEY_IN) != 0;
    d->answer_secret = (row->secret & KEY_OUT) != 0;
    if (row->operand == SLOT)
        d->slot = p1;
    if (row->operand == OFFSET)
        d->offset = p1 << 8 | p2;
    if (row->operand != KEYS)
        return;
    d->slot = p1 & 0x0f;
    d->count = p1 >> 4;
}

struct decoded
decode_command(struct span command)
{
    struct decoded d = { .name = "unknown", .slot = -1, .count = -1, .offset = -1 };
    struct rd r = rd_of(command);
    uint8_t cla = rd_u8(&r);
    uint8_t ins = rd_u8(&r);
    uint8_t p1 = rd_u8(&r);
    uint8_t p2 = rd_u8(&r);
    size_t mac = cla == 0x84 ? 8 : 0; /* of a protected command without data, SPEC a71ch 4.5 */
    struct apdu whole;

    d.protected = cla == 0x84 && ins != INS_EXT_AUTH;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].ins == ins && (rows[i].p1 == ANY || rows[i].p1 == p1) &&
            (rows[i].p2 == ANY || rows[i].p2 == p2)) {
            apply(&d, &rows[i], p1, p2);
            break;
        }
    }
    if (apdu_parse(command, &whole) != BM_OK)
        d.name =
            "malformed"; /* what may be a secret stays one: a client has sent it all the same */
    else if (ins == INS_PAIR_SET && whole.data.len == mac)
        d.name = "pair-generate";
    else if (ins == INS_COUNTER_SET && whole.data.len == mac)
        d.name = "counter-increment";
    if (d.protected)
        d.command_secret = d.answer_secret = false;
    return d;
}

const char *
decode_status(uint16_t sw)
{
    switch (sw) {
    case SW_OK:
        return "ok";
    case SW_WRONG_LENGTH:
        return "wrong length";
    case SW_SECURITY_STATUS:
        return "security status";
    case SW_CONDITIONS:
        return "conditions of use";
    case SW_NOT_ALLOWED:
        return "not allowed";
    case SW_WRONG_DATA:
        return "wrong data";
    case SW_NOT_FOUND:
        return "not found";
    case SW_WRONG_P1P2:
        return "wrong P1 or P2";
    case SW_INS_UNKNOWN:
        return "unknown instruction";
    case SW_CLA_UNKNOWN:
        return "unknown class";
    case 0x6882:
        return "no secure messaging";
    case 0x6984:
        return "data invalid";
    case SW_NO_REFERENCE:
        return "referenced data missing";
    default:
        return "unknown";
    }
}

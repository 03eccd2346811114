/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The applet: one function per row of SPEC a71ch 2.3 to 2.7, and the table that finds it.
 *
 * Each function checks P1/P2 first, then the data, then the object's state; a mutating one returns
 * 9000 only when the NVM has the change. INS values not in the table answer 6D00.
 */
#include "chip/quirks.h"
#include "chip/state.h"

#include <string.h>

#include <openssl/rand.h>

enum {
    VERSION = 0x0131,      /* applet 1.3 with debug commands, SPEC 1.1 */
    RESTRICTED_NONE = 0xf, /* SPEC 1.7: no restricted key pair */
    TRANSPORT_OPEN = 3,    /* may still be locked; locks are not built */
    SCP_NO_KEYS = 2,       /* SCP03 is not built */
    INJECT_UNLOCKED = 2,
    MAP_EMPTY = 0xa5, /* credential map: empty or initialized, open */
    MAP_SET = 0x55,
    VERIFY_VALID = 0x01,
    VERIFY_INVALID = 0x02,
    VERIFY_EXTERNAL = 1, /* P2 of INS 25 */
    VERIFY_STORED = 2,
};

static uint16_t
sw_of_write(enum bm_err err)
{
    return err == BM_OK ? SW_OK : QUIRK_SW_MEMORY_FAILURE;
}

static uint16_t
sw_of_key(enum bm_err err)
{
    return err == BM_OK ? SW_OK : err == BM_ERR_INPUT ? QUIRK_SW_BAD_KEY : QUIRK_SW_INTERNAL;
}

static size_t
pair_at(uint8_t index)
{
    return IMG_PAIR + (size_t)index * IMG_PAIR_STEP;
}

static size_t
pub_at(uint8_t index)
{
    return IMG_PUB + (size_t)index * IMG_PUB_STEP;
}

/* SPEC 1.1 */
static uint16_t
run_select(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p1 != 0x04 || cmd->p2 != 0x00)
        return SW_WRONG_P1P2;
    if (cmd->data.len == 0)
        return QUIRK_SW_SELECT_EMPTY;
    if (!span_eq(cmd->data, span_str("a71ch")))
        return SW_NOT_FOUND;
    chip_session_reset(s);
    s->selected = true;
    wr_u16(out, VERSION);
    return SW_OK;
}

/* 11: public part, or the usage counter of a restricted pair, which no pair here is: no bytes. */
static uint16_t
run_pair_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p1 >= CHIP_PAIRS)
        return QUIRK_SW_BAD_INDEX;
    if (cmd->p2 > 1)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return QUIRK_SW_BAD_LENGTH;
    if (cmd->p2 == 1)
        return SW_OK;
    if (s->chip->pairs[cmd->p1].pkey == NULL)
        return SW_CONDITIONS;
    wr_span(out, nvm_read(s->chip->nvm, pair_at(cmd->p1) + 1 + EC_PRIVATE_LEN, EC_POINT_LEN));
    return SW_OK;
}

/* Store a pair and swap its parsed form in; takes `key` over. */
static uint16_t
store_pair(
    struct chip *c, uint8_t index, struct span private_key, struct span point, struct ec_key key)
{
    static const uint8_t set[] = { SLOT_SET };
    size_t at = pair_at(index);
    const struct nvm_change changes[] = {
        { at, SPAN(set) },
        { at + 1, private_key },
        { at + 1 + EC_PRIVATE_LEN, point },
    };
    bool replaces = c->pairs[index].pkey != NULL;
    enum bm_err err = chip_commit(c, changes, 3, replaces ? NVM_SCRUB : NVM_APPEND);

    if (err != BM_OK) {
        ec_key_fini(&key);
        return sw_of_write(err);
    }
    ec_key_fini(&c->pairs[index]);
    c->pairs[index] = key;
    return SW_OK;
}

static uint16_t
generate_pair(struct chip *c, uint8_t index)
{
    uint8_t private_key[EC_PRIVATE_LEN];
    uint8_t point[EC_POINT_LEN];
    struct ec_key key = { 0 };
    uint16_t sw;

    if (ec_generate(c->lib, private_key, point, &key) != BM_OK)
        return QUIRK_SW_INTERNAL;
    c->stats.generated++; /* before the write, which carries the counts */
    sw = store_pair(c, index, SPAN(private_key), SPAN(point), key);
    if (sw != SW_OK)
        c->stats.generated--;
    bm_wipe(private_key, sizeof private_key);
    return sw;
}

/* 12: generate, plain injection, wrapped injection; told apart by Lc. */
static uint16_t
run_pair_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { PLAIN = EC_PRIVATE_LEN + EC_POINT_LEN, WRAPPED = 40 + EC_POINT_LEN };
    struct rd r = rd_of(cmd->data);
    struct ec_key key = { 0 };
    struct span private_key;
    struct span point;
    uint16_t sw;

    (void)out;
    if (cmd->p1 >= CHIP_PAIRS)
        return QUIRK_SW_BAD_INDEX;
    if (cmd->p2 != 0) /* a code; there are no config keys to make one with */
        return SW_WRONG_P1P2;
    if (cmd->data.len == 0)
        return generate_pair(s->chip, cmd->p1);
    if (cmd->data.len == WRAPPED)
        return QUIRK_SW_NO_WRAP_KEY;
    if (cmd->data.len != PLAIN)
        return QUIRK_SW_BAD_LENGTH;
    private_key = rd_span(&r, EC_PRIVATE_LEN);
    point = rd_span(&r, EC_POINT_LEN);
    sw = sw_of_key(ec_pair_load(s->chip->lib, private_key, point, &key));
    return sw == SW_OK ? store_pair(s->chip, cmd->p1, private_key, point, key) : sw;
}

/* Zero a key's slot, so that nothing of it stays in the file. */
static uint16_t
erase_slot(struct chip *c, size_t at, size_t len, struct ec_key *key)
{
    static const uint8_t zeros[1 + EC_PRIVATE_LEN + EC_POINT_LEN];
    enum bm_err err;

    if (key->pkey == NULL)
        return QUIRK_SW_ERASE_EMPTY;
    err = chip_commit(c, &(struct nvm_change){ at, span_of(zeros, len) }, 1, NVM_SCRUB);
    if (err == BM_OK)
        ec_key_fini(key);
    return sw_of_write(err);
}

static uint16_t
run_pair_erase(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    (void)out;
    if (cmd->p1 >= CHIP_PAIRS)
        return QUIRK_SW_BAD_INDEX;
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return QUIRK_SW_BAD_LENGTH;
    return erase_slot(
        s->chip, pair_at(cmd->p1), 1 + EC_PRIVATE_LEN + EC_POINT_LEN, &s->chip->pairs[cmd->p1]);
}

/* 15, SPEC 3.1: the 32 bytes are the hash itself. */
static uint16_t
run_pair_sign(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct chip *c = s->chip;

    if (cmd->p1 >= CHIP_PAIRS)
        return QUIRK_SW_BAD_INDEX;
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != EC_HASH_LEN)
        return QUIRK_SW_BAD_LENGTH;
    if (c->pairs[cmd->p1].pkey == NULL)
        return SW_CONDITIONS;
    if (ec_sign(&c->pairs[cmd->p1], cmd->data, out) != BM_OK)
        return QUIRK_SW_INTERNAL;
    c->stats.signatures++;
    return SW_OK;
}

/* 17, SPEC 3.2 */
static uint16_t
run_pair_ecdh(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct chip *c = s->chip;
    uint16_t sw;

    if (cmd->p1 >= CHIP_PAIRS)
        return QUIRK_SW_BAD_INDEX;
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != EC_POINT_LEN)
        return QUIRK_SW_BAD_LENGTH;
    if (c->pairs[cmd->p1].pkey == NULL)
        return SW_CONDITIONS;
    sw = sw_of_key(ec_derive(c->lib, &c->pairs[cmd->p1], cmd->data, out));
    if (sw == SW_OK)
        c->stats.ecdh++;
    return sw;
}

static uint16_t
run_pub_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p1 >= CHIP_PUBS)
        return QUIRK_SW_BAD_INDEX;
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return QUIRK_SW_BAD_LENGTH;
    if (s->chip->pubs[cmd->p1].pkey == NULL)
        return SW_CONDITIONS;
    wr_span(out, nvm_read(s->chip->nvm, pub_at(cmd->p1) + 1, EC_POINT_LEN));
    return SW_OK;
}

/* 22: plain 65 bytes, or 72 wrapped under a config key that is always empty here. */
static uint16_t
run_pub_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { WRAPPED = 72 };
    static const uint8_t set[] = { SLOT_SET };
    struct chip *c = s->chip;
    struct nvm_change changes[] = {
        { pub_at(cmd->p1), SPAN(set) },
        { pub_at(cmd->p1) + 1, cmd->data },
    };
    struct ec_key key = { 0 };
    uint16_t sw;

    (void)out;
    if (cmd->p1 >= CHIP_PUBS)
        return QUIRK_SW_BAD_INDEX;
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len == WRAPPED)
        return QUIRK_SW_NO_WRAP_KEY;
    if (cmd->data.len != EC_POINT_LEN)
        return QUIRK_SW_BAD_LENGTH;
    sw = sw_of_key(ec_pub_load(c->lib, cmd->data, &key));
    if (sw == SW_OK)
        sw = sw_of_write(chip_commit(c, changes, 2, NVM_APPEND));
    if (sw != SW_OK) {
        ec_key_fini(&key);
        return sw;
    }
    ec_key_fini(&c->pubs[cmd->p1]);
    c->pubs[cmd->p1] = key;
    return SW_OK;
}

static uint16_t
run_pub_erase(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    (void)out;
    if (cmd->p1 >= CHIP_PUBS)
        return QUIRK_SW_BAD_INDEX;
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return QUIRK_SW_BAD_LENGTH;
    return erase_slot(s->chip, pub_at(cmd->p1), 1 + EC_POINT_LEN, &s->chip->pubs[cmd->p1]);
}

/* Key in the command: the last 65 bytes. */
static uint16_t
verify_external(
    struct chip *c, struct span hash, struct span signature, struct span point, struct wr *out)
{
    struct ec_key key = { 0 };
    uint16_t sw = sw_of_key(ec_pub_load(c->lib, point, &key));

    if (sw == SW_OK)
        wr_u8(out, ec_verify(&key, hash, signature) ? VERIFY_VALID : VERIFY_INVALID);
    ec_key_fini(&key);
    return sw;
}

/* 25: a signature that does not verify is 9000 with result 02. */
static uint16_t
run_pub_verify(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    bool external = cmd->p2 == VERIFY_EXTERNAL;
    size_t around = EC_HASH_LEN + (external ? (size_t)EC_POINT_LEN : 0);
    struct rd r = rd_of(cmd->data);
    const struct ec_key *key;
    struct span hash;
    struct span signature;

    if (cmd->p2 != VERIFY_EXTERNAL && cmd->p2 != VERIFY_STORED)
        return SW_WRONG_P1P2;
    if (cmd->p1 >= (external ? 1 : CHIP_PUBS))
        return QUIRK_SW_BAD_INDEX;
    if (cmd->data.len <= around)
        return QUIRK_SW_BAD_LENGTH;
    hash = rd_span(&r, EC_HASH_LEN);
    signature = rd_span(&r, cmd->data.len - around);
    if (external)
        return verify_external(s->chip, hash, signature, rd_rest(&r), out);
    key = &s->chip->pubs[cmd->p1];
    if (key->pkey == NULL)
        return SW_CONDITIONS;
    wr_u8(out, ec_verify(key, hash, signature) ? VERIFY_VALID : VERIFY_INVALID);
    return SW_OK;
}

static uint16_t
run_counter_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p1 >= CHIP_COUNTERS)
        return QUIRK_SW_BAD_INDEX;
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return QUIRK_SW_BAD_LENGTH;
    wr_span(out, nvm_read(s->chip->nvm, IMG_COUNTER + (size_t)cmd->p1 * IMG_COUNTER_STEP, 4));
    return SW_OK;
}

static bool
gp_range_valid(size_t offset, size_t len)
{
    return offset <= CHIP_GP_LEN && len <= CHIP_GP_LEN - offset;
}

/* 71, SPEC 3.9 */
static uint16_t
run_gp_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    size_t offset = (size_t)cmd->p1 << 8 | cmd->p2;
    struct rd r = rd_of(cmd->data);
    size_t len = rd_u16(&r);

    if (!rd_done(&r) || len == 0 || len > APDU_DATA_MAX)
        return QUIRK_SW_BAD_LENGTH;
    if (!gp_range_valid(offset, len))
        return QUIRK_SW_GP_RANGE;
    wr_span(out, nvm_read(s->chip->nvm, IMG_GP + offset, len));
    return SW_OK;
}

static uint16_t
run_gp_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    size_t offset = (size_t)cmd->p1 << 8 | cmd->p2;

    (void)out;
    if (cmd->data.len == 0)
        return QUIRK_SW_BAD_LENGTH;
    if (!gp_range_valid(offset, cmd->data.len))
        return QUIRK_SW_GP_RANGE;
    return sw_of_write(
        chip_commit(s->chip, &(struct nvm_change){ IMG_GP + offset, cmd->data }, 1, NVM_APPEND));
}

/* SPEC 1.7 */
static void
put_info(struct wr *out)
{
    wr_u16(out, VERSION);
    wr_u8(out, RESTRICTED_NONE << 4 | TRANSPORT_OPEN);
    wr_u8(out, SCP_NO_KEYS << 4 | INJECT_UNLOCKED);
    wr_u16(out, CHIP_GP_LEN);
}

static void
put_repeated(struct wr *out, uint8_t value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        wr_u8(out, value);
}

/* SPEC 1.7: 149 bytes */
static void
put_credential_map(const struct chip *c, struct wr *out)
{
    wr_u8(out, SCP_NO_KEYS);
    for (size_t i = 0; i < CHIP_PAIRS; i++)
        wr_u8(out, c->pairs[i].pkey != NULL ? MAP_SET : MAP_EMPTY);
    for (size_t i = 0; i < CHIP_PUBS; i++)
        wr_u8(out, c->pubs[i].pkey != NULL ? MAP_SET : MAP_EMPTY);
    put_repeated(out, MAP_EMPTY, CHIP_CONFIG_KEYS + CHIP_SYM_KEYS);
    put_repeated(out, MAP_SET, CHIP_COUNTERS + CHIP_GP_SEGMENTS);
}

/* 91 with P1 00. Free memory (02) and challenges (05) are not built. */
static uint16_t
run_module_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { UID = 1, INFO = 3, MAP = 4, RESTRICTED = 6 };

    if (cmd->p1 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return QUIRK_SW_BAD_LENGTH;
    switch (cmd->p2) {
    case UID:
        wr_span(out, nvm_read(s->chip->nvm, IMG_UID, CHIP_UID_LEN));
        return SW_OK;
    case INFO:
        put_info(out);
        return SW_OK;
    case MAP:
        put_credential_map(s->chip, out);
        return SW_OK;
    case RESTRICTED:
        wr_u16(out, 0xff00); /* none, as applet 1.3 says it */
        return SW_OK;
    default:
        return SW_WRONG_P1P2;
    }
}

/* 94, SPEC 2.7: one new snapshot of zeros, so nothing stays in the file. */
static uint16_t
run_debug_reset(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct chip *c = s->chip;
    enum bm_err err;

    (void)out;
    if (cmd->p1 != 0 || cmd->p2 != 0xea)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return QUIRK_SW_BAD_LENGTH;
    err = chip_commit_reset(c);
    if (err != BM_OK)
        return sw_of_write(err);
    for (size_t i = 0; i < CHIP_PAIRS; i++)
        ec_key_fini(&c->pairs[i]);
    for (size_t i = 0; i < CHIP_PUBS; i++)
        ec_key_fini(&c->pubs[i]);
    return SW_OK;
}

/* 95, SPEC 3.7. P1 01, the ClientHello random that arms the PSK commands, is not built. */
static uint16_t
run_random(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    uint8_t bytes[APDU_DATA_MAX];

    if (cmd->p1 != 0 || cmd->p2 == 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return QUIRK_SW_BAD_LENGTH;
    if (RAND_bytes_ex(s->chip->lib, bytes, cmd->p2, 0) <= 0)
        return QUIRK_SW_INTERNAL;
    wr_bytes(out, bytes, cmd->p2);
    bm_wipe(bytes, sizeof bytes);
    return SW_OK;
}

static uint16_t
hash_final(struct chip_session *s, struct wr *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool ok = EVP_DigestFinal_ex(s->sha, digest, &len) > 0;

    wr_bytes(out, digest, ok ? len : 0);
    EVP_MD_CTX_free(s->sha);
    s->sha = NULL;
    return ok ? SW_OK : QUIRK_SW_INTERNAL;
}

/* 96, SPEC 3.4: one-shot, or init, update and final over several commands. */
static uint16_t
run_sha256(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { ONE_SHOT, INIT, UPDATE, FINAL };

    if (cmd->p1 != 0 || cmd->p2 > FINAL)
        return SW_WRONG_P1P2;
    if (cmd->p2 == ONE_SHOT || cmd->p2 == INIT) {
        EVP_MD_CTX_free(s->sha);
        s->sha = EVP_MD_CTX_new();
        if (s->sha == NULL || EVP_DigestInit_ex2(s->sha, s->chip->sha256, NULL) <= 0)
            return QUIRK_SW_INTERNAL;
    }
    if (s->sha == NULL)
        return QUIRK_SW_NO_HASH;
    if (EVP_DigestUpdate(s->sha, cmd->data.ptr, cmd->data.len) <= 0)
        return QUIRK_SW_INTERNAL;
    return cmd->p2 == ONE_SHOT || cmd->p2 == FINAL ? hash_final(s, out) : SW_OK;
}

static const struct {
    uint8_t ins;
    uint16_t (*run)(struct chip_session *s, const struct apdu *cmd, struct wr *out);
} commands[] = {
    { INS_PAIR_GET, run_pair_get },
    { INS_PAIR_SET, run_pair_set },
    { INS_PAIR_ERASE, run_pair_erase },
    { INS_PAIR_SIGN, run_pair_sign },
    { INS_PAIR_ECDH, run_pair_ecdh },
    { INS_PUB_GET, run_pub_get },
    { INS_PUB_SET, run_pub_set },
    { INS_PUB_ERASE, run_pub_erase },
    { INS_PUB_VERIFY, run_pub_verify },
    { INS_COUNTER_GET, run_counter_get },
    { INS_GP_GET, run_gp_get },
    { INS_GP_SET, run_gp_set },
    { INS_MODULE_GET, run_module_get },
    { INS_DEBUG_RESET, run_debug_reset },
    { INS_RANDOM, run_random },
    { INS_SHA256, run_sha256 },
};

uint16_t
applet_run(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { CLA_ISO = 0x00, CLA_A71CH = 0x80 };

    if (cmd->cla == CLA_ISO && cmd->ins == INS_SELECT)
        return run_select(s, cmd, out);
    if (cmd->cla != CLA_A71CH) /* 84, secure messaging, is not built */
        return SW_CLA_UNKNOWN;
    if (!s->selected)
        return QUIRK_SW_NOT_SELECTED;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (commands[i].ins == cmd->ins)
            return commands[i].run(s, cmd, out);
    }
    return SW_INS_UNKNOWN;
}

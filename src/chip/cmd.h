/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command functions, one per instruction of SPEC a71ch 2.3 to 2.7, and what they share. For
 * src/chip only.
 *
 * Each function checks P1/P2 first, then the data's length, then locks and the object's state; a
 * mutating one returns 9000 only when the NVM has the change.
 */
#ifndef BM_CHIP_CMD_H
#define BM_CHIP_CMD_H

#include "chip/state.h"

/* Not the chip's choice but the simulator's trouble; values of ISO/IEC 7816-4 table 6. */
enum {
    SW_MEMORY_FAILURE = 0x6581, /* the NVM cannot be written */
    SW_INTERNAL = 0x6f00,       /* libcrypto or memory */
};

typedef uint16_t cmd_fn(struct chip_session *s, const struct apdu *cmd, struct wr *out);

/* cmd_pair.c */
cmd_fn run_pair_get, run_pair_set, run_pair_freeze, run_pair_erase, run_pair_sign, run_pair_ecdh;
/* cmd_pub.c */
cmd_fn run_pub_get, run_pub_set, run_pub_freeze, run_pub_erase, run_pub_verify;
/* cmd_secret.c */
cmd_fn run_config_set, run_sym_set, run_sym_erase;
/* cmd_derive.c */
cmd_fn run_hkdf, run_hmac, run_sha256, run_client_hello, run_psk_master, run_pair_master;
/* cmd_store.c */
cmd_fn run_counter_get, run_counter_set, run_counter_erase, run_gp_get, run_gp_set, run_gp_freeze;
/* cmd_module.c */
cmd_fn run_module_get, run_module_set, run_debug_disable, run_debug_reset, run_random, run_reflect;

/* cmd_scp.c */
cmd_fn run_put_key, run_initialize_update;

/* A command by its table row, transport lock and debug mode looked at. applet.c */
cmd_fn applet_command;

/* SELECT's answer and the head of module info; bit 0 tells whether there are debug commands. */
uint16_t chip_version(const struct chip *c);
bool gp_frozen(const struct chip *c, size_t segment);

/* ---- lock.c: who may change what, SPEC a71ch 1.6 ---- */

bool lock_inject(const struct chip *c);
enum transport lock_transport(const struct chip *c);
bool lock_debug_allowed(const struct chip *c);

/* Make a challenge of `kind`, which replaces the one before; one per kind and client. */
uint16_t lock_challenge(struct chip_session *s, enum challenge_kind kind, struct wr *out);
/* Compare a code with the challenge of `kind`, which is used up whatever comes out. */
uint16_t lock_code(struct chip_session *s, enum challenge_kind kind, struct span code);
/*
 * The code rule: P2 00 and no data, or P2 10 and a code. `without_code` is the answer to the first
 * form when the inject lock is on.
 */
uint16_t lock_gate(struct chip_session *s, const struct apdu *cmd, enum challenge_kind kind,
    uint16_t without_code);

/* ---- cmd_scp.c: the secure channel, SPEC a71ch 4 ---- */

enum scp_state scp_state(const struct chip *c);
/* What works in the clear although SCP03 is mandatory, SPEC a71ch 1.6. */
bool scp_clear_allowed(const struct apdu *cmd);
/* A command of class 84: EXTERNAL AUTHENTICATE, or any other, protected; so is the answer. */
uint16_t scp_run_secure(struct chip_session *s, const struct apdu *cmd, struct wr *out);

/* ---- restricted.c ---- */

bool restricted_get(const struct chip *c, struct chip_restricted *out);
bool restricted_is(const struct chip *c, uint8_t index);
void restricted_put_usage(const struct chip *c, struct wr *out);
void restricted_put_info(const struct chip *c, struct wr *out);
uint16_t restricted_sign(struct chip *c, struct span update, struct wr *out);

/* ---- slots ---- */

static inline uint8_t
chip_byte(const struct chip *c, size_t at)
{
    return nvm_read(c->nvm, at, 1).ptr[0];
}

static inline size_t
config_at(size_t index)
{
    return IMG_CONFIG + index * IMG_KEY_STEP;
}

static inline size_t
sym_at(size_t index)
{
    return IMG_SYM + index * IMG_KEY_STEP;
}

static inline size_t
pair_at(size_t index)
{
    return IMG_PAIR + index * IMG_PAIR_STEP;
}

static inline size_t
pub_at(size_t index)
{
    return IMG_PUB + index * IMG_PUB_STEP;
}

/* Change one byte of the image: flags and slot states. */
uint16_t slot_put_byte(struct chip *c, size_t at, uint8_t value);
/* Empty -> refused, open -> frozen, frozen -> refused. */
uint16_t slot_freeze(struct chip *c, size_t at);
/* Zero the slot so that nothing of it stays in the file; `key`, its parsed form, may be NULL. */
uint16_t slot_erase(struct chip *c, size_t at, size_t len, struct ec_key *key);
/* The AES key of a config or symmetric slot, borrowed until the next write; empty: none. */
struct span slot_key(const struct chip *c, size_t at);
/* RFC 3394 unwrap under the key in slot `key_at` into `out`, which has 8 bytes less. */
uint16_t slot_unwrap(const struct chip *c, size_t key_at, struct span wrapped, uint8_t *out);

static inline uint16_t
sw_of_write(enum bm_err err)
{
    return err == BM_OK ? SW_OK : SW_MEMORY_FAILURE;
}

static inline uint16_t
sw_of_key(const struct chip *c, enum bm_err err)
{
    return err == BM_OK ? SW_OK : err == BM_ERR_INPUT ? quirk(c, QUIRK_BAD_KEY) : SW_INTERNAL;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the chip: where each object lies in the NVM image, and the handles. For src/chip only.
 *
 * The image's gaps are zero and kept for what is still to come, so that the layout (NVM_VERSION)
 * need not change with each of it: a folder of an older build opens, with the new objects empty.
 */
#ifndef BM_CHIP_STATE_H
#define BM_CHIP_STATE_H

#include "chip/chip.h"
#include "chip/ec.h"
#include "chip/nvm.h"
#include "chip/quirks.h"
#include "scp03/scp03.h"

/* Object counts of the product, SPEC a71ch 1.4. */
enum {
    CHIP_PAIRS = 4,
    CHIP_PUBS = 3,
    CHIP_CONFIG_KEYS = 3,
    CHIP_SYM_KEYS = 8,
    CHIP_COUNTERS = 2,
    CHIP_GP_LEN = 4096,
    CHIP_GP_SEGMENTS = 128,
    CHIP_UID_LEN = 18,
    CHIP_KEY_LEN = 16, /* config and symmetric keys, challenges */
    CHIP_SEGMENT_LEN = 32,
    CHIP_LABEL_MAX = 24,
    CHIP_HELLO_LEN = 32,
    CHIP_SECRET_MAX = 64, /* four symmetric keys in a row */
};

enum {
    IMG_UID = 0,
    IMG_RESTRICTED = 20, /* what a factory does: debug reset leaves it */
    IMG_RESTRICTED_USED = 48,
    IMG_STATS = 64, /* five u64 */
    IMG_STATS_LEN = 40,
    IMG_RESET_FROM = 128, /* debug reset clears from here to the end */
    IMG_PAIR = 128,       /* state, private key, public key */
    IMG_PAIR_STEP = 128,
    IMG_PUB = 640, /* state, public key */
    IMG_PUB_STEP = 96,
    IMG_CONFIG = 960, /* state, key */
    IMG_SYM = 1056,
    IMG_KEY_STEP = 32,
    IMG_LABEL = 1312,     /* length (0: the default), TLS label */
    IMG_INJECT = 1344,    /* 1: plain injection is off */
    IMG_TRANSPORT = 1345, /* enum transport */
    IMG_NO_DEBUG = 1346,  /* 1: debug commands are gone */
    IMG_COUNTER = 1408,   /* u32 */
    IMG_COUNTER_STEP = 16,
    IMG_GP_FROZEN = 1440, /* a bit per segment, first segment first */
    IMG_GP_FROZEN_LEN = CHIP_GP_SEGMENTS / 8,
    IMG_SCP = 1472, /* enum scp_state, key version, static keys */
    IMG_GP = 2048,
    IMG_LEN = IMG_GP + CHIP_GP_LEN,
};

/* First byte of a key slot. */
enum { SLOT_EMPTY = 0, SLOT_SET = 1, SLOT_FROZEN = 3 };

/* SPEC a71ch 1.6, as the NVM has it: 0 must be the state of a fresh chip. */
enum transport { TRANSPORT_NEVER_LOCKED, TRANSPORT_LOCKED, TRANSPORT_UNLOCKED };

/* SPEC a71ch 1.6, as the NVM has it. */
enum scp_state { SCP_NO_KEYS, SCP_KEYS_SET, SCP_MANDATORY };

/* Kinds of challenge; each is also the index of the config key that makes its code. */
enum challenge_kind { CHALLENGE_MODULE, CHALLENGE_PAIR, CHALLENGE_PUB, CHALLENGE_KINDS };

struct challenge {
    bool pending;
    uint8_t bytes[CHIP_KEY_LEN];
};

/* One client's secure channel, SPEC a71ch 4. */
struct chip_channel {
    bool challenged; /* INITIALIZE UPDATE was answered, `context` is its challenges */
    bool up;         /* EXTERNAL AUTHENTICATE was, too */
    unsigned era;    /* of the keys it was made from */
    uint8_t context[SCP03_CONTEXT_LEN];
    struct scp03_channel scp03;
};

/* What one client sees and loses at reset. */
struct chip_session {
    struct chip *chip;
    unsigned power_cycles; /* that it has taken part in */
    bool selected;
    EVP_MD_CTX *sha;  /* SHA-256 in progress, or NULL */
    EVP_MAC_CTX *mac; /* HMAC in progress, or NULL */
    uint8_t mac_p1;   /* the secret it was begun with */
    struct challenge challenges[CHALLENGE_KINDS];
    bool challenged;  /* this command has made one */
    bool hello_armed; /* the last command made a ClientHello random, SPEC a71ch 3.5 */
    bool hello_fresh; /* ... and this is the command after it */
    uint8_t hello[CHIP_HELLO_LEN];
    struct chip_channel channel;
};

struct chip {
    struct nvm *nvm;
    char *dir;             /* NULL: on another medium */
    unsigned power_cycles; /* of all sessions at once */
    struct quirks quirks;
    OSSL_LIB_CTX *lib;     /* private: no configuration file of the process reaches the chip */
    OSSL_LIB_CTX *own_lib; /* the same, or NULL when it is shared */
    EVP_MD *sha256;
    EVP_MAC *hmac;
    EVP_CIPHER *aes_ecb;
    EVP_CIPHER *aes_wrap;
    struct scp03_aes aes;
    unsigned scp_era;                /* changes when a debug reset wipes the static keys */
    struct ec_key pairs[CHIP_PAIRS]; /* parsed; pkey NULL when the slot is empty */
    struct ec_key pubs[CHIP_PUBS];
    struct chip_stats stats;
    struct chip_stats saved;     /* as in the NVM */
    struct chip_session session; /* of chip_apdu */
};

static inline uint16_t
quirk(const struct chip *c, enum quirk q)
{
    return c->quirks.value[q];
}

/* Run a parsed command; appends the data of the response and returns the status word. */
uint16_t applet_run(struct chip_session *s, const struct apdu *cmd, struct wr *out);

/* Write changes and, in the same transaction, the counts. */
enum bm_err chip_commit(
    struct chip *c, const struct nvm_change *changes, size_t count, enum nvm_mode mode);

/* Debug reset's write: everything but unique id and counts to zero, SPEC a71ch 2.7. */
enum bm_err chip_commit_reset(struct chip *c);

#endif

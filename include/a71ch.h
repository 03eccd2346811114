/* SPDX-License-Identifier: Apache-2.0 */
/*
 * liba71ch: speak to an NXP A71CH security chip, real or simulated.
 *
 * Model. An `a71ch` handle is one connection to one chip. a71ch_open() connects and selects the
 * applet; every other call sends one or more command APDUs and waits for the answers. The address
 * says which link is used:
 *
 *     tcp:HOST:PORT or HOST:PORT    socket link ("JRCP version 1"), as a71chd speaks it;
 *                                   an IPv6 literal stands in brackets
 *     unix:PATH                     the same over a Unix socket
 *     sim:DIR                       a simulated chip in a folder, for this handle alone: starts an
 *                                   a71chd ($A71CHD, or the one beside this program, or of PATH)
 *     i2c:DEVICE[:0xADDR]           SCI2C over Linux i2c-dev, as i2c:/dev/i2c-1; address 0x48 when
 *                                   none is given; one handle at a time. Tested against the
 *                                   simulator only, never against a real chip
 *
 * With a NULL address the environment decides: A71CH_ADDRESS; then RJCT_SERVER_ADDR ("host:port",
 * or "host" alone, which means port 8050, as NXP's engine reads it); then 127.0.0.1:8050.
 *
 * Results. Every call returns an a71ch_result: A71CH_OK or a negative code whose class says what a
 * caller can do. The handle keeps a sentence about the last failure (a71ch_message), the chip's
 * status word when there was one (a71ch_status_word), and errno where the system refused
 * (a71ch_errno). Outputs are untouched after a failure unless said otherwise.
 *
 * After A71CH_ERR_IO and A71CH_ERR_TIMEOUT, and when a server breaks the link's protocol, the
 * connection is closed: a late answer could be taken for the next one. Every later call on the
 * handle then fails with A71CH_ERR_IO; close it and open a new one. The library never connects
 * again by itself, because the caller must know that volatile state of the chip may be gone.
 *
 * Memory. The caller owns all buffers passed in. The handle is opaque; a71ch_close() frees it and
 * takes NULL. After a failed a71ch_open() *out is still a handle (NULL only when memory is short):
 * read its message, then close it. Private keys and shared secrets are wiped from the library's own
 * buffers.
 *
 * Threads. One handle may be used by one thread at a time. Different handles are independent. No
 * signal is raised or handled. After fork() the child must not use the parent's handle except to
 * a71ch_abandon() it.
 *
 * Curve is NIST P-256 throughout. Private keys never leave the chip: there is no call for it.
 */
#ifndef A71CH_H
#define A71CH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define A71CH_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define A71CH_API __attribute__((visibility("default")))
#define A71CH_MUST_USE __attribute__((warn_unused_result))
#else
#define A71CH_API
#define A71CH_MUST_USE
#endif

#define A71CH_HASH_LEN 32
#define A71CH_POINT_LEN 65 /* 04 || X || Y */
#define A71CH_SCALAR_LEN 32
#define A71CH_SECRET_LEN 32    /* X coordinate of an ECDH */
#define A71CH_SIGNATURE_MAX 72 /* DER ECDSA-Sig-Value */
#define A71CH_UID_LEN 18
#define A71CH_CERT_UID_LEN 10
#define A71CH_ATR_MAX 60
#define A71CH_MAP_MAX 203
#define A71CH_APDU_RSP_MAX 258
#define A71CH_SCP_KEY_LEN 16
#define A71CH_PAIR_COUNT 4
#define A71CH_PUB_COUNT 3
#define A71CH_CONFIG_COUNT 3
#define A71CH_SYM_COUNT 8
#define A71CH_COUNTER_COUNT 2
#define A71CH_KEY_LEN 16     /* AES-128: configuration keys, symmetric keys, codes */
#define A71CH_WRAP_EXTRA 8   /* a wrapped key is longer by this. RFC 3394 */
#define A71CH_BLOCKS_MAX 4   /* symmetric keys that form one secret */
#define A71CH_SEGMENT_LEN 32 /* storage is frozen in these */
#define A71CH_RANDOM_LEN 32  /* of a TLS hello */
#define A71CH_MASTER_LEN 48  /* TLS 1.2 master secret */
#define A71CH_LABEL_MAX 24
#define A71CH_DERIVED_MAX 255 /* of one HKDF; 239 under a secure channel */
#define A71CH_SESSION_MAX 256 /* of an exported session */

typedef struct a71ch a71ch;

typedef enum a71ch_result {
    A71CH_OK = 0,
    A71CH_ERR_ARG = -1,        /* usage: an argument is out of range; nothing was sent */
    A71CH_ERR_ADDRESS = -2,    /* usage: the address has no known form */
    A71CH_ERR_CONNECT = -3,    /* I/O: nobody listens there, no permission, unknown host */
    A71CH_ERR_IO = -4,         /* I/O: the connection failed during an exchange */
    A71CH_ERR_TIMEOUT = -5,    /* I/O: no answer in time */
    A71CH_ERR_SELECT = -6,     /* chip status: the applet could not be selected */
    A71CH_ERR_STATUS = -7,     /* chip status: see a71ch_status_word() */
    A71CH_ERR_RESPONSE = -8,   /* protocol: the answer has a wrong length or form */
    A71CH_ERR_SPACE = -9,      /* resource: the caller's buffer is too small */
    A71CH_ERR_MEMORY = -10,    /* resource: out of memory */
    A71CH_ERR_NOT_FOUND = -11, /* state: the chip has no such object */
    A71CH_ERR_EXISTS = -12,    /* state: the chip has an object of this type and index already */
    A71CH_ERR_FULL = -13,      /* resource: no room in the chip's storage */
    A71CH_ERR_FROZEN = -14,    /* state: what would have to change is frozen in the chip */
    A71CH_ERR_BUSY = -15, /* state: another client has leased the chip, or took over a lost lease */
    A71CH_ERR_UNSUPPORTED = -16, /* usage: the link or the server cannot do this */
    A71CH_ERR_CHANNEL = -17,     /* state: the secure channel is over; nothing was sent */
    A71CH_ERR_CRYPTOGRAM = -18,  /* denied: the chip does not have the keys of the channel */
    A71CH_ERR_MAC = -19,         /* denied: an answer in the channel has no right MAC */
    A71CH_ERR_PADDING = -20,     /* protocol: an answer in the channel has wrong padding */
    A71CH_ERR_SESSION = -21      /* state: the session cannot be resumed; open a new connection */
} a71ch_result;

/* Options for a71ch_open(); zero-initialise, set what you need. NULL means all defaults. */
typedef struct a71ch_options {
    unsigned connect_timeout_ms; /* 0: 5000 */
    unsigned answer_timeout_ms;  /* 0: 30000; one APDU */
} a71ch_options;

/* What the applet said of itself. SELECT and module info. */
typedef struct a71ch_module_info {
    uint16_t applet_version;    /* 0x0131: 1.3, bit 0 = debug commands available */
    uint16_t securebox_version; /* from SELECT; 0 when the chip does not say */
    int debug;                  /* 1 when debug commands are available */
    int restricted_pair;        /* index, or -1 for none */
    int transport_lock;         /* 3 open, 1 locked, 2 open for good */
    int scp_state;              /* 2 no keys, 3 keys set, 1 mandatory */
    int inject_lock;            /* 1 locked, 2 unlocked */
    uint16_t gp_size;           /* bytes of general-purpose storage */
} a71ch_module_info;

/*
 * Connect to the chip at `address` (NULL: from the environment) and select the applet; see above
 * for *out. A71CH_ERR_ADDRESS, A71CH_ERR_CONNECT, A71CH_ERR_TIMEOUT, A71CH_ERR_SELECT (with status
 * word), or what an exchange can give. Looking up a host name is not bounded by the time-out.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_open(
    const char *address, const a71ch_options *options, a71ch **out);
A71CH_API void a71ch_close(a71ch *chip);
/* As close, but closes only this process's descriptor: for a child after fork(). Takes NULL. */
A71CH_API void a71ch_abandon(a71ch *chip);

/* About the last failure on this handle; never NULL, "" when none. Valid until the next call. */
A71CH_API const char *a71ch_message(const a71ch *chip);
A71CH_API uint16_t a71ch_status_word(const a71ch *chip); /* last one of the last call; 0: none */
A71CH_API int a71ch_errno(const a71ch *chip);            /* of the last call, or 0 */
A71CH_API const char *a71ch_result_name(a71ch_result result); /* "A71CH_ERR_IO"; static */
A71CH_API const char *a71ch_address(const a71ch *chip);       /* the address in use, normal form */
A71CH_API const char *a71ch_version(void);

/* What the applet answered to SELECT at open; 0 before. 0x0131 is version 1.3 with debug commands.
 */
A71CH_API uint16_t a71ch_applet_version(const a71ch *chip);
A71CH_API uint16_t a71ch_securebox_version(const a71ch *chip); /* 0 when the chip does not say */

/* The ATR the link delivered at open (1..60 bytes, 0 when open failed before it came): copies up to
 * cap bytes, *len is the full length. A71CH_ERR_SPACE when it is longer than cap. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_atr(
    const a71ch *chip, uint8_t *out, size_t cap, size_t *len);

/*
 * One raw APDU of 4..261 bytes, not judged further. `rsp` gets data and status word (2..258 bytes);
 * *rsp_len is its capacity before and its length after. Any status word is A71CH_OK here: read it
 * from the last two bytes or a71ch_status_word(). A71CH_ERR_SPACE: the answer is lost.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_transceive(
    a71ch *chip, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp, size_t *rsp_len);

/*
 * Lease: from here to a71ch_release() only this handle's commands reach the chip; other clients
 * wait. For sequences of commands that must not be torn, such as a challenge and its code, which
 * other clients of an a71chd could come between. The calls below that need it lease the chip
 * themselves. Leases nest. a71ch_close() and the end of the process release them.
 *
 * wait_ms  how long to wait for others, 1 to 60000 (0: 10000)
 * hold_ms  how long it is needed at most, 1 to 60000 (0: 10000); after that it is taken away, and
 * the next command fails with A71CH_ERR_RESPONSE, which closes the connection
 *
 * A71CH_ERR_BUSY: not in time, or too many wait. A71CH_ERR_UNSUPPORTED: the server knows no leases
 * (it is no a71chd). On the I2C link the handle is alone, and both calls only count.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_lease(a71ch *chip, unsigned wait_ms, unsigned hold_ms);
/* A71CH_ERR_ARG: nothing was leased. A71CH_ERR_BUSY: the lease had been taken away. */
A71CH_API a71ch_result a71ch_release(a71ch *chip);
/*
 * Run `fn` with the chip leased, where the server knows leases, and else without: its result, or
 * why the chip could not be leased. What is known of a failure is that of `fn`.
 */
typedef a71ch_result (*a71ch_sequence_fn)(a71ch *chip, void *arg);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sequence(a71ch *chip, a71ch_sequence_fn fn, void *arg);

/*
 * See every command before it is sent, those of a71ch_open() excepted; or answer it in the chip's
 * place. `filter` gets the command in the clear, with the keys in it, and returns 0 to have it
 * sent, or the length of an answer (2..258 bytes, with status word) it wrote to `rsp`. It must not
 * call the library with the same handle. NULL ends it.
 */
typedef size_t (*a71ch_filter)(
    void *arg, const uint8_t *cmd, size_t len, uint8_t rsp[A71CH_APDU_RSP_MAX]);
A71CH_API void a71ch_set_filter(a71ch *chip, a71ch_filter filter, void *arg);

/* Module. SPEC a71ch 7.1. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_get_module_info(a71ch *chip, a71ch_module_info *out);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_get_unique_id(a71ch *chip, uint8_t out[A71CH_UID_LEN]);
/* The 10 bytes of the unique id that NXP puts in certificates. SPEC a71ch 1.3; no chip traffic. */
A71CH_API void a71ch_cert_uid(const uint8_t uid[A71CH_UID_LEN], uint8_t out[A71CH_CERT_UID_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_get_credential_map(
    a71ch *chip, uint8_t out[A71CH_MAP_MAX], size_t *len);
/* `len` random bytes, any length; more than 239 take several commands, and a failure of a later one
 * leaves the bytes before it in `out`. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_get_random(a71ch *chip, uint8_t *out, size_t len);
/*
 * SHA-256 in the chip. Whole: any length; more than 239 bytes take several commands. In parts:
 * init, any number of updates, final. A real chip has one hash under way for all its clients:
 * lease it for the parts.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sha256(
    a71ch *chip, const uint8_t *data, size_t len, uint8_t out[A71CH_HASH_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sha256_init(a71ch *chip);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sha256_update(
    a71ch *chip, const uint8_t *data, size_t len);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sha256_final(a71ch *chip, uint8_t out[A71CH_HASH_LEN]);

/*
 * Locks, each of them for good (a debug reset undoes them on an evaluation chip). SPEC a71ch 1.6.
 *
 * Inject lock: from then on no key enters in the clear; wrapped keys do. Making a key pair, and
 * freezing or erasing a key, takes a code. Symmetric keys can not be erased any more.
 *
 * Transport lock: the chip answers nothing but its unique id, module info and the challenge until
 * it is unlocked with a code, once; then it can never be locked again. Configuration key 0 must be
 * set, and whoever unlocks must know it.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_inject_lock(a71ch *chip);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_transport_lock(a71ch *chip);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_transport_unlock(
    a71ch *chip, const uint8_t code[A71CH_KEY_LEN]);

/*
 * Codes. What is locked asks for proof that the caller knows a configuration key: the chip gives a
 * challenge, the code is that challenge decrypted with the key (AES-128). One challenge, one code;
 * SELECT and a newer challenge of the same kind end it: a71ch_sequence() for both. a71ch_get_code()
 * takes the challenge and makes the code for a caller that has the key; with the key elsewhere (an
 * HSM), take the challenge, have it decrypted there, and give the code to the call named
 * ..._with_code or to a71ch_transport_unlock(). A71CH_ERR_ARG for another kind.
 */
#define A71CH_CODE_MODULE 0 /* transport unlock; configuration key 0 */
#define A71CH_CODE_PAIR 1   /* key pairs; configuration key 1 */
#define A71CH_CODE_PUB 2    /* public keys; configuration key 2 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_get_challenge(
    a71ch *chip, unsigned kind, uint8_t out[A71CH_KEY_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_get_code(a71ch *chip, unsigned kind,
    const uint8_t config_key[A71CH_KEY_LEN], uint8_t out[A71CH_KEY_LEN]);

/*
 * Wrap a key for one of the ..._set calls: RFC 3394 with its default initial value, under the
 * 16-byte key `wrapping`. No chip traffic. `len`: 16 (configuration or symmetric key, wrapped under
 * what its slot holds now), 32 (private key, under configuration key 1) or 64 (X || Y of a public
 * key, without its 04, under configuration key 2). `out` gets len + 8 bytes. A71CH_ERR_ARG: another
 * length; A71CH_ERR_MEMORY: memory is short or libcrypto failed.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_wrap_key(
    const uint8_t wrapping[A71CH_KEY_LEN], const uint8_t *key, size_t len, uint8_t *out);

/* Evaluation chips (debug in a71ch_module_info); others answer an error. */
/* Wipes keys, certificates, counters and locks. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_debug_reset(a71ch *chip);
/* For good: none of the calls of this group works afterwards. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_debug_disable(a71ch *chip);
/* Bytes of free memory of the chip, as it counts them. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_debug_free_persistent(a71ch *chip, int16_t *out);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_debug_free_transient(a71ch *chip, int16_t *out);
/* The chip gives 0..239 bytes back. `out` has room for `len`; A71CH_ERR_RESPONSE: others came. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_debug_reflect(
    a71ch *chip, const uint8_t *data, size_t len, uint8_t *out);
/* Counter back to 0. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_debug_counter_erase(a71ch *chip, unsigned index);

/*
 * Key pairs, index 0..3 (else A71CH_ERR_ARG). SPEC a71ch 2.3. A frozen pair can be used but never
 * changed again. ..._with_code: what a chip with its inject lock on asks for; the code is of kind
 * A71CH_CODE_PAIR.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_generate(a71ch *chip, unsigned index);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_generate_with_code(
    a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_set(a71ch *chip, unsigned index,
    const uint8_t pub[A71CH_POINT_LEN], const uint8_t *priv,
    size_t priv_len /* 32, or 40 wrapped */);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_get_public(
    a71ch *chip, unsigned index, uint8_t out[A71CH_POINT_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_erase(a71ch *chip, unsigned index);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_erase_with_code(
    a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_freeze(a71ch *chip, unsigned index);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_freeze_with_code(
    a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN]);
/*
 * ECDSA over a 32-byte hash. `out` gets a strict DER signature (8..72 bytes): the chip's redundant
 * leading zeros and trailing padding (SPEC a71ch 3.1) are removed. A71CH_ERR_RESPONSE: the answer
 * is no signature.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_sign(a71ch *chip, unsigned index,
    const uint8_t hash[A71CH_HASH_LEN], uint8_t out[A71CH_SIGNATURE_MAX], size_t *out_len);
/* ECDH with the peer's point: the 32-byte X coordinate. The caller wipes it. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_ecdh(a71ch *chip, unsigned index,
    const uint8_t peer[A71CH_POINT_LEN], uint8_t out[A71CH_SECRET_LEN]);

/*
 * The restricted key pair, of which a factory can make one: it signs a part of storage, in which
 * each signature replaces some blocks. SPEC a71ch 1.6. Sign: the blocks' new bytes, 1..239 in all,
 * in their order; *count is how often it has signed, and the signature stands in storage.
 * Usage: *used and *max are 0 for a pair that is not restricted.
 */
typedef struct a71ch_restricted {
    int pair; /* index, or -1: there is none, and no blocks */
    size_t block_count;
    struct {
        uint16_t offset; /* in storage */
        uint16_t len;
    } blocks[63];
} a71ch_restricted;
A71CH_API A71CH_MUST_USE a71ch_result a71ch_get_restricted(a71ch *chip, a71ch_restricted *out);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_get_usage(
    a71ch *chip, unsigned index, unsigned *used, unsigned *max);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_restricted_sign(
    a71ch *chip, unsigned index, const uint8_t *update, size_t len, unsigned *count);

/* Public keys, index 0..2; codes are of kind A71CH_CODE_PUB. SPEC a71ch 2.4. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pub_set(
    a71ch *chip, unsigned index, const uint8_t *pub, size_t len /* 65, or 72 wrapped */);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pub_get(
    a71ch *chip, unsigned index, uint8_t out[A71CH_POINT_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pub_erase(a71ch *chip, unsigned index);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pub_erase_with_code(
    a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pub_freeze(a71ch *chip, unsigned index);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pub_freeze_with_code(
    a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN]);
/* *valid is 1 or 0. A wrong signature is A71CH_OK with *valid 0. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pub_verify(a71ch *chip, unsigned index,
    const uint8_t hash[A71CH_HASH_LEN], const uint8_t *sig, size_t sig_len, int *valid);
/* The same with a key that is not stored in the chip. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_verify_with_key(a71ch *chip,
    const uint8_t pub[A71CH_POINT_LEN], const uint8_t hash[A71CH_HASH_LEN], const uint8_t *sig,
    size_t sig_len, int *valid);

/*
 * Configuration keys, index 0..2, and symmetric keys, index 0..7: 16 bytes, or 24 when wrapped
 * under what the slot holds now (a71ch_wrap_key). They never leave the chip. A configuration key
 * can be replaced but not erased. SPEC a71ch 2.5.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_config_set(
    a71ch *chip, unsigned index, const uint8_t *key, size_t len);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sym_set(
    a71ch *chip, unsigned index, const uint8_t *key, size_t len);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sym_erase(a71ch *chip, unsigned index);
/* Applets before 1.3 only; others answer an error. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sym_freeze(a71ch *chip, unsigned index);

/*
 * Derivation. The secret is `blocks` (1..4) symmetric keys from `index` on, one behind the other,
 * not beyond slot 7. SPEC a71ch 3.3, 3.5. What is derived is the caller's to wipe.
 *
 * HMAC-SHA-256, whole or in parts: as a71ch_sha256; index and blocks the same in every part.
 *
 * HKDF with SHA-256, RFC 5869: `salt` NULL (then salt_len 0) leaves the extraction out, and the
 * secret itself is the pseudo-random key; the salt that the RFC means by "none" is 32 zero bytes.
 * info up to 192 bytes, salt and info together up to 237; 1..255 bytes come out.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sym_hmac(a71ch *chip, unsigned index, unsigned blocks,
    const uint8_t *data, size_t len, uint8_t out[A71CH_HASH_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sym_hmac_init(
    a71ch *chip, unsigned index, unsigned blocks);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sym_hmac_update(
    a71ch *chip, unsigned index, unsigned blocks, const uint8_t *data, size_t len);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sym_hmac_final(
    a71ch *chip, unsigned index, unsigned blocks, uint8_t out[A71CH_HASH_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sym_hkdf(a71ch *chip, unsigned index, unsigned blocks,
    const uint8_t *salt, size_t salt_len, const uint8_t *info, size_t info_len, uint8_t *out,
    size_t out_len);
/*
 * TLS 1.2 with a pre-shared key. a71ch_get_client_hello_random() makes the ClientHello's random and
 * keeps it in the chip; the very next command must be one of the two others, which give the master
 * secret: PSK (RFC 4279), or ECDHE-PSK with key pair `pair` and the peer's point (RFC 5489). Any
 * command between them spoils it: lease the chip. The label that goes in is "master secret"
 * unless another was set (1..24 bytes; it stays in the chip).
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_get_client_hello_random(
    a71ch *chip, uint8_t out[A71CH_RANDOM_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_sym_psk_master(a71ch *chip, unsigned index,
    unsigned blocks, const uint8_t server_random[A71CH_RANDOM_LEN], uint8_t out[A71CH_MASTER_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_pair_psk_master(a71ch *chip, unsigned pair,
    const uint8_t peer[A71CH_POINT_LEN], unsigned index, unsigned blocks,
    const uint8_t server_random[A71CH_RANDOM_LEN], uint8_t out[A71CH_MASTER_LEN]);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_set_tls_label(
    a71ch *chip, const uint8_t *label, size_t len);

/* Monotonic counters, index 0..1. Set: to a higher value only. SPEC a71ch 3.8. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_counter_get(a71ch *chip, unsigned index, uint32_t *out);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_counter_set(
    a71ch *chip, unsigned index, uint32_t value);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_counter_increment(a71ch *chip, unsigned index);

/*
 * General-purpose storage: any offset and length inside it. More than 239 bytes take several
 * commands; when a later one fails, those before it are done.
 *
 * Checked: looks for frozen segments before a write of several commands, so that it is done whole
 * or not at all as far as they are concerned; A71CH_ERR_FROZEN. Freeze: whole segments of 32 bytes
 * (else A71CH_ERR_ARG), for good.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_gp_read(
    a71ch *chip, unsigned offset, uint8_t *out, size_t len);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_gp_write(
    a71ch *chip, unsigned offset, const uint8_t *data, size_t len);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_gp_write_checked(
    a71ch *chip, unsigned offset, const uint8_t *data, size_t len);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_gp_freeze(a71ch *chip, unsigned offset, size_t len);

/*
 * Objects: certificates and data, by index, in general-purpose storage. The chip knows nothing of
 * them; a table at the end of storage, of the form that NXP's host library and tools use, says
 * where they are (SPEC a71ch 8.8), so both see each other's objects.
 *
 * A change never shows half of an object, whenever power goes: what a list shows is the state
 * before or after. Only an update that needs more than one command and finds no room for a copy in
 * storage can leave the object missing (never torn). More than one program may read; while one
 * changes objects no other may.
 *
 * All of these: what an exchange can give; A71CH_ERR_RESPONSE when the end of storage is no table
 * (raw data was written there), A71CH_ERR_ARG for another type.
 */
#define A71CH_CERTIFICATE 0x09
#define A71CH_DATA 0x0a
#define A71CH_OBJECT_COUNT_MAX 254

typedef struct a71ch_object {
    uint8_t type; /* A71CH_CERTIFICATE, A71CH_DATA, or what another program invented */
    uint8_t index;
    uint16_t offset; /* in storage */
    uint16_t len;    /* as stored, padding included; 0: not known */
} a71ch_object;

/* Copies up to `cap` objects in order of their offsets; *count is how many there are. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_object_list(
    a71ch *chip, a71ch_object *out, size_t cap, size_t *count);
/* A71CH_ERR_NOT_FOUND. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_object_find(
    a71ch *chip, uint8_t type, uint8_t index, a71ch_object *out);
/*
 * Create: `len` bytes (at least 1), then zeros up to `size` bytes; size 0 means len. Where it goes:
 * SPEC a71ch 8.8, "Allocation". A71CH_ERR_EXISTS, A71CH_ERR_FULL, A71CH_ERR_FROZEN.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_object_write(
    a71ch *chip, uint8_t type, uint8_t index, const uint8_t *data, size_t len, size_t size);
/* Bytes from `offset` in the object; *len is how many are wanted before, how many came after (fewer
 * at the object's end). A71CH_ERR_NOT_FOUND; A71CH_ERR_ARG: the offset is behind its end. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_object_read(
    a71ch *chip, uint8_t type, uint8_t index, size_t offset, uint8_t *out, size_t *len);
/*
 * Replace bytes from `offset` in the object, which stays where it is and may grow: data up to whole
 * segments of 32 bytes, a certificate up to the next object; it never shrinks. A71CH_ERR_NOT_FOUND;
 * A71CH_ERR_FULL: too long for its place; A71CH_ERR_FROZEN.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_object_update(
    a71ch *chip, uint8_t type, uint8_t index, size_t offset, const uint8_t *data, size_t len);
/* Out of the table; its bytes stay in storage. A71CH_ERR_NOT_FOUND, A71CH_ERR_FROZEN. */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_object_erase(a71ch *chip, uint8_t type, uint8_t index);
/*
 * A certificate without its padding: as many bytes as its DER header says. *len is the room before,
 * the length after. A71CH_ERR_NOT_FOUND; A71CH_ERR_SPACE (*len is what it needs);
 * A71CH_ERR_RESPONSE: the object holds no DER sequence.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_certificate_read(
    a71ch *chip, uint8_t index, uint8_t *out, size_t *len);

/*
 * The secure channel, SCP03. SPEC a71ch 4.
 *
 * While a channel is up every call goes through it: data is encrypted and has a MAC, both ways.
 * Only a71ch_debug_reset() goes around it, as in NXP's library, and a71ch_transceive(), which sends
 * what it is given. An answer 9000 or with data must have a right MAC, otherwise nothing of it is
 * given out and the call fails with A71CH_ERR_MAC. A bare error status word is taken as such
 * (A71CH_ERR_STATUS): the chip sends them, and a stranger could; so after an error in a channel a
 * change may or may not have been made. A71CH_CHANNEL_STRICT refuses them, too, for chips that give
 * their errors a MAC.
 *
 * After A71CH_ERR_MAC and A71CH_ERR_PADDING, and when the chip has ended the channel (a bare 6982),
 * it is over: each call fails with A71CH_ERR_CHANNEL and sends nothing, never in the clear instead,
 * until a71ch_channel_open() succeeds or a71ch_channel_close() says that the clear is meant. SELECT
 * and debug reset end the channel in the chip.
 */
#define A71CH_CHANNEL_STRICT 1u

/* The caller wipes them; the library keeps only what it derives from them for one channel. */
typedef struct a71ch_scp_keys {
    uint8_t enc[A71CH_SCP_KEY_LEN];
    uint8_t mac[A71CH_SCP_KEY_LEN];
    uint8_t dek[A71CH_SCP_KEY_LEN];
} a71ch_scp_keys;

typedef enum a71ch_channel {
    A71CH_CHANNEL_NONE = 0, /* calls go in the clear */
    A71CH_CHANNEL_UP = 1,
    A71CH_CHANNEL_OVER = 2 /* see above */
} a71ch_channel;

/*
 * Give the chip its keys, once: only debug reset removes them. They travel in the clear. The first
 * a71ch_channel_open() after it makes the channel mandatory, for good. A71CH_ERR_STATUS with 6985:
 * it has keys.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_scp_put_keys(
    a71ch *chip, uint8_t version, const a71ch_scp_keys *keys);

/*
 * Authenticate both ways; flags 0 or A71CH_CHANNEL_STRICT. A channel that was up is replaced.
 * A71CH_ERR_CRYPTOGRAM: the chip has other keys. A71CH_ERR_STATUS: it refused (6A88: it has none;
 * 6982: it does not believe us). After a failure calls go in the clear only if they did before.
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_channel_open(
    a71ch *chip, const a71ch_scp_keys *keys, unsigned flags);
/* Forget the channel; the chip is told nothing. Calls go in the clear from now on. */
A71CH_API void a71ch_channel_close(a71ch *chip);
A71CH_API a71ch_channel a71ch_channel_state(const a71ch *chip);

/*
 * A session for the next program: a boot loader connects, opens the secure channel and leaves both
 * to the system it starts, which needs neither the keys nor the time. SPEC a71ch 4.7, 7.3.
 *
 *     first:  a71ch_open, a71ch_channel_open, ..., a71ch_session_export, a71ch_close
 *     second: a71ch_session_resume, ..., a71ch_close
 *
 * What goes on: the selected applet, the sequence number of the I2C link, the secure channel when
 * one is up, and what the chip itself keeps (a hash in parts, a challenge). A lease does not.
 *
 *     i2c:          always, as long as the chip has power and nobody else talks to it
 *     tcp:, unix:   when the server's chip has one session for all clients, as a71chd --i2c and
 *                   NXP's servers have it. A simulated chip behind a71chd gives each connection a
 *                   session of its own, which ends with it: A71CH_ERR_SESSION at the resume
 *     sim:          never, since that chip ends with its handle: A71CH_ERR_UNSUPPORTED
 *
 * Export ends this handle's connection, without a word to the chip, and wipes its channel, so that
 * only the other can go on; close it then. `out` gets the bytes, *len is its room before
 * (A71CH_SESSION_MAX is always enough) and their count after. They are good once, on the same kind
 * of link, and only for a version of the library that knows their form; treat them as opaque.
 * With a channel up they hold its session keys: whoever reads them can go on in your place, whoever
 * alters them decides whom you speak to. Keep them where nobody else comes, and wipe them after the
 * resume. A71CH_ERR_SPACE (*len is what it needs; the handle can go on), A71CH_ERR_IO: there is no
 * connection; A71CH_ERR_CHANNEL: the channel is over.
 *
 * Resume takes the bytes, judges them before anything is sent, connects without a reset or a SELECT,
 * and asks the chip for its module info, in the channel when there is one: so after A71CH_OK both
 * agree. Address and options are those of a71ch_open(), and so is *out. A71CH_ERR_SESSION: the bytes
 * are damaged, of another version or another kind of link, or the chip does not go on with them,
 * because it was reset, switched off or used since. Never resume the same bytes twice: with a channel
 * the second fails and can end the channel of the first, without one both may go on and disturb each
 * other. Otherwise what connecting and an exchange can give; whatever it is, the cure is
 * a71ch_open().
 */
A71CH_API A71CH_MUST_USE a71ch_result a71ch_session_export(a71ch *chip, uint8_t *out, size_t *len);
A71CH_API A71CH_MUST_USE a71ch_result a71ch_session_resume(const char *address,
    const a71ch_options *options, const uint8_t *session, size_t len, a71ch **out);

#ifdef __cplusplus
}
#endif
#endif

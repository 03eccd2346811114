/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PKCS #11 2.40 module: one slot, whose token is the A71CH. For programs whose TLS takes keys
 * by PKCS #11 and never sees OpenSSL.
 *
 * Model. One `struct module` per process, because PKCS #11 knows no instances. Its lock is held
 * through each call, the chip's answer included: the chip serves one after another anyway. Objects
 * are what the chip holds; a search reads the chip anew, so nothing that another program made or
 * erased is missed, and keeps what it read for the attributes. A handle is made of kind and index
 * and so means the same thing for good.
 *
 * The chip needs no PIN: objects are visible without login, and a login with whatever PIN succeeds,
 * for clients that cannot do without. Nothing here overwrites, erases or locks anything.
 *
 * After fork() the child must C_Initialize again; it then gets a connection of its own.
 *
 * Digests are libcrypto's plain functions and no EVP: the program that calls may be OpenSSL itself,
 * configured to come here, or another library whose names are much the same.
 */
#ifndef BM_OPENSSL_PKCS11_H
#define BM_OPENSSL_PKCS11_H

#include "openssl/core/random.h"
#include "openssl/core/shared_chip.h"
#include "openssl/pkcs11/certificate.h"
#include "openssl/pkcs11/hash.h"

#include <p11-kit/pkcs11.h>
#include <pthread.h>

enum {
    SLOT = 0,
    SESSIONS_MAX = 1024,
    SECRETS_MAX = 256,
    ITEMS_MAX = 64,     /* certificates and data objects that are looked at */
    OBJECT_MAX = 4096,  /* bytes of one; all of the chip's storage */
    SIGNATURE_LEN = 64, /* r and s */
    NO_PAIR = -1,
    VALUE_ROOM = 96,
};

/* Numbers are part of handles. */
enum kind {
    KIND_PRIVATE = 1, /* key pair: private key */
    KIND_PUBLIC,      /* its public key */
    KIND_STORED,      /* a public key of somebody else */
    KIND_CERTIFICATE,
    KIND_DATA,
    KIND_SECRET, /* what a derivation gave; lives as long as its session */
};

struct point {
    bool present;
    uint8_t bytes[A71CH_POINT_LEN];
};

/* A certificate or a data object. */
struct item {
    enum kind kind;
    unsigned index;
    uint8_t *bytes; /* owned */
    size_t len;
    struct certificate cert; /* points into `bytes` */
    int pair;                /* whose public key the certificate has, or NO_PAIR */
};

struct secret {
    struct secret *next;
    CK_OBJECT_HANDLE handle;
    CK_SESSION_HANDLE owner;
    CK_KEY_TYPE type;
    bool sensitive;
    bool extractable;
    size_t len;
    uint8_t bytes[A71CH_SECRET_LEN];
};

/* What was last read of the chip. */
struct contents {
    bool keys_read;
    bool items_read;
    struct point pairs[A71CH_PAIR_COUNT];
    struct point pubs[A71CH_PUB_COUNT];
    struct item items[ITEMS_MAX];
    size_t item_count;
};

/* A signature or a verification under way. */
struct operation {
    bool active;
    bool in_parts; /* bytes came by an update */
    enum kind kind;
    unsigned index;
    const struct hash *hash; /* NULL: the caller hashes */
    union hash_state state;
};

struct session {
    struct session *next;
    struct module *module;
    CK_SESSION_HANDLE handle;
    bool writable;
    struct operation sign;
    struct operation verify;
    bool searching;
    CK_OBJECT_HANDLE *found; /* owned; those from `found_next` on were not given yet */
    size_t found_count;
    size_t found_next;
};

struct module {
    pthread_mutex_t lock;
    bool ready;
    bool log;
    bool user;                /* somebody logged in */
    struct shared_chip *chip; /* when not ready: NULL, or what a parent had */
    struct mixed_random random;
    struct contents contents;
    struct session *sessions;
    unsigned session_count;
    CK_SESSION_HANDLE last_session;
    struct secret *secrets;
    unsigned secret_count;
    CK_OBJECT_HANDLE last_secret;
};

/* ---- module.c ---- */

/* Take the lock for a call: CKR_OK, or why there can be none, and then nothing is locked. */
CK_RV p11_enter(struct module **m);
CK_RV p11_enter_session(CK_SESSION_HANDLE handle, struct session **s);
/* Give it back, and the call's result with it: `return p11_leave(...)`. */
CK_RV p11_leave(CK_RV rv);

/* Give `rv` back and, when A71CH_PKCS11_LOG asks for it, tell the cause on stderr. */
CK_RV p11_fail(const struct module *m, CK_RV rv, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* What went wrong with the chip, as a result: `absent` when it could not be reached. */
CK_RV p11_chip_result(
    const struct module *m, enum bm_err err, const struct bm_msg *msg, CK_RV absent);

/* ---- slot.c: slot, token, mechanisms, sessions ---- */

CK_RV p11_get_slot_list(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count);
CK_RV p11_get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info);
CK_RV p11_get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info);
CK_RV p11_get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count);
CK_RV p11_get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info);
CK_RV p11_wait_for_slot_event(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR reserved);
CK_RV p11_open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
    CK_SESSION_HANDLE_PTR handle);
CK_RV p11_close_session(CK_SESSION_HANDLE handle);
CK_RV p11_close_all_sessions(CK_SLOT_ID slot);
CK_RV p11_get_session_info(CK_SESSION_HANDLE handle, CK_SESSION_INFO_PTR info);
CK_RV p11_login(CK_SESSION_HANDLE handle, CK_USER_TYPE type, CK_UTF8CHAR_PTR pin, CK_ULONG pin_len);
CK_RV p11_logout(CK_SESSION_HANDLE handle);
/* Space-padded, as PKCS #11 has its texts. */
void p11_text(unsigned char *out, size_t len, const char *text);
void p11_drop_sessions(struct module *m);

/* ---- object.c: what the chip holds, and what is known of it ---- */

struct object {
    enum kind kind;
    unsigned index;
    const uint8_t *point;    /* of a key */
    const struct item *item; /* of a certificate or data object */
    const struct secret *secret;
};

enum known { KNOWN, UNKNOWN, SENSITIVE };

/* One attribute's value; it borrows from `room`, from the object or from static storage. */
struct value {
    struct span bytes;
    uint8_t room[VALUE_ROOM];
};

enum known p11_attribute(const struct object *o, CK_ATTRIBUTE_TYPE type, struct value *v);
/* CKR_OBJECT_HANDLE_INVALID; else the chip could not be asked. */
CK_RV p11_object(struct module *m, CK_OBJECT_HANDLE handle, struct object *o);
CK_OBJECT_HANDLE p11_handle(enum kind kind, unsigned index);
/* The attribute of the template, or NULL. */
const CK_ATTRIBUTE *p11_template(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type);
/* The boolean or number that a template has; false: none, or not of that size. */
bool p11_template_bool(
    const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type, bool *value);
bool p11_template_number(
    const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ULONG *value);
/* No entry says that it has bytes and has none. */
bool p11_template_valid(const CK_ATTRIBUTE *list, CK_ULONG count);
void p11_drop_contents(struct contents *c);

CK_RV p11_find_objects_init(CK_SESSION_HANDLE handle, CK_ATTRIBUTE_PTR list, CK_ULONG count);
CK_RV p11_find_objects(
    CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE_PTR out, CK_ULONG max, CK_ULONG_PTR count);
CK_RV p11_find_objects_final(CK_SESSION_HANDLE handle);
CK_RV p11_get_attribute_value(
    CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR list, CK_ULONG count);
CK_RV p11_destroy_object(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object);

/* ---- sign.c ---- */

CK_RV p11_sign_init(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key);
CK_RV p11_sign(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR signature,
    CK_ULONG_PTR signature_len);
CK_RV p11_sign_update(CK_SESSION_HANDLE handle, CK_BYTE_PTR part, CK_ULONG len);
CK_RV p11_sign_final(CK_SESSION_HANDLE handle, CK_BYTE_PTR signature, CK_ULONG_PTR signature_len);
CK_RV p11_verify_init(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key);
CK_RV p11_verify(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR signature,
    CK_ULONG signature_len);
CK_RV p11_verify_update(CK_SESSION_HANDLE handle, CK_BYTE_PTR part, CK_ULONG len);
CK_RV p11_verify_final(CK_SESSION_HANDLE handle, CK_BYTE_PTR signature, CK_ULONG signature_len);

/* ---- key.c: what makes keys, and random bytes ---- */

CK_RV p11_generate_key_pair(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism,
    CK_ATTRIBUTE_PTR public_list, CK_ULONG public_count, CK_ATTRIBUTE_PTR private_list,
    CK_ULONG private_count, CK_OBJECT_HANDLE_PTR public_key, CK_OBJECT_HANDLE_PTR private_key);
CK_RV p11_derive_key(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE base,
    CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR key);
CK_RV p11_generate_random(CK_SESSION_HANDLE handle, CK_BYTE_PTR out, CK_ULONG len);
void p11_drop_secret(struct module *m, CK_OBJECT_HANDLE handle);
void p11_drop_secrets(struct module *m, CK_SESSION_HANDLE owner);

#endif

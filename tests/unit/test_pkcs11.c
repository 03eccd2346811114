/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of the PKCS #11 module: as built, by dlopen, over a real a71chd on a Unix socket.
 * Signatures and secrets are held against libcrypto.
 */
#include "a71ch.h"
#include "base/file.h"

#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "certs.h"
#include "chip_daemon.h"

enum { THREADS = 8, SIGNATURES_PER_THREAD = 20, POINT_LEN = A71CH_POINT_LEN, SIG_LEN = 64 };

struct world {
    char dir[64];
    char address[96];
    pid_t daemon;
    uint8_t points[2][POINT_LEN]; /* of key pairs 0 and 1 */
    CK_SESSION_HANDLE session;    /* R/W */
};

static CK_FUNCTION_LIST *p11;
static const uint8_t text[] = "the quick brown fox";
static uint8_t p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };

#define assert_rv(call, rv) assert_int_equal((call), (rv))
#define CK_TEXT(s) ((CK_BYTE_PTR)(uintptr_t)(s))

/* --- the world ------------------------------------------------------------------------------ */

static void
make_keys(struct world *w)
{
    a71ch *chip;

    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(a71ch_pair_generate(chip, i), A71CH_OK);
        assert_int_equal(a71ch_pair_get_public(chip, i, w->points[i]), A71CH_OK);
    }
    a71ch_close(chip);
}

static int
set_up_bare(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/bm-pkcs11-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->address, sizeof w->address, "unix:%s/sock", w->dir);
    assert_int_equal(setenv("A71CH_ADDRESS", w->address, 1), 0);
    *state = w;
    return 0;
}

static CK_SESSION_HANDLE
open_session(CK_FLAGS flags)
{
    CK_SESSION_HANDLE handle = 0;

    assert_rv(p11->C_OpenSession(0, CKF_SERIAL_SESSION | flags, NULL, NULL, &handle), CKR_OK);
    assert_int_not_equal(handle, 0);
    return handle;
}

static int
set_up(void **state)
{
    struct world *w;

    (void)set_up_bare(state);
    w = *state;
    w->daemon = chip_daemon_start(w->dir, w->address);
    make_keys(w);
    assert_rv(p11->C_Initialize(NULL), CKR_OK);
    w->session = open_session(CKF_RW_SESSION);
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;
    CK_RV rv = p11->C_Finalize(NULL);

    assert_true(rv == CKR_OK || rv == CKR_CRYPTOKI_NOT_INITIALIZED);
    chip_daemon_stop(&w->daemon);
    assert_int_equal(dir_remove(w->dir, NULL), BM_OK);
    free(w);
    return 0;
}

/* --- helpers -------------------------------------------------------------------------------- */

/* How many there are; the first of them in *first. */
static CK_ULONG
find(const struct world *w, CK_ATTRIBUTE *list, CK_ULONG count, CK_OBJECT_HANDLE *first)
{
    CK_OBJECT_HANDLE found[64] = { 0 };
    CK_ULONG n = 0;

    assert_rv(p11->C_FindObjectsInit(w->session, list, count), CKR_OK);
    assert_rv(p11->C_FindObjects(w->session, found, 64, &n), CKR_OK);
    assert_rv(p11->C_FindObjectsFinal(w->session), CKR_OK);
    if (first != NULL)
        *first = found[0];
    return n;
}

static CK_OBJECT_HANDLE
labelled(const struct world *w, CK_OBJECT_CLASS class, const char *label)
{
    CK_ATTRIBUTE list[] = {
        { CKA_CLASS, &class, sizeof class },
        { CKA_LABEL, CK_TEXT(label), strlen(label) },
    };
    CK_OBJECT_HANDLE o = 0;

    assert_int_equal(find(w, list, 2, &o), 1);
    return o;
}

static CK_OBJECT_HANDLE
private_key(const struct world *w, const char *label)
{
    return labelled(w, CKO_PRIVATE_KEY, label);
}

/* The attribute's bytes; its length. */
static CK_ULONG
get(const struct world *w, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, uint8_t *out, size_t cap)
{
    CK_ATTRIBUTE a = { type, NULL, 0 };

    assert_rv(p11->C_GetAttributeValue(w->session, o, &a, 1), CKR_OK);
    assert_true(a.ulValueLen <= cap);
    a.pValue = out;
    assert_rv(p11->C_GetAttributeValue(w->session, o, &a, 1), CKR_OK);
    return a.ulValueLen;
}

static void
expect(const struct world *w, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, const void *bytes,
    size_t len)
{
    uint8_t got[4096];

    assert_int_equal(get(w, o, type, got, sizeof got), len);
    assert_memory_equal(got, bytes, len);
}

static void
expect_bool(const struct world *w, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, CK_BBOOL value)
{
    expect(w, o, type, &value, sizeof value);
}

static void
expect_number(const struct world *w, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    expect(w, o, type, &value, sizeof value);
}

static CK_RV
refusal(const struct world *w, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type)
{
    uint8_t bytes[128];
    CK_ATTRIBUTE a = { type, bytes, sizeof bytes };
    CK_RV rv = p11->C_GetAttributeValue(w->session, o, &a, 1);

    assert_int_equal(a.ulValueLen, CK_UNAVAILABLE_INFORMATION);
    return rv;
}

static EVP_PKEY *
public_of(const uint8_t point[POINT_LEN])
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    char group[] = "prime256v1";
    uint8_t copy[POINT_LEN];
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group - 1),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, sizeof copy),
        OSSL_PARAM_END,
    };
    EVP_PKEY *pkey = NULL;

    memcpy(copy, point, sizeof copy);
    assert_int_equal(EVP_PKEY_fromdata_init(c), 1);
    assert_int_equal(EVP_PKEY_fromdata(c, &pkey, EVP_PKEY_PUBLIC_KEY, params), 1);
    EVP_PKEY_CTX_free(c);
    return pkey;
}

static void
point_of(EVP_PKEY *pkey, uint8_t out[POINT_LEN])
{
    size_t len = 0;

    assert_int_equal(EVP_PKEY_get_octet_string_param(
                         pkey, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, out, POINT_LEN, &len),
        1);
    assert_int_equal(len, POINT_LEN);
}

/* Is r||s a signature over the digest? libcrypto says so. */
static bool
is_signature(const uint8_t point[POINT_LEN], const uint8_t *hash, size_t hash_len,
    const uint8_t raw[SIG_LEN])
{
    EVP_PKEY *pkey = public_of(point);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pkey, NULL);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    unsigned char *der = NULL;
    int len;
    bool is;

    assert_int_equal(
        ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL)), 1);
    len = i2d_ECDSA_SIG(sig, &der);
    is = EVP_PKEY_verify_init(c) == 1 && EVP_PKEY_verify(c, der, (size_t)len, hash, hash_len) == 1;
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(pkey);
    return is;
}

static CK_RV
init(const struct world *w, CK_C_SignInit fn, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM m = { type, NULL, 0 };

    return fn(w->session, &m, key);
}

static void
sign_text(const struct world *w, CK_OBJECT_HANDLE key, uint8_t sig[SIG_LEN])
{
    CK_ULONG len = SIG_LEN;

    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA_SHA256, key), CKR_OK);
    assert_rv(p11->C_Sign(w->session, CK_TEXT(text), sizeof text, sig, &len), CKR_OK);
    assert_int_equal(len, SIG_LEN);
}

static void
hash_text(const char *name, uint8_t out[64], size_t *len)
{
    assert_int_equal(EVP_Q_digest(NULL, name, NULL, text, sizeof text, out, len), 1);
}

/* --- the module ----------------------------------------------------------------------------- */

static void
nothing_but_the_list_is_exported(void **state)
{
    void *so = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);

    (void)state;
    assert_non_null(so);
    assert_non_null(dlsym(so, "C_GetFunctionList"));
    assert_null(dlsym(so, "a71ch_open"));
    assert_null(dlsym(so, "p11_sign"));
    assert_int_equal(dlclose(so), 0);
    assert_int_equal(p11->version.major, 2);
    assert_int_equal(p11->version.minor, 40);
    for (size_t i = 0;
         i < (sizeof *p11 - offsetof(CK_FUNCTION_LIST, C_Initialize)) / sizeof(void *); i++)
        assert_non_null(((void **)&p11->C_Initialize)[i]);
}

static void
before_initialize_every_call_is_refused(void **state)
{
    CK_INFO info;
    CK_ULONG n = 0;
    CK_SESSION_HANDLE s = 0;
    CK_SLOT_ID slot;
    CK_OBJECT_HANDLE o;
    CK_MECHANISM m = { CKM_ECDSA, NULL, 0 };
    CK_BYTE b[64];

    (void)state;
#define REFUSED(call) assert_rv((call), CKR_CRYPTOKI_NOT_INITIALIZED)
    REFUSED(p11->C_Finalize(NULL));
    REFUSED(p11->C_GetInfo(&info));
    REFUSED(p11->C_GetSlotList(CK_FALSE, NULL, &n));
    REFUSED(p11->C_GetSlotInfo(0, NULL));
    REFUSED(p11->C_GetTokenInfo(0, NULL));
    REFUSED(p11->C_GetMechanismList(0, NULL, &n));
    REFUSED(p11->C_GetMechanismInfo(0, CKM_ECDSA, NULL));
    REFUSED(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    REFUSED(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &s));
    REFUSED(p11->C_CloseSession(1));
    REFUSED(p11->C_CloseAllSessions(0));
    REFUSED(p11->C_GetSessionInfo(1, NULL));
    REFUSED(p11->C_Login(1, CKU_USER, NULL, 0));
    REFUSED(p11->C_Logout(1));
    REFUSED(p11->C_DestroyObject(1, 1));
    REFUSED(p11->C_GetAttributeValue(1, 1, NULL, 0));
    REFUSED(p11->C_FindObjectsInit(1, NULL, 0));
    REFUSED(p11->C_FindObjects(1, &o, 1, &n));
    REFUSED(p11->C_FindObjectsFinal(1));
    REFUSED(p11->C_SignInit(1, &m, 1));
    REFUSED(p11->C_Sign(1, b, 1, b, &n));
    REFUSED(p11->C_SignUpdate(1, b, 1));
    REFUSED(p11->C_SignFinal(1, b, &n));
    REFUSED(p11->C_VerifyInit(1, &m, 1));
    REFUSED(p11->C_Verify(1, b, 1, b, 64));
    REFUSED(p11->C_VerifyUpdate(1, b, 1));
    REFUSED(p11->C_VerifyFinal(1, b, 64));
    REFUSED(p11->C_GenerateKeyPair(1, &m, NULL, 0, NULL, 0, &o, &o));
    REFUSED(p11->C_DeriveKey(1, &m, 1, NULL, 0, &o));
    REFUSED(p11->C_GenerateRandom(1, b, 1));
#undef REFUSED
}

static CK_RV
lock_fn(void *mutex)
{
    (void)mutex;
    abort(); /* the module has locks of its own */
}

static CK_RV
create_fn(void **mutex)
{
    (void)mutex;
    abort();
}

static void
initialize_judges_its_arguments(void **state)
{
    CK_C_INITIALIZE_ARGS a = { 0 };
    char good[] = "address=127.0.0.1:1";
    char bad[] = "address=nowhere";
    char unknown[] = "slot=1";

    (void)state;
    a.CreateMutex = create_fn;
    assert_rv(p11->C_Initialize(&a), CKR_ARGUMENTS_BAD); /* one of four */
    a.DestroyMutex = a.LockMutex = a.UnlockMutex = lock_fn;
    assert_rv(p11->C_Initialize(&a), CKR_CANT_LOCK);
    a.flags = CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS;
    assert_rv(p11->C_Initialize(&a), CKR_OK);
    assert_rv(p11->C_Initialize(&a), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    assert_rv(p11->C_Finalize(&a), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_Finalize(NULL), CKR_OK);
    assert_rv(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    a.pReserved = bad;
    assert_rv(p11->C_Initialize(&a), CKR_ARGUMENTS_BAD);
    a.pReserved = unknown;
    assert_rv(p11->C_Initialize(&a), CKR_ARGUMENTS_BAD);
    a.pReserved = good;
    assert_rv(p11->C_Initialize(&a), CKR_OK);
    assert_rv(p11->C_Finalize(NULL), CKR_OK);
}

static void
address_that_is_handed_over_goes_before_the_environment(void **state)
{
    const struct world *w = *state;
    char parameter[128];
    CK_C_INITIALIZE_ARGS a = { .flags = CKF_OS_LOCKING_OK, .pReserved = parameter };
    CK_ULONG n = 9;

    assert_rv(p11->C_Finalize(NULL), CKR_OK);
    assert_int_equal(setenv("A71CH_ADDRESS", "unix:/nonexistent", 1), 0);
    (void)snprintf(parameter, sizeof parameter, "address=%s", w->address);
    assert_rv(p11->C_Initialize(&a), CKR_OK);
    assert_rv(p11->C_GetSlotList(CK_TRUE, NULL, &n), CKR_OK);
    assert_int_equal(n, 1);
}

static void
what_the_chip_cannot_do_is_not_supported(void **state)
{
    const struct world *w = *state;
    CK_MECHANISM m = { CKM_ECDSA, NULL, 0 };
    CK_OBJECT_HANDLE o = 0;
    CK_ULONG n = 0;
    CK_BYTE b[64];

#define NOT_HERE(call) assert_rv((call), CKR_FUNCTION_NOT_SUPPORTED)
    NOT_HERE(p11->C_InitToken(0, b, 1, b));
    NOT_HERE(p11->C_InitPIN(w->session, b, 1));
    NOT_HERE(p11->C_SetPIN(w->session, b, 1, b, 1));
    NOT_HERE(p11->C_CreateObject(w->session, NULL, 0, &o));
    NOT_HERE(p11->C_CopyObject(w->session, 1, NULL, 0, &o));
    NOT_HERE(p11->C_SetAttributeValue(w->session, 1, NULL, 0));
    NOT_HERE(p11->C_EncryptInit(w->session, &m, 1));
    NOT_HERE(p11->C_DecryptInit(w->session, &m, 1));
    NOT_HERE(p11->C_DigestInit(w->session, &m));
    NOT_HERE(p11->C_SignRecoverInit(w->session, &m, 1));
    NOT_HERE(p11->C_GenerateKey(w->session, &m, NULL, 0, &o));
    NOT_HERE(p11->C_WrapKey(w->session, &m, 1, 1, b, &n));
    NOT_HERE(p11->C_UnwrapKey(w->session, &m, 1, b, 1, NULL, 0, &o));
#undef NOT_HERE
    assert_rv(p11->C_SeedRandom(w->session, b, 1), CKR_RANDOM_SEED_NOT_SUPPORTED);
    assert_rv(p11->C_GetFunctionStatus(w->session), CKR_FUNCTION_NOT_PARALLEL);
    assert_rv(p11->C_CancelFunction(w->session), CKR_FUNCTION_NOT_PARALLEL);
}

/* --- slot, token, sessions ------------------------------------------------------------------ */

static void
absent_chip_is_an_empty_slot_and_a_later_one_is_found(void **state)
{
    struct world *w = *state;
    CK_SLOT_INFO slot;
    CK_TOKEN_INFO token;
    CK_SESSION_HANDLE s;
    CK_SLOT_ID id = 9;
    CK_ULONG n = 1;

    assert_rv(p11->C_Initialize(NULL), CKR_OK);
    assert_rv(p11->C_GetSlotList(CK_TRUE, &id, &n), CKR_OK);
    assert_int_equal(n, 0);
    n = 1;
    assert_rv(p11->C_GetSlotList(CK_FALSE, &id, &n), CKR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(id, 0);
    assert_rv(p11->C_GetSlotInfo(0, &slot), CKR_OK);
    assert_int_equal(slot.flags & CKF_TOKEN_PRESENT, 0);
    assert_rv(p11->C_GetTokenInfo(0, &token), CKR_TOKEN_NOT_PRESENT);
    assert_rv(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &s), CKR_TOKEN_NOT_PRESENT);
    w->daemon = chip_daemon_start(w->dir, w->address);
    assert_rv(p11->C_GetSlotInfo(0, &slot), CKR_OK);
    assert_int_equal(slot.flags & CKF_TOKEN_PRESENT, CKF_TOKEN_PRESENT);
    assert_rv(p11->C_GetTokenInfo(0, &token), CKR_OK);
    (void)open_session(0);
}

static void
chip_that_goes_away_is_told_and_one_that_comes_back_is_used(void **state)
{
    struct world *w = *state;
    CK_OBJECT_HANDLE key = private_key(w, "pair0");
    uint8_t hash[64];
    uint8_t sig[SIG_LEN];
    CK_ULONG len = SIG_LEN;
    size_t hash_len;

    sign_text(w, key, sig);
    chip_daemon_stop(&w->daemon);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_OK);
    assert_rv(p11->C_Sign(w->session, CK_TEXT(text), 4, sig, &len), CKR_DEVICE_REMOVED);
    assert_rv(p11->C_FindObjectsInit(w->session, NULL, 0), CKR_DEVICE_REMOVED);
    assert_rv(p11->C_GenerateRandom(w->session, sig, sizeof sig), CKR_DEVICE_REMOVED);
    w->daemon = chip_daemon_start(w->dir, w->address);
    sign_text(w, key, sig);
    hash_text("SHA256", hash, &hash_len);
    assert_true(is_signature(w->points[0], hash, hash_len, sig));
}

static void
lists_tell_their_length_and_respect_the_room(void **state)
{
    CK_MECHANISM_TYPE types[64];
    CK_MECHANISM_INFO info;
    CK_SLOT_ID id = 9;
    CK_ULONG n = 0;

    (void)state;
    assert_rv(p11->C_GetSlotList(CK_TRUE, &id, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(n, 1);
    assert_rv(p11->C_GetSlotList(CK_TRUE, NULL, NULL), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_GetMechanismList(0, NULL, &n), CKR_OK);
    assert_int_equal(n, 8);
    n = 7;
    assert_rv(p11->C_GetMechanismList(0, types, &n), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(n, 8);
    assert_rv(p11->C_GetMechanismList(0, types, &n), CKR_OK);
    for (size_t i = 0; i < n; i++) {
        assert_rv(p11->C_GetMechanismInfo(0, types[i], &info), CKR_OK);
        assert_int_equal(info.ulMinKeySize, 256);
        assert_int_equal(info.ulMaxKeySize, 256);
    }
    assert_rv(p11->C_GetMechanismInfo(0, CKM_RSA_PKCS, &info), CKR_MECHANISM_INVALID);
    assert_rv(p11->C_GetMechanismInfo(1, CKM_ECDSA, &info), CKR_SLOT_ID_INVALID);
    assert_rv(p11->C_GetTokenInfo(1, NULL), CKR_SLOT_ID_INVALID);
    assert_rv(p11->C_GetTokenInfo(0, NULL), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &id, NULL), CKR_NO_EVENT);
}

static void
token_has_the_chips_serial_number(void **state)
{
    const struct world *w = *state;
    uint8_t uid[A71CH_UID_LEN];
    uint8_t cert_uid[A71CH_CERT_UID_LEN];
    char serial[17];
    char label[33];
    CK_TOKEN_INFO token;
    CK_INFO info;
    a71ch *chip;

    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_get_unique_id(chip, uid), A71CH_OK);
    a71ch_close(chip);
    a71ch_cert_uid(uid, cert_uid);
    hex_encode(serial, &cert_uid[2], 8);
    assert_rv(p11->C_GetTokenInfo(0, &token), CKR_OK);
    assert_memory_equal(token.serialNumber, serial, 16);
    (void)snprintf(label, sizeof label, "A71CH %s          ", serial);
    assert_memory_equal(token.label, label, 32);
    assert_memory_equal(token.model, "A71CH           ", 16);
    assert_int_equal(token.flags & (CKF_LOGIN_REQUIRED | CKF_WRITE_PROTECTED), 0);
    assert_int_equal(token.flags & CKF_RNG, CKF_RNG);
    assert_int_equal(token.ulSessionCount, 1);
    assert_int_equal(token.ulRwSessionCount, 1);
    assert_int_equal(token.firmwareVersion.major, 1);
    assert_int_equal(token.firmwareVersion.minor, 3);
    assert_rv(p11->C_GetInfo(&info), CKR_OK);
    assert_int_equal(info.cryptokiVersion.major, 2);
    assert_int_equal(info.cryptokiVersion.minor, 40);
    assert_rv(p11->C_GetInfo(NULL), CKR_ARGUMENTS_BAD);
}

static CK_STATE
state_of(CK_SESSION_HANDLE s)
{
    CK_SESSION_INFO info;

    assert_rv(p11->C_GetSessionInfo(s, &info), CKR_OK);
    return info.state;
}

static void
sessions_are_counted_and_their_handles_end(void **state)
{
    const struct world *w = *state;
    CK_SESSION_HANDLE s;
    CK_SESSION_INFO info;
    CK_TOKEN_INFO token;

    assert_rv(p11->C_OpenSession(0, 0, NULL, NULL, &s), CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    assert_rv(p11->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &s), CKR_SLOT_ID_INVALID);
    assert_rv(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, NULL), CKR_ARGUMENTS_BAD);
    s = open_session(0);
    assert_int_not_equal(s, w->session);
    assert_rv(p11->C_GetSessionInfo(s, &info), CKR_OK);
    assert_int_equal(info.flags, CKF_SERIAL_SESSION);
    assert_int_equal(state_of(s), CKS_RO_PUBLIC_SESSION);
    assert_int_equal(state_of(w->session), CKS_RW_PUBLIC_SESSION);
    assert_rv(p11->C_CloseSession(s), CKR_OK);
    assert_rv(p11->C_CloseSession(s), CKR_SESSION_HANDLE_INVALID);
    assert_rv(p11->C_FindObjectsInit(s, NULL, 0), CKR_SESSION_HANDLE_INVALID);
    assert_rv(p11->C_GetTokenInfo(0, &token), CKR_OK);
    assert_int_equal(token.ulSessionCount, 1);
    assert_rv(p11->C_CloseAllSessions(0), CKR_OK);
    assert_rv(p11->C_GetSessionInfo(w->session, &info), CKR_SESSION_HANDLE_INVALID);
    while (p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &s) == CKR_OK)
        assert_true(s < 5000);
    assert_rv(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &s), CKR_SESSION_COUNT);
}

static void
login_with_any_pin_succeeds_and_changes_nothing_but_the_state(void **state)
{
    const struct world *w = *state;
    CK_SESSION_HANDLE s = open_session(0);

    assert_rv(p11->C_Logout(s), CKR_USER_NOT_LOGGED_IN);
    assert_rv(p11->C_Login(s, CKU_SO, CK_TEXT("1"), 1), CKR_USER_TYPE_INVALID);
    assert_rv(p11->C_Login(s, CKU_CONTEXT_SPECIFIC, NULL, 0), CKR_OPERATION_NOT_INITIALIZED);
    assert_rv(p11->C_Login(s, CKU_USER, NULL, 3), CKR_ARGUMENTS_BAD);
    (void)private_key(w, "pair0"); /* is there before */
    assert_rv(p11->C_Login(s, CKU_USER, NULL, 0), CKR_OK);
    assert_rv(p11->C_Login(w->session, CKU_USER, CK_TEXT("1234"), 4), CKR_USER_ALREADY_LOGGED_IN);
    assert_int_equal(state_of(s), CKS_RO_USER_FUNCTIONS);
    assert_int_equal(state_of(w->session), CKS_RW_USER_FUNCTIONS);
    assert_rv(p11->C_Logout(w->session), CKR_OK);
    assert_rv(p11->C_Login(s, CKU_USER, CK_TEXT("1234"), 4), CKR_OK);
    (void)private_key(w, "pair0"); /* and after */
    assert_rv(p11->C_CloseAllSessions(0), CKR_OK);
    s = open_session(0);
    assert_int_equal(state_of(s), CKS_RO_PUBLIC_SESSION); /* the last one to close logs out */
}

/* --- objects -------------------------------------------------------------------------------- */

static void
key_pairs_are_found_by_class_label_and_id(void **state)
{
    const struct world *w = *state;
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_BYTE id = 1;
    CK_KEY_TYPE ec = CKK_EC;
    CK_ATTRIBUTE by_id[] = { { CKA_ID, &id, 1 } };
    CK_ATTRIBUTE list[] = {
        { CKA_CLASS, &class, sizeof class },
        { CKA_TOKEN, &yes, sizeof yes },
        { CKA_PRIVATE, &no, sizeof no },
        { CKA_SIGN, &yes, sizeof yes },
        { CKA_KEY_TYPE, &ec, sizeof ec },
    };
    CK_OBJECT_HANDLE o[4];
    CK_ULONG n;

    assert_int_equal(find(w, NULL, 0, NULL), 4);
    assert_int_equal(find(w, list, 5, NULL), 2);
    assert_int_equal(find(w, by_id, 1, NULL), 2);
    list[1].pValue = &no; /* objects of the session: none */
    assert_int_equal(find(w, list, 2, NULL), 0);
    class = CKO_SECRET_KEY;
    assert_int_equal(find(w, list, 1, NULL), 0);
    list[0].ulValueLen = 1; /* no class has that size */
    assert_int_equal(find(w, list, 1, NULL), 0);
    list[0].pValue = NULL;
    assert_rv(p11->C_FindObjectsInit(w->session, list, 1), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_FindObjectsInit(w->session, NULL, 1), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_FindObjects(w->session, o, 4, &n), CKR_OPERATION_NOT_INITIALIZED);
    assert_rv(p11->C_FindObjectsFinal(w->session), CKR_OPERATION_NOT_INITIALIZED);
    assert_rv(p11->C_FindObjectsInit(w->session, NULL, 0), CKR_OK);
    assert_rv(p11->C_FindObjectsInit(w->session, NULL, 0), CKR_OPERATION_ACTIVE);
    for (CK_ULONG left = 4; left > 0; left -= n) {
        assert_rv(p11->C_FindObjects(w->session, o, 3, &n), CKR_OK);
        assert_int_equal(n, left < 3 ? left : 3);
    }
    assert_rv(p11->C_FindObjects(w->session, o, 3, &n), CKR_OK);
    assert_int_equal(n, 0);
    assert_rv(p11->C_FindObjects(w->session, NULL, 3, &n), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_FindObjectsFinal(w->session), CKR_OK);
}

static void
search_sees_what_another_program_made_and_erased(void **state)
{
    const struct world *w = *state;
    CK_OBJECT_HANDLE key = private_key(w, "pair1");
    CK_ATTRIBUTE any = { CKA_CLASS, NULL, 0 };
    uint8_t sig[SIG_LEN];
    CK_ULONG len = SIG_LEN;
    a71ch *chip;

    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_pair_erase(chip, 1), A71CH_OK);
    assert_int_equal(a71ch_pair_generate(chip, 3), A71CH_OK);
    a71ch_close(chip);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_OK); /* as last seen */
    assert_rv(p11->C_Sign(w->session, CK_TEXT(text), 4, sig, &len), CKR_DEVICE_ERROR);
    (void)private_key(w, "pair3");
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_KEY_HANDLE_INVALID);
    assert_rv(p11->C_GetAttributeValue(w->session, key, NULL, 0), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_GetAttributeValue(w->session, key, &any, 1), CKR_OBJECT_HANDLE_INVALID);
}

static void
attributes_of_a_private_key(void **state)
{
    const struct world *w = *state;
    CK_OBJECT_HANDLE o = private_key(w, "pair0");
    uint8_t octets[2 + POINT_LEN] = { 0x04, POINT_LEN };
    uint8_t small[3];
    CK_ATTRIBUTE list[] = {
        { CKA_VALUE, octets, sizeof octets },
        { CKA_EC_POINT, small, sizeof small },
        { CKA_MODULUS, NULL, 0 },
        { CKA_LABEL, octets, sizeof octets },
    };

    memcpy(&octets[2], w->points[0], POINT_LEN);
    expect(w, o, CKA_EC_POINT, octets, sizeof octets);
    expect(w, o, CKA_EC_PARAMS, p256, sizeof p256);
    expect(w, o, CKA_ID, "\0", 1);
    expect_number(w, o, CKA_CLASS, CKO_PRIVATE_KEY);
    expect_number(w, o, CKA_KEY_TYPE, CKK_EC);
    expect_bool(w, o, CKA_TOKEN, CK_TRUE);
    expect_bool(w, o, CKA_PRIVATE, CK_FALSE);
    expect_bool(w, o, CKA_SIGN, CK_TRUE);
    expect_bool(w, o, CKA_DERIVE, CK_TRUE);
    expect_bool(w, o, CKA_DECRYPT, CK_FALSE);
    expect_bool(w, o, CKA_SENSITIVE, CK_TRUE);
    expect_bool(w, o, CKA_EXTRACTABLE, CK_FALSE);
    expect_bool(w, o, CKA_NEVER_EXTRACTABLE, CK_TRUE);
    expect_bool(w, o, CKA_ALWAYS_AUTHENTICATE, CK_FALSE);
    expect(w, o, CKA_SUBJECT, "", 0);
    assert_rv(p11->C_GetAttributeValue(w->session, o, list, 4), CKR_ATTRIBUTE_SENSITIVE);
    assert_int_equal(list[0].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(list[1].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(list[2].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(list[3].ulValueLen, 5); /* the last one was served all the same */
    assert_memory_equal(octets, "pair0", 5);
    list[1].ulValueLen = sizeof small;
    assert_rv(p11->C_GetAttributeValue(w->session, o, &list[1], 1), CKR_BUFFER_TOO_SMALL);
    assert_rv(refusal(w, o, CKA_MODULUS), CKR_ATTRIBUTE_TYPE_INVALID);
    assert_rv(refusal(w, o, CKA_VALUE), CKR_ATTRIBUTE_SENSITIVE);
    assert_rv(p11->C_GetAttributeValue(w->session, o, NULL, 1), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_GetAttributeValue(w->session, 0x9999, list, 1), CKR_OBJECT_HANDLE_INVALID);
}

static void
public_keys_verify_and_have_their_point(void **state)
{
    const struct world *w = *state;
    CK_OBJECT_HANDLE pair = labelled(w, CKO_PUBLIC_KEY, "pair1");
    uint8_t spki[26 + POINT_LEN];
    unsigned char *der = NULL;
    EVP_PKEY *pkey = public_of(w->points[1]);
    CK_OBJECT_HANDLE stored;
    a71ch *chip;

    assert_int_equal(i2d_PUBKEY(pkey, &der), sizeof spki);
    expect(w, pair, CKA_PUBLIC_KEY_INFO, der, sizeof spki);
    expect_bool(w, pair, CKA_VERIFY, CK_TRUE);
    expect_bool(w, pair, CKA_DERIVE, CK_FALSE);
    assert_rv(refusal(w, pair, CKA_SIGN), CKR_ATTRIBUTE_TYPE_INVALID);
    assert_rv(refusal(w, pair, CKA_VALUE), CKR_ATTRIBUTE_TYPE_INVALID);
    OPENSSL_free(der);
    EVP_PKEY_free(pkey);
    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_pub_set(chip, 2, w->points[0], POINT_LEN), A71CH_OK);
    a71ch_close(chip);
    stored = labelled(w, CKO_PUBLIC_KEY, "pub2");
    expect(w, stored, CKA_ID, "\x22", 1);
}

/* A certificate of the test's own authority for a key pair of the chip, or for another key. */
static void
store_certificate(const struct world *w, uint8_t index, const uint8_t *point, struct made *out)
{
    struct made ca = certs_make(&(struct make){ .name = "authority", .ca = true });
    struct made key = { .key = point != NULL ? public_of(point)
                                             : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384") };
    struct buf der = { 0 };
    a71ch *chip;

    *out = certs_make(
        &(struct make){ .name = "device", .issuer = &ca, .key_of = &key, .serial = 4711 });
    certs_der(out, &der);
    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(
        a71ch_object_write(chip, A71CH_CERTIFICATE, index, der.ptr, der.len, 0), A71CH_OK);
    a71ch_close(chip);
    buf_fini(&der);
    EVP_PKEY_free(key.key);
    certs_fini(&ca);
}

static void
expect_name(const struct world *w, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, const X509_NAME *n)
{
    unsigned char *der = NULL;
    int len = i2d_X509_NAME(n, &der);

    assert_true(len > 0);
    expect(w, o, type, der, (size_t)len);
    OPENSSL_free(der);
}

static void
certificate_bears_label_and_id_of_its_key_pair(void **state)
{
    const struct world *w = *state;
    struct made mine;
    struct made other;
    struct buf der = { 0 };
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_ATTRIBUTE all[] = { { CKA_CLASS, &class, sizeof class } };
    CK_OBJECT_HANDLE o;

    store_certificate(w, 5, w->points[1], &mine);
    store_certificate(w, 6, NULL, &other);
    assert_int_equal(find(w, all, 1, NULL), 2);
    o = labelled(w, CKO_CERTIFICATE, "pair1");
    expect(w, o, CKA_ID, "\1", 1);
    expect_number(w, o, CKA_CERTIFICATE_TYPE, CKC_X_509);
    expect_name(w, o, CKA_SUBJECT, X509_get_subject_name(mine.cert));
    expect_name(w, o, CKA_ISSUER, X509_get_issuer_name(mine.cert));
    expect(w, o, CKA_SERIAL_NUMBER, "\x02\x02\x12\x67", 4);
    certs_der(&mine, &der);
    expect(w, o, CKA_VALUE, der.ptr, der.len);
    buf_fini(&der);
    o = labelled(w, CKO_CERTIFICATE, "cert6");
    expect(w, o, CKA_ID, "\x09\x06", 2);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, o), CKR_KEY_TYPE_INCONSISTENT);
    certs_fini(&mine);
    certs_fini(&other);
}

static void
damaged_certificate_does_not_hide_the_others(void **state)
{
    const struct world *w = *state;
    static const uint8_t junk[] = { 0x30, 0x03, 0x01, 0x02, 0x03 };
    static const uint8_t bytes[] = "any bytes";
    struct made mine;
    CK_OBJECT_HANDLE o;
    a71ch *chip;

    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(
        a71ch_object_write(chip, A71CH_CERTIFICATE, 0, junk, sizeof junk, 0), A71CH_OK);
    assert_int_equal(
        a71ch_object_write(chip, A71CH_CERTIFICATE, 1, bytes, sizeof bytes, 0), A71CH_OK);
    assert_int_equal(a71ch_object_write(chip, A71CH_DATA, 7, bytes, sizeof bytes, 0), A71CH_OK);
    a71ch_close(chip);
    store_certificate(w, 2, w->points[0], &mine);
    (void)labelled(w, CKO_CERTIFICATE, "pair0");
    assert_int_equal(find(w, NULL, 0, NULL), 6);
    o = labelled(w, CKO_DATA, "data7");
    expect(w, o, CKA_APPLICATION, "", 0);
    expect(w, o, CKA_VALUE, bytes, sizeof bytes);
    certs_fini(&mine);
}

static void
storage_without_a_table_of_objects_hides_no_key(void **state)
{
    const struct world *w = *state;
    uint8_t raw[32];
    a71ch *chip;

    memset(raw, 0xee, sizeof raw);
    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_gp_write(chip, 4096 - sizeof raw, raw, sizeof raw), A71CH_OK);
    a71ch_close(chip);
    assert_int_equal(find(w, NULL, 0, NULL), 4);
}

static void
nothing_in_the_chip_is_destroyed(void **state)
{
    const struct world *w = *state;

    assert_rv(p11->C_DestroyObject(w->session, private_key(w, "pair0")), CKR_ACTION_PROHIBITED);
    assert_rv(p11->C_DestroyObject(w->session, 0x7777), CKR_OBJECT_HANDLE_INVALID);
    (void)private_key(w, "pair0");
}

/* --- sign and verify ------------------------------------------------------------------------ */

static void
digests_of_every_length_are_signed_by_one_command(void **state)
{
    const struct world *w = *state;
    CK_OBJECT_HANDLE key = private_key(w, "pair0");
    uint8_t digest[65];
    uint8_t sig[SIG_LEN];
    CK_ULONG len;

    memset(digest, 0xa5, sizeof digest);
    for (CK_ULONG n = 1; n <= 64; n++) {
        len = SIG_LEN;
        assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_OK);
        assert_rv(p11->C_Sign(w->session, digest, n, sig, &len), CKR_OK);
        assert_true(is_signature(w->points[0], digest, n, sig));
    }
    assert_int_equal(chip_daemon_count(w->address, "signatures"), 64);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_OK);
    assert_rv(p11->C_Sign(w->session, digest, 65, sig, &len), CKR_DATA_LEN_RANGE);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_OK);
    assert_rv(p11->C_Sign(w->session, digest, 0, sig, &len), CKR_DATA_LEN_RANGE);
}

static const struct {
    CK_MECHANISM_TYPE type;
    const char *digest;
} hashing[] = {
    { CKM_ECDSA_SHA1, "SHA1" },
    { CKM_ECDSA_SHA224, "SHA224" },
    { CKM_ECDSA_SHA256, "SHA256" },
    { CKM_ECDSA_SHA384, "SHA384" },
    { CKM_ECDSA_SHA512, "SHA512" },
};

static void
every_digest_is_signed_and_verified_at_once_and_in_parts(void **state)
{
    const struct world *w = *state;
    CK_OBJECT_HANDLE key = private_key(w, "pair1");
    CK_OBJECT_HANDLE public = labelled(w, CKO_PUBLIC_KEY, "pair1");
    uint8_t hash[64];
    uint8_t sig[SIG_LEN];
    size_t hash_len;

    for (size_t i = 0; i < sizeof hashing / sizeof *hashing; i++) {
        CK_ULONG len = SIG_LEN;

        hash_text(hashing[i].digest, hash, &hash_len);
        assert_rv(init(w, p11->C_SignInit, hashing[i].type, key), CKR_OK);
        assert_rv(p11->C_Sign(w->session, CK_TEXT(text), sizeof text, sig, &len), CKR_OK);
        assert_true(is_signature(w->points[1], hash, hash_len, sig));
        assert_rv(init(w, p11->C_SignInit, hashing[i].type, key), CKR_OK);
        assert_rv(p11->C_SignUpdate(w->session, CK_TEXT(text), 7), CKR_OK);
        assert_rv(p11->C_SignUpdate(w->session, NULL, 0), CKR_OK);
        assert_rv(p11->C_SignUpdate(w->session, CK_TEXT(text + 7), sizeof text - 7), CKR_OK);
        assert_rv(p11->C_SignFinal(w->session, sig, &len), CKR_OK);
        assert_true(is_signature(w->points[1], hash, hash_len, sig));
        assert_rv(init(w, p11->C_VerifyInit, hashing[i].type, public), CKR_OK);
        assert_rv(p11->C_Verify(w->session, CK_TEXT(text), sizeof text, sig, SIG_LEN), CKR_OK);
        assert_rv(init(w, p11->C_VerifyInit, hashing[i].type, public), CKR_OK);
        assert_rv(p11->C_VerifyUpdate(w->session, CK_TEXT(text), sizeof text), CKR_OK);
        assert_rv(p11->C_VerifyFinal(w->session, sig, SIG_LEN), CKR_OK);
        assert_rv(init(w, p11->C_VerifyInit, hashing[i].type, public), CKR_OK);
        assert_rv(p11->C_VerifyUpdate(w->session, CK_TEXT(text), sizeof text - 1), CKR_OK);
        assert_rv(p11->C_VerifyFinal(w->session, sig, SIG_LEN), CKR_SIGNATURE_INVALID);
    }
}

static void
signing_keeps_to_its_states(void **state)
{
    const struct world *w = *state;
    CK_OBJECT_HANDLE key = private_key(w, "pair0");
    CK_MECHANISM with_parameter = { CKM_ECDSA, &key, sizeof key };
    uint8_t sig[SIG_LEN];
    CK_ULONG len = 0;
    CK_BYTE data[32] = { 1 };

    assert_rv(p11->C_Sign(w->session, data, 32, sig, &len), CKR_OPERATION_NOT_INITIALIZED);
    assert_rv(p11->C_SignUpdate(w->session, data, 32), CKR_OPERATION_NOT_INITIALIZED);
    assert_rv(p11->C_SignFinal(w->session, sig, &len), CKR_OPERATION_NOT_INITIALIZED);
    assert_rv(p11->C_SignInit(w->session, NULL, key), CKR_ARGUMENTS_BAD);
    assert_rv(init(w, p11->C_SignInit, CKM_RSA_PKCS, key), CKR_MECHANISM_INVALID);
    assert_rv(p11->C_SignInit(w->session, &with_parameter, key), CKR_MECHANISM_PARAM_INVALID);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, 0), CKR_KEY_HANDLE_INVALID);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, labelled(w, CKO_PUBLIC_KEY, "pair0")),
        CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_OK);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_OPERATION_ACTIVE);
    assert_rv(p11->C_Sign(w->session, data, 32, NULL, &len), CKR_OK); /* how long? */
    assert_int_equal(len, SIG_LEN);
    len = 63;
    assert_rv(p11->C_Sign(w->session, data, 32, sig, &len), CKR_BUFFER_TOO_SMALL);
    assert_int_equal(len, SIG_LEN);
    assert_int_equal(chip_daemon_count(w->address, "signatures"), 0);
    assert_rv(p11->C_Sign(w->session, data, 32, sig, &len), CKR_OK);
    assert_rv(p11->C_Sign(w->session, data, 32, sig, &len), CKR_OPERATION_NOT_INITIALIZED);
    assert_int_equal(chip_daemon_count(w->address, "signatures"), 1);

    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_OK);
    assert_rv(p11->C_Sign(w->session, data, 32, sig, NULL), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_Sign(w->session, data, 32, sig, &len), CKR_OPERATION_NOT_INITIALIZED);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, key), CKR_OK);
    assert_rv(p11->C_SignUpdate(w->session, data, 32), CKR_FUNCTION_NOT_SUPPORTED);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA_SHA256, key), CKR_OK);
    assert_rv(p11->C_SignUpdate(w->session, NULL, 3), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_SignUpdate(w->session, data, 3), CKR_OK);
    assert_rv(p11->C_Sign(w->session, data, 32, sig, &len), CKR_OPERATION_ACTIVE);
    assert_rv(p11->C_SignFinal(w->session, NULL, &len), CKR_OK);
    assert_rv(p11->C_SignFinal(w->session, sig, &len), CKR_OK);
}

static void
verifying_keeps_to_its_states(void **state)
{
    const struct world *w = *state;
    CK_OBJECT_HANDLE public = labelled(w, CKO_PUBLIC_KEY, "pair0");
    uint8_t sig[SIG_LEN] = { 0 };

    assert_rv(
        p11->C_Verify(w->session, CK_TEXT(text), 4, sig, SIG_LEN), CKR_OPERATION_NOT_INITIALIZED);
    assert_rv(init(w, p11->C_VerifyInit, CKM_ECDSA, private_key(w, "pair0")),
        CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_rv(init(w, p11->C_VerifyInit, CKM_ECDSA, public), CKR_OK);
    assert_rv(p11->C_Verify(w->session, CK_TEXT(text), 4, sig, 63), CKR_SIGNATURE_LEN_RANGE);
    assert_rv(init(w, p11->C_VerifyInit, CKM_ECDSA, public), CKR_OK); /* that ended it */
    assert_rv(p11->C_Verify(w->session, CK_TEXT(text), 4, sig, SIG_LEN), CKR_SIGNATURE_INVALID);
    assert_rv(init(w, p11->C_VerifyInit, CKM_ECDSA, public), CKR_OK);
    assert_rv(p11->C_Verify(w->session, CK_TEXT(text), 4, NULL, SIG_LEN), CKR_ARGUMENTS_BAD);
    sign_text(w, private_key(w, "pair1"), sig); /* another key's */
    assert_rv(init(w, p11->C_VerifyInit, CKM_ECDSA_SHA256, public), CKR_OK);
    sign_text(w, private_key(w, "pair0"), sig); /* one session may do both at a time */
    assert_rv(p11->C_Verify(w->session, CK_TEXT(text), sizeof text, sig, SIG_LEN), CKR_OK);
    sig[40] ^= 1;
    assert_rv(init(w, p11->C_VerifyInit, CKM_ECDSA_SHA256, public), CKR_OK);
    assert_rv(
        p11->C_Verify(w->session, CK_TEXT(text), sizeof text, sig, SIG_LEN), CKR_SIGNATURE_INVALID);
}

static void
stored_public_key_verifies(void **state)
{
    const struct world *w = *state;
    uint8_t sig[SIG_LEN];
    a71ch *chip;

    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_pub_set(chip, 1, w->points[0], POINT_LEN), A71CH_OK);
    a71ch_close(chip);
    sign_text(w, private_key(w, "pair0"), sig);
    assert_rv(
        init(w, p11->C_VerifyInit, CKM_ECDSA_SHA256, labelled(w, CKO_PUBLIC_KEY, "pub1")), CKR_OK);
    assert_rv(p11->C_Verify(w->session, CK_TEXT(text), sizeof text, sig, SIG_LEN), CKR_OK);
}

/* --- keys and random bytes ------------------------------------------------------------------ */

/* A template of one more attribute than the least. */
static CK_RV
generate(CK_SESSION_HANDLE s, CK_ATTRIBUTE more, CK_OBJECT_HANDLE out[2])
{
    CK_MECHANISM m = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE public[] = { { CKA_EC_PARAMS, p256, sizeof p256 }, { CKA_TOKEN, &yes, 1 } };
    CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, 1 }, { CKA_PRIVATE, &yes, 1 }, more };

    return p11->C_GenerateKeyPair(
        s, &m, public, 2, private, more.pValue == NULL ? 2 : 3, &out[0], &out[1]);
}

static void
key_pair_is_made_in_an_empty_slot_and_never_over_another(void **state)
{
    const struct world *w = *state;
    CK_ATTRIBUTE none = { 0, NULL, 0 };
    CK_BYTE id = 0;
    CK_ATTRIBUTE by_id = { CKA_ID, &id, 1 };
    CK_ATTRIBUTE by_label = { CKA_LABEL, CK_TEXT("pair3"), 5 };
    CK_ATTRIBUTE foreign = { CKA_LABEL, CK_TEXT("mine"), 4 };
    CK_OBJECT_HANDLE o[2];
    uint8_t point[2 + POINT_LEN];
    uint8_t hash[64];
    uint8_t sig[SIG_LEN];
    size_t len;

    assert_rv(generate(w->session, by_id, o), CKR_DEVICE_MEMORY); /* pair 0 exists */
    assert_rv(generate(w->session, foreign, o), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_rv(generate(open_session(0), none, o), CKR_SESSION_READ_ONLY);
    assert_rv(generate(w->session, by_label, o), CKR_OK);
    assert_int_equal(o[1], private_key(w, "pair3"));
    assert_int_equal(o[0], labelled(w, CKO_PUBLIC_KEY, "pair3"));
    assert_rv(generate(w->session, none, o), CKR_OK); /* the one that is left */
    assert_int_equal(o[1], private_key(w, "pair2"));
    assert_rv(generate(w->session, none, o), CKR_DEVICE_MEMORY);
    expect(w, labelled(w, CKO_PUBLIC_KEY, "pair0"), CKA_EC_POINT,
        (memcpy(&point[2], w->points[0], POINT_LEN), memcpy(point, "\x04\x41", 2), point),
        sizeof point);
    assert_int_equal(
        get(w, labelled(w, CKO_PUBLIC_KEY, "pair2"), CKA_EC_POINT, point, sizeof point),
        sizeof point);
    sign_text(w, private_key(w, "pair2"), sig);
    hash_text("SHA256", hash, &len);
    assert_true(is_signature(&point[2], hash, len, sig));
    assert_int_equal(chip_daemon_count(w->address, "generated"), 4);
}

static void
key_pair_template_must_fit_the_chip(void **state)
{
    const struct world *w = *state;
    static const uint8_t p384[] = { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22 };
    CK_MECHANISM m = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_MECHANISM rsa = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE public[] = { { CKA_TOKEN, &yes, 1 }, { CKA_EC_PARAMS, p256, sizeof p256 } };
    CK_ATTRIBUTE token[] = { { CKA_TOKEN, &yes, 1 } };
    CK_OBJECT_HANDLE o[2];

#define TRY(m, pub, pub_n, priv, priv_n)                                                           \
    p11->C_GenerateKeyPair(w->session, m, pub, pub_n, priv, priv_n, &o[0], &o[1])
    assert_rv(TRY(NULL, public, 2, token, 1), CKR_ARGUMENTS_BAD);
    assert_rv(TRY(&rsa, public, 2, token, 1), CKR_MECHANISM_INVALID);
    assert_rv(TRY(&m, public, 1, token, 1), CKR_TEMPLATE_INCOMPLETE);
    assert_rv(TRY(&m, public, 2, NULL, 0), CKR_TEMPLATE_INCONSISTENT); /* not a token object */
    public[1] = (CK_ATTRIBUTE){ CKA_EC_PARAMS, (void *)(uintptr_t)p384, sizeof p384 };
    assert_rv(TRY(&m, public, 2, token, 1), CKR_CURVE_NOT_SUPPORTED);
    public[1] = (CK_ATTRIBUTE){ CKA_EC_PARAMS, p256, sizeof p256 };
    token[0].pValue = &no;
    assert_rv(TRY(&m, public, 2, token, 1), CKR_TEMPLATE_INCONSISTENT);
#undef TRY
    assert_rv(generate(w->session, (CK_ATTRIBUTE){ CKA_EXTRACTABLE, &yes, 1 }, o),
        CKR_TEMPLATE_INCONSISTENT);
    assert_rv(generate(w->session, (CK_ATTRIBUTE){ CKA_SENSITIVE, &no, 1 }, o),
        CKR_TEMPLATE_INCONSISTENT);
    assert_rv(generate(w->session, (CK_ATTRIBUTE){ CKA_CLASS, &class, sizeof class }, o),
        CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(chip_daemon_count(w->address, "generated"), 2);
}

static void
secret_is_what_software_agrees_on_and_ends_with_its_session(void **state)
{
    const struct world *w = *state;
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    EVP_PKEY *mine = public_of(w->points[0]);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(peer, NULL);
    uint8_t octets[2 + POINT_LEN] = { 0x04, POINT_LEN };
    uint8_t secret[32];
    size_t len = sizeof secret;
    CK_ECDH1_DERIVE_PARAMS p = { .kdf = CKD_NULL };
    CK_MECHANISM m = { CKM_ECDH1_DERIVE, &p, sizeof p };
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ULONG short_len = 16;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE open[] = { { CKA_CLASS, &class, sizeof class }, { CKA_SENSITIVE, &no, 1 },
        { CKA_EXTRACTABLE, &yes, 1 }, { CKA_VALUE_LEN, &short_len, sizeof short_len } };
    CK_SESSION_HANDLE s = open_session(0);
    CK_OBJECT_HANDLE key = private_key(w, "pair0");
    CK_OBJECT_HANDLE o;
    CK_OBJECT_HANDLE closed;

    point_of(peer, &octets[2]);
    assert_int_equal(EVP_PKEY_derive_init(c), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(c, mine), 1);
    assert_int_equal(EVP_PKEY_derive(c, secret, &len), 1);
    p.pPublicData = &octets[2];
    p.ulPublicDataLen = POINT_LEN;
    assert_rv(p11->C_DeriveKey(s, &m, key, open, 3, &o), CKR_OK);
    expect(w, o, CKA_VALUE, secret, 32);
    expect_number(w, o, CKA_VALUE_LEN, 32);
    expect_number(w, o, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    expect_bool(w, o, CKA_TOKEN, CK_FALSE);
    assert_int_equal(find(w, open, 1, NULL), 1);
    assert_rv(p11->C_DestroyObject(s, o), CKR_OK);
    assert_rv(p11->C_DestroyObject(s, o), CKR_OBJECT_HANDLE_INVALID);
    p.pPublicData = octets; /* in its OCTET STRING */
    p.ulPublicDataLen = sizeof octets;
    assert_rv(p11->C_DeriveKey(s, &m, key, open, 4, &o), CKR_OK);
    expect(w, o, CKA_VALUE, secret, 16);
    assert_rv(p11->C_DeriveKey(s, &m, key, NULL, 0, &closed), CKR_OK);
    assert_rv(refusal(w, closed, CKA_VALUE), CKR_ATTRIBUTE_SENSITIVE);
    assert_int_not_equal(o, closed);
    assert_rv(init(w, p11->C_SignInit, CKM_ECDSA, o), CKR_KEY_TYPE_INCONSISTENT);
    assert_rv(p11->C_CloseSession(s), CKR_OK);
    assert_int_equal(find(w, open, 1, NULL), 0);

    s = w->session;
    p.ulPublicDataLen = 33;
    assert_rv(p11->C_DeriveKey(s, &m, key, open, 3, &o), CKR_MECHANISM_PARAM_INVALID);
    p.ulPublicDataLen = sizeof octets;
    p.kdf = CKD_NULL + 1;
    assert_rv(p11->C_DeriveKey(s, &m, key, open, 3, &o), CKR_MECHANISM_PARAM_INVALID);
    p.kdf = CKD_NULL;
    short_len = 33;
    assert_rv(p11->C_DeriveKey(s, &m, key, open, 4, &o), CKR_TEMPLATE_INCONSISTENT);
    assert_rv(p11->C_DeriveKey(s, &m, labelled(w, CKO_PUBLIC_KEY, "pair0"), open, 3, &o),
        CKR_KEY_FUNCTION_NOT_PERMITTED);
    assert_rv(p11->C_DeriveKey(s, &m, 0, open, 3, &o), CKR_KEY_HANDLE_INVALID);
    octets[5] ^= 1; /* no point on the curve */
    assert_rv(p11->C_DeriveKey(s, &m, key, open, 3, &o), CKR_DEVICE_ERROR);
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(mine);
}

static void
random_bytes_come_from_the_chip(void **state)
{
    const struct world *w = *state;
    uint8_t a[500] = { 0 };
    uint8_t b[500] = { 0 };
    long before = chip_daemon_count(w->address, "commands");

    assert_rv(p11->C_GenerateRandom(w->session, a, sizeof a), CKR_OK);
    assert_rv(p11->C_GenerateRandom(w->session, b, sizeof b), CKR_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(chip_daemon_count(w->address, "commands") >= before + 6);
    assert_rv(p11->C_GenerateRandom(w->session, NULL, 4), CKR_ARGUMENTS_BAD);
    assert_rv(p11->C_GenerateRandom(w->session, NULL, 0), CKR_OK);
}

/* --- processes and threads ------------------------------------------------------------------ */

static _Noreturn void
live_as_child(const struct world *w, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM m = { CKM_ECDSA, NULL, 0 };
    CK_SESSION_HANDLE s;
    uint8_t sig[SIG_LEN];
    CK_ULONG len = SIG_LEN;
    bool good;

    (void)alarm(20);
    good = p11->C_SignInit(w->session, &m, key) == CKR_CRYPTOKI_NOT_INITIALIZED &&
           p11->C_Finalize(NULL) == CKR_CRYPTOKI_NOT_INITIALIZED &&
           p11->C_Initialize(NULL) == CKR_OK &&
           p11->C_CloseSession(w->session) == CKR_SESSION_HANDLE_INVALID &&
           p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &s) == CKR_OK &&
           p11->C_SignInit(s, &m, key) == CKR_OK &&
           p11->C_Sign(s, CK_TEXT(text), 16, sig, &len) == CKR_OK &&
           p11->C_Finalize(NULL) == CKR_OK;
    _exit(good ? 0 : 1);
}

static void
forked_child_begins_anew_and_its_parent_goes_on(void **state)
{
    const struct world *w = *state;
    CK_OBJECT_HANDLE key = private_key(w, "pair0");
    pid_t children[4];
    uint8_t sig[SIG_LEN];

    sign_text(w, key, sig);
    for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0)
            live_as_child(w, key);
        sign_text(w, key, sig);
    }
    for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
        int status = -1;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    sign_text(w, key, sig);
    assert_int_equal(chip_daemon_count(w->address, "signatures"), 1 + 4 + 4 + 1);
}

struct worker {
    const struct world *w;
    CK_OBJECT_HANDLE key;
    atomic_uint good;
};

static void *
sign_much(void *arg)
{
    struct worker *k = arg;
    CK_MECHANISM m = { CKM_ECDSA, NULL, 0 };

    for (unsigned i = 0; i < SIGNATURES_PER_THREAD; i++) {
        CK_SESSION_HANDLE s = 0;
        uint8_t digest[32] = { (uint8_t)i, 1 };
        uint8_t sig[SIG_LEN];
        CK_ULONG len = SIG_LEN;
        CK_ULONG n;
        CK_OBJECT_HANDLE o;

        if (p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &s) == CKR_OK &&
            p11->C_FindObjectsInit(s, NULL, 0) == CKR_OK &&
            p11->C_FindObjects(s, &o, 1, &n) == CKR_OK && p11->C_FindObjectsFinal(s) == CKR_OK &&
            p11->C_SignInit(s, &m, k->key) == CKR_OK &&
            p11->C_Sign(s, digest, sizeof digest, sig, &len) == CKR_OK &&
            p11->C_CloseSession(s) == CKR_OK &&
            is_signature(k->w->points[0], digest, sizeof digest, sig))
            (void)atomic_fetch_add(&k->good, 1);
    }
    return NULL;
}

static void
threads_have_sessions_of_their_own(void **state)
{
    const struct world *w = *state;
    struct worker k = { .w = w, .key = private_key(w, "pair0") };
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_much, &k), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&k.good), THREADS * SIGNATURES_PER_THREAD);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define BARE(name) cmocka_unit_test_setup_teardown(name, set_up_bare, tear_down)
    const struct CMUnitTest tests[] = {
        BARE(nothing_but_the_list_is_exported),
        BARE(before_initialize_every_call_is_refused),
        BARE(initialize_judges_its_arguments),
        T(address_that_is_handed_over_goes_before_the_environment),
        T(what_the_chip_cannot_do_is_not_supported),
        BARE(absent_chip_is_an_empty_slot_and_a_later_one_is_found),
        T(chip_that_goes_away_is_told_and_one_that_comes_back_is_used),
        T(lists_tell_their_length_and_respect_the_room),
        T(token_has_the_chips_serial_number),
        T(sessions_are_counted_and_their_handles_end),
        T(login_with_any_pin_succeeds_and_changes_nothing_but_the_state),
        T(key_pairs_are_found_by_class_label_and_id),
        T(search_sees_what_another_program_made_and_erased),
        T(attributes_of_a_private_key),
        T(public_keys_verify_and_have_their_point),
        T(certificate_bears_label_and_id_of_its_key_pair),
        T(damaged_certificate_does_not_hide_the_others),
        T(storage_without_a_table_of_objects_hides_no_key),
        T(nothing_in_the_chip_is_destroyed),
        T(digests_of_every_length_are_signed_by_one_command),
        T(every_digest_is_signed_and_verified_at_once_and_in_parts),
        T(signing_keeps_to_its_states),
        T(verifying_keeps_to_its_states),
        T(stored_public_key_verifies),
        T(key_pair_is_made_in_an_empty_slot_and_never_over_another),
        T(key_pair_template_must_fit_the_chip),
        T(secret_is_what_software_agrees_on_and_ends_with_its_session),
        T(random_bytes_come_from_the_chip),
        T(forked_child_begins_anew_and_its_parent_goes_on),
        T(threads_have_sessions_of_their_own),
    };
    void *so = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
    void *found = so != NULL ? dlsym(so, "C_GetFunctionList") : NULL;
    CK_C_GetFunctionList get_list;

    memcpy(&get_list, &found, sizeof get_list); /* ISO C knows no cast */
    if (get_list == NULL || get_list(&p11) != CKR_OK || get_list(NULL) != CKR_ARGUMENTS_BAD)
        return 1;
    return cmocka_run_group_tests_name("pkcs11", tests, NULL, NULL);
}

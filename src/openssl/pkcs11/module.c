/* SPDX-License-Identifier: Apache-2.0 */
/* See pkcs11.h: the module's one exported function, its state, its beginning and end. */
#include "openssl/pkcs11/pkcs11.h"

#include "host/address.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct module module = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- beginning and end ---------------------------------------------------------------------- */

/*
 * In the child, which has one thread: whoever held the lock is not here, and may have left anything
 * half done. So all is forgotten and nothing freed; only the chip's connection, which bears forks,
 * waits for C_Initialize to let go of it.
 */
static void
after_fork(void)
{
    module = (struct module){ .chip = module.chip };
    (void)pthread_mutex_init(&module.lock, NULL);
}

static void
watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, after_fork);
}

CK_RV
p11_enter(struct module **m)
{
    (void)pthread_mutex_lock(&module.lock);
    if (!module.ready) {
        (void)pthread_mutex_unlock(&module.lock);
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    *m = &module;
    return CKR_OK;
}

CK_RV
p11_enter_session(CK_SESSION_HANDLE handle, struct session **s)
{
    struct module *m;
    CK_RV rv = p11_enter(&m);

    if (rv != CKR_OK)
        return rv;
    for (*s = m->sessions; *s != NULL && (*s)->handle != handle;)
        *s = (*s)->next;
    return *s != NULL ? CKR_OK : p11_leave(CKR_SESSION_HANDLE_INVALID);
}

CK_RV
p11_leave(CK_RV rv)
{
    (void)pthread_mutex_unlock(&module.lock);
    return rv;
}

CK_RV
p11_fail(const struct module *m, CK_RV rv, const char *fmt, ...)
{
    char text[BM_MSG_LEN];
    va_list ap;

    if (!m->log)
        return rv;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "a71ch-pkcs11: %s\n", text);
    return rv;
}

CK_RV
p11_chip_result(const struct module *m, enum bm_err err, const struct bm_msg *msg, CK_RV absent)
{
    switch (err) {
    case BM_OK:
        return CKR_OK;
    case BM_ERR_IO:
    case BM_ERR_TIMEOUT:
    case BM_ERR_CLOSED:
    case BM_ERR_DENIED:
        return p11_fail(m, absent, "%s", msg->text);
    case BM_ERR_MEM:
        return CKR_HOST_MEMORY;
    default:
        return p11_fail(m, CKR_DEVICE_ERROR, "%s", msg->text);
    }
}

/*
 * The string that p11-kit hands over (x-init-reserved), "address=ADDRESS".
 * NULL: the environment decides.
 */
static CK_RV
read_reserved(const char *text, struct address *out)
{
    static const char name[] = "address=";
    struct bm_msg msg = { "" };

    if (strncmp(text, name, sizeof name - 1) != 0)
        return p11_fail(&module, CKR_ARGUMENTS_BAD,
            "the parameter '%.64s' is not known; write address=HOST:PORT or address=unix:PATH",
            text);
    if (chip_address_parse(text + sizeof name - 1, out, &msg) != BM_OK)
        return p11_fail(&module, CKR_ARGUMENTS_BAD, "%s", msg.text);
    return CKR_OK;
}

/* Only the system's locks are used here. */
static CK_RV
check_locking(const CK_C_INITIALIZE_ARGS *a)
{
    int functions = (a->CreateMutex != NULL) + (a->DestroyMutex != NULL) + (a->LockMutex != NULL) +
                    (a->UnlockMutex != NULL);

    if (functions != 0 && functions != 4)
        return CKR_ARGUMENTS_BAD;
    return functions == 0 || (a->flags & CKF_OS_LOCKING_OK) != 0 ? CKR_OK : CKR_CANT_LOCK;
}

static void
drop_all(struct module *m)
{
    struct shared_chip *chip = m->chip;

    p11_drop_sessions(m);
    p11_drop_contents(&m->contents);
    m->ready = false;
    m->chip = m->random.chip = NULL; /* before it is freed: somebody may fork now */
    shared_chip_free(chip);
}

static CK_RV
begin(struct module *m, const char *address)
{
    if (m->ready)
        return CKR_CRYPTOKI_ALREADY_INITIALIZED;
    shared_chip_free(m->chip); /* the parent's */
    m->chip = shared_chip_new(address);
    if (m->chip == NULL)
        return CKR_HOST_MEMORY;
    m->random = (struct mixed_random){ .chip = m->chip, .strict = true };
    m->ready = true;
    return CKR_OK;
}

static CK_RV
initialize(CK_VOID_PTR args)
{
    static pthread_once_t forks_watched = PTHREAD_ONCE_INIT;
    const CK_C_INITIALIZE_ARGS *a = args;
    const char *log = getenv("A71CH_PKCS11_LOG");
    struct address address;
    bool given = a != NULL && a->pReserved != NULL;
    CK_RV rv = a != NULL ? check_locking(a) : CKR_OK;

    (void)pthread_once(&forks_watched, watch_forks);
    (void)pthread_mutex_lock(&module.lock);
    module.log = log != NULL && log[0] != '\0' && strcmp(log, "0") != 0;
    if (rv == CKR_OK && given)
        rv = read_reserved(a->pReserved, &address);
    if (rv == CKR_OK)
        rv = begin(&module, given ? address.text : NULL);
    return p11_leave(rv);
}

static CK_RV
finalize(CK_VOID_PTR reserved)
{
    struct module *m;
    CK_RV rv = reserved == NULL ? p11_enter(&m) : CKR_ARGUMENTS_BAD;

    if (rv != CKR_OK)
        return rv;
    drop_all(m);
    return p11_leave(CKR_OK);
}

static CK_RV
get_info(CK_INFO_PTR info)
{
    struct module *m;
    CK_RV rv = p11_enter(&m);

    if (rv != CKR_OK)
        return rv;
    if (info == NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    *info = (CK_INFO){ .cryptokiVersion = { CRYPTOKI_VERSION_MAJOR, CRYPTOKI_VERSION_MINOR } };
    p11_text(info->manufacturerID, sizeof info->manufacturerID, "Birthmark");
    p11_text(info->libraryDescription, sizeof info->libraryDescription, "NXP A71CH");
    info->libraryVersion.minor = (CK_BYTE)strtoul(strchr(BIRTHMARK_VERSION, '.') + 1, NULL, 10);
    info->libraryVersion.major = (CK_BYTE)strtoul(BIRTHMARK_VERSION, NULL, 10);
    return p11_leave(CKR_OK);
}

/* --- what the chip has nothing for ---------------------------------------------------------- */

#define NOT_HERE(name, ...)                                                                        \
    static CK_RV name(__VA_ARGS__)                                                                 \
    {                                                                                              \
        return CKR_FUNCTION_NOT_SUPPORTED;                                                         \
    }

NOT_HERE(init_token, CK_SLOT_ID, CK_UTF8CHAR_PTR, CK_ULONG, CK_UTF8CHAR_PTR)
NOT_HERE(init_pin, CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG)
NOT_HERE(set_pin, CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG, CK_UTF8CHAR_PTR, CK_ULONG)
NOT_HERE(get_state, CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR)
NOT_HERE(set_state, CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)
NOT_HERE(create, CK_SESSION_HANDLE, CK_ATTRIBUTE_PTR, CK_ULONG, CK_OBJECT_HANDLE_PTR)
NOT_HERE(
    copy, CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE_PTR, CK_ULONG, CK_OBJECT_HANDLE_PTR)
NOT_HERE(get_size, CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ULONG_PTR)
NOT_HERE(set_attribute, CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE_PTR, CK_ULONG)
NOT_HERE(digest_init, CK_SESSION_HANDLE, CK_MECHANISM_PTR)
NOT_HERE(with_key_init, CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE)
NOT_HERE(transform, CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR)
NOT_HERE(take_part, CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG)
NOT_HERE(give_last, CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR)
NOT_HERE(digest_key, CK_SESSION_HANDLE, CK_OBJECT_HANDLE)
NOT_HERE(generate_key, CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_ATTRIBUTE_PTR, CK_ULONG,
    CK_OBJECT_HANDLE_PTR)
NOT_HERE(wrap, CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE, CK_BYTE_PTR,
    CK_ULONG_PTR)
NOT_HERE(unwrap, CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_BYTE_PTR, CK_ULONG,
    CK_ATTRIBUTE_PTR, CK_ULONG, CK_OBJECT_HANDLE_PTR)

static CK_RV
seed_random(CK_SESSION_HANDLE handle, CK_BYTE_PTR seed, CK_ULONG len)
{
    (void)handle;
    (void)seed;
    (void)len;
    return CKR_RANDOM_SEED_NOT_SUPPORTED;
}

static CK_RV
not_parallel(CK_SESSION_HANDLE handle)
{
    (void)handle;
    return CKR_FUNCTION_NOT_PARALLEL;
}

/* --- the list ------------------------------------------------------------------------------- */

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

static CK_FUNCTION_LIST functions = {
    .version = { CRYPTOKI_VERSION_MAJOR, CRYPTOKI_VERSION_MINOR },
    .C_Initialize = initialize,
    .C_Finalize = finalize,
    .C_GetInfo = get_info,
    .C_GetFunctionList = C_GetFunctionList,
    .C_GetSlotList = p11_get_slot_list,
    .C_GetSlotInfo = p11_get_slot_info,
    .C_GetTokenInfo = p11_get_token_info,
    .C_GetMechanismList = p11_get_mechanism_list,
    .C_GetMechanismInfo = p11_get_mechanism_info,
    .C_InitToken = init_token,
    .C_InitPIN = init_pin,
    .C_SetPIN = set_pin,
    .C_OpenSession = p11_open_session,
    .C_CloseSession = p11_close_session,
    .C_CloseAllSessions = p11_close_all_sessions,
    .C_GetSessionInfo = p11_get_session_info,
    .C_GetOperationState = get_state,
    .C_SetOperationState = set_state,
    .C_Login = p11_login,
    .C_Logout = p11_logout,
    .C_CreateObject = create,
    .C_CopyObject = copy,
    .C_DestroyObject = p11_destroy_object,
    .C_GetObjectSize = get_size,
    .C_GetAttributeValue = p11_get_attribute_value,
    .C_SetAttributeValue = set_attribute,
    .C_FindObjectsInit = p11_find_objects_init,
    .C_FindObjects = p11_find_objects,
    .C_FindObjectsFinal = p11_find_objects_final,
    .C_EncryptInit = with_key_init,
    .C_Encrypt = transform,
    .C_EncryptUpdate = transform,
    .C_EncryptFinal = give_last,
    .C_DecryptInit = with_key_init,
    .C_Decrypt = transform,
    .C_DecryptUpdate = transform,
    .C_DecryptFinal = give_last,
    .C_DigestInit = digest_init,
    .C_Digest = transform,
    .C_DigestUpdate = take_part,
    .C_DigestKey = digest_key,
    .C_DigestFinal = give_last,
    .C_SignInit = p11_sign_init,
    .C_Sign = p11_sign,
    .C_SignUpdate = p11_sign_update,
    .C_SignFinal = p11_sign_final,
    .C_SignRecoverInit = with_key_init,
    .C_SignRecover = transform,
    .C_VerifyInit = p11_verify_init,
    .C_Verify = p11_verify,
    .C_VerifyUpdate = p11_verify_update,
    .C_VerifyFinal = p11_verify_final,
    .C_VerifyRecoverInit = with_key_init,
    .C_VerifyRecover = transform,
    .C_DigestEncryptUpdate = transform,
    .C_DecryptDigestUpdate = transform,
    .C_SignEncryptUpdate = transform,
    .C_DecryptVerifyUpdate = transform,
    .C_GenerateKey = generate_key,
    .C_GenerateKeyPair = p11_generate_key_pair,
    .C_WrapKey = wrap,
    .C_UnwrapKey = unwrap,
    .C_DeriveKey = p11_derive_key,
    .C_SeedRandom = seed_random,
    .C_GenerateRandom = p11_generate_random,
    .C_GetFunctionStatus = not_parallel,
    .C_CancelFunction = not_parallel,
    .C_WaitForSlotEvent = p11_wait_for_slot_event,
};

CK_RV
C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    if (list == NULL)
        return CKR_ARGUMENTS_BAD;
    *list = &functions;
    return CKR_OK;
}

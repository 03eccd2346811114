/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PKCS#11 module's P-256 operations, one after another on a token: the peer of bench_chip in a
 * process. usage: pkcs11 MODULE PIN SECONDS OP...   OP: sign, verify, ecdh, inject
 */
#include "measure.h"

#include <dlfcn.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

struct token {
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    CK_OBJECT_HANDLE pub;
    CK_BYTE point[65]; /* of pub */
    CK_BYTE signature[64];
};

static const CK_BYTE hash[32] = { 0x5a };

static void
must(CK_RV rv, const char *what)
{
    if (rv == CKR_OK)
        return;
    (void)fprintf(stderr, "%s: error 0x%lx\n", what, (unsigned long)rv);
    exit(1);
}

static void
open_token(struct token *t, const char *module, const char *pin)
{
    void *lib = dlopen(module, RTLD_NOW);
    CK_C_GetFunctionList list;
    CK_SLOT_ID slots[16];
    CK_ULONG count = COUNT(slots);

    if (lib == NULL) {
        (void)fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(void **)&list = dlsym(lib, "C_GetFunctionList");
    must(list(&t->f), "C_GetFunctionList");
    must(t->f->C_Initialize(NULL), "C_Initialize");
    must(t->f->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
    must(t->f->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &t->session),
        "C_OpenSession");
    must(t->f->C_Login(t->session, CKU_USER, (CK_UTF8CHAR *)(size_t)pin, strlen(pin)), "C_Login");
}

static void
make_key(struct token *t)
{
    static CK_BYTE p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
    CK_MECHANISM generate = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_ATTRIBUTE pub[] = { { CKA_EC_PARAMS, p256, sizeof p256 }, { CKA_TOKEN, &yes, sizeof yes },
        { CKA_VERIFY, &yes, sizeof yes } };
    CK_ATTRIBUTE key[] = { { CKA_TOKEN, &yes, sizeof yes }, { CKA_PRIVATE, &yes, sizeof yes },
        { CKA_SENSITIVE, &yes, sizeof yes }, { CKA_SIGN, &yes, sizeof yes },
        { CKA_DERIVE, &yes, sizeof yes } };
    CK_BYTE der[80];
    CK_ATTRIBUTE point = { CKA_EC_POINT, der, sizeof der };

    must(t->f->C_GenerateKeyPair(
             t->session, &generate, pub, COUNT(pub), key, COUNT(key), &t->pub, &t->key),
        "C_GenerateKeyPair");
    must(t->f->C_GetAttributeValue(t->session, t->pub, &point, 1), "C_GetAttributeValue");
    memcpy(t->point, &der[2], sizeof t->point); /* OCTET STRING 04 41 */
}

static bool
sign(void *arg)
{
    struct token *t = arg;
    CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
    CK_ULONG len = sizeof t->signature;

    return t->f->C_SignInit(t->session, &ecdsa, t->key) == CKR_OK &&
           t->f->C_Sign(t->session, (CK_BYTE *)(size_t)hash, sizeof hash, t->signature, &len) ==
               CKR_OK;
}

static bool
verify(void *arg)
{
    struct token *t = arg;
    CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };

    return t->f->C_VerifyInit(t->session, &ecdsa, t->pub) == CKR_OK &&
           t->f->C_Verify(t->session, (CK_BYTE *)(size_t)hash, sizeof hash, t->signature,
               sizeof t->signature) == CKR_OK;
}

static bool
ecdh(void *arg)
{
    struct token *t = arg;
    CK_ECDH1_DERIVE_PARAMS with = { CKD_NULL, 0, NULL, sizeof t->point, t->point };
    CK_MECHANISM derive = { CKM_ECDH1_DERIVE, &with, sizeof with };
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ULONG len = 32;
    CK_BYTE value[32];
    CK_ATTRIBUTE secret[] = { { CKA_CLASS, &class, sizeof class },
        { CKA_KEY_TYPE, &type, sizeof type }, { CKA_VALUE_LEN, &len, sizeof len },
        { CKA_TOKEN, &no, sizeof no }, { CKA_SENSITIVE, &no, sizeof no },
        { CKA_EXTRACTABLE, &yes, sizeof yes } };
    CK_ATTRIBUTE read = { CKA_VALUE, value, sizeof value };
    CK_OBJECT_HANDLE out;

    return t->f->C_DeriveKey(t->session, &derive, t->key, secret, COUNT(secret), &out) == CKR_OK &&
           t->f->C_GetAttributeValue(t->session, out, &read, 1) == CKR_OK &&
           t->f->C_DestroyObject(t->session, out) == CKR_OK;
}

/* An AES key as a token object; removed again, or the token would fill up. */
static bool
inject(void *arg)
{
    struct token *t = arg;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BYTE value[16] = { 1 };
    CK_ATTRIBUTE key[] = { { CKA_CLASS, &class, sizeof class }, { CKA_KEY_TYPE, &type, sizeof type },
        { CKA_TOKEN, &yes, sizeof yes }, { CKA_PRIVATE, &yes, sizeof yes },
        { CKA_VALUE, value, sizeof value } };
    CK_OBJECT_HANDLE out;

    return t->f->C_CreateObject(t->session, key, COUNT(key), &out) == CKR_OK &&
           t->f->C_DestroyObject(t->session, out) == CKR_OK;
}

int
main(int argc, char **argv)
{
    struct token t = { 0 };

    if (argc < 5)
        return 2;
    open_token(&t, argv[1], argv[2]);
    make_key(&t);
    (void)sign(&t);
    for (int i = 4; i < argc; i++) {
        bool (*once)(void *) = strcmp(argv[i], "sign") == 0     ? sign
                               : strcmp(argv[i], "verify") == 0 ? verify
                               : strcmp(argv[i], "ecdh") == 0   ? ecdh
                                                                : inject;

        measure(argv[i], once, &t, strtod(argv[3], NULL), 0);
    }
    return 0;
}

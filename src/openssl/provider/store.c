/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider.h: keys and certificates by name instead of by file. SPEC openssl 1.2
 *
 *     a71ch:pair=N    key pair N; then the certificate for it that lies in the chip's storage, and
 *                     the issuers of that, as far as they lie there
 *     a71ch:pub=N     a reference to stored public key N, which verifies in the chip
 *     a71ch:cert=N    certificate object N of the storage
 *
 * Opening sends nothing. Loading reads what it gives: the public key, and the certificates only
 * when the program did not say that it wants a key.
 */
#include "openssl/provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum {
    CERTIFICATES_MAX = 16, /* read of one chip; more do not fit its storage in practice */
    OBJECTS_MAX = 64,
    CERTIFICATE_MAX = 4096,
    NO_CERTIFICATE = -1,
};

enum kind { KIND_PAIR, KIND_PUB, KIND_CERT };

static const struct {
    const char *name;
    unsigned count;
} kinds[] = {
    [KIND_PAIR] = { "pair=", A71CH_PAIR_COUNT },
    [KIND_PUB] = { "pub=", A71CH_PUB_COUNT },
    [KIND_CERT] = { "cert=", 256 },
};

struct certificates {
    X509 *list[CERTIFICATES_MAX];
    size_t count;
};

struct store {
    struct prov *prov;
    enum kind kind;
    unsigned index;
    int expect;    /* OSSL_STORE_INFO_*; 0: everything */
    EVP_PKEY *pub; /* of slot `index`, once read */
    bool certificates_read;
    bool done;
    struct certificates certs;
    bool given[CERTIFICATES_MAX];
    int next; /* place in certs; NO_CERTIFICATE: none is left */
};

static OSSL_FUNC_store_open_fn open_store;
static OSSL_FUNC_store_settable_ctx_params_fn settable_ctx_params;
static OSSL_FUNC_store_set_ctx_params_fn set_ctx_params;
static OSSL_FUNC_store_load_fn load;
static OSSL_FUNC_store_eof_fn eof;
static OSSL_FUNC_store_close_fn close_store;

static bool
parse_uri(const char *uri, struct store *s)
{
    static const char scheme[] = "a71ch:";

    if (OPENSSL_strncasecmp(uri, scheme, sizeof scheme - 1) != 0)
        return false;
    uri += sizeof scheme - 1;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i].name);
        char *end = NULL;
        unsigned long n;

        if (strncmp(uri, kinds[i].name, len) != 0)
            continue;
        n = strtoul(uri + len, &end, 10);
        s->kind = (enum kind)i;
        s->index = (unsigned)n;
        return uri[len] >= '0' && uri[len] <= '9' && *end == '\0' && n < kinds[i].count;
    }
    return false;
}

static void *
open_store(void *provctx, const char *uri)
{
    struct store *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->prov = prov_ref(provctx);
    s->next = NO_CERTIFICATE;
    if (!parse_uri(uri, s)) {
        (void)prov_raise(s->prov, REASON_URI,
            "%s; write a71ch:pair=0 to %d, a71ch:pub=0 to %d, or a71ch:cert=0 to 255", uri,
            A71CH_PAIR_COUNT - 1, A71CH_PUB_COUNT - 1);
        (void)close_store(s);
        return NULL;
    }
    return s;
}

static void
drop_certificates(struct certificates *c)
{
    for (size_t i = 0; i < c->count; i++)
        X509_free(c->list[i]);
    c->count = 0;
}

static int
close_store(void *ctx)
{
    struct store *s = ctx;

    drop_certificates(&s->certs);
    EVP_PKEY_free(s->pub);
    prov_unref(s->prov);
    free(s);
    return 1;
}

static const OSSL_PARAM *
settable_ctx_params(void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return types;
}

static int
set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    struct store *s = ctx;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);

    return p == NULL || OSSL_PARAM_get_int(p, &s->expect);
}

static int
eof(void *ctx)
{
    const struct store *s = ctx;

    return s->done;
}

/* --- reading -------------------------------------------------------------------------------- */

struct point_task {
    enum kind kind;
    unsigned index;
    uint8_t *point;
};

static a71ch_result
read_point(a71ch *chip, void *arg)
{
    const struct point_task *t = arg;

    if (t->kind == KIND_PAIR)
        return a71ch_pair_get_public(chip, t->index, t->point);
    return a71ch_pub_get(chip, t->index, t->point);
}

static bool
read_reference(const struct store *s, struct refkey *ref)
{
    struct point_task t = { s->kind, s->index, ref->point };
    struct bm_msg msg = { "" };
    enum bm_err err;

    ref->class_id = s->kind == KIND_PAIR ? REFKEY_CLASS_PAIR : REFKEY_CLASS_PUB;
    ref->index = (uint8_t)s->index;
    ref->has_point = true;
    err = shared_chip_do(s->prov->chip, SHARED_CHIP_AGAIN, read_point, &t, &msg);
    return err == BM_OK || prov_raise_chip(s->prov, err, &msg) != 0;
}

struct certificates_task {
    struct prov *prov;
    int wanted; /* index of the object; NO_CERTIFICATE: all */
    struct certificates *out;
};

/* A damaged object must not hide its neighbours. */
static bool
only_this_one_is_bad(a71ch_result result)
{
    return result == A71CH_ERR_RESPONSE || result == A71CH_ERR_SPACE ||
           result == A71CH_ERR_NOT_FOUND;
}

static a71ch_result
read_certificates(a71ch *chip, void *arg)
{
    const struct certificates_task *t = arg;
    a71ch_object objects[OBJECTS_MAX];
    size_t count = 0;
    a71ch_result res = a71ch_object_list(chip, objects, OBJECTS_MAX, &count);

    drop_certificates(t->out); /* of a first attempt that broke off */
    for (size_t i = 0; res == A71CH_OK && i < count && i < OBJECTS_MAX; i++) {
        uint8_t der[CERTIFICATE_MAX];
        const uint8_t *at = der;
        size_t len = sizeof der;
        X509 *x;

        if (objects[i].type != A71CH_CERTIFICATE || t->out->count == CERTIFICATES_MAX ||
            (t->wanted != NO_CERTIFICATE && t->wanted != objects[i].index))
            continue;
        res = a71ch_certificate_read(chip, objects[i].index, der, &len);
        if (only_this_one_is_bad(res)) {
            res = A71CH_OK;
            continue;
        }
        x = X509_new_ex(t->prov->soft, NULL);
        if (res == A71CH_OK && d2i_X509(&x, &at, (long)len) != NULL) {
            t->out->list[t->out->count++] = x;
            x = NULL;
        }
        X509_free(x);
    }
    return res;
}

/* The certificate for the key pair: where the chain begins. */
static int
leaf_of(const struct store *s)
{
    for (size_t i = 0; i < s->certs.count; i++) {
        if (EVP_PKEY_eq(X509_get0_pubkey(s->certs.list[i]), s->pub) == 1)
            return (int)i;
    }
    return NO_CERTIFICATE;
}

static int
issuer_of(const struct store *s, int place)
{
    const X509_NAME *name = X509_get_issuer_name(s->certs.list[place]);

    for (size_t i = 0; i < s->certs.count; i++) {
        if (!s->given[i] && X509_NAME_cmp(X509_get_subject_name(s->certs.list[i]), name) == 0)
            return (int)i;
    }
    return NO_CERTIFICATE;
}

/* Once; then `next` says what is left to give. */
static bool
find_certificates(struct store *s)
{
    struct certificates_task t = { s->prov, s->kind == KIND_CERT ? (int)s->index : NO_CERTIFICATE,
        &s->certs };
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (s->certificates_read)
        return true;
    s->certificates_read = true;
    err = shared_chip_do(s->prov->chip, SHARED_CHIP_AGAIN, read_certificates, &t, &msg);
    if (err != BM_OK)
        return prov_raise_chip(s->prov, err, &msg) != 0;
    if (s->kind == KIND_PAIR)
        s->next = leaf_of(s);
    else if (s->certs.count > 0)
        s->next = 0;
    return true;
}

/* --- giving --------------------------------------------------------------------------------- */

/* As a program wants it: without the private half it is a public key, to be verified with where it
 * lies. */
static struct key *
key_to_give(const struct store *s, const struct refkey *ref)
{
    struct key *k = key_from_reference(s->prov, ref);

    if (k != NULL && s->expect == OSSL_STORE_INFO_PUBKEY) {
        k->has_private = false;
        k->is_chip = s->kind == KIND_PUB;
    }
    return k;
}

static int
give_certificate(struct store *s, OSSL_CALLBACK *cb, void *cbarg)
{
    int type = OSSL_OBJECT_CERT;
    unsigned char *der = NULL;
    int len = i2d_X509(s->certs.list[s->next], &der);
    const OSSL_PARAM object[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_DATA, der, len > 0 ? (size_t)len : 0),
        OSSL_PARAM_END,
    };
    int ok = len > 0 && cb(object, cbarg);

    OPENSSL_free(der);
    s->given[s->next] = true;
    s->next = s->kind == KIND_PAIR ? issuer_of(s, s->next) : NO_CERTIFICATE;
    return ok;
}

static bool
wants_key(const struct store *s)
{
    return s->expect == 0 || s->expect == OSSL_STORE_INFO_PKEY ||
           s->expect == OSSL_STORE_INFO_PUBKEY;
}

static int
load_key(struct store *s, OSSL_CALLBACK *cb, void *cbarg)
{
    struct refkey ref = { 0 };
    struct key *k = read_reference(s, &ref) ? key_to_give(s, &ref) : NULL;
    int ok = k != NULL && EVP_PKEY_up_ref(k->soft) == 1;

    if (ok)
        s->pub = k->soft;
    if (ok && s->expect == 0 && s->kind == KIND_PAIR)
        ok = find_certificates(s); /* before the key is given: after an error nothing may be */
    if (ok && wants_key(s))
        ok = key_give(&k, cb, cbarg);
    key_unref(k); /* NULL when keymgmt took it */
    return ok;
}

static int
load_certificate(struct store *s, OSSL_CALLBACK *cb, void *cbarg)
{
    int ok = find_certificates(s);

    if (ok && s->next == NO_CERTIFICATE)
        ok = prov_raise(s->prov, REASON_NO_CERTIFICATE, "%s%u; write one with a71chConfig wcrt",
            kinds[s->kind].name, s->index);
    ok = ok && give_certificate(s, cb, cbarg);
    s->done = !ok || s->next == NO_CERTIFICATE;
    return ok;
}

/* One object for each call. Whether that was the last must be known then, because 3.0 takes a call
 * that finds nothing for an error; and an error is the end, because programs load until it. */
static int
load(void *ctx, OSSL_CALLBACK *cb, void *cbarg, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct store *s = ctx;
    int ok = 1;

    (void)pw_cb;
    (void)pw_cbarg;
    if (s->kind != KIND_CERT && s->pub == NULL) {
        ok = load_key(s, cb, cbarg);
        s->done = !ok || s->next == NO_CERTIFICATE;
        if (!ok || s->expect != OSSL_STORE_INFO_CERT)
            return ok;
    }
    return s->kind != KIND_PUB && load_certificate(s, cb, cbarg);
}

static const OSSL_DISPATCH store_functions[] = {
    PROV_FN(OSSL_FUNC_STORE_OPEN, open_store),
    PROV_FN(OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, settable_ctx_params),
    PROV_FN(OSSL_FUNC_STORE_SET_CTX_PARAMS, set_ctx_params),
    PROV_FN(OSSL_FUNC_STORE_LOAD, load),
    PROV_FN(OSSL_FUNC_STORE_EOF, eof),
    PROV_FN(OSSL_FUNC_STORE_CLOSE, close_store),
    PROV_END,
};

/* No export function: libcrypto would then make a public key of another provider of it. */
const OSSL_ALGORITHM store_algorithms[] = {
    { "a71ch", PROV_PROPERTIES, store_functions, "keys and certificates in the A71CH" },
    { NULL, NULL, NULL, NULL },
};

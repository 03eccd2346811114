/* SPDX-License-Identifier: Apache-2.0 */
/* See chain.h. */
#include "device/chain.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <time.h>

static int64_t
time_ms(const ASN1_TIME *t)
{
    struct tm tm = { 0 };

    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm) * 1000;
}

int64_t
chain_from_ms(const X509 *x)
{
    return time_ms(X509_get0_notBefore(x));
}

int64_t
chain_until_ms(const X509 *x)
{
    return time_ms(X509_get0_notAfter(x));
}

void
chain_name(const X509 *x, bool issuer, char *out, size_t cap)
{
    const X509_NAME *name = issuer ? X509_get_issuer_name(x) : X509_get_subject_name(x);
    BIO *bio = BIO_new(BIO_s_mem());
    int n = 0;

    if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0)
        n = BIO_read(bio, out, (int)cap - 1);
    out[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
}

void
chain_id(const X509 *x, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    out[0] = '\0';
    if (X509_digest(x, EVP_sha256(), digest, &len) == 1 && len == 32)
        hex_encode(out, digest, 32);
}

/* Names first: they are cheap and mostly differ. */
bool
chain_signed_by(X509 *x, X509 *issuer)
{
    EVP_PKEY *pub = X509_get0_pubkey(issuer);
    bool yes = X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(issuer)) == 0 &&
               pub != NULL && X509_verify(x, pub) == 1;

    ERR_clear_error();
    return yes;
}

bool
chain_is_for(X509 *x, EVP_PKEY *key)
{
    EVP_PKEY *pub = X509_get0_pubkey(x);
    bool yes = pub != NULL && EVP_PKEY_eq(pub, key) == 1;

    ERR_clear_error();
    return yes;
}

static bool
is_older(const X509 *a, const X509 *b)
{
    int64_t from_a = chain_from_ms(a);
    int64_t from_b = chain_from_ms(b);

    return from_a != from_b ? from_a < from_b : chain_until_ms(a) < chain_until_ms(b);
}

static void
add_leaf(struct chain *c, X509 *x, size_t key)
{
    size_t at = c->leaf_count;

    for (size_t i = 0; i < c->leaf_count; i++) {
        if (X509_cmp(c->leaves[i], x) == 0)
            return;
    }
    if (at == CHAIN_LEAVES_MAX)
        return;
    while (at > 0 && is_older(c->leaves[at - 1], x)) {
        c->leaves[at] = c->leaves[at - 1];
        c->key_of[at] = c->key_of[at - 1];
        at--;
    }
    c->leaves[at] = x;
    c->key_of[at] = key;
    c->leaf_count++;
}

static bool
has(X509 *const *list, size_t count, const X509 *x)
{
    for (size_t i = 0; i < count; i++) {
        if (X509_cmp(list[i], x) == 0)
            return true;
    }
    return false;
}

void
chain_build(
    STACK_OF(X509) * found, EVP_PKEY *const *keys, size_t key_count, size_t pick, struct chain *out)
{
    int n = sk_X509_num(found);
    int last = -1;
    X509 *below;

    *out = (struct chain){ .in_order = true };
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < key_count; k++) {
            if (chain_is_for(sk_X509_value(found, i), keys[k]))
                add_leaf(out, sk_X509_value(found, i), k);
        }
    }
    below = out->leaf_count > 0 ? out->leaves[pick < out->leaf_count ? pick : out->leaf_count - 1]
                                : NULL;
    for (int i = 0; below != NULL && i < n; i++) {
        if (sk_X509_value(found, i) == below)
            last = i;
    }
    while (below != NULL && out->issuer_count < CHAIN_ISSUERS_MAX) {
        X509 *next = NULL;

        if (chain_signed_by(below, below)) {
            out->complete = true;
            break;
        }
        for (int i = 0; i < n && next == NULL; i++) {
            X509 *x = sk_X509_value(found, i);

            if (chain_signed_by(below, x) && !has(out->issuers, out->issuer_count, x)) {
                next = x;
                out->in_order = out->in_order && i > last;
                last = i;
            }
        }
        if (next == NULL)
            break;
        out->issuers[out->issuer_count++] = next;
        below = next;
    }
    out->complete = out->complete || out->issuer_count > 0;
    for (int i = 0; i < n; i++) {
        X509 *x = sk_X509_value(found, i);

        if (!has(out->leaves, out->leaf_count, x) && !has(out->issuers, out->issuer_count, x))
            out->strangers++;
    }
}

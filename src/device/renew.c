/* SPDX-License-Identifier: Apache-2.0 */
/* See renew.h. Storing is in renew_store.c. */
#include "device/renew.h"

#include "base/clock.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS (86400LL * 1000)

bool
renew_due(const struct identity *id, int64_t now_ms, unsigned days)
{
    X509 *leaf = identity_leaf(id, 0);

    return leaf != NULL && chain_until_ms(leaf) - now_ms <= (int64_t)days * DAY_MS;
}

size_t
renew_in_use(const struct identity *id, const char *admitted)
{
    char hex[65];

    for (size_t i = 0; i < id->chain.leaf_count; i++) {
        chain_id(id->chain.leaves[i], hex);
        if (strcmp(hex, admitted) == 0)
            return i;
    }
    return 0;
}

/* ---- the request ---- */

enum bm_err
renew_request(
    const struct identity *id, size_t key, size_t in_use, struct buf *pem, struct bm_msg *msg)
{
    X509 *leaf = identity_leaf(id, in_use);
    X509_REQ *req = X509_REQ_new_ex(id->lib, NULL);
    BIO *out = BIO_new(BIO_s_mem());
    char words[160] = "";
    char *text = NULL;
    long len;
    bool made = req != NULL && out != NULL && leaf != NULL && X509_REQ_set_version(req, 0) == 1 &&
                X509_REQ_set_subject_name(req, X509_get_subject_name(leaf)) == 1 &&
                X509_REQ_set_pubkey(req, id->keys[key]) == 1 &&
                X509_REQ_sign(req, id->keys[key], EVP_sha256()) > 0 &&
                PEM_write_bio_X509_REQ(out, req) == 1 && PEM_write_bio_X509(out, leaf) == 1;

    for (int i = 0; made && in_use == 0 && i < (int)id->chain.issuer_count; i++)
        made = PEM_write_bio_X509(out, id->chain.issuers[i]) == 1;
    if (made) {
        len = BIO_get_mem_data(out, &text);
        buf_add(pem, text, (size_t)len);
    }
    if (!made)
        ERR_error_string_n(ERR_peek_error(), words, sizeof words);
    ERR_clear_error();
    X509_REQ_free(req);
    BIO_free(out);
    if (!made)
        return bm_fail(msg, BM_ERR_IO, "the key does not sign a request: %s", words);
    return pem->failed ? bm_fail(msg, BM_ERR_MEM, "out of memory for a request") : BM_OK;
}

/* ---- the answer ---- */

void
renew_answer_fini(struct renew_answer *a)
{
    sk_X509_pop_free(a->all, X509_free);
    *a = (struct renew_answer){ 0 };
}

static bool
read_all(struct span pem, STACK_OF(X509) * all)
{
    BIO *in = pem.len <= RENEW_ANSWER_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    X509 *x;

    while (in != NULL && sk_X509_num(all) < 2 * RENEW_ISSUERS_MAX &&
           (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_push(all, x) <= 0)
            X509_free(x);
    }
    ERR_clear_error();
    BIO_free(in);
    return sk_X509_num(all) > 0;
}

static X509 *
signer_among(X509 *x, STACK_OF(X509) * list)
{
    for (int i = 0; i < sk_X509_num(list); i++) {
        X509 *at = sk_X509_value(list, i);

        if (at != x && chain_signed_by(x, at))
            return at;
    }
    return NULL;
}

static enum bm_err
judge_leaf(X509 *leaf, X509 *old, int64_t now_ms, struct bm_msg *msg)
{
    char is[200];
    char was[200];
    char when[CLOCK_TEXT_LEN];

    if (X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_subject_name(old)) != 0) {
        chain_name(leaf, false, is, sizeof is);
        chain_name(old, false, was, sizeof was);
        return bm_fail(msg, BM_ERR_CONFLICT,
            "the answer is for %s, this device is %s: the CA must take the subject of the request",
            is, was);
    }
    clock_text(when, chain_until_ms(leaf));
    if (chain_until_ms(leaf) <= now_ms)
        return bm_fail(msg, BM_ERR_CONFLICT, "the answer ended %s already", when);
    if (chain_until_ms(leaf) <= chain_until_ms(old))
        return bm_fail(
            msg, BM_ERR_CONFLICT, "the answer ends %s, no later than the certificate in use", when);
    clock_text(when, chain_from_ms(leaf));
    if (chain_from_ms(leaf) > now_ms)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "the answer begins %s only; the clock here or that of the CA is wrong", when);
    /* the newest is what the client tries first */
    return chain_from_ms(leaf) >= chain_from_ms(old)
               ? BM_OK
               : bm_fail(msg, BM_ERR_CONFLICT,
                     "the answer begins %s, before the certificate in use did", when);
}

enum bm_err
renew_take(const struct identity *id, size_t key, size_t in_use, struct span pem, int64_t now_ms,
    struct renew_answer *out, struct bm_msg *msg)
{
    char name[200];
    enum bm_err err = BM_OK;

    *out = (struct renew_answer){ .all = sk_X509_new_null() };
    if (out->all == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for an answer");
    if (!read_all(pem, out->all))
        err = bm_fail(msg, BM_ERR_INPUT,
            "the answer holds no certificate in PEM; it must be the leaf, and its issuer behind "
            "it");
    for (int i = 0; err == BM_OK && i < sk_X509_num(out->all); i++) {
        if (out->leaf == NULL && chain_is_for(sk_X509_value(out->all, i), id->keys[key]))
            out->leaf = sk_X509_value(out->all, i);
    }
    if (err == BM_OK && out->leaf == NULL)
        err = bm_fail(msg, BM_ERR_CONFLICT,
            "none of the %d certificates in the answer is for the key of the request",
            sk_X509_num(out->all));
    if (err == BM_OK)
        err = judge_leaf(out->leaf, identity_leaf(id, in_use), now_ms, msg);
    for (X509 *x = out->leaf; err == BM_OK && x != NULL && out->issuer_count < RENEW_ISSUERS_MAX;) {
        x = chain_signed_by(x, x) ? NULL : signer_among(x, out->all);
        if (x != NULL)
            out->issuers[out->issuer_count++] = x;
    }
    if (err == BM_OK && out->issuer_count == 0 && signer_among(out->leaf, id->found) == NULL) {
        chain_name(out->leaf, true, name, sizeof name);
        err = bm_fail(msg, BM_ERR_CONFLICT,
            "the answer is issued by %s, whose certificate is neither in it nor on the device; a "
            "newcomer has to send it, so the CA must put it behind the leaf",
            name);
    }
    if (err != BM_OK)
        renew_answer_fini(out);
    return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `csr -x N -s SUBJECT -f FILE`: a certificate request (PKCS#10) for a key pair of the chip, signed
 * by the chip. Ours, not the vendor's. {uid} and {certUid} in the subject become those of the chip,
 * so that one line serves a whole batch.
 */
#include "config/pem.h"
#include "config/subject.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

/* The subject with the chip's ids in it. */
static enum code
fill_in(struct tool *t, const char *text, struct buf *out)
{
    static const struct {
        const char *word;
        size_t from; /* of the unique id with the certificate's behind it */
        size_t len;
    } marks[] = { { "{uid}", 0, A71CH_UID_LEN },
        { "{certUid}", A71CH_UID_LEN, A71CH_CERT_UID_LEN } };
    uint8_t uid[A71CH_UID_LEN + A71CH_CERT_UID_LEN];
    char hex[2 * A71CH_UID_LEN + 1];

    if (strstr(text, marks[0].word) != NULL || strstr(text, marks[1].word) != NULL) {
        a71ch_result res = a71ch_get_unique_id(t->chip, uid);

        if (res != A71CH_OK)
            return tool_done(t, res);
        a71ch_cert_uid(uid, &uid[A71CH_UID_LEN]);
    }
    while (*text != '\0') {
        size_t i = 0;

        while (i < 2 && strncmp(text, marks[i].word, strlen(marks[i].word)) != 0)
            i++;
        if (i == 2) {
            buf_add(out, text, 1);
            text = &text[1];
            continue;
        }
        hex_encode(hex, &uid[marks[i].from], marks[i].len);
        buf_addf(out, "%s", hex);
        text = &text[strlen(marks[i].word)];
    }
    return CODE_OK;
}

/* Subject and public key: what is signed. */
static X509_REQ *
build(X509_NAME *subject, const uint8_t point[A71CH_POINT_LEN])
{
    X509_REQ *req = X509_REQ_new();
    X509_ALGOR *algorithm = X509_ALGOR_new();
    EVP_PKEY *pkey = pem_public_key(point);
    bool ok =
        req != NULL && algorithm != NULL && pkey != NULL &&
        X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
        X509_REQ_set_subject_name(req, subject) == 1 && X509_REQ_set_pubkey(req, pkey) == 1 &&
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_ecdsa_with_SHA256), V_ASN1_UNDEF, NULL) == 1 &&
        X509_REQ_set1_signature_algo(req, algorithm) == 1;

    EVP_PKEY_free(pkey);
    X509_ALGOR_free(algorithm);
    if (ok)
        return req;
    X509_REQ_free(req);
    return NULL;
}

static bool
hash_request(X509_REQ *req, uint8_t out[A71CH_HASH_LEN])
{
    unsigned char *der = NULL;
    int len = i2d_re_X509_REQ_tbs(req, &der);
    bool ok = len > 0 && EVP_Digest(der, (size_t)len, out, NULL, EVP_sha256(), NULL) == 1;

    OPENSSL_free(der);
    return ok;
}

static bool
put_signature(X509_REQ *req, struct span signature)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();

    if (bits == NULL || ASN1_STRING_set(bits, signature.ptr, (int)signature.len) != 1) {
        ASN1_BIT_STRING_free(bits);
        return false;
    }
    bits->flags = (bits->flags & ~7) | ASN1_STRING_FLAG_BITS_LEFT; /* no unused bits */
    X509_REQ_set0_signature(req, bits);
    return true;
}

/* Does the signature belong to the key in the request? A wrong one would be found much later. */
static bool
holds(X509_REQ *req)
{
    EVP_PKEY *pkey = X509_REQ_get0_pubkey(req);

    return pkey != NULL && X509_REQ_verify(req, pkey) == 1;
}

static enum code
sign_and_write(struct tool *t, unsigned index, X509_REQ *req, const char *path)
{
    uint8_t hash[A71CH_HASH_LEN];
    uint8_t signature[A71CH_SIGNATURE_MAX];
    size_t len = 0;
    a71ch_result res;

    if (!hash_request(req, hash))
        return CODE_MEMORY;
    res = a71ch_pair_sign(t->chip, index, hash, signature, &len);
    if (res != A71CH_OK)
        return tool_done(t, res);
    if (!put_signature(req, span_of(signature, len)))
        return CODE_MEMORY;
    if (holds(req))
        return pem_write_request(path, req);
    fprintf(stderr,
        "the chip's signature does not fit the public half of key pair %u: the two halves that "
        "were set do not belong together; set the pair again\n",
        index);
    t->sw = HOST_WRONG_RESPONSE;
    return CODE_FAILED;
}

static enum code
make(struct tool *t, unsigned index, const char *subject, const char *path)
{
    uint8_t point[A71CH_POINT_LEN];
    X509_NAME *name = NULL;
    X509_REQ *req = NULL;
    struct bm_msg msg = { "out of memory" };
    a71ch_result res;
    enum code code;

    if (subject_parse(subject, &name, &msg) != BM_OK) {
        fprintf(stderr, "%s\n", msg.text);
        return CODE_ARG_VALUE;
    }
    res = a71ch_pair_get_public(t->chip, index, point);
    if (res == A71CH_OK) {
        req = build(name, point);
        code = req != NULL ? sign_and_write(t, index, req, path) : CODE_MEMORY;
    } else {
        code = tool_done(t, res);
    }
    X509_REQ_free(req);
    X509_NAME_free(name);
    ERR_clear_error();
    return code;
}

enum code
cmd_csr(struct tool *t, struct args *a)
{
    struct buf subject = { 0 };
    const char *text;
    const char *path;
    unsigned index;
    enum code code = opt_index(a, &index);

    if (code == CODE_OK)
        code = opt_text(a, "-s", &text);
    if (code == CODE_OK)
        code = opt_text(a, "-f", &path);
    if (code == CODE_OK)
        code = fill_in(t, text, &subject);
    if (code == CODE_OK)
        code = buf_cstr(&subject) != NULL ? make(t, index, buf_cstr(&subject), path) : CODE_MEMORY;
    buf_fini(&subject);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exactly one PEM block out of a text, with messages that say what was there instead. The usual
 * mistakes are a path instead of a file's content, a private key, and a whole chain.
 */
#include "pki/internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN = 40 };

void
pki_openssl_words(char *out, size_t cap)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    (void)snprintf(out, cap, "%s", reason != NULL ? reason : "no reason given");
    ERR_clear_error();
}

enum bm_err
pki_take_bio(BIO *bio, struct buf *out)
{
    char *data;
    long len;

    if (bio == NULL)
        return BM_ERR_MEM;
    len = BIO_get_mem_data(bio, &data);
    if (len > 0)
        buf_add(out, data, (size_t)len);
    BIO_free(bio);
    return out->failed || len <= 0 ? BM_ERR_MEM : BM_OK;
}

static bool
listed(const char *kind, const char *const *kinds)
{
    for (; *kinds != NULL; kinds++) {
        if (strcmp(kind, *kinds) == 0)
            return true;
    }
    return false;
}

/* The text's beginning, printable, for the message. */
static void
beginning(struct span text, char out[SHOWN + 1])
{
    size_t len = text.len < SHOWN ? text.len : SHOWN;

    for (size_t i = 0; i < len; i++)
        out[i] = text.ptr[i] >= ' ' && text.ptr[i] < 0x7f ? (char)text.ptr[i] : '.';
    out[len] = '\0';
}

static enum bm_err
none_found(struct span pem, const char *kind, const char *what, struct bm_msg *msg)
{
    char start[SHOWN + 1];

    beginning(pem, start);
    return bm_fail(msg, BM_ERR_INPUT,
        "%s: no '-----BEGIN %s-----' in the %zu bytes given, which begin '%s'; give the PEM text "
        "itself (with the aws CLI: file://PATH)",
        what, kind, pem.len, start);
}

/* Reads one block; BM_ERR_NOT_FOUND at the end of the text. */
static enum bm_err
next_block(BIO *in, char **kind, uint8_t **der, long *der_len, const char *what, struct bm_msg *msg)
{
    char *header = NULL;
    char words[120];

    if (PEM_read_bio(in, kind, &header, der, der_len) == 1) {
        OPENSSL_free(header);
        return BM_OK;
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
        ERR_clear_error();
        return BM_ERR_NOT_FOUND;
    }
    pki_openssl_words(words, sizeof words);
    return bm_fail(msg, BM_ERR_INPUT, "%s: the PEM text is damaged: %s", what, words);
}

static enum bm_err
check_kind(const char *kind, const char *const *kinds, const char *what, struct bm_msg *msg)
{
    if (listed(kind, kinds))
        return BM_OK;
    return bm_fail(msg, BM_ERR_INPUT,
        "%s: the PEM text holds a %.60s%s; want one %s and nothing else", what, kind,
        strstr(kind, "PRIVATE KEY") != NULL ? ", which should never leave its owner" : "",
        kinds[0]);
}

enum bm_err
pki_pem_one(struct span pem, const char *const *kinds, const char *what, uint8_t **der,
    long *der_len, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;
    int count = 0;
    BIO *in;

    *der = NULL;
    if (pem.len > PKI_PEM_MAX)
        return bm_fail(msg, BM_ERR_INPUT, "%s: %zu bytes of PEM; at most %d are read", what,
            pem.len, PKI_PEM_MAX);
    in = BIO_new_mem_buf(pem.len > 0 ? (const void *)pem.ptr : "", (int)pem.len);
    if (in == NULL)
        return bm_fail(msg, BM_ERR_MEM, "%s: out of memory", what);
    while (err == BM_OK) {
        char *kind = NULL;
        uint8_t *data = NULL;
        long len = 0;

        err = next_block(in, &kind, &data, &len, what, msg);
        if (err == BM_OK)
            err = check_kind(kind, kinds, what, msg);
        if (err == BM_OK && ++count > 1)
            err = bm_fail(msg, BM_ERR_INPUT, "%s: more than one %s in the PEM text; give one alone",
                what, kinds[0]);
        OPENSSL_free(kind);
        if (err == BM_OK) {
            *der = data;
            *der_len = len;
        } else {
            OPENSSL_free(data);
        }
    }
    BIO_free(in);
    if (err == BM_ERR_NOT_FOUND)
        err = count == 1 ? BM_OK : none_found(pem, kinds[0], what, msg);
    if (err != BM_OK) {
        OPENSSL_free(*der);
        *der = NULL;
    }
    return err;
}

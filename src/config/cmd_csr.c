/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `csr -x N -s SUBJECT -f FILE`: a certificate request (PKCS#10) for a key pair of the chip, signed
 * by the chip. Ours, not the vendor's. {uid} and {certUid} in the subject become those of the chip,
 * so that one line serves a whole batch.
 */
#include "config/pem.h"

#include "pki/csr.h"
#include "pki/subject.h"

#include <openssl/err.h>
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

struct chip_key {
    struct tool *t;
    unsigned index;
    a71ch_result res; /* of the signature */
};

static enum bm_err
sign(void *arg, const uint8_t hash[PKI_HASH_LEN], uint8_t out[PKI_SIGNATURE_MAX], size_t *out_len,
    struct bm_msg *msg)
{
    struct chip_key *key = arg;

    (void)msg;
    key->res = a71ch_pair_sign(key->t->chip, key->index, hash, out, out_len);
    return key->res == A71CH_OK ? BM_OK : BM_ERR_STATUS;
}

static enum code
sign_and_write(struct tool *t, unsigned index, X509_NAME *subject,
    const uint8_t point[A71CH_POINT_LEN], const char *path)
{
    struct chip_key key = { t, index, A71CH_OK };
    struct bm_msg msg = { "" };
    X509_REQ *req;
    enum bm_err err = pki_csr_make(subject, point, sign, &key, &req, &msg);
    enum code code;

    if (key.res != A71CH_OK)
        return tool_done(t, key.res);
    if (err == BM_ERR_MEM)
        return CODE_MEMORY;
    if (err != BM_OK) {
        fprintf(stderr, "key pair %u: %s\n", index, msg.text);
        t->sw = HOST_WRONG_RESPONSE;
        return CODE_FAILED;
    }
    code = pem_write_request(path, req);
    X509_REQ_free(req);
    return code;
}

static enum code
make(struct tool *t, unsigned index, const char *subject, const char *path)
{
    uint8_t point[A71CH_POINT_LEN];
    X509_NAME *name = NULL;
    struct bm_msg msg = { "out of memory" };
    a71ch_result res;
    enum code code;

    if (subject_parse(subject, &name, &msg) != BM_OK) {
        fprintf(stderr, "%s\n", msg.text);
        return CODE_ARG_VALUE;
    }
    res = a71ch_pair_get_public(t->chip, index, point);
    code = res == A71CH_OK ? sign_and_write(t, index, name, point, path) : tool_done(t, res);
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

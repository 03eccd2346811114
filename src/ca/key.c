/* SPDX-License-Identifier: Apache-2.0 */
/* See key.h. */
#include "ca/key.h"

#include "a71ch.h"
#include "base/file.h"
#include "wire/refkey.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ca_key {
    struct pki_signer *signer;
    int slot;    /* -1: in memory */
    a71ch *chip; /* one session, one thread at a time */
    char *address;
    pthread_mutex_t lock;
};

/* ---- passphrase ---- */

static enum bm_err
first_line(struct span text, const char *where, char out[CA_PASSPHRASE_MAX], struct bm_msg *msg)
{
    const uint8_t *end = text.len > 0 ? memchr(text.ptr, '\n', text.len) : NULL;
    size_t len = end != NULL ? (size_t)(end - text.ptr) : text.len;

    if (len > 0 && text.ptr[len - 1] == '\r')
        len--;
    if (len == 0 || len >= CA_PASSPHRASE_MAX || memchr(text.ptr, 0, len) != NULL)
        return bm_fail(msg, BM_ERR_INPUT,
            "%s: the passphrase is its first line, of 1 to %d bytes, and none is there", where,
            CA_PASSPHRASE_MAX - 1);
    memcpy(out, text.ptr, len);
    out[len] = '\0';
    return BM_OK;
}

static enum bm_err
from_fd(int fd, char out[CA_PASSPHRASE_MAX], struct bm_msg *msg)
{
    uint8_t text[CA_PASSPHRASE_MAX + 2];
    size_t len = 0;
    enum bm_err err;
    ssize_t n;

    while (len < sizeof text && (n = read(fd, text + len, 1)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return bm_fail(msg, BM_ERR_INPUT, "descriptor %d: the passphrase cannot be read: %s",
                fd, strerror(errno));
        if (text[len++] == '\n')
            break;
    }
    err = first_line(span_of(text, len), "the descriptor", out, msg);
    bm_wipe(text, sizeof text);
    return err;
}

static enum bm_err
from_terminal(const char *for_what, bool twice, char out[CA_PASSPHRASE_MAX], struct bm_msg *msg)
{
    char prompt[160];
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (tty < 0)
        return bm_fail(msg, BM_ERR_ARG,
            "there is no terminal to ask for the passphrase of %s; give --passphrase-file or "
            "--passphrase-fd",
            for_what);
    (void)close(tty);
    (void)snprintf(prompt, sizeof prompt, "Passphrase of %.100s: ", for_what);
    if (EVP_read_pw_string(out, CA_PASSPHRASE_MAX, prompt, twice ? 1 : 0) != 0 || out[0] == '\0') {
        ERR_clear_error();
        return bm_fail(msg, BM_ERR_INPUT, "no passphrase was given for %s%s", for_what,
            twice ? ", or the two differ" : "");
    }
    return BM_OK;
}

enum bm_err
ca_passphrase(struct ca_access *a, const char *for_what, bool twice, struct bm_msg *msg)
{
    struct buf text = { 0 };
    enum bm_err err;

    if (a->passphrase[0] != '\0')
        return BM_OK;
    if (a->passphrase_file != NULL) {
        err = file_read(a->passphrase_file, 4096, &text, msg);
        if (err == BM_OK)
            err = first_line(buf_span(&text), a->passphrase_file, a->passphrase, msg);
        if (text.ptr != NULL)
            bm_wipe(text.ptr, text.len);
        buf_fini(&text);
        return err;
    }
    if (a->passphrase_fd >= 0)
        return from_fd(a->passphrase_fd, a->passphrase, msg);
    return from_terminal(for_what, twice, a->passphrase, msg);
}

/* ---- in the chip ---- */

static enum bm_err
chip_failed(const struct ca_key *k, a71ch_result res, struct bm_msg *msg)
{
    enum bm_err err = BM_ERR_STATUS;

    if (res == A71CH_ERR_CONNECT || res == A71CH_ERR_IO || res == A71CH_ERR_TIMEOUT ||
        res == A71CH_ERR_SELECT)
        err = BM_ERR_NOT_FOUND;
    return bm_fail(msg, err, "the CA's chip: %s", a71ch_message(k->chip));
}

static a71ch_result
reconnect(struct ca_key *k)
{
    a71ch_close(k->chip);
    return a71ch_open(k->address, NULL, &k->chip);
}

static enum bm_err
chip_signs(void *arg, const uint8_t hash[PKI_HASH_LEN], uint8_t out[PKI_SIGNATURE_MAX],
    size_t *out_len, struct bm_msg *msg)
{
    struct ca_key *k = arg;
    enum bm_err err = BM_OK;
    a71ch_result res;

    (void)pthread_mutex_lock(&k->lock);
    res = a71ch_pair_sign(k->chip, (unsigned)k->slot, hash, out, out_len);
    if ((res == A71CH_ERR_IO || res == A71CH_ERR_TIMEOUT) && reconnect(k) == A71CH_OK)
        res = a71ch_pair_sign(k->chip, (unsigned)k->slot, hash, out, out_len);
    if (res != A71CH_OK)
        err = chip_failed(k, res, msg);
    (void)pthread_mutex_unlock(&k->lock);
    return err;
}

static enum bm_err
chip_open(struct ca_key *k, struct ca_access *a, int slot, struct bm_msg *msg)
{
    a71ch_result res = a71ch_open(a->chip, NULL, &k->chip);

    k->slot = slot;
    if (k->chip == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a chip");
    if (res != A71CH_OK)
        return chip_failed(k, res, msg);
    k->address = strdup(a71ch_address(k->chip));
    return k->address != NULL ? BM_OK : bm_fail(msg, BM_ERR_MEM, "out of memory for a chip");
}

/* The signer for the pair in the slot. */
static enum bm_err
use_slot(struct ca_key *k, uint8_t point[A71CH_POINT_LEN], struct bm_msg *msg)
{
    a71ch_result res = a71ch_pair_get_public(k->chip, (unsigned)k->slot, point);

    if (res == A71CH_ERR_STATUS)
        return bm_fail(msg, BM_ERR_CONFLICT, "slot %d of the CA's chip holds no key", k->slot);
    if (res != A71CH_OK)
        return chip_failed(k, res, msg);
    return pki_signer_elsewhere(point, chip_signs, k, &k->signer, msg);
}

/* ---- life ---- */

static enum bm_err
key_new(struct ca_key **out, struct bm_msg *msg)
{
    struct ca_key *k = calloc(1, sizeof *k);

    *out = k;
    if (k == NULL || pthread_mutex_init(&k->lock, NULL) != 0) {
        free(k);
        *out = NULL;
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a key");
    }
    k->slot = -1;
    return BM_OK;
}

void
ca_key_close(struct ca_key *k)
{
    if (k == NULL)
        return;
    pki_signer_free(k->signer);
    a71ch_close(k->chip);
    free(k->address);
    (void)pthread_mutex_destroy(&k->lock);
    free(k);
}

const struct pki_signer *
ca_key_signer(const struct ca_key *k)
{
    return k->signer;
}

int
ca_key_slot(const struct ca_key *k)
{
    return k->slot;
}

/* ---- from a file ---- */

/* Is what was read a reference? */
static bool
is_reference(const struct pki_signer *s, struct refkey *ref)
{
    EVP_PKEY *key = pki_signer_public(s);
    uint8_t scalar[REFKEY_SCALAR_LEN];
    BIGNUM *n = NULL;
    bool is = false;

    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &n) == 1 &&
        BN_bn2binpad(n, scalar, sizeof scalar) == (int)sizeof scalar)
        is = refkey_from_scalar(SPAN(scalar), ref);
    BN_clear_free(n);
    bm_wipe(scalar, sizeof scalar);
    ERR_clear_error();
    return is;
}

static enum bm_err
open_reference(struct ca_key *k, const char *path, const struct refkey *ref, struct ca_access *a,
    struct bm_msg *msg)
{
    struct pki_signer *file = k->signer;
    uint8_t point[A71CH_POINT_LEN];
    enum bm_err err;

    k->signer = NULL;
    if (ref->class_id != REFKEY_CLASS_PAIR || ref->index >= A71CH_PAIR_COUNT) {
        pki_signer_free(file);
        return bm_fail(msg, BM_ERR_INPUT,
            "%s: refers to class %02x, index %u; a CA's key is a key pair 0 to 3", path,
            ref->class_id, ref->index);
    }
    err = chip_open(k, a, ref->index, msg);
    if (err == BM_OK)
        err = use_slot(k, point, msg);
    if (err == BM_OK && EVP_PKEY_eq(pki_signer_public(k->signer), pki_signer_public(file)) != 1)
        err = bm_fail(msg, BM_ERR_CONFLICT,
            "%s: key pair %u of the chip at %s is another key than the file's; is that the CA's "
            "chip?",
            path, ref->index, k->address);
    pki_signer_free(file);
    return err;
}

static enum bm_err
read_signer(const char *path, struct ca_access *a, struct pki_signer **out, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct bm_msg why = { "" };
    enum bm_err err = file_read(path, PKI_PEM_MAX, &text, msg);

    if (err != BM_OK) {
        buf_fini(&text);
        return err;
    }
    err = pki_signer_from_pem(buf_span(&text), NULL, out, &why);
    if (err == BM_ERR_DENIED) {
        err = ca_passphrase(a, path, false, &why);
        if (err == BM_OK)
            err = pki_signer_from_pem(buf_span(&text), a->passphrase, out, &why);
    }
    if (text.ptr != NULL)
        bm_wipe(text.ptr, text.len);
    buf_fini(&text);
    return err == BM_OK ? BM_OK : bm_fail(msg, err, "%s: %.400s", path, why.text);
}

enum bm_err
ca_key_open(const char *path, struct ca_access *a, struct ca_key **out, struct bm_msg *msg)
{
    struct refkey ref;
    enum bm_err err = key_new(out, msg);

    if (err == BM_OK)
        err = read_signer(path, a, &(*out)->signer, msg);
    if (err == BM_OK && is_reference((*out)->signer, &ref))
        err = open_reference(*out, path, &ref, a, msg);
    if (err != BM_OK) {
        ca_key_close(*out);
        *out = NULL;
    }
    return err;
}

/* ---- new ones ---- */

static enum bm_err
save_new(const char *path, struct ca_access *a, struct ca_key *k, struct bm_msg *msg)
{
    struct buf pem = { 0 };
    enum bm_err err = a->no_passphrase ? BM_OK : ca_passphrase(a, path, true, msg);

    if (err == BM_OK)
        err = pki_signer_to_pem(k->signer, a->no_passphrase ? NULL : a->passphrase, &pem, msg);
    if (err == BM_OK)
        err = file_create(path, buf_span(&pem), 0600, msg);
    if (pem.ptr != NULL)
        bm_wipe(pem.ptr, pem.len);
    buf_fini(&pem);
    return err;
}

enum bm_err
ca_key_create(const char *path, struct ca_access *a, struct ca_key **out, struct bm_msg *msg)
{
    enum bm_err err;

    *out = NULL;
    if (access(path, F_OK) == 0)
        return bm_fail(msg, BM_ERR_EXISTS, "%s is there already, and is left as it is", path);
    err = key_new(out, msg);
    if (err == BM_OK)
        err = pki_signer_new(&(*out)->signer, msg);
    if (err == BM_OK)
        err = save_new(path, a, *out, msg);
    if (err != BM_OK) {
        ca_key_close(*out);
        *out = NULL;
    }
    return err;
}

static enum bm_err
save_reference(
    const char *path, unsigned slot, const uint8_t point[A71CH_POINT_LEN], struct bm_msg *msg)
{
    struct refkey ref = {
        .class_id = REFKEY_CLASS_PAIR, .index = (uint8_t)slot, .has_point = true
    };
    uint8_t der[REFKEY_DER_MAX];
    struct wr w = wr_of(der, sizeof der);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len;
    enum bm_err err;

    memcpy(ref.point, point, A71CH_POINT_LEN);
    err = refkey_build_sec1(&w, &ref);
    if (err == BM_OK && (bio == NULL || PEM_write_bio(bio, PEM_STRING_ECPRIVATEKEY, "", der,
                                            (long)wr_len(&w)) <= 0))
        err = BM_ERR_MEM;
    if (err == BM_OK) {
        len = BIO_get_mem_data(bio, &text);
        err = file_create(path, span_of(text, (size_t)len), 0600, msg);
    }
    BIO_free(bio);
    return err;
}

/*
 * The slot must be empty: a key that is there is somebody's. PATH.making says that it was empty
 * when we began, so that a key which an interruption left there is ours.
 */
static enum bm_err
make_in_slot(struct ca_key *k, const char *path, uint8_t point[A71CH_POINT_LEN], struct bm_msg *msg)
{
    a71ch_result res = a71ch_pair_get_public(k->chip, (unsigned)k->slot, point);
    char making[PATH_MAX];
    char said[PATH_MAX + 8];
    struct buf before = { 0 };
    bool ours;
    enum bm_err err = BM_OK;

    if (res != A71CH_OK && res != A71CH_ERR_STATUS)
        return chip_failed(k, res, msg);
    if (snprintf(making, sizeof making, "%s.making", path) >= (int)sizeof making)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", path);
    (void)snprintf(said, sizeof said, "%d %s\n", k->slot, k->address);
    ours = file_read(making, sizeof said, &before, NULL) == BM_OK &&
           span_eq(buf_span(&before), span_str(said));
    buf_fini(&before);
    if (res == A71CH_OK && !ours)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "slot %d of the chip at %s has a key already, which is left as it is; take another "
            "slot, or erase it with a71chConfig",
            k->slot, k->address);
    if (res != A71CH_OK) {
        err = file_write(making, span_str(said), 0600, msg);
        if (err == BM_OK) {
            res = a71ch_pair_generate(k->chip, (unsigned)k->slot);
            err = res == A71CH_OK ? BM_OK : chip_failed(k, res, msg);
        }
    }
    if (err == BM_OK)
        err = use_slot(k, point, msg);
    if (err == BM_OK)
        err = save_reference(path, (unsigned)k->slot, point, msg);
    if (err == BM_OK)
        (void)unlink(making);
    return err;
}

enum bm_err
ca_key_create_in_chip(
    const char *path, struct ca_access *a, unsigned slot, struct ca_key **out, struct bm_msg *msg)
{
    uint8_t point[A71CH_POINT_LEN];
    enum bm_err err;

    *out = NULL;
    if (slot >= A71CH_PAIR_COUNT)
        return bm_fail(msg, BM_ERR_ARG, "a chip has slots 0 to %d", A71CH_PAIR_COUNT - 1);
    if (access(path, F_OK) == 0)
        return bm_fail(msg, BM_ERR_EXISTS, "%s is there already, and is left as it is", path);
    err = key_new(out, msg);
    if (err == BM_OK)
        err = chip_open(*out, a, (int)slot, msg);
    if (err == BM_OK)
        err = make_in_slot(*out, path, point, msg);
    if (err != BM_OK) {
        ca_key_close(*out);
        *out = NULL;
    }
    return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Putting a new certificate beside the one in use: in the chip's storage, or in files. */
#include "device/renew.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STORED_MAX = 64,
    INDEX_COUNT = 16,
    SEGMENT = 32,
    ENTRY = 6,
    CERTIFICATE_MAX = 4096,
    FROZEN = 0xf, /* low nibble of a segment in the credential map, SPEC a71ch 1.7 */
};

/* The certificates in a chip's storage. */
struct storage {
    STACK_OF(X509) * found;
    uint8_t index[STORED_MAX];
};

static enum bm_err
chip_says(a71ch *chip, a71ch_result r, const char *doing, struct bm_msg *msg)
{
    switch (r) {
    case A71CH_OK:
        return BM_OK;
    case A71CH_ERR_FULL:
        return bm_fail(msg, BM_ERR_LIMIT,
            "%s: the chip's storage is full; erase what is not needed (a71chConfig ADDRESS obj), "
            "or keep certificates in a file (--cert)",
            doing);
    case A71CH_ERR_FROZEN:
        return bm_fail(msg, BM_ERR_DENIED,
            "%s: the chip's storage is locked; keep certificates in a file (--cert)", doing);
    default:
        return bm_fail(
            msg, BM_ERR_IO, "%s: %.300s (%s)", doing, a71ch_message(chip), a71ch_result_name(r));
    }
}

static enum bm_err
read_storage(a71ch *chip, struct storage *s, struct bm_msg *msg)
{
    *s = (struct storage){ .found = sk_X509_new_null() };
    if (s->found == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for the chip's certificates");
    return chip_says(chip, identity_read_chip(chip, s->found, s->index, STORED_MAX),
        "reading the chip's certificates", msg);
}

static void
storage_fini(struct storage *s)
{
    sk_X509_pop_free(s->found, X509_free);
}

static bool
same(const X509 *a, const X509 *b)
{
    return a != NULL && b != NULL && X509_cmp(a, b) == 0;
}

/* A former leaf of the device: neither the newest, nor the one in use, nor `keep`. */
static bool
is_stale(const struct identity *id, size_t in_use, const X509 *keep, X509 *x)
{
    if (same(x, identity_leaf(id, 0)) || same(x, identity_leaf(id, in_use)) || same(x, keep))
        return false;
    for (size_t k = 0; k < id->key_count; k++) {
        if (chain_is_for(x, id->keys[k]))
            return true;
    }
    return false;
}

static enum bm_err
drop_stale(a71ch *chip, const struct identity *id, size_t in_use, const X509 *keep,
    struct storage *s, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    for (int i = 0; err == BM_OK && i < sk_X509_num(s->found); i++) {
        if (is_stale(id, in_use, keep, sk_X509_value(s->found, i)))
            err = chip_says(chip, a71ch_object_erase(chip, A71CH_CERTIFICATE, s->index[i]),
                "removing a former certificate", msg);
    }
    return err;
}

static size_t
whole_segments(size_t len)
{
    return (len + SEGMENT - 1) / SEGMENT * SEGMENT;
}

/* Is the end of storage, where the table of objects is, frozen? SPEC a71ch 1.7 */
static a71ch_result
table_is_writable(a71ch *chip)
{
    uint8_t map[A71CH_MAP_MAX];
    size_t len = 0;
    a71ch_result r = a71ch_get_credential_map(chip, map, &len);

    return r == A71CH_OK && (map[len - 1] & 0xf) == FROZEN ? A71CH_ERR_FROZEN : r;
}

/* The largest gap that a further object could have. SPEC a71ch 8.8, "Allocation" */
static a71ch_result
largest_gap(
    a71ch *chip, const struct identity *id, size_t in_use, const struct storage *s, size_t *gap)
{
    a71ch_object list[A71CH_OBJECT_COUNT_MAX];
    a71ch_module_info info;
    size_t count = 0;
    size_t at = 0;
    size_t end;
    a71ch_result r = a71ch_get_module_info(chip, &info);

    *gap = 0;
    if (r == A71CH_OK)
        r = table_is_writable(chip);
    if (r == A71CH_OK)
        r = a71ch_object_list(chip, list, A71CH_OBJECT_COUNT_MAX, &count);
    if (r != A71CH_OK)
        return r;
    end = info.gp_size - whole_segments(ENTRY * (count + 1) + 2);
    for (size_t i = 0; i <= count; i++) {
        size_t next = i < count ? list[i].offset : end;
        bool goes = false;

        for (int k = 0; i < count && k < sk_X509_num(s->found); k++)
            goes = goes || (list[i].type == A71CH_CERTIFICATE && s->index[k] == list[i].index &&
                               is_stale(id, in_use, NULL, sk_X509_value(s->found, k)));
        if (goes)
            continue;
        if (next > at && next - at > *gap)
            *gap = next - at;
        if (i < count)
            at = list[i].offset + whole_segments(list[i].len);
    }
    return A71CH_OK;
}

enum bm_err
renew_room(a71ch *chip, const struct identity *id, size_t in_use, size_t len, struct bm_msg *msg)
{
    struct storage s;
    size_t gap = 0;
    enum bm_err err = read_storage(chip, &s, msg);

    if (err == BM_OK)
        err = chip_says(chip, largest_gap(chip, id, in_use, &s, &gap), "looking for room", msg);
    if (err == BM_OK && gap < whole_segments(len))
        err = bm_fail(msg, BM_ERR_LIMIT,
            "the chip's storage has room for %zu bytes beside what is in it, a further certificate "
            "of %zu wants more; erase what is not needed (a71chConfig ADDRESS obj), or keep "
            "certificates in a file (--cert)",
            gap, len);
    storage_fini(&s);
    return err;
}

static int
free_index(const struct storage *s, uint32_t taken)
{
    for (int i = 0; i < sk_X509_num(s->found); i++)
        taken |= 1u << (s->index[i] % INDEX_COUNT); /* tools look at the low nibble only */
    for (int i = 0; i < INDEX_COUNT; i++) {
        if ((taken & 1u << i) == 0)
            return i;
    }
    return -1;
}

/* Indices of all certificate objects, of those that hold none, too. */
static a71ch_result
taken_indices(a71ch *chip, uint32_t *taken)
{
    a71ch_object list[A71CH_OBJECT_COUNT_MAX];
    size_t count = 0;
    a71ch_result r = a71ch_object_list(chip, list, A71CH_OBJECT_COUNT_MAX, &count);

    *taken = 0;
    for (size_t i = 0; r == A71CH_OK && i < count; i++) {
        if (list[i].type == A71CH_CERTIFICATE)
            *taken |= 1u << (list[i].index % INDEX_COUNT);
    }
    return r;
}

/* Store one certificate unless it is there, and read it back. */
static enum bm_err
store_one(a71ch *chip, X509 *x, struct bm_msg *msg)
{
    struct storage s;
    uint8_t back[CERTIFICATE_MAX];
    size_t back_len = sizeof back;
    uint32_t taken = 0;
    unsigned char *der = NULL;
    int len = i2d_X509(x, &der);
    bool there = false;
    int index = -1;
    enum bm_err err = read_storage(chip, &s, msg);

    for (int i = 0; err == BM_OK && i < sk_X509_num(s.found); i++)
        there = there || same(x, sk_X509_value(s.found, i));
    if (err == BM_OK && !there) {
        err = chip_says(chip, taken_indices(chip, &taken), "reading the table of objects", msg);
        index = free_index(&s, taken);
        if (err == BM_OK && index < 0)
            err = bm_fail(msg, BM_ERR_LIMIT, "the chip stores %d certificates already; erase some",
                INDEX_COUNT);
    }
    if (err == BM_OK && len <= 0)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate");
    if (err == BM_OK && !there)
        err = chip_says(chip,
            a71ch_object_write(chip, A71CH_CERTIFICATE, (uint8_t)index, der, (size_t)len, 0),
            "storing the certificate", msg);
    if (err == BM_OK && !there) {
        err = chip_says(chip, a71ch_certificate_read(chip, (uint8_t)index, back, &back_len),
            "reading the certificate back", msg);
        if (err == BM_OK && !span_eq(span_of(back, back_len), span_of(der, (size_t)len)))
            err =
                bm_fail(msg, BM_ERR_IO, "certificate %d reads back otherwise than written", index);
    }
    OPENSSL_free(der);
    storage_fini(&s);
    return err;
}

enum bm_err
renew_make_room(a71ch *chip, const struct identity *id, size_t in_use, struct bm_msg *msg)
{
    struct storage s;
    enum bm_err err = read_storage(chip, &s, msg);

    if (err == BM_OK)
        err = drop_stale(chip, id, in_use, NULL, &s, msg);
    storage_fini(&s);
    return err;
}

enum bm_err
renew_store_chip(a71ch *chip, const struct identity *id, size_t in_use,
    const struct renew_answer *a, struct bm_msg *msg)
{
    struct storage s;
    enum bm_err err = read_storage(chip, &s, msg);

    if (err == BM_OK)
        err = drop_stale(chip, id, in_use, a->leaf, &s, msg);
    storage_fini(&s);
    /* the signer first: as soon as the leaf is there it is used */
    for (size_t i = 0; err == BM_OK && i < a->issuer_count; i++) {
        if (i == 0 || !chain_signed_by(a->issuers[i], a->issuers[i])) /* no root is needed */
            err = store_one(chip, a->issuers[i], msg);
    }
    return err == BM_OK ? store_one(chip, a->leaf, msg) : err;
}

/* ---- files ---- */

/* Does the file hold this certificate? */
static bool
file_holds(const char *path, const X509 *x)
{
    BIO *in = BIO_new_file(path, "r");
    X509 *at;
    bool found = false;

    while (in != NULL && !found && (at = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        found = same(at, x);
        X509_free(at);
    }
    ERR_clear_error();
    BIO_free(in);
    return found;
}

static enum bm_err
move_durably(const char *from, const char *to, struct bm_msg *msg)
{
    char dir[PATH_MAX];
    char *slash;
    int fd;

    if (rename(from, to) != 0)
        return bm_fail(msg, BM_ERR_IO, "cannot rename %s to %s: %s", from, to, strerror(errno));
    (void)snprintf(dir, sizeof dir, "%s", to);
    slash = strrchr(dir, '/');
    if (slash != NULL)
        slash[slash == dir] = '\0';
    fd = open(slash != NULL ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
    return BM_OK;
}

enum bm_err
renew_store_file(const char *cert_file, const struct identity *id, size_t in_use,
    const struct renew_answer *a, struct bm_msg *msg)
{
    char next[PATH_MAX];
    BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum bm_err err = BM_OK;

    if (snprintf(next, sizeof next, "%s.new", cert_file) >= (int)sizeof next)
        err = bm_fail(msg, BM_ERR_ARG, "path too long: %s", cert_file);
    if (err == BM_OK && file_holds(next, identity_leaf(id, in_use)))
        err = move_durably(next, cert_file, msg);
    if (err == BM_OK && (out == NULL || PEM_write_bio_X509(out, a->leaf) != 1))
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate");
    for (size_t i = 0; err == BM_OK && i < a->issuer_count; i++)
        (void)PEM_write_bio_X509(out, a->issuers[i]);
    for (int i = 0; err == BM_OK && a->issuer_count == 0 && i < sk_X509_num(id->found); i++) {
        if (chain_signed_by(a->leaf, sk_X509_value(id->found, i))) /* known from the old file */
            (void)PEM_write_bio_X509(out, sk_X509_value(id->found, i));
    }
    if (err == BM_OK) {
        long len = BIO_get_mem_data(out, &text);

        err = file_write(next, span_of(text, (size_t)len), 0644, msg);
    }
    BIO_free(out);
    return err;
}

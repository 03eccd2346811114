/* SPDX-License-Identifier: Apache-2.0 */
/* See identity.h. */
#include "device/identity.h"

#include "base/file.h"
#include "wire/refkey.h"

#include <errno.h>
#include <limits.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 18, OBJECTS_MAX = 64, CERTIFICATE_MAX = 4096 };

static const char *
openssl_words(char *out, size_t cap)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long e = ERR_peek_error_all(NULL, NULL, NULL, &data, &flags);
    const char *reason = ERR_reason_error_string(e);

    (void)snprintf(out, cap, "%s%s%s", reason != NULL ? reason : "no reason given",
        (flags & ERR_TXT_STRING) != 0 && data[0] != '\0' ? ": " : "",
        (flags & ERR_TXT_STRING) != 0 ? data : "");
    ERR_clear_error();
    return out;
}

/* --- the library context --------------------------------------------------------------------- */

/* The provider's module: beside this program as it is installed, else where OpenSSL has its own. */
static void
module_path(char out[PATH_MAX])
{
    char exe[PATH_MAX];
    char path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    char *slash;

    (void)snprintf(out, PATH_MAX, "e2a71ch");
    if (n <= 0)
        return;
    exe[n] = '\0';
    slash = strrchr(exe, '/');
    if (slash == NULL)
        return;
    *slash = '\0';
    (void)snprintf(path, sizeof path, "%s/../lib/ossl-modules/e2a71ch.so", exe);
    if (access(path, R_OK) == 0 && realpath(path, exe) != NULL)
        (void)snprintf(out, PATH_MAX, "%s", exe);
}

/*
 * The provider takes the chip's address from its configuration. OpenSSL 3.0 reads one from files
 * only, so it gets a file in memory. Default stands first; SPEC openssl 1.4.
 */
static bool
load_provider(OSSL_LIB_CTX *lib, const char *address)
{
    char module[PATH_MAX];
    char path[64];
    struct buf conf = { 0 };
    int fd = memfd_create("openssl.cnf", MFD_CLOEXEC);
    bool done = false;

    module_path(module);
    buf_addf(&conf,
        "openssl_conf = i\n[i]\nproviders = p\n[p]\ndefault = d\ne2a71ch = e\n[d]\nactivate = 1\n"
        "[e]\nmodule = %s\nactivate = 1\n",
        module);
    if (address != NULL)
        buf_addf(&conf, "address = %s\n", address);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0 && !conf.failed && fd_write_all(fd, buf_span(&conf)) == BM_OK)
        done = OSSL_LIB_CTX_load_config(lib, path) == 1 && OSSL_PROVIDER_available(lib, "e2a71ch");
    if (fd >= 0)
        (void)close(fd);
    buf_fini(&conf);
    return done;
}

static enum bm_err
make_context(struct identity *id, bool provider, const char *address, struct bm_msg *msg)
{
    char words[200];
    char module[PATH_MAX];

    id->lib = OSSL_LIB_CTX_new();
    if (id->lib == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for OpenSSL");
    if (!provider || load_provider(id->lib, address))
        return BM_OK;
    module_path(module);
    return bm_fail(msg, BM_ERR_NOT_FOUND,
        "the OpenSSL provider %s does not load (%s); install it beside this program", module,
        openssl_words(words, sizeof words));
}

static EVP_PKEY *
decode_key(OSSL_LIB_CTX *lib, const char *type, struct span der)
{
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *d = OSSL_DECODER_CTX_new_for_pkey(
        &key, "DER", NULL, type, OSSL_KEYMGMT_SELECT_PRIVATE_KEY, lib, NULL);
    const unsigned char *at = der.ptr;
    size_t left = der.len;

    if (d == NULL || OSSL_DECODER_from_data(d, &at, &left) != 1)
        key = NULL;
    OSSL_DECODER_CTX_free(d);
    return key;
}

/* --- key and certificates in a chip ---------------------------------------------------------- */

static enum bm_err
add_key(
    struct identity *id, unsigned slot, const uint8_t point[A71CH_POINT_LEN], struct bm_msg *msg)
{
    struct refkey ref = {
        .class_id = REFKEY_CLASS_PAIR, .index = (uint8_t)slot, .has_point = true
    };
    uint8_t der[REFKEY_DER_MAX];
    struct wr w = wr_of(der, sizeof der);
    char words[200];
    EVP_PKEY *key = NULL;

    memcpy(ref.point, point, sizeof ref.point);
    if (refkey_build_sec1(&w, &ref) == BM_OK)
        key = decode_key(id->lib, "EC", span_of(der, wr_len(&w)));
    if (key == NULL)
        return bm_fail(msg, BM_ERR_INTERNAL,
            "OpenSSL does not take the reference to key pair %u: %s", slot,
            openssl_words(words, sizeof words));
    id->slots[id->key_count] = slot;
    id->keys[id->key_count++] = key;
    return BM_OK;
}

static enum bm_err
chip_failed(a71ch *chip, const char *address, a71ch_result r, struct bm_msg *msg)
{
    if (chip == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a chip");
    return bm_fail(msg, BM_ERR_IO, "chip %s: %s (%s)",
        a71ch_address(chip)[0] != '\0' ? a71ch_address(chip)
        : address != NULL              ? address
                                       : "of the environment",
        a71ch_message(chip), a71ch_result_name(r));
}

a71ch_result
identity_read_chip(a71ch *chip, STACK_OF(X509) * found, uint8_t index[], size_t cap)
{
    a71ch_object list[OBJECTS_MAX];
    size_t count = 0;
    a71ch_result r = a71ch_object_list(chip, list, OBJECTS_MAX, &count);

    if (r == A71CH_ERR_RESPONSE) /* raw data instead of objects: there are no certificates */
        return A71CH_OK;
    for (size_t i = 0; r == A71CH_OK && i < count && i < OBJECTS_MAX; i++) {
        uint8_t der[CERTIFICATE_MAX];
        const unsigned char *at = der;
        size_t len = sizeof der;
        X509 *x;

        if (list[i].type != A71CH_CERTIFICATE || (size_t)sk_X509_num(found) == cap)
            continue;
        r = a71ch_certificate_read(chip, list[i].index, der, &len);
        if (r == A71CH_ERR_RESPONSE || r == A71CH_ERR_SPACE) { /* no certificate in it */
            r = A71CH_OK;
            continue;
        }
        x = r == A71CH_OK ? d2i_X509(NULL, &at, (long)len) : NULL;
        if (x != NULL && sk_X509_push(found, x) > 0)
            index[sk_X509_num(found) - 1] = list[i].index;
        else
            X509_free(x);
        ERR_clear_error();
    }
    return r;
}

struct chip_keys {
    uint8_t points[CHAIN_KEYS_MAX][A71CH_POINT_LEN];
    unsigned slots[CHAIN_KEYS_MAX];
    size_t count;
};

/* The public keys of all slots that may be the device's; those that are empty are left out. */
static a71ch_result
read_points(a71ch *chip, const struct identity_options *o, struct chip_keys *out)
{
    a71ch_result r = A71CH_OK;

    for (unsigned n = 0; r == A71CH_OK && n < CHAIN_KEYS_MAX; n++) {
        unsigned slot = n == 0 ? o->slot : n <= o->slot ? n - 1 : n; /* `slot` first */

        if (n > 0 && (o->more_slots & 1u << slot) == 0)
            continue;
        r = a71ch_pair_get_public(chip, slot, out->points[out->count]);
        if (r == A71CH_OK)
            out->slots[out->count++] = slot;
        else if (r == A71CH_ERR_STATUS)
            r = A71CH_OK;
    }
    return r;
}

static enum bm_err
open_chip(
    struct identity *id, const struct identity_options *o, enum cause *cause, struct bm_msg *msg)
{
    static const a71ch_options wait = { .connect_timeout_ms = 5000, .answer_timeout_ms = 10000 };
    struct chip_keys keys = { .count = 0 };
    uint8_t uid[A71CH_UID_LEN] = { 0 };
    uint8_t index[OBJECTS_MAX];
    a71ch *chip = NULL;
    a71ch_result r = a71ch_open(o->address, &wait, &chip);
    enum bm_err err = BM_OK;

    *cause = CAUSE_DEVICE_CHIP;
    if (r == A71CH_OK)
        r = a71ch_get_unique_id(chip, uid);
    if (r == A71CH_OK) {
        hex_encode(id->chip_id, uid, sizeof uid);
        r = read_points(chip, o, &keys);
    }
    if (r == A71CH_OK && keys.count == 0) {
        *cause = CAUSE_DEVICE_KEY;
        err = bm_fail(msg, BM_ERR_NOT_FOUND,
            "slot %u of the chip %s holds no key pair (%s); make one: a71chConfig %s gen pair "
            "-x %u",
            o->slot, id->chip_id, a71ch_message(chip), a71ch_address(chip), o->slot);
    }
    if (err == BM_OK && r == A71CH_OK && o->cert_file == NULL)
        r = identity_read_chip(chip, id->found, index, OBJECTS_MAX);
    if (err == BM_OK && r != A71CH_OK)
        err = chip_failed(chip, o->address, r, msg);
    if (err == BM_OK)
        (void)snprintf(id->key_text, sizeof id->key_text, "%s", a71ch_address(chip));
    a71ch_close(chip);
    if (err == BM_OK)
        err = make_context(id, true, o->address, msg);
    for (size_t i = 0; err == BM_OK && i < keys.count; i++)
        err = add_key(id, keys.slots[i], keys.points[i], msg);
    return err;
}

/* The key of the leaf that was picked, and its name. */
static void
choose_key(struct identity *id, size_t pick)
{
    char address[sizeof id->key_text];
    size_t k = 0;

    if (id->chain.leaf_count > 0)
        k = id->chain.key_of[pick < id->chain.leaf_count ? pick : id->chain.leaf_count - 1];
    id->key = id->keys[k];
    if (id->chip_id[0] == '\0')
        return;
    memcpy(address, id->key_text, sizeof address);
    (void)snprintf(id->key_text, sizeof id->key_text, "key pair %u of the chip %s at %.120s",
        id->slots[k], id->chip_id, address);
}

/* --- files ------------------------------------------------------------------------------------ */

static enum bm_err
read_chain_file(const char *path, STACK_OF(X509) * found, struct bm_msg *msg)
{
    BIO *bio = BIO_new_file(path, "r");
    X509 *x;

    if (bio == NULL) {
        ERR_clear_error();
        return bm_fail(
            msg, BM_ERR_IO, "cannot read the certificates in %s: %s", path, strerror(errno));
    }
    while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_push(found, x) <= 0)
            X509_free(x);
    }
    ERR_clear_error();
    BIO_free(bio);
    return BM_OK;
}

static enum bm_err
read_certificate_files(struct identity *id, const char *path, struct bm_msg *msg)
{
    char next[PATH_MAX];
    enum bm_err err = read_chain_file(path, id->found, msg);

    if (err == BM_OK && sk_X509_num(id->found) == 0)
        err = bm_fail(msg, BM_ERR_INPUT, "%s holds no certificate in PEM", path);
    if (err == BM_OK && snprintf(next, sizeof next, "%s.new", path) < (int)sizeof next &&
        access(next, R_OK) == 0)
        err = read_chain_file(next, id->found, msg);
    return err;
}

/* The first block of a PEM file that is a private key. */
static enum bm_err
open_key_file(struct identity *id, const struct identity_options *o, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct refkey ref;
    char words[200];
    BIO *bio = NULL;
    char *name = NULL;
    char *header = NULL;
    unsigned char *der = NULL;
    long len = 0;
    bool refers = false;
    enum bm_err err = file_read(o->key_file, FILE_MAX, &text, msg);

    if (err == BM_OK)
        bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    while (bio != NULL && !refers && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
        refers = refkey_parse_sec1(span_of(der, (size_t)len), &ref) == BM_OK ||
                 refkey_parse_pkcs8(span_of(der, (size_t)len), &ref) == BM_OK;
        bm_wipe(der, (size_t)len);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    ERR_clear_error();
    if (err == BM_OK)
        err = make_context(id, refers, o->address, msg);
    if (err == BM_OK && bio != NULL && BIO_reset(bio) >= 0)
        id->keys[0] = PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, id->lib, NULL);
    id->key_count = id->keys[0] != NULL;
    if (err == BM_OK && id->key_count == 0)
        err = bm_fail(msg, BM_ERR_INPUT, "%s holds no private key that OpenSSL reads: %s",
            o->key_file, openssl_words(words, sizeof words));
    (void)snprintf(id->key_text, sizeof id->key_text, "%s %s",
        refers ? "reference key file" : "key file", o->key_file);
    BIO_free(bio);
    if (text.ptr != NULL)
        bm_wipe(text.ptr, text.len);
    buf_fini(&text);
    return err;
}

enum bm_err
identity_open(const struct identity_options *o, size_t pick, struct identity **out,
    enum cause *cause, struct bm_msg *msg)
{
    struct identity *id = calloc(1, sizeof *id);
    enum bm_err err = BM_OK;

    *out = NULL;
    *cause = CAUSE_DEVICE_CHIP;
    if (id == NULL || (id->found = sk_X509_new_null()) == NULL) {
        free(id);
        return bm_fail(msg, BM_ERR_MEM, "out of memory for the device's identity");
    }
    err = o->chip ? open_chip(id, o, cause, msg) : open_key_file(id, o, msg);
    if (err != BM_OK) {
        identity_free(id);
        return err;
    }
    *out = id;
    *cause = CAUSE_DEVICE_KEY;
    if (o->cert_file != NULL)
        err = read_certificate_files(id, o->cert_file, msg);
    if (err == BM_OK)
        chain_build(id->found, id->keys, id->key_count, pick, &id->chain);
    choose_key(id, pick);
    if (err != BM_OK)
        return err;
    if (id->chain.leaf_count > 0)
        return BM_OK;
    if (sk_X509_num(id->found) == 0)
        return bm_fail(msg, BM_ERR_NOT_FOUND,
            "the chip stores no certificate beside %s; store the one that was issued for it: "
            "a71chConfig ADDRESS wcrt -x 0 -p device.pem, or pass it as --cert",
            id->key_text);
    return bm_fail(msg, BM_ERR_CONFLICT, "none of %d certificates in %s is for %s",
        sk_X509_num(id->found), o->cert_file != NULL ? o->cert_file : "the chip", id->key_text);
}

X509 *
identity_leaf(const struct identity *id, size_t pick)
{
    if (id->chain.leaf_count == 0)
        return NULL;
    return id->chain.leaves[pick < id->chain.leaf_count ? pick : id->chain.leaf_count - 1];
}

void
identity_free(struct identity *id)
{
    if (id == NULL)
        return;
    for (size_t i = 0; i < id->key_count; i++)
        EVP_PKEY_free(id->keys[i]);
    sk_X509_pop_free(id->found, X509_free);
    OSSL_LIB_CTX_free(id->lib);
    free(id);
}

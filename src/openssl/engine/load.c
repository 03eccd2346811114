/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See engine.h: keys asked for by name. A file must hold a reference: whoever asks the engine for a
 * key wants it in the chip, and an ordinary key there is a mistake better said than used.
 */
#include "openssl/engine/engine.h"

#include <openssl/bn.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

struct point_task {
    uint8_t class_id;
    unsigned index;
    uint8_t *out;
};

static a71ch_result
get_point(a71ch *chip, void *arg)
{
    const struct point_task *t = arg;

    return t->class_id == REFKEY_CLASS_PAIR ? a71ch_pair_get_public(chip, t->index, t->out)
                                            : a71ch_pub_get(chip, t->index, t->out);
}

/* pair:N or pub:N; then *class_id and *index. */
static bool
is_slot_name(const char *id, uint8_t *class_id, uint8_t *index)
{
    const char *digit;

    if (strncmp(id, "pair:", 5) == 0) {
        *class_id = REFKEY_CLASS_PAIR;
        digit = id + 5;
    } else if (strncmp(id, "pub:", 4) == 0) {
        *class_id = REFKEY_CLASS_PUB;
        digit = id + 4;
    } else {
        return false;
    }
    if (digit[0] < '0' || digit[0] > '9' || digit[1] != '\0')
        return false;
    *index = (uint8_t)(digit[0] - '0');
    return true;
}

static int
read_slot(struct refkey *ref)
{
    struct shared_chip *chip = engine_chip();
    struct point_task t = { ref->class_id, ref->index, ref->point };
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (chip == NULL)
        return 0;
    err = shared_chip_do(chip, SHARED_CHIP_AGAIN, get_point, &t, &msg);
    if (err != BM_OK)
        return engine_raise(reason_of(err), "%s", msg.text);
    ref->has_point = true;
    return 1;
}

static int
no_password(char *out, int cap, int encrypting, void *data)
{
    (void)out;
    (void)cap;
    (void)encrypting;
    (void)data;
    return -1;
}

/* The first private key block of the file. NULL: libcrypto raised. The caller frees both. */
static unsigned char *
read_pem(const char *path, char **name, long *len)
{
    BIO *bio = BIO_new_file(path, "r");
    unsigned char *der = NULL;

    if (bio != NULL &&
        PEM_bytes_read_bio(&der, len, name, PEM_STRING_EVP_PKEY, bio, no_password, NULL) != 1)
        der = NULL;
    BIO_free(bio);
    return der;
}

static int
read_file(const char *path, struct refkey *ref)
{
    enum bm_err err = BM_ERR_INPUT;
    char *name = NULL;
    long len = 0;
    unsigned char *der = read_pem(path, &name, &len);

    if (der == NULL)
        return engine_raise(REASON_NO_KEY,
            "%s: no slot (pair:0 to pair:%d, pub:0 to pub:%d) and no PEM file with a private key "
            "that is not encrypted",
            path, A71CH_PAIR_COUNT - 1, A71CH_PUB_COUNT - 1);
    if (strcmp(name, PEM_STRING_ECPRIVATEKEY) == 0)
        err = refkey_parse_sec1(span_of(der, (size_t)len), ref);
    else if (strcmp(name, PEM_STRING_PKCS8INF) == 0)
        err = refkey_parse_pkcs8(span_of(der, (size_t)len), ref);
    OPENSSL_clear_free(der, (size_t)len);
    OPENSSL_free(name);
    if (err != BM_OK)
        return engine_raise(REASON_NO_KEY,
            "%s holds no reference to a slot of the chip; for an ordinary key leave out the "
            "engine, for a reference write the file with a71chConfig refpem",
            path);
    return 1;
}

/* Takes the engine's method from `e`, whether it is the default one or not. */
static EC_KEY *
ec_key(ENGINE *e, const struct refkey *ref, bool with_private)
{
    EC_KEY *key = EC_KEY_new_method(e);
    EC_GROUP *p256 = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    uint8_t scalar[REFKEY_SCALAR_LEN];
    BIGNUM *number;
    bool ok;

    refkey_scalar(scalar, ref);
    number = BN_bin2bn(scalar, sizeof scalar, NULL);
    ok = key != NULL && p256 != NULL && number != NULL && EC_KEY_set_group(key, p256) == 1 &&
         ref->point[0] != 0 &&
         EC_KEY_oct2key(key, ref->point, ref->has_point ? REFKEY_POINT_LEN : 33, NULL) == 1 &&
         (!with_private || EC_KEY_set_private_key(key, number) == 1);
    BN_free(number);
    EC_GROUP_free(p256);
    if (ok)
        return key;
    EC_KEY_free(key);
    (void)engine_raise(REASON_NO_PUBLIC_KEY,
        "reference to slot %u: its public key is missing or not on P-256; write the file again "
        "with a71chConfig refpem",
        ref->index);
    return NULL;
}

static EVP_PKEY *
load(ENGINE *e, const char *id, bool with_private)
{
    struct refkey ref = { 0 };
    EVP_PKEY *pkey;
    EC_KEY *key;

    if (is_slot_name(id, &ref.class_id, &ref.index) ? !read_slot(&ref) : !read_file(id, &ref))
        return NULL;
    key = ec_key(e, &ref, with_private);
    pkey = key != NULL ? EVP_PKEY_new() : NULL;
    if (pkey == NULL || EVP_PKEY_assign_EC_KEY(pkey, key) != 1) {
        EVP_PKEY_free(pkey);
        EC_KEY_free(key);
        return NULL;
    }
    return pkey;
}

EVP_PKEY *
engine_load_private(ENGINE *e, const char *id, UI_METHOD *ui, void *data)
{
    (void)ui;
    (void)data;
    return load(e, id, true);
}

EVP_PKEY *
engine_load_public(ENGINE *e, const char *id, UI_METHOD *ui, void *data)
{
    (void)ui;
    (void)data;
    return load(e, id, false);
}

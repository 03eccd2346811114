/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See key.h. An EC_KEY_METHOD, which OpenSSL 3 deprecates, and not a provider: a provider would say
 * in 500 lines what one function says here, and `openssl/provider` reaches chips by address only.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "fleet/key.h"

#include "chip/nvm.h"
#include "wire/apdu.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

enum { CLA = 0x80, SLOT = 0, EX_DATA = 0 /* the index that OpenSSL keeps for applications */ };

struct fleet_keys {
    OSSL_LIB_CTX *lib;
    EC_KEY_METHOD *method;
};

struct fleet_key {
    struct chip *chip;
    struct nvm_mem mem;
    EVP_PKEY *pkey;
    uint8_t point[PKI_POINT_LEN];
};

/* One command; `out` gets the answer's data. BM_ERR_STATUS: any word but 9000, in *sw. */
static enum bm_err
command(struct chip *chip, const struct apdu *cmd, struct wr *out, uint16_t *sw)
{
    uint8_t bytes[APDU_CMD_MAX];
    uint8_t answer[APDU_RSP_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct span data = { 0 };
    enum bm_err err = apdu_build(&w, cmd);
    size_t len;

    if (err != BM_OK)
        return err;
    len = chip_apdu(chip, span_of(bytes, wr_len(&w)), answer);
    err = apdu_split(span_of(answer, len), &data, sw);
    if (err == BM_OK && *sw != SW_OK)
        return BM_ERR_STATUS;
    wr_span(out, data);
    return err == BM_OK && out->failed ? BM_ERR_PROTO : err;
}

/* ---- signing ---- */

static ECDSA_SIG *
sign_sig(const unsigned char *digest, int len, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *ec)
{
    struct fleet_key *key = EC_KEY_get_ex_data(ec, EX_DATA);
    uint8_t hash[PKI_HASH_LEN] = { 0 };
    uint8_t der[APDU_RSP_MAX];
    struct wr w = wr_of(der, sizeof der);
    struct apdu cmd = { CLA, INS_PAIR_SIGN, SLOT, 0, SPAN(hash), 256 };
    const uint8_t *at = der;
    uint16_t sw = 0;
    ECDSA_SIG *sig = NULL;

    (void)kinv;
    (void)r;
    if (len > 0) /* what P-256 takes of a longer hash, SPEC a71ch 9.3 */
        memcpy(hash, digest, (size_t)len < sizeof hash ? (size_t)len : sizeof hash);
    if (key != NULL && len >= (int)sizeof hash && command(key->chip, &cmd, &w, &sw) == BM_OK)
        sig = d2i_ECDSA_SIG(NULL, &at, (long)wr_len(&w));
    if (sig == NULL)
        ERR_raise_data(ERR_LIB_USER, 1, "the chip did not sign, status %04x", sw);
    return sig;
}

enum bm_err
fleet_keys_new(struct fleet_keys **out, struct bm_msg *msg)
{
    struct fleet_keys *k = calloc(1, sizeof *k);
    int (*sign)(int, const unsigned char *, int, unsigned char *, unsigned int *, const BIGNUM *,
        const BIGNUM *, EC_KEY *) = NULL;
    int (*setup)(EC_KEY *, BN_CTX *, BIGNUM **, BIGNUM **) = NULL;

    *out = k;
    if (k == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a fleet");
    k->lib = OSSL_LIB_CTX_new();
    k->method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
    if (k->lib == NULL || k->method == NULL) {
        fleet_keys_free(k);
        *out = NULL;
        return bm_fail(msg, BM_ERR_MEM, "out of memory for OpenSSL");
    }
    EC_KEY_METHOD_get_sign(k->method, &sign, &setup, NULL);
    EC_KEY_METHOD_set_sign(k->method, sign, setup, sign_sig);
    return BM_OK;
}

void
fleet_keys_free(struct fleet_keys *k)
{
    if (k == NULL)
        return;
    EC_KEY_METHOD_free(k->method);
    OSSL_LIB_CTX_free(k->lib);
    free(k);
}

OSSL_LIB_CTX *
fleet_keys_lib(const struct fleet_keys *k)
{
    return k->lib;
}

/* ---- the chip ---- */

static enum bm_err
refused(const char *what, uint16_t sw, struct bm_msg *msg)
{
    return bm_fail(msg, BM_ERR_STATUS, "the chip does not %s: status %04x", what, sw);
}

/* Select the applet, and have the point of slot 0. */
static enum bm_err
have_pair(struct fleet_key *key, struct bm_msg *msg)
{
    static const uint8_t aid[] = { 'a', '7', '1', 'c', 'h' };
    struct apdu select = { .ins = INS_SELECT, .p1 = 0x04, .data = SPAN(aid), .le = 256 };
    struct apdu get = { CLA, INS_PAIR_GET, SLOT, 0, .le = 256 };
    struct apdu make = { CLA, INS_PAIR_SET, SLOT, 0, .le = 256 };
    uint8_t ignored[APDU_RSP_MAX];
    struct wr none = wr_of(ignored, sizeof ignored);
    struct wr w = wr_of(key->point, sizeof key->point);
    uint16_t sw = 0;

    if (command(key->chip, &select, &none, &sw) != BM_OK)
        return refused("answer SELECT", sw, msg);
    if (command(key->chip, &get, &w, &sw) == BM_OK && wr_len(&w) == sizeof key->point)
        return BM_OK;
    none = wr_of(ignored, sizeof ignored);
    if (command(key->chip, &make, &none, &sw) != BM_OK)
        return refused("make a key", sw, msg);
    w = wr_of(key->point, sizeof key->point);
    if (command(key->chip, &get, &w, &sw) != BM_OK || wr_len(&w) != sizeof key->point)
        return refused("give its public key", sw, msg);
    return BM_OK;
}

/* The public half is all that it holds. */
static enum bm_err
make_pkey(struct fleet_keys *k, struct fleet_key *key, struct bm_msg *msg)
{
    EC_KEY *ec = EC_KEY_new_by_curve_name_ex(k->lib, NULL, NID_X9_62_prime256v1);
    bool done = ec != NULL && EC_KEY_set_method(ec, k->method) == 1 &&
                EC_KEY_oct2key(ec, key->point, sizeof key->point, NULL) == 1 &&
                EC_KEY_set_ex_data(ec, EX_DATA, key) == 1;

    key->pkey = done ? EVP_PKEY_new() : NULL;
    if (key->pkey == NULL || EVP_PKEY_assign_EC_KEY(key->pkey, ec) != 1) {
        EC_KEY_free(ec);
        ERR_clear_error();
        return bm_fail(msg, BM_ERR_INTERNAL, "OpenSSL does not take the chip's key");
    }
    return BM_OK;
}

/* From the folder into memory: signing changes nothing, and a chip in a folder has three files
 * open. */
static enum bm_err
copy_of(const char *dir, struct nvm_mem *mem, struct bm_msg *msg)
{
    struct nvm_store store;
    enum bm_err err = nvm_store_dir(dir, NULL, &store, msg);

    if (err != BM_OK)
        return err;
    err = store.load(store.arg, &mem->bytes, msg);
    if (err == BM_OK)
        err = store.key(store.arg, mem->key, msg);
    mem->has_key = err == BM_OK;
    store.close(store.arg);
    return err;
}

/* Have the key there, durably, then in memory. */
static enum bm_err
open_in_folder(struct fleet_keys *k, struct fleet_key *key, const char *dir, struct bm_msg *msg)
{
    enum bm_err err = chip_open_shared(dir, k->lib, &key->chip, msg);

    if (err == BM_OK)
        err = have_pair(key, msg);
    chip_close(key->chip);
    key->chip = NULL;
    return err == BM_OK ? copy_of(dir, &key->mem, msg) : err;
}

enum bm_err
fleet_key_open(struct fleet_keys *k, const char *dir, struct fleet_key **out, struct bm_msg *msg)
{
    struct fleet_key *key = calloc(1, sizeof *key);
    enum bm_err err;

    *out = NULL;
    if (key == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a device");
    err = dir != NULL ? open_in_folder(k, key, dir, msg) : BM_OK;
    if (err == BM_OK)
        err = chip_open_store_shared(nvm_store_mem(&key->mem), k->lib, &key->chip, msg);
    if (err == BM_OK)
        err = have_pair(key, msg);
    if (err == BM_OK)
        err = make_pkey(k, key, msg);
    if (err != BM_OK) {
        fleet_key_close(key);
        return err;
    }
    *out = key;
    return BM_OK;
}

void
fleet_key_close(struct fleet_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    chip_close(key->chip);
    if (key->mem.bytes.ptr != NULL)
        bm_wipe(key->mem.bytes.ptr, key->mem.bytes.len);
    buf_fini(&key->mem.bytes);
    bm_wipe(key, sizeof *key);
    free(key);
}

EVP_PKEY *
fleet_key_pkey(const struct fleet_key *key)
{
    return key->pkey;
}

const uint8_t *
fleet_key_point(const struct fleet_key *key)
{
    return key->point;
}

uint64_t
fleet_key_signatures(const struct fleet_key *key)
{
    return chip_stats(key->chip).signatures;
}

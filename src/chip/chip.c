/* SPDX-License-Identifier: Apache-2.0 */
/* See chip.h: opening, closing and what surrounds a command. The commands are in applet.c and
 * cmd_*.c. */
#include "chip/chip.h"

#include "chip/state.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/rand.h>

static void
put_stats(uint8_t out[IMG_STATS_LEN], const struct chip_stats *s)
{
    struct wr w = wr_of(out, IMG_STATS_LEN);

    wr_u64(&w, s->commands);
    wr_u64(&w, s->signatures);
    wr_u64(&w, s->ecdh);
    wr_u64(&w, s->generated);
    wr_u64(&w, s->nvm_writes);
}

static struct chip_stats
get_stats(struct span image)
{
    struct rd r = rd_of(image);
    struct chip_stats s;

    s.commands = rd_u64(&r);
    s.signatures = rd_u64(&r);
    s.ecdh = rd_u64(&r);
    s.generated = rd_u64(&r);
    s.nvm_writes = rd_u64(&r);
    return s;
}

/* One transaction with the counts in it; `wipe_from` below IMG_LEN zeroes from there on. */
static enum bm_err
commit(struct chip *c, size_t wipe_from, const struct nvm_change *changes, size_t count,
    enum nvm_mode mode)
{
    struct nvm_change all[NVM_CHANGES_MAX];
    uint8_t stats[IMG_STATS_LEN];
    bool saves = count == 0 && wipe_from == IMG_LEN; /* only the counts: no write of the chip's */
    enum bm_err err;

    if (count >= NVM_CHANGES_MAX)
        return BM_ERR_ARG;
    for (size_t i = 0; i < count; i++)
        all[i] = changes[i];
    if (!saves)
        c->stats.nvm_writes++;
    put_stats(stats, &c->stats);
    all[count] = (struct nvm_change){ IMG_STATS, SPAN(stats) };
    if (wipe_from < IMG_LEN)
        err = nvm_wipe(c->nvm, wipe_from, all, count + 1);
    else
        err = nvm_write(c->nvm, all, count + 1, mode);
    if (err == BM_OK)
        c->saved = c->stats;
    else
        c->stats.nvm_writes -= saves ? 0 : 1;
    return err;
}

enum bm_err
chip_commit(struct chip *c, const struct nvm_change *changes, size_t count, enum nvm_mode mode)
{
    return commit(c, IMG_LEN, changes, count, mode);
}

enum bm_err
chip_commit_reset(struct chip *c)
{
    uint8_t label[1 + CHIP_LABEL_MAX];
    const struct nvm_change keep = { IMG_LABEL, SPAN(label) };
    size_t count = quirk(c, QUIRK_RESET_LABEL) != 0 ? 0 : 1;

    memcpy(label, nvm_read(c->nvm, IMG_LABEL, sizeof label).ptr, sizeof label);
    return commit(c, IMG_RESET_FROM, &keep, count, NVM_SCRUB);
}

enum bm_err
chip_save(struct chip *c)
{
    if (memcmp(&c->stats, &c->saved, sizeof c->stats) == 0)
        return BM_OK;
    return chip_commit(c, NULL, 0, NVM_APPEND);
}

/*
 * A unique id for a fresh chip, SPEC a71ch 1.3: random where the real one has date, serial number
 * and batch, so that two chips never share it; the IC type is that of NXP's sample.
 */
static enum bm_err
make_uid(struct chip *c)
{
    uint8_t uid[CHIP_UID_LEN];

    if (RAND_bytes_ex(c->lib, uid, sizeof uid, 0) <= 0)
        return BM_ERR_INTERNAL;
    uid[0] = 0x47;
    uid[1] = 0x90;
    uid[2] = 0x51;
    uid[3] = 0x68;
    return chip_commit(c, &(struct nvm_change){ IMG_UID, SPAN(uid) }, 1, NVM_APPEND);
}

/* Parse the stored keys once; a stored key that does not parse is damage the checksum cannot see.
 */
static enum bm_err
load_keys(struct chip *c, struct bm_msg *msg)
{
    for (size_t i = 0; i < CHIP_PAIRS; i++) {
        size_t at = IMG_PAIR + i * IMG_PAIR_STEP;

        if (nvm_read(c->nvm, at, 1).ptr[0] == SLOT_EMPTY)
            continue;
        if (ec_pair_load(c->lib, nvm_read(c->nvm, at + 1, EC_PRIVATE_LEN),
                nvm_read(c->nvm, at + 1 + EC_PRIVATE_LEN, EC_POINT_LEN), &c->pairs[i]) != BM_OK)
            return bm_fail(msg, BM_ERR_INPUT, "key pair %zu in it is not a P-256 key", i);
    }
    for (size_t i = 0; i < CHIP_PUBS; i++) {
        size_t at = IMG_PUB + i * IMG_PUB_STEP;

        if (nvm_read(c->nvm, at, 1).ptr[0] == SLOT_EMPTY)
            continue;
        if (ec_pub_load(c->lib, nvm_read(c->nvm, at + 1, EC_POINT_LEN), &c->pubs[i]) != BM_OK)
            return bm_fail(msg, BM_ERR_INPUT, "public key %zu in it is not a P-256 key", i);
    }
    return BM_OK;
}

static enum bm_err
init(struct chip *c, struct bm_msg *msg)
{
    c->quirks = quirks_default();
    c->sha256 = EVP_MD_fetch(c->lib, "SHA256", NULL);
    c->hmac = EVP_MAC_fetch(c->lib, "HMAC", NULL);
    c->aes_ecb = EVP_CIPHER_fetch(c->lib, "AES-128-ECB", NULL);
    c->aes_wrap = EVP_CIPHER_fetch(c->lib, "AES-128-WRAP", NULL);
    if (c->sha256 == NULL || c->hmac == NULL || c->aes_ecb == NULL || c->aes_wrap == NULL ||
        scp03_aes_init(&c->aes, c->lib) != BM_OK)
        return bm_fail(msg, BM_ERR_INTERNAL, "libcrypto gives no SHA-256, HMAC or AES-128");
    c->stats = c->saved = get_stats(nvm_read(c->nvm, IMG_STATS, IMG_STATS_LEN));
    if (nvm_fresh(c->nvm) && make_uid(c) != BM_OK)
        return bm_fail(msg, BM_ERR_IO, "cannot write the new chip; is there space?");
    return load_keys(c, msg);
}

enum bm_err
chip_open_store_shared(
    struct nvm_store store, OSSL_LIB_CTX *lib, struct chip **out, struct bm_msg *msg)
{
    struct chip *c = calloc(1, sizeof *c);
    enum bm_err err;

    *out = NULL;
    if (c != NULL && lib == NULL)
        c->own_lib = lib = OSSL_LIB_CTX_new();
    if (c == NULL || lib == NULL) {
        free(c);
        store.close(store.arg);
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    c->lib = lib;
    c->session.chip = c;
    err = nvm_open(store, c->lib, IMG_LEN, &c->nvm, msg);
    if (err == BM_OK)
        err = init(c, msg);
    if (err != BM_OK) {
        c->saved = c->stats; /* nothing to save */
        chip_close(c);
        return err;
    }
    *out = c;
    return BM_OK;
}

enum bm_err
chip_open_store(struct nvm_store store, struct chip **out, struct bm_msg *msg)
{
    return chip_open_store_shared(store, NULL, out, msg);
}

enum bm_err
chip_open(const char *dir, struct chip **out, struct bm_msg *msg)
{
    return chip_open_shared(dir, NULL, out, msg);
}

enum bm_err
chip_open_shared(const char *dir, OSSL_LIB_CTX *lib, struct chip **out, struct bm_msg *msg)
{
    return chip_open_cut(dir, lib, NULL, out, msg);
}

enum bm_err
chip_open_cut(
    const char *dir, OSSL_LIB_CTX *lib, struct nvm_cut *cut, struct chip **out, struct bm_msg *msg)
{
    struct nvm_store store;
    struct bm_msg why = { "" };
    enum bm_err err = nvm_store_dir(dir, cut, &store, msg);

    *out = NULL;
    if (err != BM_OK)
        return err;
    err = chip_open_store_shared(store, lib, out, &why);
    if (err == BM_ERR_INPUT)
        return bm_fail(msg, err,
            "%s/nvm is damaged or foreign: %s; put back a copy of the folder or name a new one",
            dir, why.text);
    if (err != BM_OK)
        return bm_fail(msg, err, "%s/nvm: %s", dir, why.text);
    (*out)->dir = strdup(dir);
    if ((*out)->dir == NULL) {
        chip_close(*out);
        *out = NULL;
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    return BM_OK;
}

static void
forget_volatile(struct chip_session *s)
{
    struct chip *c = s->chip;

    EVP_MD_CTX_free(s->sha);
    EVP_MAC_CTX_free(s->mac);
    bm_wipe(s, sizeof *s);
    s->chip = c;
    s->power_cycles = c->power_cycles;
}

void
chip_close(struct chip *c)
{
    if (c == NULL)
        return;
    if (c->nvm != NULL)
        (void)chip_save(c); /* only counts can be lost */
    forget_volatile(&c->session);
    for (size_t i = 0; i < CHIP_PAIRS; i++)
        ec_key_fini(&c->pairs[i]);
    for (size_t i = 0; i < CHIP_PUBS; i++)
        ec_key_fini(&c->pubs[i]);
    EVP_MD_free(c->sha256);
    EVP_MAC_free(c->hmac);
    EVP_CIPHER_free(c->aes_ecb);
    EVP_CIPHER_free(c->aes_wrap);
    scp03_aes_fini(&c->aes);
    nvm_close(c->nvm);
    OSSL_LIB_CTX_free(c->own_lib);
    free(c->dir);
    free(c);
}

void
chip_set_quirks(struct chip *c, const struct quirks *q)
{
    c->quirks = *q;
}

size_t
chip_recovered(const struct chip *c)
{
    return nvm_torn(c->nvm);
}

void
chip_atr(const struct chip *c, uint8_t out[CHIP_ATR_LEN])
{
    static const uint8_t atr[CHIP_ATR_LEN] = { 0xb8, 0x04, 0x11, 0x01, 0x05, 0x04, 0xb9, 0x02, 0x01,
        0x01, 0xba, 0x01, 0x01, 0xbb, 0x0c, 'A', '7', '1', '0', 'x', 'C', 'H', '2', '4', '2', 'R',
        '1', 0xbc, 0x00 };

    (void)c;
    memcpy(out, atr, sizeof atr);
}

struct chip_stats
chip_stats(const struct chip *c)
{
    return c->stats;
}

enum bm_err
chip_session_open(struct chip *c, struct chip_session **out)
{
    struct chip_session *s = calloc(1, sizeof *s);

    *out = s;
    if (s == NULL)
        return BM_ERR_MEM;
    s->chip = c;
    s->power_cycles = c->power_cycles;
    return BM_OK;
}

void
chip_session_close(struct chip_session *s)
{
    if (s == NULL)
        return;
    forget_volatile(s);
    free(s);
}

void
chip_session_reset(struct chip_session *s)
{
    forget_volatile(s);
}

void
chip_reset(struct chip *c)
{
    chip_session_reset(&c->session);
}

size_t
chip_session_apdu(struct chip_session *s, struct span cmd, uint8_t rsp[APDU_RSP_MAX])
{
    struct wr w = wr_of(rsp, APDU_RSP_MAX);
    struct apdu a;
    uint16_t sw = quirk(s->chip, QUIRK_MALFORMED);

    if (s->power_cycles != s->chip->power_cycles)
        forget_volatile(s);
    s->chip->stats.commands++;
    s->hello_fresh = s->hello_armed; /* for one command, whatever it is */
    s->hello_armed = false;
    if (apdu_parse(cmd, &a) == BM_OK)
        sw = applet_run(s, &a, &w);
    if (!s->challenged && quirk(s->chip, QUIRK_CHALLENGE_LASTS) == 0)
        memset(s->challenges, 0, sizeof s->challenges);
    s->challenged = false;
    wr_u16(&w, sw);
    return wr_len(&w);
}

size_t
chip_apdu(struct chip *c, struct span cmd, uint8_t rsp[APDU_RSP_MAX])
{
    return chip_session_apdu(&c->session, cmd, rsp);
}

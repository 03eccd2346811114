/* SPDX-License-Identifier: Apache-2.0 */
/* See line.h. */
#include "factory/line.h"

#include "base/clock.h"
#include "pki/subject.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CERT_MAX = 4096, SEGMENT = 32, ANSWER_MS = 15000 };

/* One chip at its socket. */
struct work {
    const struct line *l;
    a71ch *chip;
    struct chip *c;
    uint8_t uid[A71CH_UID_LEN];
    struct line_times *times;
    struct bm_msg *msg;
};

static enum bm_err
chip_says(struct work *w, a71ch_result res, const char *doing)
{
    bool gone = res == A71CH_ERR_CONNECT || res == A71CH_ERR_IO || res == A71CH_ERR_TIMEOUT ||
                res == A71CH_ERR_SELECT || res == A71CH_ERR_BUSY;

    if (res == A71CH_OK)
        return BM_OK;
    return bm_fail(
        w->msg, gone ? BM_ERR_CLOSED : BM_ERR_STATUS, "%s: %.400s", doing, a71ch_message(w->chip));
}

static enum bm_err
note(struct work *w, const char *step, json_t *fields)
{
    return journal_add(w->l->journal, step, w->c->uid, fields, w->msg);
}

/* Of a step that is done again when a crash takes the record. */
static enum bm_err
note_later(struct work *w, const char *step, json_t *fields)
{
    return journal_add_later(w->l->journal, step, w->c->uid, fields, w->msg);
}

/* ---- who is it ---- */

static enum bm_err
connect_chip(struct work *w, const char *address)
{
    static const a71ch_options options = { .answer_timeout_ms = ANSWER_MS };
    a71ch_result res = a71ch_open(address, &options, &w->chip);

    if (w->chip == NULL)
        return bm_fail(w->msg, BM_ERR_MEM, "out of memory for a chip");
    if (res == A71CH_OK)
        res = a71ch_get_unique_id(w->chip, w->uid);
    return chip_says(w, res, "connecting");
}

/* A chip whose channel we made mandatory answers nothing else without it. */
static enum bm_err
open_channel(struct work *w)
{
    a71ch_module_info info;
    a71ch_result res = a71ch_get_module_info(w->chip, &info);

    if (res == A71CH_OK && w->l->job->has_scp && info.scp_state != 2 && w->c->state >= CHIP_STORED)
        res = a71ch_channel_open(w->chip, &w->l->scp, 0);
    return chip_says(w, res, "secure channel");
}

/* Without leave to reset, a chip with a key or certificates is somebody's. */
static enum bm_err
must_be_blank(struct work *w)
{
    uint8_t point[A71CH_POINT_LEN];
    size_t count = 0;
    a71ch_result res = a71ch_pair_get_public(w->chip, w->l->job->slot, point);

    if (res == A71CH_OK)
        return bm_fail(w->msg, BM_ERR_DENIED,
            "chip %s has a key in slot %u already, and the job does not reset chips: refused",
            w->c->uid, w->l->job->slot);
    if (res != A71CH_ERR_STATUS)
        return chip_says(w, res, "looking at the slot");
    res = a71ch_object_list(w->chip, NULL, 0, &count);
    if (res == A71CH_OK && count > 0)
        return bm_fail(w->msg, BM_ERR_DENIED,
            "chip %s has %zu objects in storage already, and the job does not reset chips: refused",
            w->c->uid, count);
    return chip_says(w, res, "looking at its storage");
}

/* ---- key ---- */

static enum bm_err
inject(struct work *w)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIGNUM *n = NULL;
    uint8_t point[A71CH_POINT_LEN];
    uint8_t scalar[A71CH_SCALAR_LEN];
    uint8_t wrapped[A71CH_SCALAR_LEN + A71CH_WRAP_EXTRA];
    const uint8_t *wrap = w->l->job->wrap_key;
    size_t len = 0;
    a71ch_result res = A71CH_ERR_MEMORY;

    if (key != NULL && EVP_PKEY_get_bn_param(key, "priv", &n) == 1 &&
        BN_bn2binpad(n, scalar, sizeof scalar) == (int)sizeof scalar &&
        EVP_PKEY_get_octet_string_param(key, "encoded-pub-key", point, sizeof point, &len) == 1 &&
        len == sizeof point)
        res = a71ch_wrap_key(wrap, scalar, sizeof scalar, wrapped);
    if (res == A71CH_OK)
        res = a71ch_config_set(w->chip, 1, wrap, A71CH_KEY_LEN);
    if (res == A71CH_OK)
        res = a71ch_pair_set(w->chip, w->l->job->slot, point, wrapped, sizeof wrapped);
    BN_clear_free(n);
    EVP_PKEY_free(key);
    bm_wipe(scalar, sizeof scalar);
    return chip_says(w, res, "injecting the key");
}

static enum bm_err
make_key(struct work *w)
{
    char hex[2 * A71CH_POINT_LEN + 1];
    unsigned slot = w->l->job->slot;
    enum bm_err err = BM_OK;

    if (w->c->state == CHIP_NEW) {
        if (!w->l->job->reset)
            err = must_be_blank(w);
        if (err == BM_OK)
            err = note(w, "begin", json_pack("{s:i}", "number", (int)w->c->number));
        if (err == BM_OK)
            w->c->state = CHIP_BEGUN;
    }
    if (err == BM_OK && w->l->job->reset)
        err = chip_says(w, a71ch_debug_reset(w->chip), "debug reset");
    if (err == BM_OK)
        err = w->l->job->inject
                  ? inject(w)
                  : chip_says(w, a71ch_pair_generate(w->chip, slot), "making the key");
    if (err == BM_OK)
        err = chip_says(w, a71ch_pair_get_public(w->chip, slot, w->c->point), "reading the key");
    hex_encode(hex, w->c->point, sizeof w->c->point);
    if (err == BM_OK) /* the leaf's record makes it durable; without that the key is made anew */
        err = note_later(w, "key", json_pack("{s:s,s:i}", "point", hex, "slot", (int)slot));
    if (err == BM_OK)
        w->c->state = CHIP_KEY;
    return err;
}

/* Is the key that was noted still the chip's? */
static enum bm_err
compare_key(struct work *w, bool *same)
{
    uint8_t point[A71CH_POINT_LEN];
    a71ch_result res = a71ch_pair_get_public(w->chip, w->l->job->slot, point);

    *same = res == A71CH_OK && memcmp(point, w->c->point, sizeof point) == 0;
    return res == A71CH_ERR_STATUS ? BM_OK : chip_says(w, res, "reading the key");
}

/* ---- leaf ---- */

static enum bm_err
chip_signs(void *arg, const uint8_t hash[PKI_HASH_LEN], uint8_t out[PKI_SIGNATURE_MAX],
    size_t *out_len, struct bm_msg *msg)
{
    struct work *w = arg;

    (void)msg;
    return chip_says(w, a71ch_pair_sign(w->chip, w->l->job->slot, hash, out, out_len), "signing");
}

static enum bm_err
issue(struct work *w, X509_NAME *name, struct pki_cert **out)
{
    int64_t now = clock_wall_ms();
    struct pki_profile p = { .kind = PKI_DEVICE,
        .subject = name,
        .not_before_ms = pki_not_before(now, w->l->ca),
        .not_after_ms = pki_not_after(now, w->l->job->days, NULL) };
    X509_REQ *csr = NULL;
    enum bm_err err = pki_csr_make(name, w->c->point, chip_signs, w, &csr, w->msg);

    if (err == BM_OK)
        err = pki_issue(w->l->ca_key, w->l->ca, X509_REQ_get0_pubkey(csr), &p, out, w->msg);
    X509_REQ_free(csr);
    return err;
}

static enum bm_err
note_leaf(struct work *w, const struct pki_cert *leaf)
{
    uint8_t serial[PKI_SERIAL_LEN];
    struct span der = pki_cert_der(leaf);
    struct buf text = { 0 };
    enum bm_err err = BM_OK;

    if (pki_cert_serial(leaf, serial, sizeof serial) != sizeof serial)
        return bm_fail(w->msg, BM_ERR_INTERNAL, "the serial number has another length");
    hex_encode(w->c->serial, serial, sizeof serial);
    err = chips_take_serial(w->l->chips, w->c->serial, w->msg);
    if (err == BM_OK)
        err = base64_encode(&text, der);
    if (err == BM_OK)
        err = note(w, "leaf",
            json_pack("{s:s,s:s%}", "serial", w->c->serial, "leaf", (char *)text.ptr, text.len));
    buf_fini(&text);
    if (err == BM_OK) {
        buf_add(&w->c->leaf, der.ptr, der.len);
        w->c->state = CHIP_LEAF;
    }
    return err;
}

static enum bm_err
make_leaf(struct work *w)
{
    uint8_t cert_uid[A71CH_CERT_UID_LEN];
    char cert_uid_text[2 * A71CH_CERT_UID_LEN + 1];
    char subject[512];
    X509_NAME *name = NULL;
    struct pki_cert *leaf = NULL;
    enum bm_err err;

    a71ch_cert_uid(w->uid, cert_uid);
    hex_encode(cert_uid_text, cert_uid, sizeof cert_uid);
    err = job_subject(
        w->l->job, w->c->uid, cert_uid_text, w->c->number, subject, sizeof subject, w->msg);
    if (err == BM_OK)
        err = subject_parse(subject, &name, w->msg);
    if (err == BM_OK)
        err = issue(w, name, &leaf);
    if (err == BM_OK)
        err = note_leaf(w, leaf);
    pki_cert_free(leaf);
    X509_NAME_free(name);
    return err;
}

/* ---- storing ---- */

/* The object holds these bytes afterwards, whatever an interruption left; read back. */
static enum bm_err
store(struct work *w, int index, struct span der)
{
    uint8_t there[CERT_MAX];
    size_t len = sizeof there;
    uint8_t i = (uint8_t)index;
    a71ch_result res = a71ch_certificate_read(w->chip, i, there, &len);

    if (res == A71CH_OK && span_eq(span_of(there, len), der))
        return BM_OK;
    if (res == A71CH_ERR_IO || res == A71CH_ERR_TIMEOUT)
        return chip_says(w, res, "reading a certificate");
    if (res != A71CH_ERR_NOT_FOUND) {
        res = a71ch_object_erase(w->chip, A71CH_CERTIFICATE, i);
        if (res != A71CH_OK)
            return chip_says(w, res, "replacing a certificate");
    }
    res = a71ch_object_write(w->chip, A71CH_CERTIFICATE, i, der.ptr, der.len, 0);
    if (res != A71CH_OK)
        return chip_says(w, res, "storing a certificate");
    len = sizeof there;
    res = a71ch_certificate_read(w->chip, i, there, &len);
    if (res == A71CH_OK && !span_eq(span_of(there, len), der))
        return bm_fail(
            w->msg, BM_ERR_STATUS, "certificate %d reads back otherwise than written", index);
    return chip_says(w, res, "reading a certificate back");
}

static enum bm_err
raise_counter(struct work *w)
{
    uint32_t now = 0;
    unsigned index = (unsigned)w->l->job->counter;
    a71ch_result res;

    if (w->l->job->counter < 0)
        return BM_OK;
    res = a71ch_counter_get(w->chip, index, &now);
    if (res == A71CH_OK && now > w->l->job->counter_value)
        return bm_fail(
            w->msg, BM_ERR_DENIED, "counter %u is at %u, above the job's value", index, now);
    if (res == A71CH_OK && now < w->l->job->counter_value)
        res = a71ch_counter_set(w->chip, index, w->l->job->counter_value);
    return chip_says(w, res, "raising the counter");
}

static enum bm_err
store_all(struct work *w)
{
    bool same = false;
    enum bm_err err = compare_key(w, &same);

    if (err == BM_OK && !same)
        err = bm_fail(w->msg, BM_ERR_CONFLICT,
            "chip %s has another key than its leaf was issued for; it gets no second one",
            w->c->uid);
    if (err == BM_OK)
        err = store(w, w->l->job->leaf_index, buf_span(&w->c->leaf));
    if (err == BM_OK && w->l->job->issuer_index >= 0)
        err = store(w, w->l->job->issuer_index, pki_cert_der(w->l->ca));
    if (err == BM_OK)
        err = raise_counter(w);
    /* only then a channel that is mandatory is expected: open_channel() */
    if (err == BM_OK)
        err = w->l->job->has_scp ? note(w, "stored", NULL) : note_later(w, "stored", NULL);
    if (err == BM_OK)
        w->c->state = CHIP_STORED;
    return err;
}

/* ---- the end ---- */

/* A fresh challenge, signed by the chip, holds under the leaf that it gives out. */
static enum bm_err
verify(struct work *w)
{
    uint8_t challenge[32];
    uint8_t hash[PKI_HASH_LEN];
    uint8_t der[CERT_MAX];
    uint8_t sig[A71CH_SIGNATURE_MAX];
    size_t der_len = sizeof der;
    size_t sig_len = 0;
    struct pki_cert *leaf = NULL;
    a71ch_result res;
    enum bm_err err;

    if (RAND_bytes(challenge, sizeof challenge) != 1 ||
        EVP_Digest(challenge, sizeof challenge, hash, NULL, EVP_sha256(), NULL) != 1)
        return bm_fail(w->msg, BM_ERR_INTERNAL, "no random numbers");
    res = a71ch_certificate_read(w->chip, (uint8_t)w->l->job->leaf_index, der, &der_len);
    if (res == A71CH_OK)
        res = a71ch_pair_sign(w->chip, w->l->job->slot, hash, sig, &sig_len);
    if (res != A71CH_OK)
        return chip_says(w, res, "verifying");
    err = pki_cert_from_der(span_of(der, der_len), &leaf, w->msg);
    if (err == BM_OK && (!span_eq(span_of(der, der_len), buf_span(&w->c->leaf)) ||
                            !pki_cert_verify(leaf, SPAN(challenge), span_of(sig, sig_len))))
        err = bm_fail(
            w->msg, BM_ERR_CONFLICT, "chip %s does not prove the key of its leaf", w->c->uid);
    pki_cert_free(leaf);
    return err;
}

static enum bm_err
set_channel(struct work *w)
{
    a71ch_module_info info;
    a71ch_result res = a71ch_get_module_info(w->chip, &info);

    if (res == A71CH_OK && info.scp_state == 2) {
        res = a71ch_scp_put_keys(w->chip, 1, &w->l->scp);
        if (res == A71CH_OK)
            res = a71ch_channel_open(w->chip, &w->l->scp, 0);
    }
    return chip_says(w, res, "setting the SCP03 keys");
}

/* An object that is frozen already answers 6986: that lock is there. */
static a71ch_result
once(struct work *w, a71ch_result res)
{
    return res == A71CH_ERR_STATUS && a71ch_status_word(w->chip) == 0x6986 ? A71CH_OK : res;
}

static a71ch_result
freeze_storage(struct work *w)
{
    a71ch_object objects[A71CH_OBJECT_COUNT_MAX];
    a71ch_module_info info;
    size_t count = 0;
    size_t table;
    a71ch_result res = a71ch_get_module_info(w->chip, &info);

    if (res == A71CH_OK)
        res = a71ch_object_list(w->chip, objects, A71CH_OBJECT_COUNT_MAX, &count);
    for (size_t i = 0; res == A71CH_OK && i < count; i++)
        res = once(w, a71ch_gp_freeze(w->chip, objects[i].offset,
                          (objects[i].len + (size_t)SEGMENT - 1) / SEGMENT * SEGMENT));
    table = (6 * count + 2 + SEGMENT - 1) / SEGMENT * SEGMENT; /* SPEC a71ch 8.8 */
    if (res == A71CH_OK)
        res = once(w, a71ch_gp_freeze(w->chip, (unsigned)(info.gp_size - table), table));
    return res;
}

static enum bm_err
lock_all(struct work *w)
{
    const struct job *j = w->l->job;
    a71ch_module_info info;
    a71ch_result res = A71CH_OK;
    enum bm_err err = BM_OK;

    if (!(j->lock_storage || j->lock_pair || j->lock_inject || j->debug_off))
        return BM_OK;
    err = note(w, "locking",
        json_pack("{s:b,s:b,s:b,s:b}", "storage", j->lock_storage, "pair", j->lock_pair, "inject",
            j->lock_inject, "debugOff", j->debug_off));
    if (err != BM_OK)
        return err;
    res = a71ch_get_module_info(w->chip, &info);
    if (res == A71CH_OK && j->lock_storage)
        res = freeze_storage(w);
    if (res == A71CH_OK && j->lock_pair && info.inject_lock != 1)
        res = once(w, a71ch_pair_freeze(w->chip, j->slot));
    if (res == A71CH_OK && j->lock_inject && info.inject_lock != 1)
        res = a71ch_inject_lock(w->chip);
    if (res == A71CH_OK && j->debug_off && info.debug)
        res = a71ch_debug_disable(w->chip);
    return chip_says(w, res, "locking");
}

static enum bm_err
finish(struct work *w)
{
    char now[CLOCK_TEXT_LEN];
    enum bm_err err = w->l->job->has_scp ? set_channel(w) : BM_OK;

    if (err == BM_OK)
        err = verify(w);
    if (err == BM_OK)
        err = lock_all(w);
    if (err == BM_OK)
        err = note_later(w, "done", json_pack("{s:s}", "serial", w->c->serial));
    if (err == BM_OK) {
        clock_text(now, clock_wall_ms());
        (void)snprintf(w->c->time, sizeof w->c->time, "%s", now);
        chips_set_done(w->l->chips, w->c);
    }
    return err;
}

/* ---- all of it ---- */

static enum bm_err
timed(struct work *w, int part, enum bm_err (*step)(struct work *w))
{
    int64_t start = clock_mono_us();
    enum bm_err err = step(w);

    w->times->us[part] += clock_mono_us() - start;
    return err;
}

static enum bm_err
all_steps(struct work *w)
{
    enum bm_err err = open_channel(w);
    bool same = true;

    if (err == BM_OK && w->c->state == CHIP_KEY)
        err = compare_key(w, &same);
    if (err == BM_OK && (w->c->state < CHIP_KEY || !same))
        err = timed(w, TIME_KEY, make_key);
    if (err == BM_OK && w->c->state == CHIP_KEY)
        err = timed(w, TIME_ISSUE, make_leaf);
    if (err == BM_OK && w->c->state == CHIP_LEAF)
        err = timed(w, TIME_STORE, store_all);
    if (err == BM_OK && w->c->state == CHIP_STORED)
        err = timed(w, TIME_FINISH, finish);
    return err;
}

enum bm_err
line_chip(const struct line *l, const char *address, struct line_times *times, struct bm_msg *msg)
{
    struct work w = { .l = l, .times = times, .msg = msg };
    int64_t start = clock_mono_us();
    char uid[UID_TEXT];
    enum bm_err err = connect_chip(&w, address);

    times->us[TIME_CONNECT] += clock_mono_us() - start;
    if (err == BM_OK) {
        hex_encode(uid, w.uid, sizeof w.uid);
        err = chips_claim(l->chips, uid, &w.c, msg);
    }
    if (err == BM_OK) {
        err = all_steps(&w);
        chips_release(l->chips, w.c);
    }
    a71ch_close(w.chip);
    return err;
}

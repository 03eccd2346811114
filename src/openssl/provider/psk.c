/* SPDX-License-Identifier: Apache-2.0 */
/* See psk.h. */
#include "openssl/provider/psk.h"

#include "wire/refkey.h"

#include <string.h>

/*
 * Both stand-ins have 32 bytes and begin with magic and kind. Then, for an early secret, index and
 * blocks and zeros; for an ECDHE secret, zeros and the ticket.
 */
enum { EARLY_KIND = 0x45, SHARED_KIND = 0x5a, SHARED_ZEROS = 7, STAND_IN_LEN = 32 };

/* libssl's longest seed and label are far below it */
enum { SEED_MAX = 512 };

struct psk
psk_look(struct span secret)
{
    struct psk found = { .found = PSK_NONE };
    struct rd r = rd_of(secret);
    uint8_t kind;

    if (!refpsk_claims(secret))
        return found;
    (void)rd_span(&r, REFKEY_MAGIC_LEN);
    kind = rd_u8(&r);
    found.found = PSK_REFERENCE;
    if (secret.len == STAND_IN_LEN && kind == SHARED_KIND)
        found.found = PSK_SHARED;
    if (secret.len == STAND_IN_LEN && kind == EARLY_KIND) {
        found.found = PSK_EARLY;
        found.early.index = rd_u8(&r);
        found.early.blocks = rd_u8(&r);
    }
    if (found.found == PSK_REFERENCE)
        found.broken = refpsk_parse(secret, &found.ref) != BM_OK;
    return found;
}

void
psk_write_shared(uint8_t out[A71CH_SECRET_LEN], const uint8_t ticket[HELLO_TICKET_LEN])
{
    struct wr w = wr_of(out, A71CH_SECRET_LEN);

    wr_span(&w, SPAN(refkey_magic));
    wr_u8(&w, SHARED_KIND);
    for (int i = 0; i < SHARED_ZEROS; i++)
        wr_u8(&w, 0);
    wr_bytes(&w, ticket, HELLO_TICKET_LEN);
}

static bool
all_zero(struct span s)
{
    uint8_t any = 0;

    for (size_t i = 0; i < s.len; i++)
        any |= s.ptr[i];
    return any == 0;
}

struct psk_premaster
psk_look_premaster(struct span premaster)
{
    struct psk_premaster found = { .psk = psk_look(premaster), .other = PSK_OTHER_SECRET };
    struct rd r = rd_of(premaster);
    struct span other = rd_span(&r, rd_u16(&r));
    struct span psk = rd_span(&r, rd_u16(&r));

    if (!rd_done(&r))
        return found; /* another key exchange's */
    found.psk = psk_look(psk);
    if (psk_look(other).found == PSK_SHARED) {
        found.other = PSK_OTHER_SHARED;
        memcpy(found.ticket, &other.ptr[STAND_IN_LEN - HELLO_TICKET_LEN], HELLO_TICKET_LEN);
        if (found.psk.found == PSK_NONE) /* the key beside it is a real one */
            found.psk.found = PSK_SHARED;
    } else if (all_zero(other)) {
        found.other = PSK_OTHER_ZEROS;
    }
    return found;
}

static int
require_sha256(const struct prov *p, const EVP_MD *digest)
{
    if (digest != NULL && EVP_MD_is_a(digest, "SHA2-256"))
        return 1;
    return prov_raise(p, REASON_DIGEST,
        "%s: the chip derives keys with SHA-256 only; offer cipher suites that end in SHA256, or "
        "for TLS 1.2 such as PSK-AES128-GCM-SHA256",
        digest != NULL ? EVP_MD_get0_name(digest) : "no digest");
}

static int
require_secret(
    const struct prov *p, const struct psk *psk, struct refpsk_secret secret, const char *version)
{
    if (psk->found == PSK_SHARED)
        return prov_raise(p, REASON_PSK,
            "the key pair set aside by psk_pair serves ECDHE_PSK with a reference that 'psk "
            "native' made, and nothing else; use this configuration for that program only");
    if (psk->broken)
        return prov_raise(p, REASON_PSK,
            "the pre-shared key begins like a reference to the chip and is none; write it again "
            "with a71chConfig psk");
    if (secret.blocks == 0)
        return prov_raise(p, REASON_PSK,
            "the reference names no secret for %s; store it with a71chConfig psk, or exclude "
            "this version",
            version);
    return 1;
}

struct hmac_task {
    struct refpsk_secret secret;
    struct span seed;
    uint8_t *out;
    size_t len;
};

/* P_SHA256 of RFC 5246 5, with the key in the chip: two commands for each 32 bytes. */
static a71ch_result
run_prf(a71ch *chip, void *arg)
{
    const struct hmac_task *t = arg;
    uint8_t data[A71CH_HASH_LEN + SEED_MAX];
    uint8_t block[A71CH_HASH_LEN];
    size_t seed_end = A71CH_HASH_LEN + t->seed.len;
    struct wr out = wr_of(t->out, t->len);
    a71ch_result res;

    memcpy(&data[A71CH_HASH_LEN], t->seed.ptr, t->seed.len);
    res = a71ch_sym_hmac(chip, t->secret.index, t->secret.blocks, t->seed.ptr, t->seed.len, data);
    while (res == A71CH_OK) {
        size_t left = t->len - wr_len(&out);

        res = a71ch_sym_hmac(chip, t->secret.index, t->secret.blocks, data, seed_end, block);
        if (res != A71CH_OK)
            break;
        wr_bytes(&out, block, left < sizeof block ? left : sizeof block);
        if (wr_len(&out) == t->len)
            break;
        res = a71ch_sym_hmac(/* A(i+1) */
            chip, t->secret.index, t->secret.blocks, data, A71CH_HASH_LEN, block);
        memcpy(data, block, sizeof block);
    }
    bm_wipe(block, sizeof block);
    bm_wipe(data, sizeof data);
    return res;
}

static a71ch_result
run_hmac(a71ch *chip, void *arg)
{
    const struct hmac_task *t = arg;

    return a71ch_sym_hmac(
        chip, t->secret.index, t->secret.blocks, t->seed.ptr, t->seed.len, t->out);
}

static int
in_chip(struct prov *p, shared_chip_fn *fn, struct hmac_task *t)
{
    struct bm_msg msg = { "" };
    enum bm_err err = shared_chip_do(p->chip, SHARED_CHIP_AGAIN, fn, t, &msg);

    return err == BM_OK ? 1 : prov_raise_chip(p, err, &msg);
}

static int
prf_by_hmac(
    struct prov *p, const struct psk_premaster *from, struct span seed, uint8_t *out, size_t len)
{
    struct hmac_task t = { from->psk.ref.tls12, seed, out, len };

    if (from->other != PSK_OTHER_ZEROS)
        return prov_raise(p, REASON_PSK,
            "a stored secret cannot serve DHE_PSK, ECDHE_PSK or RSA_PSK in TLS 1.2; offer plain "
            "PSK suites such as PSK-AES128-GCM-SHA256, or TLS 1.3");
    if (seed.len > SEED_MAX)
        return prov_raise(p, REASON_PARAMETER, "a seed of %zu bytes", seed.len);
    return in_chip(p, run_prf, &t);
}

/* The chip's own command does one thing: the master secret of RFC 5246 8.1 as a client. */
static int
prf_by_chip(
    struct prov *p, const struct psk_premaster *from, struct span seed, uint8_t *out, size_t len)
{
    struct rd r = rd_of(seed);
    struct span label = rd_span(&r, strlen("master secret"));
    struct span client_random = rd_span(&r, A71CH_RANDOM_LEN);
    struct span server_random = rd_span(&r, A71CH_RANDOM_LEN);
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (!rd_done(&r) || !span_eq(label, span_str("master secret")) || len != A71CH_MASTER_LEN)
        return prov_raise(p, REASON_PSK,
            "the chip's own command knows no extended master secret; use a reference that 'psk "
            "hmac' made, or switch it off with Options = -ExtendedMasterSecret");
    if (from->other == PSK_OTHER_SECRET)
        return prov_raise(p, REASON_PSK,
            "the chip's own command wants its own key pair for ECDHE_PSK: set psk_pair, prefer "
            "?a71ch.ec=yes and offer the group P-256 only; it does no DHE_PSK and no RSA_PSK");
    err = hello_master(p->hello, from->psk.ref.tls12.index, from->psk.ref.tls12.blocks,
        from->other == PSK_OTHER_SHARED ? from->ticket : NULL, client_random.ptr, server_random.ptr,
        out, &msg);
    if (err == BM_ERR_CONFLICT)
        return prov_raise(p, REASON_PSK,
            "%s: it serves clients only, one handshake at a time, with random = "
            "A71CH-CLIENTRANDOM and MaxProtocol = TLSv1.2",
            msg.text);
    return err == BM_OK ? 1 : prov_raise_chip(p, err, &msg);
}

int
psk_prf(struct prov *p, const struct psk_premaster *from, const EVP_MD *digest, struct span seed,
    uint8_t *out, size_t len)
{
    if (!require_secret(p, &from->psk, from->psk.ref.tls12, "TLS 1.2") ||
        !require_sha256(p, digest))
        return 0;
    return from->psk.ref.kind == REFPSK_NATIVE ? prf_by_chip(p, from, seed, out, len)
                                               : prf_by_hmac(p, from, seed, out, len);
}

int
psk_early(struct prov *p, const struct psk *from, const EVP_MD *digest, uint8_t *out, size_t len)
{
    struct wr w = wr_of(out, len);

    if (!require_secret(p, from, from->ref.tls13, "TLS 1.3") || !require_sha256(p, digest))
        return 0;
    if (len != STAND_IN_LEN)
        return prov_raise(p, REASON_PARAMETER, "an early secret of %zu bytes", len);
    wr_span(&w, SPAN(refkey_magic));
    wr_u8(&w, EARLY_KIND);
    wr_u8(&w, from->ref.tls13.index);
    wr_u8(&w, from->ref.tls13.blocks);
    while (wr_len(&w) < len)
        wr_u8(&w, 0);
    return 1;
}

/* One block is all that TLS 1.3 asks of an early secret with SHA-256. */
int
psk_expand(struct prov *p, const struct psk *early, const EVP_MD *digest, struct span prefix,
    struct span label, struct span data, uint8_t *out, size_t len)
{
    uint8_t info[SEED_MAX];
    struct wr w = wr_of(info, sizeof info);
    struct hmac_task t = { early->early, { 0 }, out, len };

    if (!require_sha256(p, digest))
        return 0;
    if (len != A71CH_HASH_LEN || prefix.len + label.len > 255 || data.len > 64)
        return prov_raise(p, REASON_PARAMETER, "%zu bytes of an early secret in the chip", len);
    wr_u16(&w, (uint16_t)len);
    wr_u8(&w, (uint8_t)(prefix.len + label.len));
    wr_span(&w, prefix);
    wr_span(&w, label);
    wr_u8(&w, (uint8_t)data.len);
    wr_span(&w, data);
    wr_u8(&w, 1); /* number of the block */
    t.seed = span_of(info, wr_len(&w));
    return in_chip(p, run_hmac, &t);
}

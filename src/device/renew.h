/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next certificate of a device: a request signed by its key, the answer of a CA held against
 * what the device is, and the new one put beside the one in use.
 *
 * Nothing is replaced. The new leaf lies beside the old one, the client tries the newest first and
 * goes back to the one before when it is not let in (client.h), so at no moment, power cuts
 * included, does the device have no certificate that works. A leaf is removed only to make room for
 * the next one, and only when it is neither the newest nor the one that was let in last.
 */
#ifndef BM_DEVICE_RENEW_H
#define BM_DEVICE_RENEW_H

#include "device/identity.h"

enum { RENEW_ANSWER_MAX = 65536, RENEW_ISSUERS_MAX = 4 };

/* Does the newest leaf end within `days`? */
bool renew_due(const struct identity *id, int64_t now_ms, unsigned days);
/* Which leaf is in use: the one with this id (`admitted`, may be ""), else the newest. */
size_t renew_in_use(const struct identity *id, const char *admitted);

/*
 * Append, in PEM: a certificate request (PKCS#10) for keys[key], signed by it, with the subject of
 * leaf `in_use`; then that leaf and its issuers, for a CA that wants to know whose request it is.
 * That proves possession of keys[key] only: a new key's request does not prove who had the old one.
 * BM_ERR_IO: the key does not sign.
 */
enum bm_err renew_request(
    const struct identity *id, size_t key, size_t in_use, struct buf *pem, struct bm_msg *msg);

/* What a CA answered. End with renew_answer_fini. */
struct renew_answer {
    X509 *leaf;
    X509 *issuers[RENEW_ISSUERS_MAX]; /* of the answer, its signer first; none: it has none */
    size_t issuer_count;
    STACK_OF(X509) * all;
};

/*
 * Hold an answer, PEM with the leaf and perhaps its issuers in any order, against keys[key] and
 * leaf `in_use`. BM_ERR_INPUT: no certificate in it; BM_ERR_CONFLICT: it is for another key or
 * another subject, not valid now, ends no later than the one in use, or its issuer is neither in
 * the answer nor known to the device. The message says what a CA has to do.
 */
enum bm_err renew_take(const struct identity *id, size_t key, size_t in_use, struct span pem,
    int64_t now_ms, struct renew_answer *out, struct bm_msg *msg);
void renew_answer_fini(struct renew_answer *a);

/*
 * Chip: is there room for another leaf of `len` bytes, once leaves are gone that are neither the
 * newest nor `in_use`? BM_ERR_LIMIT: no; BM_ERR_DENIED: the storage is locked; BM_ERR_IO: the chip.
 */
enum bm_err renew_room(
    a71ch *chip, const struct identity *id, size_t in_use, size_t len, struct bm_msg *msg);
/* Chip: remove those leaves; before the key of one of them is overwritten. */
enum bm_err renew_make_room(
    a71ch *chip, const struct identity *id, size_t in_use, struct bm_msg *msg);
/*
 * Chip: store the answer's leaf, its signer before it when it is not there; read back. May be cut
 * off anywhere and called again. Errors as renew_room.
 */
enum bm_err renew_store_chip(a71ch *chip, const struct identity *id, size_t in_use,
    const struct renew_answer *a, struct bm_msg *msg);
/*
 * Files: the answer becomes FILE.new; what was in FILE.new and is in use becomes FILE before. May
 * be cut off anywhere and called again. BM_ERR_IO.
 */
enum bm_err renew_store_file(const char *cert_file, const struct identity *id, size_t in_use,
    const struct renew_answer *a, struct bm_msg *msg);

#endif

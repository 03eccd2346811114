/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pkcs11.h: ECDSA. The chip signs and verifies; digests are software. PKCS #11 writes a
 * signature as r and s of 32 bytes each, the host library as DER.
 */
#include "openssl/pkcs11/pkcs11.h"

#include "host/signature.h"

#include <string.h>

enum { TAG_SEQUENCE = 0x30, TAG_INTEGER = 0x02, NUMBER_LEN = SIGNATURE_LEN / 2 };

/* --- signatures ----------------------------------------------------------------------------- */

static bool
split_number(struct rd *r, uint8_t out[NUMBER_LEN])
{
    struct rd number;
    struct wr w = wr_of(out, NUMBER_LEN);

    if (rd_u8(r) != TAG_INTEGER)
        r->failed = true;
    number = rd_of(rd_span(r, rd_u8(r)));
    while (rd_left(&number) > NUMBER_LEN)
        r->failed = rd_u8(&number) != 0 || r->failed;
    for (size_t i = rd_left(&number); i < NUMBER_LEN; i++)
        wr_u8(&w, 0);
    wr_span(&w, rd_rest(&number));
    return !r->failed;
}

static bool
split(struct span der, uint8_t out[SIGNATURE_LEN])
{
    struct rd r = rd_of(der);

    if (rd_u8(&r) != TAG_SEQUENCE || rd_u8(&r) != rd_left(&r))
        return false;
    return split_number(&r, out) && split_number(&r, &out[NUMBER_LEN]) && rd_done(&r);
}

/* BM_ERR_INPUT: a number is zero, so it is no signature of anything. */
static enum bm_err
join(const uint8_t raw[SIGNATURE_LEN], struct wr *out)
{
    uint8_t wide[6 + SIGNATURE_LEN];
    struct wr w = wr_of(wide, sizeof wide);

    wr_u8(&w, TAG_SEQUENCE);
    wr_u8(&w, sizeof wide - 2);
    for (size_t i = 0; i < 2; i++) {
        wr_u8(&w, TAG_INTEGER);
        wr_u8(&w, NUMBER_LEN);
        wr_bytes(&w, &raw[i * NUMBER_LEN], NUMBER_LEN);
    }
    return signature_normalise(SPAN(wide), out);
}

/* --- operations ----------------------------------------------------------------------------- */

static CK_RV
begin(struct session *s, struct operation *op, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    bool signing = op == &s->sign;
    struct object o;
    CK_RV rv;

    if (mechanism == NULL)
        return CKR_ARGUMENTS_BAD;
    if (op->active)
        return CKR_OPERATION_ACTIVE;
    if (mechanism->mechanism != CKM_ECDSA && hash_of(mechanism->mechanism) == NULL)
        return CKR_MECHANISM_INVALID;
    if (mechanism->ulParameterLen != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    rv = p11_object(s->module, key, &o);
    if (rv != CKR_OK)
        return rv == CKR_OBJECT_HANDLE_INVALID ? CKR_KEY_HANDLE_INVALID : rv;
    if (o.point == NULL)
        return CKR_KEY_TYPE_INCONSISTENT;
    if (signing != (o.kind == KIND_PRIVATE))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    *op = (struct operation){
        .active = true, .kind = o.kind, .index = o.index, .hash = hash_of(mechanism->mechanism)
    };
    if (op->hash != NULL)
        op->hash->begin(&op->state);
    return CKR_OK;
}

static void
end(struct operation *op)
{
    bm_wipe(op, sizeof *op);
}

/* A whole message at once, or of a mechanism without a digest the digest: what the chip takes. */
static CK_RV
take_whole(struct operation *op, struct span data, uint8_t fit[A71CH_HASH_LEN])
{
    uint8_t digest[HASH_MAX];

    if (op->hash == NULL) {
        if (data.len == 0 || data.len > HASH_MAX)
            return CKR_DATA_LEN_RANGE;
        shared_chip_fit(fit, data.ptr, data.len);
        return CKR_OK;
    }
    op->hash->add(&op->state, data);
    op->hash->end(&op->state, digest);
    shared_chip_fit(fit, digest, op->hash->len);
    return CKR_OK;
}

/* The rest of it after parts. */
static CK_RV
take_rest(struct operation *op, uint8_t fit[A71CH_HASH_LEN])
{
    return op->hash != NULL ? take_whole(op, (struct span){ 0 }, fit) : CKR_DATA_LEN_RANGE;
}

static CK_RV
add_part(struct operation *op, struct span part)
{
    if (!op->active)
        return CKR_OPERATION_NOT_INITIALIZED;
    if (part.ptr == NULL && part.len > 0)
        return CKR_ARGUMENTS_BAD;
    if (op->hash == NULL) { /* CKM_ECDSA takes a digest, and that in one piece */
        end(op);
        return CKR_FUNCTION_NOT_SUPPORTED;
    }
    op->in_parts = true;
    if (part.len > 0)
        op->hash->add(&op->state, part);
    return CKR_OK;
}

/* May a call for the whole, or for the rest, come now? */
static CK_RV
check_turn(const struct operation *op, bool rest)
{
    if (!op->active)
        return CKR_OPERATION_NOT_INITIALIZED;
    return op->in_parts && !rest ? CKR_OPERATION_ACTIVE : CKR_OK;
}

/* --- sign ----------------------------------------------------------------------------------- */

static CK_RV
sign_in_chip(struct session *s, const uint8_t fit[A71CH_HASH_LEN], uint8_t *out)
{
    struct module *m = s->module;
    uint8_t der[A71CH_SIGNATURE_MAX];
    uint8_t raw[SIGNATURE_LEN];
    size_t len = 0;
    struct bm_msg msg = { "" };
    enum bm_err err = shared_chip_sign(m->chip, s->sign.index, fit, der, &len, &msg);

    if (err != BM_OK)
        return p11_chip_result(m, err, &msg, CKR_DEVICE_REMOVED);
    if (!split(span_of(der, len), raw))
        return p11_fail(m, CKR_DEVICE_ERROR, "the chip's signature is none");
    memcpy(out, raw, sizeof raw);
    return CKR_OK;
}

/* `data` NULL: the rest. */
static CK_RV
sign(struct session *s, const struct span *data, uint8_t *out, CK_ULONG *out_len)
{
    struct operation *op = &s->sign;
    uint8_t fit[A71CH_HASH_LEN];
    CK_RV rv = check_turn(op, data == NULL);

    if (rv != CKR_OK)
        return rv;
    if (out_len == NULL || (data != NULL && data->ptr == NULL && data->len > 0)) {
        end(op);
        return CKR_ARGUMENTS_BAD;
    }
    if (out == NULL || *out_len < SIGNATURE_LEN) {
        *out_len = SIGNATURE_LEN;
        return out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    }
    rv = data != NULL ? take_whole(op, *data, fit) : take_rest(op, fit);
    if (rv == CKR_OK)
        rv = sign_in_chip(s, fit, out);
    if (rv == CKR_OK)
        *out_len = SIGNATURE_LEN;
    end(op);
    return rv;
}

CK_RV
p11_sign_init(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    return rv != CKR_OK ? rv : p11_leave(begin(s, &s->sign, mechanism, key));
}

CK_RV
p11_sign(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR signature,
    CK_ULONG_PTR signature_len)
{
    struct session *s;
    struct span whole = { data, len };
    CK_RV rv = p11_enter_session(handle, &s);

    return rv != CKR_OK ? rv : p11_leave(sign(s, &whole, signature, signature_len));
}

CK_RV
p11_sign_update(CK_SESSION_HANDLE handle, CK_BYTE_PTR part, CK_ULONG len)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    return rv != CKR_OK ? rv : p11_leave(add_part(&s->sign, span_of(part, len)));
}

CK_RV
p11_sign_final(CK_SESSION_HANDLE handle, CK_BYTE_PTR signature, CK_ULONG_PTR signature_len)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    return rv != CKR_OK ? rv : p11_leave(sign(s, NULL, signature, signature_len));
}

/* --- verify --------------------------------------------------------------------------------- */

struct verify_task {
    const uint8_t *point;
    const uint8_t *hash;
    struct span sig;
    int valid;
};

static a71ch_result
verify_with_point(a71ch *chip, void *arg)
{
    struct verify_task *t = arg;

    return a71ch_verify_with_key(chip, t->point, t->hash, t->sig.ptr, t->sig.len, &t->valid);
}

static CK_RV
verify_in_chip(struct session *s, const uint8_t fit[A71CH_HASH_LEN], struct span sig)
{
    struct module *m = s->module;
    const struct operation *op = &s->verify;
    struct bm_msg msg = { "" };
    bool valid = false;
    enum bm_err err;

    if (op->kind == KIND_STORED) {
        err = shared_chip_verify(m->chip, op->index, fit, sig, &valid, &msg);
    } else {
        struct verify_task t = { m->contents.pairs[op->index].bytes, fit, sig, 0 };

        err = shared_chip_do(m->chip, SHARED_CHIP_AGAIN, verify_with_point, &t, &msg);
        valid = t.valid == 1;
    }
    if (err != BM_OK)
        return p11_chip_result(m, err, &msg, CKR_DEVICE_REMOVED);
    return valid ? CKR_OK : CKR_SIGNATURE_INVALID;
}

/* `data` NULL: the rest. The operation ends, whatever comes of it. */
static CK_RV
verify(struct session *s, const struct span *data, struct span signature)
{
    struct operation *op = &s->verify;
    uint8_t fit[A71CH_HASH_LEN];
    uint8_t der[A71CH_SIGNATURE_MAX];
    struct wr w = wr_of(der, sizeof der);
    CK_RV rv = check_turn(op, data == NULL);

    if (rv != CKR_OK)
        return rv;
    if (signature.ptr == NULL || (data != NULL && data->ptr == NULL && data->len > 0))
        rv = CKR_ARGUMENTS_BAD;
    else if (signature.len != SIGNATURE_LEN)
        rv = CKR_SIGNATURE_LEN_RANGE;
    else
        rv = data != NULL ? take_whole(op, *data, fit) : take_rest(op, fit);
    if (rv == CKR_OK && join(signature.ptr, &w) != BM_OK)
        rv = CKR_SIGNATURE_INVALID;
    if (rv == CKR_OK)
        rv = verify_in_chip(s, fit, span_of(der, wr_len(&w)));
    end(op);
    return rv;
}

CK_RV
p11_verify_init(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    return rv != CKR_OK ? rv : p11_leave(begin(s, &s->verify, mechanism, key));
}

CK_RV
p11_verify(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR signature,
    CK_ULONG signature_len)
{
    struct session *s;
    struct span whole = { data, len };
    CK_RV rv = p11_enter_session(handle, &s);

    return rv != CKR_OK ? rv : p11_leave(verify(s, &whole, span_of(signature, signature_len)));
}

CK_RV
p11_verify_update(CK_SESSION_HANDLE handle, CK_BYTE_PTR part, CK_ULONG len)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    return rv != CKR_OK ? rv : p11_leave(add_part(&s->verify, span_of(part, len)));
}

CK_RV
p11_verify_final(CK_SESSION_HANDLE handle, CK_BYTE_PTR signature, CK_ULONG signature_len)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    return rv != CKR_OK ? rv : p11_leave(verify(s, NULL, span_of(signature, signature_len)));
}

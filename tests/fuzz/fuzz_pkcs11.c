/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a program that calls the PKCS #11 module in any order with any templates, handles,
 * lengths and buffers, over a simulated chip in memory that goes away and comes back. First two
 * bytes: length of what lies in storage as a certificate, then that, then calls.
 *
 * Every buffer is a block of its exact size, so that a sanitizer sees what is read or written
 * beyond it. What must hold: key pair 0 is what it was, whatever was called.
 */
#include "base/bytes.h"
#include "chip/chip.h"
#include "chip/nvm.h"
#include "host/host.h"

#include <p11-kit/pkcs11.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
a71ch_result __wrap_a71ch_open(const char *address, const a71ch_options *options, a71ch **out);
void __wrap_a71ch_close(a71ch *chip);
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

enum { SESSIONS = 4, OBJECTS = 16, ATTRIBUTES_MAX = 6, BLOCKS_MAX = 64 };

struct run {
    struct rd in;
    CK_FUNCTION_LIST *p11;
    CK_SESSION_HANDLE sessions[SESSIONS];
    CK_OBJECT_HANDLE objects[OBJECTS];
    void *blocks[BLOCKS_MAX]; /* of one call */
    size_t block_count;
};

static struct chip *simulated; /* making one takes longer than a thousand calls */
static bool away;

/* --- the chip ------------------------------------------------------------------------------- */

static enum bm_err
answer(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *out, struct bm_msg *msg)
{
    (void)l;
    (void)timeout_ms;
    *out = (struct jrcp_msg){ .mty = request->mty };
    if (away)
        return bm_fail(msg, BM_ERR_CLOSED, "gone");
    if (request->mty == JRCP_APDU)
        out->payload = span_of(room, chip_apdu(simulated, request->payload, room));
    return BM_OK;
}

a71ch_result
__wrap_a71ch_open(const char *address, const a71ch_options *options, a71ch **out)
{
    static const uint8_t select[] = { 0, 0xa4, 4, 0, 5, 'a', '7', '1', 'c', 'h', 0 };
    uint8_t rsp[A71CH_APDU_RSP_MAX];
    size_t len = sizeof rsp;

    (void)address;
    (void)options;
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return A71CH_ERR_MEMORY;
    **out = (struct a71ch){ .link = { .fd = -1, .name = "fuzz" }, .exchange = answer };
    if (away)
        return host_fail(*out, A71CH_ERR_CONNECT, "nobody listens");
    return a71ch_transceive(*out, select, sizeof select, rsp, &len);
}

void
__wrap_a71ch_close(a71ch *chip)
{
    free(chip);
}

static a71ch *
open_chip(void)
{
    a71ch *chip;

    away = false;
    if (__wrap_a71ch_open(NULL, NULL, &chip) != A71CH_OK)
        abort();
    return chip;
}

/* Always the same but for its key: pair 0, its public half stored, and the input's certificate. */
static void
furnish(struct span certificate, uint8_t point[A71CH_POINT_LEN])
{
    static struct nvm_mem memory;
    a71ch *chip;

    if (simulated == NULL && chip_open_store(nvm_store_mem(&memory), &simulated, NULL) != BM_OK)
        abort();
    chip = open_chip();
    if (a71ch_debug_reset(chip) != A71CH_OK)
        abort();
    __wrap_a71ch_close(chip);
    chip = open_chip();
    if (a71ch_pair_generate(chip, 0) != A71CH_OK ||
        a71ch_pair_get_public(chip, 0, point) != A71CH_OK ||
        a71ch_pub_set(chip, 1, point, A71CH_POINT_LEN) != A71CH_OK)
        abort();
    if (certificate.len > 0)
        (void)!a71ch_object_write(chip, A71CH_CERTIFICATE, 3, certificate.ptr, certificate.len, 0);
    __wrap_a71ch_close(chip);
}

/* --- arguments ------------------------------------------------------------------------------ */

/* A block of `len` bytes, filled from the input as far as that goes; NULL when the input says so.
 */
static void *
block(struct run *r, size_t len)
{
    uint8_t *b = r->block_count < BLOCKS_MAX ? calloc(1, len > 0 ? len : 1) : NULL;

    if (b == NULL)
        return NULL;
    r->blocks[r->block_count++] = b;
    for (size_t i = 0; i < len && rd_left(&r->in) > 0; i++)
        b[i] = rd_u8(&r->in);
    return b;
}

static void
free_blocks(struct run *r)
{
    while (r->block_count > 0)
        free(r->blocks[--r->block_count]);
}

static void *
maybe(struct run *r, size_t len)
{
    return rd_u8(&r->in) == 0xff ? NULL : block(r, len);
}

static CK_SESSION_HANDLE
session(struct run *r)
{
    return r->sessions[rd_u8(&r->in) % SESSIONS];
}

static CK_OBJECT_HANDLE
object(struct run *r)
{
    uint8_t n = rd_u8(&r->in);

    return n < 0xf0 ? r->objects[n % OBJECTS] : rd_u32(&r->in);
}

/* Like what clients send, or not. */
static CK_ATTRIBUTE
attribute(struct run *r)
{
    static const CK_ATTRIBUTE_TYPE types[] = { CKA_CLASS, CKA_TOKEN, CKA_LABEL, CKA_ID,
        CKA_KEY_TYPE, CKA_EC_PARAMS, CKA_EC_POINT, CKA_VALUE, CKA_VALUE_LEN, CKA_SENSITIVE,
        CKA_EXTRACTABLE, CKA_SUBJECT, CKA_ISSUER, CKA_SERIAL_NUMBER, CKA_PRIVATE, CKA_MODULUS };
    static const uint8_t p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
    CK_ATTRIBUTE a = { .type = types[rd_u8(&r->in) % (sizeof types / sizeof *types)] };
    uint8_t form = rd_u8(&r->in);
    CK_ULONG number = rd_u8(&r->in);

    switch (form % 4) {
    case 0:
        a.ulValueLen = sizeof number;
        a.pValue = block(r, sizeof number);
        if (a.pValue != NULL)
            memcpy(a.pValue, &number, sizeof number);
        break;
    case 1:
        a.ulValueLen = 1;
        a.pValue = block(r, 1);
        break;
    case 2:
        a.ulValueLen = sizeof p256;
        a.pValue = block(r, sizeof p256);
        if (a.pValue != NULL)
            memcpy(a.pValue, p256, sizeof p256);
        break;
    default:
        a.ulValueLen = number;
        a.pValue = maybe(r, number);
    }
    if (form >= 0xc0)
        a.pValue = NULL;
    return a;
}

static CK_ATTRIBUTE *
list(struct run *r, CK_ULONG *count)
{
    CK_ATTRIBUTE *out;

    *count = rd_u8(&r->in) % (ATTRIBUTES_MAX + 1);
    out = maybe(r, *count * sizeof *out);
    for (CK_ULONG i = 0; out != NULL && i < *count; i++)
        out[i] = attribute(r);
    return out;
}

static CK_MECHANISM *
mechanism(struct run *r)
{
    static const CK_MECHANISM_TYPE types[] = { CKM_ECDSA, CKM_ECDSA_SHA1, CKM_ECDSA_SHA224,
        CKM_ECDSA_SHA256, CKM_ECDSA_SHA384, CKM_ECDSA_SHA512, CKM_ECDH1_DERIVE, CKM_EC_KEY_PAIR_GEN,
        CKM_RSA_PKCS };
    CK_MECHANISM *m = maybe(r, sizeof *m);
    CK_ECDH1_DERIVE_PARAMS *p;
    uint8_t form = rd_u8(&r->in);

    if (m == NULL)
        return NULL;
    *m = (CK_MECHANISM){ .mechanism = types[form % (sizeof types / sizeof *types)] };
    if (form < 0x80)
        return m;
    m->pParameter = p = block(r, sizeof *p);
    m->ulParameterLen = form == 0xff ? 1 : sizeof *p;
    if (p == NULL)
        return NULL;
    *p = (CK_ECDH1_DERIVE_PARAMS){ .kdf = rd_u8(&r->in) % 3, .ulPublicDataLen = rd_u8(&r->in) };
    p->pPublicData = maybe(r, p->ulPublicDataLen);
    return m;
}

/* --- calls ---------------------------------------------------------------------------------- */

static CK_ULONG *
room(struct run *r, void **bytes, CK_ULONG *size)
{
    CK_ULONG *len = maybe(r, sizeof *len);

    *size = rd_u8(&r->in);
    *bytes = maybe(r, *size);
    if (len != NULL)
        *len = *size;
    return len;
}

static void
search(struct run *r, CK_SESSION_HANDLE s)
{
    CK_ULONG count;
    CK_ATTRIBUTE *a = list(r, &count);
    CK_ULONG found = 0;

    (void)r->p11->C_FindObjectsInit(s, a, count);
    (void)r->p11->C_FindObjects(s, r->objects, OBJECTS, &found);
    if (rd_u8(&r->in) != 0)
        (void)r->p11->C_FindObjectsFinal(s);
}

static void
make_pair(struct run *r, CK_SESSION_HANDLE s)
{
    CK_MECHANISM *m = mechanism(r);
    CK_ULONG public_count;
    CK_ULONG private_count;
    CK_ATTRIBUTE *public = list(r, &public_count);
    CK_ATTRIBUTE *private = list(r, &private_count);

    (void)r->p11->C_GenerateKeyPair(
        s, m, public, public_count, private, private_count, &r->objects[0], &r->objects[1]);
}

static void
derive(struct run *r, CK_SESSION_HANDLE s)
{
    CK_MECHANISM *m = mechanism(r);
    CK_OBJECT_HANDLE base = object(r);
    CK_ULONG count;
    CK_ATTRIBUTE *a = list(r, &count);

    (void)r->p11->C_DeriveKey(s, m, base, a, count, &r->objects[2]);
}

static void
get_attributes(struct run *r, CK_SESSION_HANDLE s)
{
    CK_OBJECT_HANDLE o = object(r);
    CK_ULONG count;
    CK_ATTRIBUTE *a = list(r, &count);

    (void)r->p11->C_GetAttributeValue(s, o, a, count);
}

/* About the slot, or a session's beginning and end. */
static void
call_slot(struct run *r, uint8_t number)
{
    CK_FUNCTION_LIST *p11 = r->p11;
    CK_SLOT_ID slot = rd_u8(&r->in) / 0xf0;
    CK_TOKEN_INFO token;
    CK_SLOT_INFO info;
    CK_SESSION_INFO state;
    CK_MECHANISM_INFO mech;
    CK_ULONG count = rd_u8(&r->in) % 16;

    switch (number % 9) {
    case 0:
        (void)p11->C_GetSlotList(count % 2 == 0, maybe(r, count * sizeof slot), &count);
        break;
    case 1:
        (void)p11->C_GetSlotInfo(slot, &info);
        break;
    case 2:
        (void)p11->C_GetTokenInfo(slot, &token);
        break;
    case 3:
        (void)p11->C_GetMechanismList(slot, maybe(r, count * sizeof(CK_MECHANISM_TYPE)), &count);
        break;
    case 4:
        (void)p11->C_GetMechanismInfo(slot, CKM_EC_KEY_PAIR_GEN + count, &mech);
        break;
    case 5:
        (void)p11->C_CloseSession(session(r));
        break;
    case 6:
        (void)p11->C_GetSessionInfo(session(r), &state);
        break;
    case 7:
        (void)p11->C_Login(session(r), count % 4, maybe(r, count), count);
        break;
    default:
        (void)p11->C_OpenSession(slot, count, NULL, NULL, &r->sessions[rd_u8(&r->in) % SESSIONS]);
        break;
    }
}

static void
call_session(struct run *r, uint8_t number)
{
    CK_FUNCTION_LIST *p11 = r->p11;
    CK_SESSION_HANDLE s = session(r);
    CK_ULONG len = rd_u8(&r->in);
    void *data = maybe(r, len);
    void *out;
    CK_ULONG sig_len;
    CK_ULONG *out_len = room(r, &out, &sig_len);
    CK_MECHANISM *m;

    switch (number % 15) {
    case 0:
        search(r, s);
        break;
    case 1:
        get_attributes(r, s);
        break;
    case 2:
        m = mechanism(r);
        (void)p11->C_SignInit(s, m, object(r));
        break;
    case 3:
        (void)p11->C_Sign(s, data, len, out, out_len);
        break;
    case 4:
        (void)p11->C_SignUpdate(s, data, len);
        break;
    case 5:
        (void)p11->C_SignFinal(s, out, out_len);
        break;
    case 6:
        m = mechanism(r);
        (void)p11->C_VerifyInit(s, m, object(r));
        break;
    case 7:
        (void)p11->C_Verify(s, data, len, out, sig_len);
        break;
    case 8:
        (void)p11->C_VerifyUpdate(s, data, len);
        break;
    case 9:
        (void)p11->C_VerifyFinal(s, out, sig_len);
        break;
    case 10:
        make_pair(r, s);
        break;
    case 11:
        derive(r, s);
        break;
    case 12:
        (void)p11->C_GenerateRandom(s, data, len);
        break;
    case 13:
        (void)p11->C_DestroyObject(s, object(r));
        break;
    default:
        (void)p11->C_Logout(s);
        break;
    }
}

static void
call(struct run *r)
{
    uint8_t number = rd_u8(&r->in);

    if (number < 0x40)
        call_slot(r, number);
    else if (number < 0xf0)
        call_session(r, number);
    else if (number == 0xf0)
        away = !away;
    else if (number == 0xf1)
        (void)r->p11->C_CloseAllSessions(0);
    else if (number == 0xf2)
        (void)(r->p11->C_Finalize(NULL) == CKR_OK && r->p11->C_Initialize(NULL) == CKR_OK);
    free_blocks(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run r = { .in = rd_of(span_of(data, size)) };
    uint8_t before[A71CH_POINT_LEN];
    uint8_t after[A71CH_POINT_LEN];
    size_t len = rd_u16(&r.in);
    a71ch *chip;

    if (len > rd_left(&r.in))
        len = rd_left(&r.in);
    furnish(rd_span(&r.in, len), before);
    if (C_GetFunctionList(&r.p11) != CKR_OK || r.p11->C_Initialize(NULL) != CKR_OK ||
        r.p11->C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &r.sessions[0]) !=
            CKR_OK)
        abort();
    while (rd_left(&r.in) > 0)
        call(&r);
    if (r.p11->C_Finalize(NULL) != CKR_OK)
        abort();
    chip = open_chip();
    if (a71ch_pair_get_public(chip, 0, after) != A71CH_OK ||
        memcmp(before, after, sizeof after) != 0)
        abort();
    __wrap_a71ch_close(chip);
    return 0;
}

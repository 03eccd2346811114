/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pkcs11.h: key pairs made in the chip, secrets agreed on in it, its random bytes.
 *
 * The chip keeps no label and no id, so a new key pair's are those of its slot: a template that
 * wants others is refused, rather than a name lost.
 */
#include "openssl/pkcs11/pkcs11.h"

#include <stdlib.h>
#include <string.h>

/* --- generate ------------------------------------------------------------------------------- */

struct template
{
    const CK_ATTRIBUTE *list;
    CK_ULONG count;
};

/* The slot that `t` names by id or label, in *slot, or NO_PAIR. */
static CK_RV
wanted_slot(const struct module *m, const struct template *t, int *slot)
{
    static const CK_ATTRIBUTE_TYPE names[] = { CKA_ID, CKA_LABEL };
    static const uint8_t point[A71CH_POINT_LEN];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const CK_ATTRIBUTE *a = p11_template(t->list, t->count, names[i]);
        int named = NO_PAIR;

        if (a == NULL || a->ulValueLen == 0)
            continue;
        for (unsigned k = 0; k < A71CH_PAIR_COUNT; k++) {
            struct object o = { .kind = KIND_PRIVATE, .index = k, .point = point };
            struct value v;

            if (p11_attribute(&o, names[i], &v) == KNOWN &&
                span_eq(v.bytes, span_of(a->pValue, a->ulValueLen)))
                named = (int)k;
        }
        if (named == NO_PAIR || (*slot != NO_PAIR && *slot != named))
            return p11_fail(m, CKR_ATTRIBUTE_VALUE_INVALID,
                "the chip keeps no names: id 00 and label pair0 are key pair 0, and so on to %d; "
                "give one of them, or neither for the first empty slot",
                A71CH_PAIR_COUNT - 1);
        *slot = named;
    }
    return CKR_OK;
}

/* What must not be promised otherwise; all else that a template may wish is as the object says. */
static CK_RV
check_wishes(const struct module *m, const struct template *t, CK_ULONG class)
{
    CK_ULONG number = 0;
    bool token = false;
    bool other;

    if (p11_template_number(t->list, t->count, CKA_CLASS, &number) && number != class)
        return CKR_TEMPLATE_INCONSISTENT;
    if (p11_template_number(t->list, t->count, CKA_KEY_TYPE, &number) && number != CKK_EC)
        return CKR_TEMPLATE_INCONSISTENT;
    if (!p11_template_bool(t->list, t->count, CKA_TOKEN, &token) || !token)
        return p11_fail(m, CKR_TEMPLATE_INCONSISTENT,
            "a key pair of the chip lies in one of its slots: CKA_TOKEN must be true");
    if ((p11_template_bool(t->list, t->count, CKA_EXTRACTABLE, &other) && other) ||
        (p11_template_bool(t->list, t->count, CKA_SENSITIVE, &other) && !other))
        return p11_fail(m, CKR_TEMPLATE_INCONSISTENT, "no private key leaves the chip");
    return CKR_OK;
}

static CK_RV
check_curve(const struct module *m, const struct template *t)
{
    static const uint8_t point[A71CH_POINT_LEN];
    const CK_ATTRIBUTE *a = p11_template(t->list, t->count, CKA_EC_PARAMS);
    struct object o = { .kind = KIND_PUBLIC, .point = point };
    struct value v;

    if (a == NULL)
        return CKR_TEMPLATE_INCOMPLETE;
    if (p11_attribute(&o, CKA_EC_PARAMS, &v) == KNOWN &&
        span_eq(v.bytes, span_of(a->pValue, a->ulValueLen)))
        return CKR_OK;
    return p11_fail(
        m, CKR_CURVE_NOT_SUPPORTED, "the chip has P-256 (prime256v1) and no other curve");
}

/* In *slot, or in the first empty one. */
static CK_RV
generate(struct module *m, int *slot)
{
    uint8_t point[A71CH_POINT_LEN];
    bool any = *slot == NO_PAIR;
    unsigned last = any ? A71CH_PAIR_COUNT - 1 : (unsigned)*slot;
    enum bm_err err = BM_ERR_EXISTS;
    struct bm_msg msg = { "" };

    for (unsigned i = any ? 0 : last; i <= last && err == BM_ERR_EXISTS; i++) {
        err = shared_chip_generate(m->chip, i, point, &msg);
        *slot = (int)i;
    }
    m->contents.keys_read = m->contents.items_read = false;
    if (err == BM_ERR_EXISTS)
        return p11_fail(m, CKR_DEVICE_MEMORY, "%s",
            any ? "all slots for key pairs hold one; a71chConfig erase pair empties one"
                : msg.text);
    return p11_chip_result(m, err, &msg, CKR_DEVICE_REMOVED);
}

static CK_RV
generate_key_pair(struct session *s, const CK_MECHANISM *mechanism, const struct template *public,
    const struct template *private, int *slot)
{
    struct module *m = s->module;
    CK_RV rv;

    if (mechanism->mechanism != CKM_EC_KEY_PAIR_GEN)
        return CKR_MECHANISM_INVALID;
    if (mechanism->ulParameterLen != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    if (!s->writable)
        return CKR_SESSION_READ_ONLY;
    rv = check_curve(m, public);
    if (rv == CKR_OK)
        rv = check_wishes(m, public, CKO_PUBLIC_KEY);
    if (rv == CKR_OK)
        rv = check_wishes(m, private, CKO_PRIVATE_KEY);
    if (rv == CKR_OK)
        rv = wanted_slot(m, public, slot);
    if (rv == CKR_OK)
        rv = wanted_slot(m, private, slot);
    return rv == CKR_OK ? generate(m, slot) : rv;
}

CK_RV
p11_generate_key_pair(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism,
    CK_ATTRIBUTE_PTR public_list, CK_ULONG public_count, CK_ATTRIBUTE_PTR private_list,
    CK_ULONG private_count, CK_OBJECT_HANDLE_PTR public_key, CK_OBJECT_HANDLE_PTR private_key)
{
    struct template public = { public_list, public_count };
    struct template private = { private_list, private_count };
    struct session *s;
    int slot = NO_PAIR;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || public_key == NULL || private_key == NULL ||
        !p11_template_valid(public_list, public_count) ||
        !p11_template_valid(private_list, private_count))
        return p11_leave(CKR_ARGUMENTS_BAD);
    rv = generate_key_pair(s, mechanism, &public, &private, &slot);
    if (rv == CKR_OK) {
        *public_key = p11_handle(KIND_PUBLIC, (unsigned)slot);
        *private_key = p11_handle(KIND_PRIVATE, (unsigned)slot);
    }
    return p11_leave(rv);
}

/* --- derive --------------------------------------------------------------------------------- */

static void
drop_at(struct module *m, struct secret **at)
{
    struct secret *s = *at;

    *at = s->next;
    bm_wipe(s, sizeof *s);
    free(s);
    m->secret_count--;
}

void
p11_drop_secrets(struct module *m, CK_SESSION_HANDLE owner)
{
    for (struct secret **at = &m->secrets; *at != NULL;) {
        if ((*at)->owner == owner)
            drop_at(m, at);
        else
            at = &(*at)->next;
    }
}

void
p11_drop_secret(struct module *m, CK_OBJECT_HANDLE handle)
{
    for (struct secret **at = &m->secrets; *at != NULL;) {
        if ((*at)->handle == handle)
            drop_at(m, at);
        else
            at = &(*at)->next;
    }
}

/* The peer's point, as it is or, as some clients have it, in its OCTET STRING. */
static CK_RV
peer_point(const CK_MECHANISM *mechanism, const uint8_t **point)
{
    const CK_ECDH1_DERIVE_PARAMS *p = mechanism->pParameter;
    size_t head;

    if (p == NULL || mechanism->ulParameterLen != sizeof *p || p->kdf != CKD_NULL ||
        p->ulSharedDataLen != 0 || p->pPublicData == NULL || p->ulPublicDataLen < A71CH_POINT_LEN)
        return CKR_MECHANISM_PARAM_INVALID;
    head = p->ulPublicDataLen - A71CH_POINT_LEN;
    if (head != 0 && (head != 2 || memcmp(p->pPublicData, "\x04\x41", 2) != 0))
        return CKR_MECHANISM_PARAM_INVALID;
    *point = &p->pPublicData[head];
    return (*point)[0] == 4 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

static CK_RV
read_template(const struct template *t, struct secret *out)
{
    CK_ULONG class = CKO_SECRET_KEY;
    CK_ULONG len = A71CH_SECRET_LEN;
    bool token = false;

    (void)p11_template_number(t->list, t->count, CKA_CLASS, &class);
    (void)p11_template_number(t->list, t->count, CKA_VALUE_LEN, &len);
    (void)p11_template_bool(t->list, t->count, CKA_TOKEN, &token);
    *out = (struct secret){ .type = CKK_GENERIC_SECRET, .sensitive = true, .extractable = false };
    (void)p11_template_number(t->list, t->count, CKA_KEY_TYPE, &out->type);
    (void)p11_template_bool(t->list, t->count, CKA_SENSITIVE, &out->sensitive);
    (void)p11_template_bool(t->list, t->count, CKA_EXTRACTABLE, &out->extractable);
    if (class != CKO_SECRET_KEY || token || len == 0 || len > A71CH_SECRET_LEN)
        return CKR_TEMPLATE_INCONSISTENT;
    out->len = len;
    return CKR_OK;
}

static CK_RV
derive_key(struct session *s, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
    const struct template *t, struct secret *out)
{
    struct module *m = s->module;
    struct bm_msg msg = { "" };
    const uint8_t *peer;
    struct object o;
    CK_RV rv = mechanism->mechanism == CKM_ECDH1_DERIVE ? peer_point(mechanism, &peer)
                                                        : CKR_MECHANISM_INVALID;

    if (rv == CKR_OK)
        rv = read_template(t, out);
    if (rv == CKR_OK)
        rv = p11_object(m, base, &o);
    if (rv != CKR_OK)
        return rv == CKR_OBJECT_HANDLE_INVALID ? CKR_KEY_HANDLE_INVALID : rv;
    if (o.kind != KIND_PRIVATE)
        return o.point == NULL ? CKR_KEY_TYPE_INCONSISTENT : CKR_KEY_FUNCTION_NOT_PERMITTED;
    return p11_chip_result(
        m, shared_chip_ecdh(m->chip, o.index, peer, out->bytes, &msg), &msg, CKR_DEVICE_REMOVED);
}

CK_RV
p11_derive_key(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE base,
    CK_ATTRIBUTE_PTR list, CK_ULONG count, CK_OBJECT_HANDLE_PTR key)
{
    struct template t = { list, count };
    struct session *s;
    struct secret *secret;
    struct module *m;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    m = s->module;
    if (mechanism == NULL || key == NULL || !p11_template_valid(list, count))
        return p11_leave(CKR_ARGUMENTS_BAD);
    secret = m->secret_count < SECRETS_MAX ? calloc(1, sizeof *secret) : NULL;
    if (secret == NULL)
        return p11_leave(CKR_HOST_MEMORY);
    rv = derive_key(s, mechanism, base, &t, secret);
    secret->owner = handle;
    secret->next = m->secrets;
    m->secrets = secret;
    m->secret_count++;
    if (rv != CKR_OK)
        drop_at(m, &m->secrets);
    else
        *key = secret->handle = ++m->last_secret << 16 | p11_handle(KIND_SECRET, 0);
    return p11_leave(rv);
}

/* --- random --------------------------------------------------------------------------------- */

/* The chip's bytes XOR the system's; none without the chip. */
CK_RV
p11_generate_random(CK_SESSION_HANDLE handle, CK_BYTE_PTR out, CK_ULONG len)
{
    struct session *s;
    struct bm_msg msg = { "" };
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (out == NULL && len > 0)
        return p11_leave(CKR_ARGUMENTS_BAD);
    return p11_leave(p11_chip_result(s->module,
        mixed_random_fill(&s->module->random, out, len, &msg), &msg, CKR_DEVICE_REMOVED));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See pkcs11.h: what the chip holds, its attributes, and the search. */
#include "openssl/pkcs11/pkcs11.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CATEGORY_UNSPECIFIED = 0, CATEGORY_TOKEN_USER = 1, STORED_ID = 0x20, TAG_OCTET_STRING = 4 };

static const uint8_t ec_params[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };

/* --- handles -------------------------------------------------------------------------------- */

CK_OBJECT_HANDLE
p11_handle(enum kind kind, unsigned index)
{
    return (CK_OBJECT_HANDLE)kind << 8 | index;
}

static enum kind
kind_of(CK_OBJECT_HANDLE handle)
{
    return handle >> 16 == 0 || (handle >> 8 & 0xff) == KIND_SECRET
               ? (enum kind)(handle >> 8 & 0xff)
               : 0;
}

/* --- reading the chip ----------------------------------------------------------------------- */

static void
drop_items(struct contents *c)
{
    for (size_t i = 0; i < c->item_count; i++) {
        bm_wipe(c->items[i].bytes, c->items[i].len); /* data may be secret */
        free(c->items[i].bytes);
    }
    c->item_count = 0;
    c->items_read = false;
}

void
p11_drop_contents(struct contents *c)
{
    drop_items(c);
    *c = (struct contents){ 0 };
}

/* An empty slot answers with a status; so does every slot of a chip whose transport lock is on. */
static a71ch_result
note(a71ch_result res, struct point *p)
{
    p->present = res == A71CH_OK;
    return res == A71CH_ERR_STATUS ? A71CH_OK : res;
}

static a71ch_result
read_keys(a71ch *chip, void *arg)
{
    struct contents *c = arg;
    a71ch_result res = A71CH_OK;

    for (unsigned i = 0; i < A71CH_PAIR_COUNT && res == A71CH_OK; i++)
        res = note(a71ch_pair_get_public(chip, i, c->pairs[i].bytes), &c->pairs[i]);
    for (unsigned i = 0; i < A71CH_PUB_COUNT && res == A71CH_OK; i++)
        res = note(a71ch_pub_get(chip, i, c->pubs[i].bytes), &c->pubs[i]);
    c->keys_read = res == A71CH_OK;
    return res;
}

static int
pair_of(const struct contents *c, struct span point)
{
    for (int i = 0; i < A71CH_PAIR_COUNT; i++) {
        if (c->pairs[i].present && span_eq(SPAN(c->pairs[i].bytes), point))
            return i;
    }
    return NO_PAIR;
}

/* A certificate that is none, or an object that is damaged, must not hide its neighbours. */
static a71ch_result
read_item(a71ch *chip, const a71ch_object *o, struct contents *c)
{
    struct item *item = &c->items[c->item_count];
    bool cert = o->type == A71CH_CERTIFICATE;
    a71ch_result res;

    *item = (struct item){ .kind = cert ? KIND_CERTIFICATE : KIND_DATA,
        .index = o->index,
        .bytes = calloc(1, OBJECT_MAX),
        .len = OBJECT_MAX,
        .pair = NO_PAIR };
    if (item->bytes == NULL)
        return A71CH_ERR_MEMORY;
    res = cert ? a71ch_certificate_read(chip, o->index, item->bytes, &item->len)
               : a71ch_object_read(chip, o->type, o->index, 0, item->bytes, &item->len);
    if (res != A71CH_OK ||
        (cert && !certificate_parse(span_of(item->bytes, item->len), &item->cert))) {
        bm_wipe(item->bytes, OBJECT_MAX);
        free(item->bytes);
        return res == A71CH_ERR_RESPONSE || res == A71CH_ERR_SPACE || res == A71CH_ERR_NOT_FOUND
                   ? A71CH_OK
                   : res;
    }
    if (item->cert.point.len > 0)
        item->pair = pair_of(c, item->cert.point);
    c->item_count++;
    return A71CH_OK;
}

static a71ch_result
read_items(a71ch *chip, void *arg)
{
    struct contents *c = arg;
    a71ch_object objects[ITEMS_MAX];
    size_t count = 0;
    a71ch_result res = read_keys(chip, c);

    drop_items(c); /* of a first attempt that broke off, too */
    if (res == A71CH_OK)
        res = a71ch_object_list(chip, objects, ITEMS_MAX, &count);
    if (res == A71CH_ERR_RESPONSE) /* raw data at the end of storage, and no table of objects */
        res = A71CH_OK;
    for (size_t i = 0; res == A71CH_OK && i < count && i < ITEMS_MAX; i++) {
        if (objects[i].type == A71CH_CERTIFICATE || objects[i].type == A71CH_DATA)
            res = read_item(chip, &objects[i], c);
    }
    c->items_read = res == A71CH_OK;
    return res;
}

static CK_RV
refresh(struct module *m, shared_chip_fn *fn)
{
    struct bm_msg msg = { "" };
    enum bm_err err = shared_chip_do(m->chip, SHARED_CHIP_AGAIN, fn, &m->contents, &msg);

    return p11_chip_result(m, err, &msg, CKR_DEVICE_REMOVED);
}

/* --- objects -------------------------------------------------------------------------------- */

static bool
take_point(const struct point *points, unsigned count, struct object *o)
{
    if (o->index >= count || !points[o->index].present)
        return false;
    o->point = points[o->index].bytes;
    return true;
}

static bool
take_item(const struct contents *c, struct object *o)
{
    for (size_t i = 0; i < c->item_count; i++) {
        if (c->items[i].kind == o->kind && c->items[i].index == o->index)
            o->item = &c->items[i];
    }
    return o->item != NULL;
}

static bool
take_secret(const struct module *m, CK_OBJECT_HANDLE handle, struct object *o)
{
    for (o->secret = m->secrets; o->secret != NULL && o->secret->handle != handle;)
        o->secret = o->secret->next;
    return o->secret != NULL;
}

CK_RV
p11_object(struct module *m, CK_OBJECT_HANDLE handle, struct object *o)
{
    const struct contents *c = &m->contents;
    CK_RV rv = CKR_OK;
    bool found = false;

    *o = (struct object){ .kind = kind_of(handle), .index = handle & 0xff };
    switch (o->kind) {
    case KIND_PRIVATE:
    case KIND_PUBLIC:
    case KIND_STORED:
        rv = c->keys_read ? CKR_OK : refresh(m, read_keys);
        found = o->kind == KIND_STORED ? take_point(c->pubs, A71CH_PUB_COUNT, o)
                                       : take_point(c->pairs, A71CH_PAIR_COUNT, o);
        break;
    case KIND_CERTIFICATE:
    case KIND_DATA:
        rv = c->items_read ? CKR_OK : refresh(m, read_items);
        found = take_item(c, o);
        break;
    case KIND_SECRET:
        found = take_secret(m, handle, o);
        break;
    }
    if (rv != CKR_OK)
        return rv;
    return found ? CKR_OK : CKR_OBJECT_HANDLE_INVALID;
}

/* --- attributes ----------------------------------------------------------------------------- */

#define BIT(kind) (1u << (kind))

enum {
    PRIVATE = BIT(KIND_PRIVATE),
    PUBLIC = BIT(KIND_PUBLIC) | BIT(KIND_STORED),
    SECRET = BIT(KIND_SECRET),
    CERTIFICATE = BIT(KIND_CERTIFICATE),
    KEY = PRIVATE | PUBLIC | SECRET,
    ANY = KEY | CERTIFICATE | BIT(KIND_DATA),
};

/*
 * Which kinds have it, and of which it is true. Whether a key was made in the chip or put into it
 * nobody can tell, so CKA_LOCAL is not claimed; that it never could be read out of it is certain.
 */
static const struct {
    CK_ATTRIBUTE_TYPE type;
    unsigned has;
    unsigned is;
} booleans[] = {
    { CKA_TOKEN, ANY, ANY & ~(unsigned)SECRET },
    { CKA_PRIVATE, ANY, 0 },
    { CKA_MODIFIABLE, ANY, 0 },
    { CKA_COPYABLE, ANY, 0 },
    { CKA_DESTROYABLE, ANY, SECRET },
    { CKA_LOCAL, KEY, 0 },
    { CKA_DERIVE, KEY, PRIVATE },
    { CKA_SIGN, PRIVATE | SECRET, PRIVATE },
    { CKA_SIGN_RECOVER, PRIVATE, 0 },
    { CKA_DECRYPT, PRIVATE | SECRET, 0 },
    { CKA_UNWRAP, PRIVATE | SECRET, 0 },
    { CKA_VERIFY, PUBLIC | SECRET, PUBLIC },
    { CKA_VERIFY_RECOVER, PUBLIC, 0 },
    { CKA_ENCRYPT, PUBLIC | SECRET, 0 },
    { CKA_WRAP, PUBLIC | SECRET, 0 },
    { CKA_TRUSTED, PUBLIC | SECRET | CERTIFICATE, 0 },
    { CKA_SENSITIVE, PRIVATE, PRIVATE },
    { CKA_ALWAYS_SENSITIVE, PRIVATE | SECRET, PRIVATE },
    { CKA_EXTRACTABLE, PRIVATE, 0 },
    { CKA_NEVER_EXTRACTABLE, PRIVATE | SECRET, PRIVATE },
    { CKA_WRAP_WITH_TRUSTED, PRIVATE | SECRET, 0 },
    { CKA_ALWAYS_AUTHENTICATE, PRIVATE, 0 },
};

static enum known
give(struct value *v, struct span bytes)
{
    v->bytes = bytes;
    return KNOWN;
}

static enum known
give_copy(struct value *v, const void *bytes, size_t len)
{
    memcpy(v->room, bytes, len);
    return give(v, span_of(v->room, len));
}

static enum known
give_bool(struct value *v, bool is)
{
    CK_BBOOL b = is ? CK_TRUE : CK_FALSE;

    return give_copy(v, &b, sizeof b);
}

static enum known
give_number(struct value *v, CK_ULONG number)
{
    return give_copy(v, &number, sizeof number);
}

static enum known
give_nothing(struct value *v)
{
    return give(v, (struct span){ 0 });
}

static CK_ULONG
class_of(enum kind kind)
{
    switch (kind) {
    case KIND_PRIVATE:
        return CKO_PRIVATE_KEY;
    case KIND_PUBLIC:
    case KIND_STORED:
        return CKO_PUBLIC_KEY;
    case KIND_CERTIFICATE:
        return CKO_CERTIFICATE;
    case KIND_DATA:
        return CKO_DATA;
    case KIND_SECRET:
        break;
    }
    return CKO_SECRET_KEY;
}

/* A certificate has label and id of its key pair: so it is found with the key. */
static bool
is_of_pair(const struct object *o, unsigned *pair)
{
    *pair = o->index;
    if (o->kind != KIND_CERTIFICATE)
        return o->kind == KIND_PRIVATE || o->kind == KIND_PUBLIC;
    if (o->item->pair != NO_PAIR)
        *pair = (unsigned)o->item->pair;
    return o->item->pair != NO_PAIR;
}

static enum known
label(const struct object *o, struct value *v)
{
    static const char *const words[] = {
        [KIND_STORED] = "pub",
        [KIND_CERTIFICATE] = "cert",
        [KIND_DATA] = "data",
    };
    unsigned index;
    bool of_pair;
    char text[16];

    if (o->kind == KIND_SECRET)
        return give_nothing(v);
    of_pair = is_of_pair(o, &index);
    (void)snprintf(text, sizeof text, "%s%u", of_pair ? "pair" : words[o->kind], index);
    return give_copy(v, text, strlen(text));
}

static enum known
id(const struct object *o, struct value *v)
{
    uint8_t bytes[2];
    unsigned pair;

    if (o->kind == KIND_SECRET)
        return give_nothing(v);
    if (o->kind == KIND_DATA)
        return UNKNOWN;
    if (is_of_pair(o, &pair)) {
        bytes[0] = (uint8_t)pair;
        return give_copy(v, bytes, 1);
    }
    if (o->kind == KIND_STORED) {
        bytes[0] = (uint8_t)(STORED_ID + o->index);
        return give_copy(v, bytes, 1);
    }
    bytes[0] = A71CH_CERTIFICATE;
    bytes[1] = (uint8_t)o->index;
    return give_copy(v, bytes, sizeof bytes);
}

static enum known
key_attribute(const struct object *o, CK_ATTRIBUTE_TYPE type, struct value *v)
{
    struct wr w = wr_of(v->room, sizeof v->room);

    switch (type) {
    case CKA_KEY_TYPE:
        return give_number(v, CKK_EC);
    case CKA_KEY_GEN_MECHANISM:
        return give_number(v, CK_UNAVAILABLE_INFORMATION);
    case CKA_EC_PARAMS:
        return give(v, SPAN(ec_params));
    case CKA_EC_POINT: /* of the private key, too: some look for it there */
        wr_u8(&w, TAG_OCTET_STRING);
        wr_u8(&w, A71CH_POINT_LEN);
        wr_bytes(&w, o->point, A71CH_POINT_LEN);
        return give(v, span_of(v->room, wr_len(&w)));
    case CKA_PUBLIC_KEY_INFO:
        wr_span(&w, SPAN(spki_head));
        wr_bytes(&w, o->point, A71CH_POINT_LEN);
        return give(v, span_of(v->room, wr_len(&w)));
    case CKA_SUBJECT:
    case CKA_START_DATE:
    case CKA_END_DATE:
        return give_nothing(v);
    case CKA_VALUE:
        return o->kind == KIND_PRIVATE ? SENSITIVE : UNKNOWN;
    default:
        return UNKNOWN;
    }
}

static enum known
certificate_attribute(const struct object *o, CK_ATTRIBUTE_TYPE type, struct value *v)
{
    const struct item *item = o->item;

    switch (type) {
    case CKA_CERTIFICATE_TYPE:
        return give_number(v, CKC_X_509);
    case CKA_CERTIFICATE_CATEGORY:
        return give_number(v, item->pair != NO_PAIR ? CATEGORY_TOKEN_USER : CATEGORY_UNSPECIFIED);
    case CKA_SUBJECT:
        return give(v, item->cert.subject);
    case CKA_ISSUER:
        return give(v, item->cert.issuer);
    case CKA_SERIAL_NUMBER:
        return give(v, item->cert.serial);
    case CKA_VALUE:
        return give(v, span_of(item->bytes, item->len));
    case CKA_URL:
    case CKA_START_DATE:
    case CKA_END_DATE:
        return give_nothing(v);
    default:
        return UNKNOWN;
    }
}

static enum known
data_attribute(const struct object *o, CK_ATTRIBUTE_TYPE type, struct value *v)
{
    switch (type) {
    case CKA_APPLICATION:
    case CKA_OBJECT_ID:
        return give_nothing(v);
    case CKA_VALUE:
        return give(v, span_of(o->item->bytes, o->item->len));
    default:
        return UNKNOWN;
    }
}

static enum known
secret_attribute(const struct secret *s, CK_ATTRIBUTE_TYPE type, struct value *v)
{
    switch (type) {
    case CKA_KEY_TYPE:
        return give_number(v, s->type);
    case CKA_KEY_GEN_MECHANISM:
        return give_number(v, CK_UNAVAILABLE_INFORMATION);
    case CKA_SENSITIVE:
        return give_bool(v, s->sensitive);
    case CKA_EXTRACTABLE:
        return give_bool(v, s->extractable);
    case CKA_VALUE_LEN:
        return give_number(v, s->len);
    case CKA_START_DATE:
    case CKA_END_DATE:
        return give_nothing(v);
    case CKA_VALUE:
        return s->sensitive || !s->extractable ? SENSITIVE : give(v, span_of(s->bytes, s->len));
    default:
        return UNKNOWN;
    }
}

enum known
p11_attribute(const struct object *o, CK_ATTRIBUTE_TYPE type, struct value *v)
{
    for (size_t i = 0; i < sizeof booleans / sizeof *booleans; i++) {
        if (booleans[i].type == type && (booleans[i].has & BIT(o->kind)) != 0)
            return give_bool(v, (booleans[i].is & BIT(o->kind)) != 0);
    }
    if (type == CKA_CLASS)
        return give_number(v, class_of(o->kind));
    if (type == CKA_LABEL)
        return label(o, v);
    if (type == CKA_ID)
        return id(o, v);
    switch (o->kind) {
    case KIND_CERTIFICATE:
        return certificate_attribute(o, type, v);
    case KIND_DATA:
        return data_attribute(o, type, v);
    case KIND_SECRET:
        return secret_attribute(o->secret, type, v);
    case KIND_PRIVATE:
    case KIND_PUBLIC:
    case KIND_STORED:
        break;
    }
    return key_attribute(o, type, v);
}

/* One entry of C_GetAttributeValue. */
static CK_RV
fill(const struct object *o, CK_ATTRIBUTE *a)
{
    struct value v;
    enum known known = p11_attribute(o, a->type, &v);
    CK_ULONG room = a->ulValueLen;

    a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    if (known != KNOWN)
        return known == SENSITIVE ? CKR_ATTRIBUTE_SENSITIVE : CKR_ATTRIBUTE_TYPE_INVALID;
    if (a->pValue != NULL && room < v.bytes.len)
        return CKR_BUFFER_TOO_SMALL;
    a->ulValueLen = v.bytes.len;
    if (a->pValue != NULL && v.bytes.len > 0)
        memcpy(a->pValue, v.bytes.ptr, v.bytes.len);
    return CKR_OK;
}

CK_RV
p11_get_attribute_value(
    CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR list, CK_ULONG count)
{
    struct session *s;
    struct object o;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (list == NULL)
        return p11_leave(CKR_ARGUMENTS_BAD);
    rv = p11_object(s->module, object, &o);
    if (rv != CKR_OK)
        return p11_leave(rv);
    for (CK_ULONG i = 0; i < count; i++) {
        CK_RV one = fill(&o, &list[i]);

        rv = rv == CKR_OK ? one : rv;
    }
    return p11_leave(rv);
}

/* --- templates ------------------------------------------------------------------------------ */

const CK_ATTRIBUTE *
p11_template(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (list[i].type == type)
            return &list[i];
    }
    return NULL;
}

bool
p11_template_bool(const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type, bool *value)
{
    const CK_ATTRIBUTE *a = p11_template(list, count, type);

    if (a == NULL || a->ulValueLen != sizeof(CK_BBOOL))
        return false;
    *value = *(const CK_BBOOL *)a->pValue != CK_FALSE;
    return true;
}

bool
p11_template_number(
    const CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ULONG *value)
{
    const CK_ATTRIBUTE *a = p11_template(list, count, type);

    if (a == NULL || a->ulValueLen != sizeof *value)
        return false;
    memcpy(value, a->pValue, sizeof *value);
    return true;
}

bool
p11_template_valid(const CK_ATTRIBUTE *list, CK_ULONG count)
{
    if (list == NULL && count > 0)
        return false;
    for (CK_ULONG i = 0; i < count; i++) {
        if (list[i].pValue == NULL && list[i].ulValueLen > 0)
            return false;
    }
    return true;
}

/* --- search --------------------------------------------------------------------------------- */

static bool
matches(const struct object *o, const CK_ATTRIBUTE *list, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++) {
        struct value v;

        if (p11_attribute(o, list[i].type, &v) != KNOWN ||
            !span_eq(v.bytes, span_of(list[i].pValue, list[i].ulValueLen)))
            return false;
    }
    return true;
}

struct search {
    struct session *session;
    const CK_ATTRIBUTE *list;
    CK_ULONG count;
};

static void
consider(const struct search *q, CK_OBJECT_HANDLE handle, const struct object *o)
{
    if (matches(o, q->list, q->count))
        q->session->found[q->session->found_count++] = handle;
}

static void
consider_points(const struct search *q, enum kind kind, const struct point *points, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct object o = { .kind = kind, .index = i };

        if (take_point(points, count, &o))
            consider(q, p11_handle(kind, i), &o);
    }
}

static void
consider_all(const struct search *q)
{
    const struct module *m = q->session->module;
    const struct contents *c = &m->contents;

    consider_points(q, KIND_PRIVATE, c->pairs, A71CH_PAIR_COUNT);
    consider_points(q, KIND_PUBLIC, c->pairs, A71CH_PAIR_COUNT);
    consider_points(q, KIND_STORED, c->pubs, A71CH_PUB_COUNT);
    for (size_t i = 0; i < c->item_count; i++) {
        const struct item *item = &c->items[i];
        struct object o = { .kind = item->kind, .index = item->index, .item = item };

        consider(q, p11_handle(item->kind, item->index), &o);
    }
    for (const struct secret *s = m->secrets; s != NULL; s = s->next) {
        struct object o = { .kind = KIND_SECRET, .secret = s };

        consider(q, s->handle, &o);
    }
}

/* Storage is read only for what lies there. */
static CK_RV
read_for(struct module *m, const CK_ATTRIBUTE *list, CK_ULONG count)
{
    CK_ULONG class = CKO_CERTIFICATE;

    if (p11_template(list, count, CKA_CLASS) == NULL ||
        !p11_template_number(list, count, CKA_CLASS, &class))
        return refresh(m, read_items);
    switch (class) {
    case CKO_PRIVATE_KEY:
    case CKO_PUBLIC_KEY:
        return refresh(m, read_keys);
    case CKO_CERTIFICATE:
    case CKO_DATA:
        return refresh(m, read_items);
    default:
        return CKR_OK; /* the chip has none of that class */
    }
}

CK_RV
p11_find_objects_init(CK_SESSION_HANDLE handle, CK_ATTRIBUTE_PTR list, CK_ULONG count)
{
    enum { FOUND_MAX = 2 * A71CH_PAIR_COUNT + A71CH_PUB_COUNT + ITEMS_MAX };
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (!p11_template_valid(list, count))
        return p11_leave(CKR_ARGUMENTS_BAD);
    if (s->searching)
        return p11_leave(CKR_OPERATION_ACTIVE);
    rv = read_for(s->module, list, count);
    if (rv != CKR_OK)
        return p11_leave(rv);
    s->found = calloc(FOUND_MAX + (size_t)s->module->secret_count, sizeof *s->found);
    if (s->found == NULL)
        return p11_leave(CKR_HOST_MEMORY);
    s->found_count = s->found_next = 0;
    s->searching = true;
    consider_all(&(struct search){ s, list, count });
    return p11_leave(CKR_OK);
}

CK_RV
p11_find_objects(
    CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE_PTR out, CK_ULONG max, CK_ULONG_PTR count)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if (count == NULL || (out == NULL && max > 0))
        return p11_leave(CKR_ARGUMENTS_BAD);
    if (!s->searching)
        return p11_leave(CKR_OPERATION_NOT_INITIALIZED);
    for (*count = 0; *count < max && s->found_next < s->found_count; (*count)++)
        out[*count] = s->found[s->found_next++];
    return p11_leave(CKR_OK);
}

CK_RV
p11_find_objects_final(CK_SESSION_HANDLE handle)
{
    struct session *s;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    rv = s->searching ? CKR_OK : CKR_OPERATION_NOT_INITIALIZED;
    free(s->found);
    s->found = NULL;
    s->searching = false;
    return p11_leave(rv);
}

/* Only what a derivation gave: what is in the chip stays there. */
CK_RV
p11_destroy_object(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object)
{
    struct session *s;
    struct object o;
    CK_RV rv = p11_enter_session(handle, &s);

    if (rv != CKR_OK)
        return rv;
    rv = p11_object(s->module, object, &o);
    if (rv != CKR_OK)
        return p11_leave(rv);
    if (o.kind != KIND_SECRET)
        return p11_leave(p11_fail(s->module, CKR_ACTION_PROHIBITED,
            "nothing is erased through PKCS #11; use a71chConfig erase or obj erase"));
    p11_drop_secret(s->module, object);
    return p11_leave(CKR_OK);
}

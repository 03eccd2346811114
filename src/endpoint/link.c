/* SPDX-License-Identifier: Apache-2.0 */
/* See link.h. */
#include "endpoint/link.h"

#include <string.h>

/* ---- reading ---- */

static struct span
bytes_read(struct rd *r)
{
    size_t len = rd_u32(r);

    return rd_span(r, len);
}

/* Into a terminated array: must fit and hold no terminator of its own. */
static void
text_read(struct rd *r, char *out, size_t cap)
{
    struct span s = bytes_read(r);

    if (r->failed || s.len >= cap || (s.len > 0 && memchr(s.ptr, 0, s.len) != NULL)) {
        r->failed = true;
        return;
    }
    if (s.len > 0) {
        memcpy(out, s.ptr, s.len);
    }
    out[s.len] = '\0';
}

static void
id_read(struct rd *r, uint8_t id[32])
{
    struct span s = rd_span(r, 32);

    if (!r->failed) {
        memcpy(id, s.ptr, 32);
    }
}

static uint8_t
bool_read(struct rd *r)
{
    uint8_t v = rd_u8(r);

    if (v > 1) {
        r->failed = true;
    }
    return v;
}

static uint32_t
list_read(struct rd *r, struct span *out, size_t cap)
{
    uint32_t count = rd_u32(r);

    if (count > cap) {
        r->failed = true;
    }
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        out[i] = bytes_read(r);
    }
    return count;
}

static void
record_read(struct rd *r, struct timeline_record *rec)
{
    uint16_t cause;

    rec->time_ms = (int64_t)rd_u64(r);
    cause = rd_u16(r);
    if (cause == CAUSE_NONE || cause >= CAUSE_COUNT) {
        r->failed = true;
        return;
    }
    rec->cause = (enum cause)cause;
    rec->has_cert = bool_read(r) != 0;
    id_read(r, rec->cert_id);
    text_read(r, rec->client_id, sizeof rec->client_id);
    text_read(r, rec->peer, sizeof rec->peer);
    text_read(r, rec->status, sizeof rec->status);
    text_read(r, rec->facts, sizeof rec->facts);
}

static void
fields_read(struct rd *r, struct link_msg *m)
{
    switch (m->type) {
    case LINK_ADMIT:
        m->u.admit.client_id = bytes_read(r);
        m->u.admit.peer = bytes_read(r);
        m->u.admit.leaf_der = bytes_read(r);
        m->u.admit.sni = rd_u8(r);
        if (m->u.admit.sni > SNI_ACCOUNT) {
            r->failed = true;
        }
        return;
    case LINK_VERDICT:
        m->u.verdict.cause = rd_u16(r);
        if (m->u.verdict.cause == CAUSE_NONE || m->u.verdict.cause >= CAUSE_COUNT) {
            r->failed = true;
        }
        return;
    case LINK_POLICY:
        m->u.policy.set = rd_u32(r);
        return;
    case LINK_DOCUMENTS:
        m->u.documents.set = rd_u32(r);
        m->u.documents.found = bool_read(r);
        m->u.documents.count = list_read(r, m->u.documents.docs, LINK_DOCUMENTS_MAX);
        if (list_read(r, m->u.documents.names, LINK_DOCUMENTS_MAX) != m->u.documents.count) {
            r->failed = true;
        }
        return;
    case LINK_RECORD:
        record_read(r, &m->u.record);
        return;
    case LINK_INGRESS:
    case LINK_EVENT:
        id_read(r, m->u.ingress.cert_id);
        m->u.ingress.client_id = bytes_read(r);
        m->u.ingress.topic = bytes_read(r);
        m->u.ingress.payload = bytes_read(r);
        m->u.ingress.delay_s = rd_u32(r);
        return;
    case LINK_FILTERS:
        m->u.filters.count = list_read(r, m->u.filters.filters, LINK_LIST_MAX);
        return;
    case LINK_CHANGED:
        id_read(r, m->u.changed.cert_id);
        return;
    case LINK_RETAINED:
        m->u.retained.topic = bytes_read(r);
        m->u.retained.empty = bool_read(r);
        return;
    case LINK_STORED:
        m->u.stored.ok = bool_read(r);
        m->u.stored.saved = bool_read(r);
        return;
    case LINK_SAVE:
        return;
    case LINK_THING:
        id_read(r, m->u.thing.cert_id);
        m->u.thing.client_id = bytes_read(r);
        return;
    case LINK_FACTS:
        m->u.facts.found = rd_u8(r);
        if (m->u.facts.found > FACTS_FAILED) {
            r->failed = true;
        }
        m->u.facts.type = bytes_read(r);
        m->u.facts.attributes = bytes_read(r);
        return;
    }
    r->failed = true; /* a type we do not have */
}

enum bm_err
link_next(struct span *packet, struct link_msg *out)
{
    struct rd r = rd_of(*packet);

    memset(out, 0, sizeof *out);
    if (packet->len > LINK_MESSAGE_MAX) {
        return BM_ERR_PROTO;
    }
    out->type = (enum link_type)rd_u8(&r);
    out->account = rd_u8(&r);
    out->request = rd_u32(&r);
    fields_read(&r, out);
    if (r.failed) {
        return BM_ERR_PROTO;
    }
    *packet = rd_rest(&r);
    return BM_OK;
}

/* ---- writing ---- */

static void
put_number(struct buf *out, uint64_t v, size_t len)
{
    for (size_t i = len; i > 0; i--) {
        uint8_t b = (uint8_t)(v >> (8 * (i - 1)));

        buf_add(out, &b, 1);
    }
}

static void
put_bytes(struct buf *out, struct span s)
{
    put_number(out, s.len, 4);
    buf_add(out, s.ptr, s.len);
}

static void
put_list(struct buf *out, const struct span *list, uint32_t count)
{
    put_number(out, count, 4);
    for (uint32_t i = 0; i < count; i++) {
        put_bytes(out, list[i]);
    }
}

static void
put_record(struct buf *out, const struct timeline_record *rec)
{
    put_number(out, (uint64_t)rec->time_ms, 8);
    put_number(out, rec->cause, 2);
    put_number(out, rec->has_cert ? 1 : 0, 1);
    buf_add(out, rec->cert_id, 32);
    put_bytes(out, span_str(rec->client_id));
    put_bytes(out, span_str(rec->peer));
    put_bytes(out, span_str(rec->status));
    put_bytes(out, span_str(rec->facts));
}

static bool
lists_fit(const struct link_msg *m)
{
    return (m->type != LINK_DOCUMENTS || m->u.documents.count <= LINK_DOCUMENTS_MAX) &&
           (m->type != LINK_FILTERS || m->u.filters.count <= LINK_LIST_MAX);
}

static void
put_fields(struct buf *out, const struct link_msg *m)
{
    switch (m->type) {
    case LINK_ADMIT:
        put_bytes(out, m->u.admit.client_id);
        put_bytes(out, m->u.admit.peer);
        put_bytes(out, m->u.admit.leaf_der);
        put_number(out, m->u.admit.sni, 1);
        return;
    case LINK_VERDICT:
        put_number(out, m->u.verdict.cause, 2);
        return;
    case LINK_POLICY:
        put_number(out, m->u.policy.set, 4);
        return;
    case LINK_DOCUMENTS:
        put_number(out, m->u.documents.set, 4);
        put_number(out, m->u.documents.found, 1);
        put_list(out, m->u.documents.docs, m->u.documents.count);
        put_list(out, m->u.documents.names, m->u.documents.count);
        return;
    case LINK_RECORD:
        put_record(out, &m->u.record);
        return;
    case LINK_INGRESS:
    case LINK_EVENT:
        buf_add(out, m->u.ingress.cert_id, 32);
        put_bytes(out, m->u.ingress.client_id);
        put_bytes(out, m->u.ingress.topic);
        put_bytes(out, m->u.ingress.payload);
        put_number(out, m->u.ingress.delay_s, 4);
        return;
    case LINK_FILTERS:
        put_list(out, m->u.filters.filters, m->u.filters.count);
        return;
    case LINK_CHANGED:
        buf_add(out, m->u.changed.cert_id, 32);
        return;
    case LINK_RETAINED:
        put_bytes(out, m->u.retained.topic);
        put_number(out, m->u.retained.empty, 1);
        return;
    case LINK_STORED:
        put_number(out, m->u.stored.ok, 1);
        put_number(out, m->u.stored.saved, 1);
        return;
    case LINK_SAVE:
        return;
    case LINK_THING:
        buf_add(out, m->u.thing.cert_id, 32);
        put_bytes(out, m->u.thing.client_id);
        return;
    case LINK_FACTS:
        put_number(out, m->u.facts.found, 1);
        put_bytes(out, m->u.facts.type);
        put_bytes(out, m->u.facts.attributes);
        return;
    }
}

enum bm_err
link_build(struct buf *out, const struct link_msg *msg)
{
    size_t before = out->len;

    if (!lists_fit(msg)) {
        return BM_ERR_LIMIT;
    }
    put_number(out, msg->type, 1);
    put_number(out, msg->account, 1);
    put_number(out, msg->request, 4);
    put_fields(out, msg);
    if (out->failed) {
        out->len = before;
        return BM_ERR_MEM;
    }
    if (out->len - before > LINK_MESSAGE_MAX) {
        out->len = before;
        return BM_ERR_LIMIT;
    }
    return BM_OK;
}

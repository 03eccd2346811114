/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One timeline record: filled, and written for a person or as JSON.
 *
 * Client ids and facts come from outside. What is no printable UTF-8 is written as \xNN, so that a
 * device cannot steer the terminal of the person who asks, nor break the JSON.
 */
#include "timeline/timeline.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* Length of the well-formed, printable UTF-8 character at text, 0 when there is none. */
static size_t
printable(struct span text)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint8_t first = text.ptr[0];
    size_t len = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t v;

    if (len == 0 || len > text.len || first > 0xf4)
        return 0;
    v = len == 1 ? first : first & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((text.ptr[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (text.ptr[i] & 0x3fU);
    }
    if (v < least[len] || (v >= 0xd800 && v <= 0xdfff) || v > 0x10ffff)
        return 0;
    if (v < 0x20 || (v >= 0x7f && v < 0xa0) || v == 0x61c || (v >= 0x200b && v <= 0x200f) ||
        (v >= 0x2028 && v <= 0x202e) || (v >= 0x2060 && v <= 0x206f) || v == 0xfeff)
        return 0; /* controls, line ends, what is not seen and what turns the writing round */
    return len;
}

void
timeline_clean(const char *text, struct buf *out)
{
    struct rd r = rd_of(span_str(text));

    while (rd_left(&r) > 0) {
        size_t len = printable(span_of(r.pos, rd_left(&r)));

        if (len == 0)
            buf_addf(out, "\\x%02x", rd_u8(&r));
        else
            buf_add(out, rd_span(&r, len).ptr, len);
    }
}

/* Cut at a character's begin, not inside it. */
static void
copy_text(char *out, size_t cap, const char *text)
{
    size_t len = strlen(text);

    if (len >= cap) {
        len = cap - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    memcpy(out, text, len);
    out[len] = '\0';
}

void
timeline_fill(struct timeline_record *r, enum cause cause, const uint8_t *cert_id,
    const char *client_id, const char *peer, const char *status, const char *facts_fmt, ...)
{
    char facts[2 * TIMELINE_FACTS_MAX];
    va_list ap;

    *r = (struct timeline_record){ .time_ms = clock_wall_ms(), .cause = cause };
    if (cert_id != NULL) {
        r->has_cert = true;
        memcpy(r->cert_id, cert_id, sizeof r->cert_id);
    }
    copy_text(r->client_id, sizeof r->client_id, client_id != NULL ? client_id : "");
    copy_text(r->peer, sizeof r->peer, peer != NULL ? peer : "");
    copy_text(r->status, sizeof r->status, status != NULL ? status : "");
    if (facts_fmt == NULL)
        return;
    va_start(ap, facts_fmt);
    (void)vsnprintf(facts, sizeof facts, facts_fmt, ap);
    va_end(ap);
    copy_text(r->facts, sizeof r->facts, facts);
}

static const char *
or_else(const char *text, const char *otherwise)
{
    return text != NULL && text[0] != '\0' ? text : otherwise;
}

/* The cure with the names of this record and this cloud in it, so that a person can paste the
 * command. */
static void
add_cure(struct buf *out, const struct timeline_record *r, const struct timeline_place *place,
    const char *cure)
{
    static const struct timeline_place unknown = { 0 };
    const struct timeline_place *p = place != NULL ? place : &unknown;
    char hex[65];
    const struct {
        const char *mark;
        const char *text; /* NULL: the mark stays */
    } names[] = {
        { "CERT_ID", r->has_cert ? hex : NULL },
        { "CLIENT_ID", or_else(r->client_id, NULL) },
        { "REGION", or_else(p->region, "us-east-1") },
        { "ACCOUNT", or_else(p->account, "000000000000") },
        { "API_URL", or_else(p->api, NULL) },
    };

    hex_encode(hex, r->cert_id, sizeof r->cert_id);
    while (*cure != '\0') {
        size_t i = 0;

        while (i < sizeof names / sizeof *names &&
               (names[i].text == NULL || strncmp(cure, names[i].mark, strlen(names[i].mark)) != 0))
            i++;
        if (i == sizeof names / sizeof *names) {
            buf_add(out, cure++, 1);
        } else {
            timeline_clean(names[i].text, out);
            cure += strlen(names[i].mark);
        }
    }
}

static void
add_fact(struct buf *out, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    buf_addf(out, " %s=", name);
    timeline_clean(value, out);
}

void
timeline_text(
    const struct timeline_record *r, const struct timeline_place *place, struct buf *out)
{
    const struct cause_info *info = cause_info(r->cause);
    char time[CLOCK_TEXT_LEN];

    clock_text(time, r->time_ms);
    buf_addf(out, "%s  ", time);
    buf_addf(out, "%-18s  %s", r->status[0] != '\0' ? r->status : "-", info->sentence);
    add_fact(out, "client", r->client_id);
    add_fact(out, "peer", r->peer);
    if (r->facts[0] != '\0') {
        buf_add(out, " ", 1);
        timeline_clean(r->facts, out);
    }
    buf_add(out, "\n", 1);
    if (info->cure[0] == '\0')
        return;
    buf_addf(out, "    cure: ");
    add_cure(out, r, place, info->cure);
    buf_add(out, "\n", 1);
}

const char *
cause_class_name(enum cause_class kind)
{
    switch (kind) {
    case CAUSE_CHANGE:
        return "change";
    case CAUSE_EFFECT:
        return "effect";
    case CAUSE_ACCEPT:
        return "accepted";
    case CAUSE_REFUSE:
        return "refused";
    case CAUSE_END:
        return "ended";
    }
    return "";
}

void
timeline_verdict(
    const struct timeline_record *r, const struct timeline_place *place, struct buf *out)
{
    const struct cause_info *info = cause_info(r->cause);
    char text[CLOCK_TEXT_LEN];

    clock_text(text, r->time_ms);
    buf_addf(out, "cause     %s: %s\nevidence  %s", info->id, info->sentence, text);
    add_fact(out, "status", r->status);
    add_fact(out, "client", r->client_id);
    add_fact(out, "peer", r->peer);
    if (r->facts[0] != '\0') {
        buf_add(out, " ", 1);
        timeline_clean(r->facts, out);
    }
    buf_addf(out, "\ncure      ");
    add_cure(out, r, place, info->cure[0] != '\0' ? info->cure : "none is needed");
    buf_add(out, "\n", 1);
}

/* Set a text member; an empty one is left out. */
static void
set_text(json_t *o, const char *name, const char *text)
{
    struct buf b = { 0 };

    if (text[0] == '\0')
        return;
    timeline_clean(text, &b);
    (void)json_object_set_new(o, name, json_stringn((const char *)b.ptr, b.len));
    buf_fini(&b);
}

void
timeline_json(
    const struct timeline_record *r, const struct timeline_place *place, struct buf *out)
{
    const struct cause_info *info = cause_info(r->cause);
    json_t *o = json_object();
    struct buf cure = { 0 };
    char time[CLOCK_TEXT_LEN];
    char hex[65] = "";
    char *text;

    clock_text(time, r->time_ms);
    if (r->has_cert)
        hex_encode(hex, r->cert_id, sizeof r->cert_id);
    add_cure(&cure, r, place, info->cure);
    (void)json_object_set_new(o, "time", json_string(time));
    (void)json_object_set_new(o, "timeMs", json_integer(r->time_ms));
    set_text(o, "cause", info->id);
    set_text(o, "class", cause_class_name(info->kind));
    set_text(o, "sentence", info->sentence);
    set_text(o, "cure", cure.len > 0 ? buf_cstr(&cure) : "");
    set_text(o, "certificateId", hex);
    set_text(o, "clientId", r->client_id);
    set_text(o, "peer", r->peer);
    set_text(o, "status", r->status);
    set_text(o, "facts", r->facts);
    text = json_dumps(o, JSON_COMPACT);
    if (text == NULL)
        out->failed = true; /* out of memory: all texts are clean UTF-8 */
    else
        buf_add(out, text, strlen(text));
    free(text);
    buf_fini(&cure);
    json_decref(o);
}

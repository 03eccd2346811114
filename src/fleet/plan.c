/* SPDX-License-Identifier: Apache-2.0 */
/* See plan.h. One table of keys says what a group may hold; it reads the file and names mistakes.
 */
#include "fleet/plan.h"

#include "base/file.h"
#include "wire/topic.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool refused;
} identities[FLEET_IDENTITY_COUNT] = {
    [FLEET_OWN] = { "own", false },
    [FLEET_CLONE] = { "clone", false },
    [FLEET_NOT_YET] = { "not-yet-valid", true },
    [FLEET_EXPIRED] = { "expired", true },
    [FLEET_OTHER_CA] = { "other-ca", true },
    [FLEET_FORGED] = { "forged", true },
    [FLEET_SELF_SIGNED] = { "self-signed", true },
};

static const char *const whats[] = {
    [FLEET_STORM] = "storm", [FLEET_LEAVE] = "leave", [FLEET_STOP] = "stop"
};
enum { WHAT_COUNT = sizeof whats / sizeof *whats };

const char *
fleet_identity_name(enum fleet_identity i)
{
    return identities[(unsigned)i < FLEET_IDENTITY_COUNT ? i : FLEET_OWN].name;
}

void
fleet_group_default(struct fleet_group *g)
{
    *g = (struct fleet_group){ .name = "fleet",
        .mqtt5 = true,
        .keep_alive_s = 60,
        .messages = 1,
        .every_ms = 10000,
        .size = 100,
        .qos = 1,
        .topic = "foo/{client}" };
}

unsigned
fleet_plan_count(const struct fleet_plan *p)
{
    unsigned sum = 0;

    for (size_t i = 0; i < p->group_count; i++)
        sum += p->groups[i].count;
    return sum;
}

bool
fleet_time_parse(const char *text, int64_t *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
        { "d", 86400000 } };
    char *end = NULL;
    double v = strtod(text, &end);

    if (end == text || !(v >= 0) || v > 1e9)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].name) == 0) {
            *ms = (int64_t)(v * units[i].ms);
            return true;
        }
    }
    return false;
}

bool
fleet_topic(char *out, size_t cap, const char *pattern, const char *client, unsigned n)
{
    struct buf b = { 0 };
    bool fits;

    for (const char *p = pattern; *p != '\0';) {
        if (strncmp(p, "{client}", 8) == 0) {
            buf_addf(&b, "%s", client);
            p += 8;
        } else if (strncmp(p, "{n}", 3) == 0) {
            buf_addf(&b, "%u", n);
            p += 3;
        } else {
            buf_add(&b, p++, 1);
        }
    }
    fits = !b.failed && b.len < cap;
    if (fits) {
        if (b.len > 0)
            memcpy(out, b.ptr, b.len);
        out[b.len] = '\0';
    }
    buf_fini(&b);
    return fits;
}

/* ---- checks ---- */

/* What a client id, and so a file name and a topic level, may be made of. */
static bool
name_sound(const char *name)
{
    for (const char *p = name; *p != '\0'; p++) {
        bool good = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                    (*p >= '0' && *p <= '9') || *p == '-' || *p == '_' || (*p == '.' && p != name);

        if (!good)
            return false;
    }
    return *name != '\0' && strlen(name) <= FLEET_NAME_MAX;
}

static enum bm_err
check_group(const struct fleet_plan *p, size_t i, struct bm_msg *msg)
{
    const struct fleet_group *g = &p->groups[i];
    char full[257];
    char client[FLEET_NAME_MAX + 16];

    (void)snprintf(client, sizeof client, "%s-%u", g->name, g->count);
    if (!name_sound(g->name))
        return bm_fail(msg, BM_ERR_INPUT,
            "'%s' names no group: 1 to %d letters, digits, '-', '_', '.'", g->name, FLEET_NAME_MAX);
    for (size_t k = 0; k < i; k++) {
        if (strcmp(p->groups[k].name, g->name) == 0)
            return bm_fail(msg, BM_ERR_INPUT,
                "two groups are called '%s', so their client ids would be the same", g->name);
    }
    if (g->count == 0)
        return bm_fail(msg, BM_ERR_INPUT, "group '%s' has no devices", g->name);
    if (g->identity == FLEET_CLONE && g->count < 2)
        return bm_fail(msg, BM_ERR_INPUT, "group '%s': one device alone is no clone", g->name);
    if (!fleet_topic(full, sizeof full, g->topic, client, g->count) ||
        (full[0] != '\0' && !mqtt_topic_valid(span_str(full))))
        return bm_fail(msg, BM_ERR_INPUT,
            "group '%s': '%s' is no topic to publish to: 1 to 256 bytes, no + or #", g->name,
            g->topic);
    if (!fleet_topic(full, sizeof full, g->subscribe, client, g->count) ||
        (full[0] != '\0' && !mqtt_filter_valid(span_str(full))))
        return bm_fail(
            msg, BM_ERR_INPUT, "group '%s': '%s' is no topic filter", g->name, g->subscribe);
    return BM_OK;
}

static int
by_time(const void *a, const void *b)
{
    const struct fleet_event *x = a;
    const struct fleet_event *y = b;

    return (x->at_ms > y->at_ms) - (x->at_ms < y->at_ms);
}

enum bm_err
fleet_plan_check(struct fleet_plan *p, struct bm_msg *msg)
{
    unsigned count = fleet_plan_count(p);

    for (size_t i = 0; i < p->group_count; i++) {
        enum bm_err err = check_group(p, i, msg);

        if (err != BM_OK)
            return err;
    }
    if (count == 0 || count > FLEET_DEVICES_MAX)
        return bm_fail(
            msg, BM_ERR_INPUT, "a fleet has 1 to %d devices, not %u", FLEET_DEVICES_MAX, count);
    if (p->for_ms <= 0 || p->for_ms > FLEET_TIME_MAX_MS)
        return bm_fail(msg, BM_ERR_INPUT, "a run lasts up to 24 hours, and more than 0");
    qsort(p->events, p->event_count, sizeof *p->events, by_time);
    return BM_OK;
}

/* ---- the file ---- */

enum kind { TEXT, COUNT, TIME, SIGNED_TIME, FLAG, LEVEL, IDENTITY, EXPECT };

#define AT(kind, field) kind, offsetof(struct fleet_group, field)
static const struct {
    const char *name;
    enum kind kind;
    size_t at;
    long most; /* bytes of TEXT, value of COUNT */
} keys[] = {
    { "identity", AT(IDENTITY, identity), 0 }, /* first: it says what is expected */
    { "name", AT(TEXT, name), FLEET_NAME_MAX },
    { "count", AT(COUNT, count), FLEET_DEVICES_MAX },
    { "expect", AT(EXPECT, refused), 0 },
    { "start", AT(TIME, start_ms), 0 },
    { "spread", AT(TIME, spread_ms), 0 },
    { "clock", AT(SIGNED_TIME, clock_ms), 0 },
    { "mqtt", AT(LEVEL, mqtt5), 0 },
    { "keep_session", AT(FLAG, keep_session), 0 },
    { "keep_alive", AT(COUNT, keep_alive_s), 1200 },
    { "messages", AT(COUNT, messages), 1000000 },
    { "every", AT(TIME, every_ms), 0 },
    { "size", AT(COUNT, size), FLEET_SIZE_MAX },
    { "qos", AT(COUNT, qos), 1 },
    { "topic", AT(TEXT, topic), FLEET_TOPIC_MAX },
    { "subscribe", AT(TEXT, subscribe), FLEET_TOPIC_MAX },
};
#undef AT
enum { KEY_COUNT = sizeof keys / sizeof *keys };

static bool
time_of(const json_t *v, bool may_be_negative, int64_t *ms)
{
    const char *text = json_string_value(v);
    bool minus = may_be_negative && text != NULL && *text == '-';

    if (json_is_number(v)) {
        double s = json_number_value(v);

        if (!(s <= 1e9) || !(s >= (may_be_negative ? -1e9 : 0)))
            return false;
        *ms = (int64_t)(s * 1000);
        return true;
    }
    if (text == NULL || !fleet_time_parse(minus ? text + 1 : text, ms))
        return false;
    *ms = minus ? -*ms : *ms;
    return true;
}

static bool
put(struct fleet_group *g, size_t key, const json_t *v)
{
    char *field = (char *)g + keys[key].at;
    const char *text = json_string_value(v);

    switch (keys[key].kind) {
    case TEXT:
        if (text == NULL || strlen(text) > (size_t)keys[key].most)
            return false;
        memcpy(field, text, strlen(text) + 1);
        return true;
    case COUNT: /* unsigned and int are laid out alike for these values */
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) > keys[key].most)
            return false;
        *(unsigned *)field = (unsigned)json_integer_value(v);
        return true;
    case TIME:
    case SIGNED_TIME:
        return time_of(v, keys[key].kind == SIGNED_TIME, (int64_t *)field);
    case FLAG:
        *(bool *)field = json_is_true(v);
        return json_is_boolean(v);
    case LEVEL:
        *(bool *)field = text == NULL;
        return (json_is_integer(v) && json_integer_value(v) == 5) ||
               (text != NULL && strcmp(text, "3.1.1") == 0);
    case EXPECT:
        *(bool *)field = text != NULL && strcmp(text, "refused") == 0;
        return text != NULL && (*(bool *)field || strcmp(text, "connected") == 0);
    case IDENTITY:
        for (int i = 0; text != NULL && i < FLEET_IDENTITY_COUNT; i++) {
            if (strcmp(text, identities[i].name) == 0) {
                g->identity = (enum fleet_identity)i;
                g->refused = identities[i].refused;
                return true;
            }
        }
        return false;
    }
    return false;
}

static enum bm_err
unknown_key(json_t *o, const char *const *more, const char *where, struct bm_msg *msg)
{
    const char *name;
    json_t *v;

    json_object_foreach(o, name, v)
    {
        bool known = false;

        for (size_t i = 0; more == NULL && i < KEY_COUNT; i++)
            known = known || strcmp(name, keys[i].name) == 0;
        for (size_t i = 0; more != NULL && more[i] != NULL; i++)
            known = known || strcmp(name, more[i]) == 0;
        if (!known)
            return bm_fail(msg, BM_ERR_INPUT, "%s: there is no key \"%s\"; see birthmark-fleet(1)",
                where, name);
    }
    return BM_OK;
}

static enum bm_err
take_group(struct fleet_plan *p, json_t *o, struct bm_msg *msg)
{
    struct fleet_group *g = &p->groups[p->group_count];
    char where[64];
    enum bm_err err;

    (void)snprintf(where, sizeof where, "group %zu", p->group_count + 1);
    fleet_group_default(g);
    g->count = 1;
    err = json_is_object(o) ? unknown_key(o, NULL, where, msg)
                            : bm_fail(msg, BM_ERR_INPUT, "%s is no object", where);
    for (size_t i = 0; err == BM_OK && i < KEY_COUNT; i++) {
        const json_t *v = json_object_get(o, keys[i].name);

        if (v != NULL && !put(g, i, v))
            err = bm_fail(
                msg, BM_ERR_INPUT, "%s: \"%s\" has a value it can not have", where, keys[i].name);
    }
    p->group_count++;
    return err;
}

static enum bm_err
take_event(struct fleet_plan *p, json_t *o, struct bm_msg *msg)
{
    static const char *const known[] = { "at", "do", "group", NULL };
    struct fleet_event *e = &p->events[p->event_count];
    const char *what = json_string_value(json_object_get(o, "do"));
    const char *group = json_string_value(json_object_get(o, "group"));
    char where[64];
    int found = -1;
    enum bm_err err;

    (void)snprintf(where, sizeof where, "event %zu", ++p->event_count);
    err = json_is_object(o) ? unknown_key(o, known, where, msg)
                            : bm_fail(msg, BM_ERR_INPUT, "%s is no object", where);
    if (err != BM_OK)
        return err;
    for (int i = 0; what != NULL && i < WHAT_COUNT; i++)
        found = strcmp(what, whats[i]) == 0 ? i : found;
    if (found < 0)
        return bm_fail(
            msg, BM_ERR_INPUT, "%s: \"do\" wants \"storm\", \"leave\" or \"stop\"", where);
    e->what = (enum fleet_what)found;
    e->group = -1;
    for (size_t i = 0; group != NULL && i < p->group_count; i++)
        e->group = strcmp(p->groups[i].name, group) == 0 ? (int)i : e->group;
    if (json_object_get(o, "group") != NULL && e->group < 0)
        return bm_fail(msg, BM_ERR_INPUT, "%s: \"group\" names none of the groups", where);
    if (!time_of(json_object_get(o, "at"), false, &e->at_ms))
        return bm_fail(msg, BM_ERR_INPUT, "%s: \"at\" wants a time, as \"30s\"", where);
    return BM_OK;
}

static enum bm_err
take_list(struct fleet_plan *p, json_t *list, const char *what, size_t most,
    enum bm_err (*take)(struct fleet_plan *, json_t *, struct bm_msg *), struct bm_msg *msg)
{
    size_t n = json_array_size(list);

    if (list != NULL && (!json_is_array(list) || n > most))
        return bm_fail(msg, BM_ERR_INPUT, "\"%s\" wants a list of up to %zu", what, most);
    for (size_t i = 0; i < n; i++) {
        enum bm_err err = take(p, json_array_get(list, i), msg);

        if (err != BM_OK)
            return err;
    }
    return BM_OK;
}

static enum bm_err
take_top(struct fleet_plan *p, json_t *o, struct bm_msg *msg)
{
    static const char *const known[] = { "groups", "events", "for", "stay", "seed", NULL };
    const json_t *time = json_object_get(o, "for");
    const json_t *stay = json_object_get(o, "stay");
    const json_t *seed = json_object_get(o, "seed");
    enum bm_err err = unknown_key(o, known, "the scenario", msg);

    if (err != BM_OK)
        return err;
    if (time != NULL && !time_of(time, false, &p->for_ms))
        return bm_fail(msg, BM_ERR_INPUT, "\"for\" wants a time, as \"5m\"");
    if (stay != NULL && !json_is_boolean(stay))
        return bm_fail(msg, BM_ERR_INPUT, "\"stay\" wants true or false");
    if (seed != NULL && (!json_is_integer(seed) || json_integer_value(seed) < 0))
        return bm_fail(msg, BM_ERR_INPUT, "\"seed\" wants a whole number");
    p->stay = json_is_true(stay);
    p->seed = seed != NULL ? (uint64_t)json_integer_value(seed) : 0;
    err = take_list(p, json_object_get(o, "groups"), "groups", FLEET_GROUPS_MAX, take_group, msg);
    if (err == BM_OK)
        err =
            take_list(p, json_object_get(o, "events"), "events", FLEET_EVENTS_MAX, take_event, msg);
    return err == BM_OK ? fleet_plan_check(p, msg) : err;
}

enum bm_err
fleet_plan_parse(struct span json, struct fleet_plan *out, struct bm_msg *msg)
{
    json_error_t why = { 0 };
    json_t *o = json_loadb(
        json.len > 0 ? (const char *)json.ptr : "", json.len, JSON_REJECT_DUPLICATES, &why);
    enum bm_err err;

    *out = (struct fleet_plan){ .for_ms = 120000 };
    if (!json_is_object(o))
        err = bm_fail(msg, BM_ERR_INPUT, "no JSON object: line %d: %s", why.line,
            o == NULL ? why.text : "another value");
    else
        err = take_top(out, o, msg);
    json_decref(o);
    return err;
}

enum bm_err
fleet_plan_read(const char *path, struct fleet_plan *out, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct bm_msg why = { "" };
    enum bm_err err = file_read(path, FLEET_FILE_MAX, &text, msg);

    if (err == BM_OK) {
        err = fleet_plan_parse(buf_span(&text), out, &why);
        if (err != BM_OK)
            err = bm_fail(msg, err, "%s: %.400s", path, why.text);
    }
    buf_fini(&text);
    return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the page reads beside the API's operations: timelines, what rules did, functions' logs. */
#include "console/inside.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RECORDS = 200,
    RECORDS_MAX = 1000,
    RULE_RECORDS_EXAMINED = 4000, /* a rule is in no index: of the newest of all */
    LOG_PART_MAX = 128 * 1024,
};

json_t *
record_json(const struct site *c, const struct timeline_record *rec)
{
    struct buf text = { 0 };
    json_t *o = NULL;

    timeline_json(rec, &c->place, &text);
    if (!text.failed)
        o = json_loadb((const char *)text.ptr, text.len, 0, NULL);
    buf_fini(&text);
    return o;
}

/* ---- timelines ---- */

struct records {
    const struct site *site;
    json_t *list;
    const char *mark; /* NULL: all; else the facts begin with it */
};

static void
add_record(void *arg, const struct timeline_record *rec)
{
    struct records *r = arg;

    if (r->mark == NULL || strncmp(rec->facts, r->mark, strlen(r->mark)) == 0)
        (void)json_array_append_new(r->list, record_json(r->site, rec));
}

static enum bm_err
read_timeline(struct site *c, struct http_request *rq, struct records *to, struct buf *room,
    struct bm_msg *msg)
{
    struct registry *r = c->registry;
    size_t limit = query_number(rq, "limit", RECORDS, RECORDS_MAX);
    uint8_t id[REGISTRY_ID_LEN];
    char mark[REGISTRY_NAME_MAX + 8];
    const char *text;

    if ((text = query_text(rq, "certificate", room)) != NULL) {
        if (hex_decode(id, sizeof id, span_str(text)) != BM_OK)
            return bm_fail(msg, BM_ERR_INPUT, "A certificate's id is 64 hex digits.");
        return registry_timeline_cert(r, id, limit, add_record, to, msg);
    }
    if ((text = query_text(rq, "client", room)) != NULL)
        return registry_timeline_client(r, text, limit, add_record, to, msg);
    if ((text = query_text(rq, "rule", room)) != NULL) {
        enum bm_err err;

        (void)snprintf(mark, sizeof mark, "rule=%s ", text);
        to->mark = mark;
        err = registry_timeline_recent(r, RULE_RECORDS_EXAMINED, add_record, to, msg);
        while (json_array_size(to->list) > limit)
            (void)json_array_remove(to->list, 0);
        to->mark = NULL;
        return err;
    }
    return registry_timeline_recent(r, limit, add_record, to, msg);
}

/* ?certificate= or ?client= or ?rule=, or the newest of all; oldest first. {records} */
void
view_timeline(struct site *c, struct http_request *rq)
{
    struct records to = { .site = c, .list = json_array() };
    struct buf room = { 0 };
    struct bm_msg msg;
    enum bm_err err = read_timeline(c, rq, &to, &room, &msg);

    if (err == BM_OK || err == BM_ERR_NOT_FOUND)
        reply_json(rq, 200, json_pack("{s:O}", "records", to.list));
    else
        refuse_err(rq, err, &msg);
    json_decref(to.list);
    buf_fini(&room);
}

/* ---- rules ---- */

struct rule_list {
    struct site *site;
    json_t *list;
};

static void
add_rule(void *arg, const struct registry_rule *rule)
{
    struct rule_list *l = arg;
    struct rules_count count = { 0 };

    (void)rules_count_of(l->site->account->rules, rule->name, &count);
    (void)json_array_append_new(
        l->list, json_pack("{s:s,s:b,s:I,s:o,s:I,s:I,s:I}", "ruleName", rule->name, "disabled",
                     rule->disabled, "createdMs", (json_int_t)rule->created_ms, "payload",
                     json_loadb((const char *)rule->payload.ptr, rule->payload.len, 0, NULL),
                     "matched", (json_int_t)count.matched, "failed", (json_int_t)count.failed,
                     "lastMatchedMs", (json_int_t)count.last_matched_ms));
}

/* All rules with what they did since the cloud was started. {rules} */
void
view_rules(struct site *c, struct http_request *rq)
{
    struct rule_list l = { c, json_array() };
    struct bm_msg msg;
    enum bm_err err = registry_rule_list(c->registry, add_rule, &l, &msg);

    if (err == BM_OK)
        reply_json(rq, 200, json_pack("{s:O}", "rules", l.list));
    else
        refuse_err(rq, err, &msg);
    json_decref(l.list);
}

/* ---- logs of functions ---- */

/* Bytes from `at` on, at most LOG_PART_MAX; at < 0: the last of them. Each bad byte is '?'. */
static json_t *
read_log(const char *path, int64_t at)
{
    struct buf text = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st = { 0 };
    uint8_t *room;
    ssize_t n = 0;
    json_t *o;

    if (fd >= 0 && fstat(fd, &st) == 0) {
        if (at < 0 || at > st.st_size) /* the file was begun anew */
            at = st.st_size > LOG_PART_MAX ? st.st_size - LOG_PART_MAX : 0;
        room = buf_reserve(&text, LOG_PART_MAX);
        n = room != NULL ? pread(fd, room, LOG_PART_MAX, at) : 0;
        text.len = n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        (void)close(fd);
    if (at < 0)
        at = 0;
    o = json_stringn(text.len > 0 ? (const char *)text.ptr : "", text.len);
    for (size_t i = 0; o == NULL && i < text.len; i++) { /* cut inside a character, or binary */
        if (text.ptr[i] >= 0x80)
            text.ptr[i] = '?';
        if (i + 1 == text.len)
            o = json_stringn((const char *)text.ptr, text.len);
    }
    buf_fini(&text);
    return json_pack("{s:o,s:I,s:I}", "text", o, "from", (json_int_t)at, "next",
        (json_int_t)(at + (n > 0 ? n : 0)));
}

/* ?function=NAME &from= where the part before ended. {text, from, next} */
void
view_log(struct site *c, struct http_request *rq)
{
    struct buf room = { 0 };
    const char *text = query_text(rq, "function", &room);
    char name[REGISTRY_NAME_MAX + 1] = "";
    char path[PATH_MAX];
    bool named = text != NULL && lambda_name_of(text, name);

    if (!named) {
        refuse(rq, 400, "Name a function.");
    } else {
        const char *from = query_text(rq, "from", &room);

        (void)snprintf(path, sizeof path, "%s/functions/log/%s.log", c->account->dir, name);
        reply_json(rq, 200,
            read_log(path, from != NULL ? (int64_t)query_number(rq, "from", 0, INT32_MAX) : -1));
    }
    buf_fini(&room);
}

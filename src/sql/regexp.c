/* SPDX-License-Identifier: Apache-2.0 */
/*
 * regexp_matches, regexp_replace, regexp_substr: PCRE2, whose syntax is nearest to the service's,
 * with limits on backtracking. What runs into a limit is Undefined, as an invalid expression is.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "sql/inside.h"

#include <pcre2.h>
#include <stdlib.h>

enum { MATCH_LIMIT = 100 * 1000, HEAP_LIMIT_KB = 4 * 1024, PATTERN_MAX = 4096 };

struct match {
    struct buf subject;
    struct buf pattern;
    pcre2_code *code;
    pcre2_match_context *limits;
    pcre2_match_data *data;
};

static void
match_close(struct match *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->limits);
    pcre2_code_free(m->code);
    buf_fini(&m->subject);
    buf_fini(&m->pattern);
}

/* False: an argument is Null or Undefined, or the pattern is not valid. */
static bool
match_open(struct match *m, struct run *r, json_t **args)
{
    int error;
    size_t at;

    *m = (struct match){ 0 };
    if (!value_text(args[0], r->version, &m->subject) ||
        !value_text(args[1], r->version, &m->pattern) || m->pattern.len > PATTERN_MAX ||
        !run_step(r, (unsigned)(1 + m->subject.len / 64)))
        return false;
    m->code = pcre2_compile(m->pattern.len > 0 ? m->pattern.ptr : (const uint8_t *)"",
        m->pattern.len, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
    m->limits = pcre2_match_context_create(NULL);
    m->data = m->code != NULL ? pcre2_match_data_create_from_pattern(m->code, NULL) : NULL;
    if (m->data == NULL || m->limits == NULL)
        return false;
    pcre2_set_match_limit(m->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(m->limits, HEAP_LIMIT_KB);
    return true;
}

static const uint8_t *
subject(const struct match *m)
{
    return m->subject.len > 0 ? m->subject.ptr : (const uint8_t *)"";
}

json_t *
sql_regexp_matches(struct run *r, json_t **args, size_t count)
{
    struct match m;
    json_t *v = NULL;

    (void)count;
    if (match_open(&m, r, args)) {
        int n = pcre2_match(m.code, subject(&m), m.subject.len, 0, 0, m.data, m.limits);

        v = n >= 0 || n == PCRE2_ERROR_NOMATCH ? json_boolean(n >= 0) : NULL;
    }
    match_close(&m);
    return v;
}

json_t *
sql_regexp_substr(struct run *r, json_t **args, size_t count)
{
    struct match m;
    json_t *v = NULL;

    (void)count;
    if (match_open(&m, r, args) &&
        pcre2_match(m.code, subject(&m), m.subject.len, 0, 0, m.data, m.limits) >= 0) {
        const size_t *range = pcre2_get_ovector_pointer(m.data);

        if (range[0] <= range[1]) /* \K can turn it round */
            v = run_text(r, &subject(&m)[range[0]], range[1] - range[0]);
    }
    match_close(&m);
    return v;
}

json_t *
sql_regexp_replace(struct run *r, json_t **args, size_t count)
{
    struct buf with = { 0 };
    struct buf out = { 0 };
    struct match m;
    size_t len = SQL_RESULT_MAX;
    json_t *v = NULL;

    (void)count;
    if (match_open(&m, r, args) && value_text(args[2], r->version, &with) &&
        buf_reserve(&out, len) != NULL &&
        pcre2_substitute(m.code, subject(&m), m.subject.len, 0,
            PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_EXTENDED | PCRE2_SUBSTITUTE_UNSET_EMPTY,
            m.data, m.limits, with.len > 0 ? with.ptr : (const uint8_t *)"", with.len, out.ptr,
            &len) >= 0)
        v = run_text(r, out.ptr, len);
    match_close(&m);
    buf_fini(&with);
    buf_fini(&out);
    return v;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A statement and a message, with a zero byte between: whatever parses has a valid filter, and its
 * evaluation ends, twice with the same text when nothing in it is random.
 */
#include "sql/sql.h"
#include "wire/topic.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
evaluate(const struct sql *s, struct span payload)
{
    struct sql_message m = { .topic = span_str("a/b"), .payload = payload, .account = "1" };
    struct buf out = { 0 };
    struct bm_msg msg;
    bool matched;

    while (sql_run(s, &m, &matched, &out, &msg) == BM_ERR_MORE) {
        m.calls[m.call_count - 1].answer = json_incref(m.calls[m.call_count - 1].input);
        out.len = 0;
    }
    if (out.len > payload.len + 2 * SQL_RESULT_MAX)
        abort();
    buf_fini(&out);
    sql_message_fini(&m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t len = zero != NULL ? (size_t)(zero - data) : size;
    struct span payload = zero != NULL ? span_of(zero + 1, size - len - 1) : span_str("{\"a\":1}");
    struct sql_template *t;
    struct bm_msg msg;
    struct buf text = { 0 };
    struct sql *s;

    if (sql_parse(span_of(data, len), SQL_2016_03_23, &s, &msg) == BM_OK) {
        if (*sql_filter(s) != '\0' && !mqtt_filter_valid(span_str(sql_filter(s))))
            abort();
        evaluate(s, payload);
        sql_free(s);
    }
    buf_add(&text, data, len);
    if (sql_template_parse(buf_cstr(&text), SQL_2016_03_23, &t, &msg) == BM_OK)
        sql_template_free(t);
    buf_fini(&text);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of the message and of structure, and how a function is found (developer guide,
 * iot-sql-functions). Arguments are borrowed; what cannot be converted makes the result Undefined.
 * Each file of functions ends with its table.
 */
#include "sql/inside.h"

#include <openssl/rand.h>
#include <string.h>
#include <strings.h>

/* ---- the message ---- */

static json_t *
fn_topic(struct run *r, json_t **args, size_t count)
{
    struct span topic = r->m->topic;
    const uint8_t *end = topic.ptr + topic.len;
    const uint8_t *from = topic.ptr;
    json_int_t n;

    if (count == 0)
        return run_text(r, topic.ptr, topic.len);
    if (!value_int_down(args[0], &n) || n < 1)
        return NULL;
    for (; n > 1; n--) {
        const uint8_t *slash = memchr(from, '/', (size_t)(end - from));

        if (slash == NULL)
            return NULL;
        from = slash + 1;
    }
    topic.ptr = memchr(from, '/', (size_t)(end - from));
    return run_text(r, from, (size_t)((topic.ptr != NULL ? topic.ptr : end) - from));
}

static json_t *
optional_text(struct run *r, const char *text)
{
    return text != NULL ? run_text(r, text, strlen(text)) : NULL;
}

static json_t *
fn_clientid(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return r->m->client_id.len > 0 ? run_text(r, r->m->client_id.ptr, r->m->client_id.len)
                                   : json_string("n/a");
}

static json_t *
fn_principal(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return optional_text(r, r->m->principal);
}

static json_t *
fn_accountid(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return optional_text(r, r->m->account);
}

static json_t *
fn_traceid(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return optional_text(r, r->m->trace_id);
}

static json_t *
fn_timestamp(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return json_integer(r->m->now_ms);
}

static json_t *
fn_sql_version(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return json_string(r->version == SQL_2015_10_08   ? "2015-10-08"
                       : r->version == SQL_2016_03_23 ? "2016-03-23"
                                                      : "beta");
}

/* Version 4 of RFC 9562. */
static json_t *
fn_newuuid(struct run *r, json_t **args, size_t count)
{
    uint8_t b[16];
    char hex[33];
    char text[40];

    (void)args;
    (void)count;
    if (RAND_bytes(b, sizeof b) != 1)
        return run_fail(r, BM_ERR_INTERNAL, "no random numbers");
    b[6] = (uint8_t)(0x40 | (b[6] & 0x0f));
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
    hex_encode(hex, b, sizeof b);
    (void)snprintf(
        text, sizeof text, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return json_string(text);
}

/* The n-th call of this evaluation has the n-th answer; see sql_message. */
static json_t *
fn_aws_lambda(struct run *r, json_t **args, size_t count)
{
    struct sql_message *m = r->m;
    struct sql_call *call = &m->calls[r->calls];

    (void)count;
    if (r->calls < m->call_count && call->answer != NULL) {
        r->calls++;
        return json_incref(call->answer);
    }
    if (!json_is_string(args[0]) || args[1] == NULL)
        return NULL;
    if (r->calls == SQL_CALLS_MAX)
        return run_fail(r, BM_ERR_LIMIT, "aws_lambda() is called more than 8 times");
    if (r->calls == m->call_count) {
        call->input = json_pack("[OO]", args[0], args[1]);
        call->answer = NULL;
        if (call->input == NULL)
            return run_fail(r, BM_ERR_MEM, "out of memory");
        call->arn = json_string_value(args[0]);
        m->call_count++;
    }
    return run_fail(r, BM_ERR_MORE, "aws_lambda() has no answer yet");
}

/* ---- structure ---- */

static json_t *
fn_get(struct run *r, json_t **args, size_t count)
{
    struct span s = span_of(json_string_value(args[0]), json_string_length(args[0]));
    json_int_t n;
    size_t at;

    (void)count;
    if (json_is_object(args[0]))
        return json_incref(json_object_get(args[0], json_string_value(args[1])));
    if (!value_int(args[1], &n) || n < 0)
        return NULL;
    if (json_is_array(args[0]))
        return json_incref(json_array_get(args[0], (size_t)n));
    at = json_is_string(args[0]) ? text_at(s, n) : 0;
    return at < s.len ? run_text(r, s.ptr + at, text_at(s, n + 1) - at) : NULL;
}

static json_t *
fn_isnull(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return json_boolean(json_is_null(args[0]));
}

static json_t *
fn_isundefined(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return json_boolean(args[0] == NULL);
}

static json_t *
fn_transform(struct run *r, json_t **args, size_t count)
{
    json_t *result;
    json_t *element;
    size_t i;

    (void)count;
    if (!json_is_string(args[0]) || strcmp(json_string_value(args[0]), "enrichArray") != 0 ||
        !json_is_object(args[1]) || !json_is_array(args[2]))
        return NULL;
    result = json_array();
    json_array_foreach(args[2], i, element)
    {
        json_t *copy = json_is_object(element) ? json_copy(element) : NULL;

        if (copy == NULL || !run_step(r, (unsigned)(1 + json_object_size(args[1]))) ||
            json_object_update(copy, args[1]) != 0 || json_array_append_new(result, copy) != 0) {
            json_decref(result);
            return NULL;
        }
    }
    return result;
}

/* ---- the table ---- */

static const struct function message_functions[] = {
    { .name = "accountid", .run = fn_accountid },
    { .name = "aws_lambda", .min = 2, .max = 2, .raw = true, .run = fn_aws_lambda },
    { .name = "clientid", .run = fn_clientid },
    { .name = "get", .min = 2, .max = 2, .run = fn_get },
    { .name = "get_dynamodb", .missing = "there is no DynamoDB" },
    { .name = "get_mqtt_property", .missing = "MQTT 5 properties do not reach the rules" },
    { .name = "get_secret", .missing = "there is no Secrets Manager" },
    { .name = "get_thing_shadow", .missing = "there are no shadows" },
    { .name = "isNull", .min = 1, .max = 1, .run = fn_isnull },
    { .name = "isUndefined", .min = 1, .max = 1, .since = SQL_2016_03_23, .run = fn_isundefined },
    { .name = "machinelearning_predict", .missing = "there is no Machine Learning" },
    { .name = "md2", .missing = "OpenSSL has no MD2 any more; md5() and sha256() are there" },
    { .name = "newuuid", .run = fn_newuuid },
    { .name = "parse_time", .min = 2, .max = 3, .since = SQL_2016_03_23, .run = sql_parse_time },
    { .name = "principal", .run = fn_principal },
    { .name = "sql_version", .run = fn_sql_version },
    { .name = "time_to_epoch",
        .min = 2,
        .max = 2,
        .since = SQL_2016_03_23,
        .run = sql_time_to_epoch },
    { .name = "timestamp", .run = fn_timestamp },
    { .name = "topic", .max = 1, .run = fn_topic },
    { .name = "traceid", .run = fn_traceid },
    { .name = "transform", .min = 3, .max = 3, .since = SQL_2016_03_23, .run = fn_transform },
    { 0 },
};

static const struct function *
find_in(const struct function *table, struct span name)
{
    for (const struct function *f = table; f->name != NULL; f++) {
        if (strlen(f->name) == name.len &&
            strncasecmp(f->name, (const char *)name.ptr, name.len) == 0)
            return f;
    }
    return NULL;
}

const struct function *
function_find(struct span name)
{
    static const struct function *const tables[] = { message_functions, number_functions,
        text_functions };
    const struct function *f = NULL;

    for (size_t i = 0; f == NULL && i < sizeof tables / sizeof *tables; i++)
        f = find_in(tables[i], name);
    return f;
}

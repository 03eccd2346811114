/* SPDX-License-Identifier: Apache-2.0 */
/* The tree on one message: operators, nested queries, and the result of a statement. */
#include "sql/inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *
run_fail(struct run *r, enum bm_err err, const char *sentence)
{
    if (r->err == BM_OK)
        r->err = bm_fail(r->msg, err, "%s", sentence);
    return NULL;
}

bool
run_step(struct run *r, unsigned steps)
{
    r->steps += steps;
    if (r->steps > SQL_STEPS_MAX)
        (void)run_fail(r, BM_ERR_LIMIT, "the statement takes too many steps on this message");
    return r->err == BM_OK;
}

json_t *
run_text(struct run *r, const void *text, size_t len)
{
    r->made += len;
    if (r->made > SQL_RESULT_MAX)
        return run_fail(r, BM_ERR_LIMIT, "the statement makes more than 1 MB of text");
    return json_stringn(text, len);
}

json_t *
message_json(struct sql_message *m)
{
    if (!m->looked) {
        m->looked = true;
        m->json = json_loadb((const char *)m->payload.ptr, m->payload.len, JSON_DECODE_ANY, NULL);
        if (m->json == NULL) /* integers beyond 64 bits become Decimals */
            m->json = json_loadb((const char *)m->payload.ptr, m->payload.len,
                JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    }
    return m->json;
}

void
sql_message_forget(struct sql_message *m)
{
    for (size_t i = 0; i < m->call_count; i++) {
        json_decref(m->calls[i].input);
        json_decref(m->calls[i].answer);
    }
    m->call_count = 0;
}

void
sql_message_fini(struct sql_message *m)
{
    sql_message_forget(m);
    json_decref(m->json);
    m->json = NULL;
    m->looked = false;
}

/* ---- operators (iot-sql-operators) ---- */

static json_t *
boolean(bool b)
{
    return json_boolean(b);
}

static json_t *
logic(enum binary op, json_t *a, json_t *b)
{
    bool x;
    bool y;

    if (!value_boolean(a, &x) || !value_boolean(b, &y))
        return NULL;
    return boolean(op == OP_AND ? x && y : x || y);
}

static json_t *
equality(enum binary op, json_t *a, json_t *b)
{
    if (a == NULL || b == NULL)
        return NULL;
    return boolean(value_equal(a, b) == (op == OP_EQ));
}

static json_t *
order(enum binary op, json_t *a, json_t *b)
{
    double x;
    double y;

    if (!value_decimal(a, &x) || !value_decimal(b, &y))
        return NULL;
    if (json_is_integer(a) && json_is_integer(b)) { /* a double would round large ones */
        json_int_t i = json_integer_value(a);
        json_int_t j = json_integer_value(b);

        x = (double)((i > j) - (i < j));
        y = 0;
    }
    return boolean(op == OP_LT ? x < y : op == OP_LE ? x <= y : op == OP_GT ? x > y : x >= y);
}

static json_t *
is_in(struct run *r, json_t *a, json_t *list)
{
    json_t *element;
    size_t i;

    if (a == NULL || !json_is_array(list) || !run_step(r, (unsigned)json_array_size(list)))
        return NULL;
    json_array_foreach(list, i, element)
    {
        if (value_equal(a, element))
            return boolean(true);
    }
    return boolean(false);
}

/* False: over- or underflow, or division by zero: the caller goes on with doubles. */
static bool
integers(enum binary op, json_int_t a, json_int_t b, json_int_t *out)
{
    switch (op) {
    case OP_ADD:
        return !__builtin_add_overflow(a, b, out);
    case OP_SUB:
        return !__builtin_sub_overflow(a, b, out);
    case OP_MUL:
        return !__builtin_mul_overflow(a, b, out);
    default:
        if (b == 0 || b == -1) { /* -1: the one quotient that overflows */
            *out = 0;
            return b == -1 && (op == OP_MOD || !__builtin_sub_overflow(0, a, out));
        }
        *out = op == OP_DIV ? a / b : a % b;
        return true;
    }
}

static json_t *
arithmetic(enum binary op, json_t *a, json_t *b)
{
    json_int_t i;
    double x;
    double y;

    if (json_is_integer(a) && json_is_integer(b) &&
        integers(op, json_integer_value(a), json_integer_value(b), &i))
        return json_integer(i);
    if (!value_decimal(a, &x) || !value_decimal(b, &y))
        return NULL;
    switch (op) {
    case OP_ADD:
        return value_number(x + y);
    case OP_SUB:
        return value_number(x - y);
    case OP_MUL:
        return value_number(x * y);
    default:
        return y == 0 ? NULL : value_number(op == OP_DIV ? x / y : fmod(x, y));
    }
}

static json_t *
plus(struct run *r, json_t *a, json_t *b)
{
    struct buf text = { 0 };
    json_t *v = NULL;

    if (!json_is_string(a) && !json_is_string(b))
        return arithmetic(OP_ADD, a, b);
    if (value_text(a, r->version, &text) && value_text(b, r->version, &text))
        v = run_text(r, text.ptr, text.len);
    buf_fini(&text);
    return v;
}

static json_t *
binary(struct run *r, enum binary op, json_t *a, json_t *b)
{
    switch (op) {
    case OP_OR:
    case OP_AND:
        return logic(op, a, b);
    case OP_EQ:
    case OP_NE:
        return equality(op, a, b);
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
        return order(op, a, b);
    case OP_IN:
        return is_in(r, a, b);
    case OP_ADD:
        return plus(r, a, b);
    default:
        return arithmetic(op, a, b);
    }
}

static json_t *
eval_binary(struct run *r, const struct node *n, json_t *scope)
{
    json_t *a = run_eval(r, n->kids[0], scope);
    json_t *b = run_eval(r, n->kids[1], scope);
    json_t *v = r->err == BM_OK ? binary(r, n->op, a, b) : NULL;

    json_decref(a);
    json_decref(b);
    return v;
}

static json_t *
eval_unary(struct run *r, const struct node *n, json_t *scope)
{
    json_t *a = run_eval(r, n->kids[0], scope);
    json_t *zero = json_integer(0);
    json_t *v = NULL;
    bool b;

    if (n->kind == NODE_NEGATE)
        v = json_is_real(a) ? value_number(-json_real_value(a)) : arithmetic(OP_SUB, zero, a);
    else if (value_boolean(a, &b))
        v = boolean(!b);
    json_decref(a);
    json_decref(zero);
    return v;
}

/* ---- casts (iot-sql-function-cast) ---- */

static json_t *
cast_number(enum cast cast, json_t *v)
{
    json_int_t i;
    double d;

    if (json_is_boolean(v))
        return cast == CAST_INT ? json_integer(json_is_true(v)) : json_real(json_is_true(v));
    if (cast == CAST_INT)
        return value_int_down(v, &i) ? json_integer(i) : NULL;
    return value_decimal(v, &d) ? value_number(d) : NULL;
}

static json_t *
eval_cast(struct run *r, const struct node *n, json_t *scope)
{
    json_t *a = run_eval(r, n->kids[0], scope);
    struct buf text = { 0 };
    json_t *v = NULL;
    bool b;

    switch (n->cast) {
    case CAST_STRING:
        v = value_text(a, r->version, &text) ? run_text(r, text.ptr, text.len) : NULL;
        break;
    case CAST_BOOLEAN:
        v = json_is_number(a)      ? boolean(json_number_value(a) != 0)
            : value_boolean(a, &b) ? boolean(b)
                                   : NULL;
        break;
    default:
        v = cast_number(n->cast, a);
    }
    buf_fini(&text);
    json_decref(a);
    return v;
}

/* ---- the other nodes ---- */

static json_t *
eval_name(struct run *r, const struct node *n, json_t *scope)
{
    char sentence[200];

    if (scope == NULL) {
        (void)snprintf(sentence, sizeof sentence,
            "the message is no JSON, and the statement reads '%.60s' from it; of other messages "
            "there is only `*`, as in encode(*, 'base64')",
            n->name);
        return run_fail(r, BM_ERR_INPUT, sentence);
    }
    return json_incref(json_object_get(scope, n->name));
}

static json_t *
eval_member(struct run *r, const struct node *n, json_t *scope)
{
    json_t *object = run_eval(r, n->kids[0], scope);
    json_t *v = json_incref(json_object_get(object, n->name));

    json_decref(object);
    return v;
}

static json_t *
eval_case(struct run *r, const struct node *n, json_t *scope)
{
    json_t *v = run_eval(r, n->kids[0], scope);
    json_t *result = NULL;
    size_t i = 1;

    if (v == NULL)
        return NULL;
    for (; i + 1 < n->count; i += 2) {
        json_t *t = run_eval(r, n->kids[i], scope);
        bool equal = value_equal(v, t);

        json_decref(t);
        if (equal)
            break;
    }
    if (i + 1 < n->count)
        result = run_eval(r, n->kids[i + 1], scope);
    else if (i < n->count)
        result = run_eval(r, n->kids[i], scope);
    json_decref(v);
    return result;
}

static json_t *
eval_object(struct run *r, const struct node *n, json_t *scope)
{
    json_t *object = json_object();

    for (size_t i = 0; i < n->count && r->err == BM_OK; i++) {
        json_t *v = run_eval(r, n->kids[i], scope);

        if (v != NULL && json_object_set_new(object, n->keys[i], v) != 0)
            (void)run_fail(r, BM_ERR_MEM, "out of memory");
    }
    return object;
}

/* Undefined elements vanish, as members do. */
static json_t *
eval_array(struct run *r, const struct node *n, json_t *scope)
{
    json_t *array = json_array();

    for (size_t i = 0; i < n->count && r->err == BM_OK; i++) {
        json_t *v = run_eval(r, n->kids[i], scope);

        if (v != NULL && json_array_append_new(array, v) != 0)
            (void)run_fail(r, BM_ERR_MEM, "out of memory");
    }
    return array;
}

/* `*` of a function that takes bytes is the payload as it came; else what it is as JSON. */
static json_t *
eval_star(struct run *r, const struct node *call)
{
    if (strcmp(call->function->name, "encode") == 0)
        return json_stringn_nocheck((const char *)r->m->payload.ptr, r->m->payload.len);
    return json_incref(message_json(r->m));
}

static json_t *
eval_call(struct run *r, const struct node *n, json_t *scope)
{
    const struct function *f = n->function;
    json_t *few[4];
    json_t **args = n->count > 4 ? calloc(n->count, sizeof(json_t *)) : few;
    json_t *v = NULL;

    if (args == NULL)
        return run_fail(r, BM_ERR_MEM, "out of memory");
    for (size_t i = 0; i < n->count; i++)
        args[i] = n->kids[i]->kind == NODE_STAR ? eval_star(r, n) : run_eval(r, n->kids[i], scope);
    if (r->err == BM_OK && n->count >= f->min && n->count <= f->max)
        v = f->run(r, args, n->count);
    for (size_t i = 0; i < n->count; i++)
        json_decref(args[i]);
    if (args != few)
        free(args);
    return v;
}

/* ---- SELECT ---- */

/*
 * The first `len` bytes of `key` as a member of `object` that is an object itself: a new one, or a
 * copy of the one that is there, which may be the message's.
 */
static json_t *
object_at(json_t *object, const char *key, size_t len)
{
    json_t *inner;
    char name[256];

    if (len >= sizeof name)
        return NULL;
    memcpy(name, key, len);
    name[len] = '\0';
    inner = json_object_get(object, name);
    inner = json_is_object(inner) ? json_copy(inner) : json_object();
    return json_object_set_new(object, name, inner) == 0 ? inner : NULL;
}

static void
put(struct run *r, json_t *object, const char *key, json_t *v)
{
    const char *dot;

    while (object != NULL && (dot = strchr(key, '.')) != NULL) {
        object = object_at(object, key, (size_t)(dot - key));
        key = dot + 1;
    }
    if (json_object_set_new(object, key, v) != 0)
        (void)run_fail(r, BM_ERR_MEM, "out of memory, or a name of more than 255 bytes");
}

static void
put_star(struct run *r, json_t *object, json_t *scope)
{
    const char *key;
    json_t *member;

    if (!json_is_object(scope)) {
        (void)run_fail(r, BM_ERR_INPUT,
            "the message is no JSON object, so nothing can be selected beside `*`");
        return;
    }
    json_object_foreach(scope, key, member)
    {
        if (!run_step(r, 1) || json_object_set(object, key, member) != 0)
            return;
    }
}

static json_t *
run_select(struct run *r, const struct select *s, json_t *scope)
{
    json_t *object;

    if (s->count == 1 && s->items[0].expr == NULL)
        return json_incref(scope);
    if (s->bare)
        return run_eval(r, s->items[0].expr, scope);
    object = json_object();
    for (size_t i = 0; i < s->count && r->err == BM_OK; i++) {
        json_t *v;

        if (s->items[i].expr == NULL) {
            put_star(r, object, scope);
            continue;
        }
        v = run_eval(r, s->items[i].expr, scope);
        if (v != NULL && r->err == BM_OK)
            put(r, object, s->items[i].key, v);
        else
            json_decref(v);
    }
    return object;
}

static bool
passes(struct run *r, const struct select *s, json_t *scope)
{
    json_t *v = s->where != NULL ? run_eval(r, s->where, scope) : json_true();
    bool b = false;
    bool is = value_boolean(v, &b) && b;

    json_decref(v);
    return is && r->err == BM_OK;
}

/* Over an array: an array of results. Over an object: one result. (iot-sql-nested-queries) */
static json_t *
eval_query(struct run *r, const struct node *n, json_t *scope)
{
    json_t *from = run_eval(r, n->select->from, scope);
    json_t *result = NULL;
    json_t *element;
    size_t i;

    if (json_is_object(from)) {
        result = passes(r, n->select, from) ? run_select(r, n->select, from) : NULL;
    } else if (json_is_array(from)) {
        result = json_array();
        json_array_foreach(from, i, element)
        {
            json_t *v = NULL;

            if (!run_step(r, 1))
                break;
            if (passes(r, n->select, element))
                v = run_select(r, n->select, element);
            if (v != NULL && json_array_append_new(result, v) != 0)
                (void)run_fail(r, BM_ERR_MEM, "out of memory");
        }
    }
    json_decref(from);
    return result;
}

json_t *
run_eval(struct run *r, const struct node *n, json_t *scope)
{
    if (!run_step(r, 1))
        return NULL;
    switch (n->kind) {
    case NODE_LITERAL:
        return json_incref(n->value);
    case NODE_STAR:
        return NULL; /* only below a call */
    case NODE_NAME:
        return eval_name(r, n, scope);
    case NODE_MEMBER:
        return eval_member(r, n, scope);
    case NODE_CALL:
        return eval_call(r, n, scope);
    case NODE_CAST:
        return eval_cast(r, n, scope);
    case NODE_NOT:
    case NODE_NEGATE:
        return eval_unary(r, n, scope);
    case NODE_BINARY:
        return eval_binary(r, n, scope);
    case NODE_CASE:
        return eval_case(r, n, scope);
    case NODE_OBJECT:
        return eval_object(r, n, scope);
    case NODE_ARRAY:
        return eval_array(r, n, scope);
    case NODE_QUERY:
        return eval_query(r, n, scope);
    }
    return NULL;
}

/* ---- the statement ---- */

static enum bm_err
write_result(struct run *r, const struct sql *s, struct buf *out)
{
    const struct select *select = s->select;
    json_t *v;

    if (select->count == 1 && select->items[0].expr == NULL) {
        buf_add(out, r->m->payload.ptr, r->m->payload.len);
        return out->failed ? BM_ERR_MEM : BM_OK;
    }
    v = run_select(r, select, message_json(r->m));
    if (r->err == BM_OK && !value_write(v, r->version, out))
        (void)run_fail(r, BM_ERR_LIMIT, "the result has more than 1 MB");
    json_decref(v);
    return r->err;
}

enum bm_err
sql_run(
    const struct sql *s, struct sql_message *m, bool *matched, struct buf *out, struct bm_msg *msg)
{
    struct run r = { .m = m, .version = s->version, .msg = msg };

    *matched = s->select->where == NULL;
    if (!*matched) {
        *matched = passes(&r, s->select, message_json(m));
        if (r.err != BM_OK || !*matched)
            return r.err;
    }
    return write_result(&r, s, out);
}

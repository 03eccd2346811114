/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to tree, by recursive descent: one function a level of precedence, OR at the top, `.` at the
 * bottom. The current token is in the parser; the first error stays, and every function gives NULL
 * after it.
 */
#include "sql/inside.h"

#include "wire/topic.h"

#include <stdlib.h>
#include <string.h>

struct parser {
    struct lexer lexer;
    struct token t;
    struct sql *sql; /* owns the nodes */
    enum sql_version version;
    unsigned depth;
    bool template; /* no aws_lambda() */
    enum bm_err err;
    struct bm_msg *msg;
};

static struct node *parse_expr(struct parser *p);
static struct select *parse_select(struct parser *p, bool nested);

static void *
fail(struct parser *p, const char *sentence)
{
    if (p->err == BM_OK)
        p->err = bm_fail(p->msg, BM_ERR_PROTO, "SQL, character %zu: %s", p->t.at, sentence);
    return NULL;
}

static void *
no_memory(struct parser *p)
{
    if (p->err == BM_OK)
        p->err = bm_fail(p->msg, BM_ERR_MEM, "out of memory");
    return NULL;
}

static void *
wanted(struct parser *p, const char *what)
{
    char text[TOKEN_SHOWN_MAX + 1];

    if (p->err != BM_OK)
        return NULL;
    if (p->t.kind == TOKEN_END)
        p->err = bm_fail(
            p->msg, BM_ERR_PROTO, "SQL ends at character %zu where %s must be", p->t.at, what);
    else if (p->t.kind == TOKEN_OPEN)
        p->err =
            bm_fail(p->msg, BM_ERR_PROTO, "SQL, character %zu: the quote is not closed", p->t.at);
    else
        p->err = bm_fail(p->msg, BM_ERR_PROTO, "SQL, character %zu: '%s' where %s must be", p->t.at,
            token_shown(&p->t, text), what);
    return NULL;
}

static void
next(struct parser *p)
{
    p->t = lex_next(&p->lexer);
}

static struct token
peek(const struct parser *p)
{
    struct lexer ahead = p->lexer;

    return lex_next(&ahead);
}

static bool
accept(struct parser *p, const char *word_or_sign)
{
    if (p->err != BM_OK || !token_is(&p->t, word_or_sign))
        return false;
    next(p);
    return true;
}

static bool
expect(struct parser *p, const char *word_or_sign)
{
    char what[24];

    if (accept(p, word_or_sign))
        return true;
    (void)snprintf(what, sizeof what, "%s", word_or_sign);
    (void)wanted(p, what);
    return false;
}

static bool
reserved(const struct token *t)
{
    static const char *const words[] = { "SELECT", "FROM", "WHERE", "AS", "AND", "OR", "NOT", "IN",
        "CASE", "WHEN", "THEN", "ELSE", "END" };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (token_is(t, words[i]))
            return true;
    }
    return false;
}

/* ---- nodes ---- */

static struct node *
node_new(struct parser *p, enum node_kind kind)
{
    struct node *n = p->err == BM_OK ? calloc(1, sizeof *n) : NULL;

    if (n == NULL)
        return no_memory(p);
    n->kind = kind;
    n->owned = p->sql->nodes;
    p->sql->nodes = n;
    return n;
}

static char *
copy(struct parser *p, struct span text)
{
    char *c = p->err == BM_OK ? malloc(text.len + 1) : NULL;

    if (c == NULL)
        return no_memory(p);
    if (text.len > 0)
        memcpy(c, text.ptr, text.len);
    c[text.len] = '\0';
    return c;
}

/* What a quoted token says, doubled quotes made single; NULL after an error. */
static char *
unquoted(struct parser *p)
{
    char *c = copy(p, p->t.text);
    size_t to = 0;
    char quote;

    if (c == NULL)
        return NULL;
    quote = (char)p->t.text.ptr[-1];
    for (size_t i = 0; i < p->t.text.len; i++) {
        c[to++] = c[i];
        i += c[i] == quote;
    }
    c[to] = '\0';
    if (strlen(c) != to) {
        free(c);
        return fail(p, "a zero byte in a text");
    }
    return c;
}

static bool
add(struct parser *p, struct node *n, struct node *kid, char *key)
{
    struct node **kids;
    char **keys;

    if (n == NULL || kid == NULL || p->err != BM_OK) {
        free(key);
        return false;
    }
    kids = realloc(n->kids, (n->count + 1) * sizeof *kids);
    if (kids != NULL)
        n->kids = kids;
    keys = kids != NULL && key != NULL ? realloc(n->keys, (n->count + 1) * sizeof *keys) : NULL;
    if (keys != NULL)
        n->keys = keys;
    if (kids == NULL || (key != NULL && keys == NULL)) {
        free(key);
        (void)no_memory(p);
        return false;
    }
    if (key != NULL)
        keys[n->count] = key;
    kids[n->count++] = kid;
    return true;
}

static void
select_free(struct select *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++)
        free(s->items[i].key);
    free(s->items);
    free(s);
}

void
sql_free_nodes(struct sql *s)
{
    while (s->nodes != NULL) {
        struct node *n = s->nodes;

        s->nodes = n->owned;
        for (size_t i = 0; n->keys != NULL && i < n->count; i++)
            free(n->keys[i]);
        free(n->keys);
        free(n->kids);
        free(n->name);
        json_decref(n->value);
        select_free(n->select);
        free(n);
    }
}

static struct node *
literal(struct parser *p, json_t *value)
{
    struct node *n = node_new(p, NODE_LITERAL);

    if (n != NULL)
        n->value = value;
    else
        json_decref(value);
    return value != NULL ? n : no_memory(p);
}

/* ---- primaries ---- */

static bool
need_2016(struct parser *p, const char *what)
{
    char sentence[480];

    if (p->version != SQL_2015_10_08)
        return true;
    (void)snprintf(sentence, sizeof sentence,
        "%s needs awsIotSqlVersion 2016-03-23; this rule has 2015-10-08 (which is also what a rule "
        "without it has)",
        what);
    (void)fail(p, sentence);
    return false;
}

static struct node *
parse_number(struct parser *p)
{
    char *text = copy(p, p->t.text);
    json_t *value;
    json_error_t e;

    if (text == NULL)
        return NULL;
    /* our numbers are JSON's but for leading zeros */
    value = json_loads(text + strspn(text, "0"), JSON_DECODE_ANY, &e);
    if (value == NULL)
        value = value_number(strtod(text, NULL));
    free(text);
    if (value == NULL)
        return fail(p, "a number that is too large");
    next(p);
    return literal(p, value);
}

static struct node *
parse_text(struct parser *p)
{
    char *text = unquoted(p);
    json_t *value;

    if (text == NULL)
        return NULL;
    value = json_string(text);
    free(text);
    if (value == NULL)
        return fail(p, "a text that is not UTF-8");
    next(p);
    return literal(p, value);
}

static struct node *
parse_cast(struct parser *p)
{
    static const struct {
        const char *name;
        enum cast cast;
        enum sql_version since;
    } types[] = { { "String", CAST_STRING, SQL_2015_10_08 },
        { "Nvarchar", CAST_STRING, SQL_2015_10_08 }, { "Text", CAST_STRING, SQL_2015_10_08 },
        { "Ntext", CAST_STRING, SQL_2015_10_08 }, { "Varchar", CAST_STRING, SQL_2015_10_08 },
        { "Int", CAST_INT, SQL_2015_10_08 }, { "Integer", CAST_INT, SQL_2015_10_08 },
        { "Double", CAST_DECIMAL, SQL_2015_10_08 }, { "Decimal", CAST_DECIMAL, SQL_2016_03_23 },
        { "Bool", CAST_BOOLEAN, SQL_2016_03_23 }, { "Boolean", CAST_BOOLEAN, SQL_2016_03_23 } };
    struct node *n = node_new(p, NODE_CAST);

    if (n == NULL || !add(p, n, parse_expr(p), NULL) || !expect(p, "AS"))
        return NULL;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!token_is(&p->t, types[i].name))
            continue;
        if (types[i].since != SQL_2015_10_08 && !need_2016(p, types[i].name))
            return NULL;
        n->cast = types[i].cast;
        next(p);
        return expect(p, ")") ? n : NULL;
    }
    return wanted(p, "a type (String, Int, Decimal, Boolean, ...)");
}

/* After the opening parenthesis. */
static struct node *
parse_arguments(struct parser *p, struct node *call)
{
    if (accept(p, ")"))
        return call;
    do {
        struct node *arg;

        if (token_is(&p->t, "*")) {
            if (!call->function->raw || call->count > (strcmp(call->function->name, "encode") != 0))
                return wanted(p, "an expression");
            next(p);
            arg = node_new(p, NODE_STAR);
        } else {
            arg = parse_expr(p);
        }
        if (!add(p, call, arg, NULL))
            return NULL;
        if (call->count > ARGS_ANY)
            return fail(p, "too many arguments");
    } while (accept(p, ","));
    return expect(p, ")") ? call : NULL;
}

static struct node *
parse_call(struct parser *p)
{
    struct token name = p->t;
    const struct function *f = function_find(name.text);
    char sentence[300];
    char shown[TOKEN_SHOWN_MAX + 1];
    struct node *n;

    if (token_is(&name, "cast")) {
        next(p);
        next(p);
        return parse_cast(p);
    }
    (void)token_shown(&name, shown);
    if (f == NULL || f->missing != NULL) {
        (void)snprintf(sentence, sizeof sentence,
            f == NULL ? "there is no function %s()" : "%s() is not built here: %s", shown,
            f != NULL ? f->missing : "");
        return fail(p, sentence);
    }
    if (p->template && strcmp(f->name, "aws_lambda") == 0)
        return fail(p, "aws_lambda() is for the statement, not for an action's text");
    (void)snprintf(sentence, sizeof sentence, "%s()", f->name);
    if (f->since != SQL_2015_10_08 && !need_2016(p, sentence))
        return NULL;
    n = node_new(p, NODE_CALL);
    if (n == NULL)
        return NULL;
    n->function = f;
    next(p);
    next(p);
    return parse_arguments(p, n);
}

static struct node *
parse_case(struct parser *p)
{
    struct node *n = node_new(p, NODE_CASE);

    if (!add(p, n, parse_expr(p), NULL))
        return NULL;
    if (!token_is(&p->t, "WHEN"))
        return wanted(p, "WHEN");
    while (accept(p, "WHEN")) {
        if (!add(p, n, parse_expr(p), NULL) || !expect(p, "THEN") ||
            !add(p, n, parse_expr(p), NULL))
            return NULL;
    }
    if (accept(p, "ELSE") && !add(p, n, parse_expr(p), NULL))
        return NULL;
    return expect(p, "END") ? n : NULL;
}

static struct node *
parse_object(struct parser *p)
{
    struct node *n = need_2016(p, "an object in the statement") ? node_new(p, NODE_OBJECT) : NULL;

    if (n == NULL || accept(p, "}"))
        return n;
    do {
        char *key;

        if (p->t.kind != TOKEN_TEXT)
            return wanted(p, "a quoted key");
        key = unquoted(p);
        next(p);
        if (key == NULL || !expect(p, ":")) {
            free(key);
            return NULL;
        }
        if (!add(p, n, parse_expr(p), key))
            return NULL;
    } while (accept(p, ","));
    return expect(p, "}") ? n : NULL;
}

static struct node *
parse_array(struct parser *p)
{
    struct node *n = need_2016(p, "an array in the statement") ? node_new(p, NODE_ARRAY) : NULL;

    if (n == NULL || accept(p, "]"))
        return n;
    do {
        if (!add(p, n, parse_expr(p), NULL))
            return NULL;
    } while (accept(p, ","));
    return expect(p, "]") ? n : NULL;
}

static struct node *
parse_query(struct parser *p)
{
    struct node *n = need_2016(p, "a nested query") ? node_new(p, NODE_QUERY) : NULL;

    if (n == NULL)
        return NULL;
    n->select = parse_select(p, true);
    return n->select != NULL && expect(p, ")") ? n : NULL;
}

static struct node *
parse_name(struct parser *p)
{
    struct node *n;

    if (token_is(&p->t, "true") || token_is(&p->t, "false")) {
        n = literal(p, json_boolean(token_is(&p->t, "true")));
    } else if (token_is(&p->t, "null")) {
        n = literal(p, json_null());
    } else {
        n = node_new(p, NODE_NAME);
        if (n != NULL)
            n->name = copy(p, p->t.text);
    }
    next(p);
    return p->err == BM_OK ? n : NULL;
}

static struct node *
parse_primary(struct parser *p)
{
    struct token after = peek(p);
    struct node *n;

    if (p->t.kind == TOKEN_NUMBER)
        return parse_number(p);
    if (p->t.kind == TOKEN_TEXT)
        return parse_text(p);
    if (token_is(&p->t, "CASE") && !token_is(&after, ".")) {
        next(p);
        return parse_case(p);
    }
    if (p->t.kind == TOKEN_WORD && token_is(&after, "(") && !reserved(&p->t))
        return parse_call(p);
    if (p->t.kind == TOKEN_WORD && !reserved(&p->t))
        return parse_name(p);
    if (accept(p, "{"))
        return parse_object(p);
    if (accept(p, "["))
        return parse_array(p);
    if (!accept(p, "("))
        return wanted(p, "an expression");
    if (token_is(&p->t, "SELECT"))
        return parse_query(p);
    n = parse_expr(p);
    return n != NULL && expect(p, ")") ? n : NULL;
}

static struct node *
parse_members(struct parser *p)
{
    struct node *n = parse_primary(p);

    while (n != NULL && accept(p, ".")) {
        struct node *member;

        if (p->t.kind != TOKEN_WORD)
            return wanted(p, "a member's name (get(object, 'name') reads names with other signs)");
        member = node_new(p, NODE_MEMBER);
        if (!add(p, member, n, NULL))
            return NULL;
        member->name = copy(p, p->t.text);
        next(p);
        n = member;
    }
    return p->err == BM_OK ? n : NULL;
}

/* ---- operators ---- */

static struct node *
unary(struct parser *p, enum node_kind kind, struct node *kid)
{
    struct node *n = kid != NULL ? node_new(p, kind) : NULL;

    return add(p, n, kid, NULL) ? n : NULL;
}

static struct node *
parse_negate(struct parser *p)
{
    struct node *n;

    if (!accept(p, "-"))
        return parse_members(p);
    if (++p->depth > SQL_DEPTH_MAX)
        return fail(p, "too many expressions in each other");
    n = unary(p, NODE_NEGATE, parse_negate(p));
    p->depth--;
    return n;
}

struct operator
{
    const char *sign;
    enum binary op;
};

/* Operators of one level, from left to right; `below` parses their operands. */
static struct node *
parse_level(struct parser *p, const struct operator* ops, struct node *(*below)(struct parser *))
{
    struct node *left = below(p);
    const struct operator* o = ops;

    while (left != NULL && o->sign != NULL) {
        struct node *n;

        if (!accept(p, o->sign)) {
            o++;
            continue;
        }
        n = node_new(p, NODE_BINARY);
        if (!add(p, n, left, NULL) || !add(p, n, below(p), NULL))
            return NULL;
        n->op = o->op;
        left = n;
        o = ops;
    }
    return left;
}

static struct node *
parse_product(struct parser *p)
{
    static const struct operator ops[] = { { "*", OP_MUL }, { "/", OP_DIV }, { "%", OP_MOD },
        { NULL, OP_OR } };

    return parse_level(p, ops, parse_negate);
}

static struct node *
parse_sum(struct parser *p)
{
    static const struct operator ops[] = { { "+", OP_ADD }, { "-", OP_SUB }, { NULL, OP_OR } };

    return parse_level(p, ops, parse_product);
}

static struct node *
parse_comparison(struct parser *p)
{
    static const struct operator ops[] = { { "=", OP_EQ }, { "<>", OP_NE }, { "<=", OP_LE },
        { ">=", OP_GE }, { "<", OP_LT }, { ">", OP_GT }, { "IN", OP_IN }, { NULL, OP_OR } };

    return parse_level(p, ops, parse_sum);
}

static struct node *
parse_not(struct parser *p)
{
    struct node *n;

    if (!accept(p, "NOT"))
        return parse_comparison(p);
    if (++p->depth > SQL_DEPTH_MAX)
        return fail(p, "too many expressions in each other");
    n = unary(p, NODE_NOT, parse_not(p));
    p->depth--;
    return n;
}

static struct node *
parse_and(struct parser *p)
{
    static const struct operator ops[] = { { "AND", OP_AND }, { NULL, OP_OR } };

    return parse_level(p, ops, parse_not);
}

static struct node *
parse_expr(struct parser *p)
{
    static const struct operator ops[] = { { "OR", OP_OR }, { NULL, OP_OR } };
    struct node *n;

    if (++p->depth > SQL_DEPTH_MAX)
        return fail(p, "too many expressions in each other");
    n = parse_level(p, ops, parse_and);
    p->depth--;
    return n;
}

/* ---- SELECT ---- */

/* AS name, AS a.b, AS 'any text' */
static char *
parse_alias(struct parser *p)
{
    struct buf path = { 0 };
    char *alias;

    if (p->t.kind == TOKEN_TEXT) {
        alias = unquoted(p);
        next(p);
        return alias;
    }
    do {
        if (p->t.kind != TOKEN_WORD || (path.len == 0 && reserved(&p->t))) {
            buf_fini(&path);
            return wanted(p, "a name");
        }
        buf_addf(&path, "%s%.*s", path.len > 0 ? "." : "", (int)p->t.text.len,
            (const char *)p->t.text.ptr);
        next(p);
    } while (accept(p, "."));
    alias = path.failed ? no_memory(p) : copy(p, buf_span(&path));
    buf_fini(&path);
    return alias;
}

/* Without AS: the last part of a path, the function's name. SPEC aws-iot 5.2. */
static char *
implied_key(struct parser *p, const struct node *n)
{
    const char *name = n->kind == NODE_NAME || n->kind == NODE_MEMBER ? n->name
                       : n->kind == NODE_CALL                         ? n->function->name
                                                                      : NULL;

    if (name == NULL)
        return fail(p, "the expression before this needs a name: AS name");
    return copy(p, span_str(name));
}

static bool
parse_item(struct parser *p, struct select *s)
{
    struct item *items = realloc(s->items, (s->count + 1) * sizeof *items);
    struct item *item;

    if (items == NULL) {
        (void)no_memory(p);
        return false;
    }
    s->items = items;
    item = &items[s->count++];
    *item = (struct item){ 0 };
    if (accept(p, "*"))
        return true;
    item->expr = parse_expr(p);
    if (item->expr == NULL)
        return false;
    if (accept(p, "AS"))
        item->key = parse_alias(p);
    else if (!s->bare)
        item->key = implied_key(p, item->expr);
    return p->err == BM_OK;
}

/* VALUE is a keyword only where an expression follows; else it is a member of that name. */
static bool
accept_value(struct parser *p)
{
    struct lexer ahead = p->lexer;
    struct token t = lex_next(&ahead);
    struct token after = lex_next(&ahead);

    if (!token_is(&p->t, "VALUE"))
        return false;
    if (t.kind == TOKEN_NUMBER || t.kind == TOKEN_TEXT || token_is(&t, "(") || token_is(&t, "{") ||
        token_is(&t, "[") || token_is(&t, "CASE") || token_is(&t, "NOT") ||
        (token_is(&t, "*") && token_is(&after, "FROM")) ||
        (t.kind == TOKEN_WORD && !reserved(&t))) {
        next(p);
        return true;
    }
    return false;
}

static void
parse_topic_filter(struct parser *p)
{
    char text[TOKEN_SHOWN_MAX + 1];
    char *filter;

    if (p->t.kind != TOKEN_TEXT) {
        (void)wanted(p, "a quoted topic filter");
        return;
    }
    filter = unquoted(p);
    if (filter == NULL)
        return;
    if (*filter == '\0' || !mqtt_filter_valid(span_str(filter)))
        p->err = bm_fail(p->msg, BM_ERR_PROTO,
            "SQL, character %zu: '%s' is no topic filter; '+' stands for one whole level, '#' for "
            "all further ones at the end",
            p->t.at, token_shown(&p->t, text));
    buf_add(&p->sql->filter, filter, strlen(filter) + 1);
    if (p->sql->filter.failed)
        (void)no_memory(p);
    free(filter);
    next(p);
}

/* Without one the rule is for Basic Ingest only. SPEC aws-iot 8 */
static void
parse_from(struct parser *p)
{
    if (accept(p, "FROM")) {
        parse_topic_filter(p);
        return;
    }
    buf_add(&p->sql->filter, "", 1);
    if (p->sql->filter.failed)
        (void)no_memory(p);
}

static void
parse_clauses(struct parser *p, struct select *s, bool nested)
{
    s->bare = accept_value(p);
    do {
        if (!parse_item(p, s))
            return;
    } while (accept(p, ","));
    if (s->bare && s->count > 1)
        (void)fail(p, "SELECT VALUE takes one expression");
    if (nested && expect(p, "FROM"))
        s->from = parse_expr(p);
    else if (!nested)
        parse_from(p);
    if (accept(p, "WHERE"))
        s->where = parse_expr(p);
}

static struct select *
parse_select(struct parser *p, bool nested)
{
    struct select *s = expect(p, "SELECT") ? calloc(1, sizeof *s) : NULL;

    if (s == NULL)
        return p->err == BM_OK ? no_memory(p) : NULL;
    if (++p->depth > SQL_DEPTH_MAX)
        (void)fail(p, "too many queries in each other");
    else
        parse_clauses(p, s, nested);
    p->depth--;
    if (p->err != BM_OK) {
        select_free(s);
        return NULL;
    }
    return s;
}

enum bm_err
sql_parse(struct span text, enum sql_version version, struct sql **out, struct bm_msg *msg)
{
    struct parser p = { .lexer = { text, 0 }, .version = version, .msg = msg };

    *out = NULL;
    if (text.len > SQL_TEXT_MAX)
        return bm_fail(
            msg, BM_ERR_PROTO, "SQL has %zu bytes; at most %d are taken", text.len, SQL_TEXT_MAX);
    p.sql = calloc(1, sizeof *p.sql);
    if (p.sql == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    p.sql->version = version;
    next(&p);
    p.sql->select = parse_select(&p, false);
    if (p.err == BM_OK && p.t.kind != TOKEN_END)
        (void)wanted(&p, p.sql->select->where != NULL ? "the end"
                         : *sql_filter(p.sql) != '\0' ? "WHERE or the end"
                                                      : "FROM, WHERE or the end");
    if (p.err != BM_OK) {
        sql_free(p.sql);
        return p.err;
    }
    *out = p.sql;
    return BM_OK;
}

enum bm_err
sql_parse_expression(struct lexer *l, const char *end, enum sql_version version, struct sql *owner,
    struct node **out, struct bm_msg *msg)
{
    struct parser p = {
        .lexer = *l, .version = version, .sql = owner, .template = true, .msg = msg
    };

    next(&p);
    *out = parse_expr(&p);
    if (p.err == BM_OK && !token_is(&p.t, end))
        (void)wanted(&p, end);
    l->at = p.lexer.at; /* behind `end` */
    return p.err;
}

void
sql_free(struct sql *s)
{
    if (s == NULL)
        return;
    sql_free_nodes(s);
    select_free(s->select);
    buf_fini(&s->filter);
    free(s);
}

const char *
sql_filter(const struct sql *s)
{
    return (const char *)s->filter.ptr;
}

bool
sql_version_of(const char *name, enum sql_version *out)
{
    static const char *const names[] = {
        [SQL_2015_10_08] = "2015-10-08", [SQL_2016_03_23] = "2016-03-23", [SQL_BETA] = "beta"
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum sql_version)i;
            return true;
        }
    }
    return false;
}

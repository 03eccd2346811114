/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the SQL: tokens, the tree, values and functions.
 *
 * A value is a json_t with a reference of its own, and Undefined is NULL. So every member that is
 * not there, every conversion that is not possible and every failure of a function is the same
 * NULL, and travels up by itself; running out of a limit is `run.err`, which ends the evaluation.
 */
#ifndef BM_SQL_INSIDE_H
#define BM_SQL_INSIDE_H

#include "sql/sql.h"

/* ---- tokens ---- */

enum token_kind {
    TOKEN_END,
    TOKEN_WORD,
    TOKEN_NUMBER,
    TOKEN_TEXT,
    TOKEN_SIGN,
    TOKEN_OPEN,
    TOKEN_BAD
};

struct token {
    enum token_kind kind;
    struct span text; /* TOKEN_TEXT: between the quotes, a doubled quote still doubled */
    size_t at;        /* character from 1 */
};

struct lexer {
    struct span in;
    size_t at; /* from 0 */
};

struct token lex_next(struct lexer *l);
bool token_is(const struct token *t, const char *word_or_sign); /* letters of any case */
enum { TOKEN_SHOWN_MAX = 60 };
/* For a message: its start, printable whatever the encoding. */
const char *token_shown(const struct token *t, char out[TOKEN_SHOWN_MAX + 1]);

/* ---- tree ---- */

enum node_kind {
    NODE_LITERAL, /* value */
    NODE_STAR,    /* the whole message */
    NODE_NAME,    /* name, of the message or of the element that a nested query is at */
    NODE_MEMBER,  /* kids[0].name */
    NODE_CALL,    /* function(kids) */
    NODE_CAST,    /* kids[0] as cast */
    NODE_NOT,
    NODE_NEGATE,
    NODE_BINARY, /* kids[0] op kids[1] */
    NODE_CASE,   /* kids: v, then pairs of t and r, then `else` when their number is even */
    NODE_OBJECT, /* kids with `keys` */
    NODE_ARRAY,
    NODE_QUERY, /* select */
};

enum binary {
    OP_OR,
    OP_AND,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD
};

enum cast { CAST_STRING, CAST_INT, CAST_DECIMAL, CAST_BOOLEAN };

struct function;

struct node {
    struct node *owned; /* the list of all nodes of a statement */
    enum node_kind kind;
    enum binary op;
    enum cast cast;
    const struct function *function;
    char *name;
    json_t *value;
    struct node **kids;
    char **keys; /* NODE_OBJECT: one a kid */
    size_t count;
    struct select *select;
};

struct item {
    struct node *expr; /* NULL: `*` */
    char *key;         /* may be a path a.b; NULL with SELECT VALUE */
};

struct select {
    bool bare; /* SELECT VALUE */
    struct item *items;
    size_t count;
    struct node *from; /* of a nested query */
    struct node *where;
};

struct sql {
    enum sql_version version;
    struct buf filter; /* terminated */
    struct select *select;
    struct node *nodes;
};

/* A lone expression that ends where `l` stands before `end` (a sign). For templates. */
enum bm_err sql_parse_expression(struct lexer *l, const char *end, enum sql_version version,
    struct sql *owner, struct node **out, struct bm_msg *msg);
void sql_free_nodes(struct sql *s);

/* ---- running ---- */

struct run {
    struct sql_message *m;
    enum sql_version version;
    unsigned steps;
    size_t made;  /* bytes of text made so far */
    size_t calls; /* aws_lambda() so far */
    enum bm_err err;
    struct bm_msg *msg;
};

/* Fail the evaluation; NULL. */
json_t *run_fail(struct run *r, enum bm_err err, const char *sentence);
/* Count `steps`; false when there were too many. */
bool run_step(struct run *r, unsigned steps);
/* A new String; Undefined when `text` is not UTF-8. Counted. */
json_t *run_text(struct run *r, const void *text, size_t len);
/* Value of `n`; `scope`: what names are looked up in. */
json_t *run_eval(struct run *r, const struct node *n, json_t *scope);
/* The payload as JSON, or NULL. */
json_t *message_json(struct sql_message *m);

/* ---- values: the standard conversions (developer guide, iot-sql-data-types) ---- */

bool value_decimal(json_t *v, double *out);
bool value_int(json_t *v, json_int_t *out);      /* to the nearest */
bool value_int_down(json_t *v, json_int_t *out); /* as most functions say */
bool value_boolean(json_t *v, bool *out);
/* Appends; false: Null, Undefined, or too long. */
bool value_text(json_t *v, enum sql_version version, struct buf *out);
bool value_equal(json_t *a, json_t *b);
/* Appends the JSON text; false when it gets longer than SQL_RESULT_MAX. */
bool value_write(json_t *v, enum sql_version version, struct buf *out);
/* Shortest decimal text that reads back as `d`. */
enum { DOUBLE_TEXT_MAX = 32 };
void double_text(double d, char out[DOUBLE_TEXT_MAX]);
json_t *value_number(double d); /* Undefined when not finite */

/* ---- functions ---- */

enum { ARGS_ANY = 255 };

struct function {
    const char *name;
    uint8_t min; /* with another number of arguments the result is Undefined */
    uint8_t max;
    enum sql_version since;
    bool raw; /* `*` as first argument is the payload's bytes */
    json_t *(*run)(struct run *r, json_t **args, size_t count); /* args borrowed */
    const char *missing; /* not NULL: known, not built, because */
};
const struct function *function_find(struct span name); /* letters of any case */
extern const struct function number_functions[];        /* each ends with one without a name */
extern const struct function text_functions[];

/* Where character `index` of UTF-8 text begins; its length for an index behind the end. */
size_t text_at(struct span s, json_int_t index);

json_t *sql_parse_time(struct run *r, json_t **args, size_t count);
json_t *sql_time_to_epoch(struct run *r, json_t **args, size_t count);
json_t *sql_regexp_matches(struct run *r, json_t **args, size_t count);
json_t *sql_regexp_replace(struct run *r, json_t **args, size_t count);
json_t *sql_regexp_substr(struct run *r, json_t **args, size_t count);

#endif

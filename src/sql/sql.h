/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules engine's SQL: parse once, run for each message. SPEC aws-iot 5.1, 5.2.
 *
 * A statement is checked whole when it is parsed: an unknown function, one of another SQL version
 * and one that is not built are refused with the place where they stand, because a rule that is
 * accepted and then does something else is worse than none. Evaluation cannot loop or allocate
 * without bound: steps, text and results are counted (SQL_STEPS_MAX, SQL_RESULT_MAX).
 *
 * Numbers are 64-bit integers and doubles, where the service has 34 decimal digits. One thread.
 */
#ifndef BM_SQL_SQL_H
#define BM_SQL_SQL_H

#include "base/bytes.h"

#include <jansson.h>

struct sql;
struct sql_template;

enum sql_version { SQL_2015_10_08, SQL_2016_03_23, SQL_BETA };

enum {
    SQL_TEXT_MAX = 256 * 1024,    /* bytes of a statement */
    SQL_DEPTH_MAX = 64,           /* expressions in expressions */
    SQL_STEPS_MAX = 200 * 1000,   /* expressions evaluated and elements visited, a message */
    SQL_RESULT_MAX = 1024 * 1024, /* bytes of a text, and of the result */
    SQL_CALLS_MAX = 8,            /* aws_lambda() calls of one evaluation */
};

/* "2015-10-08", "2016-03-23" or "beta"; false for another text. */
bool sql_version_of(const char *name, enum sql_version *out);

/*
 * BM_ERR_PROTO: the sentence for SqlParseException, with the character (from 1) where it goes
 * wrong. *out is the caller's, to sql_free; NULL after an error.
 */
enum bm_err sql_parse(
    struct span text, enum sql_version version, struct sql **out, struct bm_msg *msg);
void sql_free(struct sql *s); /* takes NULL */
/* The FROM topic filter, terminated; borrowed. Empty: none, so no topic matches. */
const char *sql_filter(const struct sql *s);

/* What a function answered to aws_lambda(); in the order of the calls. */
struct sql_call {
    const char *arn; /* of the call that is to be made; borrowed from the message */
    json_t *input;   /* what the function gets; owned by the message */
    json_t *answer;  /* given by the caller once it is there; owned by the message */
};

/*
 * One message. Zero-initialise, set what is borrowed, sql_message_fini when no statement uses it
 * any more. The same message may be run through any number of statements and templates; `calls`
 * belong to one statement: sql_message_forget between two.
 */
struct sql_message {
    struct span topic;
    struct span payload;
    struct span client_id; /* empty: not by MQTT */
    const char *principal; /* certificate id; NULL: none */
    const char *account;
    const char *trace_id; /* NULL: none */
    int64_t now_ms;       /* of the epoch; what timestamp() answers */
    /* owned */
    json_t *json; /* the payload, once it was looked at; NULL when it is no JSON */
    bool looked;
    struct sql_call calls[SQL_CALLS_MAX];
    size_t call_count;
};
void sql_message_fini(struct sql_message *m);
void sql_message_forget(struct sql_message *m);

/*
 * WHERE, then SELECT. *matched is false when WHERE is not true. Appends the result to `out`: JSON,
 * or the payload's own bytes for `SELECT *`; nothing when it is Undefined.
 * BM_ERR_MORE: aws_lambda(): the last of m->calls wants an answer; set it and run again.
 * BM_ERR_INPUT: the message is no JSON and the statement reads a name from it. BM_ERR_LIMIT.
 */
enum bm_err sql_run(
    const struct sql *s, struct sql_message *m, bool *matched, struct buf *out, struct bm_msg *msg);

/*
 * Text with ${expression} in it, as in the members of an action: always about the message, not
 * about what SELECT made of it. aws_lambda() is refused. Errors as for sql_parse and sql_run.
 */
enum bm_err sql_template_parse(
    const char *text, enum sql_version version, struct sql_template **out, struct bm_msg *msg);
void sql_template_free(struct sql_template *t); /* takes NULL */
/* Appends; an Undefined or Null expression is no text at all. */
enum bm_err sql_template_run(
    const struct sql_template *t, struct sql_message *m, struct buf *out, struct bm_msg *msg);

#endif

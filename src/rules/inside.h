/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the rules: a rule as it was read, and one evaluation of it.
 *
 * An evaluation lives on the stack while everything it needs is there. What has to wait (an answer
 * of aws_lambda(), an HTTP request) keeps a copy of it, which holds the rule: the set of rules may
 * be read again meanwhile.
 */
#ifndef BM_RULES_INSIDE_H
#define BM_RULES_INSIDE_H

#include "http/client.h"
#include "rules/rules.h"
#include "sql/sql.h"

enum {
    HEADERS_MAX = 100,
    HOPS_MAX = 8,      /* republished messages that cause republished messages */
    WAITING_MAX = 200, /* evaluations that wait for something */
};

enum action_kind { ACTION_LAMBDA, ACTION_REPUBLISH, ACTION_HTTP };

struct header {
    char *key;
    struct sql_template *value;
};

struct action {
    enum action_kind kind;
    char function[REGISTRY_NAME_MAX + 1]; /* lambda */
    struct sql_template *text;            /* republish: topic; http: url */
    int qos;
    struct header *headers; /* http */
    size_t header_count;
};

/* A destination as the registry has it. */
struct destination {
    struct destination *next;
    struct registry_destination stored;
    bool sent; /* the confirmation with this token, by this process */
};

/* How much was said of something in a second. */
struct recorded {
    int64_t second; /* of the last record */
    unsigned count; /* in it */
};

struct rule {
    struct rule *next;
    unsigned refs;
    char name[REGISTRY_NAME_MAX + 1];
    struct sql *sql;
    bool disabled;
    struct action actions[RULES_ACTIONS_MAX];
    size_t action_count;
    struct action error_action;
    bool has_error_action;
    struct rules_count count;
    struct recorded recorded[2]; /* matches, failures */
};

struct rules {
    struct rules_options options;
    char *region;
    char *account;
    struct rule *rules;
    const char **filters; /* of the enabled rules, borrowed from them */
    size_t filter_count;
    struct http_client *http;
    struct destination *destinations;
    struct confirmation *confirmations; /* under way */
    char *api_url;                      /* NULL: not known yet, and none is sent */
    struct waiting *waiting;            /* all of them */
    size_t waiting_count;
    struct republished *first; /* to be evaluated, in order */
    struct republished **last;
    bool draining;
    bool unstored; /* of the message that is evaluated: something could not be stored */
    struct recorded ingest_unknown; /* messages for rules that are not there */
};

/* One rule on one message. Borrows the message's bytes, but in a copy (waiting.c). */
struct evaluation {
    struct rules *rules;
    struct rule *rule;
    struct sql_message m;
    const uint8_t *cert_id; /* whose timeline; NULL: none */
    char principal[2 * REGISTRY_ID_LEN + 1];
    char trace_id[40];
    unsigned hops;
    bool durable; /* as of rules_message */
    struct buf result;
    json_t *failures; /* NULL: none yet */
    bool in_error_action;
};

/* ---- read.c ---- */

/* The JSON of a topicRulePayload. BM_ERR_INPUT, BM_ERR_PROTO (SQL). *out has one reference. */
enum bm_err rule_read(struct rules *r, struct span payload, struct rule **out, struct bm_msg *msg);
void rule_drop(struct rule *rule); /* takes NULL */

/* ---- action.c ---- */

/* Run the actions on e->result; then the error action, when one failed. */
void actions_run(struct evaluation *e);
/* Note a failure, for the timeline and for error_action_run. */
void action_failed(struct evaluation *e, const char *action, const char *resource, const char *why);
/* The error action on all failures that were noted, if any. */
void error_action_run(struct evaluation *e);

/* ---- waiting.c ---- */

/* Ask the function of the call that e->m wants, then go on with a copy of `e`. */
void wait_for_function(struct evaluation *e);
/* Make the request with a copy of `e`, which ends with it. */
void wait_for_http(struct evaluation *e, const struct action *action);
void waiting_end(struct rules *r);

/* ---- destination.c ---- */

/* Read them again, and send the confirmations that are to be sent. */
enum bm_err destinations_load(struct rules *r, struct bm_msg *msg);
void destinations_end(struct rules *r);
/* May a rule POST there? BM_ERR_CONFLICT, with the cause and its cure. */
enum bm_err destination_allows(struct rules *r, const char *url, struct bm_msg *msg);

/* ---- rules.c ---- */

/* WHERE, SELECT, actions; or wait and come back here. */
void evaluation_run(struct evaluation *e);
void evaluation_fini(struct evaluation *e);
/* Rules see e->result, republished to `topic`, after the message that is evaluated now. */
void rules_republished(const struct evaluation *e, struct span topic);
/* false: one of too many in this second, and not recorded */
bool rules_record(struct evaluation *e, enum cause cause, const char *facts);

#endif

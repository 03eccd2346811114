/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the unit tests of src/api: the control plane in one process with a real registry, asked over
 * loopback by a small client that signs its requests (its own few lines of SigV4, not the
 * verifier's). Packages and running functions are the business of tests/scenario/api.sh, which has
 * the real clients.
 */
#ifndef BM_TESTS_UNIT_API_WORLD_H
#define BM_TESTS_UNIT_API_WORLD_H

#include "api/api.h"

#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ASSERT_HAS(text, part) assert_non_null(strstr((text), (part)))
#define ACCOUNT "123456789012"
#define NO_ID "0123456789012345678901234567890123456789012345678901234567890123"
#define FUNCTIONS "/2015-03-31/functions"
#define FUNCTION_ARN "arn:aws:lambda:eu-west-1:" ACCOUNT ":function:f"
#define OPEN_POLICY                                                                                \
    "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"iot:*\","       \
    "\"Resource\":\"*\"}]}"

enum { DEADLINE_MS = 60 * 1000, REPLY_MAX = 1 << 20 };

struct reply {
    int status;
    char error[64]; /* x-amzn-ErrorType */
    char message[1100];
    char head[2048];
    struct buf body;
    json_t *json;
};

struct world {
    char dir[64];
    struct loop *loop;
    struct registry *registry;
    struct pki_authority *authority;
    struct lambda *lambda;
    struct rules *rules;
    struct api_account account;
    struct api *api;
    bool commit_fails;
    bool commit_asked;
    bool broker_down;
    bool broker_late; /* it answers in a later round, */
    bool broker_dies; /* or does not */
    void (*publish_done)(void *arg, enum bm_err err);
    void *publish_call;
    unsigned create_policy_max; /* so many are within the rate; 0: all */
    unsigned policies_created;
    struct buf published; /* topic, LF, payload, qos, retain of the last Publish */
    /* how requests are signed */
    const char *service;
    const char *secret;
    int skew_s;
    const char *extra_name; /* one signed header more */
    const char *extra_value;
    bool unsigned_request;
    struct reply reply;
    /* the client's side */
    int fd;
    struct buf in;
    struct loop_watch *watch;
    bool late;
};

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct bm_msg msg = { "" };                                                                \
        if ((call) != BM_OK)                                                                       \
            fail_msg("%s: %s", #call, msg.text);                                                   \
    } while (0)

int setup(void **state);
int teardown(void **state);
/* Ask and expect a status, and with it an error's name (NULL: none) and part of its message. */
void expect(struct world *w, const char *method, const char *target, const char *body, int status,
    const char *error, const char *says);
void expect_ok(struct world *w, const char *method, const char *target, const char *body);
/* A text of the last answer; `outer` may be NULL. */
const char *text_of(const struct world *w, const char *outer, const char *member);

/* ---- certificates ---- */

/* Whoever has a key and a certificate. */
struct party {
    X509 *cert;
    EVP_PKEY *key;
};

void party_fini(struct party *p);
/* by NULL: self-signed CA. days < 0: expired. */
struct party make_party(const char *cn, const struct party *by, int days);
json_t *pem_json(X509 *x);
json_t *file_json(const char *name);
/* {"a": x, "b": y}; both are taken, b may be NULL. */
char *body_of(const char *a, json_t *x, const char *b, json_t *y);
void expect_body(struct world *w, const char *method, const char *target, char *body, int status,
    const char *error, const char *says);
void id_of(X509 *x, char hex[65]);
void registration_code(struct world *w, char out[65]);
/* Register `ca`; query is "" or "?setAsActive=true". */
void register_ca(struct world *w, const struct party *ca, const char *query, int status,
    const char *error, const char *says);
/* A registered leaf; returns its id in hex. */
void register_leaf(struct world *w, const struct party *ca, const char *status, char id[65]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane: the part of the AWS IoT, IoT data and Lambda REST APIs that is built, on one
 * port. SPEC aws-iot 1, 2.
 *
 * The access key that signed a request chooses the account; each account has a registry of its own,
 * so that an operation cannot reach another one's.
 *
 * Every request's SigV4 signature is verified before anything else. An operation that is not built
 * answers 501 with a sentence, never a pretended success. A reply leaves only after the registry
 * committed what it confirms.
 */
#ifndef BM_API_API_H
#define BM_API_API_H

#include "http/http.h"
#include "lambda/lambda.h"
#include "pki/pki.h"
#include "registry/registry.h"
#include "rules/rules.h"

struct api;

/* What belongs to one account and is seen by its keys alone. */
struct api_account {
    const char *number; /* 12 digits */
    struct registry *registry;
    struct lambda *lambda;
    struct rules *rules;
    const char *endpoint_address; /* DescribeEndpoint: the MQTT endpoint's host name */
    void *arg;                    /* of the calls below */
};

typedef void (*api_retained_fn)(void *arg, const char *topic, struct span payload, int qos);
typedef void (*api_done_fn)(void *arg, enum bm_err err);

struct api_key {
    const char *access_key;
    const char *secret_key;
    size_t account; /* index */
};

/* Region and account go into ARNs. All borrowed until api_close. */
struct api_options {
    struct loop *loop;
    struct pki_authority *authority;
    const char *host; /* listen address */
    uint16_t port;
    const char *region;
    const struct api_account *accounts;
    size_t account_count;
    const struct api_key *keys;
    size_t key_count;
    /*
     * iot-data Publish: hand the message to the broker and the rules. BM_OK: it is done.
     * BM_ERR_MORE: `done` is called once, from the loop and never from within, when it is stored,
     * or with BM_ERR_IO when it may be lost. Else: broker down.
     */
    enum bm_err (*publish)(void *arg, struct span topic, struct span payload, int qos, bool retain,
        api_done_fn done, void *call);
    /*
     * The retained messages of these topics, which the broker has: `each` for every one that there
     * is, then `done` once, from the loop and never from within. BM_ERR_IO: broker down.
     */
    enum bm_err (*retained)(void *arg, const char *const *topics, size_t count,
        api_retained_fn each, api_done_fn done, void *call);
    /*
     * Commit the account's open group, which may hold the changes of others who must hear when it
     * fails. NULL: registry_commit.
     */
    enum bm_err (*commit)(void *arg, struct bm_msg *msg);
    /*
     * Commit soon, together with what else comes in this round of the loop, and then call
     * api_committed. NULL: each change is committed on its own.
     */
    void (*commit_soon)(void *arg);
    /*
     * May this operation of AWS IoT run now, in this account? 0: yes, and it counts; else so many
     * a second are allowed. NULL: nothing is limited.
     */
    unsigned (*rate)(void *arg, const char *operation);
};
enum bm_err api_open(const struct api_options *options, struct api **out, struct bm_msg *msg);
/*
 * Unanswered requests are dropped. Close it before `lambda`, and let the loop not run in between:
 * an invocation that a request waits for would answer to nobody. Takes NULL.
 */
void api_close(struct api *a);
uint16_t api_port(const struct api *a);

/*
 * A request of another server of ours, whose sender is known to have the key `key` (an index; the
 * console's session), as the operation of `path` (borrowed until the reply); no signature is asked
 * for. The method, query, headers and body are the request's.
 */
void api_serve(struct api *a, struct http_request *rq, const char *path, size_t key);

/* The account's group was committed, or (err) is lost: answer those who waited for it. */
void api_committed(struct api *a, size_t account, enum bm_err err, const struct bm_msg *msg);

/* Every operation of the services' models, and whether it is built here. */
typedef void (*api_operation_fn)(void *arg, const char *service, const char *name, bool built);
void api_operations(api_operation_fn fn, void *arg);

#endif

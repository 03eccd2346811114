/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topic rules: SQL over MQTT messages (src/sql), and actions. SPEC aws-iot 5.
 *
 * Actions: lambda (asynchronous, durable), republish, http, and one of them as error action.
 * Another action is refused when the rule is created, never accepted and ignored. Evaluated in the
 * control process for messages that a worker or the outbox hands in. Invocations, and of a durable
 * message what is republished with QoS 1, are stored in the caller's group and happen at least
 * once; what else an action does is at most once.
 */
#ifndef BM_RULES_RULES_H
#define BM_RULES_RULES_H

#include "lambda/lambda.h"
#include "registry/registry.h"

struct rules;

enum { RULES_PAYLOAD_MAX = 256 * 1024, RULES_ACTIONS_MAX = 10 };

/* What a rule did since it was read last. */
struct rules_count {
    uint64_t matched;
    uint64_t failed;         /* matches of which an action, or the SQL, failed */
    int64_t last_matched_ms; /* of the epoch; 0: never */
};

struct rules_options {
    struct loop *loop;
    struct registry *registry;
    struct lambda *lambda;
    const char *region;
    const char *account;
    /*
     * A message to the broker, not to the rules. BM_ERR_IO: the broker is down. `durable`: stored
     * in the open group and published when that is on disk; an error: it could not be stored.
     */
    enum bm_err (*publish)(
        void *arg, struct span topic, struct span payload, int qos, bool durable);
    void *publish_arg;
    void (*changed)(void *arg); /* the set of filters changed; may be NULL */
    void *changed_arg;
    void (*commit_soon)(void *arg); /* the registry has something to commit; may be NULL */
    void *commit_arg;
};
/* No rule is known before the first rules_reload. */
enum bm_err rules_open(const struct rules_options *options, struct rules **out, struct bm_msg *msg);
void rules_close(struct rules *r); /* takes NULL */

/*
 * Check a topicRulePayload (JSON). BM_ERR_INPUT: the payload (InvalidRequestException);
 * BM_ERR_PROTO: the SQL (SqlParseException). Appends the FROM filter to `filter`.
 */
enum bm_err rules_check(
    struct rules *r, struct span payload, struct buf *filter, bool *disabled, struct bm_msg *msg);
/*
 * Read all rules again from the registry (after a change). One that is not understood (stored by
 * another version) is logged and left out.
 */
enum bm_err rules_reload(struct rules *r, struct bm_msg *msg);

/*
 * Topic rule destinations. A rule may POST to a URL that an ENABLED one's confirmation URL begins;
 * to a loopback URL also where no destination is. Before that, the receiver gets a token: POST to
 * the confirmation URL, by rules_reload, of each IN_PROGRESS destination whose token this process
 * has not sent yet. The receiver opens API-URL/confirmdestination/TOKEN.
 *
 * Where the API is: confirmations are sent from now on.
 */
enum bm_err rules_set_endpoint(struct rules *r, const char *api_url, struct bm_msg *msg);
/*
 * Store, in the caller's group, a destination for each http action of a checked payload that needs
 * one and has none. BM_ERR_INPUT: its confirmationUrl.
 */
enum bm_err rules_make_destinations(struct rules *r, struct span payload, struct bm_msg *msg);

/* The FROM filters of all enabled rules that have one, for the workers. Borrowed until the next
 * reload. */
size_t rules_filter_count(const struct rules *r);
const char *rules_filter(const struct rules *r, size_t i);

/* Counts of an enabled or disabled rule; false: there is no such rule. */
bool rules_count_of(const struct rules *r, const char *name, struct rules_count *out);

/*
 * A message that entered. Runs the actions of every matching rule, or with a topic of Basic Ingest
 * (`$aws/rules/NAME/rest`) those of that rule; failures go to the timeline and
 * the log, never to the caller. The caller commits the registry: what the rules caused is in its
 * group. False: the registry failed to store what an action needs, so the message is to be handed
 * in again.
 */
struct rules_message {
    struct span topic;
    struct span payload;
    struct span client_id;  /* empty: not by MQTT */
    const uint8_t *cert_id; /* whose timeline; NULL when none */
    bool durable;           /* whoever published it is told that it is stored */
};
bool rules_evaluate(struct rules *r, const struct rules_message *m);

#endif

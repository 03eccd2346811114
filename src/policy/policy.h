/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IoT policy language: parse once into a compact form, decide many times. SPEC aws-iot 7.
 *
 * A compiled policy is immutable and may be read by several threads. Deny wins over allow, nothing
 * matching means denied. Wildcards `*` and `?` in resources match any characters including `/`;
 * MQTT's `+` and `#` are plain characters there. Not yet here: Condition, NotAction, NotResource
 * and thing variables; a document that uses them is refused by policy_parse with a message that
 * says so, rather than decided wrongly.
 */
#ifndef BM_POLICY_POLICY_H
#define BM_POLICY_POLICY_H

#include "base/bytes.h"

struct policy;

enum { POLICY_DOCUMENT_MAX = 2048 }; /* characters without white space, SPEC 7.1 */

enum policy_action {
    POLICY_CONNECT,        /* client/<client id> */
    POLICY_PUBLISH,        /* topic/<topic> */
    POLICY_RETAIN_PUBLISH, /* topic/<topic> */
    POLICY_SUBSCRIBE,      /* topicfilter/<filter> */
    POLICY_RECEIVE,        /* topic/<topic> */
};

/* Who asks; the values of the policy variables. Borrowed. */
struct policy_subject {
    const char *region;
    const char *account;
    struct span client_id; /* ${iot:ClientId} */
    const char *cert_id;   /* ${iot:CertificateId}: 64 hex */
    const char *source_ip; /* ${aws:SourceIp} */
};

enum policy_verdict { POLICY_ALLOWED, POLICY_DENIED_EXPLICIT, POLICY_DENIED_IMPLICIT };

/*
 * BM_ERR_INPUT: malformed; the message names the place (statement number, member) and the cure.
 * Free with policy_free (takes NULL).
 */
enum bm_err policy_parse(struct span document, struct policy **out, struct bm_msg *msg);
void policy_free(struct policy *p);

/*
 * May `who` do `action` on the resource part `name` (client id, topic or filter) under all these
 * policies together?
 */
enum policy_verdict policy_decide(const struct policy *const *set, size_t count,
    enum policy_action action, struct span name, const struct policy_subject *who);

const char *policy_action_name(enum policy_action a); /* "iot:Publish" */

#endif

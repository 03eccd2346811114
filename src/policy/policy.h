/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IoT policy language: parse once into a compact form, decide many times. SPEC aws-iot 7.
 *
 * A compiled policy is immutable and may be read by several threads. Deny wins over allow, nothing
 * matching means denied. Wildcards `*` and `?` in resources match any characters including `/`;
 * MQTT's `+` and `#` are plain characters there. The value of a variable never acts as a wildcard;
 * a variable without a value stays text.
 * An operator or a key of a condition that cannot be decided here is refused by policy_parse with a
 * message that says so, rather than decided wrongly.
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

/*
 * What a device's certificate says of itself, as variables and condition keys see it. Filled by
 * policy_certificate_add, whose form fits pki_cert_attributes: `name` is what follows
 * `iot:Certificate.` ("Subject.CommonName"). Unknown names and values after the fifth are left out.
 */
struct policy_certificate;
struct policy_certificate *policy_certificate_new(void); /* NULL: no memory */
void policy_certificate_add(void *certificate, const char *name, struct span value);
bool policy_certificate_whole(const struct policy_certificate *c); /* false: memory ran out */
void policy_certificate_free(struct policy_certificate *c);        /* takes NULL */

/*
 * The thing whose name is the client id and which the certificate is attached to, as
 * `iot:Connection.Thing...` sees it. `type` may be "" (none); `attributes` is a JSON object of
 * strings, or empty. BM_ERR_INPUT: it is not. Free with policy_thing_free (takes NULL).
 */
struct policy_thing;
enum bm_err policy_thing_new(
    const char *type, struct span attributes, struct policy_thing **out, struct bm_msg *msg);
void policy_thing_free(struct policy_thing *t);

/* Who asks; the values of the policy variables. Borrowed. */
struct policy_subject {
    const char *region;
    const char *account;
    struct span client_id; /* ${iot:ClientId} */
    const char *cert_id;   /* ${iot:CertificateId}: 64 hex */
    const char *source_ip; /* ${aws:SourceIp} */
    bool persistent;       /* iot:ConnectAttributes, asked with POLICY_CONNECT only */
    bool last_will;
    const struct policy_certificate *certificate; /* NULL: not known. See policy_uses_certificate */
    const struct policy_thing *thing;             /* NULL: there is none. See policy_uses_thing */
    int64_t now_ms;                               /* aws:CurrentTime; 0: the clock's */
};

enum policy_verdict { POLICY_ALLOWED, POLICY_DENIED_EXPLICIT, POLICY_DENIED_IMPLICIT };

/*
 * Which statement decided, counted from 0. Denied implicitly: no statement did (found false), or
 * (found true) this Allow would have, had its Condition held.
 */
struct policy_decider {
    bool found;
    size_t policy;
    size_t statement;
};

/*
 * BM_ERR_INPUT: malformed; the message names the place (statement number, member) and the cure.
 * Free with policy_free (takes NULL).
 */
enum bm_err policy_parse(struct span document, struct policy **out, struct bm_msg *msg);
void policy_free(struct policy *p);

/* The time that a policy would write so: ISO 8601 or seconds since 1970. False: it is neither. */
bool policy_time(const char *text, int64_t *ms);

/* Does a decision need policy_subject's certificate, or thing? Else making it is wasted. */
bool policy_uses_certificate(const struct policy *p);
bool policy_uses_thing(const struct policy *p);

/*
 * May `who` do `action` on the resource part `name` (client id, topic or filter) under all these
 * policies together? `by` may be NULL.
 */
enum policy_verdict policy_decide_by(const struct policy *const *set, size_t count,
    enum policy_action action, struct span name, const struct policy_subject *who,
    struct policy_decider *by);
enum policy_verdict policy_decide(const struct policy *const *set, size_t count,
    enum policy_action action, struct span name, const struct policy_subject *who);

const char *policy_action_name(enum policy_action a);   /* "iot:Publish" */
const char *policy_resource_kind(enum policy_action a); /* "topic" */

#endif

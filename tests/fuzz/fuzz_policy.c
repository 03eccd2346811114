/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a policy document from outside, parsed and then asked a few things. */
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy_certificate *leaf = policy_certificate_new();
    struct policy_thing *thing = NULL;
    struct policy_subject who = { .region = "us-east-1",
        .account = "000000000000",
        .client_id = span_of(data, size < 16 ? size : 16),
        .cert_id = "578abf",
        .source_ip = "127.0.0.1",
        .persistent = true,
        .certificate = leaf };
    struct policy *p = NULL;

    if (leaf == NULL)
        return 0;
    (void)policy_thing_new("Lamp", span_str("{\"room\":\"*\",\"a\":\"\"}"), &thing, NULL);
    who.thing = thing;
    policy_certificate_add(leaf, "Subject.CommonName", span_of(data, size < 40 ? size : 40));
    policy_certificate_add(leaf, "Subject.CommonName", span_str("second"));
    if (policy_parse(span_of(data, size), &p, NULL) == BM_OK) {
        const struct policy *set[] = { p, p };

        for (unsigned a = POLICY_CONNECT; a <= POLICY_RECEIVE; a++) {
            struct policy_decider by;

            (void)policy_decide_by(set, 2, (enum policy_action)a, who.client_id, &who, &by);
            (void)policy_decide(set, 1, (enum policy_action)a, span_str("a/b/#"), &who);
            (void)policy_decide(set, 1, (enum policy_action)a, span_str("\xe2\x82"), &who);
        }
    }
    policy_free(p);
    policy_certificate_free(leaf);
    policy_thing_free(thing);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a policy document from outside, parsed and then asked a few things. */
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct policy_subject who = { .region = "us-east-1",
        .account = "000000000000",
        .client_id = span_of(data, size < 16 ? size : 16),
        .cert_id = "578abf",
        .source_ip = "127.0.0.1" };
    struct policy *p = NULL;

    if (policy_parse(span_of(data, size), &p, NULL) == BM_OK) {
        const struct policy *set[] = { p, p };

        for (unsigned a = POLICY_CONNECT; a <= POLICY_RECEIVE; a++) {
            (void)policy_decide(set, 2, (enum policy_action)a, who.client_id, &who);
            (void)policy_decide(set, 1, (enum policy_action)a, span_str("a/b/#"), &who);
            (void)policy_decide(set, 1, (enum policy_action)a, span_str("\xe2\x82"), &who);
        }
    }
    policy_free(p);
    return 0;
}

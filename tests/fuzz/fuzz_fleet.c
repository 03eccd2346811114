/* SPDX-License-Identifier: Apache-2.0 */
/* Scenario files of a fleet: read, and whatever is taken is within its bounds. */
#include "fleet/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fleet_plan plan;
    struct bm_msg msg;

    if (fleet_plan_parse(span_of(data, len), &plan, &msg) != BM_OK)
        return 0;
    if (fleet_plan_count(&plan) == 0 || fleet_plan_count(&plan) > FLEET_DEVICES_MAX ||
        plan.for_ms <= 0 || plan.for_ms > FLEET_TIME_MAX_MS)
        abort();
    for (size_t i = 0; i < plan.group_count; i++) {
        char topic[256];

        if (strlen(plan.groups[i].name) > FLEET_NAME_MAX || plan.groups[i].qos > 1)
            abort();
        (void)fleet_topic(topic, sizeof topic, plan.groups[i].topic, plan.groups[i].name, 1);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a profile, with the quirks and faults in it; what was taken computes and is decided.
 */
#include "a71chd/profile.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct faults faults;
    struct profile p = profile_none();
    struct quirks quirks = quirks_default();
    struct pace pace = { { 1 }, 0 };

    faults.count = 0;
    if (profile_parse(span_of(data, size), &p, &quirks, &faults, NULL) != BM_OK)
        return 0;
    if (faults.count > FAULTS_MAX || p.jitter_percent > 100)
        abort();
    if (profile_command(&p, &pace, "pair-sign", 1, 1) >> 40 != 0 || profile_bus(&p, 300) >> 40 != 0)
        abort();
    for (int i = 0; i < 4; i++) {
        struct fault *f = faults_at(&faults, i % 2 == 0 ? FAULT_EXCHANGE : FAULT_FRAME, 0x15);

        if (f != NULL)
            (void)fault_value(f);
    }
    return 0;
}

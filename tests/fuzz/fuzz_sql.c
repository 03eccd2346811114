/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a rule's SQL: what is accepted has a valid filter and nothing that could be ignored.
 */
#include "rules/sql.h"
#include "wire/mqtt.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf filter = { 0 };
    struct bm_msg msg;

    if (sql_parse(span_of(data, size), &filter, &msg) == BM_OK &&
        (filter.len + 13 > size || !mqtt_filter_valid(buf_span(&filter))))
        abort(); /* SELECT*FROM'' and the filter is the shortest statement there is */
    buf_fini(&filter);
    return 0;
}

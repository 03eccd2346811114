/* SPDX-License-Identifier: Apache-2.0 */
/* broker_sessions_parse on one file; what it tells lies within. */
#include "broker/sessions.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
look(void *arg, const struct broker_session *s)
{
    const struct span *file = arg;

    if (s->at + sizeof s->due_s > file->len || s->id.ptr < file->ptr ||
        s->id.ptr + s->id.len > file->ptr + file->len)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span file = span_of(data, size);

    (void)broker_sessions_parse(file, look, &file);
    return 0;
}

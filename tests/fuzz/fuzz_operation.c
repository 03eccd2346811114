/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz the way from a request line to its operation. Input: method, path, query, a line each. A
 * path that fits has labels that are parts of it, and every operation that is found has a service.
 */
#include "api/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *
line(char **at)
{
    char *start = *at;
    char *end = strchr(start, '\n');

    if (end != NULL)
        *end++ = '\0';
    *at = end != NULL ? end : strchr(start, '\0');
    return start;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    char *at = text;
    struct buf labels[LABELS_MAX] = { { 0 } };
    const struct operation *other;
    const struct operation *op;
    const char *method = line(&at);
    const char *path = line(&at);
    const char *query = line(&at);

    op = operation_find(method, path, query, labels, &other);
    for (size_t i = 0; op != NULL && i < LABELS_MAX; i++) {
        const char *label = buf_cstr(&labels[i]);

        if (label == NULL || strstr(path, label) == NULL ||
            (strchr(label, '/') != NULL && strstr(op->path, "{+}") == NULL))
            abort();
    }
    if (op != NULL && operation_service(op)[0] == '\0')
        abort();
    for (size_t i = 0; i < LABELS_MAX; i++)
        buf_fini(&labels[i]);
    free(text);
    return 0;
}

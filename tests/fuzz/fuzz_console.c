/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the headers that the console's guard reads: lines of Host, Origin, Cookie, Last-Event-ID. */
#include "console/guard.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "cloud.test" };
    char *text = strndup((const char *)data, size);
    const char *line[4] = { text, NULL, NULL, NULL };
    struct span value;
    int64_t id = 0;
    char *at = text;

    for (size_t i = 1; i < 4 && (at = strchr(at, '\n')) != NULL; i++) {
        *at++ = '\0';
        line[i] = at;
    }
    if (guard_host(line[0], names, 1) && strlen(line[0]) > 255 + 8)
        abort();
    if (guard_origin(line[0], line[1], NULL) && line[1] != NULL &&
        strlen(line[1]) > strlen(line[0]) + 8)
        abort(); /* more than a scheme beside the host */
    if (guard_cookie(line[2], "birthmark_1", &value) && memchr(value.ptr, ';', value.len) != NULL)
        abort();
    if (guard_event_id(line[3], &id) && id < 0)
        abort();
    free(text);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz what the device's queue reads: the bytes as its file, which somebody may have damaged, and
 * as a line of input, and as the file of what is remembered.
 */
#include "base/file.h"
#include "device/known.h"
#include "device/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
look(void *arg, const struct queue_message *m)
{
    (void)arg;
    if (m->topic == NULL || (m->payload.len > 0 && m->payload.ptr == NULL))
        abort();
    return true;
}

static void
as_file(struct span bytes)
{
    char dir[] = "/tmp/birthmark-fuzz.XXXXXX";
    char path[64];
    struct queue_options o = { .dir = dir };
    struct queue_counts n;
    struct queue *q = NULL;
    FILE *f;

    if (mkdtemp(dir) == NULL)
        return;
    (void)snprintf(path, sizeof path, "%s/queue.db", dir);
    f = fopen(path, "wb");
    if (f != NULL) {
        (void)!fwrite(bytes.ptr, 1, bytes.len, f);
        (void)fclose(f);
    }
    if (queue_open(&o, &q, NULL) == BM_OK) {
        (void)!queue_count(q, &n, NULL);
        (void)!queue_read(q, 0, false, look, NULL, NULL);
        (void)!queue_read(q, 0, true, look, NULL, NULL);
        (void)!queue_done(q, 1, NULL);
    }
    queue_close(q);
    (void)!dir_remove(dir, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char room[QUEUE_TOPIC_ROOM];
    struct queue_message m;
    struct known k;

    if (queue_line(span_of(data, size), NULL, room, &m, NULL) == BM_OK && room[0] == '\0')
        abort();
    (void)!known_parse(span_of(data, size), &k, NULL);
    if (size >= 512) /* smaller is no database */
        as_file(span_of(data, size));
    return 0;
}

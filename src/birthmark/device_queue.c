/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark device put` and `birthmark device queue`: the daemon's queue from outside. What put
 * has taken when it ends with status 0 is durable; whether the daemon runs does not matter.
 */
#include "birthmark/device.h"

#include "base/clock.h"
#include "base/file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_MAX = 131072 };

static int
complain(const struct bm_msg *msg, enum bm_err err)
{
    fprintf(stderr, "birthmark device: %s\n", msg->text);
    return err == BM_ERR_LIMIT ? DEVICE_EXIT_FULL : err == BM_ERR_INPUT ? EXIT_USAGE : EXIT_FAILED;
}

static enum bm_err
put(struct queue *q, const struct device_options *o, struct span line, struct bm_msg *msg)
{
    char room[QUEUE_TOPIC_ROOM];
    struct queue_message m;
    enum bm_err err = queue_line(line, o->topic_count > 0 ? o->topics[0] : NULL, room, &m, msg);

    m.time_ms = clock_wall_ms();
    m.retain = o->retain;
    return err == BM_OK ? queue_put(q, &m, msg) : err;
}

static enum bm_err
put_lines(struct queue *q, const struct device_options *o, struct bm_msg *msg)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    enum bm_err err = BM_OK;

    while (err == BM_OK && (n = getline(&line, &cap, stdin)) > 0) {
        if (line[n - 1] == '\n')
            n--;
        err = put(q, o, span_of(line, (size_t)n), msg);
    }
    free(line);
    return err;
}

int
device_put(struct device_options *o)
{
    struct queue *q = NULL;
    struct buf text = { 0 };
    struct bm_msg msg = { { 0 } };
    enum bm_err err;

    if ((o->message != NULL) + (o->file != NULL) + o->null_message + o->lines != 1)
        return cmd_misuse("device", "put wants one of -m, -f, -n and -l");
    if (o->topic_count > 1 || (o->topic_count == 0 && !o->lines))
        return cmd_misuse("device", "put wants one --topic");
    if (!device_state_needed(o))
        return EXIT_USAGE;
    err = queue_open(&o->queue, &q, &msg);
    if (err == BM_OK && o->lines) {
        err = put_lines(q, o, &msg);
    } else if (err == BM_OK) {
        if (o->file != NULL)
            err = file_read(o->file, MESSAGE_MAX, &text, &msg);
        else if (o->message != NULL)
            buf_add(&text, o->message, strlen(o->message));
        if (err == BM_OK)
            err = put(q, o, buf_span(&text), &msg);
    }
    if (err == BM_OK || (o->lines && q != NULL)) {
        /* of lines, those before a bad one are kept */
        enum bm_err settled = queue_settle(q, err == BM_OK ? &msg : NULL);

        err = err == BM_OK ? settled : err;
    }
    queue_close(q);
    buf_fini(&text);
    return err == BM_OK ? EXIT_DONE : complain(&msg, err);
}

struct listing {
    const struct device_options *o;
    bool refused;
};

static bool
print_one(void *arg, const struct queue_message *m)
{
    const struct listing *l = arg;
    char time[CLOCK_TEXT_LEN];

    clock_text(time, m->time_ms);
    if (l->o->json) {
        json_t *text = json_stringn((const char *)m->payload.ptr, m->payload.len);
        json_t *root = json_pack("{s:I,s:s,s:s,s:I}", "id", (json_int_t)m->id, "time", time,
            "topic", m->topic, "bytes", (json_int_t)m->payload.len);
        char *line;

        if (text != NULL)
            (void)json_object_set_new(root, "payload", text);
        if (l->refused)
            (void)json_object_set_new(root, "reason", json_integer(m->reason));
        if (m->words[0] != '\0')
            (void)json_object_set_new(root, "reasonString", json_string(m->words));
        line = json_dumps(root, JSON_COMPACT);
        if (line != NULL)
            (void)puts(line);
        free(line);
        json_decref(root);
        return true;
    }
    printf("%lld  %s  %s  %zu bytes", (long long)m->id, time, m->topic, m->payload.len);
    if (l->refused)
        printf("  %s%s%s", m->reason != 0 ? mqtt_reason_text(m->reason) : "ended the connection",
            m->words[0] != '\0' ? ": " : "", m->words);
    (void)putchar('\n');
    return true;
}

int
device_queue(struct device_options *o)
{
    struct listing l = { .o = o, .refused = o->refused };
    struct queue_counts n = { 0 };
    struct queue *q = NULL;
    struct bm_msg msg = { { 0 } };
    enum bm_err err;

    if (!device_state_needed(o))
        return EXIT_USAGE;
    err = queue_open(&o->queue, &q, &msg);
    if (err == BM_OK && o->retry_refused) {
        err = queue_retry(q, &msg);
        if (err == BM_OK)
            err = queue_settle(q, &msg);
    }
    if (err == BM_OK)
        err = queue_count(q, &n, &msg);
    if (err == BM_OK && !o->json)
        printf("%llu waiting, %llu bytes; %llu set aside; %llu dropped by the bounds\n",
            (unsigned long long)n.count, (unsigned long long)n.bytes, (unsigned long long)n.refused,
            (unsigned long long)n.dropped);
    if (err == BM_OK)
        err = queue_read(q, 0, o->refused, print_one, &l, &msg);
    queue_close(q);
    return err == BM_OK ? EXIT_DONE : complain(&msg, err);
}

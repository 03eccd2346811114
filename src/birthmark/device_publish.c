/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark device publish`: send one message, or each line of stdin, and end when the server has
 * acknowledged all of them. What has no PUBACK when a connection ends is sent again on the next.
 */
#include "birthmark/device.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    WINDOW = 20,          /* without PUBACK at a time */
    MESSAGE_MAX = 131072, /* SPEC aws-iot 6.3 */
    TIMEOUT_S = 60,
    UNSENT = -1,
    BLAME_AFTER = 2, /* connections that ended with a message under way */
};

struct pending {
    uint8_t *bytes; /* owned */
    size_t len;
    int packet; /* on this connection */
};

struct publish {
    struct device_session s; /* first */
    struct pending pending[WINDOW];
    size_t count;
    struct buf input; /* read, not yet a whole line */
    bool input_over;
    struct loop_watch *watch;
    unsigned fruitless; /* connections in a row that ended without a PUBACK for what was sent */
    bool sent;          /* on this connection */
    uint64_t acknowledged;
};

static void
maybe_done(struct publish *p)
{
    if (p->input_over && p->count == 0)
        device_session_end(&p->s, EXIT_DONE);
}

/* Send what is not under way on this connection. */
static void
send_all(struct publish *p)
{
    struct connection *c = client_connection(p->s.client);

    for (size_t i = 0; c != NULL && i < p->count; i++) {
        struct pending *m = &p->pending[i];
        enum bm_err err;

        if (m->packet != UNSENT)
            continue;
        p->sent = true;
        client_blame_message(p->s.client, p->fruitless + 1 >= BLAME_AFTER);
        err = connection_publish(c, p->s.o->topics[0], span_of(m->bytes, m->len), p->s.o->qos,
            p->s.o->retain, &m->packet);
        if (err == BM_ERR_ARG) {
            fprintf(
                stderr, "birthmark device: '%s' is no topic to publish to\n", p->s.o->topics[0]);
            device_session_end(&p->s, EXIT_USAGE);
            return;
        }
        if (err != BM_OK) {
            m->packet = UNSENT;
            return;
        }
    }
}

static void
forget(struct publish *p, size_t i)
{
    free(p->pending[i].bytes);
    memmove(&p->pending[i], &p->pending[i + 1], (p->count - i - 1) * sizeof p->pending[0]);
    p->count--;
}

static void
take(struct publish *p, const uint8_t *bytes, size_t len)
{
    struct pending *m = &p->pending[p->count];

    *m = (struct pending){ .bytes = malloc(len > 0 ? len : 1), .len = len, .packet = UNSENT };
    if (m->bytes == NULL) {
        device_session_end(&p->s, EXIT_FAILED);
        return;
    }
    if (len > 0)
        memcpy(m->bytes, bytes, len);
    p->count++;
}

/* Whole lines of the input, as many as there is room for. */
static void
take_lines(struct publish *p)
{
    while (p->count < WINDOW && p->input.len > 0) {
        const uint8_t *nl = memchr(p->input.ptr, '\n', p->input.len);
        size_t len = nl != NULL ? (size_t)(nl - p->input.ptr) : p->input.len;

        if (nl == NULL && !p->input_over && len < MESSAGE_MAX)
            break;
        if (len > MESSAGE_MAX) {
            fprintf(stderr, "birthmark device: a line is longer than %d bytes\n", MESSAGE_MAX);
            device_session_end(&p->s, EXIT_USAGE);
            return;
        }
        take(p, p->input.ptr, len);
        buf_drop(&p->input, nl != NULL ? len + 1 : len);
    }
}

static void on_input(void *arg, uint32_t events);

/* Read on only while there is room: what is not read stays with the producer. */
static void
mind_input(struct publish *p)
{
    bool wanted = p->s.o->lines && !p->input_over && p->count < WINDOW;

    take_lines(p);
    if (wanted && p->watch == NULL)
        p->watch = loop_add(p->s.loop, STDIN_FILENO, EPOLLIN, on_input, p);
    if (!wanted && p->watch != NULL) {
        loop_remove(p->s.loop, p->watch);
        p->watch = NULL;
    }
}

static void
read_input(struct publish *p)
{
    uint8_t *room = buf_reserve(&p->input, 65536);
    ssize_t n = room != NULL ? read(STDIN_FILENO, room, 65536) : -1;

    if (n > 0)
        p->input.len += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        p->input_over = true;
}

static void
on_input(void *arg, uint32_t events)
{
    struct publish *p = arg;

    (void)events;
    read_input(p);
    mind_input(p);
    send_all(p);
    maybe_done(p);
}

static void
on_connected(void *arg, bool session_present)
{
    struct publish *p = arg;

    (void)session_present;
    p->s.teller.told = false;
    p->sent = false;
    for (size_t i = 0; i < p->count; i++)
        p->pending[i].packet = UNSENT;
    send_all(p);
    maybe_done(p);
}

static void
on_acknowledged(void *arg, int packet, int reason)
{
    struct publish *p = arg;
    size_t i = 0;

    while (i < p->count && p->pending[i].packet != packet)
        i++;
    if (i == p->count)
        return;
    p->fruitless = 0;
    client_blame_message(p->s.client, false);
    if (reason != 0) {
        const struct cause_info *info = cause_info(CAUSE_PUBLISH_DENIED);
        const char *words = client_words(p->s.client);
        struct buf why = { 0 };

        if (words[0] == '\0')
            words = reason == 0x87 ? "no attached policy allows iot:Publish to this topic"
                                   : "the server does not take the message";
        mqtt_refusal_text("PUBACK", reason, words, &why);
        fprintf(stderr, "birthmark device: %s\n  cure: %s\n",
            buf_cstr(&why) != NULL ? buf_cstr(&why) : "PUBACK",
            reason == 0x87 ? info->cure : "keep to the limits of size and topic");
        buf_fini(&why);
        device_session_end(&p->s, DEVICE_EXIT_PUBLISH);
        return;
    }
    forget(p, i);
    p->acknowledged++;
    mind_input(p);
    send_all(p);
    maybe_done(p);
}

static void
on_failed(void *arg, const struct client_event *e)
{
    struct publish *p = arg;
    const struct outcome_info *info = outcome_info(e->outcome);
    if (p->sent)
        p->fruitless++;
    p->sent = false;
    device_tell(&p->s.teller, e, p->s.client);
    p->s.exit_code = info->exit_code;
    /* to try again is pointless until a person has done something */
    if (e->wait_ms < 0 || info->retry == RETRY_REFUSED || e->outcome == OUTCOME_AT_PUBLISH)
        device_session_end(&p->s, info->exit_code);
}

static void
on_timeout(void *arg)
{
    struct publish *p = arg;

    fprintf(stderr, "birthmark device: given up after %ld s; %llu messages were acknowledged\n",
        p->s.o->timeout_s, (unsigned long long)p->acknowledged);
    loop_stop(p->s.loop);
}

/* The one message, or the start of the input. */
static int
first_input(struct publish *p)
{
    struct bm_msg msg = { { 0 } };
    struct buf text = { 0 };

    if (p->s.o->lines) {
        struct loop_watch *w = loop_add(p->s.loop, STDIN_FILENO, EPOLLIN, on_input, p);

        if (w != NULL) {
            p->watch = w;
            return CMD_GO_ON;
        }
        while (!p->input_over) /* a file cannot be watched: it is read at once */
            read_input(p);
        take_lines(p);
        return CMD_GO_ON;
    }
    p->input_over = true;
    if (p->s.o->file != NULL && file_read(p->s.o->file, MESSAGE_MAX, &text, &msg) != BM_OK) {
        fprintf(stderr, "birthmark device: %s\n", msg.text);
        buf_fini(&text);
        return EXIT_USAGE;
    }
    if (p->s.o->message != NULL)
        buf_add(&text, p->s.o->message, strlen(p->s.o->message));
    take(p, text.ptr, text.len);
    buf_fini(&text);
    return CMD_GO_ON;
}

int
device_publish(struct device_options *o)
{
    struct publish p = { .s = { .exit_code = DEVICE_EXIT_NETWORK } };
    int code;

    if (o->topic_count != 1)
        return cmd_misuse("device", "publish wants one --topic");
    if ((o->message != NULL) + (o->file != NULL) + o->null_message + o->lines != 1)
        return cmd_misuse("device", "publish wants one of -m, -f, -n and -l");
    if (o->timeout_s < 0)
        o->timeout_s = TIMEOUT_S;
    if (!device_session_start(&p.s, o))
        return EXIT_FAILED;
    o->client.connected = on_connected;
    o->client.acknowledged = on_acknowledged;
    o->client.failed = on_failed;
    code = first_input(&p);
    if (code == CMD_GO_ON && !device_session_connect(&p.s, false))
        code = EXIT_FAILED;
    if (code == CMD_GO_ON) {
        if (o->timeout_s > 0)
            (void)loop_after(p.s.loop, o->timeout_s * 1000, on_timeout, &p);
        code = device_session_run(&p.s);
    }
    device_session_fini(&p.s);
    while (p.count > 0)
        forget(&p, p.count - 1);
    buf_fini(&p.input);
    return code;
}

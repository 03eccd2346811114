/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark device subscribe`: print what comes, a line a message, and stay connected.
 */
#include "birthmark/device.h"

#include <stdio.h>

enum { BLAME_AFTER = 2 };

struct subscribe {
    struct device_session s; /* first */
    struct loop_timer *deadline;
    long printed;
    size_t asked; /* filters in SUBSCRIBE packets of this connection */
    size_t granted;
    unsigned fruitless; /* connections in a row that ended before the SUBACK */
};

static void
on_message(void *arg, const char *topic, struct span payload, bool retained)
{
    struct subscribe *s = arg;

    if (s->s.o->count != 0 && s->printed >= s->s.o->count)
        return;
    device_print_message(s->s.o, topic, payload, retained);
    if (++s->printed == s->s.o->count)
        device_session_end(&s->s, EXIT_DONE);
}

static void
ask(struct subscribe *s)
{
    const struct device_options *o = s->s.o;

    if (device_session_ask(&s->s, o->topics, o->topic_count, o->qos, &s->asked) != BM_ERR_ARG)
        return;
    fprintf(
        stderr, "birthmark device: '%s' or one after it is no topic filter\n", o->topics[s->asked]);
    device_session_end(&s->s, EXIT_USAGE);
}

static void
on_connected(void *arg, bool session_present)
{
    struct subscribe *s = arg;

    (void)session_present;
    s->s.teller.told = false;
    s->asked = 0;
    s->granted = 0;
    loop_cancel(s->s.loop, s->deadline);
    s->deadline = NULL;
    ask(s);
}

static void
refused(struct subscribe *s, const char *why)
{
    const struct cause_info *info = cause_info(CAUSE_SUBSCRIBE_DENIED);

    fprintf(stderr, "birthmark device: %s: %s\n  cure: %s\n", info->id, why, info->cure);
    device_session_end(&s->s, DEVICE_EXIT_REFUSED);
}

static void
on_subscribed(void *arg, int packet, const int *codes, size_t count)
{
    struct subscribe *s = arg;

    (void)packet;
    for (size_t i = 0; i < count; i++) {
        if (codes[i] >= 0x80) {
            struct buf why = { 0 };

            mqtt_refusal_text("SUBACK", codes[i], client_words(s->s.client), &why);
            refused(s, buf_cstr(&why) != NULL ? buf_cstr(&why) : "SUBACK");
            buf_fini(&why);
            return;
        }
    }
    s->granted += count;
    if (s->granted >= s->s.o->topic_count) {
        s->fruitless = 0;
        if (s->s.o->verbose && !s->s.o->quiet)
            fprintf(stderr, "birthmark device: subscribed\n");
    }
}

static void
on_acknowledged(void *arg, int packet, int reason)
{
    (void)arg;
    (void)packet;
    (void)reason;
}

static void
on_failed(void *arg, const struct client_event *e)
{
    struct subscribe *s = arg;
    const struct outcome_info *info = outcome_info(e->outcome);
    device_tell(&s->s.teller, e, s->s.client);
    s->s.exit_code = info->exit_code;
    if (s->asked > 0 && s->granted < s->s.o->topic_count && ++s->fruitless >= BLAME_AFTER) {
        refused(s, "the connection ends whenever these filters are subscribed");
        return;
    }
    s->asked = 0;
    if (e->wait_ms < 0 || info->retry == RETRY_REFUSED)
        device_session_end(&s->s, info->exit_code);
}

static void
on_deadline(void *arg)
{
    struct subscribe *s = arg;

    s->deadline = NULL;
    fprintf(stderr, "birthmark device: given up after %ld s\n", s->s.o->timeout_s);
    loop_stop(s->s.loop);
}

static void
on_window(void *arg)
{
    struct subscribe *s = arg;

    device_session_end(
        &s->s, s->s.o->count != 0 ? EXIT_FAILED : EXIT_DONE); /* fewer than were asked for */
}

int
device_subscribe(struct device_options *o)
{
    struct subscribe s = { .asked = 0 };
    int code = EXIT_FAILED;

    if (o->topic_count == 0)
        return cmd_misuse("device", "subscribe wants a --topic");
    if (!device_session_start(&s.s, o))
        return EXIT_FAILED;
    o->client.connected = on_connected;
    o->client.acknowledged = on_acknowledged;
    o->client.subscribed = on_subscribed;
    o->client.message = on_message;
    o->client.failed = on_failed;
    if (device_session_connect(&s.s, true)) {
        if (o->timeout_s > 0)
            s.deadline = loop_after(s.s.loop, o->timeout_s * 1000, on_deadline, &s);
        if (o->window_s > 0)
            (void)loop_after(s.s.loop, o->window_s * 1000, on_window, &s);
        code = device_session_run(&s.s);
    }
    device_session_fini(&s.s);
    return code;
}

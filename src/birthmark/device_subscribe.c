/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark device subscribe`: print what comes, a line a message, and stay connected.
 */
#include "birthmark/device.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLAME_AFTER = 2 };

struct subscribe {
    struct device_options *o;
    struct loop *loop;
    struct client *client;
    struct device_teller teller;
    struct loop_timer *deadline;
    long printed;
    size_t asked; /* filters in SUBSCRIBE packets of this connection */
    size_t granted;
    unsigned fruitless; /* connections in a row that ended before the SUBACK */
    bool was_connected;
    int exit_code;
};

static void
end(struct subscribe *s, int code)
{
    s->exit_code = code;
    loop_stop(s->loop);
}

static void
on_message(void *arg, const char *topic, struct span payload, bool retained)
{
    struct subscribe *s = arg;

    if (s->o->count != 0 && s->printed >= s->o->count)
        return;
    device_print_message(s->o, topic, payload, retained);
    if (++s->printed == s->o->count)
        end(s, EXIT_DONE);
}

static void
ask(struct subscribe *s)
{
    struct connection *c = client_connection(s->client);

    while (c != NULL && s->asked < s->o->topic_count) {
        size_t n = s->o->topic_count - s->asked;
        int packet;

        if (n > CONNECTION_FILTERS_MAX)
            n = CONNECTION_FILTERS_MAX;
        switch (connection_subscribe(c, &s->o->topics[s->asked], n, s->o->qos, &packet)) {
        case BM_OK:
            break;
        case BM_ERR_ARG:
            fprintf(stderr, "birthmark device: '%s' or one after it is no topic filter\n",
                s->o->topics[s->asked]);
            end(s, EXIT_USAGE);
            return;
        default:
            return;
        }
        s->asked += n;
    }
}

static void
on_connected(void *arg, bool session_present)
{
    struct subscribe *s = arg;

    (void)session_present;
    s->teller.told = false;
    s->was_connected = true;
    s->asked = 0;
    s->granted = 0;
    loop_cancel(s->loop, s->deadline);
    s->deadline = NULL;
    ask(s);
}

static void
refused(struct subscribe *s, const char *why)
{
    const struct cause_info *info = cause_info(CAUSE_SUBSCRIBE_DENIED);

    fprintf(stderr, "birthmark device: %s: %s\n  cure: %s\n", info->id, why, info->cure);
    end(s, DEVICE_EXIT_REFUSED);
}

static void
on_subscribed(void *arg, int packet, const int *codes, size_t count)
{
    struct subscribe *s = arg;
    char why[128];

    (void)packet;
    for (size_t i = 0; i < count; i++) {
        if (codes[i] >= 0x80) {
            (void)snprintf(why, sizeof why, "SUBACK %d, %s", codes[i], mqtt_reason_text(codes[i]));
            refused(s, why);
            return;
        }
    }
    s->granted += count;
    if (s->granted >= s->o->topic_count) {
        s->fruitless = 0;
        if (s->o->verbose && !s->o->quiet)
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
    device_tell(&s->teller, e, s->client);
    s->exit_code = info->exit_code;
    if (s->asked > 0 && s->granted < s->o->topic_count && ++s->fruitless >= BLAME_AFTER) {
        refused(s, "the connection ends whenever these filters are subscribed");
        return;
    }
    s->asked = 0;
    if (e->wait_ms < 0 || info->retry == RETRY_REFUSED)
        end(s, info->exit_code);
}

static void
on_note(void *arg, const char *text)
{
    struct subscribe *s = arg;

    device_note(&s->teller, text);
}

static void
on_deadline(void *arg)
{
    struct subscribe *s = arg;

    s->deadline = NULL;
    fprintf(stderr, "birthmark device: given up after %ld s\n", s->o->timeout_s);
    loop_stop(s->loop);
}

static void
on_window(void *arg)
{
    struct subscribe *s = arg;

    end(s, s->o->count != 0 ? EXIT_FAILED : EXIT_DONE); /* fewer than were asked for */
}

static void
on_signal(void *arg)
{
    end(arg, EXIT_DONE);
}

int
device_subscribe(struct device_options *o)
{
    struct subscribe s = { .o = o, .teller = { .quiet = o->quiet } };
    struct bm_msg msg = { { 0 } };
    int code = EXIT_FAILED;

    if (o->topic_count == 0)
        return cmd_misuse("device", "subscribe wants a --topic");
    if (loop_new(&s.loop) != BM_OK)
        return EXIT_FAILED;
    o->client.loop = s.loop;
    o->client.connected = on_connected;
    o->client.acknowledged = on_acknowledged;
    o->client.subscribed = on_subscribed;
    o->client.message = on_message;
    o->client.failed = on_failed;
    o->client.note = on_note;
    o->client.arg = &s;
    if (client_open(&o->client, &s.client, &msg) != BM_OK) {
        fprintf(stderr, "birthmark device: %s\n", msg.text);
    } else if (loop_signal(s.loop, SIGTERM, on_signal, &s) == BM_OK &&
               loop_signal(s.loop, SIGINT, on_signal, &s) == BM_OK) {
        if (o->timeout_s > 0)
            s.deadline = loop_after(s.loop, o->timeout_s * 1000, on_deadline, &s);
        if (o->window_s > 0)
            (void)loop_after(s.loop, o->window_s * 1000, on_window, &s);
        code = loop_run(s.loop) == BM_OK ? s.exit_code : EXIT_FAILED;
    }
    client_close(s.client);
    loop_free(s.loop);
    return code;
}

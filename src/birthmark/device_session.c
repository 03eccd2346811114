/* SPDX-License-Identifier: Apache-2.0 */
/* A loop with one client on it; what the connecting actions of `birthmark device` share. See
 * device.h. */
#include "birthmark/device.h"

#include <signal.h>
#include <stdio.h>

static void
on_note(void *arg, const char *text)
{
    struct device_session *s = arg;

    device_note(&s->teller, text);
}

static void
on_finding(void *arg, const struct finding *f)
{
    (void)arg;
    device_print_finding(stderr, f);
}

static void
on_signal(void *arg)
{
    device_session_end(arg, EXIT_DONE);
}

bool
device_session_start(struct device_session *s, struct device_options *o)
{
    s->o = o;
    s->teller.quiet = o->quiet;
    return loop_new(&s->loop) == BM_OK;
}

bool
device_session_connect(struct device_session *s, bool signals)
{
    struct bm_msg msg = { "out of memory" };
    enum bm_err err = BM_OK;

    s->o->client.loop = s->loop;
    s->o->client.note = on_note;
    s->o->client.explain = s->o->explain ? on_finding : NULL;
    s->o->client.arg = s;
    if (signals)
        err = loop_signal(s->loop, SIGTERM, on_signal, s);
    if (err == BM_OK && signals)
        err = loop_signal(s->loop, SIGINT, on_signal, s);
    if (err == BM_OK)
        err = client_open(&s->o->client, &s->client, &msg);
    if (err != BM_OK)
        fprintf(stderr, "birthmark device: %s\n", msg.text);
    return err == BM_OK;
}

int
device_session_run(struct device_session *s)
{
    return loop_run(s->loop) == BM_OK ? s->exit_code : EXIT_FAILED;
}

void
device_session_end(struct device_session *s, int code)
{
    s->exit_code = code;
    loop_stop(s->loop);
}

void
device_session_fini(struct device_session *s)
{
    client_close(s->client);
    loop_free(s->loop);
}

enum bm_err
device_session_ask(
    struct device_session *s, const char *const *filters, size_t count, int qos, size_t *asked)
{
    struct connection *c = client_connection(s->client);
    enum bm_err err = BM_OK;

    while (c != NULL && *asked < count && err == BM_OK) {
        size_t n = count - *asked;
        int packet;

        if (n > CONNECTION_FILTERS_MAX)
            n = CONNECTION_FILTERS_MAX;
        err = connection_subscribe(c, &filters[*asked], n, qos, &packet);
        if (err == BM_OK)
            *asked += n;
    }
    return err;
}

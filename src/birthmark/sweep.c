/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions whose time is over and which the broker keeps, because it forgot the time when it
 * started (broker/sessions.h). Now and then its file is looked at; if it names some, the broker
 * writes it anew, and those that are still in it end: a client with their id comes with a clean
 * session and leaves. In a file just written a client that is connected has no time, and one that
 * left since the start has one to come. SPEC aws-iot 6.5: a session may last up to 30 minutes
 * longer.
 */
#include "birthmark/account.h"

#include "base/clock.h"
#include "base/log.h"
#include "broker/sessions.h"

#include <stdlib.h>
#include <string.h>

enum {
    FIRST_MS = 10 * 1000, /* after the broker started; its clients have the first turn */
    PERIOD_MS = 5 * 60 * 1000,
    OVERDUE_S = 90, /* the broker writes its file each minute */
    END_WAIT_MS = 5000,
};

struct overdue {
    struct overdue *next;
    char id[]; /* of the client */
};

static void end_next(struct account *a);

static void
collect(void *arg, const struct broker_session *s)
{
    struct account *a = arg;
    struct overdue *o;

    if (s->due_s == 0 || s->due_s + OVERDUE_S >= clock_wall_ms() / 1000 ||
        (o = malloc(sizeof *o + s->id.len + 1)) == NULL)
        return;
    memcpy(o->id, s->id.ptr, s->id.len);
    o->id[s->id.len] = '\0';
    o->next = a->sweep.overdue;
    a->sweep.overdue = o;
}

static void
forget(struct account *a)
{
    while (a->sweep.overdue != NULL) {
        struct overdue *o = a->sweep.overdue;

        a->sweep.overdue = o->next;
        free(o);
    }
}

static void
look(struct account *a)
{
    struct bm_msg msg;

    forget(a);
    if (broker_sessions_read(a->saving.path, collect, a, &msg) != BM_OK)
        log_warn("sessions that nobody resumes may be kept for ever: %s", msg.text);
}

/* ---- ending them ---- */

static void
on_ended(void *arg)
{
    struct account *a = arg;
    struct overdue *o = a->sweep.overdue;

    a->sweep.step = NULL;
    broker_close(a->sweep.client);
    a->sweep.client = NULL;
    if (o != NULL) {
        a->sweep.overdue = o->next;
        free(o);
    }
    end_next(a);
}

static void
step_after(struct account *a, int64_t delay_ms)
{
    loop_cancel(a->o.loop, a->sweep.step);
    a->sweep.step = loop_after(a->o.loop, delay_ms, on_ended, a);
}

static void
on_connected(void *arg)
{
    struct account *a = arg;

    log_info("a session that nobody resumed is ended client=%s", a->sweep.overdue->id);
    step_after(a, 0); /* not from within its connection */
}

static void
end_next(struct account *a)
{
    struct broker_options bo = {
        .loop = a->o.loop, .upstream = a->o.place.broker, .connected = on_connected, .arg = a
    };
    struct bm_msg msg;

    if (a->sweep.overdue == NULL)
        return;
    bo.client_id = a->sweep.overdue->id;
    if (!broker_up(a->broker) || broker_open(&bo, &a->sweep.client, &msg) != BM_OK)
        forget(a); /* until the next time */
    else
        step_after(a, END_WAIT_MS);
}

/* ---- when ---- */

void
account_sweep_saving(struct account *a)
{
    a->sweep.saving = a->sweep.wanted;
    a->sweep.wanted = false;
}

void
account_sweep_saved(struct account *a, bool ok)
{
    if (a->sweep.saving && ok && a->sweep.client == NULL) {
        look(a);
        end_next(a);
    }
    a->sweep.saving = false;
}

static void
on_time(void *arg)
{
    struct account *a = arg;

    a->sweep.timer = loop_after(a->o.loop, PERIOD_MS, on_time, a);
    if (!broker_up(a->broker) || a->sweep.client != NULL)
        return;
    look(a);
    if (a->sweep.overdue == NULL)
        return;
    forget(a); /* as they are in the next file */
    a->sweep.wanted = true;
    account_save(a);
}

void
account_sweep_begin(struct account *a)
{
    if (!upstream_is_ours(a->o.place.broker))
        return;
    loop_cancel(a->o.loop, a->sweep.timer);
    a->sweep.timer = loop_after(a->o.loop, FIRST_MS, on_time, a);
}

void
account_sweep_end(struct account *a)
{
    loop_cancel(a->o.loop, a->sweep.timer);
    loop_cancel(a->o.loop, a->sweep.step);
    broker_close(a->sweep.client);
    forget(a);
    a->sweep = (struct sweep){ 0 };
}

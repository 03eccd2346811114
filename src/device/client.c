/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. */
#include "device/client.h"

#include "base/clock.h"

#include <errno.h>
#include <openssl/objects.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { TRIES_PER_LEAF = 3, ASK_TIMEOUT_MS = 5000, DETAIL_MAX = 1024, NEWEST_AGAIN_MS = 3600000 };

struct client {
    struct client_options o;
    struct identity *identity;
    SSL_CTX *tls;
    struct tls_seen seen;
    struct connection *connection;
    struct backoff backoff;
    struct known known;
    struct clock_verdict clock;
    size_t pick;
    unsigned refused_in_row; /* attempts that were refused for the certificate, perhaps */
    int64_t connected_at;    /* monotonic */
    bool clock_noted;
    bool blame_message;
    unsigned address;
    struct loop_timer *timer;
    struct loop_timer *newest; /* when to try with the newest certificate again */
    int clock_fd;              /* tells that the system's clock was set */
    struct loop_watch *clock_watch;
    enum outcome explained; /* the last one that was */
    char detail[DETAIL_MAX];
    char client_id[129]; /* in use */
};

static void attempt(void *arg);
static void on_newest(void *arg);

static void __attribute__((format(printf, 2, 3))) note(struct client *c, const char *fmt, ...)
{
    char text[DETAIL_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (c->o.note != NULL)
        c->o.note(c->o.arg, text);
}

/* --- time ------------------------------------------------------------------------------------- */

static int64_t
system_ms(const struct client *c)
{
    return clock_wall_ms() + c->o.clock_offset_ms;
}

static void
judge_clock(struct client *c)
{
    static const char *const words[] = { "right", "behind", "ahead", "different" };
    struct clock_facts f = { .system_ms = system_ms(c), .passed_ms = clock_built_ms() };
    struct bm_msg why = { { 0 } };
    char says[CLOCK_TEXT_LEN];
    char takes[CLOCK_TEXT_LEN];

    if (c->known.passed_ms > f.passed_ms)
        f.passed_ms = c->known.passed_ms;
    c->clock = clock_judge(&f);
    if (c->o.time_from != NULL && !c->clock_noted) {
        if (clock_ask(c->o.time_from, ASK_TIMEOUT_MS, &f.server_ms, &why) == BM_OK)
            c->clock = clock_judge(&f);
        else if (c->clock.system != CLOCK_PLAUSIBLE)
            note(c, "%s", why.text);
        /* what the server said is kept as a correction of the system's clock */
        if (c->clock.source == CLOCK_OF_SERVER)
            c->o.clock_offset_ms += f.server_ms - f.system_ms;
    }
    if (c->clock.system != CLOCK_PLAUSIBLE && !c->clock_noted) {
        clock_text(says, f.system_ms);
        clock_text(takes, c->clock.now_ms);
        note(c, "the clock says %s, which cannot be right (%s); going by %s%s", says,
            words[c->clock.system], takes,
            c->clock.source == CLOCK_AT_LEAST ? ", the least it can be" : " of the time server");
    }
    c->clock_noted = true;
}

static void
on_clock_set(void *arg, uint32_t events)
{
    struct client *c = arg;
    uint64_t expired;

    (void)events;
    if (read(c->clock_fd, &expired, sizeof expired) >= 0 || errno != ECANCELED)
        return;
    c->clock_noted = false;
    if (c->timer == NULL || c->connection != NULL)
        return;
    note(c, "the clock was set; trying at once");
    loop_cancel(c->o.loop, c->timer);
    c->timer = loop_after(c->o.loop, 0, attempt, c);
}

static void
watch_clock(struct client *c)
{
    /* far away: only the cancellation by a clock that is set matters */
    const struct itimerspec never = { .it_value = { .tv_sec = 0x7fffffff0 } };

    c->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (c->clock_fd < 0)
        return;
    if (timerfd_settime(c->clock_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) ==
        0)
        c->clock_watch = loop_add(c->o.loop, c->clock_fd, EPOLLIN, on_clock_set, c);
}

/* --- failure ---------------------------------------------------------------------------------- */

static void
drop(struct client *c)
{
    connection_close(c->connection);
    c->connection = NULL;
    tls_close(c->tls);
    c->tls = NULL;
}

static bool
is_about_certificate(enum outcome o)
{
    return o == OUTCOME_DROPPED || o == OUTCOME_SHUT_OUT || o == OUTCOME_NOT_ALLOWED ||
           o == OUTCOME_TLS_REFUSED;
}

/* With a renewal under way there are two certificates; the old one may be the one that works. */
static void
choose_leaf(struct client *c, enum outcome o)
{
    size_t count = c->identity != NULL ? c->identity->chain.leaf_count : 0;

    if (!is_about_certificate(o) || count < 2)
        return;
    if (++c->refused_in_row % TRIES_PER_LEAF != 0)
        return;
    c->pick = (c->pick + 1) % count;
    note(c, "trying with the %s certificate", c->pick == 0 ? "new" : "previous");
    identity_free(c->identity);
    c->identity = NULL;
}

/* NULL: it was let in. */
static void
explain(struct client *c, const struct attempt *a, const char *detail)
{
    const struct explain_facts f = { .connection = &c->o.connection,
        .tls = &c->o.tls,
        .id = a->phase == PHASE_KEY ? NULL : c->identity,
        .pick = c->pick,
        .clock = &c->clock,
        .system_ms = system_ms(c),
        .seen = &c->seen,
        .attempt = a,
        .client_id = c->client_id,
        .detail = detail };

    if (c->o.explain != NULL && (detail == NULL || c->explained != outcome_of(a)))
        explain_attempt(&f, c->o.explain, c->o.arg);
    c->explained = detail == NULL ? OUTCOME_COUNT : outcome_of(a);
}

static void
fail(struct client *c, const struct attempt *a, const char *detail)
{
    enum outcome o = outcome_of(a);
    int64_t wait = backoff_wait(&c->backoff, o);
    struct client_event e = { .outcome = o,
        .detail = detail,
        .in_row = c->backoff.in_row,
        .wait_ms = c->o.once ? -1 : wait,
        .seen = &c->seen };

    explain(c, a, detail);
    drop(c);
    if (o == OUTCOME_CHIP || o == OUTCOME_KEY) {
        identity_free(c->identity);
        c->identity = NULL;
    }
    choose_leaf(c, o);
    if (o == OUTCOME_CLOCK || o == OUTCOME_SERVER_DATES)
        c->clock_noted = false; /* ask again */
    c->blame_message = false;
    if (!c->o.once)
        c->timer = loop_after(c->o.loop, wait, attempt, c);
    c->o.failed(c->o.arg, &e); /* may close the client */
}

static void
describe(struct client *c, const struct attempt *a, char out[DETAIL_MAX])
{
    struct buf text = { 0 };

    if (a->phase == PHASE_TCP || a->phase == PHASE_CONNECTED) {
        if (a->disconnect != 0)
            mqtt_refusal_text("DISCONNECT", a->disconnect, a->words, &text);
        else if (a->sys_errno != 0)
            buf_addf(&text, "%s", strerror(a->sys_errno));
        else if (a->timed_out)
            buf_addf(&text, "no answer in time");
    } else if (a->connack > 0) {
        mqtt_refusal_text("CONNACK", a->connack, a->words, &text);
    } else if (a->phase >= PHASE_TLS) {
        tls_text(&c->seen, &text);
        if (text.len == 0 && a->timed_out)
            buf_addf(&text, "no answer in time");
    } else if (a->phase == PHASE_NAME) {
        buf_addf(&text, "%s", c->o.connection.host);
    }
    (void)snprintf(out, DETAIL_MAX, "%s", buf_cstr(&text) != NULL ? buf_cstr(&text) : "");
    buf_fini(&text);
}

/* --- one connection --------------------------------------------------------------------------- */

static void
remember(struct client *c)
{
    struct known k = c->known;
    struct bm_msg why = { { 0 } };

    chain_id(identity_leaf(c->identity, c->pick), k.admitted);
    if (k.server_id[0] != '\0' && strcmp(k.server_id, c->seen.server_id) != 0)
        note(c, "the server has another certificate than last time, of the same authority: %s",
            c->seen.subject);
    (void)snprintf(k.server_id, sizeof k.server_id, "%s", c->seen.server_id);
    if (c->seen.from_ms > k.passed_ms)
        k.passed_ms = c->seen.from_ms;
    if (memcmp(&k, &c->known, sizeof k) == 0)
        return;
    c->known = k;
    if (c->o.state_dir != NULL && known_write(c->o.state_dir, &k, &why) != BM_OK)
        note(c, "%s", why.text);
}

static void
on_connected(void *arg, bool session_present)
{
    struct client *c = arg;

    backoff_connected(&c->backoff);
    c->refused_in_row = 0;
    c->connected_at = clock_mono_ms();
    if (c->pick != 0 && c->newest == NULL) /* it may have become ACTIVE meanwhile */
        c->newest = loop_after(c->o.loop, NEWEST_AGAIN_MS, on_newest, c);
    remember(c);
    explain(c, connection_attempt(c->connection), NULL);
    c->o.connected(c->o.arg, session_present);
}

static void
on_acknowledged(void *arg, int packet, int reason)
{
    struct client *c = arg;

    c->o.acknowledged(c->o.arg, packet, reason);
}

static void
on_subscribed(void *arg, int packet, const int *codes, size_t count)
{
    struct client *c = arg;

    if (c->o.subscribed != NULL)
        c->o.subscribed(c->o.arg, packet, codes, count);
}

static void
on_message(void *arg, const char *topic, struct span payload, bool retained)
{
    struct client *c = arg;

    if (c->o.message != NULL)
        c->o.message(c->o.arg, topic, payload, retained);
}

static void
on_ended(void *arg, const struct attempt *ended)
{
    struct client *c = arg;
    struct attempt a = *ended;
    char id[65] = "";

    if (c->identity != NULL && identity_leaf(c->identity, c->pick) != NULL)
        chain_id(identity_leaf(c->identity, c->pick), id);
    a.admitted_before = id[0] != '\0' && strcmp(id, c->known.admitted) == 0;
    a.clock_wrong = c->clock.system != CLOCK_PLAUSIBLE;
    /* the server hung up; a network that fails is not the message's fault */
    a.refuses_message =
        c->blame_message && !a.timed_out && !a.no_puback && (a.sys_errno == 0 || a.sys_errno == ECONNRESET);
    if (a.phase == PHASE_CONNECTED)
        backoff_ended(&c->backoff, clock_mono_ms() - c->connected_at);
    /* a name with several addresses: the next one may be reachable */
    if (a.phase == PHASE_TCP)
        c->address++;
    describe(c, &a, c->detail);
    fail(c, &a, c->detail);
}

/* The certificate's common name, as things are named after it; else a part of its id. */
static void
choose_client_id(struct client *c)
{
    X509 *leaf = identity_leaf(c->identity, c->pick);
    char id[65];
    int n = -1;

    if (c->o.connection.client_id != NULL) {
        (void)snprintf(c->client_id, sizeof c->client_id, "%s", c->o.connection.client_id);
        return;
    }
    if (leaf != NULL)
        n = X509_NAME_get_text_by_NID(
            X509_get_subject_name(leaf), NID_commonName, c->client_id, sizeof c->client_id);
    if (n > 0 || leaf == NULL)
        return;
    chain_id(leaf, id);
    (void)snprintf(c->client_id, sizeof c->client_id, "%.32s", id);
}

/* Key, certificates and TLS for this attempt; *a says what is wrong. */
static enum bm_err
prepare(struct client *c, struct attempt *a, struct bm_msg *msg)
{
    enum cause cause = CAUSE_DEVICE_CHIP;
    enum bm_err err = BM_OK;

    a->phase = PHASE_KEY;
    if (c->identity == NULL) {
        err = identity_open(&c->o.identity, c->pick, &c->identity, &cause, msg);
        a->key_misfit = err != BM_OK && cause == CAUSE_DEVICE_KEY;
    }
    if (err == BM_OK) {
        c->o.tls.pick = c->pick;
        err = tls_open(c->identity, &c->o.tls, &c->seen, &c->tls, msg);
        a->key_misfit = err == BM_ERR_CONFLICT;
    }
    if (err == BM_OK) {
        choose_client_id(c);
        judge_clock(c);
        tls_set_time(c->tls, &c->clock);
    }
    return err;
}

static void
attempt(void *arg)
{
    struct client *c = arg;
    struct connection_options o = c->o.connection;
    struct attempt a = { 0 };
    struct bm_msg msg = { { 0 } };

    c->timer = NULL;
    drop(c);
    if (prepare(c, &a, &msg) != BM_OK) {
        fail(c, &a, msg.text);
        return;
    }
    o.loop = c->o.loop;
    o.tls = c->tls;
    o.seen = &c->seen;
    o.address = c->address;
    o.client_id = c->client_id;
    o.connected = on_connected;
    o.acknowledged = on_acknowledged;
    o.subscribed = on_subscribed;
    o.message = on_message;
    o.ended = on_ended;
    o.arg = c;
    if (connection_open(&o, &c->connection, &a, &msg) != BM_OK)
        on_ended(c, &a);
}

/* --- the client ------------------------------------------------------------------------------- */

enum bm_err
client_open(const struct client_options *o, struct client **out, struct bm_msg *msg)
{
    struct client *c = calloc(1, sizeof *c);
    struct bm_msg why = { { 0 } };
    uint64_t seed = o->seed;

    *out = NULL;
    if (c == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a device");
    c->o = *o;
    c->clock_fd = -1;
    c->explained = OUTCOME_COUNT;
    if (c->o.tls.server_name == NULL)
        c->o.tls.server_name = o->connection.host;
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)clock_mono_us() ^ (uint64_t)getpid() << 32;
    backoff_init(&c->backoff, seed);
    if (o->state_dir != NULL && known_read(o->state_dir, &c->known, &why) != BM_OK)
        note(c, "%s; it counts as empty", why.text);
    watch_clock(c);
    c->timer = loop_after(o->loop, 0, attempt, c);
    *out = c;
    return BM_OK;
}

void
client_close(struct client *c)
{
    if (c == NULL)
        return;
    loop_cancel(c->o.loop, c->timer);
    loop_cancel(c->o.loop, c->newest);
    loop_remove(c->o.loop, c->clock_watch);
    if (c->clock_fd >= 0)
        (void)close(c->clock_fd);
    drop(c);
    identity_free(c->identity);
    free(c);
}

const char *
client_words(const struct client *c)
{
    return c->connection != NULL ? connection_attempt(c->connection)->words : "";
}

struct connection *
client_connection(struct client *c)
{
    return connection_up(c->connection) ? c->connection : NULL;
}

const struct identity *
client_identity(const struct client *c)
{
    return c->identity;
}

size_t
client_pick(const struct client *c)
{
    return c->pick;
}

const char *
client_id(const struct client *c)
{
    return c->client_id;
}

int64_t
client_now_ms(const struct client *c)
{
    return c->clock.source == CLOCK_AT_LEAST ? c->clock.now_ms : system_ms(c);
}

void
client_restart(struct client *c)
{
    drop(c);
    identity_free(c->identity);
    c->identity = NULL;
    c->pick = 0;
    c->refused_in_row = 0;
    loop_cancel(c->o.loop, c->newest);
    c->newest = NULL;
    loop_cancel(c->o.loop, c->timer);
    c->timer = loop_after(c->o.loop, 0, attempt, c);
}

static void
on_newest(void *arg)
{
    struct client *c = arg;

    c->newest = NULL;
    if (c->pick != 0)
        client_restart(c);
}

void
client_blame_message(struct client *c, bool blame)
{
    c->blame_message = blame;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark device run`: the daemon. Messages come from stdin, a pipe, a command run now and then,
 * and from `birthmark device put`; all go through the queue on disk, and leave it with their
 * PUBACK. What is subscribed is printed.
 */
#include "birthmark/device.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    WINDOW = 20, /* without PUBACK at a time */
    LINE_MAX_LEN = 131072 + 512,
    READ_SIZE = 65536,
    BLAME_AFTER = 2,  /* connections that ended with a message under way */
    REFUSE_AFTER = 3, /* more of them, with this message alone */
};

struct flight {
    int64_t id;
    int packet;
};

/* Where lines come from: stdin, a pipe, the output of the command. */
struct input {
    struct run *run;
    int fd; /* -1: none */
    struct loop_watch *watch;
    struct buf text;
    bool over;
};

struct run {
    struct device_session s; /* first */
    struct device_renewing renewing;
    struct queue *queue;
    struct input standard;
    struct input pipe;
    struct input command;
    struct loop_timer *command_timer;
    pid_t command_pid; /* 0: does not run */
    int notify_fd;     /* inotify: another program put something */
    struct flight flights[WINDOW];
    size_t flight_count;
    int64_t sent_to; /* the highest id under way on this connection */
    unsigned fruitless;
    unsigned alone; /* connections that ended with `suspect` alone under way */
    int64_t suspect;
    bool sent; /* on this connection, without a PUBACK so far */
    size_t asked;
    unsigned long long acknowledged;
    bool dirty; /* the queue has changed in this round */
    bool told_full;
    unsigned long long stored; /* lines confirmed with --ack */
    unsigned long long taken;
};

/* The disk is the one thing without which this program is of no use. */
static void
queue_failed(struct run *r, const struct bm_msg *msg)
{
    fprintf(stderr, "birthmark device: %s\n", msg->text);
    device_session_end(&r->s, EXIT_FAILED);
}

static void
finished(struct run *r)
{
    struct queue_counts n;
    bool quiet_inputs =
        (r->standard.fd < 0 || r->standard.over) && r->pipe.fd < 0 && r->s.o->every_s == 0;

    if (!r->s.o->until_empty || !quiet_inputs)
        return;
    if (queue_count(r->queue, &n, NULL) == BM_OK && n.count == 0)
        device_session_end(&r->s, EXIT_DONE);
}

/* --- out -------------------------------------------------------------------------------------- */

static bool
send_one(void *arg, const struct queue_message *m)
{
    struct run *r = arg;
    struct connection *c = client_connection(r->s.client);
    struct flight *f = &r->flights[r->flight_count];
    struct bm_msg msg = { { 0 } };
    enum bm_err err;

    if (c == NULL || r->flight_count == WINDOW ||
        (r->fruitless >= BLAME_AFTER && r->flight_count > 0))
        return false;
    if (m->id == r->suspect && r->fruitless >= BLAME_AFTER)
        r->alone++;
    else if (r->flight_count == 0) {
        r->suspect = m->id;
        r->alone = 0;
    }
    client_blame_message(r->s.client, r->fruitless + 1 >= BLAME_AFTER);
    r->sent = true;
    f->id = m->id;
    r->flight_count++;
    r->sent_to = m->id;
    /* a queue is for what must arrive: QoS 1, whatever was said */
    err = connection_publish(c, m->topic, m->payload, 1, m->retain, &f->packet);
    if (err == BM_ERR_ARG) {
        r->flight_count--;
        fprintf(stderr, "birthmark device: message %lld to '%s' cannot be sent; set aside\n",
            (long long)m->id, m->topic);
        if (queue_refuse(r->queue, m->id, 0, "", &msg) != BM_OK)
            queue_failed(r, &msg);
        r->dirty = true;
    }
    return true;
}

static void
send_more(struct run *r)
{
    struct bm_msg msg = { { 0 } };

    if (client_connection(r->s.client) == NULL || r->flight_count == WINDOW)
        return;
    if (queue_read(r->queue, r->sent_to, false, send_one, r, &msg) != BM_OK)
        queue_failed(r, &msg);
}

static void
on_connected(void *arg, bool session_present)
{
    struct run *r = arg;

    (void)session_present;
    r->s.teller.told = false;
    device_note(&r->s.teller, "connected");
    notify_send("STATUS=connected");
    r->flight_count = 0;
    r->sent_to = 0;
    r->sent = false;
    r->asked = 0;
    (void)!device_session_ask(&r->s, r->s.o->filters, r->s.o->filter_count, 1, &r->asked);
    send_more(r);
    finished(r);
    device_renewing_look(&r->renewing);
}

static void
on_acknowledged(void *arg, int packet, int reason)
{
    struct run *r = arg;
    struct bm_msg msg = { { 0 } };
    size_t i = 0;
    enum bm_err err;

    while (i < r->flight_count && r->flights[i].packet != packet)
        i++;
    if (i == r->flight_count)
        return;
    r->fruitless = 0;
    r->sent = false;
    r->alone = 0;
    client_blame_message(r->s.client, false);
    if (reason != 0) {
        const char *words = client_words(r->s.client);
        struct buf why = { 0 };

        mqtt_refusal_text("PUBACK", reason, words, &why);
        fprintf(stderr,
            "birthmark device: message %lld is refused (%s); set aside, see `birthmark device "
            "queue --refused`\n",
            (long long)r->flights[i].id, buf_cstr(&why) != NULL ? buf_cstr(&why) : "PUBACK");
        buf_fini(&why);
        err = queue_refuse(r->queue, r->flights[i].id, reason, words, &msg);
    } else {
        err = queue_done(r->queue, r->flights[i].id, &msg);
        r->acknowledged++;
    }
    if (err != BM_OK)
        queue_failed(r, &msg);
    r->dirty = true;
    r->flights[i] = r->flights[--r->flight_count];
    send_more(r);
}

static void
on_message(void *arg, const char *topic, struct span payload, bool retained)
{
    struct run *r = arg;

    device_print_message(r->s.o, topic, payload, retained);
}

static void
on_subscribed(void *arg, int packet, const int *codes, size_t count)
{
    struct run *r = arg;

    (void)packet;
    for (size_t i = 0; i < count; i++) {
        struct buf why = { 0 };

        if (codes[i] < 0x80)
            continue;
        mqtt_refusal_text("SUBACK", codes[i], client_words(r->s.client), &why);
        fprintf(stderr, "birthmark device: a subscription is refused (%s)\n  cure: %s\n",
            buf_cstr(&why) != NULL ? buf_cstr(&why) : "SUBACK",
            cause_info(CAUSE_SUBSCRIBE_DENIED)->cure);
        buf_fini(&why);
    }
}

/* The connection ends whenever this one message is sent: the others shall not wait for it. */
static void
set_suspect_aside(struct run *r)
{
    struct bm_msg msg = { { 0 } };

    fprintf(stderr,
        "birthmark device: message %lld ended %u connections; set aside, see `birthmark device "
        "queue "
        "--refused`\n",
        (long long)r->suspect, r->alone + BLAME_AFTER);
    if (queue_refuse(r->queue, r->suspect, 0, "", &msg) != BM_OK)
        queue_failed(r, &msg);
    r->dirty = true;
    r->alone = 0;
    r->fruitless = 0;
}

static void
on_failed(void *arg, const struct client_event *e)
{
    struct run *r = arg;
    const char *id = cause_info(outcome_info(e->outcome)->cause)->id;
    char status[128];

    if (r->sent)
        r->fruitless++;
    if (e->outcome == OUTCOME_AT_PUBLISH && r->alone >= REFUSE_AFTER)
        set_suspect_aside(r);
    r->sent = false;
    r->flight_count = 0;
    device_tell(&r->s.teller, e, r->s.client);
    (void)snprintf(status, sizeof status, "STATUS=not connected: %s, %u times", id, e->in_row);
    notify_send(status);
    device_renewing_look(&r->renewing);
    if (e->wait_ms < 0)
        device_session_end(&r->s, outcome_info(e->outcome)->exit_code);
}

/* --- in --------------------------------------------------------------------------------------- */

static void on_input(void *arg, uint32_t events);

static void
take_line(struct run *r, struct span line)
{
    char room[QUEUE_TOPIC_ROOM];
    struct queue_message m;
    struct bm_msg msg = { { 0 } };
    enum bm_err err =
        queue_line(line, r->s.o->topic_count > 0 ? r->s.o->topics[0] : NULL, room, &m, &msg);

    if (err == BM_OK) {
        m.time_ms = clock_wall_ms();
        m.retain = r->s.o->retain;
        err = queue_put(r->queue, &m, &msg);
    }
    if (err == BM_OK) {
        r->dirty = true;
        r->taken++;
        r->told_full = false;
    } else if (err == BM_ERR_LIMIT || err == BM_ERR_INPUT) {
        if (!r->told_full || err == BM_ERR_INPUT)
            fprintf(stderr, "birthmark device: a line is dropped: %s\n", msg.text);
        r->told_full = err == BM_ERR_LIMIT;
    } else {
        queue_failed(r, &msg);
    }
}

static void
take_lines(struct input *in)
{
    size_t at = 0;

    while (at < in->text.len) {
        const uint8_t *start = &in->text.ptr[at];
        size_t left = in->text.len - at;
        const uint8_t *nl = memchr(start, '\n', left);
        size_t len = nl != NULL ? (size_t)(nl - start) : left;

        if (nl == NULL && !in->over && left < LINE_MAX_LEN)
            break;
        take_line(in->run, span_of(start, len));
        at += nl != NULL ? len + 1 : len;
    }
    buf_drop(&in->text, at);
}

static void
input_over(struct input *in)
{
    in->over = true;
    loop_remove(in->run->s.loop, in->watch);
    in->watch = NULL;
    take_lines(in);
}

static bool
input_read(struct input *in)
{
    uint8_t *room = buf_reserve(&in->text, READ_SIZE);
    ssize_t n = room != NULL ? read(in->fd, room, READ_SIZE) : -1;

    if (n > 0) {
        in->text.len += (size_t)n;
        take_lines(in);
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        input_over(in);
    return false;
}

/* Before the round ends, what was taken is durable: on_settle. */
static void
on_input(void *arg, uint32_t events)
{
    struct input *in = arg;

    (void)events;
    (void)input_read(in);
    send_more(in->run);
}

static bool
input_open(struct run *r, struct input *in, int fd)
{
    in->run = r;
    in->fd = fd;
    in->over = false;
    in->watch = loop_add(r->s.loop, fd, EPOLLIN, on_input, in);
    while (in->watch == NULL && !in->over) /* a file cannot be watched: it is read at once */
        (void)input_read(in);
    return true;
}

static void on_command_due(void *arg);

static void
on_command_output(void *arg, uint32_t events)
{
    struct run *r = arg;
    int status = 0;

    (void)events;
    (void)input_read(&r->command);
    if (!r->command.over)
        return;
    (void)close(r->command.fd);
    r->command.fd = -1;
    if (waitpid(r->command_pid, &status, 0) == r->command_pid && status != 0)
        fprintf(stderr, "birthmark device: the command of --command ended with status %d\n",
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    r->command_pid = 0;
    send_more(r);
}

static void
on_command_due(void *arg)
{
    struct run *r = arg;
    char shell[] = "/bin/sh";
    char dash_c[] = "-c";
    char *line = strdup(r->s.o->command);
    char *const argv[] = { shell, dash_c, line, NULL };
    posix_spawn_file_actions_t files;
    int ends[2];

    r->command_timer = loop_after(r->s.loop, r->s.o->every_s * 1000, on_command_due, r);
    if (r->command_pid != 0 || line == NULL || pipe2(ends, O_CLOEXEC) != 0) {
        free(line); /* the last one still runs: it is not overtaken */
        return;
    }
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    if (posix_spawn(&r->command_pid, shell, &files, NULL, argv, environ) != 0)
        r->command_pid = 0;
    (void)posix_spawn_file_actions_destroy(&files);
    (void)close(ends[1]);
    free(line);
    if (r->command_pid == 0 || fd_prepare(ends[0]) != BM_OK) {
        (void)close(ends[0]);
        return;
    }
    r->command.run = r;
    r->command.fd = ends[0];
    r->command.over = false;
    r->command.watch = loop_add(r->s.loop, ends[0], EPOLLIN, on_command_output, r);
}

/* --- the round -------------------------------------------------------------------------------- */

static void
on_settle(void *arg)
{
    struct run *r = arg;
    struct bm_msg msg = { { 0 } };

    if (!r->dirty)
        return;
    r->dirty = false;
    if (queue_settle(r->queue, &msg) != BM_OK) {
        queue_failed(r, &msg);
        return;
    }
    if (r->s.o->ack && r->stored != r->taken) {
        printf("stored %llu\n", r->taken);
        (void)fflush(stdout);
        r->stored = r->taken;
    }
    finished(r);
}

/* Another program closed the queue: what it put is visible now, which it is not at the write. */
static void
on_folder(void *arg, uint32_t events)
{
    struct run *r = arg;
    uint8_t drain[4096];

    (void)events;
    while (read(r->notify_fd, drain, sizeof drain) > 0)
        ;
    send_more(r);
}

static void
on_watchdog(void *arg)
{
    struct run *r = arg;

    notify_send("WATCHDOG=1");
    (void)loop_after(r->s.loop, notify_watchdog_ms() / 3, on_watchdog, r);
}

static void
on_hangup(void *arg)
{
    struct run *r = arg;

    client_restart(r->s.client);
}

static enum bm_err
open_queue(struct run *r, struct bm_msg *msg)
{
    enum bm_err err = queue_open(&r->s.o->queue, &r->queue, msg);

    if (err != BM_ERR_INPUT)
        return err;
    fprintf(stderr, "birthmark device: %s: moved away, going on with an empty one\n", msg->text);
    err = queue_put_away(r->s.o->queue.dir, clock_wall_ms(), msg);
    return err == BM_OK ? queue_open(&r->s.o->queue, &r->queue, msg) : err;
}

static enum bm_err
open_inputs(struct run *r, struct bm_msg *msg)
{
    int fd;

    if (r->s.o->lines)
        (void)input_open(r, &r->standard, STDIN_FILENO);
    if (r->s.o->input != NULL) {
        /* opened for writing, too, so that a pipe is not at its end between two writers */
        fd = open(r->s.o->input, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            return bm_fail(msg, BM_ERR_IO, "--input %s: %s; make it with mkfifo", r->s.o->input,
                strerror(errno));
        (void)input_open(r, &r->pipe, fd);
    }
    r->notify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (r->notify_fd >= 0 &&
        inotify_add_watch(r->notify_fd, r->s.o->queue.dir, IN_CLOSE_WRITE) >= 0)
        (void)loop_add(r->s.loop, r->notify_fd, EPOLLIN, on_folder, r);
    if (r->s.o->command != NULL)
        r->command_timer = loop_after(r->s.loop, 0, on_command_due, r);
    return BM_OK;
}

static enum bm_err
open_rest(struct run *r, struct bm_msg *msg)
{
    enum bm_err err = loop_settle(r->s.loop, on_settle, r);

    if (err == BM_OK)
        err = loop_signal(r->s.loop, SIGHUP, on_hangup, r);
    return err == BM_OK ? open_inputs(r, msg) : err;
}

int
device_run(struct device_options *o)
{
    struct run r = {
        .standard = { .fd = -1 }, .pipe = { .fd = -1 }, .command = { .fd = -1 }, .notify_fd = -1
    };
    struct bm_msg msg = { { 0 } };
    int code = EXIT_FAILED;

    if (o->topic_count > 1)
        return cmd_misuse(
            "device", "run wants one --topic, or none: then each line begins with it");
    if ((o->command != NULL) != (o->every_s != 0))
        return cmd_misuse("device", "--command and --every go together");
    if (!device_state_needed(o))
        return EXIT_USAGE;
    if (!device_session_start(&r.s, o))
        return EXIT_FAILED;
    r.renewing.s = &r.s;
    o->client.connected = on_connected;
    o->client.acknowledged = on_acknowledged;
    o->client.subscribed = on_subscribed;
    o->client.message = on_message;
    o->client.failed = on_failed;
    if (open_queue(&r, &msg) != BM_OK) {
        fprintf(stderr, "birthmark device: %s\n", msg.text);
    } else if (device_session_connect(&r.s, true)) {
        if (open_rest(&r, &msg) != BM_OK) {
            fprintf(stderr, "birthmark device: %s\n", msg.text);
        } else {
            notify_send("READY=1\nSTATUS=connecting");
            if (notify_watchdog_ms() > 0)
                on_watchdog(&r);
            code = device_session_run(&r.s);
            notify_send("STOPPING=1");
        }
    }
    device_renewing_fini(&r.renewing);
    client_close(r.s.client);
    r.s.client = NULL;
    queue_close(r.queue);
    if (r.command_pid != 0)
        (void)kill(r.command_pid, SIGTERM);
    device_session_fini(&r.s);
    buf_fini(&r.standard.text);
    buf_fini(&r.pipe.text);
    buf_fini(&r.command.text);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See server.h. A client is a struct with one buffer for what it sent and one for the reply that
 * its socket has not taken yet; while the latter is not empty, or the chip has not answered, the
 * client is not read, so a client that does not read costs one message of memory and nobody's time.
 */
#include "a71chd/server.h"

#include "a71chd/address.h"
#include "a71chd/control.h"
#include "a71chd/i2c.h"
#include "a71chd/lease.h"
#include "base/file.h"
#include "base/log.h"
#include "wire/jrcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INPUT_MAX = 4 * JRCP_MESSAGE_MAX };

struct listener {
    struct server *server;
    size_t chip;             /* index */
    struct listener *paused; /* the next one that is not watched, for there are too many clients */
    struct address address;
    int fd;
    struct loop_watch *watch; /* JRCP, or */
    struct i2c *i2c;          /* a bus, which has its chip all the time */
    bool has_chip;
    dev_t dev; /* of the Unix socket's file, so that only our own is removed */
    ino_t ino;
};

struct client {
    struct server *server;
    unsigned id;
    int fd;
    struct loop_watch *watch;
    uint32_t events;             /* that are watched */
    struct loop_timer *deadline; /* runs while a message or a reply is half done */
    size_t chip;                 /* index */
    struct backend *backend;
    struct backend_session *session;
    uint8_t asked; /* type of the message that the chip works on */
    bool leasing;  /* ... which is about a lease */
    bool serving;  /* inside serve(): an answer that comes at once is flushed there */
    bool cut;      /* a fault ends the connection */
    bool leaving;  /* its socket is half closed, and the chip works for it */
    uint8_t in[INPUT_MAX];
    size_t in_len;
    struct buf out; /* has room for a message from the start: no copies of keys by growing */
    size_t out_sent;
    bool trusted; /* may control: control.h */
    bool sole;    /* the process is there for it */
    struct client *next;
    struct client *prev;
};

struct server {
    struct loop *loop;
    struct chips *chips;
    struct listener **listeners;
    size_t listener_count;
    size_t listener_room;
    struct listener *paused;
    struct client *clients;
    size_t client_count;
    size_t client_max;
    unsigned last_id;
    int64_t deadline_ms;
    bool control_tcp;
    gid_t group;
    struct loop_timer *save;
    size_t worker;
    size_t workers;
};

/* There is room for a client again. */
static void
unpause(struct server *s)
{
    while (s->paused != NULL) {
        struct listener *l = s->paused;

        s->paused = l->paused;
        l->paused = NULL;
        loop_modify(s->loop, l->watch, EPOLLIN);
    }
}

static void
pause_listener(struct listener *l)
{
    struct server *s = l->server;

    if (s->paused == NULL)
        log_warn("%zu clients, more have to wait", s->client_count);
    loop_modify(s->loop, l->watch, 0);
    l->paused = s->paused;
    s->paused = l;
}

static void resume(struct client *c);

static void
watch_client(struct client *c, uint32_t events)
{
    if (events != c->events)
        loop_modify(c->server->loop, c->watch, events);
    c->events = events;
}

static void
client_free(struct client *c)
{
    struct server *s = c->server;

    loop_cancel(s->loop, c->deadline);
    loop_remove(s->loop, c->watch);
    (void)close(c->fd);
    if (c->sole)
        loop_stop(s->loop);
    backend_session_close(c->session);
    chips_release(s->chips, c->chip);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        s->clients = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    s->client_count--;
    unpause(s);
    bm_wipe(c->out.ptr, c->out.cap); /* commands and replies may hold keys */
    buf_fini(&c->out);
    bm_wipe(c, sizeof *c);
    free(c);
}

static void
client_drop(struct client *c, const char *cause)
{
    log_warn("closing client=%u: %s", c->id, cause);
    client_free(c);
}

static void
on_deadline(void *arg)
{
    struct client *c = arg;

    c->deadline = NULL;
    client_drop(c, backend_waiting(c->session) ? "it has left, and the chip does not answer"
                   : c->out.len > 0            ? "it has not taken its reply in time"
                                               : "its message did not end in time");
}

/*
 * The deadline runs from the start of a half-done message or reply, and a whole message renews it;
 * single bytes do not.
 */
static void
update_deadline(struct client *c, bool finished_one)
{
    bool half = (c->in_len > 0 && !backend_waiting(c->session)) || c->out.len > 0;

    if (finished_one) {
        loop_cancel(c->server->loop, c->deadline);
        c->deadline = NULL;
    }
    if (half && c->deadline == NULL)
        c->deadline = loop_after(c->server->loop, c->server->deadline_ms, on_deadline, c);
    if (!half && c->deadline != NULL) {
        loop_cancel(c->server->loop, c->deadline);
        c->deadline = NULL;
    }
}

/* Send what is pending: false when the client is gone. */
static bool
flush(struct client *c)
{
    while (c->out_sent < c->out.len) {
        ssize_t n = send(
            c->fd, &c->out.ptr[c->out_sent], c->out.len - c->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            watch_client(c, EPOLLOUT);
            return true;
        }
        if (n <= 0) {
            log_debug("client=%u went away before its reply", c->id);
            client_free(c);
            return false;
        }
        c->out_sent += (size_t)n;
    }
    bm_wipe(c->out.ptr, c->out.len);
    c->out.len = c->out_sent = 0;
    return true;
}

/* Append a message to what the client gets, header and payload together: SPEC a71ch 6.3. */
static void
reply(struct client *c, uint8_t mty, struct span payload)
{
    uint8_t *to = buf_reserve(&c->out, JRCP_MESSAGE_MAX);
    struct wr w = wr_of(to, to != NULL ? JRCP_MESSAGE_MAX : 0);

    if (payload.len > JRCP_PAYLOAD_MAX) /* a sentence; answers of chips are shorter */
        payload.len = JRCP_PAYLOAD_MAX;
    (void)jrcp_build(&w, &(struct jrcp_msg){ .mty = mty, .payload = payload });
    c->out.len += wr_len(&w);
}

static void
reply_lease(struct client *c, const struct backend_answer *answer)
{
    uint8_t *to = buf_reserve(&c->out, JRCP_MESSAGE_MAX);
    struct wr w = wr_of(to, to != NULL ? JRCP_MESSAGE_MAX : 0);

    lease_reply(&w, c->asked, answer);
    c->out.len += wr_len(&w);
}

/*
 * The chip has answered, or it is known why it can not: then an error message, whose last two bytes
 * no vendor client takes for a good status word.
 */
static void
on_answer(void *arg, const struct backend_answer *answer)
{
    struct client *c = arg;

    c->cut = answer->err == BM_ERR_CLOSED;
    if (c->leasing)
        reply_lease(c, answer);
    else if (answer->err == BM_OK)
        reply(c, c->asked, answer->bytes);
    else
        reply(c, JRCP_ERROR, span_str(answer->cause));
    if (!c->serving)
        resume(c); /* last thing: the client may be gone */
}

/* False: the message is not about leases. */
static bool
take_lease(struct client *c, const struct jrcp_msg *msg)
{
    struct lease_request request;
    struct backend_answer answer = { 0 };

    answer.err = lease_parse(msg, &request, &answer.cause);
    c->leasing = answer.err != BM_ERR_NOT_FOUND;
    if (answer.err == BM_OK && !request.release) {
        backend_lease(c->session, request.wait_ms, request.hold_ms);
        return true;
    }
    if (answer.err == BM_OK) {
        answer.err = backend_release(c->session);
        answer.cause = "you have no lease of the chip, or its time was over";
    }
    if (c->leasing)
        reply_lease(c, &answer);
    return c->leasing;
}

static void
take_message(struct client *c, const struct jrcp_msg *msg)
{
    c->asked = msg->mty;
    if (take_lease(c, msg))
        return;
    switch (msg->mty) {
    case JRCP_DEBUG_INFO:
        control_answer(c->server, c->backend, c->trusted, msg->payload, &c->out);
        return;
    case JRCP_WAIT_FOR_CARD:
        backend_reset(c->session);
        return;
    case JRCP_APDU:
        backend_apdu(c->session, msg->payload);
        return;
    default: /* the peer's byte, not our enum; unknown types are answered empty, SPEC 6.1 */
        reply(c, msg->mty, (struct span){ 0 });
        return;
    }
}

/* Can there be no reply? Then the client is gone. */
static bool
broken(struct client *c)
{
    if (c->out.failed)
        client_drop(c, "out of memory");
    else if (c->cut)
        client_drop(c, "a fault on purpose");
    else
        return false;
    return true;
}

/*
 * Answer whole messages until one is missing, the chip takes its time or the socket is full. False:
 * the client is gone.
 */
static bool
serve(struct client *c)
{
    struct rd r = rd_of(span_of(c->in, c->in_len));
    struct jrcp_msg msg;
    enum bm_err err = BM_ERR_MORE;
    size_t used;

    c->serving = true;
    while (
        c->out.len == 0 && !backend_waiting(c->session) && (err = jrcp_parse(&r, &msg)) == BM_OK) {
        take_message(c, &msg);
        if (broken(c) || !flush(c))
            return false;
    }
    c->serving = false;
    if (err == BM_ERR_PROTO) {
        client_drop(c, "its message has a length above 316 bytes, so the stream makes no sense");
        return false;
    }
    used = c->in_len - rd_left(&r);
    memmove(c->in, &c->in[used], c->in_len - used);
    bm_wipe(&c->in[c->in_len - used], used);
    c->in_len -= used;
    update_deadline(c, used > 0);
    if (c->out.len == 0)
        watch_client(c, backend_waiting(c->session) ? EPOLLRDHUP : EPOLLIN);
    return true;
}

/* Go on after an answer that came late or a socket that was full. */
static void
resume(struct client *c)
{
    if (broken(c))
        return;
    if (c->leaving)
        update_deadline(c, true);
    if (!flush(c) || c->out.len > 0)
        return;
    if (c->leaving)
        client_free(c);
    else
        (void)serve(c); /* last thing: the client may be gone */
}

/* Read once, so that one busy client does not keep the others waiting. False: the client is gone.
 */
static bool
receive(struct client *c)
{
    ssize_t n = recv(c->fd, &c->in[c->in_len], sizeof c->in - c->in_len, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return true;
    if (n <= 0) {
        log_debug("client=%u left%s", c->id, c->in_len > 0 ? " in the middle of a message" : "");
        client_free(c);
        return false;
    }
    c->in_len += (size_t)n;
    return true;
}

static void
on_client(void *arg, uint32_t events)
{
    struct client *c = arg;

    if ((events & (EPOLLHUP | EPOLLERR)) != 0 && (events & EPOLLIN) == 0) {
        client_free(c);
        return;
    }
    if (backend_waiting(c->session)) { /* it may have left, or only have no more to ask */
        c->leaving = true;
        c->deadline = loop_after(c->server->loop, c->server->deadline_ms, on_deadline, c);
        watch_client(c, 0);
    } else if (c->out.len > 0) {
        resume(c);
    } else if (receive(c)) {
        (void)serve(c); /* last thing: the client may be gone */
    }
}

/* May this peer control? Over a Unix socket its user decides, over TCP an option. */
static bool
is_trusted(const struct listener *l, int fd)
{
    return address_path(&l->address) == NULL ? l->server->control_tcp : peer_owner(fd);
}

static enum bm_err
client_open(struct client *c, const struct listener *l, struct bm_msg *msg)
{
    struct server *s = l->server;
    enum bm_err err = fd_prepare(c->fd);

    if (err == BM_OK)
        err = chips_take(s->chips, l->chip, &c->backend, msg);
    if (err == BM_OK)
        err = backend_session_open(c->backend, s->last_id + 1, on_answer, c, &c->session);
    if (err == BM_OK && (buf_reserve(&c->out, JRCP_MESSAGE_MAX) == NULL ||
                            (c->watch = loop_add(s->loop, c->fd, EPOLLIN, on_client, c)) == NULL))
        err = BM_ERR_MEM;
    return err;
}

/* NULL: it was turned away, and `fd` is closed. */
static struct client *
client_new(const struct listener *l, int fd)
{
    const int on = 1;
    struct server *s = l->server;
    struct bm_msg msg = { "out of memory" };
    struct client *c = calloc(1, sizeof *c);

    if (c != NULL)
        *c = (struct client){ .server = s, .fd = fd, .events = EPOLLIN, .chip = l->chip };
    if (c == NULL || client_open(c, l, &msg) != BM_OK) {
        log_error("cannot take a client: %s", msg.text);
        if (c != NULL) {
            backend_session_close(c->session);
            if (c->backend != NULL)
                chips_release(s->chips, c->chip);
            buf_fini(&c->out);
        }
        free(c);
        (void)close(fd);
        return NULL;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on Unix sockets */
    c->trusted = is_trusted(l, fd);
    c->id = ++s->last_id;
    c->next = s->clients;
    if (c->next != NULL)
        c->next->prev = c;
    s->clients = c;
    s->client_count++;
    log_debug("client=%u connected chip=%zu", c->id, c->chip);
    return c;
}

static bool
is_allowed(const struct listener *l, int fd)
{
    uid_t uid;

    if (address_path(&l->address) == NULL || peer_allowed(fd, l->server->group))
        return true;
    (void)peer_user(fd, &uid);
    log_warn("turned away uid=%lu: it neither runs this a71chd nor is in the socket's group",
        (unsigned long)uid);
    return false;
}

static void
on_listener(void *arg, uint32_t events)
{
    struct listener *l = arg;
    int fd;

    (void)events;
    while (l->server->client_count < l->server->client_max) {
        fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                log_error("cannot accept a client: %s", strerror(errno));
            return;
        }
        if (is_allowed(l, fd))
            (void)client_new(l, fd);
        else
            (void)close(fd);
    }
    pause_listener(l);
}

/* One chip at a time, each in turn: the disk is slow, and clients wait for nothing here. */
static void
on_save(void *arg)
{
    struct server *s = arg;
    size_t open = chips_open_count(s->chips);

    chips_save_next(s->chips);
    s->save = loop_after(s->loop, SERVER_SAVE_MS / (int64_t)(open > 0 ? open : 1), on_save, s);
}

enum bm_err
server_new(
    struct loop *loop, struct chips *chips, const struct server_options *o, struct server **out)
{
    struct server *s = calloc(1, sizeof *s);

    *out = NULL;
    if (s == NULL)
        return BM_ERR_MEM;
    s->loop = loop;
    s->chips = chips;
    s->client_max = o->clients_max;
    s->worker = o->worker;
    s->workers = o->workers > 1 ? o->workers : 1;
    s->deadline_ms = (int64_t)o->deadline_s * 1000;
    s->control_tcp = o->control_tcp;
    s->group = o->group;
    s->listener_room = SERVER_LISTENERS_MAX * chips_count(chips);
    s->listeners = calloc(s->listener_room, sizeof *s->listeners);
    s->save = loop_after(loop, SERVER_SAVE_MS, on_save, s);
    if (s->listeners == NULL || s->save == NULL) {
        server_free(s);
        return BM_ERR_MEM;
    }
    *out = s;
    return BM_OK;
}

enum bm_err
server_attach(struct server *s, int fd, struct bm_msg *msg)
{
    const struct listener nobody = { .server = s };
    struct client *c = client_new(&nobody, fd);

    if (c == NULL)
        return bm_fail(msg, BM_ERR_IO, "cannot serve descriptor %d; is it a socket?", fd);
    c->sole = c->trusted = true;
    return BM_OK;
}

size_t
server_client_count(const struct server *s)
{
    return s->client_count;
}

const struct chips *
server_chips(const struct server *s)
{
    return s->chips;
}

static void
listener_close(struct server *s, struct listener *l)
{
    const char *path = address_path(&l->address);
    struct stat st;

    loop_remove(s->loop, l->watch);
    i2c_free(l->i2c);
    if (path != NULL && lstat(path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        (void)unlink(path);
    (void)close(l->fd);
    if (l->has_chip)
        chips_release(s->chips, l->chip);
    free(l);
}

void
server_free(struct server *s)
{
    if (s == NULL)
        return;
    while (s->clients != NULL)
        client_free(s->clients);
    for (size_t i = 0; i < s->listener_count; i++)
        listener_close(s, s->listeners[i]);
    loop_cancel(s->loop, s->save);
    free(s->listeners);
    free(s);
}

/* Make the listener of one chip; takes the address over, with the port that was found. */
static enum bm_err
listen_at(struct server *s, struct address *a, size_t chip, struct bm_msg *msg)
{
    struct listener *l;
    struct backend *backend;
    struct stat st;
    enum bm_err err;
    int fd;

    if (s->listener_count == s->listener_room)
        return bm_fail(msg, BM_ERR_LIMIT, "--listen may be given %d times", SERVER_LISTENERS_MAX);
    err = address_listen(a, &fd, msg);
    if (err != BM_OK)
        return err;
    l = calloc(1, sizeof *l);
    if (l == NULL) {
        (void)close(fd);
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    *l = (struct listener){ .server = s, .address = *a, .chip = chip, .fd = fd };
    if (address_path(a) != NULL && lstat(address_path(a), &st) == 0) {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    s->listeners[s->listener_count++] = l; /* from here on server_free closes it */
    if (s->group != PEER_NO_GROUP && address_path(a) != NULL) {
        err = peer_share(address_path(a), s->group, 0660, msg);
        if (err != BM_OK)
            return err;
    }
    if (a->i2c) {
        err = chips_take(s->chips, chip, &backend, msg);
        if (err != BM_OK)
            return err;
        l->has_chip = true;
        err = i2c_new(s->loop, backend, fd, &l->i2c);
    } else if ((l->watch = loop_add(s->loop, fd, EPOLLIN, on_listener, l)) == NULL) {
        err = BM_ERR_MEM;
    }
    return err == BM_OK ? BM_OK : bm_fail(msg, err, "out of memory");
}

/* PATH/0000 ... */
static enum bm_err
listen_in_folder(struct server *s, const char *folder, struct bm_msg *msg)
{
    enum bm_err err = dir_make(folder, 0700, msg);

    if (err == BM_OK && s->group != PEER_NO_GROUP)
        err = peer_share(folder, s->group, 0710, msg);
    for (size_t i = s->worker; err == BM_OK && i < chips_count(s->chips); i += s->workers) {
        char text[ADDRESS_TEXT_LEN];
        char name[CHIPS_NAME_LEN];
        struct address a;

        chips_name(name, i);
        if (snprintf(text, sizeof text, "unix:%s/%s", folder, name) >= (int)sizeof text)
            return bm_fail(
                msg, BM_ERR_ARG, "unix-dir:%s: the path is too long for sockets", folder);
        err = address_from_text(text, &a, msg);
        if (err == BM_OK)
            err = listen_at(s, &a, i, msg);
    }
    if (err == BM_OK && s->worker == 0)
        printf("listening unix-dir:%s\n", folder);
    return err;
}

/* One address, or with many chips as many ports in a row. */
static enum bm_err
listen_at_ports(struct server *s, const char *text, struct bm_msg *msg)
{
    size_t count = chips_count(s->chips);
    char shown[ADDRESS_TEXT_LEN];
    struct address first;
    struct address a;
    enum bm_err err = address_from_text(text, &first, msg);

    if (err == BM_OK && count > 1 && !address_has_ports(&first, count))
        return bm_fail(msg, BM_ERR_ARG,
            "%s: %zu chips need unix-dir:PATH, or tcp:HOST:PORT with so many ports from PORT on",
            text, count);
    for (size_t i = s->worker; err == BM_OK && i < count; i += s->workers) {
        a = first;
        if (i > 0)
            address_add_port(&a, i);
        err = listen_at(s, &a, i, msg);
    }
    if (err != BM_OK || s->worker != 0)
        return err;
    if (count == 1)
        first = a; /* port 0 has become one */
    address_text(shown, &first);
    if (!address_local(&first))
        log_warn("%s is open to other machines: whoever reaches it can sign with the chip", shown);
    printf("listening %s\n", shown);
    return BM_OK;
}

enum bm_err
server_listen(struct server *s, const char *address, struct bm_msg *msg)
{
    enum bm_err err = strncmp(address, "unix-dir:", 9) == 0 ? listen_in_folder(s, &address[9], msg)
                                                            : listen_at_ports(s, address, msg);

    if (err == BM_OK && fflush(stdout) != 0)
        err = bm_fail(msg, BM_ERR_IO, "cannot write to stdout");
    return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See upstream.h. */
#include "broker/upstream.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { KEEP_IDLE_S = 30, KEEP_EVERY_S = 10, KEEP_COUNT = 3 };

bool
upstream_is_url(const char *text)
{
    return strstr(text, "://") != NULL;
}

/* All addresses of a name; of what is more than fits, the first. */
static enum bm_err
resolve(struct upstream *u, const char *host, const char *port, struct bm_msg *msg)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);

    if (rc != 0)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "the broker's host %s has no address: %s", host,
            gai_strerror(rc));
    for (const struct addrinfo *a = found; a != NULL && u->count < UPSTREAM_ADDRESSES_MAX;
         a = a->ai_next) {
        struct sockaddr_storage *sa = &u->addresses[u->count].sa;

        memcpy(sa, a->ai_addr, a->ai_addrlen);
        u->addresses[u->count].len = a->ai_addrlen;
        u->addresses[u->count].port = ntohs(sa->ss_family == AF_INET6
                                                ? ((struct sockaddr_in6 *)(void *)sa)->sin6_port
                                                : ((struct sockaddr_in *)(void *)sa)->sin_port);
        if (getnameinfo(a->ai_addr, a->ai_addrlen, u->addresses[u->count].host,
                sizeof u->addresses[u->count].host, NULL, 0, NI_NUMERICHOST) == 0)
            (void)snprintf(
                u->addresses[u->count++].name, sizeof u->addresses[0].name, "%s", host);
    }
    freeaddrinfo(found);
    return BM_OK;
}

/* HOST, HOST:PORT, [IPV6] or [IPV6]:PORT; changed in place. */
static enum bm_err
take_place(struct upstream *u, char *place, struct bm_msg *msg)
{
    bool bracket = place[0] == '[';
    char *end = bracket ? strchr(place, ']') : strchr(place, ':');
    char *port = bracket && end != NULL ? end + 1 : end;
    char *rest = NULL;
    unsigned long number;

    if (bracket && end == NULL)
        return bm_fail(msg, BM_ERR_INPUT, "the broker's address %s has no ']'", place);
    if (port == NULL || *port == '\0') {
        port = NULL;
    } else if (*port != ':') {
        return bm_fail(msg, BM_ERR_INPUT, "what follows ']' in the broker's address is no port");
    } else {
        *port++ = '\0';
        errno = 0;
        number = strtoul(port, &rest, 10);
        if (port[0] < '0' || port[0] > '9' || *rest != '\0' || errno != 0 || number == 0 ||
            number > 65535)
            return bm_fail(msg, BM_ERR_INPUT, "the broker's port '%s' is not 1 to 65535", port);
    }
    if (bracket)
        *end = '\0';
    place += bracket;
    if (*place == '\0')
        return bm_fail(msg, BM_ERR_INPUT, "the broker's address has no host");
    if (strlen(place) >= UPSTREAM_NAME_MAX)
        return bm_fail(msg, BM_ERR_INPUT, "the broker's host %.40s... has more than %d bytes",
            place, UPSTREAM_NAME_MAX - 1);
    return resolve(u, place, port != NULL ? port : u->tls ? "8883" : "1883", msg);
}

enum bm_err
upstream_parse(const char *url, struct upstream *out, struct bm_msg *msg)
{
    char text[1024];
    char *at = text;
    char *user = text;
    char *save = NULL;
    enum bm_err err = BM_OK;

    *out = (struct upstream){ .tls = strncmp(url, "mqtts://", 8) == 0 };
    if ((!out->tls && strncmp(url, "mqtt://", 7) != 0) ||
        (size_t)snprintf(text, sizeof text, "%s", url + (out->tls ? 8 : 7)) >= sizeof text)
        return bm_fail(msg, BM_ERR_INPUT,
            "a broker's address is mqtt://[USER@]HOST[:PORT][,HOST[:PORT]...], or mqtts:// for TLS, "
            "not %.100s",
            url);
    at = strrchr(text, '@');
    if (at != NULL) {
        *at++ = '\0';
        if (strchr(user, ':') != NULL)
            return bm_fail(msg, BM_ERR_INPUT,
                "no password in the broker's address, where everybody on this machine can read it: "
                "put it into a file and name that with --broker-password");
        (void)snprintf(out->username, sizeof out->username, "%s", user);
    } else {
        at = text;
    }
    if (at[strcspn(at, "/?#")] != '\0')
        return bm_fail(msg, BM_ERR_INPUT, "nothing may follow the hosts in the broker's address");
    for (char *p = strtok_r(at, ",", &save); p != NULL && err == BM_OK;
         p = strtok_r(NULL, ",", &save))
        err = take_place(out, p, msg);
    if (err == BM_OK && out->count == 0)
        err = bm_fail(msg, BM_ERR_INPUT, "the broker's address has no host");
    return err;
}

/* A cluster whose machine is gone says nothing; who only waits for messages would wait for ever. */
static void
keep_alive(int fd)
{
    const int on = 1;
    const int idle = KEEP_IDLE_S;
    const int every = KEEP_EVERY_S;
    const int count = KEEP_COUNT;
    const unsigned unacked_ms = 1000 * (KEEP_IDLE_S + KEEP_EVERY_S * KEEP_COUNT);

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof unacked_ms);
}

int
upstream_open(const struct upstream *u, size_t which)
{
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    const struct sockaddr *to = (const struct sockaddr *)&local;
    socklen_t len = sizeof local;
    int fd;

    if (u->path != NULL) {
        (void)snprintf(local.sun_path, sizeof local.sun_path, "%s", u->path);
    } else {
        to = (const struct sockaddr *)&u->addresses[which % u->count].sa;
        len = u->addresses[which % u->count].len;
    }
    fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && u->path == NULL)
        keep_alive(fd);
    if (fd >= 0 && connect(fd, to, len) != 0 && errno != EINPROGRESS) {
        int cause = errno;

        (void)close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

bool
upstream_answers(const struct upstream *u, size_t which, int wait_ms)
{
    int fd = upstream_open(u, which);
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int cause = 0;
    socklen_t len = sizeof cause;

    if (fd < 0)
        return errno == EAGAIN; /* its queue is full: it is there */
    if (u->path == NULL && (poll(&p, 1, wait_ms) != 1 ||
                               getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &len) != 0))
        cause = ETIMEDOUT;
    (void)close(fd);
    return cause == 0;
}

size_t
upstream_first(const struct upstream *u, size_t from, int wait_ms)
{
    for (size_t i = 0; u->path == NULL && i < u->count; i++) {
        if (upstream_answers(u, from + i, wait_ms))
            return from + i;
    }
    return from;
}

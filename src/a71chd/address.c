/* SPDX-License-Identifier: Apache-2.0 */
/* See address.h. */
#include "a71chd/address.h"

#include "base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 512 };

static enum bm_err
parse_unix(const char *path, struct address *out, struct bm_msg *msg)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    if (*path == '\0' || strlen(path) >= sizeof un.sun_path)
        return bm_fail(msg, BM_ERR_ARG, "unix:%s: the path must have 1 to %zu bytes", path,
            sizeof un.sun_path - 1);
    memcpy(un.sun_path, path, strlen(path) + 1);
    memcpy(&out->sa, &un, sizeof un);
    out->len = sizeof un;
    return BM_OK;
}

static enum bm_err
resolve(const char *host, const char *port, struct address *out, struct bm_msg *msg)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);

    if (rc != 0)
        return bm_fail(msg, BM_ERR_ARG, "tcp:%s:%s: %s", host, port, gai_strerror(rc));
    memcpy(&out->sa, found->ai_addr, found->ai_addrlen);
    out->len = found->ai_addrlen;
    freeaddrinfo(found);
    return BM_OK;
}

/* HOST:PORT, the host of IPv6 in brackets. */
static enum bm_err
parse_tcp(const char *text, struct address *out, struct bm_msg *msg)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    const char *from = text;

    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        from = &text[1];
        len -= 2;
    }
    if (len == 0 || len >= sizeof host || colon[1] == '\0' ||
        strspn(&colon[1], "0123456789") != strlen(&colon[1]) || strlen(colon) > 6)
        return bm_fail(msg, BM_ERR_ARG,
            "address %s: want tcp:HOST:PORT, as tcp:127.0.0.1:8050, or unix:PATH, i2c-unix:PATH or "
            "unix-dir:PATH",
            text);
    memcpy(host, from, len);
    host[len] = '\0';
    return resolve(host, &colon[1], out, msg);
}

enum bm_err
address_from_text(const char *text, struct address *out, struct bm_msg *msg)
{
    *out = (struct address){ 0 };
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(&text[5], out, msg);
    if (strncmp(text, "i2c-unix:", 9) == 0) {
        out->i2c = true;
        return parse_unix(&text[9], out, msg);
    }
    if (strncmp(text, "tcp:", 4) == 0)
        return parse_tcp(&text[4], out, msg);
    return parse_tcp(text, out, msg); /* as in the vendor's tools: HOST:PORT alone */
}

const char *
address_path(const struct address *a)
{
    if (a->sa.ss_family != AF_UNIX)
        return NULL;
    return ((const struct sockaddr_un *)(const void *)&a->sa)->sun_path;
}

void
address_text(char out[ADDRESS_TEXT_LEN], const struct address *a)
{
    const char *path = address_path(a);
    char host[64];
    char port[8];
    int rc;

    if (path != NULL) {
        (void)snprintf(out, ADDRESS_TEXT_LEN, a->i2c ? "i2c-unix:%s" : "unix:%s", path);
        return;
    }
    rc = getnameinfo((const struct sockaddr *)(const void *)&a->sa, a->len, host, sizeof host, port,
        sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    if (rc != 0)
        (void)snprintf(out, ADDRESS_TEXT_LEN, "tcp:?");
    else if (a->sa.ss_family == AF_INET6)
        (void)snprintf(out, ADDRESS_TEXT_LEN, "tcp:[%s]:%s", host, port);
    else
        (void)snprintf(out, ADDRESS_TEXT_LEN, "tcp:%s:%s", host, port);
}

/* NULL: no TCP address. */
static in_port_t *
port_of(struct address *a)
{
    if (a->sa.ss_family == AF_INET)
        return &((struct sockaddr_in *)(void *)&a->sa)->sin_port;
    if (a->sa.ss_family == AF_INET6)
        return &((struct sockaddr_in6 *)(void *)&a->sa)->sin6_port;
    return NULL;
}

bool
address_has_ports(const struct address *a, size_t count)
{
    struct address copy = *a;
    const in_port_t *port = port_of(&copy);

    return port != NULL && *port != 0 && ntohs(*port) + count - 1 <= UINT16_MAX;
}

void
address_add_port(struct address *a, size_t more)
{
    in_port_t *port = port_of(a);

    *port = htons((uint16_t)(ntohs(*port) + more));
}

bool
address_local(const struct address *a)
{
    if (a->sa.ss_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, &a->sa, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    if (a->sa.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, &a->sa, sizeof in6);
        return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) != 0;
    }
    return true;
}

static int
open_socket(const struct address *a)
{
    return socket(a->sa.ss_family, (a->i2c ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0);
}

static int
connect_to(int fd, const struct address *a)
{
    return connect(fd, (const struct sockaddr *)(const void *)&a->sa, a->len);
}

/* A socket file that a dead process left may go; one that answers may not, nor any other file. */
static enum bm_err
clear_stale(const struct address *a, struct bm_msg *msg)
{
    const char *path = address_path(a);
    struct stat st;
    int fd;
    bool refused;

    if (path == NULL || lstat(path, &st) != 0)
        return BM_OK;
    if (!S_ISSOCK(st.st_mode))
        return bm_fail(
            msg, BM_ERR_CONFLICT, "%s exists and is not a socket; name another path", path);
    fd = open_socket(a);
    if (fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot make a socket: %s", strerror(errno));
    /* EPROTOTYPE: somebody listens for another kind of connection */
    refused = connect_to(fd, a) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    if (!refused)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "somebody listens on unix:%s already; stop it or name another path", path);
    if (unlink(path) != 0)
        return bm_fail(msg, BM_ERR_IO, "cannot remove stale %s: %s", path, strerror(errno));
    return BM_OK;
}

/* The mode of a new socket file comes from the umask; chmod afterwards would leave a gap. */
static int
bind_private(int fd, const struct address *a)
{
    mode_t old = umask(0177);
    int rc = bind(fd, (const struct sockaddr *)(const void *)&a->sa, a->len);
    int cause = errno;

    (void)umask(old);
    errno = cause;
    return rc;
}

enum bm_err
address_listen(struct address *a, int *out, struct bm_msg *msg)
{
    char text[ADDRESS_TEXT_LEN];
    const int on = 1;
    int fd;
    enum bm_err err = clear_stale(a, msg);

    if (err != BM_OK)
        return err;
    address_text(text, a);
    fd = open_socket(a);
    if (fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot make a socket: %s", strerror(errno));
    if (address_path(a) == NULL)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind_private(fd, a) != 0 || listen(fd, BACKLOG) != 0 || fd_prepare(fd) != BM_OK) {
        err = errno == EADDRINUSE ? BM_ERR_CONFLICT : BM_ERR_IO;
        err = bm_fail(msg, err, "cannot listen on %s: %s", text, strerror(errno));
        (void)close(fd);
        return err;
    }
    if (address_path(a) == NULL) {
        a->len = sizeof a->sa;
        (void)getsockname(fd, (struct sockaddr *)(void *)&a->sa, &a->len);
    }
    *out = fd;
    return BM_OK;
}

enum bm_err
address_connect(const struct address *a, int timeout_ms, int *out, struct bm_msg *msg)
{
    struct timeval limit = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
    char text[ADDRESS_TEXT_LEN];
    int fd = open_socket(a);

    if (fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot make a socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connect, too */
    if (connect_to(fd, a) != 0) {
        enum bm_err err;

        address_text(text, a);
        err = bm_fail(
            msg, BM_ERR_IO, "cannot connect to %s: %s; is a71chd running?", text, strerror(errno));
        (void)close(fd);
        return err;
    }
    *out = fd;
    return BM_OK;
}

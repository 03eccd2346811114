/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. curl says which sockets it waits for and until when; the loop tells it. */
#include "http/client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

struct http_client {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer *timer;
    struct transfer *transfers;
    struct socket *sockets;
};

struct transfer {
    struct transfer *next;
    CURL *easy;
    struct curl_slist *headers;
    char why[CURL_ERROR_SIZE];
    http_done_fn done;
    void *arg;
};

struct socket {
    struct socket *next;
    struct http_client *client;
    curl_socket_t fd;
    struct loop_watch *watch;
};

static void
transfer_free(struct http_client *c, struct transfer *t)
{
    for (struct transfer **at = &c->transfers; *at != NULL; at = &(*at)->next) {
        if (*at == t) {
            *at = t->next;
            break;
        }
    }
    if (t->easy != NULL) {
        (void)curl_multi_remove_handle(c->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->headers);
    free(t);
}

static void
finish(struct http_client *c)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
        struct transfer *t;
        long status = 0;
        CURLcode result = m->data.result;
        char why[CURL_ERROR_SIZE] = "";
        http_done_fn done;
        void *arg;

        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        if (result == CURLE_OK)
            (void)curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        else
            (void)snprintf(
                why, sizeof why, "%s", t->why[0] != '\0' ? t->why : curl_easy_strerror(result));
        done = t->done;
        arg = t->arg;
        transfer_free(c, t);
        done(arg, (unsigned)status, why);
    }
}

static void
on_timer(void *arg)
{
    struct http_client *c = arg;
    int running;

    c->timer = NULL;
    (void)curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    finish(c);
}

static void
on_socket(void *arg, uint32_t events)
{
    struct socket *s = arg;
    struct http_client *c = s->client;
    int running;
    int mask = ((events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
               ((events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
               ((events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);

    (void)curl_multi_socket_action(c->multi, s->fd, mask, &running); /* may free s */
    finish(c);
}

/* curl must not be called from its own timer call: a delay of 0 waits for the loop. */
static int
want_timer(CURLM *multi, long ms, void *arg)
{
    struct http_client *c = arg;

    (void)multi;
    loop_cancel(c->loop, c->timer);
    c->timer = ms >= 0 ? loop_after(c->loop, ms, on_timer, c) : NULL;
    return 0;
}

static void
socket_free(struct http_client *c, struct socket *s)
{
    for (struct socket **at = &c->sockets; *at != NULL; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    loop_remove(c->loop, s->watch);
    free(s);
}

static int
want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http_client *c = arg;
    struct socket *s = socket_arg;
    uint32_t events = ((what & CURL_POLL_IN) != 0 ? (uint32_t)EPOLLIN : 0) |
                      ((what & CURL_POLL_OUT) != 0 ? (uint32_t)EPOLLOUT : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s != NULL)
            socket_free(c, s);
        return 0;
    }
    if (s != NULL) {
        loop_modify(c->loop, s->watch, events);
        return 0;
    }
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return -1;
    *s = (struct socket){ c->sockets, c, fd, loop_add(c->loop, fd, events, on_socket, s) };
    if (s->watch == NULL) {
        free(s);
        return -1;
    }
    c->sockets = s;
    (void)curl_multi_assign(c->multi, fd, s);
    return 0;
}

enum bm_err
http_client_open(struct loop *loop, struct http_client **out, struct bm_msg *msg)
{
    struct http_client *c = calloc(1, sizeof *c);

    *out = c;
    if (c != NULL) {
        c->loop = loop;
        c->multi = curl_multi_init();
    }
    if (c == NULL || c->multi == NULL) {
        free(c);
        *out = NULL;
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    (void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
    (void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    (void)curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, want_timer);
    (void)curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    return BM_OK;
}

void
http_client_close(struct http_client *c)
{
    if (c == NULL)
        return;
    while (c->transfers != NULL)
        transfer_free(c, c->transfers);
    (void)curl_multi_cleanup(c->multi);
    while (c->sockets != NULL)
        socket_free(c, c->sockets);
    loop_cancel(c->loop, c->timer);
    free(c);
}

static size_t
ignore(char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes;
    (void)arg;
    return size * count;
}

static bool
set_headers(struct transfer *t, const char *const *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct curl_slist *list = curl_slist_append(t->headers, headers[i]);

        if (list == NULL)
            return false;
        t->headers = list;
    }
    return true;
}

static bool
configure(struct transfer *t, const char *url, struct span body)
{
    CURL *e = t->easy;

    return curl_easy_setopt(e, CURLOPT_PRIVATE, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->why) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)HTTP_CLIENT_TIMEOUT_MS) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, ignore) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len) == CURLE_OK &&
           curl_easy_setopt(
               e, CURLOPT_COPYPOSTFIELDS, body.len > 0 ? (const char *)body.ptr : "") == CURLE_OK;
}

enum bm_err
http_client_post(struct http_client *c, const char *url, const char *const *headers,
    size_t header_count, struct span body, http_done_fn done, void *arg, struct bm_msg *msg)
{
    struct transfer *t;

    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return bm_fail(msg, BM_ERR_INPUT, "'%.100s' is no http or https URL", url);
    t = calloc(1, sizeof *t);
    if (t == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    t->done = done;
    t->arg = arg;
    t->next = c->transfers;
    c->transfers = t;
    t->easy = curl_easy_init();
    if (t->easy == NULL || !set_headers(t, headers, header_count) || !configure(t, url, body) ||
        curl_multi_add_handle(c->multi, t->easy) != CURLM_OK) {
        transfer_free(c, t);
        return bm_fail(msg, BM_ERR_MEM, "the request to '%.100s' cannot be prepared", url);
    }
    return BM_OK;
}

static bool
host_is_loopback(char *host)
{
    uint8_t ip[4];
    struct in6_addr ip6;
    size_t len = strlen(host);

    if (inet_pton(AF_INET, host, ip) == 1)
        return ip[0] == 127;
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        return inet_pton(AF_INET6, host + 1, &ip6) == 1 && IN6_IS_ADDR_LOOPBACK(&ip6);
    }
    return strcasecmp(host, "localhost") == 0;
}

enum bm_err
http_url_check(const char *url, bool *loopback, struct bm_msg *msg)
{
    CURLU *u = curl_url();
    char *host = NULL;
    bool ok = u != NULL && (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) &&
              strpbrk(url, " \t\r\n") == NULL &&
              curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK;

    *loopback = ok && host_is_loopback(host);
    curl_free(host);
    curl_url_cleanup(u);
    return ok ? BM_OK : bm_fail(msg, BM_ERR_INPUT, "'%.100s' is no http or https URL", url);
}

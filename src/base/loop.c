/* SPDX-License-Identifier: Apache-2.0 */
/* See loop.h. Timers live in a binary heap ordered by due time; `heap_at` is a timer's own place.
 */
#include "base/loop.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, MAX_HOOKS = 24 };

struct loop_watch {
    int fd;
    bool dead;
    loop_fd_fn fn;
    void *arg;
    struct loop_watch *next;
    struct loop_watch *prev;
};

struct loop_timer {
    int64_t due_ms;
    size_t heap_at;
    loop_fn fn;
    void *arg;
};

struct hook {
    loop_fn fn;
    void *arg;
    int fd; /* signalfd, or -1 */
};

struct loop {
    int epoll_fd;
    bool stopping;
    struct loop_watch *watches;
    struct loop_watch *graveyard; /* freed at the end of the round */
    struct loop_timer **heap;
    size_t heap_len;
    size_t heap_cap;
    struct hook settles[MAX_HOOKS];
    size_t settle_count;
    struct hook signals[MAX_HOOKS];
    size_t signal_count;
};

enum bm_err
loop_new(struct loop **out)
{
    struct loop *l = calloc(1, sizeof *l);

    *out = NULL;
    if (l == NULL)
        return BM_ERR_MEM;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) {
        free(l);
        return BM_ERR_IO;
    }
    *out = l;
    return BM_OK;
}

static void
bury(struct loop *l)
{
    while (l->graveyard != NULL) {
        struct loop_watch *w = l->graveyard;

        l->graveyard = w->next;
        free(w);
    }
}

void
loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    bury(l);
    while (l->watches != NULL) {
        struct loop_watch *w = l->watches;

        l->watches = w->next;
        free(w);
    }
    for (size_t i = 0; i < l->heap_len; i++)
        free(l->heap[i]);
    free(l->heap);
    for (size_t i = 0; i < l->signal_count; i++)
        (void)close(l->signals[i].fd);
    (void)close(l->epoll_fd);
    free(l);
}

struct loop_watch *
loop_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *arg)
{
    struct loop_watch *w = calloc(1, sizeof *w);
    struct epoll_event ev = { .events = events, .data.ptr = w };

    if (w == NULL)
        return NULL;
    w->fd = fd;
    w->fn = fn;
    w->arg = arg;
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        free(w);
        return NULL;
    }
    w->next = l->watches;
    if (w->next != NULL)
        w->next->prev = w;
    l->watches = w;
    return w;
}

void
loop_modify(struct loop *l, struct loop_watch *w, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = w };

    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev);
}

void
loop_remove(struct loop *l, struct loop_watch *w)
{
    if (w == NULL || w->dead)
        return;
    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        l->watches = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    w->dead = true;
    w->next = l->graveyard;
    l->graveyard = w;
}

static void
heap_put(struct loop *l, size_t at, struct loop_timer *t)
{
    l->heap[at] = t;
    t->heap_at = at;
}

static void
heap_up(struct loop *l, size_t at)
{
    struct loop_timer *t = l->heap[at];

    while (at > 0 && l->heap[(at - 1) / 2]->due_ms > t->due_ms) {
        heap_put(l, at, l->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(l, at, t);
}

static void
heap_down(struct loop *l, size_t at)
{
    struct loop_timer *t = l->heap[at];

    for (;;) {
        size_t kid = 2 * at + 1;

        if (kid >= l->heap_len)
            break;
        if (kid + 1 < l->heap_len && l->heap[kid + 1]->due_ms < l->heap[kid]->due_ms)
            kid++;
        if (l->heap[kid]->due_ms >= t->due_ms)
            break;
        heap_put(l, at, l->heap[kid]);
        at = kid;
    }
    heap_put(l, at, t);
}

struct loop_timer *
loop_after(struct loop *l, int64_t delay_ms, loop_fn fn, void *arg)
{
    struct loop_timer *t;

    if (l->heap_len == l->heap_cap) {
        size_t cap = l->heap_cap != 0 ? 2 * l->heap_cap : 16;
        struct loop_timer **heap = realloc(l->heap, cap * sizeof *heap);

        if (heap == NULL)
            return NULL;
        l->heap = heap;
        l->heap_cap = cap;
    }
    t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->due_ms = clock_mono_ms() + (delay_ms > 0 ? delay_ms : 0);
    t->fn = fn;
    t->arg = arg;
    heap_put(l, l->heap_len++, t);
    heap_up(l, t->heap_at);
    return t;
}

void
loop_cancel(struct loop *l, struct loop_timer *t)
{
    size_t at;

    if (t == NULL)
        return;
    at = t->heap_at;
    l->heap_len--;
    if (at < l->heap_len) {
        heap_put(l, at, l->heap[l->heap_len]);
        heap_down(l, at);
        heap_up(l, at);
    }
    free(t);
}

enum bm_err
loop_settle(struct loop *l, loop_fn fn, void *arg)
{
    if (l->settle_count == MAX_HOOKS)
        return BM_ERR_LIMIT;
    l->settles[l->settle_count++] = (struct hook){ fn, arg, -1 };
    return BM_OK;
}

static void
on_signal(void *arg, uint32_t events)
{
    struct hook *h = arg;
    struct signalfd_siginfo info;

    (void)events;
    if (read(h->fd, &info, sizeof info) == (ssize_t)sizeof info)
        h->fn(h->arg);
}

enum bm_err
loop_signal(struct loop *l, int signo, loop_fn fn, void *arg)
{
    sigset_t set;
    int fd;

    if (l->signal_count == MAX_HOOKS)
        return BM_ERR_LIMIT;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, signo);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return BM_ERR_IO;
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return BM_ERR_IO;
    l->signals[l->signal_count] = (struct hook){ fn, arg, fd };
    if (loop_add(l, fd, EPOLLIN, on_signal, &l->signals[l->signal_count]) == NULL) {
        (void)close(fd);
        return BM_ERR_MEM;
    }
    l->signal_count++;
    return BM_OK;
}

static int
sleep_ms(const struct loop *l)
{
    int64_t left;

    if (l->heap_len == 0)
        return -1;
    left = l->heap[0]->due_ms - clock_mono_ms();
    return left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void
run_timers(struct loop *l)
{
    int64_t now = clock_mono_ms();

    while (l->heap_len > 0 && l->heap[0]->due_ms <= now && !l->stopping) {
        struct loop_timer t = *l->heap[0];

        loop_cancel(l, l->heap[0]);
        t.fn(t.arg);
    }
}

enum bm_err
loop_run(struct loop *l)
{
    struct epoll_event events[MAX_EVENTS];

    l->stopping = false;
    while (!l->stopping) {
        int n = epoll_wait(l->epoll_fd, events, MAX_EVENTS, sleep_ms(l));

        if (n < 0 && errno != EINTR)
            return BM_ERR_IO;
        for (int i = 0; i < n; i++) {
            struct loop_watch *w = events[i].data.ptr;

            if (!w->dead)
                w->fn(w->arg, events[i].events);
        }
        run_timers(l);
        for (size_t i = 0; i < l->settle_count; i++)
            l->settles[i].fn(l->settles[i].arg);
        bury(l);
    }
    return BM_OK;
}

void
loop_stop(struct loop *l)
{
    l->stopping = true;
}

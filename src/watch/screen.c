/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See screen.h. The terminal is opened anew, so that O_NONBLOCK is this program's own: on standard
 * output it would be the shell's, too.
 */
#include "watch/screen.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* alternate screen, cursor hidden, no line wrap; and back */
static const char enter_text[] = "\033[?1049h\033[?25l\033[?7l\033[2J";
static const char leave_text[] = "\033[0m\033[?7h\033[?25h\033[?1049l";

struct screen {
    struct loop *loop;
    struct loop_watch *watch;
    struct screen_calls calls;
    int fd;
    bool inside;
    struct termios before;
    struct buf pending; /* what the terminal has not taken yet */
    uint8_t keys[32];
    size_t key_len;
};

static const struct {
    const char *bytes;
    int key;
} sequences[] = { { "\033[A", KEY_UP }, { "\033OA", KEY_UP }, { "\033[B", KEY_DOWN },
    { "\033OB", KEY_DOWN }, { "\033[5~", KEY_PAGE_UP }, { "\033[6~", KEY_PAGE_DOWN },
    { "\033[H", KEY_HOME }, { "\033OH", KEY_HOME }, { "\033[1~", KEY_HOME } };

/* Length of a sequence of ECMA-48 (ESC [ ... letter) or ESC O letter; 0: its end is missing. */
static size_t
sequence_len(struct span in)
{
    if (in.len < 3)
        return 0;
    if (in.ptr[1] == 'O')
        return 3;
    for (size_t i = 2; i < in.len; i++) {
        if (in.ptr[i] >= 0x40 && in.ptr[i] <= 0x7e)
            return i + 1;
    }
    return 0;
}

int
screen_key_parse(struct span in, size_t *used)
{
    *used = 1;
    if (in.len == 0)
        return 0;
    if (in.ptr[0] != 0x1b)
        return in.ptr[0] != 0 ? in.ptr[0] : -1;
    if (in.len == 1)
        return KEY_ESCAPE;
    if (in.ptr[1] != '[' && in.ptr[1] != 'O')
        return KEY_ESCAPE;
    *used = sequence_len(in);
    if (*used == 0) {
        *used = in.len;
        return -1;
    }
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
        if (span_eq(span_of(in.ptr, *used), span_str(sequences[i].bytes)))
            return sequences[i].key;
    }
    return -1;
}

/* Write what is there, waiting up to `wait_ms` for the terminal. */
static void
push(struct screen *s, struct buf *b, int wait_ms)
{
    int64_t deadline = clock_mono_ms() + wait_ms;

    while (b->len > 0) {
        struct pollfd p = { .fd = s->fd, .events = POLLOUT };
        ssize_t n = write(s->fd, b->ptr, b->len);
        int64_t left = deadline - clock_mono_ms();

        if (n > 0)
            buf_drop(b, (size_t)n);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 && errno != EAGAIN)
            b->len = 0; /* the terminal is gone */
        else if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            return;
    }
}

static void
enter(struct screen *s)
{
    struct termios raw = s->before;
    struct buf text = { 0 };

    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    (void)tcsetattr(s->fd, TCSADRAIN, &raw);
    if (!s->inside)
        buf_addf(&text, "%s", enter_text);
    s->inside = true;
    push(s, &text, 1000);
    buf_fini(&text);
}

/*
 * In the background, too, where changing the terminal would stop the program: SIGTTOU is blocked.
 * False: the terminal takes nothing, and would hold whoever writes more.
 */
static bool
leave(struct screen *s)
{
    struct buf text = { 0 };
    sigset_t ttou;
    sigset_t mask;
    bool taken;

    if (!s->inside)
        return true;
    s->inside = false;
    (void)sigemptyset(&ttou);
    (void)sigaddset(&ttou, SIGTTOU);
    (void)sigprocmask(SIG_BLOCK, &ttou, &mask);
    /* the rest of a frame first: cut inside a sequence, it would swallow the way back */
    push(s, &s->pending, 500);
    s->pending.len = 0;
    buf_addf(&text, "\033\\%s", leave_text);
    push(s, &text, 500);
    taken = text.len == 0;
    buf_fini(&text);
    (void)tcsetattr(s->fd, TCSANOW, &s->before);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    return taken;
}

static void
on_stop(void *arg)
{
    struct screen *s = arg;

    (void)leave(s);
    (void)raise(SIGSTOP);
    /* here again after SIGCONT, whose own call enters */
}

static void
on_continue(void *arg)
{
    struct screen *s = arg;

    enter(s);
    s->calls.redraw(s->calls.arg);
}

static void
on_resize(void *arg)
{
    struct screen *s = arg;

    s->calls.redraw(s->calls.arg);
}

static void
die_of(struct screen *s, int signo)
{
    sigset_t set;

    if (leave(s))
        s->calls.ending(s->calls.arg);
    (void)signal(signo, SIG_DFL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, signo);
    (void)raise(signo);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + signo);
}

static void
on_interrupt(void *arg)
{
    die_of(arg, SIGINT);
}

static void
on_terminate(void *arg)
{
    die_of(arg, SIGTERM);
}

static void
on_quit(void *arg)
{
    die_of(arg, SIGQUIT);
}

static void
on_hangup(void *arg)
{
    die_of(arg, SIGHUP);
}

static void
read_keys(struct screen *s)
{
    ssize_t n = read(s->fd, s->keys + s->key_len, sizeof s->keys - s->key_len);
    size_t used;
    int key;

    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            on_hangup(s);
        return;
    }
    s->key_len += (size_t)n;
    /* A person's sequence comes as one read: what is no whole one is an ESC key, or nothing. */
    while ((key = screen_key_parse(span_of(s->keys, s->key_len), &used)) != 0) {
        s->key_len -= used;
        memmove(s->keys, s->keys + used, s->key_len);
        if (key > 0)
            s->calls.key(s->calls.arg, key);
    }
}

static void
on_terminal(void *arg, uint32_t events)
{
    struct screen *s = arg;

    if ((events & EPOLLOUT) != 0) {
        push(s, &s->pending, 0);
        if (s->pending.len == 0)
            loop_modify(s->loop, s->watch, EPOLLIN);
    }
    if ((events & EPOLLIN) != 0)
        read_keys(s);
    else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        on_hangup(s);
}

static int
terminal_open(void)
{
    const char *term = getenv("TERM");
    const char *name = ttyname(STDOUT_FILENO);
    int fd = -1;

    if (isatty(STDOUT_FILENO) == 0 || term == NULL || *term == '\0' || strcmp(term, "dumb") == 0)
        return -1;
    if (name != NULL)
        fd = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 ? fd : open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

static enum bm_err
signals_take(struct screen *s)
{
    static const struct {
        int signo;
        loop_fn fn;
    } table[] = { { SIGINT, on_interrupt }, { SIGTERM, on_terminate }, { SIGHUP, on_hangup },
        { SIGQUIT, on_quit }, { SIGTSTP, on_stop }, { SIGCONT, on_continue },
        { SIGWINCH, on_resize } };
    enum bm_err err = BM_OK;

    for (size_t i = 0; i < sizeof table / sizeof *table && err == BM_OK; i++)
        err = loop_signal(s->loop, table[i].signo, table[i].fn, s);
    return err;
}

enum bm_err
screen_open(
    struct loop *l, const struct screen_calls *calls, struct screen **out, struct bm_msg *msg)
{
    struct screen *s;
    enum bm_err err;
    int fd = terminal_open();

    *out = NULL;
    if (fd < 0)
        return bm_fail(msg, BM_ERR_ARG, "standard output is no terminal for a table");
    s = calloc(1, sizeof *s);
    if (s == NULL) {
        (void)close(fd);
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    *s = (struct screen){ .loop = l, .calls = *calls, .fd = fd };
    if (tcgetattr(fd, &s->before) != 0) {
        err = bm_fail(msg, BM_ERR_IO, "cannot set the terminal up: %s", strerror(errno));
        goto out;
    }
    if ((err = signals_take(s)) != BM_OK)
        goto out;
    s->watch = loop_add(l, fd, EPOLLIN, on_terminal, s);
    if (s->watch == NULL)
        err = bm_fail(msg, BM_ERR_IO, "cannot wait for the terminal");
    if (err == BM_OK)
        enter(s);
out:
    if (err != BM_OK) {
        (void)screen_close(s);
        return err;
    }
    *out = s;
    return BM_OK;
}

bool
screen_close(struct screen *s)
{
    bool taken;

    if (s == NULL)
        return true;
    taken = leave(s);
    if (s->watch != NULL)
        loop_remove(s->loop, s->watch);
    (void)close(s->fd);
    buf_fini(&s->pending);
    free(s);
    return taken;
}

void
screen_size(const struct screen *s, unsigned *lines, unsigned *columns)
{
    struct winsize w = { 0 };

    (void)ioctl(s->fd, TIOCGWINSZ, &w);
    *lines = w.ws_row > 0 ? w.ws_row : 24;
    *columns = w.ws_col > 0 ? w.ws_col : 80;
}

bool
screen_draw(struct screen *s, struct buf *frame)
{
    bool taken = s->pending.len == 0 && s->inside && !frame->failed;

    if (taken) {
        buf_add(&s->pending, frame->ptr, frame->len);
        push(s, &s->pending, 0);
        if (s->pending.len > 0)
            loop_modify(s->loop, s->watch, EPOLLIN | EPOLLOUT);
    }
    frame->len = 0;
    return taken;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How `birthmark device run` renews: when the newest certificate ends soon, `birthmark device
 * renew` is started with the same options, and the client begins anew with what that has stored.
 * See device.h.
 */
#include "birthmark/device.h"

#include "base/clock.h"
#include "base/file.h"
#include "device/renew.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { LOOK_MS = 3600000, SPREAD_MS = 600000, BEFORE_DAYS = 30, ARGS_MAX = 512 };

static void look_later(struct device_renewing *r);

static void
ended(struct device_renewing *r)
{
    char text[128];
    int status = 0;

    loop_remove(r->s->loop, r->watch);
    r->watch = NULL;
    (void)close(r->fd);
    (void)waitpid(r->pid, &status, 0);
    r->pid = 0;
    if (status == 0) {
        client_restart(r->s->client);
        return;
    }
    (void)snprintf(text, sizeof text,
        "the certificate was not renewed (status %d); it is tried again in an hour",
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    device_note(&r->s->teller, text);
}

/* What it says goes to stderr, as all that is talk. */
static void
on_output(void *arg, uint32_t events)
{
    struct device_renewing *r = arg;
    char text[512];
    ssize_t n = read(r->fd, text, sizeof text - 1);

    (void)events;
    if (n == 0) {
        ended(r);
    } else if (n > 0) {
        text[n] = '\0';
        text[strcspn(text, "\n")] = '\0';
        device_note(&r->s->teller, text);
    }
}

static pid_t
spawn(const struct device_renewing *r, int out)
{
    static char program[] = "birthmark";
    static char device[] = "device";
    static char renew[] = "renew";
    char *argv[ARGS_MAX] = { program, device, renew };
    posix_spawn_file_actions_t files;
    pid_t pid = 0;

    for (int i = 1; i < r->s->o->argc && i + 3 < ARGS_MAX; i++)
        argv[i + 2] = r->s->o->argv[i];
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    if (posix_spawn(&pid, "/proc/self/exe", &files, NULL, argv, environ) != 0)
        pid = 0;
    (void)posix_spawn_file_actions_destroy(&files);
    return pid;
}

static void
begin(struct device_renewing *r)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    r->pid = spawn(r, ends[1]);
    (void)close(ends[1]);
    r->fd = ends[0];
    if (r->pid != 0 && fd_prepare(ends[0]) == BM_OK)
        r->watch = loop_add(r->s->loop, ends[0], EPOLLIN, on_output, r);
    if (r->watch == NULL) {
        (void)close(ends[0]);
        if (r->pid != 0)
            (void)kill(r->pid, SIGTERM);
        r->pid = 0;
        device_note(&r->s->teller, "`birthmark device renew` does not start");
    }
}

void
device_renewing_look(struct device_renewing *r)
{
    const struct device_options *o = r->s->o;
    const struct identity *id = client_identity(r->s->client);
    unsigned days = o->renew_before > 0 ? (unsigned)o->renew_before : BEFORE_DAYS;

    if ((o->renew_command == NULL && o->renew_url == NULL) || r->pid != 0 || id == NULL ||
        identity_leaf(id, 0) == NULL || clock_mono_ms() < r->next_ms)
        return;
    look_later(r);
    if (renew_due(id, client_now_ms(r->s->client), days))
        begin(r);
}

static void
on_due(void *arg)
{
    struct device_renewing *r = arg;

    r->timer = NULL;
    r->next_ms = 0;
    device_renewing_look(r);
}

/* Devices that were made on one day shall not ask in one second. */
static void
look_later(struct device_renewing *r)
{
    uint32_t random = 0;
    int64_t wait = LOOK_MS;

    if (getrandom(&random, sizeof random, 0) == sizeof random)
        wait += random % SPREAD_MS;
    r->next_ms = clock_mono_ms() + wait;
    loop_cancel(r->s->loop, r->timer);
    r->timer = loop_after(r->s->loop, wait, on_due, r);
}

void
device_renewing_fini(struct device_renewing *r)
{
    if (r->pid != 0)
        (void)kill(r->pid, SIGTERM);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See master.h.
 *
 * Children are ended with their parent whatever happens to it (PR_SET_PDEATHSIG). A worker that
 * dies is replaced and gets a new link to control; the broker is started again; without control
 * nothing can be registered, so its death ends the cloud, and what it had acknowledged is on disk.
 */
#include "birthmark/master.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "broker/sessions.h"
#include "endpoint/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    START_TIMEOUT_MS = 20000,
    CLUSTER_WAIT_MS = 1000,
    END_TIMEOUT_MS = 10000,
    RESTART_DELAY_MS = 200, /* a part that dies at once must not spin */
    BACKLOG = 4096,
};

struct child {
    pid_t pid; /* 0: not running */
    const char *what;
};

struct master {
    struct master_options options;
    struct loop *loop;
    struct metrics *metrics; /* a block for each worker */
    struct throttle *throttle;
    int lock_fd;
    int listen_fds[MASTER_WORKERS_MAX]; /* kept open, so that a dead worker's queue is not lost */
    uint16_t mqtt_port;
    int control_fd;
    struct child control;
    pid_t pid; /* ours */
    struct child brokers[ACCOUNTS_MAX];
    struct child workers[MASTER_WORKERS_MAX];
    bool ending;
    bool control_died;
};

/* ---- children ---- */

/* In the child: die with the parent, default signals, none blocked. */
static void
child_prepare(const struct master *m, const char *module)
{
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != m->pid) /* it died before that was said */
        _exit(1);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (module != NULL) {
        (void)prctl(PR_SET_NAME, module); /* what ps and pgrep show */
        log_rename(module);
    }
}

static int
child_report(enum bm_err err, const struct bm_msg *msg)
{
    if (err == BM_OK)
        return 0;
    log_error("%s", msg->text);
    return 1;
}

/* Standard output is for the master's lines; nobody else may write between them. */
static void
stdout_to_stderr(void)
{
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
}

static enum bm_err
start_control(struct master *m, struct bm_msg *msg)
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return bm_fail(msg, BM_ERR_IO, "socketpair: %s", strerror(errno));
    pid = fork();
    if (pid < 0)
        return bm_fail(msg, BM_ERR_IO, "fork: %s", strerror(errno));
    if (pid == 0) {
        struct control_options o = m->options.control;
        struct bm_msg why = { { 0 } };
        int rc;

        child_prepare(m, "control");
        stdout_to_stderr();
        (void)close(pair[0]);
        for (unsigned i = 0; i < m->options.workers; i++)
            (void)close(m->listen_fds[i]);
        o.master_fd = pair[1];
        o.limits = &m->options.limits;
        o.mqtt_host = m->options.mqtt_host;
        o.mqtt_port = m->mqtt_port;
        rc = child_report(control_run(&o, &why), &why);
        exit(rc);
    }
    (void)close(pair[1]);
    m->control_fd = pair[0];
    m->control = (struct child){ pid, "control" };
    return BM_OK;
}

static enum bm_err
pass_link(struct master *m, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    char byte = 'L';
    struct iovec iov = { &byte, 1 };
    struct msghdr mh = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);

    cm->cmsg_level = SOL_SOCKET;
    cm->cmsg_type = SCM_RIGHTS;
    cm->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(cm), &fd, sizeof fd);
    return sendmsg(m->control_fd, &mh, MSG_NOSIGNAL) == 1 ? BM_OK : BM_ERR_IO;
}

static _Noreturn void
worker_main(const struct master *m, unsigned index, int link_fd)
{
    char cert[4096];
    char key[4096];
    char name[32];
    struct bm_msg why = { { 0 } };
    struct worker_options o = { .listen_fd = m->listen_fds[index],
        .control_fd = link_fd,
        .accounts = m->options.control.accounts,
        .account_count = m->options.control.account_count,
        .server_cert = cert,
        .server_key = key,
        .region = m->options.control.region,
        .metrics = &m->metrics[index],
        .limits = &m->options.limits,
        .throttle = m->throttle,
        .index = index };
    int rc;

    (void)snprintf(name, sizeof name, "worker%u", index);
    child_prepare(m, name);
    stdout_to_stderr();
    (void)close(m->control_fd);
    for (unsigned i = 0; i < m->options.workers; i++) {
        if (i != index)
            (void)close(m->listen_fds[i]);
    }
    (void)snprintf(cert, sizeof cert, "%s/pki/server.pem", m->options.control.dir);
    (void)snprintf(key, sizeof key, "%s/pki/server.key", m->options.control.dir);
    if (m->options.server_cert != NULL) {
        o.server_cert = m->options.server_cert;
        o.server_key = m->options.server_key;
    }
    rc = child_report(worker_run(&o, &why), &why);
    exit(rc);
}

static enum bm_err
start_worker(struct master *m, unsigned index, struct bm_msg *msg)
{
    int pair[2];
    pid_t pid;
    enum bm_err err;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return bm_fail(msg, BM_ERR_IO, "socketpair: %s", strerror(errno));
    for (int i = 0; i < 2; i++) /* room for the largest message and some more */
        (void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &(int){ 1 << 20 }, sizeof(int));
    pid = fork();
    if (pid < 0)
        return bm_fail(msg, BM_ERR_IO, "fork: %s", strerror(errno));
    if (pid == 0) {
        (void)close(pair[0]);
        worker_main(m, index, pair[1]);
    }
    (void)close(pair[1]);
    m->workers[index] = (struct child){ pid, "worker" };
    err = pass_link(m, pair[0]);
    (void)close(pair[0]);
    return err == BM_OK
               ? BM_OK
               : bm_fail(msg, err, "cannot pass a worker's link to control: %s", strerror(errno));
}

/* ---- the broker ---- */

static enum bm_err
write_broker_config(
    const struct master_options *o, size_t account, char *path, size_t cap, struct bm_msg *msg)
{
    const struct account_place *a = &o->control.accounts[account];
    struct buf text = { 0 };
    char state[4096];
    enum bm_err err;

    (void)snprintf(state, sizeof state, "%s/broker", a->dir);
    if ((err = dir_make(state, 0700, msg)) != BM_OK)
        return err;
    (void)snprintf(path, cap, "%s/mosquitto.conf", state);
    buf_addf(&text,
        "# written at each start by birthmark cloud\n"
        "listener 0 %s\n"
        "allow_anonymous true\n"
        "persistence true\n"
        "persistence_location %s/\n"
        "autosave_interval 60\n"
        "max_inflight_messages %u\n"
        "max_queued_messages 0\n"
        "max_queued_bytes 67108864\n"
        "connection_messages false\n"
        "log_type notice\n"
        "log_dest stderr\nlog_type error\nlog_type warning\n",
        a->broker->path, state, o->limits.v[LIMIT_IN_FLIGHT]);
    if (o->limits.v[LIMIT_SESSION_HOURS] != 0) /* SPEC aws-iot 6.5 */
        buf_addf(&text, "persistent_client_expiration %uh\n", o->limits.v[LIMIT_SESSION_HOURS]);
    if (geteuid() == 0) /* it would become another user and lose the folder */
        buf_addf(&text, "user root\n");
    err = text.failed ? bm_fail(msg, BM_ERR_MEM, "out of memory")
                      : file_write(path, buf_span(&text), 0600, msg);
    buf_fini(&text);
    return err;
}

static void
begin_sessions(const struct master *m, const struct account_place *a)
{
    uint32_t hours = m->options.limits.v[LIMIT_SESSION_HOURS];
    char path[4200];
    struct bm_msg msg;

    (void)snprintf(path, sizeof path, "%s/broker/mosquitto.db", a->dir);
    if (broker_sessions_begin(path, clock_wall_ms() / 1000, hours * 3600, &msg) != BM_OK)
        log_warn("sessions that nobody resumes may be kept for ever: %s", msg.text);
}

/* One for each account: they share no topic, no client id and no retained message. */
static enum bm_err
start_broker(struct master *m, size_t account, struct bm_msg *msg)
{
    static const char *const programs[] = { "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto",
        "/usr/bin/mosquitto" };
    const struct account_place *a = &m->options.control.accounts[account];
    const char *program = m->options.broker_program;
    char config[4200];
    enum bm_err err;
    pid_t pid;

    if (!upstream_is_ours(a->broker))
        return BM_OK;
    err = write_broker_config(&m->options, account, config, sizeof config, msg);
    if (err != BM_OK)
        return err;
    for (size_t i = 0; program == NULL && i < sizeof programs / sizeof *programs; i++) {
        if (access(programs[i], X_OK) == 0)
            program = programs[i];
    }
    if (program == NULL)
        return bm_fail(msg, BM_ERR_NOT_FOUND,
            "no mosquitto in /usr/sbin; install the Debian package mosquitto, or name the program "
            "with --broker");
    begin_sessions(m, a);
    (void)unlink(a->broker->path); /* left by a broker that was killed; the folder is locked, so
                                     nobody uses it */
    pid = fork();
    if (pid < 0)
        return bm_fail(msg, BM_ERR_IO, "fork: %s", strerror(errno));
    if (pid == 0) {
        child_prepare(m, NULL);
        stdout_to_stderr();
        execl(program, program, "-c", config, (char *)NULL);
        log_error("cannot run %s: %s", program, strerror(errno));
        _exit(127);
    }
    m->brokers[account] = (struct child){ pid, "broker" };
    return BM_OK;
}

static enum bm_err
await_broker(struct master *m, size_t account, struct bm_msg *msg)
{
    const struct upstream *u = m->options.control.accounts[account].broker;
    struct child *broker = &m->brokers[account];
    int64_t deadline = clock_mono_ms() + START_TIMEOUT_MS;

    if (!upstream_is_ours(u)) {
        bool up = false;

        for (size_t i = 0; i < u->count && !up; i++)
            up = upstream_answers(u, i, CLUSTER_WAIT_MS);
        if (!up)
            log_warn("no broker answers at %s:%u: devices are refused until one does",
                u->addresses[0].host, u->addresses[0].port);
        return BM_OK;
    }
    while (!upstream_answers(u, 0, 0)) {
        if (waitpid(broker->pid, NULL, WNOHANG) == broker->pid) {
            broker->pid = 0;
            return bm_fail(msg, BM_ERR_IO, "the broker ended at once; its words are above");
        }
        if (clock_mono_ms() > deadline)
            return bm_fail(msg, BM_ERR_TIMEOUT, "the broker does not answer on its socket");
        (void)poll(NULL, 0, 2);
    }
    return BM_OK;
}

/* ---- sockets and folder ---- */

static enum bm_err
bind_one(const struct addrinfo *ai, uint16_t port, int *out)
{
    struct sockaddr_storage sa;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return BM_ERR_IO;
    memcpy(&sa, ai->ai_addr, ai->ai_addrlen);
    if (ai->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)&sa)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&sa)->sin_port = htons(port);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){ 1 }, sizeof(int));
    if (bind(fd, (struct sockaddr *)&sa, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        (void)close(fd);
        return BM_ERR_IO;
    }
    *out = fd;
    return BM_OK;
}

static uint16_t
port_of(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;

    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
        return 0;
    return ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                          : ((struct sockaddr_in *)&sa)->sin_port);
}

/* With SO_REUSEPORT a second program of ours could share the port by mistake: try it alone first.
 */
static enum bm_err
port_is_free(const struct addrinfo *ai)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    rc = bind(fd, ai->ai_addr, ai->ai_addrlen);
    (void)close(fd);
    return rc == 0 ? BM_OK : BM_ERR_IO;
}

static enum bm_err
listen_all(struct master *m, struct bm_msg *msg)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
        .ai_socktype = SOCK_STREAM };
    struct addrinfo *ai = NULL;
    char port[8];
    enum bm_err err = BM_OK;

    (void)snprintf(port, sizeof port, "%u", m->options.mqtt_port);
    if (getaddrinfo(m->options.mqtt_host, port, &hints, &ai) != 0)
        return bm_fail(msg, BM_ERR_ARG, "--mqtt wants an IP address and a port, not '%s'",
            m->options.mqtt_host);
    if (m->options.mqtt_port != 0)
        err = port_is_free(ai);
    m->mqtt_port = m->options.mqtt_port;
    for (unsigned i = 0; i < m->options.workers && err == BM_OK; i++) {
        err = bind_one(ai, m->mqtt_port, &m->listen_fds[i]);
        if (err == BM_OK && i == 0)
            m->mqtt_port = port_of(m->listen_fds[0]);
    }
    if (err != BM_OK)
        (void)bm_fail(msg, err, "cannot listen on %s:%u: %s; give another address with --mqtt",
            m->options.mqtt_host, m->options.mqtt_port, strerror(errno));
    freeaddrinfo(ai);
    return err;
}

static enum bm_err
enter_folder(struct master *m, struct bm_msg *msg)
{
    const char *dir = m->options.control.dir;
    char path[4096];
    enum bm_err err;

    (void)snprintf(path, sizeof path, "%s/run", dir);
    if ((err = dir_make(path, 0700, msg)) != BM_OK)
        return err;
    if (chdir(path) != 0) /* keeps the broker's socket path short wherever the folder is */
        return bm_fail(msg, BM_ERR_IO, "cannot enter %s: %s", path, strerror(errno));
    m->lock_fd = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (m->lock_fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open %s/lock: %s", path, strerror(errno));
    if (flock(m->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "another birthmark cloud uses %s; stop it, or give another folder with --dir", dir);
    return BM_OK;
}

/* ---- life ---- */

static void
replace_brokers(void *arg)
{
    struct master *m = arg;
    struct bm_msg msg;

    for (size_t i = 0; i < m->options.control.account_count && !m->ending; i++) {
        if (m->brokers[i].pid == 0 && start_broker(m, i, &msg) != BM_OK)
            log_error("%s", msg.text);
    }
}

static void
replace_workers(void *arg)
{
    struct master *m = arg;
    struct bm_msg msg;

    for (unsigned i = 0; i < m->options.workers && !m->ending; i++) {
        if (m->workers[i].pid == 0 && start_worker(m, i, &msg) != BM_OK)
            log_error("%s", msg.text);
    }
}

static void
say_death(const struct child *c, int status)
{
    if (WIFSIGNALED(status))
        log_error("%s %d died of signal %d", c->what, (int)c->pid, WTERMSIG(status));
    else
        log_error("%s %d ended with code %d", c->what, (int)c->pid, WEXITSTATUS(status));
}

static void
buried(struct master *m, pid_t pid, int status)
{
    struct child *c = NULL;
    bool broker = false;

    if (pid == m->control.pid)
        c = &m->control;
    for (size_t i = 0; i < m->options.control.account_count; i++) {
        if (m->brokers[i].pid == pid) {
            c = &m->brokers[i];
            broker = true;
        }
    }
    for (unsigned i = 0; i < m->options.workers; i++) {
        if (m->workers[i].pid == pid)
            c = &m->workers[i];
    }
    if (c == NULL)
        return;
    if (!m->ending)
        say_death(c, status);
    c->pid = 0;
    if (m->ending)
        return;
    if (c == &m->control) {
        m->control_died = true;
        loop_stop(m->loop);
    } else {
        (void)loop_after(m->loop, RESTART_DELAY_MS, broker ? replace_brokers : replace_workers, m);
    }
}

static void
on_child(void *arg)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        buried(arg, pid, status);
}

static void
on_end(void *arg)
{
    struct master *m = arg;

    loop_stop(m->loop);
}

static enum bm_err
await_control(struct master *m, struct control_up *up, struct bm_msg *msg)
{
    struct pollfd p = { m->control_fd, POLLIN, 0 };

    if (poll(&p, 1, START_TIMEOUT_MS) != 1)
        return bm_fail(msg, BM_ERR_TIMEOUT, "the control process does not answer");
    if (recv(m->control_fd, up, sizeof *up, 0) != (ssize_t)sizeof *up)
        return bm_fail(msg, BM_ERR_IO, "the control process could not start; its words are above");
    return BM_OK;
}

static void
print_address(const char *what, const char *host, uint16_t port)
{
    bool v6 = strchr(host, ':') != NULL;

    printf("%s%s%s%s:%u\n", what, v6 ? "[" : "", host, v6 ? "]" : "", port);
}

static enum bm_err
start_all(struct master *m, struct bm_msg *msg)
{
    struct control_up up = { 0 };
    enum bm_err err;

    const size_t accounts = m->options.control.account_count;

    if ((err = enter_folder(m, msg)) != BM_OK || (err = listen_all(m, msg)) != BM_OK)
        return err;
    for (size_t i = 0; i < accounts; i++) {
        if ((err = dir_make(m->options.control.accounts[i].dir, 0700, msg)) != BM_OK ||
            (err = start_broker(m, i, msg)) != BM_OK)
            return err;
    }
    if ((err = start_control(m, msg)) != BM_OK || (err = await_control(m, &up, msg)) != BM_OK)
        return err;
    for (size_t i = 0; i < accounts; i++) {
        if ((err = await_broker(m, i, msg)) != BM_OK)
            return err;
    }
    for (unsigned i = 0; i < m->options.workers; i++) {
        if ((err = start_worker(m, i, msg)) != BM_OK)
            return err;
    }
    if (loop_new(&m->loop) != BM_OK || loop_signal(m->loop, SIGCHLD, on_child, m) != BM_OK ||
        loop_signal(m->loop, SIGTERM, on_end, m) != BM_OK ||
        loop_signal(m->loop, SIGINT, on_end, m) != BM_OK)
        return bm_fail(msg, BM_ERR_IO, "cannot make an event loop: %s", strerror(errno));
    on_child(m); /* one that died before the signal was watched */
    print_address("api http://", m->options.control.api_host, up.api_port);
    print_address("mqtt ", m->options.mqtt_host, m->mqtt_port);
    if (m->options.control.console_host != NULL)
        print_address("console http://", m->options.control.console_host, up.console_port);
    if (m->options.control.metrics_host != NULL)
        print_address("metrics http://", m->options.control.metrics_host, up.metrics_port);
    if (m->options.server_cert == NULL) /* else its owner knows who signed it */
        printf("root-ca %s/pki/root-ca.pem\n", m->options.control.dir);
    for (size_t i = 0; accounts > 1 && i < accounts; i++)
        printf("account %s endpoint %s\n", m->options.control.accounts[i].number,
            m->options.control.endpoints[i]);
    printf("ready\n");
    (void)fflush(stdout);
    return BM_OK;
}

static void
await_end(struct child *c, int64_t deadline)
{
    while (c->pid != 0) {
        pid_t got = waitpid(c->pid, NULL, WNOHANG);

        if (got == c->pid || (got < 0 && errno == ECHILD)) {
            c->pid = 0;
        } else if (clock_mono_ms() > deadline) {
            log_error("%s %d does not end; killing it", c->what, (int)c->pid);
            (void)kill(c->pid, SIGKILL);
            deadline = INT64_MAX;
        } else {
            (void)poll(NULL, 0, 5);
        }
    }
}

/* Devices first, then the writer, then the broker: each finds the next still there. */
static void
end_all(struct master *m)
{
    int64_t deadline = clock_mono_ms() + END_TIMEOUT_MS;

    m->ending = true;
    for (unsigned i = 0; i < m->options.workers; i++) {
        if (m->workers[i].pid != 0)
            (void)kill(m->workers[i].pid, SIGTERM);
    }
    for (unsigned i = 0; i < m->options.workers; i++)
        await_end(&m->workers[i], deadline);
    if (m->control.pid != 0)
        (void)kill(m->control.pid, SIGTERM);
    await_end(&m->control, deadline);
    for (size_t i = 0; i < m->options.control.account_count; i++) {
        if (m->brokers[i].pid != 0)
            (void)kill(m->brokers[i].pid, SIGTERM);
    }
    for (size_t i = 0; i < m->options.control.account_count; i++) {
        await_end(&m->brokers[i], deadline);
        if (upstream_is_ours(m->options.control.accounts[i].broker))
            (void)unlink(m->options.control.accounts[i].broker->path);
    }
}

enum bm_err
master_run(const struct master_options *options, struct bm_msg *msg)
{
    struct master m = { .options = *options, .pid = getpid(), .lock_fd = -1, .control_fd = -1 };
    enum bm_err err;

    for (unsigned i = 0; i < MASTER_WORKERS_MAX; i++)
        m.listen_fds[i] = -1;
    m.metrics = metrics_map(options->workers);
    m.throttle = throttle_map(options->workers);
    if (m.metrics == NULL || m.throttle == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    m.options.control.metrics = m.metrics;
    m.options.control.metrics_count = options->workers;
    err = start_all(&m, msg);
    if (err == BM_OK)
        err = loop_run(m.loop);
    end_all(&m);
    if (err == BM_OK && m.control_died)
        err = bm_fail(msg, BM_ERR_IO,
            "the control process died; everything it had acknowledged is on disk, start again");
    loop_free(m.loop);
    for (unsigned i = 0; i < options->workers; i++)
        (void)close(m.listen_fds[i]);
    (void)close(m.control_fd);
    (void)close(m.lock_fd);
    return err;
}

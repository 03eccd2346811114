/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixture of the worker's tests (worker_world.h): a folder, a mosquitto, the worker's process,
 * and how all of them end.
 */
#include "worker_world.h"

#include <arpa/inet.h>
#include <sys/mman.h>

#define MOSQUITTO "/usr/sbin/mosquitto"

static bool
unix_answers(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool ok;

    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    ok = connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
    (void)close(fd);
    return ok;
}

void
start_mosquitto(struct fixture *f)
{
    char conf[128];
    FILE *file;
    int64_t end = clock_mono_ms() + WAIT_MS;

    (void)snprintf(conf, sizeof conf, "%s/mosquitto.conf", f->dir);
    file = fopen(conf, "w");
    assert_non_null(file);
    (void)fprintf(file,
        "listener 0 %s\nallow_anonymous true\nuser root\nlog_type none\nmax_queued_messages 0\n",
        f->broker_path);
    (void)fclose(file);
    (void)fflush(NULL);
    f->mosquitto = fork();
    if (f->mosquitto == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) { /* it warns of running as root */
            _exit(126);
        }
        (void)execl(MOSQUITTO, "mosquitto", "-c", conf, (char *)NULL);
        _exit(127);
    }
    while (!unix_answers(f->broker_path)) {
        assert_true(clock_mono_ms() < end);
        (void)poll(NULL, 0, 5);
    }
}

void
events_heard(struct fixture *f, bool heard)
{
    struct kept *k;

    assert_int_equal(kept_open(f->dir, &k, NULL), BM_OK);
    kept_begin(k, false);
    if (heard) {
        kept_add(k, span_str("$aws/events/#"), false);
    }
    kept_close(k);
}

static int
listen_loopback(uint16_t *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 512), 0);
    assert_int_equal(fd_prepare(fd), BM_OK);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void
start_worker(struct fixture *f)
{
    char cert[96];
    char key[96];
    int pair[2];
    int fd = listen_loopback(&f->port);

    f->metrics = metrics_map(1);
    assert_non_null(f->metrics);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    (void)snprintf(cert, sizeof cert, "%s/server.pem", f->dir);
    (void)snprintf(key, sizeof key, "%s/server.key", f->dir);
    (void)fflush(NULL);
    f->worker = fork();
    if (f->worker == 0) {
        const struct upstream broker = { .path = f->broker_path };
        const struct account_place place = { "000000000000", f->dir, &broker };
        struct worker_options o = { .listen_fd = fd,
            .control_fd = pair[1],
            .accounts = &place,
            .account_count = 1,
            .server_cert = cert,
            .server_key = key,
            .region = "us-east-1",
            .metrics = f->metrics,
            .limits = &f->limits,
            .throttle = throttle_map(1),
            .keep_alive_min_s = f->keep_alive_min_s };
        struct rlimit few = { f->descriptors, f->descriptors };
        struct bm_msg msg = { "" };
        enum bm_err err;

        if (f->descriptors != 0) {
            (void)setrlimit(RLIMIT_NOFILE, &few);
        }

        (void)signal(SIGPIPE, SIG_DFL); /* as in a process of its own */
        (void)close(pair[0]);
        (void)fd_prepare(pair[1]);
        err = worker_run(&o, &msg);
        if (err != BM_OK) {
            (void)fprintf(stderr, "worker: %s\n", msg.text);
        }
        exit(err == BM_OK ? 0 : 1);
    }
    (void)close(pair[1]);
    (void)close(fd);
    f->control = pair[0];
}

static void
set_up_with(struct fixture *f)
{
    (void)strcpy(f->dir, "/tmp/birthmark-worker.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->broker_path, sizeof f->broker_path, "%s/broker.sock", f->dir);
    f->ca = certs_make(&(struct make){ .name = "Demo CA", .ca = true });
    f->server = certs_make(&(struct make){ .name = "localhost" });
    f->device = certs_make(&(struct make){ .name = "device", .issuer = &f->ca });
    f->other = certs_make(&(struct make){ .name = "other", .issuer = &f->ca });
    certs_write(&f->server, f->dir, "server");
    assert_int_equal(table_create(f->dir, 16, &f->table, NULL), BM_OK);
    put_table(f, &f->other, CERT_ACTIVE, SET);
    f->verdict = CAUSE_REGISTERED_JITR;
    events_heard(f, true);
    start_mosquitto(f);
    start_worker(f);
}

static struct fixture *
new_fixture(void)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->limits = limits_default();
    f->limits.v[LIMIT_HANDSHAKE_MS] = 2000;
    return f;
}

int
set_up(void **state)
{
    struct fixture *f = new_fixture();

    set_up_with(f);
    *state = f;
    return 0;
}

int
set_up_known(void **state)
{
    (void)set_up(state);
    put_table(*state, &((struct fixture *)*state)->device, CERT_ACTIVE, SET);
    return 0;
}

int
set_up_impatient(void **state)
{
    struct fixture *f = new_fixture();

    f->keep_alive_min_s = 1;
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_hasty(void **state)
{
    struct fixture *f = new_fixture();

    limits_lift(&f->limits);
    f->keep_alive_min_s = 1;
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_lifted(void **state)
{
    struct fixture *f = new_fixture();

    limits_lift(&f->limits);
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_lagging(void **state)
{
    struct fixture *f = new_fixture();

    limits_lift(&f->limits);
    f->limits.v[LIMIT_BEHIND_MS] = 200;
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_paced(void **state)
{
    struct fixture *f = new_fixture();

    f->limits.v[LIMIT_BEHIND_MS] = 200;
    f->limits.v[LIMIT_PUBLISH_RATE] = 20;
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_slow(void **state)
{
    struct fixture *f = new_fixture();

    f->limits.v[LIMIT_ACCOUNT_CONNECT_RATE] = 1;
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_poor(void **state)
{
    struct fixture *f = new_fixture();

    f->descriptors = 160; /* 64 in reserve, two for each device: room for 48 */
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_narrow(void **state)
{
    struct fixture *f = new_fixture();

    f->limits.v[LIMIT_HANDSHAKES] = 2;
    f->limits.v[LIMIT_HANDSHAKE_MS] = 60000;
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

void
end_child(pid_t *pid, int *status)
{
    if (*pid > 0) {
        /* A test that failed may have left it stopped. Not after SIGTERM: the sanitizer at the
         * end of the child waits for a SIGSTOP of its own, which SIGCONT would discard. */
        (void)kill(*pid, SIGCONT);
        (void)kill(*pid, SIGTERM);
        (void)waitpid(*pid, status, 0);
        *pid = 0;
    }
}

int
tear_down(void **state)
{
    struct fixture *f = *state;
    bool had_worker = f->worker > 0;
    int status = 0;

    end_child(&f->worker, &status);
    if (had_worker && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        (void)fprintf(stderr, "worker ended with status 0x%x\n", (unsigned)status);
        return -1;
    }
    end_child(&f->mosquitto, &status);
    if (f->control >= 0) {
        (void)close(f->control);
    }
    table_close(f->table);
    if (f->metrics != NULL) {
        (void)munmap(f->metrics, sizeof *f->metrics);
    }
    certs_fini(&f->ca);
    certs_fini(&f->server);
    certs_fini(&f->device);
    certs_fini(&f->other);
    buf_fini(&f->admit_der);
    assert_int_equal(dir_remove(f->dir, NULL), BM_OK);
    free(f);
    return 0;
}

bool
worker_can_run(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    if (access(MOSQUITTO, X_OK) == 0) {
        return true;
    }
    (void)fprintf(stderr,
        "SKIPPED: all tests of the worker process, because %s is not there; "
        "install the package mosquitto\n",
        MOSQUITTO);
    return false;
}

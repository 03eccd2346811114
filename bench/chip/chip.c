/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on simulated chips: one command again and again, command APDU in to response APDU out, by
 * one or more processes with a chip each. The chip is in the process itself (--dir) or behind
 * sockets of a71chd (--sockets). Prints operations per second of wall time and per second of CPU
 * time, the server's (--pids) included.
 */
#include "chip/chip.h"
#include "base/clock.h"
#include "base/file.h"
#include "wire/jrcp.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES_MAX = 64, RECORD_LEN = 184 /* of an injected key pair */ };

struct bench {
    const char *op;
    const char *dir;     /* chips DIR/0 ... in the processes */
    const char *sockets; /* or FOLDER/0000 ... */
    double seconds;
    unsigned processes;
    pid_t pids[PROCESSES_MAX];
    size_t pid_count;
};

/* One process's chip. */
struct link {
    struct chip *chip;
    int fd;
    uint8_t rsp[APDU_RSP_MAX];
    size_t rsp_len;
};

struct result {
    uint64_t done;
    double wall_s;
    double cpu_s;
};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)fputs("bench_chip: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static double
now(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t) != 0)
        die("a clock cannot be read: %s", strerror(errno));
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- commands ---- */

static void
receive(struct link *l)
{
    uint8_t in[JRCP_MESSAGE_MAX];
    struct jrcp_msg msg;
    struct rd r;
    ssize_t n = recv(l->fd, in, sizeof in, 0); /* one piece: SPEC a71ch 6.3 */

    if (n <= 0)
        die("a71chd closed the connection");
    r = rd_of(span_of(in, (size_t)n));
    if (jrcp_parse(&r, &msg) != BM_OK || msg.payload.len > sizeof l->rsp || msg.payload.len < 2)
        die("a71chd sent no answer");
    memcpy(l->rsp, msg.payload.ptr, msg.payload.len);
    l->rsp_len = msg.payload.len;
}

static bool
run(struct link *l, struct span cmd)
{
    if (l->chip != NULL) {
        l->rsp_len = chip_apdu(l->chip, cmd, l->rsp);
    } else {
        uint8_t out[JRCP_MESSAGE_MAX];
        struct wr w = wr_of(out, sizeof out);

        if (jrcp_build(&w, &(struct jrcp_msg){ JRCP_APDU, 0, cmd }) != BM_OK ||
            send(l->fd, out, wr_len(&w), MSG_NOSIGNAL) != (ssize_t)wr_len(&w))
            die("cannot send: %s", strerror(errno));
        receive(l);
    }
    return l->rsp[l->rsp_len - 2] == 0x90 && l->rsp[l->rsp_len - 1] == 0;
}

static size_t
command(uint8_t *out, uint8_t ins, uint8_t p1, uint8_t p2, struct span data)
{
    struct wr w = wr_of(out, APDU_CMD_MAX);

    wr_u8(&w, ins == 0xa4 ? 0x00 : 0x80);
    wr_u8(&w, ins);
    wr_u8(&w, p1);
    wr_u8(&w, p2);
    if (data.len > 0)
        wr_u8(&w, (uint8_t)data.len);
    wr_span(&w, data);
    wr_u8(&w, 0);
    return wr_len(&w);
}

static void
must(struct link *l, uint8_t ins, uint8_t p1, uint8_t p2, struct span data)
{
    uint8_t cmd[APDU_CMD_MAX];

    if (!run(l, span_of(cmd, command(cmd, ins, p1, p2, data))))
        die("INS %02x answers %02x%02x", ins, l->rsp[l->rsp_len - 2], l->rsp[l->rsp_len - 1]);
}

static void
open_link(struct link *l, const struct bench *b, unsigned process)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct bm_msg msg = { "" };
    char path[4096];

    *l = (struct link){ .fd = -1 };
    if (b->dir != NULL) {
        (void)snprintf(path, sizeof path, "%s/%u", b->dir, process);
        if (chip_open(path, &l->chip, &msg) != BM_OK)
            die("%s", msg.text);
    } else {
        (void)snprintf(un.sun_path, sizeof un.sun_path, "%s/%04u", b->sockets, process);
        l->fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (l->fd < 0 || connect(l->fd, (struct sockaddr *)(void *)&un, sizeof un) != 0)
            die("cannot connect to %s: %s", un.sun_path, strerror(errno));
    }
    must(l, 0xa4, 4, 0, span_str("a71ch"));
    must(l, 0x94, 0, 0xea, span_of(NULL, 0)); /* debug reset: a fresh chip */
    must(l, 0xa4, 4, 0, span_str("a71ch"));
}

/* ---- operations: prepare one, then do it again and again ---- */

struct work {
    uint8_t cmd[APDU_CMD_MAX];
    size_t len;
};

static void
prepare(struct link *l, const char *op, struct work *w)
{
    static const uint8_t hash[32] = { 0x5a };
    uint8_t data[APDU_CMD_MAX];
    uint8_t point[65];
    struct wr d = wr_of(data, sizeof data);

    must(l, 0x12, 0, 0, span_of(NULL, 0)); /* pairs 0 and 1 */
    must(l, 0x12, 1, 0, span_of(NULL, 0));
    must(l, 0x11, 1, 0, span_of(NULL, 0));
    memcpy(point, l->rsp, sizeof point);
    if (strcmp(op, "sign") == 0) {
        w->len = command(w->cmd, 0x15, 0, 0, SPAN(hash));
    } else if (strcmp(op, "ecdh") == 0) {
        w->len = command(w->cmd, 0x17, 0, 0, SPAN(point));
    } else if (strcmp(op, "verify") == 0) { /* with the stored key 0, which is pair 1's */
        must(l, 0x22, 0, 0, SPAN(point));
        must(l, 0x15, 1, 0, SPAN(hash));
        wr_span(&d, SPAN(hash));
        wr_bytes(&d, l->rsp, l->rsp_len - 2);
        w->len = command(w->cmd, 0x25, 0, 2, span_of(data, wr_len(&d)));
    } else if (strcmp(op, "gp-write") == 0) {
        w->len = command(w->cmd, 0x72, 0, 0, SPAN(hash)); /* 32 bytes, a segment */
    } else {
        die("--op wants sign, ecdh, verify, gp-write, inject or fsync");
    }
}

static struct result
repeat(struct link *l, const struct bench *b)
{
    struct work w;
    struct result r = { 0 };
    double start;
    double cpu;

    prepare(l, b->op, &w);
    for (unsigned i = 0; i < 20; i++)
        (void)run(l, span_of(w.cmd, w.len));
    start = now(CLOCK_MONOTONIC);
    cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    do {
        for (unsigned i = 0; i < 8; i++, r.done++) {
            if (!run(l, span_of(w.cmd, w.len)))
                die("%s answers %02x%02x", b->op, l->rsp[l->rsp_len - 2], l->rsp[l->rsp_len - 1]);
            if (strcmp(b->op, "verify") == 0 && l->rsp[0] != 1)
                die("a right signature is not verified");
        }
        r.wall_s = now(CLOCK_MONOTONIC) - start;
    } while (r.wall_s < b->seconds);
    r.cpu_s = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    return r;
}

/* Fill a fresh chip's 4 + 8 + 3 secret slots, again and again; the resets between are not timed. */
static struct result
inject(struct link *l, const struct bench *b)
{
    /* RFC 6979 A.2.5 */
    static const char text[] = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721046"
                               "0fed4ba255a9d31c961eb74c635"
                               "6d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc6"
                               "4f2f1b20c2d7e9f5177a3c294d4"
                               "462299";
    static const uint8_t key[16] = { 1 };
    uint8_t pair[97];
    struct result r = { 0 };

    if (hex_decode(pair, sizeof pair, span_str(text)) != BM_OK)
        die("the key is no hex");
    while (r.wall_s < b->seconds) {
        double start;
        double cpu;

        must(l, 0x94, 0, 0xea, span_of(NULL, 0));
        start = now(CLOCK_MONOTONIC);
        cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        for (uint8_t i = 0; i < 4; i++)
            must(l, 0x12, i, 0, SPAN(pair));
        for (uint8_t i = 0; i < 8; i++)
            must(l, 0x42, i, 1, SPAN(key));
        for (uint8_t i = 0; i < 3; i++)
            must(l, 0x32, i, 1, SPAN(key));
        r.wall_s += now(CLOCK_MONOTONIC) - start;
        r.cpu_s += now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        r.done += 15;
    }
    return r;
}

/* What the disk alone takes for a record: append and sync. */
static struct result
only_sync(const struct bench *b, unsigned process)
{
    uint8_t record[RECORD_LEN] = { 0 };
    struct result r = { 0 };
    char path[4096];
    double start = now(CLOCK_MONOTONIC);
    double cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    int fd;

    (void)snprintf(path, sizeof path, "%s/%u.fsync", b->dir, process);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    if (fd < 0)
        die("cannot open %s: %s", path, strerror(errno));
    for (; r.wall_s < b->seconds; r.done++) {
        if (fd_write_all(fd, SPAN(record)) != BM_OK || fdatasync(fd) != 0)
            die("cannot write %s", path);
        r.wall_s = now(CLOCK_MONOTONIC) - start;
    }
    r.cpu_s = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    (void)close(fd);
    return r;
}

/* ---- processes ---- */

/* Process i runs on core i: per core is what is asked, and no core has to wake another. */
static void
stay_on_core(unsigned process)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(process % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        die("cannot stay on a core: %s", strerror(errno));
}

static struct result
one_process(const struct bench *b, unsigned process)
{
    struct link l;
    struct result r;

    stay_on_core(process);
    if (strcmp(b->op, "fsync") == 0)
        return only_sync(b, process);
    open_link(&l, b, process);
    r = strcmp(b->op, "inject") == 0 ? inject(&l, b) : repeat(&l, b);
    chip_close(l.chip);
    if (l.fd >= 0)
        (void)close(l.fd);
    return r;
}

static double
cpu_of_servers(const struct bench *b)
{
    double sum = 0;

    for (size_t i = 0; i < b->pid_count; i++) {
        clockid_t clock;

        if (clock_getcpuclockid(b->pids[i], &clock) != 0)
            die("there is no process %ld", (long)b->pids[i]);
        sum += now(clock);
    }
    return sum;
}

static void
all_processes(const struct bench *b)
{
    int out[2];
    double servers = cpu_of_servers(b);
    double rate = 0;
    struct result sum = { 0 };
    struct result r;

    if (pipe(out) != 0)
        die("no pipe: %s", strerror(errno));
    for (unsigned i = 0; i < b->processes; i++) {
        pid_t kid = fork();

        if (kid < 0)
            die("no process: %s", strerror(errno));
        if (kid == 0) {
            r = one_process(b, i);
            _exit(write(out[1], &r, sizeof r) == (ssize_t)sizeof r ? 0 : 1);
        }
    }
    (void)close(out[1]);
    for (unsigned i = 0; i < b->processes; i++) {
        if (read(out[0], &r, sizeof r) != (ssize_t)sizeof r)
            die("a process failed");
        rate += (double)r.done / r.wall_s;
        sum.done += r.done;
        sum.cpu_s += r.cpu_s;
    }
    while (wait(NULL) > 0)
        continue;
    sum.cpu_s += cpu_of_servers(b) - servers;
    printf("op=%s processes=%u per_second=%.0f per_cpu_second=%.0f\n", b->op, b->processes, rate,
        (double)sum.done / sum.cpu_s);
}

static void
add_pids(struct bench *b, const char *text)
{
    while (*text != '\0' && b->pid_count < PROCESSES_MAX) {
        char *end;

        b->pids[b->pid_count++] = (pid_t)strtol(text, &end, 10);
        text = *end == ',' ? end + 1 : "";
    }
}

int
main(int argc, char **argv)
{
    static const struct option known[] = {
        { "op", required_argument, NULL, 'o' },
        { "dir", required_argument, NULL, 'd' },
        { "sockets", required_argument, NULL, 's' },
        { "seconds", required_argument, NULL, 't' },
        { "processes", required_argument, NULL, 'p' },
        { "pids", required_argument, NULL, 'i' },
        { NULL, 0, NULL, 0 },
    };
    struct bench b = { .op = "sign", .seconds = 2, .processes = 1 };
    int opt;

    while ((opt = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (opt) {
        case 'o':
            b.op = optarg;
            break;
        case 'd':
            b.dir = optarg;
            break;
        case 's':
            b.sockets = optarg;
            break;
        case 't':
            b.seconds = strtod(optarg, NULL);
            break;
        case 'p':
            b.processes = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'i':
            add_pids(&b, optarg);
            break;
        default:
            return 2;
        }
    }
    if ((b.dir == NULL) == (b.sockets == NULL) || b.processes < 1 || b.processes > PROCESSES_MAX)
        die("give --dir FOLDER or --sockets FOLDER, and 1 to %d --processes", PROCESSES_MAX);
    all_processes(&b);
    return 0;
}

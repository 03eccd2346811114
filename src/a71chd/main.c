/* SPDX-License-Identifier: Apache-2.0 */
/* a71chd: owns one chip and shares it among any number of clients. Options, start and end. */
#include "a71chd/channel.h"
#include "a71chd/ctl.h"
#include "a71chd/server.h"
#include "a71chd/trace.h"
#include "a71chd/workers.h"
#include "base/file.h"
#include "base/log.h"
#include "base/notify.h"
#include "chip/chip.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, FDS_RESERVE = 64 };

struct options {
    const char *sim;
    const char *i2c;
    bool simulates; /* an option was given that a real chip can not follow */
    int client;     /* descriptor, or -1 */
    size_t chips;   /* 0: --sim names the one chip's folder */
    int ready_fd;   /* of a worker: workers.h; otherwise -1 */
    struct sim_options simulation;
    const char *trace;
    const char *ctl; /* ask the a71chd there */
    bool stats;      /* ... for its counts only */
    bool restricts;
    struct chip_restricted restricted;
    const char *listen[SERVER_LISTENERS_MAX];
    size_t listen_count;
    struct server_options server;
    struct channel_options channel;
    enum log_level level;
};

static const char help[] =
    "usage: a71chd --sim DIR | --i2c DEVICE --listen ADDRESS ...\n"
    "       a71chd --ctl ADDRESS COMMAND [ARGUMENT ...]\n"
    "\n"
    "Owns one A71CH chip and shares it among any number of clients (JRCP version 1).\n"
    "\n"
    "  --sim DIR         simulated chip with its state in DIR; made when missing\n"
    "  --i2c DEVICE      real chip on a bus of this machine, as /dev/i2c-1[:0xADDR]\n"
    "  --chips N         N chips, in DIR/0000, DIR/0001 ..., each with a socket of its own:\n"
    "                    PATH/0000 ... of unix-dir:PATH, or ports in a row from tcp:HOST:PORT\n"
    "  --workers W       serve them by W processes, as many as there are cores (1)\n"
    "  --listen ADDRESS  tcp:HOST:PORT (port 0: any free one) or unix:PATH; repeatable;\n"
    "                    i2c-unix:PATH: the chip on a simulated I2C bus (a71ch-i2c-shim(7))\n"
    "  --client FD       serve the connected socket FD instead, and end with it\n"
    "  --group NAME      let members of this group use the Unix sockets, too (mode 0660)\n"
    "  --channel unix:PATH --scp-keys FILE [--channel-group NAME]\n"
    "                    hold a secure channel (SCP03) to the chip; who may use this socket uses\n"
    "                    it without having the keys\n"
    "  --ctl ADDRESS COMMAND ...\n"
    "                    ask a running a71chd, or with sim:DIR a folder: stats, snapshot,\n"
    "                    restore, fork ...; prints JSON; the command `help` lists them\n"
    "  --ctl-tcp         let clients over TCP control this one, too\n"
    "  --stats ADDRESS   same as --ctl ADDRESS stats: the chip's counts\n"
    "  --deadline S      close a client whose message does not end in S seconds (30)\n"
    "  --restricted INDEX:OFFSET:LENGTH[,OFFSET:LENGTH...][,max=USES]\n"
    "                    make the chip's restricted key pair, which signs this part of its "
    "storage\n"
    "  --quirk NAME=VALUE\n"
    "                    another answer where the real chip's is not known; repeatable\n"
    "  --profile FILE    times, wear, quirks and faults of the chip, see PROFILES in a71chd(1)\n"
    "  --fault RULE      a fault on purpose, as truncate:ins=15,nth=2; repeatable\n"
    "  --faults          list their kinds\n"
    "  --quirks          list their names, defaults and reasons\n"
    "  --log LEVEL       error, warn, info (default), debug, trace; to stderr\n"
    "  --trace FILE      write each exchange with the chip to FILE, a JSON object a line,\n"
    "                    secrets as their length; `--log trace` has the same lines\n"
    "  --help, --version\n"
    "\n"
    "Prints `listening ADDRESS` for each listener, then `ready`, on stdout.\n";

static int
misuse(const char *sentence)
{
    fprintf(stderr, "a71chd: %s (see a71chd --help)\n", sentence);
    return EXIT_USAGE;
}

static int
failed(const struct bm_msg *msg)
{
    fprintf(stderr, "a71chd: %s\n", msg->text);
    return EXIT_FAILED;
}

/* Ask another a71chd and print what it says. */
static int
ask(const char *address, char *const *words, size_t count)
{
    struct bm_msg msg = { "" };
    struct buf out = { 0 };
    enum bm_err err = ctl_ask(address, words, count, &out, &msg);

    if (err == BM_OK && (puts(buf_cstr(&out)) < 0 || fflush(stdout) != 0))
        err = bm_fail(&msg, BM_ERR_IO, "cannot write to stdout");
    buf_fini(&out);
    return err == BM_OK ? 0 : err == BM_ERR_ARG ? misuse(msg.text) : failed(&msg);
}

static int
print_quirks(void)
{
    char value[8];

    for (size_t i = 0; i < QUIRK_COUNT; i++) {
        const struct quirk_row *row = quirk_row((enum quirk)i);

        quirk_text(value, (enum quirk)i, row->value);
        printf("%-20s %-6s %s\n", row->name, value, row->why);
    }
    return fflush(stdout) == 0 ? 0 : EXIT_FAILED;
}

static int
print_faults(void)
{
    puts(
        "KIND or KIND:KEY=VALUE,... with the keys ins=HH, nth=N, p=0.01, count=N, seed=N, value=N");
    for (size_t i = 0; fault_help(i) != NULL; i++)
        puts(fault_help(i));
    return fflush(stdout) == 0 ? 0 : EXIT_FAILED;
}

static enum bm_err
read_profile(const char *path, struct sim_options *o, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct bm_msg why = { "" };
    enum bm_err err = file_read(path, PROFILE_FILE_MAX, &text, msg);

    if (err == BM_OK) {
        err = profile_parse(buf_span(&text), &o->profile, &o->quirks, &o->faults, &why);
        if (err != BM_OK)
            err = bm_fail(msg, err, "%s, %s", path, why.text);
    }
    buf_fini(&text);
    return err;
}

static void
on_signal(void *arg)
{
    log_info("ending on a signal");
    loop_stop(arg);
}

static bool
announce(void)
{
    puts("ready");
    notify_send("READY=1");
    return fflush(stdout) == 0;
}

static enum bm_err
listen_all(struct server *s, const struct options *o, struct bm_msg *msg)
{
    for (size_t i = 0; i < o->listen_count; i++) {
        enum bm_err err = server_listen(s, o->listen[i], msg);

        if (err != BM_OK)
            return err;
    }
    if (o->ready_fd >= 0) /* a worker: the process that started it says so for all */
        return write(o->ready_fd, "", 1) == 1
                   ? BM_OK
                   : bm_fail(msg, BM_ERR_CLOSED, "the process that started this worker is gone");
    return announce() ? BM_OK : bm_fail(msg, BM_ERR_IO, "cannot write to stdout");
}

static enum bm_err
make_loop(struct loop **out, struct bm_msg *msg)
{
    enum bm_err err = loop_new(out);

    if (err == BM_OK)
        err = loop_signal(*out, SIGTERM, on_signal, *out);
    if (err == BM_OK)
        err = loop_signal(*out, SIGINT, on_signal, *out);
    return err == BM_OK ? BM_OK : bm_fail(msg, err, "cannot make an event loop");
}

/* What opening a chip of many needs. */
struct opener {
    struct loop *loop;
    struct trace *trace;
    struct options *o;
};

static enum bm_err
open_chip(void *arg, const char *dir, struct backend **out, struct bm_msg *msg)
{
    const struct opener *opener = arg;
    struct options *o = opener->o;
    struct backend *b;
    enum bm_err err = backend_sim_new(opener->loop, dir, &o->simulation, &b, msg);

    *out = NULL;
    if (err != BM_OK)
        return err;
    if (o->restricts)
        err = chip_restrict(backend_sim_chip(b), &o->restricted, msg);
    if (err != BM_OK) {
        backend_free(b);
        return err;
    }
    backend_set_trace(b, opener->trace);
    *out = b;
    return BM_OK;
}

/* The one before us may just be ending: whoever starts us with --client has seen its end. */
static enum bm_err
open_when_free(struct opener *opener, struct backend **out, struct bm_msg *msg)
{
    enum { TRIES = 40, PAUSE_MS = 50 };
    enum bm_err err = open_chip(opener, opener->o->sim, out, msg);

    for (int i = 0; i < TRIES && err == BM_ERR_CONFLICT && opener->o->client >= 0; i++) {
        (void)poll(NULL, 0, PAUSE_MS);
        err = open_chip(opener, opener->o->sim, out, msg);
    }
    return err;
}

static enum bm_err
open_chips(struct opener *opener, struct chips **out, struct bm_msg *msg)
{
    struct backend *chip;
    enum bm_err err;

    *out = NULL;
    if (opener->o->chips > 0)
        return chips_many(opener->o->sim, opener->o->chips, open_chip, opener, out) == BM_OK
                   ? BM_OK
                   : bm_fail(msg, BM_ERR_MEM, "out of memory");
    if (opener->o->i2c != NULL) {
        err = backend_real_new(opener->loop, opener->o->i2c, &chip, msg);
        if (err == BM_OK)
            backend_set_trace(chip, opener->trace);
    } else {
        err = open_when_free(opener, &chip, msg);
    }
    if (err == BM_OK && chips_one(chip, out) != BM_OK)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory");
    return err;
}

/*
 * Many chips need many descriptors: a socket each, and of what is left an open chip and a
 * connection for each client.
 */
static enum bm_err
make_room(struct options *o, struct bm_msg *msg)
{
    enum { CLIENTS_MIN = 64 };
    size_t mine = o->server.workers > 1 ? o->chips / o->server.workers + 1 : o->chips;
    size_t idle = mine < CHIPS_IDLE_MAX ? mine : CHIPS_IDLE_MAX;
    size_t for_client = mine > idle ? 1 + CHIPS_FDS : 1;
    size_t need = FDS_RESERVE + mine * o->listen_count + idle * CHIPS_FDS;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return bm_fail(
            msg, BM_ERR_IO, "cannot learn the limit of descriptors: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return bm_fail(
            msg, BM_ERR_IO, "cannot raise the limit of descriptors: %s", strerror(errno));
    if (limit.rlim_max < need + CLIENTS_MIN * for_client)
        return bm_fail(msg, BM_ERR_LIMIT,
            "%zu chips need %zu open files, this process may have %llu; raise the hard limit "
            "(ulimit -Hn, or LimitNOFILE= of systemd), take fewer chips or more --workers",
            o->chips, need + CLIENTS_MIN * for_client, (unsigned long long)limit.rlim_max);
    o->server.clients_max = (limit.rlim_max - need) / for_client;
    if (o->server.clients_max > mine + SERVER_CLIENTS_MAX)
        o->server.clients_max = mine + SERVER_CLIENTS_MAX;
    return BM_OK;
}

/* The client that started us has no other way to learn why; it asks first, as always. */
static void
tell_client(int fd, const struct bm_msg *msg)
{
    uint8_t asked[JRCP_MESSAGE_MAX];
    uint8_t bytes[JRCP_MESSAGE_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct span text = span_str(msg->text);

    text.len = text.len < JRCP_PAYLOAD_MAX ? text.len : JRCP_PAYLOAD_MAX;
    (void)jrcp_build(&w, &(struct jrcp_msg){ .mty = JRCP_ERROR, .payload = text });
    if (recv(fd, asked, sizeof asked, 0) <= 0 || send(fd, bytes, wr_len(&w), MSG_NOSIGNAL) < 0)
        log_debug("the client has left");
}

/* The life of the process that serves, or of one of several workers. */
static int
serve(struct options *o)
{
    struct bm_msg msg = { "" };
    struct opener opener = { .o = o };
    struct chips *chips = NULL;
    struct server *server = NULL;
    struct channel *channel = NULL;
    enum bm_err err = make_loop(&opener.loop, &msg);

    if (err == BM_OK && (o->simulation.lib = OSSL_LIB_CTX_new()) == NULL)
        err = bm_fail(&msg, BM_ERR_MEM, "out of memory");
    if (err == BM_OK)
        err = trace_open(o->trace, &opener.trace, &msg);
    if (err == BM_OK)
        err = open_chips(&opener, &chips, &msg);
    if (err == BM_OK && server_new(opener.loop, chips, &o->server, &server) != BM_OK)
        err = bm_fail(&msg, BM_ERR_MEM, "out of memory");
    if (err == BM_OK && o->channel.address != NULL)
        err = channel_new(opener.loop, chips, &o->server, &o->channel, &channel, &msg);
    if (err == BM_OK)
        err = o->client >= 0 ? server_attach(server, o->client, &msg) : listen_all(server, o, &msg);
    else if (o->client >= 0)
        tell_client(o->client, &msg);
    if (err == BM_OK && loop_run(opener.loop) != BM_OK)
        err = bm_fail(&msg, BM_ERR_IO, "the event loop failed: %s", strerror(errno));
    channel_free(channel);
    server_free(server);
    chips_free(chips);
    OSSL_LIB_CTX_free(o->simulation.lib);
    trace_close(opener.trace);
    loop_free(opener.loop);
    return err == BM_OK ? 0 : failed(&msg);
}

static int
be_worker(void *arg, size_t index, int ready_fd)
{
    struct options *o = arg;

    o->server.worker = index;
    o->ready_fd = ready_fd;
    return serve(o);
}

static void
workers_ready(void)
{
    if (!announce())
        log_error("cannot write to stdout");
}

static int
run(struct options *o)
{
    struct bm_msg msg = { "" };
    int lock;
    int code;

    if (o->chips == 0)
        return serve(o);
    if (make_room(o, &msg) != BM_OK || chips_lock(o->sim, &lock, &msg) != BM_OK)
        return failed(&msg);
    code = o->server.workers > 1 ? workers_run(o->server.workers, be_worker, o, workers_ready)
                                 : serve(o);
    (void)close(lock);
    return code;
}

enum {
    OPT_SIM = 1,
    OPT_CHIPS,
    OPT_WORKERS,
    OPT_I2C,
    OPT_CLIENT,
    OPT_LISTEN,
    OPT_STATS,
    OPT_CTL,
    OPT_CTL_TCP,
    OPT_RESTRICTED,
    OPT_QUIRK,
    OPT_QUIRKS,
    OPT_PROFILE,
    OPT_FAULT,
    OPT_FAULTS,
    OPT_DEADLINE,
    OPT_GROUP,
    OPT_CHANNEL,
    OPT_CHANNEL_GROUP,
    OPT_SCP_KEYS,
    OPT_LOG,
    OPT_TRACE,
    OPT_HELP,
    OPT_VERSION
};

static bool
parse_deadline(const char *text, unsigned *out)
{
    char *end;
    unsigned long s = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || s < 1 || s > 3600)
        return false;
    *out = (unsigned)s;
    return true;
}

/* A decimal number up to `max` at the front of the text. */
static bool
take_number(const char **text, unsigned long max, unsigned long *out)
{
    char *end;

    if (**text < '0' || **text > '9')
        return false;
    *out = strtoul(*text, &end, 10);
    *text = end;
    return *out <= max;
}

static bool
take_char(const char **text, char c)
{
    if (**text != c)
        return false;
    (*text)++;
    return true;
}

/* INDEX:OFFSET:LENGTH[,OFFSET:LENGTH...][,max=USES]; chip_restrict looks at the values. */
static bool
parse_restricted(const char *text, struct chip_restricted *out)
{
    unsigned long a;
    unsigned long b;

    *out = (struct chip_restricted){ .max = 255 };
    if (!take_number(&text, 3, &a) || !take_char(&text, ':'))
        return false;
    out->index = (uint8_t)a;
    do {
        if (out->count > 0 && strncmp(text, "max=", 4) == 0) {
            text += 4;
            if (!take_number(&text, 255, &a) || *text != '\0')
                return false;
            out->max = (uint8_t)a;
            return true;
        }
        if (out->count == CHIP_BLOCKS_MAX || !take_number(&text, 4095, &a) ||
            !take_char(&text, ':') || !take_number(&text, 255, &b))
            return false;
        out->blocks[out->count++] =
            (struct chip_block){ .offset = (uint16_t)a, .len = (uint16_t)b };
    } while (take_char(&text, ','));
    return *text == '\0';
}

/* Take one option over: -1 to go on, otherwise the exit code. */
static int
take_option(struct options *o, int opt, const char *value)
{
    unsigned long number;
    struct bm_msg msg = { "" };

    o->simulates = o->simulates || opt == OPT_CHIPS || opt == OPT_RESTRICTED || opt == OPT_QUIRK ||
                   opt == OPT_PROFILE || opt == OPT_FAULT;
    switch (opt) {
    case OPT_SIM:
        o->sim = value;
        return -1;
    case OPT_CHIPS:
        if (!take_number(&value, CHIPS_MAX, &number) || *value != '\0' || number == 0)
            return misuse("--chips wants a number from 1 to 100000");
        o->chips = number;
        o->simulation.named = true;
        return -1;
    case OPT_WORKERS:
        if (!take_number(&value, WORKERS_MAX, &number) || *value != '\0' || number == 0)
            return misuse("--workers wants a number from 1 to 256");
        o->server.workers = number;
        return -1;
    case OPT_I2C:
        o->i2c = value;
        return -1;
    case OPT_CLIENT:
        if (!take_number(&value, INT_MAX, &number) || *value != '\0')
            return misuse("--client wants the number of a descriptor");
        o->client = (int)number;
        return -1;
    case OPT_STATS:
        o->stats = true;
        o->ctl = value;
        return -1;
    case OPT_CTL:
        o->ctl = value;
        return -1;
    case OPT_CTL_TCP:
        o->server.control_tcp = true;
        return -1;
    case OPT_LISTEN:
        if (o->listen_count == SERVER_LISTENERS_MAX)
            return misuse("too many --listen, 8 at most");
        o->listen[o->listen_count++] = value;
        return -1;
    case OPT_RESTRICTED:
        o->restricts = parse_restricted(value, &o->restricted);
        return o->restricts ? -1
                            : misuse("--restricted wants INDEX:OFFSET:LENGTH, up to 4 blocks and "
                                     "at most 255 bytes, as 3:64:16,128:32,max=10");
    case OPT_QUIRK:
        if (quirks_set(&o->simulation.quirks, value, &msg) != BM_OK)
            return misuse(msg.text);
        return -1;
    case OPT_PROFILE:
        if (read_profile(value, &o->simulation, &msg) != BM_OK)
            return failed(&msg);
        return -1;
    case OPT_FAULT:
        if (faults_add(&o->simulation.faults, value, &msg) != BM_OK)
            return misuse(msg.text);
        return -1;
    case OPT_FAULTS:
        return print_faults();
    case OPT_QUIRKS:
        return print_quirks();
    case OPT_GROUP:
    case OPT_CHANNEL_GROUP:
        if (peer_group(value, opt == OPT_GROUP ? &o->server.group : &o->channel.group, &msg) !=
            BM_OK)
            return failed(&msg);
        return -1;
    case OPT_CHANNEL:
        o->channel.address = value;
        return -1;
    case OPT_SCP_KEYS:
        o->channel.key_file = value;
        return -1;
    case OPT_DEADLINE:
        if (!parse_deadline(value, &o->server.deadline_s))
            return misuse("--deadline wants whole seconds from 1 to 3600");
        return -1;
    case OPT_LOG:
        if (!log_level_parse(value, &o->level))
            return misuse("--log wants error, warn, info, debug or trace");
        return -1;
    case OPT_TRACE:
        o->trace = value;
        return -1;
    case OPT_HELP:
        fputs(help, stdout);
        return 0;
    case OPT_VERSION:
        puts("a71chd " BIRTHMARK_VERSION);
        return 0;
    default: /* getopt_long has said what is wrong */
        return EXIT_USAGE;
    }
}

static int
parse_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        { "sim", required_argument, NULL, OPT_SIM },
        { "chips", required_argument, NULL, OPT_CHIPS },
        { "workers", required_argument, NULL, OPT_WORKERS },
        { "i2c", required_argument, NULL, OPT_I2C },
        { "client", required_argument, NULL, OPT_CLIENT },
        { "listen", required_argument, NULL, OPT_LISTEN },
        { "stats", required_argument, NULL, OPT_STATS },
        { "ctl", required_argument, NULL, OPT_CTL },
        { "ctl-tcp", no_argument, NULL, OPT_CTL_TCP },
        { "restricted", required_argument, NULL, OPT_RESTRICTED },
        { "quirk", required_argument, NULL, OPT_QUIRK },
        { "profile", required_argument, NULL, OPT_PROFILE },
        { "fault", required_argument, NULL, OPT_FAULT },
        { "faults", no_argument, NULL, OPT_FAULTS },
        { "quirks", no_argument, NULL, OPT_QUIRKS },
        { "channel", required_argument, NULL, OPT_CHANNEL },
        { "channel-group", required_argument, NULL, OPT_CHANNEL_GROUP },
        { "scp-keys", required_argument, NULL, OPT_SCP_KEYS },
        { "group", required_argument, NULL, OPT_GROUP },
        { "deadline", required_argument, NULL, OPT_DEADLINE },
        { "log", required_argument, NULL, OPT_LOG },
        { "trace", required_argument, NULL, OPT_TRACE },
        { "help", no_argument, NULL, OPT_HELP },
        { "version", no_argument, NULL, OPT_VERSION },
        { NULL, 0, NULL, 0 },
    };
    int opt;

    while ((opt = getopt_long(argc, argv, "", known, NULL)) != -1) {
        int code = take_option(o, opt, optarg);

        if (code >= 0)
            return code;
    }
    if (optind < argc && (o->ctl == NULL || o->stats))
        return misuse("there are no arguments without an option; the folder goes after --sim");
    return -1;
}

int
main(int argc, char **argv)
{
    struct options o = { .simulation = { .quirks = quirks_default(), .profile = profile_none() },
        .server = { .deadline_s = SERVER_DEADLINE_S,
            .clients_max = SERVER_CLIENTS_MAX,
            .group = PEER_NO_GROUP },
        .client = -1,
        .ready_fd = -1,
        .channel.group = PEER_NO_GROUP,
        .level = LOG_INFO };
    int code = parse_options(&o, argc, argv);

    if (code >= 0)
        return code;
    log_setup("a71chd", o.level);
    (void)signal(SIGPIPE, SIG_IGN);
    if (o.ctl != NULL)
        return o.sim == NULL && o.i2c == NULL
                   ? ask(o.ctl, &argv[optind], (size_t)(argc - optind))
                   : misuse("--ctl and --stats ask another a71chd: give them alone");
    if ((o.sim == NULL) == (o.i2c == NULL))
        return misuse(
            "want either --sim DIR, the folder of a simulated chip, or --i2c DEVICE, a real one");
    if (o.i2c != NULL && o.simulates)
        return misuse("--chips, --restricted, --quirk, --profile and --fault need --sim");
    if (o.client >= 0 && (o.listen_count > 0 || o.chips > 0))
        return misuse("--client serves one socket: give it without --listen and --chips");
    if ((o.channel.address == NULL) != (o.channel.key_file == NULL) ||
        (o.channel.address != NULL && o.chips > 0))
        return misuse("--channel and --scp-keys go together, with one chip");
    if (o.server.workers > 1 && (o.chips == 0 || o.trace != NULL))
        return misuse("--workers is for many chips (--chips), without --trace");
    if (o.listen_count == 0 && o.client < 0)
        return misuse("--listen is missing: where clients connect, as tcp:127.0.0.1:8050");
    return run(&o);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark cloud`: options of the local cloud, and what it refuses to start with.
 *
 * Credentials are test/test while every listener is on loopback. Beyond loopback real ones are
 * needed: `--new-credentials` makes them in DIR/credentials (0600), and from then on only those are
 * accepted. Each account of that file has a state folder of its own: DIR for 000000000000, for
 * others DIR/accounts/NUMBER.
 */
#include "birthmark/cmd.h"

#include "api/api.h"
#include "base/file.h"
#include "base/log.h"
#include "birthmark/credentials.h"
#include "birthmark/master.h"
#include "broker/transport.h"
#include "endpoint/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FUNCTIONS_MAX = 256 };

static const char usage[] =
    "usage: birthmark cloud [OPTION...]\n"
    "\n"
    "Runs a local AWS IoT Core in the foreground: control plane for the aws CLI and SDKs, MQTT "
    "endpoint\n"
    "with just-in-time registration, rules and Lambda. Prints `api URL`, `mqtt HOST:PORT`, "
    "`console URL`, `root-ca FILE`, then `ready`.\n"
    "SIGTERM or SIGINT ends it; nothing acknowledged is lost.\n"
    "\n"
    "  --dir DIR          state folder (default: $BIRTHMARK_DIR, else ~/.local/state/birthmark)\n"
    "  --api HOST:PORT    control plane (default 127.0.0.1:4566; port 0: any free one)\n"
    "  --mqtt HOST:PORT   MQTT over TLS (default 127.0.0.1:8883; port 0: any free one)\n"
    "  --console HOST:PORT  web console (default 127.0.0.1:4567, or a free port when that is "
    "taken); "
    "off: none\n"
    "  --metrics HOST:PORT  numbers of the endpoint for Prometheus, at /metrics, without "
    "credentials (default: off)\n"
    "  --name NAME        one more name or address for the server certificate; may be repeated\n"
    "  --cert FILE, --key FILE\n"
    "                     server certificate (PEM, with its chain) and key of the MQTT endpoint\n"
    "                     (default: made by the local root CA)\n"
    "  --workers N        TLS worker processes (default: one per core)\n"
    "  --functions N      processes of functions at a time (default: four a core, from 8 to 64)\n"
    "  --sandbox KIND     how functions run: auto (default; when this is root each process gets a "
    "user\n"
    "                     id of its own), bwrap (that, and in bubblewrap: nothing of any home), "
    "none\n"
    "  --region REGION    region in ARNs (default us-east-1)\n"
    "  --timeline N       records of the timeline that are kept, the newest (default 1000000; 0: "
    "all)\n"
    "  --broker PROGRAM   mosquitto to run behind the endpoint (default /usr/sbin/mosquitto)\n"
    "  --broker mqtt://[USER@]HOST[:PORT][,HOST...]\n"
    "                     instead: an MQTT broker or cluster that runs already; only with one "
    "account.\n"
    "                     mqtts://...: in TLS\n"
    "  --broker-profile NAME   nats or rabbitmq: it keeps topics with dots, so escape them (default: "
    "an MQTT broker)\n"
    "  --broker-password FILE  its password is the first line of FILE\n"
    "  --broker-ca FILE   CA certificates (PEM) that its certificate is to be of (default: the "
    "system's)\n"
    "  --broker-cert FILE, --broker-key FILE\n"
    "                     certificate (PEM, with its chain) and key that it is shown\n"
    "  --new-credentials  make new credentials in DIR/credentials, print them, exit; needed "
    "before\n"
    "                     listening beyond loopback\n"
    "  --account NUMBER   whose credentials --new-credentials makes (12 digits, default "
    "000000000000);\n"
    "                     the other accounts keep theirs\n"
    "  --limit NAME=N     change a limit; may be repeated. --limit service: an account has the "
    "service's, too\n"
    "  --no-limits        lift those of the service: rates, bytes, messages in flight; for load "
    "tests\n"
    "  --limits           list the limits and their defaults, which are the service's; exit\n"
    "  --coverage         print every operation of AWS IoT, its data plane and Lambda, and whether "
    "it "
    "is built; exit\n"
    "  --log LEVEL        error, warn, info (default), debug, trace\n"
    "  --help, --version\n";

struct address {
    char host[64];
    uint16_t port;
};

static bool
parse_sandbox(const char *text, enum lambda_sandbox *out)
{
    static const struct {
        const char *name;
        enum lambda_sandbox kind;
    } kinds[] = { { "auto", LAMBDA_SANDBOX_AUTO }, { "bwrap", LAMBDA_SANDBOX_BWRAP },
        { "none", LAMBDA_SANDBOX_NONE } };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(text, kinds[i].name) == 0) {
            *out = kinds[i].kind;
            return true;
        }
    }
    return false;
}

static bool
parse_address(const char *text, struct address *out)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    char *end = NULL;
    unsigned long port;
    unsigned char ip[16];

    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (colon == NULL || len == 0 || len >= sizeof out->host)
        return false;
    memcpy(out->host, text, len);
    out->host[len] = '\0';
    if (strcmp(out->host, "localhost") == 0)
        (void)snprintf(out->host, sizeof out->host, "127.0.0.1");
    errno = 0;
    port = strtoul(colon + 1, &end, 10);
    if (errno != 0 || end == colon + 1 || *end != '\0' || port > 65535)
        return false;
    out->port = (uint16_t)port;
    return inet_pton(AF_INET, out->host, ip) == 1 || inet_pton(AF_INET6, out->host, ip) == 1;
}

static bool
parse_count(const char *text, size_t *out)
{
    char *end = NULL;
    unsigned long n = strtoul(text, &end, 10);

    *out = n;
    return strspn(text, "0123456789") == strlen(text) && end != text &&
           (n == 0 || (n >= 1000 && n <= 1000000000));
}

static bool
is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static int
new_credentials(const char *dir, const char *path, const char *account)
{
    struct credential key = { .account = "" };
    struct bm_msg msg = { "" };
    enum bm_err err = dir_make(dir, 0700, &msg);

    if (err == BM_OK)
        err = credentials_make(path, account, &key, &msg);
    if (err == BM_OK)
        printf("export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", key.access_key,
            key.secret_key);
    else
        fprintf(stderr, "birthmark cloud: %s\n", msg.text);
    bm_wipe(&key, sizeof key);
    return err == BM_OK ? EXIT_DONE : EXIT_FAILED;
}

struct coverage {
    unsigned built;
    unsigned all;
};

static void
print_operation(void *arg, const char *service, const char *name, bool built)
{
    struct coverage *coverage = arg;

    coverage->all++;
    coverage->built += built;
    printf("%-6s  %-8s  %s\n", built ? "built" : "-", service, name);
}

static int
print_coverage(void)
{
    struct coverage coverage = { 0, 0 };

    api_operations(print_operation, &coverage);
    printf("%u of %u operations are built\n", coverage.built, coverage.all);
    return EXIT_DONE;
}

enum { CLOUD_NAMES_MAX = CONTROL_NAMES_MAX - ACCOUNTS_MAX };

struct cloud_args {
    char dir[PATH_MAX];
    struct address api;
    struct address mqtt;
    struct address metrics; /* host "": none */
    struct address console; /* host "": none */
    bool console_given;
    const char *names[CLOUD_NAMES_MAX];
    size_t name_count;
    unsigned workers;
    unsigned processes;
    enum lambda_sandbox sandbox;
    const char *region;
    size_t timeline_max;
    const char *broker; /* a program, or where one is */
    const char *broker_password;
    const char *broker_profile;
    const char *broker_ca;
    const char *broker_cert;
    const char *broker_key;
    const char *cert; /* NULL, both: the local authority's */
    const char *key;
    struct limits limits;
    bool new_credentials;
    const char *account; /* of new_credentials; NULL: the default */
};

/* What master_options borrow for as long as the cloud runs. */
struct cloud_texts {
    struct credentials credentials;
    char cert[PATH_MAX];
    char key[PATH_MAX];
    char broker_ca[PATH_MAX];
    char broker_cert[PATH_MAX];
    char broker_key[PATH_MAX];
    char dir[PATH_MAX];
    char runtime_dir[PATH_MAX + 64];
    char dirs[ACCOUNTS_MAX][PATH_MAX + 32];
    char sockets[ACCOUNTS_MAX][32];
    struct upstream brokers[ACCOUNTS_MAX];
    char endpoints[ACCOUNTS_MAX][128];
};

static int
print_limits(void)
{
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        const struct limit_row *row = limit_row((enum limit)i);

        printf("%-23s %7u%s  %s", row->name, row->value, row->value == 0 ? " (none)" : "       ",
            row->help);
        if (row->service != 0)
            printf("; the service: %u", row->service);
        printf("\n");
    }
    return EXIT_DONE;
}

static int
add_name(struct cloud_args *a, const char *name)
{
    if (a->name_count == CLOUD_NAMES_MAX)
        return cmd_misuse("cloud", "at most %d names", CLOUD_NAMES_MAX);
    a->names[a->name_count++] = name;
    return EXIT_DONE;
}

/* -1: go on; else the exit code. */
static int
parse_option(int opt, struct cloud_args *a)
{
    enum log_level level;
    struct bm_msg msg;

    switch (opt) {
    case 'd':
        if (snprintf(a->dir, sizeof a->dir, "%s", optarg) >= (int)sizeof a->dir)
            return cmd_misuse("cloud", "--dir is too long");
        return -1;
    case 'a':
        return parse_address(optarg, &a->api)
                   ? -1
                   : cmd_misuse("cloud", "--api wants IP:PORT, not '%s'", optarg);
    case 'm':
        return parse_address(optarg, &a->mqtt)
                   ? -1
                   : cmd_misuse("cloud", "--mqtt wants IP:PORT, not '%s'", optarg);
    case 'p':
        return parse_address(optarg, &a->metrics)
                   ? -1
                   : cmd_misuse("cloud", "--metrics wants IP:PORT, not '%s'", optarg);
    case 'W':
        a->console_given = true;
        if (strcmp(optarg, "off") == 0) {
            a->console.host[0] = '\0';
            return -1;
        }
        return parse_address(optarg, &a->console)
                   ? -1
                   : cmd_misuse("cloud", "--console wants IP:PORT or off, not '%s'", optarg);
    case 'n':
        return add_name(a, optarg) == EXIT_DONE ? -1 : EXIT_USAGE;
    case 'w':
        a->workers = (unsigned)strtoul(optarg, NULL, 10);
        return a->workers >= 1 && a->workers <= MASTER_WORKERS_MAX
                   ? -1
                   : cmd_misuse(
                         "cloud", "--workers wants 1 to %d, not '%s'", MASTER_WORKERS_MAX, optarg);
    case 'f':
        a->processes = (unsigned)strtoul(optarg, NULL, 10);
        return a->processes >= 1 && a->processes <= FUNCTIONS_MAX
                   ? -1
                   : cmd_misuse(
                         "cloud", "--functions wants 1 to %d, not '%s'", FUNCTIONS_MAX, optarg);
    case 's':
        return parse_sandbox(optarg, &a->sandbox)
                   ? -1
                   : cmd_misuse("cloud", "--sandbox wants auto, bwrap or none, not '%s'", optarg);
    case 'r':
        a->region = optarg;
        return -1;
    case 't':
        return parse_count(optarg, &a->timeline_max)
                   ? -1
                   : cmd_misuse(
                         "cloud", "--timeline wants 0 or 1000 to 1000000000, not '%s'", optarg);
    case 'b':
        a->broker = optarg;
        return -1;
    case 'B':
        a->broker_password = optarg;
        return -1;
    case 'H':
        a->broker_profile = optarg;
        return -1;
    case 'E':
        a->broker_ca = optarg;
        return -1;
    case 'F':
        a->broker_cert = optarg;
        return -1;
    case 'G':
        a->broker_key = optarg;
        return -1;
    case 'C':
        a->cert = optarg;
        return -1;
    case 'K':
        a->key = optarg;
        return -1;
    case 'c':
        a->new_credentials = true;
        return -1;
    case 'A':
        a->account = optarg;
        return account_is_sound(optarg)
                   ? -1
                   : cmd_misuse("cloud", "--account wants 12 digits, not '%s'", optarg);
    case 'L':
        return limits_set(&a->limits, optarg, &msg) == BM_OK
                   ? -1
                   : cmd_misuse("cloud", "--limit: %s", msg.text);
    case 'N':
        limits_lift(&a->limits);
        return -1;
    case 'P':
        return print_limits();
    case 'o':
        return print_coverage();
    case 'l':
        if (!log_level_parse(optarg, &level))
            return cmd_misuse(
                "cloud", "--log wants error, warn, info, debug or trace, not '%s'", optarg);
        log_setup("master", level);
        return -1;
    case 'h':
        fputs(usage, stdout);
        return EXIT_DONE;
    case 'V':
        return cmd_version(1, NULL);
    default:
        return EXIT_USAGE; /* getopt has said why */
    }
}

static bool
by_address(const struct cloud_args *a)
{
    return a->broker != NULL && upstream_is_url(a->broker);
}

static int
parse_args(int argc, char **argv, struct cloud_args *a)
{
    static const struct option options[] = { { "dir", required_argument, NULL, 'd' },
        { "api", required_argument, NULL, 'a' }, { "mqtt", required_argument, NULL, 'm' },
        { "metrics", required_argument, NULL, 'p' }, { "name", required_argument, NULL, 'n' },
        { "workers", required_argument, NULL, 'w' }, { "functions", required_argument, NULL, 'f' },
        { "sandbox", required_argument, NULL, 's' }, { "region", required_argument, NULL, 'r' },
        { "timeline", required_argument, NULL, 't' }, { "broker", required_argument, NULL, 'b' },
        { "console", required_argument, NULL, 'W' }, { "cert", required_argument, NULL, 'C' },
        { "key", required_argument, NULL, 'K' },
        { "broker-password", required_argument, NULL, 'B' },
        { "broker-profile", required_argument, NULL, 'H' },
        { "broker-ca", required_argument, NULL, 'E' }, { "broker-cert", required_argument, NULL, 'F' },
        { "broker-key", required_argument, NULL, 'G' }, { "new-credentials", no_argument, NULL, 'c' },
        { "account", required_argument, NULL, 'A' }, { "limit", required_argument, NULL, 'L' },
        { "no-limits", no_argument, NULL, 'N' }, { "limits", no_argument, NULL, 'P' },
        { "coverage", no_argument, NULL, 'o' }, { "log", required_argument, NULL, 'l' },
        { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 } };
    int opt;
    int rc;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if ((rc = parse_option(opt, a)) >= 0)
            return rc;
    }
    if (optind < argc)
        return cmd_misuse("cloud", "unexpected argument '%s'", argv[optind]);
    if ((a->cert == NULL) != (a->key == NULL))
        return cmd_misuse("cloud", "--cert and --key go together");
    if (a->broker_password != NULL && !by_address(a))
        return cmd_misuse("cloud", "--broker-password goes with --broker mqtt://...");
    if (a->broker_profile != NULL && !by_address(a))
        return cmd_misuse("cloud", "--broker-profile goes with --broker mqtt://...");
    if (a->broker_profile != NULL && topics_named(a->broker_profile) == NULL)
        return cmd_misuse(
            "cloud", "--broker-profile wants nats or rabbitmq, not '%s'", a->broker_profile);
    if ((a->broker_ca != NULL || a->broker_cert != NULL || a->broker_key != NULL) &&
        (a->broker == NULL || strncmp(a->broker, "mqtts://", 8) != 0))
        return cmd_misuse("cloud",
            "--broker-ca, --broker-cert and --broker-key go with --broker mqtts://...");
    if ((a->broker_cert == NULL) != (a->broker_key == NULL))
        return cmd_misuse("cloud", "--broker-cert and --broker-key go together");
    if (a->account != NULL && !a->new_credentials)
        return cmd_misuse("cloud", "--account goes with --new-credentials");
    if (a->dir[0] == '\0' && !cmd_default_dir(a->dir, sizeof a->dir))
        return cmd_misuse("cloud", "no state folder: give --dir, or set BIRTHMARK_DIR or HOME");
    return -1;
}

static int
exit_code(enum bm_err err)
{
    if (err == BM_OK)
        return EXIT_DONE;
    return err == BM_ERR_CONFLICT ? EXIT_BUSY : EXIT_FAILED;
}

/* Found before anything starts, because the working directory changes; *to stays NULL without. */
static enum bm_err
find_file(const char *given, char place[PATH_MAX], const char **to, struct bm_msg *msg)
{
    if (given == NULL)
        return BM_OK;
    if (realpath(given, place) == NULL)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "cannot read %s: %s", given, strerror(errno));
    *to = place;
    return BM_OK;
}

/* Places and names of the accounts; each endpoint name gets into the server certificate. */
static enum bm_err
place_accounts(struct cloud_texts *t, struct control_options *o, struct bm_msg *msg)
{
    enum bm_err err =
        credentials_accounts(&t->credentials, o->accounts, &o->account_count, o->keys, msg);

    o->key_count = t->credentials.count;
    for (size_t i = 0; err == BM_OK && i < o->account_count; i++) {
        struct account_place *a = &o->accounts[i];
        bool home = strcmp(a->number, ACCOUNT_DEFAULT) == 0;

        (void)snprintf(t->dirs[i], sizeof t->dirs[i], "%s%s%s", t->dir, home ? "" : "/accounts/",
            home ? "" : a->number);
        /* relative: the working directory is DIR/run */
        (void)snprintf(t->sockets[i], sizeof t->sockets[i], "broker%s%s.sock", home ? "" : "-",
            home ? "" : a->number);
        (void)snprintf(t->endpoints[i], sizeof t->endpoints[i], "%s%s%s", i > 0 ? a->number : "",
            i > 0 ? "." : "", o->names[0]);
        a->dir = t->dirs[i];
        t->brokers[i].path = t->sockets[i];
        a->broker = &t->brokers[i];
        o->endpoints[i] = t->endpoints[i];
        if (i > 0)
            o->names[o->name_count++] = t->endpoints[i];
    }
    return err;
}

/* The first line of the file is the password. */
static enum bm_err
read_password(const char *path, char *out, size_t cap, struct bm_msg *msg)
{
    struct buf b = { 0 };
    enum bm_err err = file_read(path, cap, &b, msg);
    size_t len = 0;

    while (len < b.len && b.ptr[len] != '\n' && b.ptr[len] != '\r' && b.ptr[len] != '\0')
        len++;
    if (err == BM_OK && (len == 0 || len >= cap))
        err = bm_fail(msg, BM_ERR_INPUT, "%s: its first line is no password of 1 to %zu bytes",
            path, cap - 1);
    if (err == BM_OK) {
        memcpy(out, b.ptr, len);
        out[len] = '\0';
    }
    buf_fini(&b);
    return err;
}

/* Tried, too, because a worker that cannot start is started again and again. */
static enum bm_err
place_tls(const struct cloud_args *a, struct cloud_texts *t, struct upstream *u, struct bm_msg *msg)
{
    SSL_CTX *tried = NULL;
    enum bm_err err = find_file(a->broker_ca, t->broker_ca, &u->ca, msg);

    if (err == BM_OK)
        err = find_file(a->broker_cert, t->broker_cert, &u->cert, msg);
    if (err == BM_OK)
        err = find_file(a->broker_key, t->broker_key, &u->key, msg);
    if (err == BM_OK)
        err = transport_context(u, &tried, msg);
    SSL_CTX_free(tried);
    return err;
}

/* A broker by address keeps no two accounts apart. */
static enum bm_err
place_cluster(const struct cloud_args *a, struct cloud_texts *t, struct control_options *o,
    struct bm_msg *msg)
{
    struct upstream *u = &t->brokers[0];
    enum bm_err err = upstream_parse(a->broker, u, msg);

    if (err == BM_OK && o->account_count > 1)
        return bm_fail(msg, BM_ERR_ARG,
            "%s has credentials of %zu accounts, and at one broker by address their devices would "
            "meet; give each account a cloud of its own",
            a->dir, o->account_count);
    if (err == BM_OK && a->broker_password != NULL)
        err = read_password(a->broker_password, u->password, sizeof u->password, msg);
    if (err == BM_OK && u->password[0] != '\0' && u->username[0] == '\0')
        err = bm_fail(msg, BM_ERR_ARG, "a password without a user: mqtt://USER@HOST");
    if (a->broker_profile != NULL)
        u->topics = topics_named(a->broker_profile);
    return err == BM_OK ? place_tls(a, t, u, msg) : err;
}

/* The first address that others could reach; NULL: none. */
static const char *
beyond_loopback(const struct cloud_args *a)
{
    const char *const hosts[] = { a->api.host, a->mqtt.host, a->console.host };

    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        if (hosts[i][0] != '\0' && !is_loopback(hosts[i]))
            return hosts[i];
    }
    return NULL;
}

static enum bm_err
start(const struct cloud_args *a, struct cloud_texts *t, struct bm_msg *msg)
{
    const char *open = beyond_loopback(a);
    struct master_options o = {
        .control = { .dir = t->dir,
            .runtime_dir = t->runtime_dir,
            .sandbox = a->sandbox,
            .processes = a->processes,
            .api_host = a->api.host,
            .api_port = a->api.port,
            .metrics_host = a->metrics.host[0] != '\0' ? a->metrics.host : NULL,
            .metrics_port = a->metrics.port,
            .console_host = a->console.host[0] != '\0' ? a->console.host : NULL,
            /* with an API on any port it is a cloud among others, and so
               is its console */
            .console_port = !a->console_given && a->api.port == 0 ? 0 : a->console.port,
            .console_port_is_wish = !a->console_given,
            .timeline_max = a->timeline_max,
            .region = a->region,
            .name_count = a->name_count },
        .mqtt_host = a->mqtt.host,
        .mqtt_port = a->mqtt.port,
        .workers = a->workers,
        .broker_program = by_address(a) ? NULL : a->broker,
        .limits = a->limits
    };
    enum bm_err err = BM_OK;

    if (!t->credentials.made && open != NULL)
        return bm_fail(msg, BM_ERR_ARG,
            "%s is not a loopback address and the credentials are test/test; make real ones first: "
            "birthmark cloud --dir %s --new-credentials",
            open, a->dir);
    if (a->cert != NULL) {
        err = find_file(a->cert, t->cert, &o.server_cert, msg);
        if (err == BM_OK)
            err = find_file(a->key, t->key, &o.server_key, msg);
        if (err == BM_OK)
            err = worker_check_certificate(t->cert, t->key, msg);
    }
    if (err == BM_OK && !cmd_share("runtimes", t->runtime_dir, sizeof t->runtime_dir))
        err = bm_fail(msg, BM_ERR_NOT_FOUND,
            "cannot find share/birthmark/runtimes beside this program; set BIRTHMARK_SHARE");
    memcpy(o.control.names, a->names, sizeof a->names);
    if (err == BM_OK)
        err = place_accounts(t, &o.control, msg);
    if (err == BM_OK && by_address(a))
        err = place_cluster(a, t, &o.control, msg);
    return err == BM_OK ? master_run(&o, msg) : err;
}

static int
run(const struct cloud_args *a)
{
    struct cloud_texts *t = calloc(1, sizeof *t);
    char credentials_path[PATH_MAX + 16];
    struct bm_msg msg = { { 0 } };
    enum bm_err err;
    int rc;

    if (t == NULL || dir_make(a->dir, 0700, &msg) != BM_OK || realpath(a->dir, t->dir) == NULL) {
        fprintf(stderr, "birthmark cloud: %s\n", msg.text[0] != '\0' ? msg.text : strerror(errno));
        free(t);
        return EXIT_FAILED;
    }
    (void)snprintf(credentials_path, sizeof credentials_path, "%s/credentials", t->dir);
    if (a->new_credentials) {
        rc = new_credentials(
            t->dir, credentials_path, a->account != NULL ? a->account : ACCOUNT_DEFAULT);
    } else {
        err = credentials_read(credentials_path, &t->credentials, &msg);
        if (err == BM_OK)
            err = start(a, t, &msg);
        if (err != BM_OK)
            fprintf(stderr, "birthmark cloud: %s\n", msg.text);
        rc = exit_code(err);
    }
    free(t);
    return rc;
}

int
cmd_cloud(int argc, char **argv)
{
    struct cloud_args a = { .api = { "127.0.0.1", 4566 },
        .mqtt = { "127.0.0.1", 8883 },
        .console = { "127.0.0.1", 4567 },
        .names = { "localhost", "127.0.0.1", "::1" },
        .name_count = 3,
        .region = "us-east-1",
        .timeline_max = 1000000,
        .limits = limits_default() };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int rc;

    a.workers = cores < 1 ? 1 : cores > MASTER_WORKERS_MAX ? MASTER_WORKERS_MAX : (unsigned)cores;
    log_setup("master", LOG_INFO);
    if ((rc = parse_args(argc, argv, &a)) >= 0)
        return rc;
    return run(&a);
}

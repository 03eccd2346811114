/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark cloud`: options of the local cloud, and what it refuses to start with.
 *
 * Credentials are test/test while every listener is on loopback. Beyond loopback real ones are
 * needed: `--new-credentials` makes them in DIR/credentials (0600), and from then on only those are
 * accepted.
 */
#include "birthmark/cmd.h"

#include "api/api.h"
#include "base/file.h"
#include "base/log.h"
#include "birthmark/master.h"
#include "endpoint/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
    "usage: birthmark cloud [OPTION...]\n"
    "\n"
    "Runs a local AWS IoT Core in the foreground: control plane for the aws CLI and SDKs, MQTT "
    "endpoint\n"
    "with just-in-time registration, rules and Lambda. Prints `api URL`, `mqtt HOST:PORT`, "
    "`root-ca FILE`, then `ready`.\n"
    "SIGTERM or SIGINT ends it; nothing acknowledged is lost.\n"
    "\n"
    "  --dir DIR          state folder (default: $BIRTHMARK_DIR, else ~/.local/state/birthmark)\n"
    "  --api HOST:PORT    control plane (default 127.0.0.1:4566; port 0: any free one)\n"
    "  --mqtt HOST:PORT   MQTT over TLS (default 127.0.0.1:8883; port 0: any free one)\n"
    "  --metrics HOST:PORT  numbers of the endpoint for Prometheus, at /metrics, without "
    "credentials (default: off)\n"
    "  --name NAME        one more name or address for the server certificate; may be repeated\n"
    "  --cert FILE, --key FILE\n"
    "                     server certificate (PEM, with its chain) and key of the MQTT endpoint\n"
    "                     (default: made by the local root CA)\n"
    "  --workers N        TLS worker processes (default: one per core)\n"
    "  --region REGION    region in ARNs (default us-east-1)\n"
    "  --broker PROGRAM   mosquitto to run behind the endpoint (default /usr/sbin/mosquitto)\n"
    "  --new-credentials  make new credentials in DIR/credentials, print them, exit; needed "
    "before\n"
    "                     listening beyond loopback\n"
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
is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

struct credentials {
    bool made; /* by --new-credentials */
    char access_key[32];
    char secret_key[48];
};

static enum bm_err
credentials_read(const char *path, struct credentials *out, struct bm_msg *msg)
{
    struct buf b = { 0 };
    enum bm_err err;

    *out = (struct credentials){ false, "test", "test" };
    if (access(path, F_OK) != 0)
        return BM_OK;
    err = file_read(path, 1024, &b, msg);
    if (err == BM_OK && (buf_cstr(&b) == NULL || sscanf((char *)b.ptr, "%31s %47s", out->access_key,
                                                     out->secret_key) != 2))
        err = bm_fail(msg, BM_ERR_INPUT,
            "%s wants an access key and a secret key; make it again with --new-credentials", path);
    out->made = true;
    buf_fini(&b);
    return err;
}

static int
credentials_make(const char *dir, const char *path)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t seed[16 + 20];
    char access_key[21] = "AKIA";
    char secret[41];
    struct buf b = { 0 };
    struct bm_msg msg;
    int rc = EXIT_FAILED;

    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return EXIT_FAILED;
    for (size_t i = 0; i < 16; i++)
        access_key[4 + i] = letters[seed[i] & 31];
    hex_encode(secret, seed + 16, 20);
    buf_addf(&b, "%s %s\n", access_key, secret);
    if (dir_make(dir, 0700, &msg) == BM_OK && file_write(path, buf_span(&b), 0600, &msg) == BM_OK) {
        printf(
            "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", access_key, secret);
        rc = EXIT_DONE;
    } else {
        fprintf(stderr, "birthmark cloud: %s\n", msg.text);
    }
    buf_fini(&b);
    bm_wipe(seed, sizeof seed);
    return rc;
}

/* Our runtime clients are in share/birthmark/runtimes beside the folder that this program is in. */
static bool
find_runtime_dir(char *out, size_t cap)
{
    const char *from_env = getenv("BIRTHMARK_SHARE");
    char exe[PATH_MAX];
    ssize_t n;
    char *slash;

    if (from_env != NULL)
        return snprintf(out, cap, "%s/runtimes", from_env) < (int)cap;
    n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n < 0)
        return false;
    exe[n] = '\0';
    slash = strrchr(exe, '/');
    *slash = '\0';
    return snprintf(out, cap, "%s/../share/birthmark/runtimes", exe) < (int)cap;
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

struct cloud_args {
    char dir[PATH_MAX];
    struct address api;
    struct address mqtt;
    struct address metrics; /* host "": none */
    const char *names[CONTROL_NAMES_MAX];
    size_t name_count;
    unsigned workers;
    const char *region;
    const char *broker;
    const char *cert; /* NULL, both: the local authority's */
    const char *key;
    bool new_credentials;
};

static int
add_name(struct cloud_args *a, const char *name)
{
    if (a->name_count == CONTROL_NAMES_MAX)
        return cmd_misuse("cloud", "at most %d names", CONTROL_NAMES_MAX);
    a->names[a->name_count++] = name;
    return EXIT_DONE;
}

/* -1: go on; else the exit code. */
static int
parse_option(int opt, struct cloud_args *a)
{
    enum log_level level;

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
    case 'n':
        return add_name(a, optarg) == EXIT_DONE ? -1 : EXIT_USAGE;
    case 'w':
        a->workers = (unsigned)strtoul(optarg, NULL, 10);
        return a->workers >= 1 && a->workers <= MASTER_WORKERS_MAX
                   ? -1
                   : cmd_misuse(
                         "cloud", "--workers wants 1 to %d, not '%s'", MASTER_WORKERS_MAX, optarg);
    case 'r':
        a->region = optarg;
        return -1;
    case 'b':
        a->broker = optarg;
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

static int
parse_args(int argc, char **argv, struct cloud_args *a)
{
    static const struct option options[] = { { "dir", required_argument, NULL, 'd' },
        { "api", required_argument, NULL, 'a' }, { "mqtt", required_argument, NULL, 'm' },
        { "metrics", required_argument, NULL, 'p' }, { "name", required_argument, NULL, 'n' },
        { "workers", required_argument, NULL, 'w' }, { "region", required_argument, NULL, 'r' },
        { "broker", required_argument, NULL, 'b' }, { "cert", required_argument, NULL, 'C' },
        { "key", required_argument, NULL, 'K' }, { "new-credentials", no_argument, NULL, 'c' },
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

/* Found and tried before anything starts, because the working directory changes. */
static enum bm_err
find_certificate(
    const struct cloud_args *a, char cert[PATH_MAX], char key[PATH_MAX], struct bm_msg *msg)
{
    const char *missing = realpath(a->cert, cert) == NULL ? a->cert
                          : realpath(a->key, key) == NULL ? a->key
                                                          : NULL;

    if (missing != NULL)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "cannot read %s: %s", missing, strerror(errno));
    return worker_check_certificate(cert, key, msg);
}

static int
run(const struct cloud_args *a)
{
    char cert[PATH_MAX];
    char key[PATH_MAX];
    char dir[PATH_MAX];
    char credentials_path[PATH_MAX + 16];
    char runtime_dir[PATH_MAX + 64];
    struct credentials credentials;
    struct bm_msg msg = { { 0 } };
    struct master_options o = { .mqtt_host = a->mqtt.host,
        .mqtt_port = a->mqtt.port,
        .workers = a->workers,
        .broker_program = a->broker };
    enum bm_err err;

    if (dir_make(a->dir, 0700, &msg) != BM_OK || realpath(a->dir, dir) == NULL) {
        fprintf(stderr, "birthmark cloud: %s\n", msg.text[0] != '\0' ? msg.text : strerror(errno));
        return EXIT_FAILED;
    }
    (void)snprintf(credentials_path, sizeof credentials_path, "%s/credentials", dir);
    if (a->new_credentials)
        return credentials_make(dir, credentials_path);
    err = credentials_read(credentials_path, &credentials, &msg);
    if (err == BM_OK && !credentials.made &&
        (!is_loopback(a->api.host) || !is_loopback(a->mqtt.host)))
        err = bm_fail(&msg, BM_ERR_ARG,
            "%s is not a loopback address and the credentials are test/test; make real ones first: "
            "birthmark cloud --dir %s --new-credentials",
            is_loopback(a->api.host) ? a->mqtt.host : a->api.host, a->dir);
    if (err == BM_OK && a->cert != NULL) {
        err = find_certificate(a, cert, key, &msg);
        o.server_cert = cert;
        o.server_key = key;
    }
    if (err == BM_OK && !find_runtime_dir(runtime_dir, sizeof runtime_dir))
        err = bm_fail(&msg, BM_ERR_NOT_FOUND,
            "cannot find share/birthmark/runtimes beside this program; set BIRTHMARK_SHARE");
    if (err == BM_OK) {
        o.control = (struct control_options){ .dir = dir,
            .runtime_dir = runtime_dir,
            .api_host = a->api.host,
            .api_port = a->api.port,
            .metrics_host = a->metrics.host[0] != '\0' ? a->metrics.host : NULL,
            .metrics_port = a->metrics.port,
            .region = a->region,
            .account = "000000000000",
            .access_key = credentials.access_key,
            .secret_key = credentials.secret_key,
            .name_count = a->name_count };
        memcpy(o.control.names, a->names, sizeof a->names);
        err = master_run(&o, &msg);
    }
    if (err != BM_OK)
        fprintf(stderr, "birthmark cloud: %s\n", msg.text);
    return exit_code(err);
}

int
cmd_cloud(int argc, char **argv)
{
    struct cloud_args a = { .api = { "127.0.0.1", 4566 },
        .mqtt = { "127.0.0.1", 8883 },
        .names = { "localhost", "127.0.0.1", "::1" },
        .name_count = 3,
        .region = "us-east-1" };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int rc;

    a.workers = cores < 1 ? 1 : cores > MASTER_WORKERS_MAX ? MASTER_WORKERS_MAX : (unsigned)cores;
    log_setup("master", LOG_INFO);
    if ((rc = parse_args(argc, argv, &a)) >= 0)
        return rc;
    return run(&a);
}

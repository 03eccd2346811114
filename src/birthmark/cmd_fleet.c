/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark fleet`: options into a plan (fleet/plan.h), the run, and the report as text, JSON and
 * picture.
 */
#include "birthmark/cmd.h"

#include "base/file.h"
#include "ca/folder.h"
#include "fleet/fleet.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: birthmark fleet --cafile FILE --ca DIR [OPTION...]\n"
    "       birthmark fleet --cafile FILE --ca-cert FILE --ca-key FILE [OPTION...]\n"
    "\n"
    "Up to 10000 simulated devices in one process, each with a chip, a certificate and TLS of its\n"
    "own. They connect, are registered just in time, try again as `birthmark device` does, and\n"
    "publish. It ends when every device is where it should be, at the latest after --for, and\n"
    "tells what they met.\n"
    "\n"
    "  -h, --host HOST      default 127.0.0.1; another machine wants --force\n"
    "  -p, --port N         default 8883\n"
    "  --cafile FILE        root of the server's certificate (`root-ca` of birthmark cloud)\n"
    "  --server-name NAME   expect and ask for this name instead of HOST\n"
    "  --force              HOST is not this machine, and its owner expects the load\n"
    "\n"
    "  --ca DIR             folder of `birthmark ca`; its newest generation issues the devices'\n"
    "                       certificates and must be registered at the cloud\n"
    "  --ca-cert FILE, --ca-key FILE   or such a CA in PEM\n"
    "  --passphrase-file FILE, --passphrase-fd FD, --chip ADDRESS   of the CA's key\n"
    "  --subject TEXT       of the certificates, default /CN={client}\n"
    "  --state DIR          keep chips and certificates, for another run; else in memory\n"
    "\n"
    "  -n, --devices N      default 100; each is to be let in\n"
    "  --clones N           and N that share one key, certificate and client id\n"
    "  --not-yet-valid N, --expired N, --other-ca N, --forged N, --self-signed N\n"
    "                       and N with such a certificate, which are to be refused\n"
    "  --spread TIME        the last device begins so much after the first, default 10ms for each\n"
    "  --storm TIME         cut all connections then; may be given several times\n"
    "  --for TIME           end then, default 2m (250ms, 10s, 5m, 1h; at most 24h)\n"
    "  --stay               go on until then, although every device is where it should be\n"
    "  --seed N             the same decisions by chance (waits) as in another run\n"
    "  --scenario FILE      groups, events and times from a file (JSON) instead of these ten\n"
    "\n"
    "  --messages N         that each device publishes, default 1; 0: without end\n"
    "  --every TIME         between two of them, default 10s\n"
    "  --size N             bytes of one, default 100\n"
    "  -q, --qos 0|1        default 1\n"
    "  -t, --topic TOPIC    default foo/{client}; {n} is the device's number\n"
    "  -s, --subscribe FILTER\n"
    "  -k, --keep-alive S   default 60\n"
    "  -c, --keep-session   ask for a persistent session\n"
    "  --mqtt 5|3.1.1       default 5\n"
    "\n"
    "  --svg FILE           plots: connections over time, latencies, causes\n"
    "  --json               the report as one JSON object\n"
    "  --quiet              no progress bar\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 every device is where it should be, 7 some are not, 1 some came in that "
    "should\n"
    "not have; when none came in, that of `birthmark device` for the most frequent cause.\n";

enum {
    OPT_CAFILE = 256,
    OPT_SERVER_NAME,
    OPT_FORCE,
    OPT_CA,
    OPT_CA_CERT,
    OPT_CA_KEY,
    OPT_PASSPHRASE_FILE,
    OPT_PASSPHRASE_FD,
    OPT_CHIP,
    OPT_SUBJECT,
    OPT_STATE,
    OPT_SPREAD,
    OPT_STORM,
    OPT_FOR,
    OPT_STAY,
    OPT_SEED,
    OPT_SCENARIO,
    OPT_MESSAGES,
    OPT_EVERY,
    OPT_SIZE,
    OPT_MQTT,
    OPT_SVG,
    OPT_JSON,
    OPT_QUIET,
    OPT_HELP,
    OPT_VERSION,
    OPT_IDENTITY, /* and so on, by enum fleet_identity */
};

static const struct option options[] = {
    { "host", required_argument, NULL, 'h' },
    { "port", required_argument, NULL, 'p' },
    { "cafile", required_argument, NULL, OPT_CAFILE },
    { "server-name", required_argument, NULL, OPT_SERVER_NAME },
    { "force", no_argument, NULL, OPT_FORCE },
    { "ca", required_argument, NULL, OPT_CA },
    { "ca-cert", required_argument, NULL, OPT_CA_CERT },
    { "ca-key", required_argument, NULL, OPT_CA_KEY },
    { "passphrase-file", required_argument, NULL, OPT_PASSPHRASE_FILE },
    { "passphrase-fd", required_argument, NULL, OPT_PASSPHRASE_FD },
    { "chip", required_argument, NULL, OPT_CHIP },
    { "subject", required_argument, NULL, OPT_SUBJECT },
    { "state", required_argument, NULL, OPT_STATE },
    { "devices", required_argument, NULL, 'n' },
    { "clones", required_argument, NULL, OPT_IDENTITY + FLEET_CLONE },
    { "not-yet-valid", required_argument, NULL, OPT_IDENTITY + FLEET_NOT_YET },
    { "expired", required_argument, NULL, OPT_IDENTITY + FLEET_EXPIRED },
    { "other-ca", required_argument, NULL, OPT_IDENTITY + FLEET_OTHER_CA },
    { "forged", required_argument, NULL, OPT_IDENTITY + FLEET_FORGED },
    { "self-signed", required_argument, NULL, OPT_IDENTITY + FLEET_SELF_SIGNED },
    { "spread", required_argument, NULL, OPT_SPREAD },
    { "storm", required_argument, NULL, OPT_STORM },
    { "for", required_argument, NULL, OPT_FOR },
    { "stay", no_argument, NULL, OPT_STAY },
    { "seed", required_argument, NULL, OPT_SEED },
    { "scenario", required_argument, NULL, OPT_SCENARIO },
    { "messages", required_argument, NULL, OPT_MESSAGES },
    { "every", required_argument, NULL, OPT_EVERY },
    { "size", required_argument, NULL, OPT_SIZE },
    { "qos", required_argument, NULL, 'q' },
    { "topic", required_argument, NULL, 't' },
    { "subscribe", required_argument, NULL, 's' },
    { "keep-alive", required_argument, NULL, 'k' },
    { "keep-session", no_argument, NULL, 'c' },
    { "mqtt", required_argument, NULL, OPT_MQTT },
    { "svg", required_argument, NULL, OPT_SVG },
    { "json", no_argument, NULL, OPT_JSON },
    { "quiet", no_argument, NULL, OPT_QUIET },
    { "help", no_argument, NULL, OPT_HELP },
    { "version", no_argument, NULL, OPT_VERSION },
    { NULL, 0, NULL, 0 },
};

enum { SPREAD_EACH_MS = 10, FOR_MS = 120000 };

struct fleet_command {
    struct fleet_options run;
    struct fleet_plan plan;
    struct fleet_group base; /* what the options say of every group */
    unsigned counts[FLEET_IDENTITY_COUNT];
    int64_t spread_ms;   /* -1: not given */
    const char *planned; /* an option that the scenario file would say; NULL: none was given */
    const char *scenario;
    const char *ca_dir;
    const char *ca_cert;
    const char *ca_key;
    struct ca_access access;
    const char *svg;
    bool json;
    bool quiet;
};

/* ---- options ---- */

static bool
number(const char *text, long least, long most, unsigned *out)
{
    long v;
    bool ok = cmd_number(text, least, most, &v);

    if (ok)
        *out = (unsigned)v;
    return ok;
}

static int
wants(const char *name, const char *what)
{
    return cmd_misuse("fleet", "--%s wants %s, not '%s'", name, what, optarg);
}

static int
take_time(const char *name, int64_t *ms)
{
    return fleet_time_parse(optarg, ms) ? CMD_GO_ON
                                        : wants(name, "a time, as 250ms, 10s, 5m or 1h");
}

static int
take_text(const char *name, char *out, size_t cap)
{
    if (strlen(optarg) >= cap)
        return cmd_misuse("fleet", "--%s is too long", name);
    memcpy(out, optarg, strlen(optarg) + 1);
    return CMD_GO_ON;
}

/* Where to, and who they are. */
static int
take_place(struct fleet_command *c, int opt)
{
    unsigned n = 0;

    switch (opt) {
    case 'h':
        c->run.host = optarg;
        break;
    case 'p':
        if (!number(optarg, 1, 65535, &n))
            return wants("port", "1 to 65535");
        c->run.port = (uint16_t)n;
        break;
    case OPT_CAFILE:
        c->run.ca_file = optarg;
        break;
    case OPT_SERVER_NAME:
        c->run.server_name = optarg;
        break;
    case OPT_FORCE:
        c->run.force = true;
        break;
    case OPT_CA:
        c->ca_dir = optarg;
        break;
    case OPT_CA_CERT:
        c->ca_cert = optarg;
        break;
    case OPT_CA_KEY:
        c->ca_key = optarg;
        break;
    case OPT_PASSPHRASE_FILE:
        c->access.passphrase_file = optarg;
        break;
    case OPT_PASSPHRASE_FD:
        if (!number(optarg, 0, 1024, &n))
            return wants("passphrase-fd", "a descriptor");
        c->access.passphrase_fd = (int)n;
        break;
    case OPT_CHIP:
        c->access.chip = optarg;
        break;
    case OPT_SUBJECT:
        c->run.subject = optarg;
        break;
    case OPT_STATE:
        c->run.dir = optarg;
        break;
    }
    return CMD_GO_ON;
}

static int
take_storm(struct fleet_command *c)
{
    struct fleet_event *e = &c->plan.events[c->plan.event_count];

    if (c->plan.event_count == FLEET_EVENTS_MAX)
        return cmd_misuse("fleet", "more than %d storms", FLEET_EVENTS_MAX);
    *e = (struct fleet_event){ .what = FLEET_STORM, .group = -1 };
    c->plan.event_count++;
    return take_time("storm", &e->at_ms);
}

/* What happens when; a scenario file says it instead. */
static int
take_course(struct fleet_command *c, int opt)
{
    unsigned n = 0;

    switch (opt) {
    case 'n':
        return number(optarg, 0, FLEET_DEVICES_MAX, &c->counts[FLEET_OWN])
                   ? CMD_GO_ON
                   : wants("devices", "0 to 10000");
    case OPT_SPREAD:
        return take_time("spread", &c->spread_ms);
    case OPT_STORM:
        return take_storm(c);
    case OPT_FOR:
        return take_time("for", &c->plan.for_ms);
    case OPT_STAY:
        c->plan.stay = true;
        return CMD_GO_ON;
    case OPT_SEED:
        if (!number(optarg, 0, 0x7fffffff, &n))
            return wants("seed", "a whole number");
        c->plan.seed = n;
        return CMD_GO_ON;
    default:
        return number(optarg, 0, FLEET_DEVICES_MAX, &c->counts[opt - OPT_IDENTITY])
                   ? CMD_GO_ON
                   : wants(fleet_identity_name((enum fleet_identity)(opt - OPT_IDENTITY)),
                         "0 to 10000");
    }
}

/* What each device does. */
static int
take_conduct(struct fleet_group *g, int opt)
{
    unsigned n = 0;

    switch (opt) {
    case OPT_MESSAGES:
        return number(optarg, 0, 1000000, &g->messages) ? CMD_GO_ON
                                                        : wants("messages", "0 to 1000000");
    case OPT_EVERY:
        return take_time("every", &g->every_ms);
    case OPT_SIZE:
        return number(optarg, 0, FLEET_SIZE_MAX, &g->size) ? CMD_GO_ON
                                                           : wants("size", "0 to 131072");
    case 'q':
        if (!number(optarg, 0, 1, &n))
            return wants("qos", "0 or 1");
        g->qos = (int)n;
        return CMD_GO_ON;
    case 't':
        return take_text("topic", g->topic, sizeof g->topic);
    case 's':
        return take_text("subscribe", g->subscribe, sizeof g->subscribe);
    case 'k':
        return number(optarg, 1, 1200, &g->keep_alive_s) ? CMD_GO_ON
                                                         : wants("keep-alive", "1 to 1200");
    case 'c':
        g->keep_session = true;
        return CMD_GO_ON;
    case OPT_MQTT:
        if (strcmp(optarg, "5") != 0 && strcmp(optarg, "3.1.1") != 0)
            return wants("mqtt", "5 or 3.1.1");
        g->mqtt5 = strcmp(optarg, "5") == 0;
        return CMD_GO_ON;
    }
    return CMD_GO_ON;
}

static int
take_option(struct fleet_command *c, int opt, const char *name)
{
    switch (opt) {
    case OPT_SCENARIO:
        c->scenario = optarg;
        return CMD_GO_ON;
    case OPT_SVG:
        c->svg = optarg;
        return CMD_GO_ON;
    case OPT_JSON:
        c->json = true;
        return CMD_GO_ON;
    case OPT_QUIET:
        c->quiet = true;
        return CMD_GO_ON;
    case OPT_HELP:
        fputs(usage, stdout);
        return EXIT_DONE;
    case OPT_VERSION:
        return cmd_version(1, NULL);
    case '?':
        return EXIT_USAGE;
    case OPT_MESSAGES:
    case OPT_EVERY:
    case OPT_SIZE:
    case OPT_MQTT:
    case 'q':
    case 't':
    case 's':
    case 'k':
    case 'c':
        c->planned = name;
        return take_conduct(&c->base, opt);
    case OPT_SPREAD:
    case OPT_STORM:
    case OPT_FOR:
    case OPT_STAY:
    case OPT_SEED:
    case 'n':
        c->planned = name;
        return take_course(c, opt);
    default:
        if (opt <= OPT_IDENTITY)
            return take_place(c, opt);
        c->planned = name;
        return take_course(c, opt);
    }
}

/* A group for each identity that was asked for. */
static void
plan_groups(struct fleet_command *c)
{
    struct fleet_plan *p = &c->plan;

    for (int i = 0; i < FLEET_IDENTITY_COUNT; i++) {
        struct fleet_group *g = &p->groups[p->group_count];

        if (c->counts[i] == 0)
            continue;
        *g = c->base;
        g->identity = (enum fleet_identity)i;
        g->count = c->counts[i];
        g->refused = i != FLEET_OWN && i != FLEET_CLONE;
        g->spread_ms = c->spread_ms >= 0 ? c->spread_ms : SPREAD_EACH_MS * (int64_t)g->count;
        if (i != FLEET_OWN)
            (void)snprintf(
                g->name, sizeof g->name, "%s", fleet_identity_name((enum fleet_identity)i));
        p->group_count++;
    }
}

static int
plan_run(struct fleet_command *c)
{
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (c->run.ca_file == NULL)
        return cmd_misuse("fleet", "--cafile FILE is wanted: the root of the server's certificate");
    if ((c->ca_dir != NULL) == (c->ca_cert != NULL) || (c->ca_cert == NULL) != (c->ca_key == NULL))
        return cmd_misuse("fleet", "say which CA: --ca DIR, or --ca-cert FILE and --ca-key FILE");
    if (c->scenario != NULL && c->planned != NULL)
        return cmd_misuse(
            "fleet", "--%s is what the scenario file says; give one of them", c->planned);
    if (c->scenario != NULL) {
        err = fleet_plan_read(c->scenario, &c->plan, &msg);
    } else {
        plan_groups(c);
        err = fleet_plan_check(&c->plan, &msg);
    }
    if (err == BM_OK)
        return CMD_GO_ON;
    fprintf(stderr, "birthmark fleet: %s\n", msg.text);
    return err == BM_ERR_INPUT ? EXIT_USAGE : cmd_exit_code(err);
}

/* ---- the CA ---- */

struct authority {
    struct pki_cert *cert;
    struct ca_key *key;
    struct fleet_ca ca;
};

static enum bm_err
read_cert(const char *path, struct pki_cert **out, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct bm_msg why = { "" };
    enum bm_err err = file_read(path, PKI_PEM_MAX, &text, msg);

    if (err == BM_OK) {
        err = pki_cert_from_pem(buf_span(&text), out, &why);
        if (err != BM_OK)
            err = bm_fail(msg, err, "%s: %.400s", path, why.text);
    }
    buf_fini(&text);
    return err;
}

static enum bm_err
open_authority(struct fleet_command *c, struct authority *a, struct bm_msg *msg)
{
    char cert[PATH_MAX] = "";
    char key[PATH_MAX] = "";
    struct ca_folder *folder = NULL;
    enum bm_err err = BM_OK;

    if (c->ca_dir != NULL) {
        err = ca_folder_open(c->ca_dir, &folder, msg);
        if (err == BM_OK)
            err = ca_path(c->ca_dir, ca_newest(folder), "pem", cert, sizeof cert, msg);
        if (err == BM_OK)
            err = ca_path(c->ca_dir, ca_newest(folder), "key", key, sizeof key, msg);
        ca_folder_close(folder);
    }
    if (err == BM_OK)
        err = read_cert(c->ca_dir != NULL ? cert : c->ca_cert, &a->cert, msg);
    if (err == BM_OK)
        err = ca_key_open(c->ca_dir != NULL ? key : c->ca_key, &c->access, &a->key, msg);
    if (err == BM_OK)
        err = fleet_ca_init(&a->ca, ca_key_signer(a->key), a->cert, msg);
    return err;
}

static void
close_authority(struct authority *a)
{
    fleet_ca_fini(&a->ca);
    ca_key_close(a->key);
    pki_cert_free(a->cert);
}

/* ---- the run ---- */

/* By what most devices met. */
static int
code_of_nobody(const struct fleet_report *r)
{
    const struct outcome_count *counts = r->figures.outcomes;
    int most = OUTCOME_COUNT;

    for (int o = 0; o < OUTCOME_COUNT; o++) {
        if (counts[o].devices > 0 &&
            (most == OUTCOME_COUNT || counts[o].devices > counts[most].devices))
            most = o;
    }
    return most == OUTCOME_COUNT ? EXIT_UNFINISHED : outcome_info((enum outcome)most)->exit_code;
}

static int
code_of(const struct fleet_report *r)
{
    unsigned came_in = 0;

    for (size_t i = 0; i < r->group_count; i++)
        came_in += r->groups[i].came_in;
    if (r->intruders > 0 || r->stuck > 0)
        return EXIT_FAILED;
    if (r->through == r->devices)
        return EXIT_DONE;
    return came_in == 0 ? code_of_nobody(r) : EXIT_UNFINISHED;
}

static enum bm_err
tell(const struct fleet_command *c, const struct fleet_report *r, struct bm_msg *msg)
{
    struct buf out = { 0 };
    enum bm_err err = BM_OK;

    if (c->json) {
        json_t *j = fleet_report_json(r);

        if (j == NULL || json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0)
            err = bm_fail(msg, BM_ERR_IO, "cannot write the report");
        json_decref(j);
    } else {
        fleet_report_text(r, &out);
        fputs(buf_cstr(&out) != NULL ? buf_cstr(&out) : "", stdout);
    }
    if (c->json)
        (void)fputc('\n', stdout);
    buf_fini(&out);
    if (err == BM_OK && c->svg != NULL) {
        fleet_report_svg(r, &out);
        err = out.failed ? bm_fail(msg, BM_ERR_MEM, "out of memory for the plots")
                         : file_write(c->svg, buf_span(&out), 0644, msg);
        buf_fini(&out);
    }
    return err;
}

static int
run_fleet(struct fleet_command *c)
{
    struct authority a = { 0 };
    struct bm_msg msg = { "" };
    struct fleet_report *r = calloc(1, sizeof *r);
    enum bm_err err = r == NULL ? bm_fail(&msg, BM_ERR_MEM, "out of memory") : BM_OK;
    int code = EXIT_FAILED;

    (void)signal(SIGPIPE, SIG_IGN);
    c->run.plan = &c->plan;
    c->run.ca = &a.ca;
    c->run.progress = !c->quiet && isatty(STDERR_FILENO);
    if (err == BM_OK)
        err = open_authority(c, &a, &msg);
    if (err == BM_OK)
        err = fleet_run(&c->run, r, &msg);
    if (err == BM_OK) {
        code = code_of(r);
        err = tell(c, r, &msg);
    }
    if (err != BM_OK) {
        fprintf(stderr, "birthmark fleet: %s\n", msg.text);
        code = cmd_exit_code(err);
    }
    close_authority(&a);
    free(r);
    return code;
}

int
cmd_fleet(int argc, char **argv)
{
    struct fleet_command c = {
        .run = { .host = "127.0.0.1", .port = 8883, .subject = "/CN={client}" },
        .plan = { .for_ms = FOR_MS },
        .counts = { [FLEET_OWN] = 100 },
        .spread_ms = -1,
        .access = { .passphrase_fd = CA_NO_FD }
    };
    int code = CMD_GO_ON;
    int which = -1;
    int opt;

    fleet_group_default(&c.base);
    while (code == CMD_GO_ON &&
           (opt = getopt_long(argc, argv, "h:p:n:q:t:s:k:c", options, &which)) != -1) {
        const char *name = "option";

        for (size_t i = 0; options[i].name != NULL; i++)
            name = options[i].val == opt ? options[i].name : name;
        code = take_option(&c, opt, name);
    }
    if (code == CMD_GO_ON && optind < argc)
        code = cmd_misuse("fleet", "'%s' is no option", argv[optind]);
    if (code == CMD_GO_ON)
        code = plan_run(&c);
    if (code == CMD_GO_ON)
        code = run_fleet(&c);
    bm_wipe(&c.access, sizeof c.access);
    return code;
}

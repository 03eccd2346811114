/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark factory`: run a job file, show its plan, verify what it left behind.
 */
#include "birthmark/cmd.h"

#include "factory/factory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: birthmark factory run JOB --out DIR [OPTION...]\n"
    "       birthmark factory verify DIR --ca FILE [--json]\n"
    "       birthmark factory scrap JOB UID --out DIR --reason TEXT [--yes] [--json]\n"
    "\n"
    "run gives each chip of a job its key and certificate: identified, reset if the job says so,\n"
    "key, CSR signed by the chip, leaf issued, stored and read back, proved, locked. It may be\n"
    "interrupted anywhere; run again with the same folder it goes on. verify checks the journal,\n"
    "which is the audit log, and the manifest, and names the first record that was changed. scrap\n"
    "writes off a chip that is lost: its place is free for another, its leaf is listed to be "
    "revoked.\n"
    "\n"
    "  --out DIR         the results: journal, manifest.jsonl, bulk.jsonl, report.json, keys/\n"
    "  --plan            check the job and show what would be done\n"
    "  --yes             agree to what cannot be undone\n"
    "  --parallel N      chips at a time (32)\n"
    "  --passphrase-file FILE, --passphrase-fd FD, --chip ADDRESS   of the CA's key\n"
    "  --ca FILE         verify: the CA's certificate (PEM)\n"
    "  --reason TEXT     scrap: why, for the audit log\n"
    "  --json            one JSON object\n"
    "  --help, --version\n";

struct options {
    struct cmd_common common;
    struct ca_access access;
    struct factory_options run;
    const char *ca;
    const char *reason;
    bool plan;
    bool yes;
    bool json;
};

/* SIGINT and SIGTERM are blocked meanwhile: chips in work are finished, no other is begun. */
static bool
asked_to_stop(void)
{
    sigset_t waiting;

    return sigpending(&waiting) == 0 &&
           (sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGTERM) == 1);
}

/* A conflict here is a job that is not done yet. */
static int
code_of(enum bm_err err)
{
    return err == BM_ERR_CONFLICT ? EXIT_UNFINISHED : cmd_exit_code(err);
}

static int
end(enum bm_err err, const struct bm_msg *msg)
{
    if (err != BM_OK)
        fprintf(stderr, "birthmark factory: %s\n", msg->text);
    return code_of(err);
}

static bool
agreed(const struct options *o, struct buf *what)
{
    char answer[16];

    if (o->yes || what->len == 0)
        return true;
    fprintf(stderr, "This cannot be undone, on every chip of the job:\n%sType yes to go on: ",
        buf_cstr(what) != NULL ? buf_cstr(what) : "");
    return isatty(STDIN_FILENO) && fgets(answer, sizeof answer, stdin) != NULL &&
           strcmp(answer, "yes\n") == 0;
}

static void
print_report(const struct options *o, const struct factory_report *r)
{
    json_t *j;

    if (o->json) {
        j = factory_report_json(r);
        (void)json_dumpf(j, stdout, JSON_COMPACT);
        (void)fputc('\n', stdout);
        json_decref(j);
        return;
    }
    printf("%u of %u chips done, %u of them now, %u failed, %u unfinished; %.1f chips/s\n", r->done,
        r->wanted, r->now, r->refused, r->open, r->seconds > 0 ? r->now / r->seconds : 0.0);
}

static int
run_job(struct options *o)
{
    sigset_t ends;
    struct buf plan = { 0 };
    struct buf irreversible = { 0 };
    struct factory_report report = { 0 };
    struct bm_msg msg = { "out of memory" };
    enum bm_err err = factory_plan(&o->run, &plan, &irreversible, &msg);

    if (err == BM_OK && o->plan) {
        printf("%s%s%s", buf_cstr(&plan), irreversible.len > 0 ? "cannot be undone:\n" : "",
            irreversible.len > 0 ? buf_cstr(&irreversible) : "");
    } else if (err == BM_OK && !agreed(o, &irreversible)) {
        err = bm_fail(&msg, BM_ERR_ARG, "not begun: it was not agreed to (--yes)");
    } else if (err == BM_OK) {
        (void)sigemptyset(&ends);
        (void)sigaddset(&ends, SIGINT);
        (void)sigaddset(&ends, SIGTERM);
        (void)sigprocmask(SIG_BLOCK, &ends, NULL);
        o->run.stop = asked_to_stop;
        o->run.progress = !o->json && isatty(STDERR_FILENO);
        err = factory_run(&o->run, &report, &msg);
        if (err == BM_OK || err == BM_ERR_CONFLICT)
            print_report(o, &report);
    }
    buf_fini(&plan);
    buf_fini(&irreversible);
    return end(err, &msg);
}

static int
run_verify(const struct options *o, const char *folder)
{
    struct bm_msg msg = { "out of memory" };
    uint64_t records = 0;
    unsigned done = 0;
    enum bm_err err = factory_verify(folder, o->ca, &done, &records, &msg);

    if (err == BM_OK && o->json)
        printf("{\"chips\":%u,\"records\":%llu}\n", done, (unsigned long long)records);
    else if (err == BM_OK)
        printf("%u chips, %llu records: journal and manifest hold and agree\n", done,
            (unsigned long long)records);
    return end(err, &msg);
}

static bool
agree_to_scrap(void *arg, const struct chip *c)
{
    static const char *const states[] = { "nothing yet", "begun", "a key", "a leaf",
        "a leaf that it stores", "all: it is done" };
    const struct options *o = arg;
    char answer[16];

    if (o->yes)
        return true;
    fprintf(stderr,
        "Chip %s, number %u of the job, has %s. Writing it off cannot be undone. Type yes to go "
        "on: ",
        c->uid, c->number, states[c->state]);
    return isatty(STDIN_FILENO) && fgets(answer, sizeof answer, stdin) != NULL &&
           strcmp(answer, "yes\n") == 0;
}

static int
run_scrap(struct options *o, const char *uid)
{
    struct factory_scrapped s = { .agree = agree_to_scrap, .arg = o };
    struct bm_msg msg = { "out of memory" };
    size_t len = o->reason != NULL ? strlen(o->reason) : 0;
    enum bm_err err;

    if (len == 0 || len > 200)
        return cmd_misuse("factory", "scrap wants a --reason of up to 200 bytes");
    err = factory_scrap(&o->run, uid, o->reason, &s, &msg);
    if (err == BM_OK && o->json)
        printf("{\"uniqueId\":\"%s\",\"certificateId\":\"%s\"}\n", uid, s.certificate_id);
    else if (err == BM_OK && s.certificate_id[0] != '\0')
        printf(
            "written off; where its certificate is registered: birthmark ca revoke --certificate "
            "%s\n",
            s.certificate_id);
    else if (err == BM_OK)
        puts("written off; it had no certificate");
    return end(err == BM_ERR_CONFLICT ? BM_ERR_INPUT : err, &msg);
}

static int
take_option(struct options *o, int opt)
{
    switch (opt) {
    case 'o':
        o->run.folder = optarg;
        return CMD_GO_ON;
    case 'p':
        o->plan = true;
        return CMD_GO_ON;
    case 'y':
        o->yes = true;
        return CMD_GO_ON;
    case 'j':
        o->json = true;
        return CMD_GO_ON;
    case 'c':
        o->ca = optarg;
        return CMD_GO_ON;
    case 'r':
        o->reason = optarg;
        return CMD_GO_ON;
    case 'f':
        o->access.passphrase_file = optarg;
        return CMD_GO_ON;
    case 'F':
        o->access.passphrase_fd = atoi(optarg);
        return CMD_GO_ON;
    case 'a':
        o->access.chip = optarg;
        return CMD_GO_ON;
    case 'n':
        o->run.parallel = (unsigned)strtoul(optarg, NULL, 10);
        if (o->run.parallel == 0 || o->run.parallel > 1024)
            return cmd_misuse("factory", "--parallel wants 1 to 1024, not '%s'", optarg);
        return CMD_GO_ON;
    default:
        return cmd_common_option(&o->common, opt);
    }
}

int
cmd_factory(int argc, char **argv)
{
    static const struct option options[] = { { "out", required_argument, NULL, 'o' },
        { "plan", no_argument, NULL, 'p' }, { "yes", no_argument, NULL, 'y' },
        { "json", no_argument, NULL, 'j' }, { "ca", required_argument, NULL, 'c' },
        { "reason", required_argument, NULL, 'r' },
        { "passphrase-file", required_argument, NULL, 'f' },
        { "passphrase-fd", required_argument, NULL, 'F' }, { "chip", required_argument, NULL, 'a' },
        { "parallel", required_argument, NULL, 'n' }, { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 } };
    struct options o = { .common = { .command = "factory", .usage = usage },
        .access = { .passphrase_fd = CA_NO_FD } };
    int code = CMD_GO_ON;
    int opt;

    while (code == CMD_GO_ON && (opt = getopt_long(argc, argv, "", options, NULL)) != -1)
        code = take_option(&o, opt);
    if (code != CMD_GO_ON)
        return code;
    o.run.access = &o.access;
    if (argc - optind == 2 && strcmp(argv[optind], "verify") == 0 && o.ca != NULL)
        return run_verify(&o, argv[optind + 1]);
    if (argc - optind == 3 && strcmp(argv[optind], "scrap") == 0 && o.run.folder != NULL) {
        o.run.job_path = argv[optind + 1];
        return run_scrap(&o, argv[optind + 2]);
    }
    if (argc - optind != 2 || strcmp(argv[optind], "run") != 0 || (o.run.folder == NULL && !o.plan))
        return cmd_misuse("factory",
            "say `run JOB --out DIR`, `verify DIR --ca FILE` or `scrap JOB UID --out DIR`");
    o.run.job_path = argv[optind + 1];
    if (o.run.folder == NULL)
        o.run.folder = ".";
    code = run_job(&o);
    bm_wipe(&o.access, sizeof o.access);
    return code;
}

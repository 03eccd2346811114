/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark ca`: a root and bounded issuing CAs in a folder, and their registration at the local
 * cloud or at AWS. The command line; what is done is in ca_verbs.c and the room ca.
 */
#include "birthmark/ca_verbs.h"
#include "birthmark/cmd.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: birthmark ca new [OPTION...]        make a root and an issuing CA below it\n"
    "       birthmark ca register [OPTION...]   make the cloud take its devices, just in time\n"
    "       birthmark ca status [OPTION...]     what there is here and what the cloud says\n"
    "       birthmark ca rotate [OPTION...]     the next issuing CA, registered as the last one "
    "is\n"
    "       birthmark ca sign [--csr FILE] [OPTION...]   a device's certificate for its request\n"
    "       birthmark ca revoke (--generation N | --certificate FILE|ID) [OPTION...]\n"
    "\n"
    "register may be interrupted and run again at any time: it does what is missing.\n"
    "\n"
    "  --dir DIR                the CA's folder (default: ca in the state folder, see cloud)\n"
    "  --passphrase-file FILE, --passphrase-fd FD\n"
    "                           of the keys, its first line; else it is asked on the terminal\n"
    "  --chip ADDRESS           the A71CH chip of an issuing key (default: $A71CH_ADDRESS)\n"
    "  --json                   one JSON object\n"
    "  --help, --version\n"
    "new:\n"
    "  --subject SUBJECT        of the issuing CA (/CN=Birthmark Device CA)\n"
    "  --root-subject SUBJECT   of the root (/CN=Birthmark Device Root CA)\n"
    "  --days N, --root-days N  how long they are valid (1825, 7300); --days of rotate, too\n"
    "  --path-len N             CAs allowed below the issuing CA (0)\n"
    "  --permit NAME            subject:/O=Acme or dns:example.com: issue for such names only\n"
    "  --slot N                 make the issuing key in this slot of the chip; of rotate, too\n"
    "  --no-passphrase          keys in the clear (mode 0600); of rotate, too\n"
    "sign:\n"
    "  --csr FILE               the request, PEM; behind it the certificate that it renews "
    "(standard input)\n"
    "  --days N                 how long it is valid (365)\n"
    "  --renewals-only          sign only what proves to be a renewal with the same key\n"
    "  --active-only            ask the cloud: what it renews must be ACTIVE there\n"
    "register, rotate, status, revoke:\n"
    "  --endpoint URL           of the cloud (default: $AWS_ENDPOINT_URL, else AWS of the region)\n"
    "  --region REGION, --profile NAME   as of the aws CLI\n"
    "  --offline                do not ask the cloud (rotate, status, revoke)\n"
    "  --generation N           another issuing CA than the newest (register, revoke, sign)\n"
    "  --print                  register: print the openssl and aws lines instead of doing it\n"
    "  --yes                    revoke: do not ask\n";

/* What an option does to struct ca_options: a text or a number in a range goes there, a flag
 * becomes true. */
static const struct rule {
    const char *name;
    enum { TEXT, FLAG, NUMBER } kind;
    size_t at;
    unsigned long least, most;
} rules[] = {
#define AT(member) offsetof(struct ca_options, member)
    { "passphrase-file", TEXT, AT(access.passphrase_file), 0, 0 },
    { "passphrase-fd", NUMBER, AT(access.passphrase_fd), 0, 36500 },
    { "no-passphrase", FLAG, AT(access.no_passphrase), 0, 0 },
    { "chip", TEXT, AT(access.chip), 0, 0 },
    { "json", FLAG, AT(json), 0, 0 },
    { "subject", TEXT, AT(plan.subject), 0, 0 },
    { "root-subject", TEXT, AT(plan.root_subject), 0, 0 },
    { "days", NUMBER, AT(plan.days), 1, 36500 },
    { "root-days", NUMBER, AT(plan.root_days), 1, 36500 },
    { "path-len", NUMBER, AT(plan.path_len), 0, 10 },
    { "slot", NUMBER, AT(plan.slot), 0, 3 },
    { "endpoint", TEXT, AT(aws.endpoint), 0, 0 },
    { "region", TEXT, AT(aws.region), 0, 0 },
    { "profile", TEXT, AT(aws.profile), 0, 0 },
    { "offline", FLAG, AT(offline), 0, 0 },
    { "generation", NUMBER, AT(generation), 1, CA_GENERATIONS_MAX },
    { "print", FLAG, AT(print), 0, 0 },
    { "yes", FLAG, AT(yes), 0, 0 },
    { "certificate", TEXT, AT(certificate), 0, 0 },
    { "csr", TEXT, AT(csr), 0, 0 },
    { "renewals-only", FLAG, AT(renewals_only), 0, 0 },
    { "active-only", FLAG, AT(active_only), 0, 0 },
#undef AT
};
enum { RULES = sizeof rules / sizeof *rules, OPT_RULE = 1000, OPT_PERMIT = OPT_RULE + RULES };

static int
take_number(struct ca_options *o, const struct rule *r)
{
    char *rest;
    unsigned long n = strtoul(optarg, &rest, 10);
    unsigned value = (unsigned)n; /* the members are int or unsigned */

    if (*optarg < '0' || *optarg > '9' || *rest != '\0' || n < r->least || n > r->most)
        return cmd_misuse(
            "ca", "--%s wants %lu to %lu, not '%s'", r->name, r->least, r->most, optarg);
    memcpy((char *)o + r->at, &value, sizeof value);
    return CMD_GO_ON;
}

static int
take_permit(struct ca_options *o)
{
    size_t i = 0;

    while (i < PKI_PERMITS_MAX && o->plan.permit[i] != NULL)
        i++;
    if (i == PKI_PERMITS_MAX)
        return cmd_misuse("ca", "at most %d --permit", PKI_PERMITS_MAX);
    o->plan.permit[i] = optarg;
    return CMD_GO_ON;
}

static int
take_option(struct ca_options *o, struct cmd_common *common, int opt)
{
    const struct rule *r = opt >= OPT_RULE && opt < OPT_PERMIT ? &rules[opt - OPT_RULE] : NULL;
    const char *text = optarg;
    const bool yes = true;

    if (opt == OPT_PERMIT)
        return take_permit(o);
    if (r == NULL)
        return cmd_common_option(common, opt);
    if (r->kind == NUMBER)
        return take_number(o, r);
    if (r->kind == TEXT)
        memcpy((char *)o + r->at, &text, sizeof text);
    else
        memcpy((char *)o + r->at, &yes, sizeof yes);
    return CMD_GO_ON;
}

static bool
set_dir(struct ca_options *o, const struct cmd_common *common)
{
    char state[PATH_MAX];

    if (common->dir[0] != '\0')
        return snprintf(o->dir, sizeof o->dir, "%s", common->dir) < (int)sizeof o->dir;
    return cmd_default_dir(state, sizeof state) &&
           snprintf(o->dir, sizeof o->dir, "%s/ca", state) < (int)sizeof o->dir;
}

static int
run(const char *name, const struct ca_verb *verb, struct ca_options *o)
{
    struct bm_msg msg = { "out of memory" };
    enum bm_err err;

    o->days_given = o->plan.days != 0;
    if (!o->days_given)
        o->plan.days = 1825;
    err = ca_verb_run(verb, o, &msg);
    if (err != BM_OK)
        fprintf(stderr, "birthmark ca %s: %s\n", name, msg.text);
    bm_wipe(&o->access, sizeof o->access);
    return cmd_exit_code(err);
}

int
cmd_ca(int argc, char **argv)
{
    struct ca_options o = { .access = { .passphrase_fd = CA_NO_FD },
        .plan = { .root_subject = "/CN=Birthmark Device Root CA",
            .subject = "/CN=Birthmark Device CA",
            .root_days = 7300,
            .slot = -1 } };
    struct cmd_common common = { .command = "ca", .usage = usage };
    struct option options[RULES + 5] = { [RULES] = {
                                             "permit", required_argument, NULL, OPT_PERMIT } };
    static const struct option more[] = { CMD_COMMON_OPTIONS };
    const struct ca_verb *verb;
    int code = CMD_GO_ON;
    int opt;

    for (int i = 0; i < RULES; i++)
        options[i] = (struct option){ rules[i].name,
            rules[i].kind == FLAG ? no_argument : required_argument, NULL, OPT_RULE + i };
    _Static_assert(sizeof more / sizeof *more == 4, "as many as there is room for");
    memcpy(&options[RULES + 1], more, sizeof more);
    while (code == CMD_GO_ON && (opt = getopt_long(argc, argv, "", options, NULL)) != -1)
        code = take_option(&o, &common, opt);
    if (code != CMD_GO_ON)
        return code;
    verb = optind < argc ? ca_verb_find(argv[optind]) : NULL;
    if (verb == NULL || argc - optind != 1)
        return cmd_misuse("ca", "say what: new, register, status, rotate, revoke or sign");
    if (!set_dir(&o, &common))
        return cmd_misuse("ca", "no folder: give --dir, or set BIRTHMARK_DIR or HOME");
    return run(argv[optind], verb, &o);
}

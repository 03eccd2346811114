/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark ca`: a root and bounded issuing CAs in a folder, and their registration at the local
 * cloud or at AWS. Options and words for a person; what is done is in the room ca.
 */
#include "birthmark/cmd.h"

#include "base/clock.h"
#include "base/file.h"
#include "ca/cloud.h"
#include "ca/folder.h"
#include "ca/sign.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    "register, rotate, status, revoke:\n"
    "  --endpoint URL           of the cloud (default: $AWS_ENDPOINT_URL, else AWS of the region)\n"
    "  --region REGION, --profile NAME   as of the aws CLI\n"
    "  --offline                do not ask the cloud (rotate, status, revoke)\n"
    "  --generation N           another issuing CA than the newest (register, revoke, sign)\n"
    "  --print                  register: print the openssl and aws lines instead of doing it\n"
    "  --yes                    revoke: do not ask\n";

struct options {
    const char *verb;
    struct cmd_common common;
    struct ca_access access;
    struct ca_plan plan;
    struct aws_options aws;
    bool days_given;
    bool offline;
    bool print;
    bool yes;
    bool json;
    unsigned generation; /* 0: the newest */
    const char *certificate;
    const char *csr;
    bool renewals_only;
    char dir[PATH_MAX];
};

/* What a verb reports: lines at once, or one object at the end. */
static void say(const struct options *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
say(const struct options *o, const char *fmt, ...)
{
    va_list ap;

    if (o->json)
        return;
    va_start(ap, fmt);
    (void)vfprintf(stdout, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stdout);
}

static int
end(const struct options *o, enum bm_err err, const struct bm_msg *msg)
{
    if (err != BM_OK)
        fprintf(stderr, "birthmark ca %s: %s\n", o->verb, msg->text);
    return cmd_exit_code(err);
}

/* ---- what is shown of a certificate ---- */

static json_t *
describe(const struct ca_folder *f, unsigned generation, const char *dir)
{
    const struct pki_cert *c = generation == 0 ? ca_root(f) : ca_issuing(f, generation);
    char subject[256];
    char from[CLOCK_TEXT_LEN];
    char to[CLOCK_TEXT_LEN];
    char path[PATH_MAX] = "";
    uint8_t id[PKI_ID_LEN];
    char hex[PKI_ID_TEXT];
    json_t *j;

    pki_cert_id(c, id);
    hex_encode(hex, id, sizeof id);
    pki_cert_subject_text(c, subject, sizeof subject);
    clock_text(from, pki_cert_not_before_ms(c));
    clock_text(to, pki_cert_not_after_ms(c));
    (void)!ca_path(dir, generation, "pem", path, sizeof path, NULL);
    j = json_pack("{s:i,s:s,s:s,s:s,s:s,s:s}", "generation", (int)generation, "subject", subject,
        "certificateId", hex, "notBefore", from, "notAfter", to, "certificate", path);
    if (generation > 0)
        (void)json_object_set_new(j, "revoked", json_boolean(ca_revoked_ms(f, generation) != 0));
    return j;
}

static void
show(const struct options *o, const json_t *j)
{
    int generation = (int)json_integer_value(json_object_get(j, "generation"));
    char name[24];

    (void)snprintf(name, sizeof name, generation == 0 ? "root" : "issuing %d", generation);
    say(o, "%-10s %s%s", name, json_string_value(json_object_get(j, "subject")),
        json_is_true(json_object_get(j, "revoked")) ? "  REVOKED" : "");
    say(o, "           %s", json_string_value(json_object_get(j, "certificate")));
    say(o, "           id %s", json_string_value(json_object_get(j, "certificateId")));
    say(o, "           valid %s to %s", json_string_value(json_object_get(j, "notBefore")),
        json_string_value(json_object_get(j, "notAfter")));
}

static void
print_json(const struct options *o, json_t *j)
{
    if (o->json && j != NULL) {
        (void)json_dumpf(j, stdout, JSON_COMPACT);
        (void)fputc('\n', stdout);
    }
    json_decref(j);
}

static json_t *
cloud_json(const struct ca_cloud *c)
{
    return json_pack("{s:b,s:s,s:s,s:s}", "registered", c->registered, "status",
        !c->registered ? ""
        : c->active    ? "ACTIVE"
                       : "INACTIVE",
        "autoRegistrationStatus",
        !c->registered ? ""
        : c->joins     ? "ENABLE"
                       : "DISABLE",
        "certificateArn", c->arn);
}

static void
say_cloud(const struct options *o, const struct ca_cloud *c)
{
    if (!c->registered)
        say(o, "           cloud: not registered");
    else
        say(o, "           cloud: %s, just-in-time registration %s",
            c->active ? "ACTIVE" : "INACTIVE", c->joins ? "on" : "off");
}

/* ---- verbs ---- */

static enum bm_err
run_new(struct options *o, struct bm_msg *msg)
{
    struct ca_folder *f = NULL;
    enum bm_err err = ca_folder_make(o->dir, &o->plan, &o->access, msg);

    if (err == BM_OK)
        err = ca_folder_open(o->dir, &f, msg);
    if (err == BM_OK) {
        json_t *root = describe(f, 0, o->dir);
        json_t *issuing = describe(f, 1, o->dir);

        show(o, root);
        show(o, issuing);
        say(o, "keep root.key elsewhere, offline: it is needed for `rotate` and `revoke` only");
        print_json(o, json_pack("{s:o,s:o}", "root", root, "issuing", issuing));
    }
    ca_folder_close(f);
    return err;
}

static enum bm_err
open_key(struct options *o, unsigned generation, struct ca_key **out, struct bm_msg *msg)
{
    char path[PATH_MAX];
    enum bm_err err = ca_path(o->dir, generation, "key", path, sizeof path, msg);

    return err == BM_OK ? ca_key_open(path, &o->access, out, msg) : err;
}

static enum bm_err
print_lines(const struct options *o, const struct ca_folder *f, unsigned generation,
    struct aws_client *aws, struct bm_msg *msg)
{
    char cert[PATH_MAX];
    char key[PATH_MAX];
    enum bm_err err = ca_path(o->dir, generation, "pem", cert, sizeof cert, msg);

    if (err == BM_OK)
        err = ca_path(o->dir, generation, "key", key, sizeof key, msg);
    if (err == BM_OK)
        ca_cloud_print(
            stdout, aws, ca_issuing(f, generation), cert, key, o->access.passphrase_file);
    return err;
}

static enum bm_err
do_register(struct options *o, const struct ca_folder *f, unsigned generation,
    struct aws_client *aws, struct bm_msg *msg)
{
    const struct pki_cert *ca = ca_issuing(f, generation);
    struct ca_key *key = NULL;
    struct ca_cloud there;
    bool changed = false;
    enum bm_err err = open_key(o, generation, &key, msg);

    if (err == BM_OK)
        err = ca_cloud_ready(ca, ca_key_signer(key), clock_wall_ms(), msg);
    if (err == BM_OK)
        err = ca_cloud_register(aws, ca, ca_key_signer(key), &there, &changed, msg);
    if (err == BM_OK) {
        json_t *j = describe(f, generation, o->dir);

        show(o, j);
        say_cloud(o, &there);
        say(o, "%s at %s", changed ? "registered" : "nothing to do: it is registered",
            aws_endpoint(aws, "iot"));
        (void)json_object_set_new(j, "cloud", cloud_json(&there));
        (void)json_object_set_new(j, "changed", json_boolean(changed));
        print_json(o, j);
    }
    ca_key_close(key);
    return err;
}

static enum bm_err
run_register(struct options *o, struct bm_msg *msg)
{
    struct ca_folder *f = NULL;
    struct aws_client *aws = NULL;
    enum bm_err err = ca_folder_open(o->dir, &f, msg);
    unsigned generation = err == BM_OK && o->generation == 0 ? ca_newest(f) : o->generation;

    if (err == BM_OK && ca_issuing(f, generation) == NULL)
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "there is no generation %u in %s", generation, o->dir);
    if (err == BM_OK && ca_revoked_ms(f, generation) != 0)
        err = bm_fail(msg, BM_ERR_DENIED,
            "generation %u is revoked; `birthmark ca rotate` makes the next one", generation);
    if (err == BM_OK)
        err = aws_open(&o->aws, &aws, msg);
    if (err == BM_OK)
        err = o->print ? print_lines(o, f, generation, aws, msg)
                       : do_register(o, f, generation, aws, msg);
    aws_close(aws);
    ca_folder_close(f);
    return err;
}

static enum bm_err
run_status(struct options *o, struct bm_msg *msg)
{
    struct ca_folder *f = NULL;
    struct aws_client *aws = NULL;
    json_t *list = json_array();
    json_t *all = NULL;
    enum bm_err err = ca_folder_open(o->dir, &f, msg);

    if (err == BM_OK && !o->offline)
        err = aws_open(&o->aws, &aws, msg);
    if (err == BM_OK) {
        all = json_pack("{s:o}", "root", describe(f, 0, o->dir));
        show(o, json_object_get(all, "root"));
    }
    for (unsigned g = 1; err == BM_OK && g <= ca_newest(f); g++) {
        json_t *j = describe(f, g, o->dir);
        struct ca_cloud there;

        show(o, j);
        if (aws != NULL)
            err = ca_cloud_ask(aws, ca_issuing(f, g), &there, msg);
        if (err == BM_OK && aws != NULL) {
            say_cloud(o, &there);
            (void)json_object_set_new(j, "cloud", cloud_json(&there));
        }
        (void)json_array_append_new(list, j);
    }
    (void)json_object_set_new(all, "issuing", list);
    if (all == NULL)
        json_decref(list);
    print_json(o, err == BM_OK ? all : NULL);
    if (err != BM_OK)
        json_decref(all);
    aws_close(aws);
    ca_folder_close(f);
    return err;
}

/* Is the newest generation one that the cloud does not know, below one that it does? Then the last
 * rotation was cut off before registering. */
static enum bm_err
rotation_was_cut(const struct ca_folder *f, struct aws_client *aws, bool *cut, struct bm_msg *msg)
{
    unsigned newest = ca_newest(f);
    struct ca_cloud before;
    struct ca_cloud now;
    enum bm_err err;

    *cut = false;
    if (newest == 1)
        return BM_OK;
    err = ca_cloud_ask(aws, ca_issuing(f, newest), &now, msg);
    if (err == BM_OK)
        err = ca_cloud_ask(aws, ca_issuing(f, newest - 1), &before, msg);
    if (err == BM_OK)
        *cut = !now.registered && before.registered;
    return err;
}

static enum bm_err
run_rotate(struct options *o, struct bm_msg *msg)
{
    struct ca_folder *f = NULL;
    struct aws_client *aws = NULL;
    struct ca_cloud last = { .registered = false };
    bool cut = false;
    enum bm_err err = ca_folder_open(o->dir, &f, msg);

    if (err == BM_OK && !o->offline)
        err = aws_open(&o->aws, &aws, msg);
    if (err == BM_OK && aws != NULL)
        err = rotation_was_cut(f, aws, &cut, msg);
    if (err == BM_OK && aws != NULL && !cut)
        err = ca_cloud_ask(aws, ca_issuing(f, ca_newest(f)), &last, msg);
    if (err == BM_OK && !cut)
        err = ca_folder_rotate(f, o->days_given ? o->plan.days : 0, o->plan.slot, &o->access, msg);
    if (err == BM_OK && !cut) {
        ca_folder_close(f);
        err = ca_folder_open(o->dir, &f, msg);
    }
    if (err == BM_OK && (cut || last.registered)) {
        err = do_register(o, f, ca_newest(f), aws, msg);
    } else if (err == BM_OK) {
        json_t *j = describe(f, ca_newest(f), o->dir);

        show(o, j);
        print_json(o, j);
    }
    if (err == BM_OK)
        say(o,
            "generation %u still lets its devices in; `birthmark ca revoke --generation %u` ends "
            "that",
            ca_newest(f) - 1, ca_newest(f) - 1);
    aws_close(aws);
    ca_folder_close(f);
    return err;
}

/* The id itself, or that of a certificate in a file. */
static enum bm_err
device_id(const char *text, char out[PKI_ID_TEXT], struct bm_msg *msg)
{
    uint8_t id[PKI_ID_LEN];
    struct pki_cert *c = NULL;
    struct buf pem = { 0 };
    enum bm_err err;

    if (hex_decode(id, sizeof id, span_str(text)) == BM_OK) {
        hex_encode(out, id, sizeof id);
        return BM_OK;
    }
    err = file_read(text, PKI_PEM_MAX, &pem, msg);
    if (err == BM_OK)
        err = pki_cert_from_pem(buf_span(&pem), &c, msg);
    if (err == BM_OK) {
        pki_cert_id(c, id);
        hex_encode(out, id, sizeof id);
    }
    pki_cert_free(c);
    buf_fini(&pem);
    return err;
}

static enum bm_err
read_request(const struct options *o, struct buf *text, struct bm_msg *msg)
{
    size_t n = 1;

    if (o->csr != NULL && strcmp(o->csr, "-") != 0)
        return file_read(o->csr, CA_REQUEST_MAX, text, msg);
    while (n > 0 && text->len <= CA_REQUEST_MAX) {
        uint8_t *room = buf_reserve(text, 4096);

        n = room != NULL ? fread(room, 1, 4096, stdin) : 0;
        text->len += n;
    }
    return text->len <= CA_REQUEST_MAX
               ? BM_OK
               : bm_fail(msg, BM_ERR_LIMIT, "the request has more than %d bytes", CA_REQUEST_MAX);
}

static enum bm_err
run_sign(struct options *o, struct bm_msg *msg)
{
    const struct ca_sign_options s = { .days = o->days_given ? o->plan.days : 0,
        .generation = o->generation,
        .renewals_only = o->renewals_only };
    struct ca_folder *f = NULL;
    struct buf request = { 0 };
    struct buf pem = { 0 };
    enum bm_err err = ca_folder_open(o->dir, &f, msg);

    if (err == BM_OK)
        err = read_request(o, &request, msg);
    if (err == BM_OK)
        err = ca_sign(f, o->dir, &o->access, &s, buf_span(&request), &pem, msg);
    if (err == BM_OK && o->json)
        print_json(o, json_pack("{s:s}", "certificatePem", buf_cstr(&pem)));
    else if (err == BM_OK)
        (void)fputs(buf_cstr(&pem), stdout);
    buf_fini(&request);
    buf_fini(&pem);
    ca_folder_close(f);
    return err;
}

static bool
agreed(const struct options *o, const char *what)
{
    char answer[16];

    if (o->yes)
        return true;
    fprintf(stderr, "%s cannot be undone. Type yes to go on: ", what);
    return isatty(STDIN_FILENO) && fgets(answer, sizeof answer, stdin) != NULL &&
           strcmp(answer, "yes\n") == 0;
}

static enum bm_err
revoke_device(struct options *o, struct bm_msg *msg)
{
    struct aws_client *aws = NULL;
    char id[PKI_ID_TEXT];
    enum bm_err err = device_id(o->certificate, id, msg);

    if (err == BM_OK && !agreed(o, "Revoking a device's certificate"))
        return bm_fail(msg, BM_ERR_ARG, "not revoked: it was not agreed to (--yes)");
    if (err == BM_OK)
        err = aws_open(&o->aws, &aws, msg);
    if (err == BM_OK)
        err = ca_cloud_revoke_device(aws, id, msg);
    if (err == BM_OK) {
        say(o, "%s: REVOKED", id);
        print_json(o, json_pack("{s:s,s:s}", "certificateId", id, "status", "REVOKED"));
    }
    aws_close(aws);
    return err;
}

/* At the cloud first: that is what keeps devices out. */
static enum bm_err
revoke_generation(struct options *o, struct bm_msg *msg)
{
    struct ca_folder *f = NULL;
    struct aws_client *aws = NULL;
    struct ca_cloud there = { .registered = false };
    const struct pki_cert *ca;
    enum bm_err err = ca_folder_open(o->dir, &f, msg);

    ca = err == BM_OK ? ca_issuing(f, o->generation) : NULL;
    if (err == BM_OK && ca == NULL)
        err = bm_fail(
            msg, BM_ERR_NOT_FOUND, "there is no generation %u in %s", o->generation, o->dir);
    if (err == BM_OK && !agreed(o, "Revoking an issuing CA"))
        err = bm_fail(msg, BM_ERR_ARG, "not revoked: it was not agreed to (--yes)");
    if (err == BM_OK && !o->offline)
        err = aws_open(&o->aws, &aws, msg);
    if (err == BM_OK && aws != NULL)
        err = ca_cloud_ask(aws, ca, &there, msg);
    if (err == BM_OK && there.registered)
        err = ca_cloud_set(aws, ca, false, false, msg);
    if (err == BM_OK)
        err = ca_folder_revoke(f, o->generation, &o->access, msg);
    if (err == BM_OK) {
        say(o, "generation %u is revoked: %s/crl.pem says so%s", o->generation, o->dir,
            there.registered
                ? ", and at the cloud it is INACTIVE, without just-in-time registration"
                : "");
        say(o, "certificates that it issued and that the cloud knows stay as they are");
        print_json(o, json_pack("{s:i,s:b,s:b}", "generation", (int)o->generation, "revoked", 1,
                          "cloud", there.registered));
    }
    aws_close(aws);
    ca_folder_close(f);
    return err;
}

static enum bm_err
run_revoke(struct options *o, struct bm_msg *msg)
{
    if ((o->certificate != NULL) == (o->generation != 0))
        return bm_fail(msg, BM_ERR_ARG, "give --generation N or --certificate FILE|ID");
    return o->certificate != NULL ? revoke_device(o, msg) : revoke_generation(o, msg);
}

/* ---- the command line ---- */

static const struct verb {
    const char *name;
    enum bm_err (*run)(struct options *o, struct bm_msg *msg);
} VERBS[] = { { "new", run_new }, { "register", run_register }, { "status", run_status },
    { "rotate", run_rotate }, { "sign", run_sign }, { "revoke", run_revoke } };

static bool
number(const char *text, unsigned long most, unsigned long *out)
{
    char *rest;

    *out = strtoul(text, &rest, 10);
    return *text >= '0' && *text <= '9' && *rest == '\0' && *out <= most;
}

enum {
    OPT_PASS_FILE = 1000,
    OPT_PASS_FD,
    OPT_NO_PASS,
    OPT_CHIP,
    OPT_JSON,
    OPT_SUBJECT,
    OPT_ROOT_SUBJECT,
    OPT_DAYS,
    OPT_ROOT_DAYS,
    OPT_PATH_LEN,
    OPT_PERMIT,
    OPT_SLOT,
    OPT_ENDPOINT,
    OPT_REGION,
    OPT_PROFILE,
    OPT_OFFLINE,
    OPT_GENERATION,
    OPT_PRINT,
    OPT_YES,
    OPT_CERTIFICATE,
    OPT_CSR,
    OPT_RENEWALS_ONLY,
};

static const struct option LONG[] = { { "passphrase-file", required_argument, NULL, OPT_PASS_FILE },
    { "passphrase-fd", required_argument, NULL, OPT_PASS_FD },
    { "no-passphrase", no_argument, NULL, OPT_NO_PASS },
    { "chip", required_argument, NULL, OPT_CHIP }, { "json", no_argument, NULL, OPT_JSON },
    { "subject", required_argument, NULL, OPT_SUBJECT },
    { "root-subject", required_argument, NULL, OPT_ROOT_SUBJECT },
    { "days", required_argument, NULL, OPT_DAYS },
    { "root-days", required_argument, NULL, OPT_ROOT_DAYS },
    { "path-len", required_argument, NULL, OPT_PATH_LEN },
    { "permit", required_argument, NULL, OPT_PERMIT },
    { "slot", required_argument, NULL, OPT_SLOT },
    { "endpoint", required_argument, NULL, OPT_ENDPOINT },
    { "region", required_argument, NULL, OPT_REGION },
    { "profile", required_argument, NULL, OPT_PROFILE },
    { "offline", no_argument, NULL, OPT_OFFLINE },
    { "generation", required_argument, NULL, OPT_GENERATION },
    { "print", no_argument, NULL, OPT_PRINT }, { "yes", no_argument, NULL, OPT_YES },
    { "certificate", required_argument, NULL, OPT_CERTIFICATE },
    { "csr", required_argument, NULL, OPT_CSR },
    { "renewals-only", no_argument, NULL, OPT_RENEWALS_ONLY }, CMD_COMMON_OPTIONS };

/* Numbers: false when it is none. */
static bool
take_number(struct options *o, int opt)
{
    unsigned long n = 0;
    bool good = number(optarg, opt == OPT_PATH_LEN ? 10 : opt == OPT_SLOT ? 3 : 36500, &n);

    switch (opt) {
    case OPT_PASS_FD:
        o->access.passphrase_fd = (int)n;
        break;
    case OPT_DAYS:
        o->plan.days = (unsigned)n;
        o->days_given = true;
        good = good && n > 0;
        break;
    case OPT_ROOT_DAYS:
        o->plan.root_days = (unsigned)n;
        good = good && n > 0;
        break;
    case OPT_PATH_LEN:
        o->plan.path_len = (int)n;
        break;
    case OPT_SLOT:
        o->plan.slot = (int)n;
        break;
    default:
        o->generation = (unsigned)n;
        good = good && n > 0 && n <= CA_GENERATIONS_MAX;
    }
    return good;
}

static bool
take_permit(struct options *o)
{
    size_t i = 0;

    while (i < PKI_PERMITS_MAX && o->plan.permit[i] != NULL)
        i++;
    if (i == PKI_PERMITS_MAX)
        return false;
    o->plan.permit[i] = optarg;
    return true;
}

static int
take_option(struct options *o, int opt)
{
    switch (opt) {
    case OPT_PASS_FILE:
        o->access.passphrase_file = optarg;
        return CMD_GO_ON;
    case OPT_NO_PASS:
        o->access.no_passphrase = true;
        return CMD_GO_ON;
    case OPT_CHIP:
        o->access.chip = optarg;
        return CMD_GO_ON;
    case OPT_JSON:
        o->json = true;
        return CMD_GO_ON;
    case OPT_SUBJECT:
        o->plan.subject = optarg;
        return CMD_GO_ON;
    case OPT_ROOT_SUBJECT:
        o->plan.root_subject = optarg;
        return CMD_GO_ON;
    case OPT_PERMIT:
        return take_permit(o) ? CMD_GO_ON
                              : cmd_misuse("ca", "at most %d --permit", PKI_PERMITS_MAX);
    case OPT_ENDPOINT:
        o->aws.endpoint = optarg;
        return CMD_GO_ON;
    case OPT_REGION:
        o->aws.region = optarg;
        return CMD_GO_ON;
    case OPT_PROFILE:
        o->aws.profile = optarg;
        return CMD_GO_ON;
    case OPT_OFFLINE:
        o->offline = true;
        return CMD_GO_ON;
    case OPT_PRINT:
        o->print = true;
        return CMD_GO_ON;
    case OPT_YES:
        o->yes = true;
        return CMD_GO_ON;
    case OPT_CERTIFICATE:
        o->certificate = optarg;
        return CMD_GO_ON;
    case OPT_CSR:
        o->csr = optarg;
        return CMD_GO_ON;
    case OPT_RENEWALS_ONLY:
        o->renewals_only = true;
        return CMD_GO_ON;
    case OPT_PASS_FD:
    case OPT_DAYS:
    case OPT_ROOT_DAYS:
    case OPT_PATH_LEN:
    case OPT_SLOT:
    case OPT_GENERATION:
        return take_number(o, opt) ? CMD_GO_ON
                                   : cmd_misuse("ca", "'%s' is no number that fits there", optarg);
    default:
        return cmd_common_option(&o->common, opt);
    }
}

static bool
set_dir(struct options *o)
{
    char state[PATH_MAX];

    if (o->common.dir[0] != '\0')
        return snprintf(o->dir, sizeof o->dir, "%s", o->common.dir) < (int)sizeof o->dir;
    return cmd_default_dir(state, sizeof state) &&
           snprintf(o->dir, sizeof o->dir, "%s/ca", state) < (int)sizeof o->dir;
}

int
cmd_ca(int argc, char **argv)
{
    struct options o = { .verb = "",
        .common = { .command = "ca", .usage = usage },
        .access = { .passphrase_fd = CA_NO_FD },
        .plan = { .root_subject = "/CN=Birthmark Device Root CA",
            .subject = "/CN=Birthmark Device CA",
            .root_days = 7300,
            .days = 1825,
            .slot = -1 } };
    struct bm_msg msg = { "out of memory" };
    const struct verb *verb = NULL;
    int code = CMD_GO_ON;
    int opt;

    while (code == CMD_GO_ON && (opt = getopt_long(argc, argv, "", LONG, NULL)) != -1)
        code = take_option(&o, opt);
    if (code != CMD_GO_ON)
        return code;
    for (size_t i = 0; optind < argc && i < sizeof VERBS / sizeof *VERBS; i++) {
        if (strcmp(argv[optind], VERBS[i].name) == 0)
            verb = &VERBS[i];
    }
    if (verb == NULL || argc - optind != 1)
        return cmd_misuse("ca", "say what: new, register, status, rotate, revoke or sign");
    o.verb = verb->name;
    if (!set_dir(&o))
        return cmd_misuse("ca", "no folder: give --dir, or set BIRTHMARK_DIR or HOME");
    code = end(&o, verb->run(&o, &msg), &msg);
    bm_wipe(&o.access, sizeof o.access);
    return code;
}

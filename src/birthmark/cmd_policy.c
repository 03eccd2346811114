/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark policy`: try policy documents without a cloud. `check` says where one is malformed,
 * `test` whether they allow an action together, and which statement decided.
 */
#include "birthmark/cmd.h"

#include "base/file.h"
#include "pki/pki.h"
#include "policy/policy.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char usage[] =
    "usage: birthmark policy check FILE...\n"
    "       birthmark policy test FILE... --action ACTION --resource NAME --client-id ID "
    "[OPTION...]\n"
    "\n"
    "check says whether each file is a policy document and, if not, where it is malformed. test "
    "says\n"
    "whether the documents together allow the action, and which statement decided. Exit status of\n"
    "test: 0 allowed, 3 denied.\n"
    "\n"
    "  --action ACTION      iot:Connect, iot:Publish, iot:RetainPublish, iot:Subscribe, "
    "iot:Receive\n"
    "  --resource NAME      topic or topic filter; for iot:Connect the client id, and may be "
    "absent\n"
    "  --client-id ID       MQTT client id\n"
    "  --certificate FILE   the device's certificate (PEM), for iot:CertificateId, "
    "iot:Certificate...\n"
    "  --source-ip IP       its address, for aws:SourceIp\n"
    "  --thing              the client id is a thing that the certificate is attached to, for\n"
    "                       iot:Connection.Thing...\n"
    "  --thing-type TYPE, --thing-attribute NAME=VALUE   ... of this type, with this attribute "
    "(may "
    "be\n"
    "                       repeated)\n"
    "  --time TIME          for aws:CurrentTime: 2026-11-23T09:00:00Z, or seconds since 1970; "
    "default now\n"
    "  --persistent         it asks for a persistent session, for iot:ConnectAttributes\n"
    "  --last-will          its CONNECT has a will, for iot:ConnectAttributes\n"
    "  --region REGION, --account ID   of the ARN; default us-east-1, 000000000000\n"
    "  --json               one JSON object\n"
    "  --help, --version\n";

enum { FILES_MAX = 64, FILE_BYTES_MAX = 1 << 20 };

struct question {
    enum policy_action action;
    const char *resource;
    const char *certificate_path;
    bool json;
    struct policy_subject who;
    char cert_hex[65];
    struct policy_certificate *certificate;
    bool has_thing;
    const char *thing_type;
    json_t *thing_attributes; /* NULL: none */
    struct policy_thing *thing;
    size_t count;
    char *const *paths;
    struct policy *set[FILES_MAX];
};

static bool
read_policy(const char *path, struct policy **out)
{
    struct buf text = { 0 };
    struct bm_msg msg = { "" };
    enum bm_err err = file_read(path, FILE_BYTES_MAX, &text, &msg);

    if (err != BM_OK) {
        fprintf(stderr, "birthmark policy: %s\n", msg.text[0] != '\0' ? msg.text : path);
    } else {
        err = policy_parse(buf_span(&text), out, &msg);
        if (err != BM_OK)
            fprintf(stderr, "birthmark policy: %s: %s\n", path, msg.text);
    }
    buf_fini(&text);
    return err == BM_OK;
}

static int
check_files(char *const *paths, size_t count, bool json)
{
    int code = EXIT_DONE;

    if (count == 0 || json)
        return cmd_misuse("policy", "check wants one or more files, and nothing else");
    for (size_t i = 0; i < count; i++) {
        struct policy *p = NULL;

        if (read_policy(paths[i], &p))
            printf("%s: ok\n", paths[i]);
        else
            code = EXIT_FAILED;
        policy_free(p);
    }
    return code;
}

static bool
read_certificate(struct question *q)
{
    struct buf pem = { 0 };
    struct pki_cert *c = NULL;
    struct bm_msg msg = { "" };
    uint8_t id[PKI_ID_LEN];
    enum bm_err err = file_read(q->certificate_path, PKI_PEM_MAX, &pem, &msg);

    if (err == BM_OK)
        err = pki_cert_from_pem(buf_span(&pem), &c, &msg);
    buf_fini(&pem);
    if (err == BM_OK) {
        pki_cert_id(c, id);
        hex_encode(q->cert_hex, id, sizeof id);
        q->who.cert_id = q->cert_hex;
        q->certificate = policy_certificate_new();
        if (q->certificate != NULL)
            pki_cert_attributes(c, policy_certificate_add, q->certificate);
        if (q->certificate == NULL || !policy_certificate_whole(q->certificate))
            err = bm_fail(&msg, BM_ERR_MEM, "out of memory");
    }
    q->who.certificate = q->certificate;
    pki_cert_free(c);
    if (err != BM_OK)
        fprintf(stderr, "birthmark policy: %s: %s\n", q->certificate_path, msg.text);
    return err == BM_OK;
}

static bool
make_thing(struct question *q)
{
    struct bm_msg msg = { "" };
    char *attributes = q->thing_attributes != NULL ? json_dumps(q->thing_attributes, 0) : NULL;
    enum bm_err err = policy_thing_new(q->thing_type != NULL ? q->thing_type : "",
        span_str(attributes != NULL ? attributes : "{}"), &q->thing, &msg);

    free(attributes);
    if (err != BM_OK)
        fprintf(stderr, "birthmark policy: %s\n", msg.text);
    q->who.thing = q->thing;
    return err == BM_OK;
}

static const char *
reason(enum policy_verdict v, const struct policy_decider *by)
{
    if (by->found && v == POLICY_DENIED_IMPLICIT)
        return "it would allow this, but its Condition does not hold";
    if (by->found)
        return v == POLICY_ALLOWED ? "it allows this" : "it denies this, which no Allow overrides";
    return "no statement allows it";
}

static void
print_json(const struct question *q, enum policy_verdict v, const struct policy_decider *by)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "decision",
        v == POLICY_ALLOWED ? "ALLOWED" : "DENIED", "kind",
        v == POLICY_ALLOWED           ? "allowed"
        : v == POLICY_DENIED_EXPLICIT ? "explicitDeny"
                                      : "implicitDeny",
        "action", policy_action_name(q->action), "why", reason(v, by));

    if (by->found) {
        (void)json_object_set_new(o, "file", json_string(q->paths[by->policy]));
        (void)json_object_set_new(o, "statement", json_integer((json_int_t)by->statement + 1));
    }
    (void)json_dumpf(o, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(o);
}

static int
answer(const struct question *q)
{
    struct policy_decider by;
    enum policy_verdict v = policy_decide_by((const struct policy *const *)q->set, q->count,
        q->action, span_str(q->resource), &q->who, &by);

    if (q->json)
        print_json(q, v, &by);
    else if (by.found)
        printf("%s: %s, statement %zu: %s\n", v == POLICY_ALLOWED ? "ALLOWED" : "DENIED",
            q->paths[by.policy], by.statement + 1, reason(v, &by));
    else
        printf("DENIED: %s\n", reason(v, &by));
    return v == POLICY_ALLOWED ? EXIT_DONE : EXIT_DENIED;
}

static int
test_files(struct question *q)
{
    bool good = q->certificate_path == NULL || read_certificate(q);
    int code = EXIT_FAILED;

    if (q->has_thing)
        good = make_thing(q) && good;

    for (size_t i = 0; i < q->count; i++)
        good = read_policy(q->paths[i], &q->set[i]) && good;
    if (good)
        code = answer(q);
    for (size_t i = 0; i < q->count; i++)
        policy_free(q->set[i]);
    policy_certificate_free(q->certificate);
    policy_thing_free(q->thing);
    return code;
}

static bool
find_action(const char *name, enum policy_action *out)
{
    for (unsigned a = POLICY_CONNECT; a <= POLICY_RECEIVE; a++) {
        if (strcasecmp(name, policy_action_name((enum policy_action)a)) == 0) {
            *out = (enum policy_action)a;
            return true;
        }
    }
    return false;
}

static bool
is_address(const char *text)
{
    uint8_t room[16];

    return inet_pton(AF_INET, text, room) == 1 || inet_pton(AF_INET6, text, room) == 1;
}

static bool
add_attribute(struct question *q, const char *text)
{
    const char *equals = strchr(text, '=');
    char name[129];

    if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof name)
        return false;
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    if (q->thing_attributes == NULL)
        q->thing_attributes = json_object();
    return json_object_set_new(q->thing_attributes, name, json_string(&equals[1])) == 0;
}

static int
ask(struct question *q, const char *action, const char *client_id)
{
    if (q->count == 0 || q->count > FILES_MAX)
        return cmd_misuse("policy", "test wants 1 to %d files", FILES_MAX);
    if (action == NULL || client_id == NULL)
        return cmd_misuse("policy", "test wants --action and --client-id");
    if (!find_action(action, &q->action))
        return cmd_misuse("policy",
            "--action: '%s' is none of iot:Connect, iot:Publish, iot:RetainPublish, iot:Subscribe, "
            "iot:Receive",
            action);
    if (q->resource == NULL && q->action == POLICY_CONNECT)
        q->resource = client_id;
    if (q->resource == NULL)
        return cmd_misuse("policy", "test wants --resource");
    if (q->who.source_ip != NULL && !is_address(q->who.source_ip))
        return cmd_misuse("policy", "--source-ip: '%s' is no IP address", q->who.source_ip);
    q->who.client_id = span_str(client_id);
    return test_files(q);
}

static int
run(struct question *q, int argc, char **argv)
{
    static const struct option options[] = { { "action", required_argument, NULL, 'a' },
        { "resource", required_argument, NULL, 'r' }, { "client-id", required_argument, NULL, 'i' },
        { "certificate", required_argument, NULL, 'c' },
        { "source-ip", required_argument, NULL, 's' }, { "thing", no_argument, NULL, 't' },
        { "thing-type", required_argument, NULL, 'T' },
        { "thing-attribute", required_argument, NULL, 'N' },
        { "time", required_argument, NULL, 'n' }, { "persistent", no_argument, NULL, 'p' },
        { "last-will", no_argument, NULL, 'w' }, { "region", required_argument, NULL, 'R' },
        { "account", required_argument, NULL, 'A' }, { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 } };
    const char *action = NULL;
    const char *client_id = NULL;
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'a')
            action = optarg;
        if (opt == 'r')
            q->resource = optarg;
        if (opt == 'i')
            client_id = optarg;
        if (opt == 'c')
            q->certificate_path = optarg;
        if (opt == 's')
            q->who.source_ip = optarg;
        if (opt == 't' || opt == 'T' || opt == 'N')
            q->has_thing = true;
        if (opt == 'T')
            q->thing_type = optarg;
        if (opt == 'N' && !add_attribute(q, optarg))
            return cmd_misuse("policy", "--thing-attribute: '%s' is not NAME=VALUE", optarg);
        if (opt == 'n' && !policy_time(optarg, &q->who.now_ms))
            return cmd_misuse("policy",
                "--time: '%s' is no time like 2026-11-23T09:00:00Z and no seconds since 1970",
                optarg);
        if (opt == 'p')
            q->who.persistent = true;
        if (opt == 'w')
            q->who.last_will = true;
        if (opt == 'R')
            q->who.region = optarg;
        if (opt == 'A')
            q->who.account = optarg;
        if (opt == 'j')
            q->json = true;
        if (opt == 'h') {
            fputs(usage, stdout);
            return EXIT_DONE;
        }
        if (opt == 'V')
            return cmd_version(1, NULL);
        if (opt == '?')
            return EXIT_USAGE;
    }
    if (optind == argc)
        return cmd_misuse("policy", "say check or test");
    q->count = (size_t)(argc - optind) - 1;
    q->paths = &argv[optind + 1];
    if (strcmp(argv[optind], "check") == 0)
        return check_files(q->paths, q->count, q->json);
    if (strcmp(argv[optind], "test") == 0)
        return ask(q, action, client_id);
    return cmd_misuse("policy", "say check or test, not '%s'", argv[optind]);
}

int
cmd_policy(int argc, char **argv)
{
    struct question q = { .who = { .region = "us-east-1", .account = "000000000000" } };
    int code = run(&q, argc, argv);

    json_decref(q.thing_attributes);
    return code;
}

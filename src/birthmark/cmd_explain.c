/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark explain`: the timeline of one certificate, client or address, for a person or as JSON
 * lines.
 *
 * Reads the registry beside a running cloud, or after it ended.
 */
#include "birthmark/cmd.h"
#include "birthmark/place.h"

#include "registry/registry.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: birthmark explain [OPTION...] [CERTIFICATE_ID | CLIENT_ID | ADDRESS | last]\n"
    "\n"
    "Tells what happened, every decision in order, with its cause, and what to do about a "
    "refusal:\n"
    "\n"
    "  CERTIFICATE_ID  of one certificate: 64 hex digits, or the first of them (4 or more)\n"
    "  CLIENT_ID       of whatever used an MQTT client id\n"
    "  ADDRESS         of one peer, 127.0.0.1:40122 or [::1]:40122, or of all ports: 127.0.0.1\n"
    "  last            of the newest refusal\n"
    "\n"
    "Without a name: the newest of all. A client id goes before an address and before the first\n"
    "digits of an id. Addresses and `last` are looked for in the newest 100000 records.\n"
    "\n"
    "  --client ID  whatever ID looks like, it is a client id\n"
    "  --dir DIR    state folder of the cloud (default: $BIRTHMARK_DIR, "
    "else ~/.local/state/birthmark)\n"
    "  --limit N    the last N records (default 100)\n"
    "  --json       one JSON object a line\n"
    "  --help, --version\n";

struct output {
    bool json;
    struct place place; /* for the commands of cures */
    struct buf text;
    bool refused, admitted; /* the newest refusal is `why`; admitted: let in again after it */
    struct timeline_record why;
};

static void
print_record(void *arg, const struct timeline_record *rec)
{
    struct output *o = arg;
    enum cause_class kind = cause_info(rec->cause)->kind;

    if (kind == CAUSE_REFUSE) {
        o->why = *rec;
        o->refused = true;
        o->admitted = false;
    } else if (kind == CAUSE_ACCEPT) {
        o->admitted = true;
    }
    if (o->json) {
        timeline_json(rec, &o->place.of, &o->text);
        buf_add(&o->text, "\n", 1);
    } else {
        timeline_text(rec, &o->place.of, &o->text);
    }
}

static void
print_policy(void *arg, const struct registry_policy *p)
{
    buf_addf(arg, " %s", p->name);
}

/* What the certificate is now, before its history. */
static void
print_state(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], struct buf *out)
{
    struct registry_cert c = { 0 };
    char hex[65];

    hex_encode(hex, id, REGISTRY_ID_LEN);
    if (registry_cert_get(r, id, &c, NULL) != BM_OK) {
        buf_addf(out, "certificate %s\n  not registered\n", hex);
        return;
    }
    buf_addf(out, "certificate %s\n  status %s\n", hex, cert_status_name(c.status));
    if (c.has_ca) {
        hex_encode(hex, c.ca_id, REGISTRY_ID_LEN);
        buf_addf(out, "  CA %s\n", hex);
    }
    buf_addf(out, "  policies");
    if (c.policy_set == 0)
        buf_addf(out, " none");
    else if (registry_policy_effective(r, id, print_policy, out, NULL) != BM_OK)
        buf_addf(out, " (unreadable)");
    buf_addf(out, "\n\n");
    registry_cert_fini(&c);
}

static enum bm_err
explain_cert(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], size_t limit, struct output *o,
    struct bm_msg *msg)
{
    struct registry_cert c = { 0 };
    enum bm_err err;

    if (!o->json)
        print_state(r, id, &o->text);
    err = registry_timeline_cert(r, id, limit, print_record, o, msg);
    if (err == BM_ERR_NOT_FOUND && !o->json && registry_cert_get(r, id, &c, NULL) == BM_OK) {
        buf_addf(&o->text, "nothing has happened to it yet\n");
        registry_cert_fini(&c);
        return BM_OK;
    }
    return err;
}

static enum bm_err
explain_last(struct registry *r, struct output *o, struct bm_msg *msg)
{
    struct timeline_record rec;
    enum bm_err err = registry_timeline_newest(r, CAUSE_REFUSE, &rec, msg);

    if (err != BM_OK)
        return err;
    if (!o->json && rec.has_cert)
        print_state(r, rec.cert_id, &o->text);
    print_record(o, &rec);
    return BM_OK;
}

/* "127.0.0.1", "127.0.0.1:1", "::1", "[::1]", "[::1]:1" as records have it: IPv6 in brackets. */
static bool
is_address(const char *name, char out[TIMELINE_PEER_MAX + 1])
{
    struct in6_addr any;
    char host[TIMELINE_PEER_MAX + 1];
    bool bare = inet_pton(AF_INET6, name, &any) == 1;
    char *end;

    if (snprintf(out, TIMELINE_PEER_MAX + 1, bare ? "[%s]" : "%s", name) > TIMELINE_PEER_MAX)
        return false;
    (void)snprintf(host, sizeof host, "%s", out[0] == '[' ? out + 1 : out);
    end = strchr(host, out[0] == '[' ? ']' : ':');
    if (end != NULL)
        *end = '\0';
    return inet_pton(out[0] == '[' ? AF_INET6 : AF_INET, host, &any) == 1;
}

/* `client`: the name can be nothing but a client id. */
static enum bm_err
explain(struct registry *r, const char *name, bool client, size_t limit, struct output *o,
    struct bm_msg *msg)
{
    enum { PREFIX_MIN = 4 };
    char peer[TIMELINE_PEER_MAX + 1];
    uint8_t id[REGISTRY_ID_LEN];
    enum bm_err err;

    if (name == NULL)
        return registry_timeline_recent(r, limit, print_record, o, msg);
    if (!client && strcmp(name, "last") == 0)
        return explain_last(r, o, msg);
    if (!client && hex_decode(id, sizeof id, span_str(name)) == BM_OK)
        return explain_cert(r, id, limit, o, msg);
    err = registry_timeline_client(r, name, limit, print_record, o, msg);
    if (client || err != BM_ERR_NOT_FOUND)
        return err;
    if (is_address(name, peer))
        return registry_timeline_peer(r, peer, limit, print_record, o, msg);
    if (strlen(name) < PREFIX_MIN || strspn(name, "0123456789abcdefABCDEF") != strlen(name))
        return BM_ERR_NOT_FOUND;
    err = registry_timeline_prefix(r, name, id, msg);
    return err == BM_OK ? explain_cert(r, id, limit, o, msg) : err;
}

static int
not_found(const char *name, bool client)
{
    char peer[TIMELINE_PEER_MAX + 1];
    uint8_t id[REGISTRY_ID_LEN];

    if (name == NULL)
        fprintf(stderr, "birthmark explain: nothing is recorded yet: no device has come to this "
                        "cloud, or another state folder was in use (--dir); `birthmark watch` shows "
                        "what comes\n");
    else if (!client && strcmp(name, "last") == 0)
        fprintf(stderr,
            "birthmark explain: no refusal is among the newest %d records; "
            "`birthmark explain` lists the newest of all\n",
            REGISTRY_TIMELINE_SCAN);
    else if (!client && is_address(name, peer))
        fprintf(stderr,
            "birthmark explain: nothing from %s is among the newest %d records; it never reached "
            "the MQTT port, another state folder was in use (--dir), or a client id tells more; "
            "`birthmark explain` lists the newest of all\n",
            peer, REGISTRY_TIMELINE_SCAN);
    else if (!client && hex_decode(id, sizeof id, span_str(name)) == BM_OK)
        fprintf(stderr,
            "birthmark explain: no certificate %s is registered here, and none came here with that "
            "id.\nThe id of a device's certificate is what `openssl x509 -in device.pem -outform "
            "DER | sha256sum` prints, of the leaf, not of its CA. Another state folder may have "
            "been in use (--dir; each account has its own, DIR/accounts/NUMBER). If the device did "
            "connect, `birthmark explain last` is the newest refusal, and `birthmark watch` shows "
            "it as it comes; if it did not get that far, `birthmark doctor` says why.\n",
            name);
    else {
        struct buf clean = { 0 };

        timeline_clean(name, &clean);
        fprintf(stderr,
            "birthmark explain: nothing is known of %s as a client id or the begin of a "
            "certificate id; it never came here, or another state folder was in use (--dir); try "
            "`birthmark explain last`, the newest refusal, or `birthmark explain`, the newest of "
            "all\n",
            buf_cstr(&clean) != NULL ? (char *)clean.ptr : "it");
        buf_fini(&clean);
    }
    return EXIT_NOT_FOUND;
}

/* Where more is to be read of a cause: its section in the page that is installed. */
static void
print_page(enum cause cause, struct buf *out)
{
    char path[PATH_MAX];

    if (cmd_share("docs/causes.md", path, sizeof path) && access(path, R_OK) == 0)
        buf_addf(out, "page      %s, section %s\n", path, cause_info(cause)->id);
}

/* The answer in short, below the history that it follows from. */
static void
print_why(struct output *o)
{
    if (o->json || !o->refused)
        return;
    buf_addf(&o->text, "\n%s\n",
        o->admitted ? "the newest refusal, and a connection was let in after it:"
                    : "the newest refusal:");
    timeline_verdict(&o->why, &o->place.of, &o->text);
    print_page(o->why.cause, &o->text);
}

static int
run(const char *dir, const char *name, bool client, size_t limit, bool json)
{
    const struct registry_options ro = { .dir = dir, .read_only = true };
    struct output o = { .json = json };
    struct registry *r = NULL;
    struct bm_msg msg = { { 0 } };
    enum bm_err err = registry_open(&ro, &r, &msg);

    if (err != BM_OK) {
        fprintf(stderr, "birthmark explain: %s\n", msg.text);
        return EXIT_FAILED;
    }
    place_read(r, &o.place);
    err = explain(r, name, client, limit, &o, &msg);
    registry_close(r);
    if (err == BM_OK && name != NULL)
        print_why(&o);
    if (err == BM_OK && buf_cstr(&o.text) != NULL)
        fputs((char *)o.text.ptr, stdout);
    buf_fini(&o.text);
    place_fini(&o.place);
    if (err == BM_ERR_NOT_FOUND)
        return not_found(name, client);
    if (err != BM_OK) {
        fprintf(stderr, "birthmark explain: %s\n", msg.text);
        return err == BM_ERR_EXISTS ? EXIT_USAGE : EXIT_FAILED;
    }
    return EXIT_DONE;
}

int
cmd_explain(int argc, char **argv)
{
    static const struct option options[] = { { "limit", required_argument, NULL, 'n' },
        { "json", no_argument, NULL, 'j' }, { "client", required_argument, NULL, 'c' },
        CMD_COMMON_OPTIONS };
    struct cmd_common common = { .command = "explain", .usage = usage };
    unsigned long limit = 100;
    const char *client = NULL;
    bool json = false;
    int end = CMD_GO_ON;
    int opt;

    while (end == CMD_GO_ON && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'n' && ((limit = strtoul(optarg, NULL, 10)) == 0 || limit > 1000000))
            return cmd_misuse("explain", "--limit wants 1 to 1000000, not '%s'", optarg);
        if (opt == 'j')
            json = true;
        if (opt == 'c')
            client = optarg;
        end = cmd_common_option(&common, opt);
    }
    if (end == CMD_GO_ON)
        end = cmd_common_end(&common);
    if (end != CMD_GO_ON)
        return end;
    if (argc - optind + (client != NULL) > 1)
        return cmd_misuse("explain", "one certificate, client id or address at a time");
    if (client == NULL && optind < argc)
        return run(common.dir, argv[optind], false, limit, json);
    return run(common.dir, client, client != NULL, limit, json);
}

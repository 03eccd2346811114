/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark explain`: the timeline of one certificate or client, for a person or as JSON lines.
 *
 * Reads the registry beside a running cloud, or after it ended.
 */
#include "birthmark/cmd.h"

#include "registry/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "usage: birthmark explain [OPTION...] [CERTIFICATE_ID | CLIENT_ID]\n"
                            "\n"
                            "Tells what happened to one certificate (64 hex digits), or to "
                            "whatever used an MQTT client id: every\n"
                            "decision in order, with its cause, and what to do about a refusal. "
                            "Without a name: the newest of all.\n"
                            "\n"
                            "  --dir DIR    state folder of the cloud (default: $BIRTHMARK_DIR, "
                            "else ~/.local/state/birthmark)\n"
                            "  --limit N    the last N records (default 100)\n"
                            "  --json       one JSON object a line\n"
                            "  --help, --version\n";

struct output {
    bool json;
    struct buf text;
};

static void
print_record(void *arg, const struct timeline_record *rec)
{
    struct output *o = arg;

    if (o->json) {
        timeline_json(rec, &o->text);
        buf_add(&o->text, "\n", 1);
    } else {
        timeline_text(rec, &o->text);
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
explain(struct registry *r, const char *name, size_t limit, struct output *o, struct bm_msg *msg)
{
    uint8_t id[REGISTRY_ID_LEN];

    if (name == NULL)
        return registry_timeline_recent(r, limit, print_record, o, msg);
    if (hex_decode(id, sizeof id, span_str(name)) != BM_OK)
        return registry_timeline_client(r, name, limit, print_record, o, msg);
    if (!o->json)
        print_state(r, id, &o->text);
    return registry_timeline_cert(r, id, limit, print_record, o, msg);
}

static int
run(const char *dir, const char *name, size_t limit, bool json)
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
    err = explain(r, name, limit, &o, &msg);
    registry_close(r);
    if (err == BM_OK && buf_cstr(&o.text) != NULL)
        fputs((char *)o.text.ptr, stdout);
    buf_fini(&o.text);
    if (err == BM_ERR_NOT_FOUND) {
        fprintf(stderr,
            "birthmark explain: nothing is known of %s; it never presented a certificate here, or "
            "another state folder was in use (--dir)\n",
            name != NULL ? name : "any certificate");
        return EXIT_NOT_FOUND;
    }
    if (err != BM_OK) {
        fprintf(stderr, "birthmark explain: %s\n", msg.text);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

int
cmd_explain(int argc, char **argv)
{
    static const struct option options[] = { { "limit", required_argument, NULL, 'n' },
        { "json", no_argument, NULL, 'j' }, CMD_COMMON_OPTIONS };
    struct cmd_common common = { .command = "explain", .usage = usage };
    unsigned long limit = 100;
    bool json = false;
    int end = CMD_GO_ON;
    int opt;

    while (end == CMD_GO_ON && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'n' && ((limit = strtoul(optarg, NULL, 10)) == 0 || limit > 1000000))
            return cmd_misuse("explain", "--limit wants 1 to 1000000, not '%s'", optarg);
        if (opt == 'j')
            json = true;
        end = cmd_common_option(&common, opt);
    }
    if (end == CMD_GO_ON)
        end = cmd_common_end(&common);
    if (end != CMD_GO_ON)
        return end;
    if (argc - optind > 1)
        return cmd_misuse("explain", "one certificate or client id at a time");
    return run(common.dir, optind < argc ? argv[optind] : NULL, limit, json);
}

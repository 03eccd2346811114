/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark export`: the state of a cloud as JSON lines, for `birthmark import` to take in again.
 * What a line holds is in birthmark(1). Beside a running cloud, too: it is one moment's state. Not
 * in it: the timeline, events and invocations under way, dates, and the endpoint's own keys.
 */
#include "birthmark/cmd.h"

#include "registry/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include <jansson.h>

static const char usage[] =
    "usage: birthmark export [--dir DIR] >FILE\n"
    "\n"
    "Prints the state of a cloud, running or not, as JSON lines: CAs, certificates, policies, "
    "things,\n"
    "rules, destinations, functions, tags and settings. `birthmark import` takes them in again.\n"
    "\n"
    "  --dir DIR          state folder (default: $BIRTHMARK_DIR, else ~/.local/state/birthmark)\n"
    "  --help, --version\n";

enum { PAGE = 1000, PACKAGE_MAX = 64 * 1024 * 1024 };

struct export
{
    struct registry *r;
    const char *dir;
    bool failed;
};

/* Takes `line`. */
static void
print(struct export *e, json_t *line)
{
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;

    e->failed = e->failed || text == NULL || puts(text) == EOF;
    free(text);
    json_decref(line);
}

static json_t *
text_json(const struct buf *b)
{
    return json_stringn(b->len > 0 ? (const char *)b->ptr : "", b->len);
}

static json_t *
parsed(const struct buf *b)
{
    return json_loadb((const char *)b->ptr, b->len, JSON_DECODE_ANY, NULL);
}

static json_t *
base64_json(const struct buf *b)
{
    struct buf text = { 0 };
    json_t *value = NULL;

    if (base64_encode(&text, buf_span(b)) == BM_OK)
        value = text_json(&text);
    buf_fini(&text);
    return value;
}

static json_t *
hex_json(const uint8_t id[REGISTRY_ID_LEN])
{
    char hex[2 * REGISTRY_ID_LEN + 1];

    hex_encode(hex, id, REGISTRY_ID_LEN);
    return json_string(hex);
}

static const char *
mode_name(enum cert_mode mode)
{
    return mode == MODE_SNI_ONLY ? "SNI_ONLY" : "DEFAULT";
}

/* ---- lists inside a line ---- */

static void
add_policy_name(void *arg, const struct registry_policy *p)
{
    (void)json_array_append_new(arg, json_string(p->name));
}

static void
add_name(void *arg, const char *name)
{
    (void)json_array_append_new(arg, json_string(name));
}

static json_t *
policies_of(struct export *e, const struct registry_target *target)
{
    json_t *names = json_array();

    if (registry_policy_attached(e->r, target, false, add_policy_name, names, NULL) != BM_OK)
        e->failed = true;
    return names;
}

/* ---- one line each ---- */

static void
print_ca(void *arg, const struct registry_ca *narrow)
{
    struct export *e = arg;
    struct registry_ca ca;

    if (registry_ca_get(e->r, narrow->id, &ca, NULL) != BM_OK) {
        e->failed = true;
        return;
    }
    print(e, json_pack("{s:s,s:o,s:s,s:b,s:s}", "kind", "ca", "certificate", base64_json(&ca.der),
                 "status", cert_status_name(ca.status), "autoRegistration", ca.auto_registration,
                 "mode", mode_name(ca.mode)));
    registry_ca_fini(&ca);
}

struct versions {
    struct export *e;
    json_t *list;
};

/* They come newest first; they go oldest first, so that an import counts them up. */
static void
add_version(void *arg, const struct registry_policy *p)
{
    struct versions *v = arg;
    struct registry_policy whole = { 0 };

    if (registry_policy_version_get(v->e->r, p->name, p->version, &whole, NULL) == BM_OK)
        (void)json_array_insert_new(v->list, 0,
            json_pack(
                "{s:o,s:b}", "document", text_json(&whole.document), "default", whole.is_default));
    else
        v->e->failed = true;
    registry_policy_fini(&whole);
}

static void
print_policy(void *arg, const struct registry_policy *p)
{
    struct export *e = arg;
    struct versions v = { e, json_array() };

    if (registry_policy_versions(e->r, p->name, add_version, &v, NULL) != BM_OK)
        e->failed = true;
    print(e, json_pack("{s:s,s:s,s:o}", "kind", "policy", "name", p->name, "versions", v.list));
}

static void
print_type(void *arg, const struct registry_type *t)
{
    struct export *e = arg;

    print(e, json_pack("{s:s,s:s,s:o,s:o*}", "kind", "thingType", "name", t->name, "description",
                 text_json(&t->description), "searchable",
                 t->searchable.len > 0 ? parsed(&t->searchable) : NULL));
}

static void
print_deprecated(void *arg, const struct registry_type *t)
{
    struct export *e = arg;

    if (t->deprecated_ms != 0)
        print(e, json_pack("{s:s,s:s}", "kind", "deprecatedType", "name", t->name));
}

static void
print_group(void *arg, const struct registry_group *g)
{
    struct export *e = arg;
    const struct registry_target target = { .group = g->name };

    print(e, json_pack("{s:s,s:s,s:s,s:o,s:o,s:o}", "kind", "thingGroup", "name", g->name, "parent",
                 g->parent, "description", text_json(&g->description), "attributes",
                 parsed(&g->attributes), "policies", policies_of(e, &target)));
}

static void
print_thing(void *arg, const struct registry_thing *t)
{
    struct export *e = arg;
    struct registry_page page = { .marker = "", .limit = PAGE };
    json_t *groups = json_array();

    if (registry_groups_of(e->r, t->name, &page, add_name, groups, NULL) != BM_OK)
        e->failed = true;
    print(e, json_pack("{s:s,s:s,s:s,s:o,s:o}", "kind", "thing", "name", t->name, "type", t->type,
                 "attributes", parsed(&t->attributes), "groups", groups));
}

static void
print_cert(void *arg, const struct registry_cert *narrow)
{
    struct export *e = arg;
    struct registry_page page = { .marker = "", .limit = PAGE };
    struct registry_target target = { 0 };
    struct registry_cert c;
    json_t *things = json_array();

    if (registry_cert_get(e->r, narrow->id, &c, NULL) != BM_OK) {
        json_decref(things);
        e->failed = true;
        return;
    }
    memcpy(target.cert_id, c.id, sizeof target.cert_id);
    if (registry_principal_things(e->r, c.id, &page, add_name, things, NULL) != BM_OK)
        e->failed = true;
    print(e, json_pack("{s:s,s:o,s:s,s:s,s:o*,s:o,s:o}", "kind", "certificate", "certificate",
                 base64_json(&c.der), "status", cert_status_name(c.status), "mode",
                 mode_name(c.mode), "ca", c.has_ca ? hex_json(c.ca_id) : NULL, "policies",
                 policies_of(e, &target), "things", things));
    registry_cert_fini(&c);
}

static void
print_rule(void *arg, const struct registry_rule *rule)
{
    struct export *e = arg;

    print(e, json_pack("{s:s,s:s,s:b,s:o}", "kind", "rule", "name", rule->name, "disabled",
                 rule->disabled, "payload", parsed(&rule->payload)));
}

/* Without the token of one that is not confirmed: the import makes another and sends it. */
static void
print_destination(void *arg, const struct registry_destination *d)
{
    struct export *e = arg;

    print(e, json_pack("{s:s,s:s,s:s,s:s,s:s}", "kind", "destination", "id", d->id, "url", d->url,
                 "status", destination_status_name(d->status), "reason", d->reason));
}

static void
print_function(void *arg, const struct registry_function *f)
{
    struct export *e = arg;
    struct buf package = { 0 };
    char path[PATH_MAX];
    char hex[65];

    hex_encode(hex, f->code_sha256, sizeof f->code_sha256);
    if (snprintf(path, sizeof path, "%s/functions/%s.zip", e->dir, hex) >= (int)sizeof path ||
        file_read(path, PACKAGE_MAX, &package, NULL) != BM_OK)
        e->failed = true;
    print(e, json_pack("{s:s,s:s,s:o,s:o,s:o}", "kind", "function", "name", f->name, "config",
                 parsed(&f->config), "permissions", parsed(&f->permissions), "package",
                 base64_json(&package)));
    buf_fini(&package);
}

static void
print_tag(void *arg, const char *resource, const char *key, const char *value)
{
    print(arg, json_pack("{s:s,s:s,s:s,s:s}", "kind", "tag", "resource", resource, "key", key,
                   "value", value));
}

static void
print_settings(struct export *e)
{
    static const char *const keys[] = { "registration_code", "events", "logging", "v2logging",
        "v2levels" };

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct buf value = { 0 };

        if (registry_setting_get(e->r, keys[i], &value, NULL) == BM_OK)
            print(e, json_pack("{s:s,s:s,s:o}", "kind", "setting", "key", keys[i], "value",
                         text_json(&value)));
        buf_fini(&value);
    }
}

/* ---- all of them, so that each line finds what it refers to ---- */

#define PAGES(call)                                                                                \
    do {                                                                                           \
        struct registry_page page = { .limit = PAGE, .ascending = true };                          \
        char marker[sizeof page.next_marker] = "";                                                 \
        do {                                                                                       \
            page.marker = marker;                                                                  \
            err = (call);                                                                          \
            memcpy(marker, page.next_marker, sizeof marker);                                       \
        } while (err == BM_OK && !e->failed && marker[0] != '\0');                                 \
        if (err != BM_OK || e->failed)                                                             \
            return err;                                                                            \
    } while (0)

static enum bm_err
print_all(struct export *e, struct bm_msg *msg)
{
    static const struct registry_thing_filter any;
    enum bm_err err;

    print_settings(e);
    PAGES(registry_ca_list(e->r, &page, print_ca, e, msg));
    PAGES(registry_policy_list(e->r, &page, print_policy, e, msg));
    PAGES(registry_type_list(e->r, NULL, &page, print_type, e, msg));
    PAGES(registry_group_list(e->r, NULL, true, NULL, &page, print_group, e, msg));
    PAGES(registry_thing_list(e->r, &any, &page, print_thing, e, msg));
    PAGES(registry_type_list(e->r, NULL, &page, print_deprecated, e, msg));
    PAGES(registry_cert_list(e->r, NULL, &page, print_cert, e, msg));
    PAGES(registry_destination_list(e->r, &page, print_destination, e, msg));
    err = registry_rule_list(e->r, print_rule, e, msg);
    if (err == BM_OK)
        err = registry_function_list(e->r, print_function, e, msg);
    return err == BM_OK ? registry_tag_each(e->r, print_tag, e, msg) : err;
}

static int
run(const char *dir)
{
    const struct registry_options ro = { .dir = dir, .read_only = true };
    struct export e = { .dir = dir };
    struct bm_msg msg = { "" };
    enum bm_err err = registry_open(&ro, &e.r, &msg);

    if (err == BM_OK) {
        err = print_all(&e, &msg);
        registry_close(e.r);
    }
    if (err == BM_OK && (e.failed || fflush(stdout) != 0))
        err = bm_fail(&msg, BM_ERR_IO,
            "the export is not whole: something could not be read from %s or written to standard "
            "output",
            dir);
    if (err == BM_OK)
        return EXIT_DONE;
    fprintf(stderr, "birthmark export: %s\n", msg.text);
    return EXIT_FAILED;
}

int
cmd_export(int argc, char **argv)
{
    static const struct option options[] = { CMD_COMMON_OPTIONS };
    struct cmd_common common = { .command = "export", .usage = usage };
    int end = CMD_GO_ON;
    int opt;

    while (end == CMD_GO_ON && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        end = cmd_common_option(&common, opt);
    }
    if (end == CMD_GO_ON)
        end = cmd_common_end(&common);
    if (end != CMD_GO_ON)
        return end;
    if (optind < argc)
        return cmd_misuse("export", "unexpected argument '%s'", argv[optind]);
    return run(common.dir);
}

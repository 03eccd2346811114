/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark import`: take in JSON lines, of `birthmark export` or made by a script for a fleet.
 * What a line holds is in birthmark(1).
 *
 * A line is one savepoint; BATCH lines are one commit, with the place in the file in the same
 * commit. So a run that ended in the middle goes on from there when it is given the same file, and
 * what is there already is left as it is: to import twice does no harm.
 */
#include "birthmark/cmd.h"

#include "base/clock.h"
#include "base/file.h"
#include "http/client.h"
#include "pki/pki.h"
#include "registry/registry.h"
#include "registry/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/sha.h>

static const char usage[] =
    "usage: birthmark import [--dir DIR] FILE\n"
    "\n"
    "Takes the JSON lines of FILE into the state folder of a cloud that is not running. A run that "
    "was\n"
    "interrupted goes on where it was; what is there already is left as it is. The lines are those "
    "of\n"
    "`birthmark export`; for certificates {\"kind\":\"certificate\",\"certificatePem\":\"...\"} is "
    "enough.\n"
    "\n"
    "  --dir DIR          state folder (default: $BIRTHMARK_DIR, else ~/.local/state/birthmark)\n"
    "  --help, --version\n";

enum { BATCH = 5000, HEAD = 65536, SAME_SUBJECT_MAX = 10, PROGRESS_MS = 1000 };
static const char PLACE_KEY[] = "import";

struct import {
    struct registry *r;
    const char *dir;
    const char *path;
    FILE *file;
    off_t size;
    char head[65];    /* SHA-256 of the file's first bytes, so that another file starts anew */
    long long offset; /* of the next line */
    long long lines;  /* taken */
    long long known;  /* of those, there already */
    int64_t started_ms;
    int64_t shown_ms;
    long long lines_before; /* of earlier runs */
};

/* ---- members of a line ---- */

static const char *
text(const json_t *line, const char *name)
{
    const char *value = json_string_value(json_object_get(line, name));

    return value != NULL ? value : "";
}

static enum bm_err
need(const json_t *line, const char *name, const char **out, struct bm_msg *msg)
{
    *out = text(line, name);
    return (*out)[0] != '\0' ? BM_OK
                             : bm_fail(msg, BM_ERR_INPUT, "the member \"%s\" is missing", name);
}

static enum bm_err
name_into(const json_t *line, const char *name, char out[REGISTRY_NAME_MAX + 1], struct bm_msg *msg)
{
    if (strlen(text(line, name)) > REGISTRY_NAME_MAX)
        return bm_fail(
            msg, BM_ERR_INPUT, "\"%s\" has more than %d characters", name, REGISTRY_NAME_MAX);
    (void)snprintf(out, REGISTRY_NAME_MAX + 1, "%s", text(line, name));
    return BM_OK;
}

static enum bm_err
json_into(const json_t *value, struct buf *out, struct bm_msg *msg)
{
    char *dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    if (dumped != NULL)
        buf_add(out, dumped, strlen(dumped));
    free(dumped);
    return dumped != NULL && !out->failed ? BM_OK : bm_fail(msg, BM_ERR_MEM, "out of memory");
}

/* DER in base64 as `certificate`, or PEM as `certificatePem`. */
static enum bm_err
read_cert(const json_t *line, struct pki_cert **out, struct bm_msg *msg)
{
    const char *pem = text(line, "certificatePem");
    struct buf der = { 0 };
    enum bm_err err;

    if (pem[0] != '\0')
        return pki_cert_from_pem(span_str(pem), out, msg);
    if (text(line, "certificate")[0] == '\0')
        return bm_fail(msg, BM_ERR_INPUT,
            "neither \"certificatePem\" nor \"certificate\" (base64 of DER) is there");
    err = base64_decode(&der, span_str(text(line, "certificate")));
    err = err == BM_OK ? pki_cert_from_der(buf_span(&der), out, msg)
                       : bm_fail(msg, BM_ERR_INPUT, "\"certificate\" is not base64");
    buf_fini(&der);
    return err;
}

static enum bm_err
read_status(
    const json_t *line, enum cert_status otherwise, enum cert_status *out, struct bm_msg *msg)
{
    *out = otherwise;
    if (text(line, "status")[0] == '\0' || cert_status_parse(span_str(text(line, "status")), out))
        return BM_OK;
    return bm_fail(msg, BM_ERR_INPUT, "\"status\" is '%.60s'", text(line, "status"));
}

static enum cert_mode
read_mode(const json_t *line)
{
    return strcmp(text(line, "mode"), "SNI_ONLY") == 0 ? MODE_SNI_ONLY : MODE_DEFAULT;
}

static enum bm_err
attach_policies(
    struct import *i, const json_t *line, const struct registry_target *target, struct bm_msg *msg)
{
    const json_t *names = json_object_get(line, "policies");
    enum bm_err err = BM_OK;

    for (size_t k = 0; err == BM_OK && k < json_array_size(names); k++) {
        const char *name = json_string_value(json_array_get(names, k));

        err = name != NULL ? registry_policy_attach(i->r, name, target, msg)
                           : bm_fail(msg, BM_ERR_INPUT, "\"policies\" has what is no name");
    }
    return err;
}

/* ---- lines by kind ---- */

static enum bm_err
take_setting(struct import *i, const json_t *line, struct bm_msg *msg)
{
    static const char *const keys[] = { "registration_code", "events", "logging", "v2logging",
        "v2levels" };

    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        if (strcmp(text(line, "key"), keys[k]) == 0)
            return registry_setting_put(i->r, keys[k], span_str(text(line, "value")), msg);
    }
    return bm_fail(msg, BM_ERR_INPUT, "there is no setting '%.60s'", text(line, "key"));
}

static enum bm_err
take_ca(struct import *i, const json_t *line, struct bm_msg *msg)
{
    struct registry_ca ca = { .mode = read_mode(line),
        .auto_registration = json_is_true(json_object_get(line, "autoRegistration")) };
    struct pki_cert *cert = NULL;
    enum bm_err err = read_cert(line, &cert, msg);

    if (err == BM_OK)
        err = read_status(line, CERT_INACTIVE, &ca.status, msg);
    if (err == BM_OK && !pki_cert_is_ca(cert))
        err = bm_fail(msg, BM_ERR_INPUT, "the certificate is no CA (basicConstraints CA:TRUE)");
    if (err == BM_OK)
        err = pki_cert_acceptable(cert, msg);
    if (err == BM_OK) {
        struct span subject = pki_cert_subject(cert);
        struct span der = pki_cert_der(cert);

        pki_cert_id(cert, ca.id);
        ca.not_before_ms = pki_cert_not_before_ms(cert);
        ca.not_after_ms = pki_cert_not_after_ms(cert);
        buf_add(&ca.subject, subject.ptr, subject.len);
        buf_add(&ca.der, der.ptr, der.len);
        err = registry_ca_insert(i->r, &ca, msg);
    }
    registry_ca_fini(&ca);
    pki_cert_free(cert);
    return err;
}

static enum bm_err
take_policy(struct import *i, const json_t *line, struct bm_msg *msg)
{
    const json_t *versions = json_object_get(line, "versions");
    int as_default = 0;
    const char *name;
    enum bm_err err = need(line, "name", &name, msg);

    if (err == BM_OK && json_array_size(versions) == 0)
        err = bm_fail(msg, BM_ERR_INPUT, "\"versions\" is missing or empty");
    for (size_t k = 0; err == BM_OK && k < json_array_size(versions); k++) {
        const json_t *item = json_array_get(versions, k);
        struct span document = span_str(text(item, "document"));
        int version = 1;

        err = k == 0 ? registry_policy_create(i->r, name, document, msg)
                     : registry_policy_version_create(i->r, name, document, false, &version, msg);
        if (json_is_true(json_object_get(item, "default")))
            as_default = version;
    }
    if (err == BM_OK && as_default > 1)
        err = registry_policy_version_default(i->r, name, as_default, msg);
    return err;
}

static enum bm_err
take_type(struct import *i, const json_t *line, struct bm_msg *msg)
{
    struct registry_type t = { 0 };
    enum bm_err err = name_into(line, "name", t.name, msg);

    buf_addf(&t.description, "%s", text(line, "description"));
    if (err == BM_OK && json_object_get(line, "searchable") != NULL)
        err = json_into(json_object_get(line, "searchable"), &t.searchable, msg);
    if (err == BM_OK)
        err = registry_type_create(i->r, &t, msg);
    registry_type_fini(&t);
    return err;
}

static enum bm_err
take_deprecated(struct import *i, const json_t *line, struct bm_msg *msg)
{
    return registry_type_deprecate(i->r, text(line, "name"), false, msg);
}

static enum bm_err
attributes_into(const json_t *line, struct buf *out, struct bm_msg *msg)
{
    const json_t *attributes = json_object_get(line, "attributes");
    const char *name;
    json_t *value;

    if (attributes == NULL)
        return BM_OK;
    json_object_foreach((json_t *)(uintptr_t)attributes, name, value)
    {
        if (!json_is_string(value))
            return bm_fail(msg, BM_ERR_INPUT, "the attribute '%.128s' is no string", name);
    }
    return json_is_object(attributes) ? json_into(attributes, out, msg)
                                      : bm_fail(msg, BM_ERR_INPUT, "\"attributes\" is no object");
}

static enum bm_err
take_group(struct import *i, const json_t *line, struct bm_msg *msg)
{
    struct registry_group g = { 0 };
    const struct registry_target target = { .group = g.name };
    enum bm_err err = name_into(line, "name", g.name, msg);

    if (err == BM_OK)
        err = name_into(line, "parent", g.parent, msg);
    buf_addf(&g.description, "%s", text(line, "description"));
    if (err == BM_OK)
        err = attributes_into(line, &g.attributes, msg);
    if (err == BM_OK && g.attributes.len == 0)
        buf_addf(&g.attributes, "{}");
    if (err == BM_OK)
        err = registry_group_create(i->r, &g, msg);
    if (err == BM_OK)
        err = attach_policies(i, line, &target, msg);
    registry_group_fini(&g);
    return err;
}

static enum bm_err
take_thing(struct import *i, const json_t *line, struct bm_msg *msg)
{
    const json_t *groups = json_object_get(line, "groups");
    struct registry_thing t = { 0 };
    enum bm_err err = name_into(line, "name", t.name, msg);

    if (err == BM_OK)
        err = name_into(line, "type", t.type, msg);
    if (err == BM_OK)
        err = attributes_into(line, &t.attributes, msg);
    if (err == BM_OK)
        err = registry_thing_create(i->r, &t, msg);
    for (size_t k = 0; err == BM_OK && k < json_array_size(groups); k++) {
        const char *group = json_string_value(json_array_get(groups, k));

        err = group != NULL ? registry_group_add(i->r, group, t.name, msg)
                            : bm_fail(msg, BM_ERR_INPUT, "\"groups\" has what is no name");
    }
    registry_thing_fini(&t);
    return err;
}

/* The registered CA that signed it; a certificate in mode SNI_ONLY may have none. */
static enum bm_err
find_signer(
    struct import *i, const struct pki_cert *cert, struct registry_cert *row, struct bm_msg *msg)
{
    struct registry_ca cas[SAME_SUBJECT_MAX];
    size_t count = 0;
    char issuer[160];
    enum bm_err err = registry_ca_by_subject(i->r, pki_cert_issuer(cert), cas, &count, msg);

    for (size_t k = 0; k < count; k++) {
        struct pki_cert *ca = NULL;

        if (!row->has_ca && pki_cert_from_der(buf_span(&cas[k].der), &ca, NULL) == BM_OK &&
            pki_cert_signed_by(cert, ca, NULL) == BM_OK) {
            row->has_ca = true;
            row->mode = cas[k].mode;
            memcpy(row->ca_id, cas[k].id, sizeof row->ca_id);
        }
        pki_cert_free(ca);
        registry_ca_fini(&cas[k]);
    }
    pki_cert_issuer_text(cert, issuer, sizeof issuer);
    if (err == BM_OK && !row->has_ca)
        err = bm_fail(msg, BM_ERR_INPUT,
            "no registered CA signed the certificate, whose issuer is '%s'; import the CA first, "
            "or "
            "give \"mode\":\"SNI_ONLY\"",
            issuer);
    return err;
}

static enum bm_err
attach_things(struct import *i, const json_t *line, const uint8_t *id, struct bm_msg *msg)
{
    const json_t *things = json_object_get(line, "things");
    enum bm_err err = BM_OK;

    for (size_t k = 0; err == BM_OK && k < json_array_size(things); k++) {
        const char *thing = json_string_value(json_array_get(things, k));

        err = thing != NULL ? registry_thing_attach(i->r, thing, id, msg)
                            : bm_fail(msg, BM_ERR_INPUT, "\"things\" has what is no name");
    }
    return err;
}

static enum bm_err
take_certificate(struct import *i, const json_t *line, struct bm_msg *msg)
{
    struct registry_cert row = { .mode = read_mode(line) };
    struct registry_target target = { 0 };
    struct pki_cert *cert = NULL;
    struct span der;
    enum bm_err err = read_cert(line, &cert, msg);

    if (err == BM_OK)
        err = read_status(line, CERT_INACTIVE, &row.status, msg);
    if (err == BM_OK)
        err = pki_cert_acceptable(cert, msg);
    if (err == BM_OK && text(line, "ca")[0] != '\0') {
        row.has_ca = true;
        if (hex_decode(row.ca_id, sizeof row.ca_id, span_str(text(line, "ca"))) != BM_OK)
            err = bm_fail(msg, BM_ERR_INPUT, "\"ca\" is no id of 64 hexadecimal digits");
    } else if (err == BM_OK && json_object_get(line, "certificatePem") != NULL &&
               row.mode != MODE_SNI_ONLY) {
        err = find_signer(i, cert, &row, msg);
    }
    if (err == BM_OK) {
        pki_cert_id(cert, row.id);
        row.not_before_ms = pki_cert_not_before_ms(cert);
        row.not_after_ms = pki_cert_not_after_ms(cert);
        der = pki_cert_der(cert);
        buf_add(&row.der, der.ptr, der.len);
        err = registry_cert_insert(i->r, &row, msg);
    }
    memcpy(target.cert_id, row.id, sizeof target.cert_id);
    if (err == BM_OK)
        err = attach_policies(i, line, &target, msg);
    if (err == BM_OK)
        err = attach_things(i, line, row.id, msg);
    registry_cert_fini(&row);
    pki_cert_free(cert);
    return err;
}

static enum bm_err
take_rule(struct import *i, const json_t *line, struct bm_msg *msg)
{
    struct buf payload = { 0 };
    const char *name;
    enum bm_err err = need(line, "name", &name, msg);

    if (err == BM_OK)
        err = json_into(json_object_get(line, "payload"), &payload, msg);
    if (err == BM_OK)
        err = registry_rule_create(
            i->r, name, json_is_true(json_object_get(line, "disabled")), buf_span(&payload), msg);
    buf_fini(&payload);
    return err;
}

static enum bm_err
take_destination(struct import *i, const json_t *line, struct bm_msg *msg)
{
    struct registry_destination d = { 0 };
    const char *id;
    const char *url;
    const char *status;
    bool loopback;
    enum bm_err err = need(line, "id", &id, msg);

    if (err == BM_OK)
        err = need(line, "url", &url, msg);
    if (err == BM_OK)
        err = need(line, "status", &status, msg);
    if (err == BM_OK)
        err = http_url_check(url, &loopback, msg);
    if (err != BM_OK)
        return err;
    if (strlen(id) != sizeof d.id - 1 || strspn(id, "0123456789abcdef-") != strlen(id) ||
        strlen(url) >= sizeof d.url || !destination_status_of(status, &d.status))
        return bm_fail(msg, BM_ERR_INPUT, "\"id\", \"url\" or \"status\" is none of a destination");
    (void)snprintf(d.id, sizeof d.id, "%s", id);
    (void)snprintf(d.url, sizeof d.url, "%s", url);
    (void)snprintf(d.reason, sizeof d.reason, "%s", text(line, "reason"));
    return registry_destination_create(i->r, &d, msg);
}

/* The package is unpacked when the function first runs. */
static enum bm_err
put_package(struct import *i, const json_t *line, uint8_t sha256[32], struct bm_msg *msg)
{
    struct buf zip = { 0 };
    char path[PATH_MAX];
    char hex[65];
    enum bm_err err = base64_decode(&zip, span_str(text(line, "package")));

    if (err != BM_OK || zip.len == 0) {
        buf_fini(&zip);
        return bm_fail(msg, BM_ERR_INPUT, "\"package\" is missing or no base64");
    }
    (void)SHA256(zip.ptr, zip.len, sha256);
    hex_encode(hex, sha256, 32);
    (void)snprintf(path, sizeof path, "%.3900s/functions", i->dir);
    err = dir_make(path, 0700, msg);
    (void)snprintf(path, sizeof path, "%.3900s/functions/%s.zip", i->dir, hex);
    if (err == BM_OK)
        err = file_write(path, buf_span(&zip), 0600, msg);
    buf_fini(&zip);
    return err;
}

static enum bm_err
take_function(struct import *i, const json_t *line, struct bm_msg *msg)
{
    struct registry_function f = { 0 };
    enum bm_err err = name_into(line, "name", f.name, msg);

    if (err == BM_OK)
        err = json_into(json_object_get(line, "config"), &f.config, msg);
    if (err == BM_OK)
        err = json_into(json_object_get(line, "permissions"), &f.permissions, msg);
    if (err == BM_OK)
        err = put_package(i, line, f.code_sha256, msg);
    if (err == BM_OK)
        err = registry_function_create(i->r, &f, msg);
    registry_function_fini(&f);
    return err;
}

static enum bm_err
take_tag(struct import *i, const json_t *line, struct bm_msg *msg)
{
    return registry_tag_set(
        i->r, text(line, "resource"), text(line, "key"), text(line, "value"), msg);
}

static const struct {
    const char *kind;
    enum bm_err (*take)(struct import *i, const json_t *line, struct bm_msg *msg);
} KINDS[] = { { "certificate", take_certificate }, { "thing", take_thing }, { "ca", take_ca },
    { "policy", take_policy }, { "thingType", take_type }, { "deprecatedType", take_deprecated },
    { "thingGroup", take_group }, { "destination", take_destination }, { "rule", take_rule },
    { "function", take_function }, { "tag", take_tag }, { "setting", take_setting } };

static enum bm_err
take_line(struct import *i, const char *line, size_t len, struct bm_msg *msg)
{
    json_error_t at;
    json_t *value = json_loadb(line, len, JSON_REJECT_DUPLICATES, &at);
    enum bm_err err = BM_ERR_INPUT;
    bool found = false;

    if (!json_is_object(value)) {
        json_decref(value);
        return bm_fail(msg, BM_ERR_INPUT, "not a JSON object: %s", value == NULL ? at.text : "");
    }
    err = registry_begin(i->r, msg);
    for (size_t k = 0; err == BM_OK && !found && k < sizeof KINDS / sizeof *KINDS; k++) {
        found = strcmp(text(value, "kind"), KINDS[k].kind) == 0;
        if (found)
            err = KINDS[k].take(i, value, msg);
    }
    if (err == BM_OK && !found)
        err = bm_fail(
            msg, BM_ERR_INPUT, "\"kind\" is '%.60s'; see birthmark(1)", text(value, "kind"));
    (void)registry_end(i->r, err == BM_OK, NULL);
    json_decref(value);
    if (err == BM_ERR_EXISTS) {
        i->known++;
        return BM_OK;
    }
    return err;
}

/* ---- the file, and the place in it ---- */

static enum bm_err
open_file(struct import *i, struct bm_msg *msg)
{
    uint8_t head[HEAD];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct stat st;
    size_t n;

    i->file = fopen(i->path, "re");
    if (i->file == NULL || fstat(fileno(i->file), &st) != 0)
        return bm_fail(msg, BM_ERR_IO, "cannot read %s: %s", i->path, strerror(errno));
    n = fread(head, 1, sizeof head, i->file);
    (void)SHA256(head, n, hash);
    hex_encode(i->head, hash, sizeof hash);
    i->size = st.st_size;
    rewind(i->file);
    return BM_OK;
}

static void
find_place(struct import *i)
{
    struct buf b = { 0 };
    json_t *place = NULL;

    if (registry_setting_get(i->r, PLACE_KEY, &b, NULL) == BM_OK)
        place = json_loadb((const char *)b.ptr, b.len, 0, NULL);
    buf_fini(&b);
    if (strcmp(text(place, "head"), i->head) == 0 &&
        json_integer_value(json_object_get(place, "size")) == i->size) {
        i->offset = json_integer_value(json_object_get(place, "offset"));
        i->lines = json_integer_value(json_object_get(place, "lines"));
        i->known = json_integer_value(json_object_get(place, "known"));
    }
    json_decref(place);
    if (i->offset > 0 && fseeko(i->file, (off_t)i->offset, SEEK_SET) == 0)
        fprintf(stderr, "birthmark import: going on after line %lld\n", i->lines);
    i->lines_before = i->lines;
}

/* With `done` the place is forgotten. */
static enum bm_err
commit(struct import *i, bool done, struct bm_msg *msg)
{
    struct buf b = { 0 };
    json_t *place = done ? json_object()
                         : json_pack("{s:s,s:I,s:I,s:I,s:I}", "head", i->head, "size",
                               (json_int_t)i->size, "offset", (json_int_t)i->offset, "lines",
                               (json_int_t)i->lines, "known", (json_int_t)i->known);
    enum bm_err err = json_into(place, &b, msg);

    if (err == BM_OK)
        err = registry_setting_put(i->r, PLACE_KEY, buf_span(&b), msg);
    if (err == BM_OK)
        err = registry_commit(i->r, msg);
    json_decref(place);
    buf_fini(&b);
    return err;
}

static void
show_progress(struct import *i)
{
    int64_t now = clock_mono_ms();
    long long part = i->size > 0 ? i->offset * 100 / i->size : 100;

    if (now - i->shown_ms < PROGRESS_MS)
        return;
    i->shown_ms = now;
    fprintf(stderr, "birthmark import: %lld lines, %lld %%, %lld a second\n", i->lines, part,
        (i->lines - i->lines_before) * 1000 / (now - i->started_ms + 1));
}

static enum bm_err
take_all(struct import *i, struct bm_msg *msg)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    enum bm_err err = BM_OK;
    enum bm_err end;
    struct bm_msg why;

    while (err == BM_OK && (len = getline(&line, &cap, i->file)) > 0) {
        if (strspn(line, " \t\r\n") < (size_t)len)
            err = take_line(i, line, (size_t)len, msg);
        if (err != BM_OK)
            break;
        i->offset += len;
        i->lines++;
        if (i->lines % BATCH == 0) {
            err = commit(i, false, msg);
            show_progress(i);
        }
    }
    free(line);
    end = commit(i, err == BM_OK, err == BM_OK ? msg : &why); /* what was good stays */
    return err != BM_OK ? err : end;
}

static enum bm_err
import(struct import *i, struct bm_msg *msg)
{
    struct registry_options ro = { .dir = i->dir, .bulk = true };
    enum bm_err err = open_file(i, msg);

    if (err == BM_OK)
        err = table_resume(i->dir, &ro.table, msg);
    if (err == BM_OK)
        err = registry_open(&ro, &i->r, msg);
    if (err == BM_OK) {
        find_place(i);
        (void)pki_ec_shortcut(true); /* keys are read and verified with here, none signs */
        i->started_ms = clock_mono_ms();
        i->shown_ms = i->started_ms;
        err = take_all(i, msg);
        (void)pki_ec_shortcut(false);
        registry_close(i->r);
    }
    table_close(ro.table);
    if (i->file != NULL)
        (void)fclose(i->file);
    return err;
}

static int
run(const char *dir, const char *path)
{
    struct import i = { .dir = dir, .path = path };
    struct bm_msg msg = { "" };
    enum bm_err err = import(&i, &msg);

    if (err == BM_OK) {
        printf("%lld lines, %lld of them known before\n", i.lines, i.known);
        return EXIT_DONE;
    }
    if (i.r != NULL)
        fprintf(stderr, "birthmark import: %s:%lld: %s; the lines before it are taken\n", path,
            i.lines + 1, msg.text);
    else
        fprintf(stderr, "birthmark import: %s\n", msg.text);
    return err == BM_ERR_CONFLICT && i.r == NULL ? EXIT_BUSY : EXIT_FAILED;
}

int
cmd_import(int argc, char **argv)
{
    static const struct option options[] = { CMD_COMMON_OPTIONS };
    struct cmd_common common = { .command = "import", .usage = usage };
    int end = CMD_GO_ON;
    int opt;

    while (end == CMD_GO_ON && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        end = cmd_common_option(&common, opt);
    }
    if (end == CMD_GO_ON)
        end = cmd_common_end(&common);
    if (end != CMD_GO_ON)
        return end;
    if (argc - optind != 1)
        return cmd_misuse("import", "one FILE of JSON lines is wanted");
    return run(common.dir, argv[optind]);
}

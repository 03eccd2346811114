/* SPDX-License-Identifier: Apache-2.0 */
/* See ca_verbs.h. */
#include "birthmark/ca_verbs.h"

#include "base/clock.h"
#include "base/file.h"
#include "ca/sign.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a verb works on. */
struct job {
    struct ca_options *o;
    struct ca_folder *f;    /* NULL: it needs none */
    struct aws_client *aws; /* NULL: it asks no cloud */
};

/* What a verb reports: lines at once, or one object at the end. */
static void say(const struct ca_options *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(const struct ca_options *o, const char *fmt, ...)
{
    va_list ap;

    if (o->json)
        return;
    va_start(ap, fmt);
    (void)vfprintf(stdout, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stdout);
}

/* ---- what is shown of a certificate ---- */

static json_t *
describe(const struct job *job, unsigned generation)
{
    const struct pki_cert *c = generation == 0 ? ca_root(job->f) : ca_issuing(job->f, generation);
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
    (void)!ca_path(job->o->dir, generation, "pem", path, sizeof path, NULL);
    j = json_pack("{s:i,s:s,s:s,s:s,s:s,s:s}", "generation", (int)generation, "subject", subject,
        "certificateId", hex, "notBefore", from, "notAfter", to, "certificate", path);
    if (generation > 0)
        (void)json_object_set_new(
            j, "revoked", json_boolean(ca_revoked_ms(job->f, generation) != 0));
    return j;
}

static void
show(const struct ca_options *o, const json_t *j)
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
print_json(const struct ca_options *o, json_t *j)
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
say_cloud(const struct ca_options *o, const struct ca_cloud *c)
{
    if (!c->registered)
        say(o, "           cloud: not registered");
    else
        say(o, "           cloud: %s, just-in-time registration %s",
            c->active ? "ACTIVE" : "INACTIVE", c->joins ? "on" : "off");
}

/* ---- verbs ---- */

static enum bm_err
run_new(struct job *job, struct bm_msg *msg)
{
    const struct ca_options *o = job->o;
    enum bm_err err = ca_folder_make(o->dir, &o->plan, &job->o->access, msg);
    json_t *root;
    json_t *issuing;

    if (err == BM_OK)
        err = ca_folder_open(o->dir, &job->f, msg);
    if (err != BM_OK)
        return err;
    root = describe(job, 0);
    issuing = describe(job, 1);
    show(o, root);
    show(o, issuing);
    say(o, "keep root.key elsewhere, offline: it is needed for `rotate` and `revoke` only");
    print_json(o, json_pack("{s:o,s:o}", "root", root, "issuing", issuing));
    return BM_OK;
}

/* NULL: there is none, and the message says so. */
static const struct pki_cert *
issuing_of(const struct job *job, unsigned generation, struct bm_msg *msg)
{
    const struct pki_cert *ca = ca_issuing(job->f, generation);

    if (ca == NULL)
        (void)bm_fail(
            msg, BM_ERR_NOT_FOUND, "there is no generation %u in %s", generation, job->o->dir);
    return ca;
}

static enum bm_err
print_lines(const struct job *job, unsigned generation, struct bm_msg *msg)
{
    const struct ca_options *o = job->o;
    char cert[PATH_MAX];
    char key[PATH_MAX];
    enum bm_err err = ca_path(o->dir, generation, "pem", cert, sizeof cert, msg);

    if (err == BM_OK)
        err = ca_path(o->dir, generation, "key", key, sizeof key, msg);
    if (err == BM_OK)
        ca_cloud_print(
            stdout, job->aws, ca_issuing(job->f, generation), cert, key, o->access.passphrase_file);
    return err;
}

static enum bm_err
do_register(struct job *job, unsigned generation, struct bm_msg *msg)
{
    const struct ca_options *o = job->o;
    const struct pki_cert *ca = ca_issuing(job->f, generation);
    struct ca_key *key = NULL;
    struct ca_cloud there;
    char path[PATH_MAX];
    bool changed = false;
    enum bm_err err = ca_path(o->dir, generation, "key", path, sizeof path, msg);

    if (err == BM_OK)
        err = ca_key_open(path, &job->o->access, &key, msg);
    if (err == BM_OK)
        err = ca_cloud_ready(ca, ca_key_signer(key), clock_wall_ms(), msg);
    if (err == BM_OK)
        err = ca_cloud_register(job->aws, ca, ca_key_signer(key), &there, &changed, msg);
    if (err == BM_OK) {
        json_t *j = describe(job, generation);

        show(o, j);
        say_cloud(o, &there);
        say(o, "%s at %s", changed ? "registered" : "nothing to do: it is registered",
            aws_endpoint(job->aws, "iot"));
        (void)json_object_set_new(j, "cloud", cloud_json(&there));
        (void)json_object_set_new(j, "changed", json_boolean(changed));
        print_json(o, j);
    }
    ca_key_close(key);
    return err;
}

static enum bm_err
run_register(struct job *job, struct bm_msg *msg)
{
    unsigned generation = job->o->generation != 0 ? job->o->generation : ca_newest(job->f);

    if (issuing_of(job, generation, msg) == NULL)
        return BM_ERR_NOT_FOUND;
    if (ca_revoked_ms(job->f, generation) != 0)
        return bm_fail(msg, BM_ERR_DENIED,
            "generation %u is revoked; `birthmark ca rotate` makes the next one", generation);
    return job->o->print ? print_lines(job, generation, msg) : do_register(job, generation, msg);
}

static enum bm_err
run_status(struct job *job, struct bm_msg *msg)
{
    const struct ca_options *o = job->o;
    json_t *root = describe(job, 0);
    json_t *list = json_array();
    json_t *all = json_pack("{s:o,s:o}", "root", root, "issuing", list);
    enum bm_err err = BM_OK;

    show(o, root);
    for (unsigned g = 1; err == BM_OK && g <= ca_newest(job->f); g++) {
        json_t *j = describe(job, g);
        struct ca_cloud there;

        show(o, j);
        if (job->aws != NULL)
            err = ca_cloud_ask(job->aws, ca_issuing(job->f, g), &there, msg);
        if (err == BM_OK && job->aws != NULL) {
            say_cloud(o, &there);
            (void)json_object_set_new(j, "cloud", cloud_json(&there));
        }
        (void)json_array_append_new(list, j);
    }
    if (err == BM_OK)
        print_json(o, all);
    else
        json_decref(all);
    return err;
}

/* Is the newest generation one that the cloud does not know, below one that it does? Then the last
 * rotation was cut off before registering. *last: what it says of the newest. */
static enum bm_err
rotation_was_cut(const struct job *job, struct ca_cloud *last, bool *cut, struct bm_msg *msg)
{
    unsigned newest = ca_newest(job->f);
    struct ca_cloud before = { .registered = false };
    enum bm_err err = ca_cloud_ask(job->aws, ca_issuing(job->f, newest), last, msg);

    if (err == BM_OK && newest > 1)
        err = ca_cloud_ask(job->aws, ca_issuing(job->f, newest - 1), &before, msg);
    *cut = err == BM_OK && !last->registered && before.registered;
    return err;
}

static enum bm_err
run_rotate(struct job *job, struct bm_msg *msg)
{
    const struct ca_options *o = job->o;
    struct ca_cloud last = { .registered = false };
    bool cut = false;
    enum bm_err err = job->aws != NULL ? rotation_was_cut(job, &last, &cut, msg) : BM_OK;

    if (err == BM_OK && !cut)
        err = ca_folder_rotate(
            job->f, o->days_given ? o->plan.days : 0, o->plan.slot, &job->o->access, msg);
    if (err == BM_OK && !cut) {
        ca_folder_close(job->f);
        job->f = NULL;
        err = ca_folder_open(o->dir, &job->f, msg);
    }
    if (err == BM_OK && (cut || last.registered)) {
        err = do_register(job, ca_newest(job->f), msg);
    } else if (err == BM_OK) {
        json_t *j = describe(job, ca_newest(job->f));

        show(o, j);
        print_json(o, j);
    }
    if (err == BM_OK)
        say(o,
            "generation %u still lets its devices in; `birthmark ca revoke --generation %u` ends "
            "that",
            ca_newest(job->f) - 1, ca_newest(job->f) - 1);
    return err;
}

static enum bm_err
read_request(const struct ca_options *o, struct buf *text, struct bm_msg *msg)
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
run_sign(struct job *job, struct bm_msg *msg)
{
    const struct ca_options *o = job->o;
    struct ca_sign_options s = { .days = o->days_given ? o->plan.days : 0,
        .generation = o->generation,
        .renewals_only = o->renewals_only };
    struct buf request = { 0 };
    struct buf pem = { 0 };
    enum bm_err err = read_request(o, &request, msg);

    if (err == BM_OK && o->active_only)
        err = aws_open(&o->aws, &s.cloud, msg);
    if (err == BM_OK)
        err = ca_sign(job->f, o->dir, &job->o->access, &s, buf_span(&request), &pem, msg);
    if (err == BM_OK && o->json)
        print_json(o, json_pack("{s:s}", "certificatePem", buf_cstr(&pem)));
    else if (err == BM_OK)
        (void)fputs(buf_cstr(&pem), stdout);
    aws_close(s.cloud);
    buf_fini(&request);
    buf_fini(&pem);
    return err;
}

/* ---- revoking ---- */

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
agree(const struct ca_options *o, const char *what, struct bm_msg *msg)
{
    char answer[16];

    if (o->yes)
        return BM_OK;
    fprintf(stderr, "%s cannot be undone. Type yes to go on: ", what);
    if (isatty(STDIN_FILENO) && fgets(answer, sizeof answer, stdin) != NULL &&
        strcmp(answer, "yes\n") == 0)
        return BM_OK;
    return bm_fail(msg, BM_ERR_ARG, "not revoked: it was not agreed to (--yes)");
}

static enum bm_err
revoke_device(struct job *job, struct bm_msg *msg)
{
    const struct ca_options *o = job->o;
    char id[PKI_ID_TEXT];
    enum bm_err err = device_id(o->certificate, id, msg);

    if (err == BM_OK)
        err = agree(o, "Revoking a device's certificate", msg);
    if (err == BM_OK)
        err = ca_cloud_revoke_device(job->aws, id, msg);
    if (err == BM_OK) {
        say(o, "%s: REVOKED", id);
        print_json(o, json_pack("{s:s,s:s}", "certificateId", id, "status", "REVOKED"));
    }
    return err;
}

/* At the cloud first: that is what keeps devices out. */
static enum bm_err
revoke_generation(struct job *job, struct bm_msg *msg)
{
    const struct ca_options *o = job->o;
    const struct pki_cert *ca = issuing_of(job, o->generation, msg);
    struct ca_cloud there = { .registered = false };
    enum bm_err err = ca == NULL ? BM_ERR_NOT_FOUND : agree(o, "Revoking an issuing CA", msg);

    if (err == BM_OK && job->aws != NULL)
        err = ca_cloud_ask(job->aws, ca, &there, msg);
    if (err == BM_OK && there.registered)
        err = ca_cloud_set(job->aws, ca, false, false, msg);
    if (err == BM_OK)
        err = ca_folder_revoke(job->f, o->generation, &job->o->access, msg);
    if (err != BM_OK)
        return err;
    say(o, "generation %u is revoked: %s/crl.pem says so%s", o->generation, o->dir,
        there.registered ? ", and at the cloud it is INACTIVE, without just-in-time registration"
                         : "");
    say(o, "certificates that it issued and that the cloud knows stay as they are");
    print_json(o, json_pack("{s:i,s:b,s:b}", "generation", (int)o->generation, "revoked", 1,
                      "cloud", there.registered));
    return BM_OK;
}

/* ---- the table ---- */

enum cloud { ASKS_NOBODY, ASKS_UNLESS_OFFLINE, ASKS };

struct ca_verb {
    const char *name;
    bool folder; /* opened before it runs; so is the cloud's client */
    enum cloud cloud;
    enum bm_err (*run)(struct job *job, struct bm_msg *msg);
};

static const struct ca_verb verbs[] = {
    { "new", false, ASKS_NOBODY, run_new },
    { "register", true, ASKS, run_register },
    { "status", true, ASKS_UNLESS_OFFLINE, run_status },
    { "rotate", true, ASKS_UNLESS_OFFLINE, run_rotate },
    { "sign", true, ASKS_NOBODY, run_sign },
    { "revoke", true, ASKS_UNLESS_OFFLINE, revoke_generation },
};
static const struct ca_verb verb_revoke_device = { "revoke", false, ASKS, revoke_device };

const struct ca_verb *
ca_verb_find(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(name, verbs[i].name) == 0)
            return &verbs[i];
    }
    return NULL;
}

enum bm_err
ca_verb_run(const struct ca_verb *v, struct ca_options *o, struct bm_msg *msg)
{
    struct job job = { .o = o };
    enum bm_err err = BM_OK;

    if (v->run == revoke_generation && (o->certificate != NULL) == (o->generation != 0))
        return bm_fail(msg, BM_ERR_ARG, "give --generation N or --certificate FILE|ID");
    if (v->run == revoke_generation && o->certificate != NULL)
        v = &verb_revoke_device;
    if (v->folder)
        err = ca_folder_open(o->dir, &job.f, msg);
    if (err == BM_OK && (v->cloud == ASKS || (v->cloud == ASKS_UNLESS_OFFLINE && !o->offline)))
        err = aws_open(&o->aws, &job.aws, msg);
    if (err == BM_OK)
        err = v->run(&job, msg);
    aws_close(job.aws);
    ca_folder_close(job.f);
    return err;
}

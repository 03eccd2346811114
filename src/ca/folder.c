/* SPDX-License-Identifier: Apache-2.0 */
/* See folder.h. */
#include "ca/folder.h"

#include "base/clock.h"
#include "base/file.h"
#include "pki/subject.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CRL_DAYS = 365, DAY_MS = 86400000 };

struct ca_folder {
    char *dir;
    struct pki_cert *root;
    struct pki_cert *issuing[CA_GENERATIONS_MAX + 1]; /* from 1 */
    int64_t revoked[CA_GENERATIONS_MAX + 1];
    unsigned newest;
};

enum bm_err
ca_path(const char *dir, unsigned generation, const char *what, char *out, size_t cap,
    struct bm_msg *msg)
{
    int len = generation == 0 ? snprintf(out, cap, "%s/root.%s", dir, what)
                              : snprintf(out, cap, "%s/issuing-%u.%s", dir, generation, what);

    return len > 0 && (size_t)len < cap ? BM_OK
                                        : bm_fail(msg, BM_ERR_ARG, "path too long: %s", dir);
}

/* BM_ERR_NOT_FOUND: there is no such file. */
static enum bm_err
load_cert(const char *dir, unsigned generation, struct pki_cert **out, struct bm_msg *msg)
{
    char path[PATH_MAX];
    struct buf text = { 0 };
    struct bm_msg why = { "" };
    enum bm_err err = ca_path(dir, generation, "pem", path, sizeof path, msg);

    *out = NULL;
    if (err != BM_OK)
        return err;
    if (access(path, F_OK) != 0)
        return bm_fail(
            msg, BM_ERR_NOT_FOUND, "there is no %s; `birthmark ca new` makes a CA", path);
    err = file_read(path, PKI_PEM_MAX, &text, msg);
    if (err == BM_OK) {
        err = pki_cert_from_pem(buf_span(&text), out, &why);
        if (err != BM_OK)
            err = bm_fail(msg, err, "%s: %.400s", path, why.text);
    }
    buf_fini(&text);
    return err;
}

/* 0: no. A file without a number in it counts as revoked, too. */
static int64_t
load_revoked(const char *dir, unsigned generation)
{
    char path[PATH_MAX];
    struct buf text = { 0 };
    int64_t when = 0;

    if (ca_path(dir, generation, "revoked", path, sizeof path, NULL) == BM_OK &&
        access(path, F_OK) == 0) {
        when = 1;
        if (file_read(path, 4096, &text, NULL) == BM_OK && buf_cstr(&text) != NULL &&
            strtoll(buf_cstr(&text), NULL, 10) > 0)
            when = strtoll(buf_cstr(&text), NULL, 10);
    }
    buf_fini(&text);
    return when;
}

enum bm_err
ca_folder_open(const char *dir, struct ca_folder **out, struct bm_msg *msg)
{
    struct ca_folder *f = calloc(1, sizeof *f);
    enum bm_err err;

    *out = NULL;
    if (f == NULL || (f->dir = strdup(dir)) == NULL) {
        free(f);
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a CA");
    }
    err = load_cert(dir, 0, &f->root, msg);
    for (unsigned g = 1; err == BM_OK && g <= CA_GENERATIONS_MAX; g++) {
        err = load_cert(dir, g, &f->issuing[g], msg);
        if (err == BM_ERR_NOT_FOUND && g > 1) {
            err = BM_OK;
            break;
        }
        if (err == BM_OK) {
            f->newest = g;
            f->revoked[g] = load_revoked(dir, g);
        }
    }
    if (err != BM_OK) {
        ca_folder_close(f);
        return err;
    }
    *out = f;
    return BM_OK;
}

void
ca_folder_close(struct ca_folder *f)
{
    if (f == NULL)
        return;
    pki_cert_free(f->root);
    for (unsigned g = 1; g <= CA_GENERATIONS_MAX; g++)
        pki_cert_free(f->issuing[g]);
    free(f->dir);
    free(f);
}

unsigned
ca_newest(const struct ca_folder *f)
{
    return f->newest;
}

const struct pki_cert *
ca_root(const struct ca_folder *f)
{
    return f->root;
}

const struct pki_cert *
ca_issuing(const struct ca_folder *f, unsigned generation)
{
    return generation >= 1 && generation <= CA_GENERATIONS_MAX ? f->issuing[generation] : NULL;
}

int64_t
ca_revoked_ms(const struct ca_folder *f, unsigned generation)
{
    return generation >= 1 && generation <= CA_GENERATIONS_MAX ? f->revoked[generation] : 0;
}

/* ---- making ---- */

/* The key of a generation: the one that an interruption left, or a new one. */
static enum bm_err
key_for(const char *dir, unsigned generation, int slot, struct ca_access *a, struct ca_key **out,
    struct bm_msg *msg)
{
    char path[PATH_MAX];
    enum bm_err err = ca_path(dir, generation, "key", path, sizeof path, msg);

    if (err != BM_OK)
        return err;
    if (access(path, F_OK) == 0)
        return ca_key_open(path, a, out, msg);
    return slot >= 0 ? ca_key_create_in_chip(path, a, (unsigned)slot, out, msg)
                     : ca_key_create(path, a, out, msg);
}

static enum bm_err
save_cert(const char *dir, unsigned generation, const struct pki_cert *c, struct bm_msg *msg)
{
    char path[PATH_MAX];
    struct buf pem = { 0 };
    enum bm_err err = ca_path(dir, generation, "pem", path, sizeof path, msg);

    if (err == BM_OK)
        err = pki_cert_to_pem(c, &pem);
    if (err == BM_OK)
        err = file_create(path, buf_span(&pem), 0644, msg);
    buf_fini(&pem);
    return err;
}

/* Certificate and file of `key`, signed by the root (or itself: `root` NULL). */
static enum bm_err
certify(const char *dir, unsigned generation, const struct ca_key *key,
    const struct ca_key *root_key, const struct pki_cert *root, struct pki_profile *p,
    unsigned days, struct bm_msg *msg)
{
    struct pki_cert *c = NULL;
    int64_t now = clock_wall_ms();
    enum bm_err err;

    p->not_before_ms = pki_not_before(now, root);
    p->not_after_ms = pki_not_after(now, days, root);
    err =
        pki_issue(ca_key_signer(root_key), root, pki_signer_public(ca_key_signer(key)), p, &c, msg);
    if (err == BM_OK)
        err = save_cert(dir, generation, c, msg);
    pki_cert_free(c);
    return err;
}

static enum bm_err
make_root(const char *dir, const struct ca_plan *plan, struct ca_access *a, struct ca_key **key,
    struct pki_cert **root, struct bm_msg *msg)
{
    struct pki_profile p = { .kind = PKI_ROOT, .path_len = plan->path_len + 1 };
    X509_NAME *subject = NULL;
    enum bm_err err = load_cert(dir, 0, root, msg);

    if (err != BM_OK && err != BM_ERR_NOT_FOUND)
        return err;
    err = key_for(dir, 0, -1, a, key, msg);
    if (err != BM_OK || *root != NULL)
        return err;
    err = subject_parse(plan->root_subject, &subject, msg);
    p.subject = subject;
    if (err == BM_OK)
        err = certify(dir, 0, *key, *key, NULL, &p, plan->root_days, msg);
    X509_NAME_free(subject);
    return err == BM_OK ? load_cert(dir, 0, root, msg) : err;
}

static enum bm_err
make_first(const char *dir, const struct ca_plan *plan, struct ca_access *a,
    const struct ca_key *root_key, const struct pki_cert *root, struct bm_msg *msg)
{
    struct pki_profile p = { .kind = PKI_INTERMEDIATE, .path_len = plan->path_len };
    struct ca_key *key = NULL;
    X509_NAME *subject = NULL;
    enum bm_err err = subject_parse(plan->subject, &subject, msg);

    memcpy(p.permit, plan->permit, sizeof p.permit);
    p.subject = subject;
    if (err == BM_OK)
        err = key_for(dir, 1, plan->slot, a, &key, msg);
    if (err == BM_OK)
        err = certify(dir, 1, key, root_key, root, &p, plan->days, msg);
    ca_key_close(key);
    X509_NAME_free(subject);
    return err;
}

/* What can be wrong with a plan is found before the first key is made. */
static enum bm_err
check_plan(const struct ca_plan *plan, struct bm_msg *msg)
{
    X509_NAME *name = NULL;
    enum bm_err err = subject_parse(plan->root_subject, &name, msg);

    X509_NAME_free(name);
    name = NULL;
    if (err == BM_OK)
        err = subject_parse(plan->subject, &name, msg);
    X509_NAME_free(name);
    if (err == BM_OK && strcmp(plan->subject, plan->root_subject) == 0)
        err = bm_fail(msg, BM_ERR_INPUT,
            "root and issuing CA have the same subject; that makes chains that cannot be built");
    if (err == BM_OK)
        err = pki_permits_sound(plan->permit, msg);
    return err;
}

enum bm_err
ca_folder_make(const char *dir, const struct ca_plan *plan, struct ca_access *a, struct bm_msg *msg)
{
    struct pki_cert *first = NULL;
    struct pki_cert *root = NULL;
    struct ca_key *key = NULL;
    enum bm_err err = check_plan(plan, msg);

    if (err != BM_OK)
        return err;
    err = load_cert(dir, 1, &first, msg);
    pki_cert_free(first);
    if (err == BM_OK)
        return bm_fail(msg, BM_ERR_EXISTS,
            "%s holds a CA already, which is left as it is; `birthmark ca rotate` makes its next "
            "generation",
            dir);
    if (err != BM_ERR_NOT_FOUND)
        return err;
    err = dir_make(dir, 0700, msg);
    if (err == BM_OK)
        err = make_root(dir, plan, a, &key, &root, msg);
    if (err == BM_OK)
        err = make_first(dir, plan, a, key, root, msg);
    ca_key_close(key);
    pki_cert_free(root);
    return err;
}

static enum bm_err
open_root_key(
    const struct ca_folder *f, struct ca_access *a, struct ca_key **out, struct bm_msg *msg)
{
    char path[PATH_MAX];
    enum bm_err err = ca_path(f->dir, 0, "key", path, sizeof path, msg);

    *out = NULL;
    if (err == BM_OK && access(path, F_OK) != 0)
        return bm_fail(msg, BM_ERR_NOT_FOUND,
            "%s is not there: bring the root's key back for this, and take it away afterwards",
            path);
    if (err == BM_OK)
        err = ca_key_open(path, a, out, msg);
    if (err == BM_OK && !pki_cert_has_key(f->root, pki_signer_public(ca_key_signer(*out))))
        err = bm_fail(msg, BM_ERR_CONFLICT, "%s is not the key of root.pem", path);
    if (err != BM_OK) {
        ca_key_close(*out);
        *out = NULL;
    }
    return err;
}

enum bm_err
ca_folder_rotate(
    const struct ca_folder *f, unsigned days, int slot, struct ca_access *a, struct bm_msg *msg)
{
    const struct pki_cert *last = f->issuing[f->newest];
    struct pki_profile p = {
        .kind = PKI_INTERMEDIATE, .path_len = pki_cert_path_len(last), .permit_like = last
    };
    unsigned next = f->newest + 1;
    struct ca_key *root_key = NULL;
    struct ca_key *key = NULL;
    X509_NAME *subject = NULL;
    enum bm_err err;

    if (next > CA_GENERATIONS_MAX)
        return bm_fail(msg, BM_ERR_LIMIT, "%d generations are the most", CA_GENERATIONS_MAX);
    if (days == 0)
        days = (unsigned)((pki_cert_not_after_ms(last) - pki_cert_not_before_ms(last)) / DAY_MS);
    err = open_root_key(f, a, &root_key, msg);
    if (err == BM_OK)
        err = pki_subject_of_generation(f->issuing[1], next, &subject, msg);
    p.subject = subject;
    if (err == BM_OK)
        err = key_for(f->dir, next, slot, a, &key, msg);
    if (err == BM_OK)
        err = certify(f->dir, next, key, root_key, f->root, &p, days, msg);
    ca_key_close(key);
    ca_key_close(root_key);
    X509_NAME_free(subject);
    return err;
}

/* ---- revoking ---- */

static enum bm_err
note_revoked(const struct ca_folder *f, unsigned generation, struct bm_msg *msg)
{
    char path[PATH_MAX];
    char text[32];
    enum bm_err err = ca_path(f->dir, generation, "revoked", path, sizeof path, msg);

    (void)snprintf(text, sizeof text, "%lld\n", (long long)clock_wall_ms());
    if (err == BM_OK)
        err = file_create(path, span_str(text), 0644, msg);
    return err == BM_ERR_EXISTS ? BM_OK : err;
}

static enum bm_err
write_crl(const struct ca_folder *f, const struct ca_key *root_key, struct bm_msg *msg)
{
    struct pki_revoked revoked[CA_GENERATIONS_MAX];
    char path[PATH_MAX];
    struct buf pem = { 0 };
    size_t count = 0;
    int64_t now = clock_wall_ms();
    enum bm_err err;

    for (unsigned g = 1; g <= f->newest; g++) {
        int64_t when = load_revoked(f->dir, g);

        if (when != 0)
            revoked[count++] = (struct pki_revoked){ f->issuing[g], when };
    }
    err = pki_crl(ca_key_signer(root_key), f->root, revoked, count, (uint64_t)now / 1000, now,
        CRL_DAYS, &pem, msg);
    if (err == BM_OK && snprintf(path, sizeof path, "%s/crl.pem", f->dir) >= (int)sizeof path)
        err = bm_fail(msg, BM_ERR_ARG, "path too long: %s", f->dir);
    if (err == BM_OK)
        err = file_write(path, buf_span(&pem), 0644, msg);
    buf_fini(&pem);
    return err;
}

enum bm_err
ca_folder_revoke(
    const struct ca_folder *f, unsigned generation, struct ca_access *a, struct bm_msg *msg)
{
    struct ca_key *root_key = NULL;
    enum bm_err err;

    if (ca_issuing(f, generation) == NULL)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "there is no generation %u", generation);
    err = open_root_key(f, a, &root_key, msg);
    if (err == BM_OK)
        err = note_revoked(f, generation, msg);
    if (err == BM_OK)
        err = write_crl(f, root_key, msg);
    ca_key_close(root_key);
    return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See results.h. */
#include "factory/results.h"

#include "base/clock.h"
#include "base/file.h"
#include "factory/manifest.h"
#include "wire/refkey.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum bm_err
results_load_cert(const char *path, struct pki_cert **out, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct bm_msg why = { "" };
    enum bm_err err = file_read(path, PKI_PEM_MAX, &text, msg);

    if (err == BM_OK && (err = pki_cert_from_pem(buf_span(&text), out, &why)) != BM_OK)
        err = bm_fail(msg, err, "%s: %.400s", path, why.text);
    buf_fini(&text);
    return err;
}

enum bm_err
results_path(const char *folder, const char *name, char out[PATH_MAX], struct bm_msg *msg)
{
    return snprintf(out, PATH_MAX, "%s/%s", folder, name) < PATH_MAX
               ? BM_OK
               : bm_fail(msg, BM_ERR_ARG, "path too long: %s", folder);
}

static enum bm_err
take_lock(struct results *r, struct bm_msg *msg)
{
    char path[PATH_MAX];
    enum bm_err err = results_path(r->folder, "keys", path, msg);

    if (err == BM_OK)
        err = dir_make(path, 0700, msg);
    if (err == BM_OK)
        err = results_path(r->folder, "lock", path, msg);
    if (err != BM_OK)
        return err;
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->lock_fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return bm_fail(msg, BM_ERR_EXISTS, "another run works on %s", r->folder);
    return BM_OK;
}

static enum bm_err
certify_log(struct results *r, const struct job *job, const struct pki_cert *ca,
    const struct ca_key *ca_key, const char *path, struct bm_msg *msg)
{
    int64_t now = clock_wall_ms();
    struct pki_profile p = { .kind = PKI_LOG,
        .not_before_ms = pki_not_before(now, ca),
        .not_after_ms = pki_cert_not_after_ms(ca) };
    struct buf pem = { 0 };
    X509_NAME *name = NULL;
    char common_name[JOB_NAME_MAX + 24];
    enum bm_err err;

    if (ca_key == NULL)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "%s holds no results of a job", r->folder);
    (void)snprintf(common_name, sizeof common_name, "factory log %.40s", job->name);
    err = pki_subject_beside(ca, common_name, &name, msg);

    p.subject = name;
    if (err == BM_OK)
        err = pki_issue(ca_key_signer(ca_key), ca, pki_signer_public(ca_key_signer(r->log_key)), &p,
            &r->log, msg);
    if (err == BM_OK)
        err = pki_cert_to_pem(r->log, &pem);
    if (err == BM_OK)
        err = file_create(path, buf_span(&pem), 0644, msg);
    buf_fini(&pem);
    X509_NAME_free(name);
    return err;
}

static enum bm_err
open_log_key(struct results *r, const struct job *job, const struct pki_cert *ca,
    const struct ca_key *ca_key, struct bm_msg *msg)
{
    struct ca_access plain = { .passphrase_fd = CA_NO_FD, .no_passphrase = true };
    char key[PATH_MAX];
    char cert[PATH_MAX];
    enum bm_err err = results_path(r->folder, "log.key", key, msg);

    if (err == BM_OK)
        err = results_path(r->folder, "log.pem", cert, msg);
    if (err == BM_OK)
        err = access(key, F_OK) == 0 ? ca_key_open(key, &plain, &r->log_key, msg)
                                     : ca_key_create(key, &plain, &r->log_key, msg);
    if (err != BM_OK)
        return err;
    if (access(cert, F_OK) != 0)
        return certify_log(r, job, ca, ca_key, cert, msg);
    err = results_load_cert(cert, &r->log, msg);
    if (err == BM_OK)
        err = pki_cert_signed_by(r->log, ca, msg);
    if (err == BM_OK && !pki_cert_has_key(r->log, pki_signer_public(ca_key_signer(r->log_key))))
        err = bm_fail(msg, BM_ERR_CONFLICT, "%s is not the key of %s", key, cert);
    return err;
}

enum bm_err
results_open(struct results *r, const struct job *job, const struct pki_cert *ca,
    const struct ca_key *ca_key, struct bm_msg *msg)
{
    char path[PATH_MAX];
    enum bm_err err = BM_OK;

    if (ca_key == NULL &&
        (results_path(r->folder, "journal", path, msg) != BM_OK || access(path, F_OK) != 0))
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "%s holds no results of a job", r->folder);
    if (err == BM_OK)
        err = take_lock(r, msg);
    if (err == BM_OK)
        err = open_log_key(r, job, ca, ca_key, msg);
    if (err == BM_OK)
        err = chips_new(job->count, &r->chips, msg);
    if (err == BM_OK)
        err = results_path(r->folder, "journal", path, msg);
    if (err == BM_OK)
        err = journal_open(
            path, ca_key_signer(r->log_key), r->log, chips_replay, r->chips, &r->journal, msg);
    if (err == BM_OK && chips_job(r->chips)[0] != '\0' &&
        strcmp(chips_job(r->chips), job->name) != 0)
        err = bm_fail(msg, BM_ERR_INPUT,
            "%s holds the results of the job %s, not of %s; give each job a folder of its own",
            r->folder, chips_job(r->chips), job->name);
    return err;
}

void
results_fini(struct results *r)
{
    journal_close(r->journal);
    chips_free(r->chips);
    ca_key_close(r->log_key);
    pki_cert_free(r->log);
    if (r->lock_fd >= 0)
        (void)close(r->lock_fd);
}

/* ---- the files ---- */

/* A leaf that must be revoked: its chip is lost. */
static void
add_scrapped(const struct chip *c, struct buf *out)
{
    char id[65];
    json_t *o;
    char *text;

    chip_certificate_id(c, id);
    o = json_pack("{s:s,s:s,s:s,s:s}", "uniqueId", c->uid, "serial", c->serial, "certificateId", id,
        "reason", c->reason != NULL ? c->reason : "");
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (text == NULL)
        out->failed = true;
    else
        buf_addf(out, "%s\n", text);
    free(text);
}

/* A reference key for OpenSSL, SPEC a71ch 9.1. */
static enum bm_err
reference_pem(const struct chip *c, unsigned slot, struct buf *out, struct bm_msg *msg)
{
    struct refkey ref = {
        .class_id = REFKEY_CLASS_PAIR, .index = (uint8_t)slot, .has_point = true
    };
    uint8_t der[REFKEY_DER_MAX];
    struct wr w = wr_of(der, sizeof der);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum bm_err err;

    memcpy(ref.point, c->point, sizeof ref.point);
    err = refkey_build_sec1(&w, &ref);
    if (err == BM_OK && (bio == NULL || PEM_write_bio(bio, PEM_STRING_ECPRIVATEKEY, "", der,
                                            (long)wr_len(&w)) <= 0))
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for a reference");
    if (err == BM_OK) {
        long len = BIO_get_mem_data(bio, &text);

        buf_add(out, text, (size_t)len);
    }
    BIO_free(bio);
    return err == BM_OK && out->failed ? bm_fail(msg, BM_ERR_MEM, "out of memory for a reference")
                                       : err;
}

/* Whole or as before, but durable only with the folder: thousands of them are synced at once. */
static enum bm_err
put_file(const char *folder, const char *name, struct span text, struct bm_msg *msg)
{
    char path[PATH_MAX];
    char part[PATH_MAX + 8];
    struct buf there = { 0 };
    bool same = false;
    int fd = -1;
    enum bm_err err = results_path(folder, name, path, msg);

    if (err == BM_OK && access(path, F_OK) == 0)
        same =
            file_read(path, PKI_PEM_MAX, &there, NULL) == BM_OK && span_eq(buf_span(&there), text);
    buf_fini(&there);
    if (err != BM_OK || same)
        return err;
    (void)snprintf(part, sizeof part, "%s.part", path);
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fd_write_all(fd, text) != BM_OK || rename(part, path) != 0)
        err = bm_fail(msg, BM_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return err;
}

static enum bm_err
write_references(const struct results *r, const struct job *job, const struct chip *const *list,
    size_t count, struct bm_msg *msg)
{
    char path[PATH_MAX];
    int fd;
    enum bm_err err = results_path(r->folder, "keys", path, msg);

    for (size_t i = 0; err == BM_OK && i < count; i++) {
        char name[UID_TEXT + 24];
        struct buf pem = { 0 };

        (void)snprintf(name, sizeof name, "keys/%s.ref.pem", list[i]->uid);
        err = reference_pem(list[i], job->slot, &pem, msg);
        if (err == BM_OK)
            err = put_file(r->folder, name, buf_span(&pem), msg);
        buf_fini(&pem);
    }
    fd = err == BM_OK ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (err == BM_OK && (fd < 0 || syncfs(fd) != 0))
        err = bm_fail(msg, BM_ERR_IO, "cannot sync %s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return err;
}

enum bm_err
results_scrapped(const struct chips *chips, struct buf *out, struct bm_msg *msg)
{
    const struct chip **list = NULL;
    size_t n = 0;
    enum bm_err err = chips_list(chips, true, &list, &n, msg);

    for (size_t i = 0; err == BM_OK && i < n; i++)
        add_scrapped(list[i], out);
    free(list);
    return err == BM_OK && out->failed ? bm_fail(msg, BM_ERR_MEM, "out of memory for a list") : err;
}

enum bm_err
results_write(
    const struct results *r, const struct job *job, const struct pki_cert *ca, struct bm_msg *msg)
{
    struct buf manifest = { 0 };
    struct buf bulk = { 0 };
    struct buf scrapped = { 0 };
    char path[PATH_MAX];
    const struct chip **list = NULL;
    size_t n = 0;
    enum bm_err err = chips_list(r->chips, false, &list, &n, msg);

    for (size_t i = 0; err == BM_OK && i < n; i++) {
        const struct chip *c = list[i];

        err = manifest_line(job, c, ca, ca_key_signer(r->log_key), r->log, &manifest, msg);
        if (err == BM_OK)
            err = bulk_line(c, ca, &bulk, msg);
    }
    if (err == BM_OK)
        err = results_scrapped(r->chips, &scrapped, msg);
    if (err == BM_OK && (manifest.failed || bulk.failed))
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for the manifest");
    if (err == BM_OK)
        err = results_path(r->folder, "manifest.jsonl", path, msg);
    if (err == BM_OK)
        err = file_write(path, buf_span(&manifest), 0644, msg);
    if (err == BM_OK)
        err = results_path(r->folder, "bulk.jsonl", path, msg);
    if (err == BM_OK)
        err = file_write(path, buf_span(&bulk), 0644, msg);
    if (err == BM_OK)
        err = results_path(r->folder, "scrapped.jsonl", path, msg);
    if (err == BM_OK)
        err = file_write(path, buf_span(&scrapped), 0644, msg);
    if (err == BM_OK)
        err = write_references(r, job, list, n, msg);
    free(list);
    buf_fini(&scrapped);
    buf_fini(&manifest);
    buf_fini(&bulk);
    return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See factory.h. */
#include "factory/factory.h"

#include "base/clock.h"
#include "base/file.h"
#include "factory/manifest.h"
#include "factory/results.h"
#include "pki/subject.h"
#include "scp03/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PARALLEL = 32, TRIES = 6, RETRY_MS = 100, PROGRESS_MS = 500, JOURNAL_MAX = 1 << 30 };

struct run {
    const struct factory_options *o;
    struct job job;
    struct line line;
    char **addresses;
    size_t address_count;
    struct ca_key *ca_key;
    struct pki_cert *ca;
    struct results results;
    pthread_mutex_t lock;
    size_t next; /* address */
    bool broken; /* the disk: nobody begins anything */
    struct factory_report report;
};

/* ---- reading what the job names ---- */

static enum bm_err
load_job(struct run *r, struct bm_msg *msg)
{
    char folder[PATH_MAX];
    struct buf text = { 0 };
    char *slash;
    enum bm_err err = file_read(r->o->job_path, JOB_FILE_MAX, &text, msg);

    if (snprintf(folder, sizeof folder, "%s", r->o->job_path) >= (int)sizeof folder)
        err = bm_fail(msg, BM_ERR_ARG, "path too long");
    slash = strrchr(folder, '/');
    if (slash == NULL)
        (void)snprintf(folder, sizeof folder, ".");
    else
        *slash = '\0';
    if (err == BM_OK)
        err = job_parse(buf_span(&text), folder, &r->job, msg);
    buf_fini(&text);
    return err == BM_OK ? job_addresses(&r->job, &r->addresses, &r->address_count, msg) : err;
}

/* A leaf issued to nobody, with the job's own CA, subject and days: what cannot be issued is known
 * before the first chip. */
static enum bm_err
try_issue(struct run *r, struct bm_msg *msg)
{
    int64_t now = clock_wall_ms();
    struct pki_profile p = { .kind = PKI_DEVICE,
        .not_before_ms = pki_not_before(now, r->ca),
        .not_after_ms = pki_not_after(now, r->job.days, NULL) };
    char subject[512];
    X509_NAME *name = NULL;
    struct pki_signer *key = NULL;
    struct pki_cert *leaf = NULL;
    struct bm_msg why = { "" };
    enum bm_err err = job_subject(&r->job, "479051684791121023410053669647514812",
        "51682341005366964751", 1, subject, sizeof subject, msg);

    if (err == BM_OK)
        err = subject_parse(subject, &name, msg);
    p.subject = name;
    if (err == BM_OK)
        err = pki_signer_new(&key, msg);
    if (err == BM_OK && (err = pki_issue(ca_key_signer(r->ca_key), r->ca, pki_signer_public(key),
                             &p, &leaf, &why)) != BM_OK)
        err = bm_fail(msg, err, "job: a leaf of this job cannot be issued: %.400s", why.text);
    pki_cert_free(leaf);
    pki_signer_free(key);
    X509_NAME_free(name);
    return err;
}

static enum bm_err
load_ca(struct run *r, struct bm_msg *msg)
{
    enum bm_err err = results_load_cert(r->job.ca_cert, &r->ca, msg);

    if (err == BM_OK)
        err = ca_key_open(r->job.ca_key, r->o->access, &r->ca_key, msg);
    if (err == BM_OK && !pki_cert_has_key(r->ca, pki_signer_public(ca_key_signer(r->ca_key))))
        err =
            bm_fail(msg, BM_ERR_CONFLICT, "%s is not the key of %s", r->job.ca_key, r->job.ca_cert);
    if (err == BM_OK)
        err = pki_cert_valid_at(r->ca, clock_wall_ms(), msg);
    if (err == BM_OK && r->job.issuer_index >= 0 && pki_cert_der(r->ca).len + 1024 > 4000)
        err = bm_fail(msg, BM_ERR_LIMIT,
            "the issuer's certificate of %zu bytes leaves no room for a leaf in a chip's storage",
            pki_cert_der(r->ca).len);
    return err == BM_OK ? try_issue(r, msg) : err;
}

static enum bm_err
load_scp(struct run *r, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct scp03_keys keys;
    enum bm_err err;

    if (!r->job.has_scp)
        return BM_OK;
    err = file_read(r->job.scp_file, SCP03_KEYFILE_MAX, &text, msg);
    if (err == BM_OK)
        err = scp03_keyfile_parse(buf_span(&text), &keys, msg);
    if (err == BM_OK) {
        memcpy(r->line.scp.enc, keys.enc, A71CH_SCP_KEY_LEN);
        memcpy(r->line.scp.mac, keys.mac, A71CH_SCP_KEY_LEN);
        memcpy(r->line.scp.dek, keys.dek, A71CH_SCP_KEY_LEN);
    }
    bm_wipe(&keys, sizeof keys);
    if (text.ptr != NULL)
        bm_wipe(text.ptr, text.len);
    buf_fini(&text);
    return err;
}

static enum bm_err
prepare(struct run *r, const struct factory_options *o, struct bm_msg *msg)
{
    enum bm_err err;

    *r = (struct run){ .o = o, .results = { .folder = o->folder, .lock_fd = -1 } };
    (void)pthread_mutex_init(&r->lock, NULL);
    err = load_job(r, msg);
    if (err == BM_OK)
        err = load_scp(r, msg);
    return err == BM_OK ? load_ca(r, msg) : err;
}

static void
run_fini(struct run *r)
{
    results_fini(&r->results);
    ca_key_close(r->ca_key);
    pki_cert_free(r->ca);
    job_addresses_free(r->addresses);
    job_fini(&r->job);
    bm_wipe(&r->line.scp, sizeof r->line.scp);
    (void)pthread_mutex_destroy(&r->lock);
}

enum bm_err
factory_plan(
    const struct factory_options *o, struct buf *plan, struct buf *irreversible, struct bm_msg *msg)
{
    struct run r;
    enum bm_err err = prepare(&r, o, msg);
    char ca[200];

    if (err == BM_OK) {
        pki_cert_subject_text(r.ca, ca, sizeof ca);
        job_irreversible(&r.job, irreversible);
        buf_addf(plan,
            "job %s: %u chips at %zu sockets%s\n"
            "key pair %u, %s\n"
            "leaf for %s, %u days, issued by %s\n"
            "stored as certificate %d%s, read back, proved by a signed challenge\n",
            r.job.name, r.job.count, r.address_count,
            r.job.count > r.address_count ? ": put the next ones in after a run, and run it again"
                                          : "",
            r.job.slot, r.job.inject ? "made here, injected wrapped" : "made in the chip",
            r.job.subject, r.job.days, ca, r.job.leaf_index,
            r.job.issuer_index >= 0 ? ", its issuer beside it" : "");
    }
    run_fini(&r);
    return err;
}

static enum bm_err
open_results(struct run *r, struct bm_msg *msg)
{
    enum bm_err err = results_open(&r->results, &r->job, r->ca, r->ca_key, msg);

    if (err == BM_OK)
        err = journal_add(r->results.journal, "run", "",
            json_pack("{s:s,s:i}", "job", r->job.name, "count", (int)r->job.count), msg);
    r->line.job = &r->job;
    r->line.chips = r->results.chips;
    r->line.journal = r->results.journal;
    r->line.ca_key = ca_key_signer(r->ca_key);
    r->line.ca = r->ca;
    return err;
}

/* ---- threads ---- */

static void
pause_ms(int ms)
{
    (void)nanosleep(
        &(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L }, NULL);
}

static bool
take_address(struct run *r, const char **out)
{
    bool have;

    (void)pthread_mutex_lock(&r->lock);
    have = !r->broken && r->next < r->address_count && (r->o->stop == NULL || !r->o->stop()) &&
           chips_done(r->results.chips) < r->job.count;
    if (have)
        *out = r->addresses[r->next++];
    (void)pthread_mutex_unlock(&r->lock);
    return have;
}

static void
count(struct run *r, enum bm_err err, const char *address, const struct line_times *t,
    const struct bm_msg *msg)
{
    (void)pthread_mutex_lock(&r->lock);
    for (int i = 0; i < TIME_PARTS; i++)
        r->report.times.us[i] += t->us[i];
    r->report.now += err == BM_OK;
    r->report.already += err == BM_ERR_EXISTS;
    r->broken = r->broken || err == BM_ERR_IO;
    if (err != BM_OK && err != BM_ERR_EXISTS && err != BM_ERR_LIMIT) {
        r->report.refused++;
        if (r->report.first.text[0] == '\0')
            (void)bm_fail(&r->report.first, err, "%.80s: %.400s", address, msg->text);
    }
    (void)pthread_mutex_unlock(&r->lock);
}

static void *
worker(void *arg)
{
    struct run *r = arg;
    const char *address;

    while (take_address(r, &address)) {
        struct line_times t = { { 0 } };
        struct bm_msg msg = { "" };
        enum bm_err err = BM_ERR_CLOSED;

        for (int i = 0; i < TRIES && err == BM_ERR_CLOSED; i++) {
            if (i > 0)
                pause_ms(RETRY_MS << i);
            err = line_chip(&r->line, address, &t, &msg);
        }
        count(r, err, address, &t, &msg);
    }
    return NULL;
}

static void
show_progress(struct run *r, int64_t start_us, unsigned before)
{
    unsigned done = chips_done(r->results.chips);
    double s = (double)(clock_mono_us() - start_us) / 1e6;
    double rate = s > 0 ? (done - before) / s : 0;
    unsigned left = r->job.count > done ? r->job.count - done : 0;

    fprintf(stderr, "\r[%-30.*s] %u/%u  %.1f chips/s  %.0f s left   ",
        (int)(30ul * done / r->job.count), "##############################", done, r->job.count,
        rate, rate > 0 ? left / rate : 0.0);
    (void)fflush(stderr);
}

static enum bm_err
run_threads(struct run *r, struct bm_msg *msg)
{
    size_t n = r->o->parallel != 0 ? r->o->parallel : PARALLEL;
    pthread_t *threads;
    int64_t start = clock_mono_us();
    unsigned before = chips_done(r->results.chips);
    size_t started = 0;

    if (n > r->address_count)
        n = r->address_count;
    threads = calloc(n, sizeof *threads);
    while (
        threads != NULL && started < n && pthread_create(&threads[started], NULL, worker, r) == 0)
        started++;
    for (size_t i = 0; i < started; i++) {
        struct timespec until;

        for (;;) {
            (void)clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += PROGRESS_MS * 1000000L;
            until.tv_sec += until.tv_nsec / 1000000000L;
            until.tv_nsec %= 1000000000L;
            if (pthread_timedjoin_np(threads[i], NULL, &until) != ETIMEDOUT)
                break;
            if (r->o->progress)
                show_progress(r, start, before);
        }
    }
    if (r->o->progress) {
        show_progress(r, start, before);
        fputc('\n', stderr);
    }
    free(threads);
    r->report.seconds = (double)(clock_mono_us() - start) / 1e6;
    return started > 0 ? BM_OK : bm_fail(msg, BM_ERR_MEM, "no thread could be started");
}

/* ---- results ---- */

json_t *
factory_report_json(const struct factory_report *p)
{
    static const char *const names[] = { "connect", "key", "issue", "store", "finish" };
    unsigned tried = p->now + p->refused;
    json_t *times = json_object();
    json_t *o = json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:f,s:f,s:f}", "wanted", (int)p->wanted,
        "done", (int)p->done, "doneNow", (int)p->now, "doneBefore", (int)p->already, "failed",
        (int)p->refused, "unfinished", (int)p->open, "seconds", p->seconds, "chipsPerSecond",
        p->seconds > 0 ? p->now / p->seconds : 0.0, "taktSeconds",
        p->now > 0 ? p->seconds / p->now : 0.0, "yield", tried > 0 ? (double)p->now / tried : 1.0);

    for (int i = 0; i < TIME_PARTS; i++)
        (void)json_object_set_new(times, names[i],
            json_real(p->now > 0 ? (double)p->times.us[i] / 1000.0 / p->now : 0.0));
    (void)json_object_set_new(o, "msPerChip", times);
    (void)json_object_set_new(o, "journalGroups", json_integer((json_int_t)p->groups));
    (void)json_object_set_new(o, "journalSyncMs", json_real((double)p->sync_us / 1000.0));
    if (p->first.text[0] != '\0')
        (void)json_object_set_new(o, "firstFailure", json_string(p->first.text));
    return o;
}

static enum bm_err
write_report(struct run *r, struct bm_msg *msg)
{
    char path[PATH_MAX];
    json_t *o = factory_report_json(&r->report);
    bool idle = r->report.now == 0 && r->report.refused == 0;
    char *text = json_dumps(o, JSON_INDENT(2));
    enum bm_err err = results_path(r->o->folder, "report.json", path, msg);

    if (err == BM_OK && text == NULL)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for the report");
    /* a run that found nothing to do says nothing of the line */
    if (err == BM_OK && (!idle || access(path, F_OK) != 0))
        err = file_write(path, span_str(text), 0644, msg);
    free(text);
    json_decref(o);
    return err;
}

/* What an engineer has to do about it. */
static enum bm_err
unfinished(struct run *r, struct bm_msg *msg)
{
    const struct factory_report *p = &r->report;
    const struct chip *c = chips_stuck(r->results.chips);
    char held[200] = "";

    if (c != NULL)
        (void)snprintf(held, sizeof held,
            "; chip %s has a leaf and keeps its place: if it is lost, `birthmark factory scrap JOB "
            "%s --out DIR`",
            c->uid, c->uid);
    return bm_fail(msg, BM_ERR_CONFLICT,
        "%u of %u chips are done; run the job again to go on%s%s%.300s", p->done, p->wanted, held,
        p->first.text[0] != '\0' ? "; first failure: " : "", p->first.text);
}

enum bm_err
factory_run(const struct factory_options *o, struct factory_report *report, struct bm_msg *msg)
{
    struct run r;
    enum bm_err err = prepare(&r, o, msg);

    if (err == BM_OK)
        err = open_results(&r, msg);
    if (err == BM_OK)
        err = run_threads(&r, msg);
    if (err == BM_OK && r.broken)
        err = bm_fail(msg, BM_ERR_IO, "%s", r.report.first.text);
    if (err == BM_OK)
        err = journal_flush(r.results.journal, msg);
    if (err == BM_OK) {
        r.report.wanted = r.job.count;
        r.report.done = chips_done(r.results.chips);
        r.report.open = chips_begun(r.results.chips);
        journal_costs(r.results.journal, &r.report.groups, &r.report.sync_us);
        err = results_write(&r.results, &r.job, r.ca, msg);
        if (err == BM_OK)
            err = write_report(&r, msg);
        if (err == BM_OK && r.report.done < r.report.wanted)
            err = unfinished(&r, msg);
    }
    *report = r.report;
    run_fini(&r);
    return err;
}

/* ---- writing off ---- */

enum bm_err
factory_scrap(const struct factory_options *o, const char *uid, const char *reason,
    struct factory_scrapped *out, struct bm_msg *msg)
{
    struct run r = { .o = o, .results = { .folder = o->folder, .lock_fd = -1 } };
    const struct chip *c = NULL;
    enum bm_err err = load_job(&r, msg);

    if (err == BM_OK)
        err = results_load_cert(r.job.ca_cert, &r.ca, msg);
    if (err == BM_OK)
        err = results_open(&r.results, &r.job, r.ca, NULL, msg);
    if (err == BM_OK)
        err = chips_may_scrap(r.results.chips, uid, &c, msg);
    if (err == BM_OK && out->agree != NULL && !out->agree(out->arg, c))
        err = bm_fail(msg, BM_ERR_ARG, "not written off: it was not agreed to (--yes)");
    if (err == BM_OK)
        err = journal_add(r.results.journal, "scrap", uid,
            json_pack("{s:s,s:s}", "reason", reason, "serial", c->serial), msg);
    if (err == BM_OK) {
        chips_scrap(r.results.chips, uid, reason);
        chip_certificate_id(c, out->certificate_id);
        err = results_write(&r.results, &r.job, r.ca, msg);
    }
    (void)pthread_mutex_init(&r.lock, NULL);
    run_fini(&r);
    return err;
}

/* ---- verifying ---- */

static enum bm_err
read_in(const char *folder, const char *name, size_t max, struct buf *out, struct bm_msg *msg)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", folder);
    return file_read(path, max, out, msg);
}

/* Older results have no such file, and no chip that was written off. */
static enum bm_err
check_scrapped(const char *folder, const struct chips *chips, struct bm_msg *msg)
{
    struct buf wanted = { 0 };
    struct buf there = { 0 };
    char path[PATH_MAX];
    enum bm_err err = results_scrapped(chips, &wanted, msg);

    if (err == BM_OK)
        err = results_path(folder, "scrapped.jsonl", path, msg);
    if (err == BM_OK && (wanted.len > 0 || access(path, F_OK) == 0))
        err = file_read(path, JOURNAL_MAX, &there, msg);
    if (err == BM_OK && !span_eq(buf_span(&wanted), buf_span(&there)))
        err = bm_fail(msg, BM_ERR_INPUT,
            "scrapped.jsonl is not what the journal says of chips that were written off");
    buf_fini(&wanted);
    buf_fini(&there);
    return err;
}

enum bm_err
factory_verify(
    const char *folder, const char *ca_path, unsigned *done, uint64_t *records, struct bm_msg *msg)
{
    char path[PATH_MAX];
    struct pki_cert *ca = NULL;
    struct pki_cert *log = NULL;
    struct chips *chips = NULL;
    struct journal_end end = { 0 };
    struct buf journal = { 0 };
    struct buf manifest = { 0 };
    enum bm_err err = results_load_cert(ca_path, &ca, msg);

    (void)snprintf(path, sizeof path, "%s/log.pem", folder);
    if (err == BM_OK)
        err = results_load_cert(path, &log, msg);
    if (err == BM_OK)
        err = pki_cert_signed_by(log, ca, msg);
    if (err == BM_OK)
        err = chips_new(JOB_CHIPS_MAX, &chips, msg);
    if (err == BM_OK)
        err = read_in(folder, "journal", JOURNAL_MAX, &journal, msg);
    if (err == BM_OK)
        err = journal_read(buf_span(&journal), log, chips_replay, chips, &end, msg);
    if (err == BM_OK && end.good_bytes != journal.len)
        err = bm_fail(msg, BM_ERR_INPUT,
            "journal: behind record %llu, the last one with a seal, %zu bytes follow: a run was "
            "cut "
            "off, or they were added; the next run removes them",
            (unsigned long long)end.sealed, journal.len - end.good_bytes);
    if (err == BM_OK)
        err = read_in(folder, "manifest.jsonl", JOURNAL_MAX, &manifest, msg);
    if (err == BM_OK)
        err = manifest_check(buf_span(&manifest), log, chips, msg);
    if (err == BM_OK)
        err = check_scrapped(folder, chips, msg);
    if (err == BM_OK) {
        *done = chips_done(chips);
        *records = end.records;
    }
    buf_fini(&journal);
    buf_fini(&manifest);
    chips_free(chips);
    pki_cert_free(log);
    pki_cert_free(ca);
    return err;
}

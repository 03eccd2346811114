/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See admit.h. The order of the checks is the order of what a person would ask: is it known, who
 * signed it, is that CA open for newcomers, is the leaf itself acceptable. The first answer that
 * refuses is the cause in the timeline.
 */
#include "endpoint/admit.h"

#include "base/clock.h"
#include "endpoint/throttle.h"
#include "pki/pki.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SAME_SUBJECT_MAX = 10, NAME_MAX_TEXT = 160 };

struct admission {
    struct registry *r;
    const char *account;
    char client_id[TIMELINE_CLIENT_MAX + 1];
    char peer[TIMELINE_PEER_MAX + 1];
    struct pki_cert *leaf;
    uint8_t id[REGISTRY_ID_LEN];
    const struct admit_request *rq;
    enum sni sni;
    int64_t now_ms;
    enum cause cause;
};

static void
copy_text(char *out, size_t cap, struct span s)
{
    size_t len = s.len < cap ? s.len : cap - 1;

    if (len > 0) {
        memcpy(out, s.ptr, len);
    }
    out[len] = '\0';
}

/* Note the cause, with its record. `facts` is cut to what a record holds. */
static enum bm_err
conclude(struct admission *a, enum cause cause, const char *status, const char *facts,
    struct bm_msg *msg)
{
    struct timeline_record rec;

    a->cause = cause;
    timeline_fill(
        &rec, cause, a->leaf != NULL ? a->id : NULL, a->client_id, a->peer, status, "%s", facts);
    return registry_record(a->r, &rec, msg);
}

/*
 * The event of SPEC aws-iot 4.2. `registered_ms` is 0 for the first one, which carries null there;
 * later ones carry the time of registration as a string.
 */
static enum bm_err
publish_event(struct admission *a, const uint8_t ca_id[REGISTRY_ID_LEN], int64_t registered_ms,
    struct bm_msg *msg)
{
    char cert[2 * REGISTRY_ID_LEN + 1];
    char ca[2 * REGISTRY_ID_LEN + 1];
    char registered[32] = "null";
    char topic[sizeof "$aws/events/certificates/registered/" + 2 * REGISTRY_ID_LEN];
    struct buf json = { 0 };
    enum bm_err err;

    hex_encode(cert, a->id, REGISTRY_ID_LEN);
    hex_encode(ca, ca_id, REGISTRY_ID_LEN);
    if (registered_ms != 0) {
        (void)snprintf(registered, sizeof registered, "\"%" PRId64 "\"", registered_ms);
    }
    (void)snprintf(topic, sizeof topic, "$aws/events/certificates/registered/%s", ca);
    buf_addf(&json,
        "{\"certificateRegistrationTimestamp\":%s,\"certificateId\":\"%s\","
        "\"caCertificateId\":\"%s\",\"timestamp\":%" PRId64 ","
        "\"certificateStatus\":\"PENDING_ACTIVATION\",\"awsAccountId\":\"%s\"}",
        registered, cert, ca, a->now_ms, a->account);
    err = json.failed ? bm_fail(msg, BM_ERR_MEM, "no memory for an event")
                      : registry_event_add(a->r, topic, buf_span(&json), a->id, msg);
    buf_fini(&json);
    return err;
}

/* Expired or not yet valid; CAUSE_NONE when the dates are fine. */
static enum cause
check_dates(const struct admission *a)
{
    int dates = pki_cert_dates(a->leaf, a->now_ms);

    return dates > 0 ? CAUSE_LEAF_EXPIRED : dates < 0 ? CAUSE_LEAF_NOT_YET_VALID : CAUSE_NONE;
}

static enum bm_err
refuse_dates(struct admission *a, enum cause cause, const char *status, struct bm_msg *msg)
{
    char from[CLOCK_TEXT_LEN];
    char to[CLOCK_TEXT_LEN];
    char facts[TIMELINE_FACTS_MAX + 1];

    clock_text(from, pki_cert_not_before_ms(a->leaf));
    clock_text(to, pki_cert_not_after_ms(a->leaf));
    (void)snprintf(facts, sizeof facts, "notBefore=%s notAfter=%s", from, to);
    return conclude(a, cause, status, facts, msg);
}

/* A certificate that came again before somebody activated it: tell them again. SPEC aws-iot 4.1 */
static enum bm_err
admit_pending(struct admission *a, const struct registry_cert *c, struct bm_msg *msg)
{
    enum bm_err err;

    if (!c->has_ca) {
        return conclude(a, CAUSE_PENDING, cert_status_name(c->status), "event=none", msg);
    }
    err = publish_event(a, c->ca_id, c->created_ms, msg);
    return err != BM_OK
               ? err
               : conclude(a, CAUSE_PENDING, cert_status_name(c->status), "event=again", msg);
}

static enum bm_err
admit_known(struct admission *a, const struct registry_cert *c, struct bm_msg *msg)
{
    const char *status = cert_status_name(c->status);
    enum cause dates = check_dates(a);

    if (c->mode == MODE_SNI_ONLY && a->sni == SNI_NONE) {
        return conclude(a, CAUSE_SNI_REQUIRED, status, "mode=SNI_ONLY", msg);
    }
    switch (c->status) {
    case CERT_ACTIVE:
        if (dates != CAUSE_NONE) {
            return refuse_dates(a, dates, status, msg); /* SPEC aws-iot 3.4, last row */
        }
        a->cause = CAUSE_ADMITTED;
        return BM_OK;
    case CERT_PENDING_ACTIVATION:
        return admit_pending(a, c, msg);
    case CERT_REVOKED:
        return conclude(a, CAUSE_REVOKED, status, "", msg);
    case CERT_INACTIVE:
    case CERT_PENDING_TRANSFER:
    case CERT_REGISTER_INACTIVE:
        return conclude(a, CAUSE_INACTIVE, status, "", msg);
    }
    return bm_fail(msg, BM_ERR_INTERNAL, "certificate status %d in the registry", (int)c->status);
}

/* What the CAs that carry the issuer's name have to say. */
struct issuer {
    bool found; /* one of them signed the leaf */
    uint8_t id[REGISTRY_ID_LEN];
    enum cert_status status;
    bool auto_registration;
    bool has_template;
    enum cert_mode mode;
    size_t same_name; /* how many CAs were tried */
};

static unsigned
openness(enum cert_status status, bool auto_registration)
{
    return (status == CERT_ACTIVE ? 2u : 0) + (auto_registration ? 1u : 0);
}

void
issuer_cache_clear(struct issuer_cache *cache)
{
    for (size_t i = 0; i < sizeof cache->entries / sizeof cache->entries[0]; i++) {
        pki_cert_free(cache->entries[i].cert);
    }
    memset(cache, 0, sizeof *cache);
}

static struct pki_cert *
find_cached(const struct issuer_cache *cache, const uint8_t id[REGISTRY_ID_LEN])
{
    for (size_t i = 0; i < sizeof cache->entries / sizeof cache->entries[0]; i++) {
        if (cache->entries[i].cert != NULL &&
            memcmp(cache->entries[i].id, id, REGISTRY_ID_LEN) == 0) {
            return cache->entries[i].cert;
        }
    }
    return NULL;
}

/* Takes the certificate over. */
static void
keep_cached(struct issuer_cache *cache, const uint8_t id[REGISTRY_ID_LEN], struct pki_cert *cert)
{
    unsigned at = cache->next++ % (sizeof cache->entries / sizeof cache->entries[0]);

    pki_cert_free(cache->entries[at].cert);
    memcpy(cache->entries[at].id, id, REGISTRY_ID_LEN);
    cache->entries[at].cert = cert;
}

/* Did it sign the leaf? Only CAs that did are kept: others are met by chance. */
static bool
signed_leaf(const struct admission *a, const struct registry_ca *ca)
{
    struct issuer_cache *cache = a->rq->issuers;
    struct pki_cert *cert = cache != NULL ? find_cached(cache, ca->id) : NULL;
    bool cached = cert != NULL;
    bool yes;

    if (!cached && pki_cert_from_der(buf_span(&ca->der), &cert, NULL) != BM_OK) {
        return false;
    }
    yes = pki_cert_signed_by(a->leaf, cert, NULL) == BM_OK;
    if (!cached && yes && cache != NULL) {
        keep_cached(cache, ca->id, cert);
    } else if (!cached) {
        pki_cert_free(cert);
    }
    return yes;
}

static void
try_issuer(const struct admission *a, const struct registry_ca *ca, struct issuer *best)
{
    if (best->found && openness(best->status, best->auto_registration) >=
                           openness(ca->status, ca->auto_registration)) {
        return; /* spares a signature check that could not change the choice */
    }
    if (signed_leaf(a, ca)) {
        best->found = true;
        memcpy(best->id, ca->id, REGISTRY_ID_LEN);
        best->status = ca->status;
        best->auto_registration = ca->auto_registration;
        best->has_template = ca->registration_config.len > 0;
        best->mode = ca->mode;
    }
}

/*
 * Several CAs may share a name (SPEC aws-iot 3.2), so the signature decides; among those that
 * signed, the one that is open for newcomers.
 */
static enum bm_err
find_issuer(const struct admission *a, struct issuer *out, struct bm_msg *msg)
{
    struct registry_ca cas[SAME_SUBJECT_MAX] = { 0 };
    size_t count = 0;
    enum bm_err err = registry_ca_by_subject(a->r, pki_cert_issuer(a->leaf), cas, &count, msg);

    memset(out, 0, sizeof *out);
    if (err == BM_ERR_NOT_FOUND) {
        return BM_OK;
    }
    if (err != BM_OK) {
        return err;
    }
    out->same_name = count;
    for (size_t i = 0; i < count; i++) {
        try_issuer(a, &cas[i], out);
        registry_ca_fini(&cas[i]);
    }
    return BM_OK;
}

static enum bm_err
register_leaf(struct admission *a, const struct issuer *ca, struct bm_msg *msg)
{
    struct registry_cert c = {
        .status = CERT_PENDING_ACTIVATION, .mode = ca->mode, .has_ca = true
    };
    struct span der = pki_cert_der(a->leaf);
    char hex[2 * REGISTRY_ID_LEN + 1];
    char facts[TIMELINE_FACTS_MAX + 1];
    enum bm_err err;

    memcpy(c.id, a->id, REGISTRY_ID_LEN);
    memcpy(c.ca_id, ca->id, REGISTRY_ID_LEN);
    c.not_before_ms = pki_cert_not_before_ms(a->leaf);
    c.not_after_ms = pki_cert_not_after_ms(a->leaf);
    buf_add(&c.der, der.ptr, der.len);
    err = c.der.failed ? BM_ERR_MEM : registry_cert_insert(a->r, &c, msg);
    registry_cert_fini(&c);
    if (err != BM_OK) {
        return err;
    }
    err = publish_event(a, ca->id, 0, msg);
    if (err != BM_OK) {
        return err;
    }
    hex_encode(hex, ca->id, REGISTRY_ID_LEN);
    (void)snprintf(facts, sizeof facts, "ca=%s", hex);
    return conclude(
        a, CAUSE_REGISTERED_JITR, cert_status_name(CERT_PENDING_ACTIVATION), facts, msg);
}

static enum bm_err
refuse_issuer(struct admission *a, enum cause cause, const struct issuer *ca, struct bm_msg *msg)
{
    char name[NAME_MAX_TEXT];
    char hex[2 * REGISTRY_ID_LEN + 1] = "";
    char facts[TIMELINE_FACTS_MAX + 1];

    pki_cert_issuer_text(a->leaf, name, sizeof name);
    if (ca->found) {
        hex_encode(hex, ca->id, REGISTRY_ID_LEN);
        (void)snprintf(facts, sizeof facts, "issuer=\"%s\" ca=%s", name, hex);
    } else {
        (void)snprintf(
            facts, sizeof facts, "issuer=\"%s\" cas_of_that_name=%zu", name, ca->same_name);
    }
    return conclude(a, cause, NULL, facts, msg);
}

/* A registered CA's own certificate, shown by who has its key: no device. */
static enum bm_err
is_ca(const struct admission *a, bool *out, struct bm_msg *msg)
{
    struct registry_ca ca = { 0 };
    enum bm_err err = registry_ca_get(a->r, a->id, &ca, msg);

    *out = err == BM_OK;
    registry_ca_fini(&ca);
    return err == BM_ERR_NOT_FOUND ? BM_OK : err;
}

/* SPEC aws-iot 4.3. Nothing is stored: it comes again, and finds room or waits on. */
static enum bm_err
refuse_rate(struct admission *a, struct bm_msg *msg)
{
    char facts[TIMELINE_FACTS_MAX + 1];

    (void)snprintf(facts, sizeof facts, "of=account registrations_per_second=%u",
        (unsigned)a->rq->register_rate);
    return conclude(a, CAUSE_REGISTER_RATE, NULL, facts, msg);
}

static enum bm_err
admit_unknown(struct admission *a, struct bm_msg *msg)
{
    struct issuer ca;
    struct bm_msg why = { "" };
    enum cause dates;
    bool own = false;
    enum bm_err err = is_ca(a, &own, msg);

    if (err == BM_OK && own) {
        return conclude(a, CAUSE_LEAF_UNACCEPTABLE, NULL,
            "The certificate is that of a registered CA; a device needs one that the CA signed.",
            msg);
    }
    if (err == BM_OK) {
        err = find_issuer(a, &ca, msg);
    }
    if (err != BM_OK) {
        return err;
    }
    if (ca.same_name == 0) {
        return refuse_issuer(a, CAUSE_CA_UNKNOWN, &ca, msg);
    }
    if (!ca.found) {
        return refuse_issuer(a, CAUSE_SIGNATURE_WRONG, &ca, msg);
    }
    if (ca.mode == MODE_SNI_ONLY && a->sni == SNI_NONE) {
        return refuse_issuer(a, CAUSE_SNI_REQUIRED, &ca, msg);
    }
    if (ca.status != CERT_ACTIVE) {
        return refuse_issuer(a, CAUSE_CA_INACTIVE, &ca, msg);
    }
    if (!ca.auto_registration) {
        return refuse_issuer(a, CAUSE_CA_NO_AUTO_REGISTRATION, &ca, msg);
    }
    if (ca.has_template) { /* to register it without what the template asks for would be half */
        return refuse_issuer(a, CAUSE_CA_TEMPLATE, &ca, msg);
    }
    if (pki_cert_acceptable(a->leaf, &why) != BM_OK) {
        return conclude(a, CAUSE_LEAF_UNACCEPTABLE, NULL, why.text, msg);
    }
    dates = check_dates(a);
    if (dates != CAUSE_NONE) {
        return refuse_dates(a, dates, NULL, msg);
    }
    if (a->rq->registered_us != NULL &&
        !rate_take(a->rq->registered_us, clock_mono_us(), a->rq->register_rate)) {
        return refuse_rate(a, msg);
    }
    return register_leaf(a, &ca, msg);
}

/* The registry sees its open group, so a leaf that a moment ago was new is known here. */
static enum bm_err
admit_leaf(struct admission *a, struct bm_msg *msg)
{
    struct registry_cert c = { 0 };
    enum bm_err err = registry_cert_get(a->r, a->id, &c, msg);

    if (err == BM_ERR_NOT_FOUND) {
        return admit_unknown(a, msg);
    }
    if (err != BM_OK) {
        return err;
    }
    err = admit_known(a, &c, msg);
    registry_cert_fini(&c);
    return err;
}

static enum bm_err
admit_in_savepoint(struct admission *a, struct span leaf_der, struct bm_msg *msg)
{
    struct bm_msg why = { "" };
    enum bm_err err = pki_cert_from_der(leaf_der, &a->leaf, &why);

    if (err == BM_ERR_INPUT) {
        return conclude(a, CAUSE_LEAF_UNACCEPTABLE, NULL, why.text, msg);
    }
    if (err != BM_OK) {
        return err;
    }
    pki_cert_id(a->leaf, a->id);
    return admit_leaf(a, msg);
}

/* Does it know the leaf, by itself or by its issuer? *mode is that of what knows it. */
static bool
knows(struct admission *a, enum cert_mode *mode)
{
    struct registry_cert c = { 0 };
    struct issuer ca;
    bool found = registry_cert_get(a->r, a->id, &c, NULL) == BM_OK;

    *mode = c.mode;
    registry_cert_fini(&c);
    if (found || find_issuer(a, &ca, NULL) != BM_OK) {
        return found;
    }
    *mode = ca.mode;
    return ca.found;
}

size_t
admit_account(struct registry *const *registries, size_t count, const struct admit_request *rq)
{
    struct admission a = { .rq = rq };
    size_t found = 0;

    if (count < 2 || pki_cert_from_der(rq->leaf_der, &a.leaf, NULL) != BM_OK) {
        return 0;
    }
    pki_cert_id(a.leaf, a.id);
    (void)pki_ec_shortcut(true);
    for (size_t i = 0; i < count; i++) {
        enum cert_mode mode;

        a.r = registries[i];
        if (knows(&a, &mode) && (i == 0 || mode == MODE_DEFAULT)) {
            found = i;
            break;
        }
    }
    (void)pki_ec_shortcut(false);
    pki_cert_free(a.leaf);
    return found;
}

enum bm_err
admit_decide(struct registry *r, const char *account, const struct admit_request *rq,
    enum cause *out, struct bm_msg *msg)
{
    struct admission a = {
        .r = r, .account = account, .rq = rq, .sni = rq->sni, .now_ms = clock_wall_ms()
    };
    enum bm_err err = registry_begin(r, msg);
    enum bm_err ended;

    *out = CAUSE_CONTROL_DOWN;
    if (err != BM_OK) {
        return BM_ERR_IO;
    }
    copy_text(a.client_id, sizeof a.client_id, rq->client_id);
    copy_text(a.peer, sizeof a.peer, rq->peer);
    (void)pki_ec_shortcut(true); /* certificates are read, none is signed; slower without */
    err = admit_in_savepoint(&a, rq->leaf_der, msg);
    (void)pki_ec_shortcut(false);
    ended = registry_end(r, err == BM_OK, err == BM_OK ? msg : NULL);
    pki_cert_free(a.leaf);
    if (err != BM_OK || ended != BM_OK) {
        return BM_ERR_IO;
    }
    *out = a.cause;
    return BM_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of admission: every cause of SPEC aws-iot 4.1, on a real registry. */
#include "base/clock.h"
#include "base/file.h"
#include "certs.h"
#include "endpoint/admit.h"
#include "pki/pki.h"
#include "registry/table.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ACCOUNT "000000000000"

struct fixture {
    char dir[64];
    struct table *table;
    struct registry *r;
    struct made ca;
    uint8_t ca_id[32];
    enum sni sni;
    int64_t registered_us; /* 0: registrations are not limited */
    enum cert_mode mode;   /* of CAs that register_ca makes */
    struct issuer_cache issuers;
    struct bm_msg msg;
};

static void
register_ca(
    struct fixture *f, const struct made *ca, enum cert_status status, bool open, uint8_t id[32])
{
    struct registry_ca row = { .status = status, .auto_registration = open, .mode = f->mode };
    unsigned char *name = NULL;
    int len = i2d_X509_NAME(X509_get_subject_name(ca->cert), &name);

    assert_true(len > 0);
    certs_id(ca, id);
    memcpy(row.id, id, 32);
    buf_add(&row.subject, name, (size_t)len);
    certs_der(ca, &row.der);
    if (registry_ca_insert(f->r, &row, &f->msg) != BM_OK) {
        fail_msg("%s", f->msg.text);
    }
    OPENSSL_free(name);
    registry_ca_fini(&row);
}

static int
set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct registry_options o = { 0 };

    assert_non_null(f);
    (void)strcpy(f->dir, "/tmp/birthmark-admit.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(table_create(f->dir, 16, &f->table, &f->msg), BM_OK);
    o.dir = f->dir;
    o.table = f->table;
    if (registry_open(&o, &f->r, &f->msg) != BM_OK) {
        fail_msg("%s", f->msg.text);
    }
    f->mode = MODE_DEFAULT;
    f->ca = certs_make(&(struct make){ .name = "Demo CA", .ca = true });
    register_ca(f, &f->ca, CERT_ACTIVE, true, f->ca_id);
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    issuer_cache_clear(&f->issuers);
    registry_close(f->r);
    table_close(f->table);
    certs_fini(&f->ca);
    assert_int_equal(dir_remove(f->dir, NULL), BM_OK);
    free(f);
    return 0;
}

static enum cause
decide_der(struct fixture *f, struct span der)
{
    struct admit_request rq = { .leaf_der = der,
        .client_id = span_str("dev-1"),
        .peer = span_str("127.0.0.1:40122"),
        .sni = f->sni,
        .registered_us = f->registered_us != 0 ? &f->registered_us : NULL,
        .register_rate = 1,
        .issuers = &f->issuers };
    enum cause cause = CAUSE_NONE;

    if (admit_decide(f->r, ACCOUNT, &rq, &cause, &f->msg) != BM_OK) {
        fail_msg("%s", f->msg.text);
    }
    return cause;
}

static enum cause
decide(struct fixture *f, const struct made *leaf)
{
    struct buf der = { 0 };
    enum cause cause;

    certs_der(leaf, &der);
    cause = decide_der(f, buf_span(&der));
    buf_fini(&der);
    return cause;
}

static void
keep_last(void *arg, const struct timeline_record *rec)
{
    *(struct timeline_record *)arg = *rec;
}

/* The last record of the leaf, which must be of this cause. */
static struct timeline_record
last_record(struct fixture *f, const struct made *leaf, enum cause cause)
{
    struct timeline_record rec = { 0 };
    uint8_t id[32];

    certs_id(leaf, id);
    assert_int_equal(registry_timeline_cert(f->r, id, 100, keep_last, &rec, &f->msg), BM_OK);
    assert_int_equal(rec.cause, cause);
    assert_string_equal(rec.client_id, "dev-1");
    assert_string_equal(rec.peer, "127.0.0.1:40122");
    return rec;
}

static void
assert_unknown(struct fixture *f, const struct made *leaf)
{
    struct registry_cert c;
    struct registry_event e;
    uint8_t id[32];

    certs_id(leaf, id);
    assert_int_equal(registry_cert_get(f->r, id, &c, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_event_next(f->r, 0, &e, &f->msg), BM_ERR_NOT_FOUND);
}

/* The event after `*after`, checked as SPEC aws-iot 4.2 describes it. */
static void
assert_event(struct fixture *f, const struct made *leaf, int64_t *after, bool first)
{
    struct registry_event e;
    struct registry_cert c;
    uint8_t id[32];
    char hex[65];
    char ca_hex[65];
    char text[128];
    json_t *j;

    certs_id(leaf, id);
    hex_encode(hex, id, 32);
    hex_encode(ca_hex, f->ca_id, 32);
    assert_int_equal(registry_event_next(f->r, *after, &e, &f->msg), BM_OK);
    *after = e.id;
    (void)snprintf(text, sizeof text, "$aws/events/certificates/registered/%s", ca_hex);
    assert_string_equal(buf_cstr(&e.topic), text);
    assert_true(e.has_cert);
    assert_memory_equal(e.cert_id, id, 32);
    j = json_loadb((const char *)e.payload.ptr, e.payload.len, 0, NULL);
    assert_non_null(j);
    assert_int_equal(json_object_size(j), 6);
    assert_string_equal(json_string_value(json_object_get(j, "certificateId")), hex);
    assert_string_equal(json_string_value(json_object_get(j, "caCertificateId")), ca_hex);
    assert_string_equal(
        json_string_value(json_object_get(j, "certificateStatus")), "PENDING_ACTIVATION");
    assert_string_equal(json_string_value(json_object_get(j, "awsAccountId")), ACCOUNT);
    assert_true(json_is_integer(json_object_get(j, "timestamp")));
    assert_true(
        llabs(json_integer_value(json_object_get(j, "timestamp")) - clock_wall_ms()) < 60000);
    if (first) {
        assert_true(json_is_null(json_object_get(j, "certificateRegistrationTimestamp")));
    } else {
        assert_int_equal(registry_cert_get(f->r, id, &c, &f->msg), BM_OK);
        (void)snprintf(text, sizeof text, "%" PRId64, c.created_ms);
        assert_string_equal(
            json_string_value(json_object_get(j, "certificateRegistrationTimestamp")), text);
        registry_cert_fini(&c);
    }
    json_decref(j);
    registry_event_fini(&e);
}

static void
unknown_leaf_of_an_open_ca_becomes_pending_with_one_event(void **state)
{
    struct fixture *f = *state;
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &f->ca });
    struct registry_cert c;
    struct timeline_record rec;
    uint8_t id[32];
    int64_t after = 0;

    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    certs_id(&leaf, id);
    assert_int_equal(registry_cert_get(f->r, id, &c, &f->msg), BM_OK);
    assert_int_equal(c.status, CERT_PENDING_ACTIVATION);
    assert_true(c.has_ca);
    assert_memory_equal(c.ca_id, f->ca_id, 32);
    assert_true(c.not_after_ms > clock_wall_ms());
    assert_int_equal(c.mode, MODE_DEFAULT);
    registry_cert_fini(&c);
    rec = last_record(f, &leaf, CAUSE_REGISTERED_JITR);
    assert_string_equal(rec.status, "PENDING_ACTIVATION");
    assert_event(f, &leaf, &after, true);
    certs_fini(&leaf);
}

/* SPEC aws-iot 4.3. Only what would be registered counts. */
static void
registrations_beyond_the_rate_are_refused_and_not_stored(void **state)
{
    struct fixture *f = *state;
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &f->ca });
    struct made self = certs_make(&(struct make){ .name = "self" });
    int64_t used = clock_mono_us() + 3600000000;

    f->registered_us = used;
    assert_int_equal(decide(f, &leaf), CAUSE_REGISTER_RATE);
    assert_unknown(f, &leaf);
    assert_non_null(
        strstr(last_record(f, &leaf, CAUSE_REGISTER_RATE).facts, "registrations_per_second=1"));
    assert_int_equal(decide(f, &self), CAUSE_CA_UNKNOWN);
    assert_int_equal(f->registered_us, used);
    f->registered_us = 1;
    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    assert_true(f->registered_us > 1);
    f->registered_us = used;
    assert_int_equal(decide(f, &leaf), CAUSE_PENDING);
    certs_fini(&leaf);
    certs_fini(&self);
}

static void
pending_leaf_stays_pending_and_publishes_again(void **state)
{
    struct fixture *f = *state;
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &f->ca });
    int64_t after = 0;

    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    /* before the group is committed, as two workers ask at the same time */
    assert_int_equal(decide(f, &leaf), CAUSE_PENDING);
    assert_int_equal(registry_commit(f->r, &f->msg), BM_OK);
    assert_int_equal(decide(f, &leaf), CAUSE_PENDING);
    assert_event(f, &leaf, &after, true);
    assert_event(f, &leaf, &after, false);
    assert_event(f, &leaf, &after, false);
    assert_string_equal(last_record(f, &leaf, CAUSE_PENDING).status, "PENDING_ACTIVATION");
    certs_fini(&leaf);
}

static void
known_leaf_is_judged_by_its_status(void **state)
{
    static const struct {
        enum cert_status status;
        enum cause want;
    } cases[] = {
        { CERT_ACTIVE, CAUSE_ADMITTED },
        { CERT_INACTIVE, CAUSE_INACTIVE },
        { CERT_REVOKED, CAUSE_REVOKED },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &f->ca });
        uint8_t id[32];

        certs_id(&leaf, id);
        assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
        assert_int_equal(registry_cert_set_status(f->r, id, cases[i].status, NULL, &f->msg), BM_OK);
        assert_int_equal(decide(f, &leaf), cases[i].want);
        /* what is admitted is recorded by the worker, when the policy has spoken too */
        (void)last_record(
            f, &leaf, cases[i].want == CAUSE_ADMITTED ? CAUSE_REGISTERED_JITR : cases[i].want);
        certs_fini(&leaf);
    }
}

static void
registered_leaf_stays_welcome_when_its_ca_is_deactivated(void **state)
{
    struct fixture *f = *state;
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &f->ca });
    const enum cert_status off = CERT_INACTIVE;
    uint8_t id[32];

    certs_id(&leaf, id);
    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    assert_int_equal(registry_cert_set_status(f->r, id, CERT_ACTIVE, NULL, &f->msg), BM_OK);
    assert_int_equal(
        registry_ca_update(f->r, f->ca_id,
            &(struct registry_ca_change){ .status = &off, .auto_registration = NULL }, &f->msg),
        BM_OK);
    assert_int_equal(decide(f, &leaf), CAUSE_ADMITTED); /* SPEC aws-iot 3.3 */
    certs_fini(&leaf);
}

/* More CAs than are kept; the first once more, and closed at last. */
static void
a_ca_that_was_read_before_is_judged_as_it_is_now(void **state)
{
    const enum cert_status off = CERT_INACTIVE;
    struct fixture *f = *state;
    struct made leaf = certs_make(&(struct make){ .name = "first", .issuer = &f->ca });

    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    certs_fini(&leaf);
    for (int i = 0; i < 17; i++) {
        char name[16];
        struct made ca;
        uint8_t id[32];

        (void)snprintf(name, sizeof name, "CA %d", i);
        ca = certs_make(&(struct make){ .name = name, .ca = true });
        register_ca(f, &ca, CERT_ACTIVE, true, id);
        leaf = certs_make(&(struct make){ .name = name, .issuer = &ca });
        assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
        certs_fini(&leaf);
        certs_fini(&ca);
    }
    for (int i = 0; i < 2; i++) {
        leaf = certs_make(&(struct make){ .name = "again", .issuer = &f->ca });
        assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
        certs_fini(&leaf);
    }
    assert_int_equal(registry_ca_update(f->r, f->ca_id,
                         &(struct registry_ca_change){ .status = &off }, &f->msg),
        BM_OK);
    leaf = certs_make(&(struct make){ .name = "late", .issuer = &f->ca });
    assert_int_equal(decide(f, &leaf), CAUSE_CA_INACTIVE);
    certs_fini(&leaf);
}

static void
leaf_of_an_unknown_ca_is_refused_and_not_stored(void **state)
{
    struct fixture *f = *state;
    struct made other = certs_make(&(struct make){ .name = "Other CA", .ca = true });
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &other });

    assert_int_equal(decide(f, &leaf), CAUSE_CA_UNKNOWN);
    assert_non_null(strstr(last_record(f, &leaf, CAUSE_CA_UNKNOWN).facts, "CN=Other CA"));
    assert_unknown(f, &leaf);
    certs_fini(&leaf);
    certs_fini(&other);
}

static void
leaf_with_the_name_but_not_the_key_of_a_ca_is_refused(void **state)
{
    struct fixture *f = *state;
    struct made twin = certs_make(&(struct make){ .name = "Demo CA", .ca = true });
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &twin });

    assert_int_equal(decide(f, &leaf), CAUSE_SIGNATURE_WRONG);
    assert_non_null(
        strstr(last_record(f, &leaf, CAUSE_SIGNATURE_WRONG).facts, "cas_of_that_name=1"));
    assert_unknown(f, &leaf);
    certs_fini(&leaf);
    certs_fini(&twin);
}

static void
the_signature_decides_among_cas_of_one_name(void **state)
{
    struct fixture *f = *state;
    struct made twin = certs_make(&(struct make){ .name = "Demo CA", .ca = true });
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &twin });
    struct registry_cert c;
    uint8_t twin_id[32];
    uint8_t id[32];

    register_ca(f, &twin, CERT_ACTIVE, true, twin_id);
    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    certs_id(&leaf, id);
    assert_int_equal(registry_cert_get(f->r, id, &c, &f->msg), BM_OK);
    assert_memory_equal(c.ca_id, twin_id, 32);
    registry_cert_fini(&c);
    certs_fini(&leaf);
    certs_fini(&twin);
}

/* The same CA key in two certificates: the closed one does not shadow the open one. */
static void
an_open_ca_is_preferred_to_a_closed_one_with_the_same_key(void **state)
{
    struct fixture *f = *state;
    struct made again = { f->ca.key, X509_dup(f->ca.cert) };
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &f->ca });
    uint8_t id[32];

    assert_int_equal(X509_gmtime_adj(X509_getm_notAfter(again.cert), 999999) != NULL, 1);
    assert_true(X509_sign(again.cert, f->ca.key, EVP_sha256()) > 0);
    register_ca(f, &again, CERT_INACTIVE, false, id);
    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    certs_fini(&leaf);
    X509_free(again.cert);
}

static void
closed_cas_take_no_newcomers(void **state)
{
    static const struct {
        enum cert_status status;
        bool open;
        enum cause want;
    } cases[] = {
        { CERT_INACTIVE, true, CAUSE_CA_INACTIVE },
        { CERT_INACTIVE, false, CAUSE_CA_INACTIVE },
        { CERT_ACTIVE, false, CAUSE_CA_NO_AUTO_REGISTRATION },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &f->ca });
        char hex[65];

        assert_int_equal(registry_ca_update(f->r, f->ca_id,
                             &(struct registry_ca_change){
                                 .status = &cases[i].status, .auto_registration = &cases[i].open },
                             &f->msg),
            BM_OK);
        assert_int_equal(decide(f, &leaf), cases[i].want);
        hex_encode(hex, f->ca_id, 32);
        assert_non_null(strstr(last_record(f, &leaf, cases[i].want).facts, hex));
        assert_unknown(f, &leaf);
        certs_fini(&leaf);
    }
}

static void
a_ca_with_a_provisioning_template_takes_no_newcomers(void **state)
{
    struct fixture *f = *state;
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &f->ca });
    struct span config = span_str("{\"templateBody\":\"{}\"}");
    struct span none = span_str("");

    assert_int_equal(registry_ca_update(f->r, f->ca_id,
                         &(struct registry_ca_change){ .registration_config = &config }, &f->msg),
        BM_OK);
    assert_int_equal(decide(f, &leaf), CAUSE_CA_TEMPLATE);
    assert_unknown(f, &leaf);
    assert_int_equal(registry_ca_update(f->r, f->ca_id,
                         &(struct registry_ca_change){ .registration_config = &none }, &f->msg),
        BM_OK);
    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    certs_fini(&leaf);
}

static void
leaf_outside_its_dates_is_refused(void **state)
{
    struct fixture *f = *state;
    struct made old = certs_make(
        &(struct make){ .name = "old", .issuer = &f->ca, .from_s = -7200, .to_s = -3600 });
    struct made early = certs_make(
        &(struct make){ .name = "early", .issuer = &f->ca, .from_s = 3600, .to_s = 7200 });
    struct made over =
        certs_make(&(struct make){ .name = "over", .issuer = &f->ca, .from_s = -3600, .to_s = -1 });
    struct made begun = certs_make(&(struct make){ .name = "begun", .issuer = &f->ca, .to_s = 60 });

    assert_int_equal(decide(f, &old), CAUSE_LEAF_EXPIRED);
    assert_unknown(f, &old);
    assert_int_equal(decide(f, &early), CAUSE_LEAF_NOT_YET_VALID);
    assert_unknown(f, &early);
    assert_non_null(strstr(last_record(f, &old, CAUSE_LEAF_EXPIRED).facts, "notAfter="));
    assert_int_equal(decide(f, &over), CAUSE_LEAF_EXPIRED);
    assert_int_equal(decide(f, &begun), CAUSE_REGISTERED_JITR);
    certs_fini(&over);
    certs_fini(&begun);
    certs_fini(&old);
    certs_fini(&early);
}

/*
 * A leaf of two seconds, asked about before, during and after it: what is said fits the clock to
 * the millisecond at both ends.
 */
static void
both_ends_of_the_validity_are_exact(void **state)
{
    struct fixture *f = *state;
    struct made leaf =
        certs_make(&(struct make){ .name = "brief", .issuer = &f->ca, .from_s = 2, .to_s = 4 });
    enum cause cause = CAUSE_NONE;
    unsigned seen[3] = { 0 };
    struct buf der = { 0 };
    struct pki_cert *cert;
    int64_t from;
    int64_t to;
    uint8_t id[32];

    certs_id(&leaf, id);
    certs_der(&leaf, &der);
    assert_int_equal(pki_cert_from_der(buf_span(&der), &cert, &f->msg), BM_OK);
    from = pki_cert_not_before_ms(cert);
    to = pki_cert_not_after_ms(cert);
    assert_int_equal(to - from, 2000);
    while (cause != CAUSE_LEAF_EXPIRED) {
        int64_t before = clock_wall_ms();
        int64_t after;

        cause = decide_der(f, buf_span(&der));
        after = clock_wall_ms();
        assert_true(after < to + 30000);
        if (cause == CAUSE_LEAF_NOT_YET_VALID) {
            assert_true(before < from);
            assert_unknown(f, &leaf);
            seen[0]++;
        } else if (cause == CAUSE_LEAF_EXPIRED) {
            assert_true(after > to);
            seen[2]++;
        } else {
            assert_int_equal(cause, seen[1]++ == 0 ? CAUSE_REGISTERED_JITR : CAUSE_ADMITTED);
            assert_true(after >= from && before <= to);
            assert_int_equal(registry_cert_set_status(f->r, id, CERT_ACTIVE, NULL, &f->msg), BM_OK);
        }
        (void)poll(NULL, 0, 1);
    }
    assert_true(seen[0] > 0 && seen[1] > 1 && seen[2] > 0);
    pki_cert_free(cert);
    buf_fini(&der);
    certs_fini(&leaf);
}

/* The attack list of certificates: what an attacker may show, and what becomes of it. */
static void
certificates_that_nobody_should_show_are_refused(void **state)
{
    struct fixture *f = *state;
    struct made device = certs_make(&(struct make){ .name = "device", .issuer = &f->ca });
    struct made below = certs_make(&(struct make){ .name = "below", .issuer = &device });
    struct made alone = certs_make(&(struct make){ .name = "alone" });
    struct made sub_ca = certs_make(&(struct make){ .name = "sub", .issuer = &f->ca, .ca = true });
    uint8_t sub_id[32];

    register_ca(f, &sub_ca, CERT_INACTIVE, true, sub_id);
    assert_int_equal(decide(f, &f->ca), CAUSE_LEAF_UNACCEPTABLE); /* the CA itself */
    assert_unknown(f, &f->ca);
    assert_non_null(strstr(last_record(f, &f->ca, CAUSE_LEAF_UNACCEPTABLE).facts, "registered CA"));
    assert_int_equal(decide(f, &sub_ca), CAUSE_LEAF_UNACCEPTABLE); /* signed by an open one */
    assert_unknown(f, &sub_ca);
    assert_int_equal(decide(f, &alone), CAUSE_CA_UNKNOWN); /* self-signed */
    assert_unknown(f, &alone);
    assert_int_equal(decide(f, &device), CAUSE_REGISTERED_JITR);
    assert_int_equal(decide(f, &below), CAUSE_CA_UNKNOWN); /* signed by a registered leaf */
    certs_fini(&device);
    certs_fini(&below);
    certs_fini(&alone);
    certs_fini(&sub_ca);
}

static void
keys_and_signatures_of_a_leaf_are_judged(void **state)
{
    const struct {
        struct make what;
        enum cause cause;
        const char *says;
    } cases[] = {
        { { .name = "p384", .kind = "P-384" }, CAUSE_REGISTERED_JITR, "ca=" },
        { { .name = "p521", .kind = "P-521" }, CAUSE_REGISTERED_JITR, "ca=" },
        { { .name = "rsa", .rsa_bits = 4096 }, CAUSE_REGISTERED_JITR, "ca=" },
        { { .name = "p224", .kind = "P-224" }, CAUSE_LEAF_UNACCEPTABLE, "" },
        { { .name = "ed", .kind = "ED25519" }, CAUSE_LEAF_UNACCEPTABLE, "" },
        { { .name = "sha1", .sha1 = true }, CAUSE_LEAF_UNACCEPTABLE, "SHA1" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct make what = cases[i].what;
        struct made leaf;

        what.issuer = &f->ca;
        leaf = certs_make(&what);
        assert_int_equal(decide(f, &leaf), cases[i].cause);
        assert_non_null(strstr(last_record(f, &leaf, cases[i].cause).facts, cases[i].says));
        certs_fini(&leaf);
    }
}

/* An id is the hash of the whole certificate: neither serial nor key make two the same. */
static void
same_serial_or_same_key_are_two_certificates(void **state)
{
    struct fixture *f = *state;
    struct made a = certs_make(&(struct make){ .name = "a", .issuer = &f->ca, .serial = 7 });
    struct made b = certs_make(&(struct make){ .name = "b", .issuer = &f->ca, .serial = 7 });
    struct made c = certs_make(&(struct make){ .name = "a", .issuer = &f->ca, .key_of = &a });

    assert_int_equal(decide(f, &a), CAUSE_REGISTERED_JITR);
    assert_int_equal(decide(f, &b), CAUSE_REGISTERED_JITR);
    assert_int_equal(decide(f, &c), CAUSE_REGISTERED_JITR);
    assert_int_equal(decide(f, &a), CAUSE_PENDING);
    certs_fini(&a);
    certs_fini(&b);
    certs_fini(&c);
}

static void
weak_or_damaged_leaf_is_refused(void **state)
{
    struct fixture *f = *state;
    struct made weak =
        certs_make(&(struct make){ .name = "weak", .issuer = &f->ca, .rsa_bits = 1024 });

    assert_int_equal(decide(f, &weak), CAUSE_LEAF_UNACCEPTABLE);
    assert_unknown(f, &weak);
    assert_non_null(strstr(last_record(f, &weak, CAUSE_LEAF_UNACCEPTABLE).facts, "1024"));
    assert_int_equal(decide_der(f, span_str("not a certificate")), CAUSE_LEAF_UNACCEPTABLE);
    assert_int_equal(decide_der(f, span_of(NULL, 0)), CAUSE_LEAF_UNACCEPTABLE);
    certs_fini(&weak);
}

static void
a_ca_or_certificate_of_mode_sni_only_wants_a_server_name(void **state)
{
    struct fixture *f = *state;
    struct made ca = certs_make(&(struct make){ .name = "Shared CA", .ca = true });
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &ca });
    uint8_t ca_id[32];

    f->mode = MODE_SNI_ONLY;
    register_ca(f, &ca, CERT_ACTIVE, true, ca_id);
    assert_int_equal(decide(f, &leaf), CAUSE_SNI_REQUIRED);
    assert_unknown(f, &leaf);
    f->sni = SNI_SERVER;
    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    assert_int_equal(decide(f, &leaf), CAUSE_PENDING);
    f->sni = SNI_NONE;
    assert_int_equal(decide(f, &leaf), CAUSE_SNI_REQUIRED);
    certs_fini(&ca);
    certs_fini(&leaf);
}

static void
a_refusal_is_durable_after_the_commit_and_so_is_pending(void **state)
{
    struct fixture *f = *state;
    struct made leaf = certs_make(&(struct make){ .name = "dev", .issuer = &f->ca });
    struct registry_options o = { .dir = f->dir, .table = f->table };
    int64_t after = 0;

    assert_int_equal(decide(f, &leaf), CAUSE_REGISTERED_JITR);
    assert_int_equal(registry_commit(f->r, &f->msg), BM_OK);
    registry_close(f->r);
    f->r = NULL;
    assert_int_equal(registry_open(&o, &f->r, &f->msg), BM_OK);
    assert_event(f, &leaf, &after, true);
    assert_int_equal(decide(f, &leaf), CAUSE_PENDING);
    certs_fini(&leaf);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(unknown_leaf_of_an_open_ca_becomes_pending_with_one_event),
        TEST(registrations_beyond_the_rate_are_refused_and_not_stored),
        TEST(pending_leaf_stays_pending_and_publishes_again),
        TEST(known_leaf_is_judged_by_its_status),
        TEST(registered_leaf_stays_welcome_when_its_ca_is_deactivated),
        TEST(a_ca_that_was_read_before_is_judged_as_it_is_now),
        TEST(leaf_of_an_unknown_ca_is_refused_and_not_stored),
        TEST(leaf_with_the_name_but_not_the_key_of_a_ca_is_refused),
        TEST(the_signature_decides_among_cas_of_one_name),
        TEST(an_open_ca_is_preferred_to_a_closed_one_with_the_same_key),
        TEST(closed_cas_take_no_newcomers),
        TEST(a_ca_with_a_provisioning_template_takes_no_newcomers),
        TEST(leaf_outside_its_dates_is_refused),
        TEST(both_ends_of_the_validity_are_exact),
        TEST(certificates_that_nobody_should_show_are_refused),
        TEST(keys_and_signatures_of_a_leaf_are_judged),
        TEST(same_serial_or_same_key_are_two_certificates),
        TEST(weak_or_damaged_leaf_is_refused),
        TEST(a_ca_or_certificate_of_mode_sni_only_wants_a_server_name),
        TEST(a_refusal_is_durable_after_the_commit_and_so_is_pending),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

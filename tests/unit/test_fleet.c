/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of a fleet's parts: scenario files, figures, a device's chip as OpenSSL's key, the
 * certificates that must be taken and those that must not.
 */
#include "fleet/fleet.h"

#include "base/clock.h"
#include "base/file.h"
#include "pki/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { DAY_MS = 86400000 };

/* ---- plans ---- */

static enum bm_err
parse(const char *json, struct fleet_plan *p, struct bm_msg *msg)
{
    return fleet_plan_parse(span_str(json), p, msg);
}

static void
a_scenario_says_what_differs_from_the_default(void **state)
{
    struct fleet_plan p;

    (void)state;
    assert_int_equal(
        parse("{\"groups\":[{\"name\":\"a\",\"count\":3,\"every\":\"250ms\",\"mqtt\":\"3.1.1\"},"
              "{\"name\":\"b\",\"identity\":\"forged\",\"count\":2,\"clock\":\"-1d\"}],"
              "\"events\":[{\"at\":\"2m\",\"do\":\"stop\"},{\"at\":5,\"do\":\"storm\",\"group\":"
              "\"b\"}],"
              "\"for\":\"1h\",\"seed\":9,\"stay\":true}",
            &p, NULL),
        BM_OK);
    assert_int_equal(fleet_plan_count(&p), 5);
    assert_int_equal(p.groups[0].every_ms, 250);
    assert_false(p.groups[0].mqtt5);
    assert_false(p.groups[0].refused);
    assert_int_equal(p.groups[0].qos, 1);
    assert_int_equal(p.groups[1].identity, FLEET_FORGED);
    assert_true(p.groups[1].refused);
    assert_int_equal(p.groups[1].clock_ms, -DAY_MS);
    assert_int_equal(p.events[0].at_ms, 5000); /* in the order of time */
    assert_int_equal(p.events[0].group, 1);
    assert_int_equal(p.events[1].what, FLEET_STOP);
    assert_int_equal(p.for_ms, 3600000);
    assert_int_equal(p.seed, 9);
    assert_true(p.stay);
}

static void
a_wrong_scenario_is_refused_and_the_place_named(void **state)
{
    static const struct {
        const char *json;
        const char *names;
    } cases[] = {
        { "", "line" },
        { "[]", "object" },
        { "{}", "1 to 10000" },
        { "{\"group\":[]}", "\"group\"" },
        { "{\"groups\":[{\"count\":0}]}", "no devices" },
        { "{\"groups\":[{\"count\":10001}]}", "group 1: \"count\"" },
        { "{\"groups\":[{\"count\":9000},{\"name\":\"b\",\"count\":1001}]}", "10001" },
        { "{\"groups\":[{\"count\":1},{\"count\":1}]}", "two groups" },
        { "{\"groups\":[{\"name\":\"a/b\"}]}", "a/b" },
        { "{\"groups\":[{\"name\":\".\"}]}", "'.'" },
        { "{\"groups\":[{\"size\":131073}]}", "\"size\"" },
        { "{\"groups\":[{\"qos\":2}]}", "\"qos\"" },
        { "{\"groups\":[{\"every\":\"10 s\"}]}", "\"every\"" },
        { "{\"groups\":[{\"every\":-1}]}", "\"every\"" },
        { "{\"groups\":[{\"identity\":\"mine\"}]}", "\"identity\"" },
        { "{\"groups\":[{\"identity\":\"clone\"}]}", "no clone" },
        { "{\"groups\":[{\"topic\":\"a/+\"}]}", "no topic to publish" },
        { "{\"groups\":[{\"subscribe\":\"a/#/b\"}]}", "no topic filter" },
        { "{\"groups\":[{\"colour\":1}]}", "\"colour\"" },
        { "{\"groups\":[{}],\"for\":\"25h\"}", "24 hours" },
        { "{\"groups\":[{}],\"for\":0}", "more than 0" },
        { "{\"groups\":[{}],\"seed\":-1}", "\"seed\"" },
        { "{\"groups\":[{}],\"events\":[{\"at\":1}]}", "event 1: \"do\"" },
        { "{\"groups\":[{}],\"events\":[{\"at\":1,\"do\":\"storm\",\"group\":\"x\"}]}",
            "\"group\"" },
        { "{\"groups\":[{}],\"events\":[{\"do\":\"storm\"}]}", "\"at\"" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fleet_plan p;
        struct bm_msg msg = { "" };

        assert_int_equal(parse(cases[i].json, &p, &msg), BM_ERR_INPUT);
        if (strstr(msg.text, cases[i].names) == NULL)
            fail_msg("%s: \"%s\" does not name %s", cases[i].json, msg.text, cases[i].names);
    }
}

static void
times_and_topics_are_read_as_written(void **state)
{
    char topic[32];
    int64_t ms = 0;

    (void)state;
    assert_true(fleet_time_parse("1.5", &ms) && ms == 1500);
    assert_true(fleet_time_parse("2m", &ms) && ms == 120000);
    assert_true(fleet_time_parse("1d", &ms) && ms == DAY_MS);
    assert_false(fleet_time_parse("", &ms));
    assert_false(fleet_time_parse("5 s", &ms));
    assert_false(fleet_time_parse("-5s", &ms));
    assert_false(fleet_time_parse("nan", &ms));
    assert_true(fleet_topic(topic, sizeof topic, "a/{client}/{n}/{", "c-7", 7));
    assert_string_equal(topic, "a/c-7/7/{");
    assert_false(fleet_topic(topic, 5, "{client}", "12345", 0));
}

/* ---- figures ---- */

static int
by_size(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;

    return (*x > *y) - (*x < *y);
}

static void
a_spread_is_right_to_a_sixteenth(void **state)
{
    static const double at[] = { 0, 0.1, 0.5, 0.9, 0.99, 0.999 };
    enum { COUNT = 5000 };
    int64_t *values = calloc(COUNT, sizeof *values);
    struct spread *s = calloc(1, sizeof *s);

    (void)state;
    assert_int_equal(spread_at(s, 0.5), 0);
    srandom(5);
    for (int i = 0; i < COUNT; i++) {
        values[i] = random() % (1 << random() % 30);
        spread_add(s, values[i]);
    }
    qsort(values, COUNT, sizeof *values, by_size);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        int64_t truth = values[(size_t)(at[i] * COUNT)];
        int64_t said = spread_at(s, at[i]);

        assert_true(said >= truth && said - truth <= truth / SPREAD_PER_OCTAVE);
    }
    assert_int_equal(s->max_us, values[COUNT - 1]);
    for (size_t i = 0; i + 1 < SPREAD_BUCKETS; i++)
        assert_true(spread_from(i + 1) > spread_from(i));
    free(values);
    free(s);
}

static void
a_timeline_of_a_day_loses_no_count(void **state)
{
    struct timeline *t = calloc(1, sizeof *t);
    unsigned connects = 0;

    (void)state;
    for (int64_t ms = 0; ms < DAY_MS; ms += 7919) {
        struct timeline_step *s = timeline_at(t, ms);

        s->connects++;
        s->connected = (unsigned)(ms / 1000);
        connects++;
    }
    assert_true(t->count <= TIMELINE_STEPS && t->count > TIMELINE_STEPS / 2 - 1);
    for (size_t i = 0; i < t->count; i++) {
        connects -= t->steps[i].connects;
        assert_true(i == 0 || t->steps[i].connected >= t->steps[i - 1].connected);
    }
    assert_int_equal(connects, 0);
    free(t);
}

/* ---- a device's chip ---- */

static void
the_chip_signs_for_openssl_and_keeps_its_key(void **state)
{
    char dir[] = "/tmp/test-fleet.XXXXXX";
    uint8_t point[PKI_POINT_LEN];
    uint8_t sig[PKI_SIGNATURE_MAX];
    struct fleet_keys *keys = NULL;
    struct fleet_key *key = NULL;

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(fleet_keys_new(&keys, NULL), BM_OK);
    for (int run = 0; run < 3; run++) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY *public;
        size_t len = sizeof sig;

        assert_int_equal(fleet_key_open(keys, run == 0 ? NULL : dir, &key, NULL), BM_OK);
        if (run == 2)
            assert_memory_equal(point, fleet_key_point(key), sizeof point);
        memcpy(point, fleet_key_point(key), sizeof point);
        assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", fleet_keys_lib(keys), NULL,
                             fleet_key_pkey(key), NULL),
            1);
        assert_int_equal(EVP_DigestSign(ctx, sig, &len, (const uint8_t *)"hello", 5), 1);
        assert_int_equal(fleet_key_signatures(key), 1);
        public = pki_point_key(point);
        assert_int_equal(EVP_MD_CTX_reset(ctx), 1);
        assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, public), 1);
        assert_int_equal(EVP_DigestVerify(ctx, sig, len, (const uint8_t *)"hello", 5), 1);
        EVP_PKEY_free(public);
        EVP_MD_CTX_free(ctx);
        fleet_key_close(key);
    }
    fleet_keys_free(keys);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

/* ---- certificates ---- */

struct bench {
    struct pki_signer *signer;
    struct pki_cert *cert;
    struct fleet_ca ca;
    struct fleet_keys *keys;
    struct fleet_key *key;
};

static int
set_up(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    X509_NAME *name = NULL;
    struct pki_profile p = { .kind = PKI_ROOT, .path_len = PKI_NO_PATH_LEN };
    int64_t now = clock_wall_ms();

    *state = b;
    assert_int_equal(subject_parse("/CN=Test CA", &name, NULL), BM_OK);
    p.subject = name;
    p.not_before_ms = now - DAY_MS * 10LL;
    p.not_after_ms = now + DAY_MS * 10LL;
    assert_int_equal(pki_signer_new(&b->signer, NULL), BM_OK);
    assert_int_equal(
        pki_issue(b->signer, NULL, pki_signer_public(b->signer), &p, &b->cert, NULL), BM_OK);
    X509_NAME_free(name);
    assert_int_equal(fleet_ca_init(&b->ca, b->signer, b->cert, NULL), BM_OK);
    assert_int_equal(fleet_keys_new(&b->keys, NULL), BM_OK);
    assert_int_equal(fleet_key_open(b->keys, NULL, &b->key, NULL), BM_OK);
    return 0;
}

static int
tear_down(void **state)
{
    struct bench *b = *state;

    fleet_key_close(b->key);
    fleet_keys_free(b->keys);
    fleet_ca_fini(&b->ca);
    pki_cert_free(b->cert);
    pki_signer_free(b->signer);
    free(b);
    return 0;
}

static struct pki_cert *
cert_of(X509 *x)
{
    struct pki_cert *c = NULL;
    uint8_t *der = NULL;
    int len = i2d_X509(x, &der);

    assert_true(len > 0);
    assert_int_equal(pki_cert_from_der(span_of(der, (size_t)len), &c, NULL), BM_OK);
    OPENSSL_free(der);
    return c;
}

static void
each_identity_is_good_or_bad_in_its_own_way(void **state)
{
    static const struct {
        enum fleet_identity identity;
        bool named_as_issued; /* the CA's name stands in it */
        bool signed_by_ca;
        bool valid_now;
        bool sends_issuer;
    } cases[] = {
        { FLEET_OWN, true, true, true, true },
        { FLEET_CLONE, true, true, true, true },
        { FLEET_NOT_YET, true, true, false, true },
        { FLEET_EXPIRED, true, true, false, true },
        { FLEET_OTHER_CA, false, false, true, true },
        { FLEET_FORGED, true, false, true, true },
        { FLEET_SELF_SIGNED, false, false, true, false },
    };
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fleet_leaf leaf;
        struct pki_cert *c;
        struct span issuer;

        assert_int_equal(fleet_leaf_make(&b->ca, cases[i].identity, "/CN=d-1",
                             fleet_key_point(b->key), fleet_key_pkey(b->key), &leaf, NULL),
            BM_OK);
        c = cert_of(leaf.x509);
        issuer = pki_cert_issuer(c);
        assert_true(span_eq(issuer, pki_cert_subject(b->cert)) == cases[i].named_as_issued);
        assert_true((pki_cert_signed_by(c, b->cert, NULL) == BM_OK) == cases[i].signed_by_ca);
        assert_true((pki_cert_valid_at(c, clock_wall_ms(), NULL) == BM_OK) == cases[i].valid_now);
        assert_true((leaf.issuer != NULL) == cases[i].sends_issuer);
        assert_int_equal(X509_check_private_key(leaf.x509, fleet_key_pkey(b->key)), 1);
        if (leaf.issuer != NULL) /* what is sent fits by name, also when nothing else does */
            assert_int_equal(
                X509_NAME_cmp(X509_get_subject_name(leaf.issuer), X509_get_issuer_name(leaf.x509)),
                0);
        pki_cert_free(c);
        fleet_leaf_fini(&leaf);
    }
}

static void
a_certificate_is_kept_and_not_mistaken_for_another_chips(void **state)
{
    struct bench *b = *state;
    char path[] = "/tmp/test-fleet-leaf.XXXXXX";
    struct fleet_leaf leaf;
    struct fleet_leaf again;
    struct fleet_key *other = NULL;

    (void)close(mkstemp(path));
    assert_int_equal(fleet_leaf_make(&b->ca, FLEET_OWN, "/CN=d-1", fleet_key_point(b->key),
                         fleet_key_pkey(b->key), &leaf, NULL),
        BM_OK);
    assert_int_equal(fleet_leaf_write(&leaf, path, NULL), BM_OK);
    assert_int_equal(fleet_leaf_read(path, fleet_key_pkey(b->key), &again, NULL), BM_OK);
    assert_int_equal(X509_cmp(leaf.x509, again.x509), 0);
    assert_int_equal(X509_cmp(leaf.issuer, again.issuer), 0);
    fleet_leaf_fini(&again);
    assert_int_equal(fleet_key_open(b->keys, NULL, &other, NULL), BM_OK);
    assert_int_equal(fleet_leaf_read(path, fleet_key_pkey(other), &again, NULL), BM_ERR_CONFLICT);
    fleet_key_close(other);
    (void)unlink(path);
    assert_int_equal(fleet_leaf_read(path, fleet_key_pkey(b->key), &again, NULL), BM_ERR_NOT_FOUND);
    fleet_leaf_fini(&leaf);
}

static void
a_run_to_another_machine_wants_force(void **state)
{
    struct bench *b = *state;
    struct fleet_plan p;
    struct bm_msg msg = { "" };
    struct fleet_report *r = calloc(1, sizeof *r);
    struct fleet_options o = { .plan = &p,
        .host = "192.0.2.1", /* TEST-NET-1: nobody */
        .port = 8883,
        .ca = &b->ca,
        .subject = "/CN={client}" };

    assert_int_equal(parse("{\"groups\":[{\"count\":2}]}", &p, NULL), BM_OK);
    assert_int_equal(fleet_run(&o, r, &msg), BM_ERR_DENIED);
    assert_non_null(strstr(msg.text, "--force"));
    free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scenario_says_what_differs_from_the_default),
        cmocka_unit_test(a_wrong_scenario_is_refused_and_the_place_named),
        cmocka_unit_test(times_and_topics_are_read_as_written),
        cmocka_unit_test(a_spread_is_right_to_a_sixteenth),
        cmocka_unit_test(a_timeline_of_a_day_loses_no_count),
        cmocka_unit_test(the_chip_signs_for_openssl_and_keeps_its_key),
        cmocka_unit_test_setup_teardown(
            each_identity_is_good_or_bad_in_its_own_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_certificate_is_kept_and_not_mistaken_for_another_chips, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_to_another_machine_wants_force, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

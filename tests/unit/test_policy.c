/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/policy: which documents are taken, and what they allow. SPEC aws-iot 7. */
#include "policy/policy.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID "578abfd3553f7c6c52cff3aa148d8aa4eca7f03911fca04c4057843dbea629e4"
#define ARN "arn:aws:iot:us-east-1:000000000000:"
#define ALLOW(action, resource)                                                                    \
    "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\"," action "," resource "}}"

static struct policy *
parse(const char *document)
{
    struct policy *p = NULL;
    struct bm_msg msg;

    if (policy_parse(span_str(document), &p, &msg) != BM_OK)
        fail_msg("%s: %s", document, msg.text);
    return p;
}

static struct policy_subject
subject(const char *client_id)
{
    return (struct policy_subject){ .region = "us-east-1",
        .account = "000000000000",
        .client_id = span_str(client_id),
        .cert_id = ID,
        .source_ip = "127.0.0.1" };
}

static struct policy_certificate *
certificate(void)
{
    struct policy_certificate *c = policy_certificate_new();

    assert_non_null(c);
    policy_certificate_add(c, "Subject.CommonName", span_str("Lamp 7"));
    policy_certificate_add(c, "Subject.Organization", span_str("Acme"));
    policy_certificate_add(c, "Subject.Organization", span_str("West"));
    policy_certificate_add(c, "Subject.Title", span_str("*"));
    policy_certificate_add(c, "SerialNumber", span_str("4711"));
    policy_certificate_add(c, "Subject.Pet", span_str("unknown names are left out"));
    assert_true(policy_certificate_whole(c));
    return c;
}

static enum policy_verdict
decide(const char *document, enum policy_action a, const char *name, const char *client_id)
{
    struct policy_subject who = subject(client_id);
    struct policy_certificate *leaf = certificate();
    struct policy *p = parse(document);
    const struct policy *set[] = { p };
    enum policy_verdict v;

    who.certificate = leaf;
    v = policy_decide(set, 1, a, span_str(name), &who);
    policy_free(p);
    policy_certificate_free(leaf);
    return v;
}

/* One Allow statement for `action` on `resource`. */
static enum policy_verdict
allow(const char *action, const char *resource, enum policy_action a, const char *name,
    const char *client_id)
{
    char document[4096];

    (void)snprintf(document, sizeof document,
        "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"%s\","
        "\"Resource\":\"%s\"}}",
        action, resource);
    return decide(document, a, name, client_id);
}

struct match {
    const char *resource;
    enum policy_action action;
    const char *name;
    bool allowed;
};

static void
resources_match_by_the_table(void **state)
{
    static const struct match cases[] = {
        { "*", POLICY_CONNECT, "any", true },
        { "arn:aws:iot:*", POLICY_PUBLISH, "a/b", true },
        { "arn:aws:iot:*:*:topic/a", POLICY_PUBLISH, "a", true },
        { "arn:aws:iot:us-east-1:*:topic/a", POLICY_PUBLISH, "a", true },
        { "arn:aws:iot:eu-west-1:000000000000:topic/a", POLICY_PUBLISH, "a", false },
        { "arn:aws:iot:us-east-1:111111111111:topic/a", POLICY_PUBLISH, "a", false },
        { ARN "topic/a", POLICY_PUBLISH, "a", true },
        { ARN "topic/a", POLICY_PUBLISH, "A", false },
        { ARN "topic/a", POLICY_PUBLISH, "ab", false },
        { ARN "topic/ab", POLICY_PUBLISH, "a", false },
        { ARN "topic/a", POLICY_CONNECT, "a", false },   /* client/, not topic/ */
        { ARN "topic/a", POLICY_SUBSCRIBE, "a", false }, /* topicfilter/, not topic/ */
        { ARN "topic/a", POLICY_RECEIVE, "a", true },
        { ARN "topic/a", POLICY_RETAIN_PUBLISH, "a", true },
        { ARN "client/dev-*", POLICY_CONNECT, "dev-1", true },
        { ARN "client/dev-*", POLICY_CONNECT, "dev-", true },
        { ARN "client/dev-*", POLICY_CONNECT, "dev", false },
        { ARN "topic/a/*", POLICY_PUBLISH, "a/b/c", true }, /* stars cross slashes */
        { ARN "topic/a/*", POLICY_PUBLISH, "a", false },
        { ARN "topic/a/*/c", POLICY_PUBLISH, "a/b/b/c", true },
        { ARN "topic/a/*/c", POLICY_PUBLISH, "a/b/cc", false },
        { ARN "topic/?", POLICY_PUBLISH, "x", true },
        { ARN "topic/?", POLICY_PUBLISH, "", false },
        { ARN "topic/?", POLICY_PUBLISH, "xy", false },
        { ARN "topic/?", POLICY_PUBLISH, "/", true },
        { ARN "topic/?x", POLICY_PUBLISH, "\xe2\x82\xacx", true }, /* one character, three bytes */
        { ARN "topic/*?", POLICY_PUBLISH, "abc", true },
        { ARN "topic/**b", POLICY_PUBLISH, "aab", true },
        /* MQTT wildcards are plain text */
        { ARN "topicfilter/a/*", POLICY_SUBSCRIBE, "a/#", true },
        { ARN "topicfilter/a/#", POLICY_SUBSCRIBE, "a/#", true },
        { ARN "topicfilter/a/#", POLICY_SUBSCRIBE, "a/b", false },
        { ARN "topicfilter/a/+", POLICY_SUBSCRIBE, "a/+", true },
        { ARN "topicfilter/a/+", POLICY_SUBSCRIBE, "a/b", false },
        { ARN "topic/a/+", POLICY_PUBLISH, "a/b", false },
        /* escapes */
        { ARN "topic/a${*}b", POLICY_PUBLISH, "a*b", true },
        { ARN "topic/a${*}b", POLICY_PUBLISH, "axb", false },
        { ARN "topic/a${?}b", POLICY_PUBLISH, "a?b", true },
        { ARN "topic/a${?}b", POLICY_PUBLISH, "axb", false },
        { ARN "topic/${$}{iot:ClientId}", POLICY_PUBLISH, "${iot:ClientId}", true },
        { ARN "topic/${$}{iot:ClientId}", POLICY_PUBLISH, "dev-1", false },
        { ARN "topic/$aws/x", POLICY_PUBLISH, "$aws/x", true },
        { ARN "topic/a$", POLICY_PUBLISH, "a$", true },
        { ARN "topic/a${", POLICY_PUBLISH, "a${", true },
        /* variables */
        { ARN "client/${iot:ClientId}", POLICY_CONNECT, "dev-1", true },
        { ARN "topic/${iot:ClientId}/x", POLICY_PUBLISH, "dev-1/x", true },
        { ARN "topic/${iot:ClientId}/x", POLICY_PUBLISH, "dev-2/x", false },
        { ARN "topic/*/${iot:ClientId}/*", POLICY_PUBLISH, "a/dev-/dev-1/x", true },
        { ARN "topic/${iot:CertificateId}", POLICY_PUBLISH, ID, true },
        { ARN "topic/${aws:SourceIp}", POLICY_PUBLISH, "127.0.0.1", true },
        { ARN "topic/${iot:ClientId}${iot:ClientId}", POLICY_PUBLISH, "dev-1dev-1", true },
        { ARN "topic/${iot:Certificate.Subject.CommonName}", POLICY_PUBLISH, "Lamp 7", true },
        { ARN "topic/${iot:Certificate.Subject.CommonName}/x", POLICY_PUBLISH, "Lamp 8/x", false },
        { ARN "topic/${iot:Certificate.Subject.Organization.1}", POLICY_PUBLISH, "West", true },
        { ARN "topic/${iot:Certificate.Subject.Organization.1}", POLICY_PUBLISH, "Acme", false },
        { ARN "topic/${iot:Certificate.SerialNumber}", POLICY_PUBLISH, "4711", true },
        { ARN "topic/?${iot:Certificate.SerialNumber}*", POLICY_PUBLISH, "x4711y", true },
        /* not resolved: stays text, SPEC 7.3 */
        { ARN "topic/${iot:Certificate.Subject.State}", POLICY_PUBLISH, "", false },
        { ARN "topic/${iot:Certificate.Subject.State}", POLICY_PUBLISH,
            "${iot:Certificate.Subject.State}", true },
        { ARN "topic/${iot:Certificate.Subject.Organization.List}", POLICY_PUBLISH, "Acme", false },
        { ARN "topic/${iot:Certificate.Subject.Organization.2}", POLICY_PUBLISH, "Acme", false },
        { ARN "topic/${iot:Certificate.Subject.Title}", POLICY_PUBLISH, "x", false },
        { ARN "topic/${iot:Certificate.Subject.Title}", POLICY_PUBLISH, "*",
            false }, /* its value */
        { ARN "topic/${iot:Certificate.AvailableKeys}", POLICY_PUBLISH, "x", false },
        { ARN "client/${iot:Connection.Thing.ThingName}", POLICY_CONNECT, "dev-1", false },
        { ARN "client/${iot:Connection.Thing.ThingName}", POLICY_CONNECT,
            "${iot:Connection.Thing.ThingName}", true },
        { ARN "topic/${aws:username}", POLICY_PUBLISH, "${aws:username}", true },
        { ARN "topic/${aws:username}", POLICY_PUBLISH, "x", false },
        { ARN "topic/${iot:clientid}", POLICY_PUBLISH, "dev-1", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct match *c = &cases[i];
        enum policy_verdict v = allow("iot:*", c->resource, c->action, c->name, "dev-1");

        if ((v == POLICY_ALLOWED) != c->allowed)
            fail_msg("%s on %s", c->resource, c->name);
    }
}

static void
value_of_a_variable_is_never_a_wildcard(void **state)
{
    static const char resource[] = ARN "topic/${iot:ClientId}/x";

    (void)state;
    assert_int_equal(
        allow("iot:*", resource, POLICY_PUBLISH, "dev-1/x", "*"), POLICY_DENIED_IMPLICIT);
    assert_int_equal(allow("iot:*", resource, POLICY_PUBLISH, "d/x", "?"), POLICY_DENIED_IMPLICIT);
    assert_int_equal(allow("iot:*", resource, POLICY_PUBLISH, "*/x", "*"), POLICY_ALLOWED);
    assert_int_equal(allow("iot:*", resource, POLICY_PUBLISH, ID "/x", "${iot:CertificateId}"),
        POLICY_DENIED_IMPLICIT);
    assert_int_equal(allow("iot:*", ARN "topic/*${iot:ClientId}", POLICY_PUBLISH, "abc", "*"),
        POLICY_DENIED_IMPLICIT);
}

static void
variable_without_value_stays_text(void **state)
{
    struct policy_subject who = { .region = "us-east-1", .account = "000000000000" };
    struct policy *p =
        parse("{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\","
              "\"Resource\":\"" ARN "topic/a${iot:CertificateId}\"}}");
    const struct policy *set[] = { p };

    (void)state;
    assert_int_equal(
        policy_decide(set, 1, POLICY_PUBLISH, span_str("a"), &who), POLICY_DENIED_IMPLICIT);
    assert_int_equal(policy_decide(set, 1, POLICY_PUBLISH, span_str("a${iot:CertificateId}"), &who),
        POLICY_ALLOWED);
    policy_free(p);
}

static void
actions_match_whatever_the_case_and_by_wildcards(void **state)
{
    static const struct {
        const char *action;
        unsigned mask; /* which of the five it covers */
    } cases[] = {
        { "*", 0x1f },
        { "iot:*", 0x1f },
        { "IOT:*", 0x1f },
        { "iot:Connect", 1U << POLICY_CONNECT },
        { "iot:connect", 1U << POLICY_CONNECT },
        { "Iot:PUBLISH", 1U << POLICY_PUBLISH },
        { "iot:*Publish", 1U << POLICY_PUBLISH | 1U << POLICY_RETAIN_PUBLISH },
        { "iot:Publis?", 1U << POLICY_PUBLISH },
        { "iot:Receive", 1U << POLICY_RECEIVE },
        { "iot:Subscribe", 1U << POLICY_SUBSCRIBE },
        { "iot:RetainPublish", 1U << POLICY_RETAIN_PUBLISH },
        { "iot:GetThingShadow", 0 },
        { "iot:Publishe", 0 },
        { "s3:*", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (unsigned a = POLICY_CONNECT; a <= POLICY_RECEIVE; a++) {
            enum policy_verdict v = allow(cases[i].action, "*", (enum policy_action)a, "x", "x");

            if ((v == POLICY_ALLOWED) != ((cases[i].mask >> a & 1) != 0))
                fail_msg("%s on %s", cases[i].action, policy_action_name((enum policy_action)a));
        }
    }
}

static void
explicit_deny_wins_across_policies_in_any_order(void **state)
{
    struct policy *yes = parse("{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
                               "\"Action\":\"iot:*\",\"Resource\":\"*\"}]}");
    struct policy *no = parse("{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\","
                              "\"Action\":[\"iot:Publish\"],\"Resource\":[\"" ARN "topic/x\"]}]}");
    const struct policy *one[] = { yes, no };
    const struct policy *other[] = { no, yes };
    struct policy_subject who = subject("c");

    (void)state;
    assert_int_equal(
        policy_decide(one, 2, POLICY_PUBLISH, span_str("x"), &who), POLICY_DENIED_EXPLICIT);
    assert_int_equal(
        policy_decide(other, 2, POLICY_PUBLISH, span_str("x"), &who), POLICY_DENIED_EXPLICIT);
    assert_int_equal(policy_decide(one, 2, POLICY_PUBLISH, span_str("y"), &who), POLICY_ALLOWED);
    assert_int_equal(policy_decide(one, 2, POLICY_RECEIVE, span_str("x"), &who), POLICY_ALLOWED);
    assert_int_equal(
        policy_decide(&one[1], 1, POLICY_RECEIVE, span_str("x"), &who), POLICY_DENIED_IMPLICIT);
    assert_int_equal(
        policy_decide(NULL, 0, POLICY_CONNECT, span_str("c"), &who), POLICY_DENIED_IMPLICIT);
    policy_free(yes);
    policy_free(no);
}

/* SPEC aws-iot 5.6 */
static void
policy_of_the_jitr_sample_allows_the_device_its_own_names_only(void **state)
{
    static const char document[] =
        "{ \"Version\": \"2012-10-17\", \"Statement\": ["
        "{ \"Effect\": \"Allow\", \"Action\": [ \"iot:Connect\" ], \"Resource\": \"" ARN
        "client/" ID "\" },"
        "{ \"Effect\": \"Allow\", \"Action\": [ \"iot:Publish\", \"iot:Receive\" ],"
        " \"Resource\": \"" ARN "topic/foo/bar/" ID "/*\" },"
        "{ \"Effect\": \"Allow\", \"Action\": [ \"iot:Subscribe\" ],"
        " \"Resource\": \"" ARN "topicfilter/foo/bar/" ID "/#\" } ] }";

    (void)state;
    assert_int_equal(decide(document, POLICY_CONNECT, ID, ID), POLICY_ALLOWED);
    assert_int_equal(
        decide(document, POLICY_CONNECT, "anyclientID", "anyclientID"), POLICY_DENIED_IMPLICIT);
    assert_int_equal(decide(document, POLICY_PUBLISH, "foo/bar/" ID "/x", ID), POLICY_ALLOWED);
    assert_int_equal(decide(document, POLICY_PUBLISH, "foo/bar", ID), POLICY_DENIED_IMPLICIT);
    assert_int_equal(decide(document, POLICY_RECEIVE, "foo/bar/" ID "/x", ID), POLICY_ALLOWED);
    assert_int_equal(decide(document, POLICY_SUBSCRIBE, "foo/bar/" ID "/#", ID), POLICY_ALLOWED);
    assert_int_equal(decide(document, POLICY_SUBSCRIBE, "foo/bar/#", ID), POLICY_DENIED_IMPLICIT);
}

static void
malformed_documents_are_refused_with_the_place_named(void **state)
{
#define ST(members) "{\"Version\":\"2012-10-17\",\"Statement\":[{" members "}]}"
#define CONDITION(text) ST("\"Effect\":\"Allow\",\"Condition\":{" text "}" OTHERS)
#define OTHERS ",\"Action\":\"iot:Connect\",\"Resource\":\"*\""
    static const struct {
        const char *document;
        const char *says;
    } cases[] = {
        { "", "no JSON" },
        { "{", "no JSON" },
        { "[]", "no JSON object" },
        { "\"x\"", "no JSON" },
        { "{\"Statement\":[]}", "Version" },
        { "{\"Version\":\"2012-10-18\",\"Statement\":[]}", "Version" },
        { "{\"Version\":20121017,\"Statement\":[]}", "Version" },
        { "{\"Version\":\"2012-10-17\"}", "Statement" },
        { "{\"Version\":\"2012-10-17\",\"Statement\":[]}", "Statement" },
        { "{\"Version\":\"2012-10-17\",\"Statement\":\"x\"}", "Statement" },
        { "{\"Version\":\"2012-10-17\",\"Statement\":[1]}", "statement 1" },
        { "{\"Version\":\"2012-10-17\",\"Statement\":[],\"statement\":1}", "statement" },
        { "{\"Version\":\"2012-10-17\",\"Version\":\"2012-10-17\",\"Statement\":[]}", "duplicate" },
        { ST("\"Effect\":\"Allow\",\"Effect\":\"Deny\"" OTHERS), "duplicate" },
        { ST("\"Effect\":\"allow\"" OTHERS), "Effect" },
        { ST("\"Effect\":1" OTHERS), "Effect" },
        { ST("\"Action\":\"*\",\"Resource\":\"*\""), "Effect" },
        { ST("\"Effect\":\"Allow\",\"Resource\":\"*\""), "no Action" },
        { ST("\"Effect\":\"Allow\",\"Action\":[],\"Resource\":\"*\""), "Action" },
        { ST("\"Effect\":\"Allow\",\"Action\":[1],\"Resource\":\"*\""), "Action" },
        { ST("\"Effect\":\"Allow\",\"Action\":\"Connect\",\"Resource\":\"*\""),
            "\"Connect\" is no action" },
        { ST("\"Effect\":\"Allow\",\"Action\":\"iot:\",\"Resource\":\"*\""), "no action" },
        { ST("\"Effect\":\"Allow\",\"Action\":\"*\""), "no Resource" },
        { ST("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":{}"), "Resource" },
        { ST("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"topic/a\""), "no ARN" },
        { ST("\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":[\"*\",\"\"]"), "no ARN" },
        { ST("\"Effect\":\"Allow\",\"Sid\":7" OTHERS), "Sid" },
        { ST("\"Effect\":\"Allow\",\"Principal\":\"*\"" OTHERS), "Principal" },
        { ST("\"Effect\":\"Allow\",\"NotAction\":\"a:b\"" OTHERS), "both Action and NotAction" },
        { ST("\"Effect\":\"Allow\",\"NotAction\":\"b\",\"Resource\":\"*\""), "NotAction: \"b\"" },
        { ST("\"Effect\":\"Allow\",\"NotResource\":\"*\"" OTHERS),
            "both Resource and NotResource" },
        { ST("\"Effect\":\"Allow\",\"Action\":\"*\",\"NotResource\":\"x\""), "NotResource: \"x\"" },
        { ST("\"Effect\":\"Allow\",\"Condition\":[]" OTHERS), "Condition: want an object" },
        { CONDITION("\"StringEquals\":\"x\""), "StringEquals: want an object of keys" },
        { CONDITION("\"StringEquals\":{}"), "StringEquals: want an object of keys" },
        { CONDITION("\"StringEqual\":{\"iot:ClientId\":\"x\"}"), "\"StringEqual\" is not known" },
        { CONDITION("\"DateEquals\":{\"iot:ClientId\":\"2026-11-23\"}"), "is no time" },
        { CONDITION("\"DateEquals\":{\"aws:CurrentTime\":\"noon\"}"), "want times like" },
        { CONDITION("\"DateEquals\":{\"aws:CurrentTime\":\"2026-11-31\"}"), "not \"2026-11-31\"" },
        { CONDITION("\"DateEquals\":{\"aws:CurrentTime\":\"2026-11-23T10:00:00\"}"), "want times" },
        { CONDITION("\"DateEquals\":{\"aws:CurrentTime\":\"2026-11-23T10:00:00.Z\"}"),
            "want times" },
        { CONDITION("\"DateEquals\":{\"aws:CurrentTime\":\"2026-11-23T10:00Z \"}"), "want times" },
        { CONDITION("\"DateEquals\":{\"aws:CurrentTime\":\"2026-11-23T24:00Z\"}"), "want times" },
        { CONDITION("\"DateEquals\":{\"aws:CurrentTime\":\"\"}"), "want times" },
        { CONDITION("\"BinaryEquals\":{\"iot:ClientId\":\"eA==\"}"), "is not known" },
        { CONDITION("\"Bool\":{\"iot:Connection.Thing.IsMoving\":\"true\"}"), "is not known here" },
        { CONDITION("\"StringEquals\":{\"iot:Connection.Thing.Attributes[]\":\"x\"}"),
            "is not known" },
        { CONDITION("\"StringEquals\":{\"iot:Connection.Thing.Attributes[a\":\"x\"}"),
            "is not known" },
        { CONDITION("\"IfExists\":{\"iot:ClientId\":\"x\"}"), "\"IfExists\" is not known" },
        { CONDITION("\"ForAnyValue:\":{\"iot:ClientId\":\"x\"}"), "is not known" },
        { CONDITION("\"ForSomeValue:Bool\":{\"iot:ClientId\":\"x\"}"), "is not known" },
        { CONDITION("\"NullIfExists\":{\"iot:ClientId\":\"true\"}"), "write Null" },
        { CONDITION("\"ForAllValues:Null\":{\"iot:ClientId\":\"true\"}"), "write Null" },
        { CONDITION("\"Null\":{\"iot:ClientId\":\"yes\"}"), "not \"yes\"" },
        { CONDITION("\"Bool\":{\"iot:ClientId\":[\"true\",\"1\"]}"), "not \"1\"" },
        { CONDITION("\"StringEquals\":{\"iot:ClientId\":null}"), "want strings" },
        { CONDITION("\"StringEquals\":{\"iot:ClientId\":{}}"), "want strings" },
        { CONDITION("\"StringEquals\":{\"aws:VpcSourceIp\":\"x\"}"), "\"aws:VpcSourceIp\" is not" },
        { CONDITION("\"StringEquals\":{\"iot:Certificate.Subject.Pet\":\"x\"}"),
            "is not known here" },
        { CONDITION("\"StringEquals\":{\"iot:Certificate.SerialNumber.5\":\"x\"}"),
            "is not known" },
        { CONDITION("\"IpAddress\":{\"iot:ClientId\":\"127.0.0.1\"}"), "is no address" },
        { CONDITION("\"IpAddress\":{\"aws:SourceIp\":\"127.0.0.1/33\"}"), "127.0.0.1/33" },
        { CONDITION("\"IpAddress\":{\"aws:SourceIp\":\"127.0.0.1/\"}"), "127.0.0.1/" },
        { CONDITION("\"IpAddress\":{\"aws:SourceIp\":\"::/129\"}"), "::/129" },
        { CONDITION("\"IpAddress\":{\"aws:SourceIp\":\"127.0.1\"}"), "127.0.1" },
        { CONDITION("\"NumericEquals\":{\"iot:ClientId\":\"0x1\"}"), "want numbers" },
        { CONDITION("\"NumericEquals\":{\"iot:ClientId\":\"1-2\"}"), "want numbers" },
        { "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\","
          "\"Resource\":\"*\"},"
          "{\"Effect\":\"Alow\",\"Action\":\"*\",\"Resource\":\"*\"}]}",
            "statement 2" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy *p = NULL;
        struct bm_msg msg = { "" };

        if (policy_parse(span_str(cases[i].document), &p, &msg) != BM_ERR_INPUT)
            fail_msg("taken: %s", cases[i].document);
        assert_null(p);
        if (strstr(msg.text, cases[i].says) == NULL)
            fail_msg("%s: says \"%s\"", cases[i].document, msg.text);
    }
}

/* SPEC aws-iot 7.1: white space does not count */
static void
size_limit_counts_characters_without_white_space(void **state)
{
    static const char head[] = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
                               "\"Action\":\"*\",\"Resource\":\"*";
    static const char tail[] = "\"}]}";
    const size_t frame = sizeof head + sizeof tail - 2;

    (void)state;
    for (size_t over = 0; over < 2; over++) {
        struct buf document = { 0 };
        struct policy *p = NULL;
        struct bm_msg msg = { "" };

        buf_addf(&document, "%1000s%s", "\n\t", head);
        for (size_t i = 0; i < POLICY_DOCUMENT_MAX - frame + over; i++)
            buf_add(&document, "a", 1);
        buf_addf(&document, "%s%1000s", tail, "\r\n");
        assert_int_equal(
            policy_parse(buf_span(&document), &p, &msg), over == 0 ? BM_OK : BM_ERR_INPUT);
        assert_true(over == 0 || strstr(msg.text, "2049 characters") != NULL);
        policy_free(p);
        buf_fini(&document);
    }
}

static void
many_stars_do_not_blow_up(void **state)
{
    struct policy_subject who =
        subject("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    char document[2048] =
        "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\","
        "\"Resource\":\"*";
    char name[8192];
    struct policy *p;
    const struct policy *set[1];
    int64_t start;

    (void)state;
    for (size_t i = 0; i < 60; i++)
        (void)strcat(document, "a*${iot:ClientId}*");
    (void)strcat(document, "b\"}}");
    memset(name, 'a', sizeof name);
    p = parse(document);
    set[0] = p;
    start = clock_mono_ms();
    assert_int_equal(policy_decide(set, 1, POLICY_PUBLISH, span_of(name, sizeof name), &who),
        POLICY_DENIED_IMPLICIT);
    name[sizeof name - 1] = 'b';
    assert_int_equal(
        policy_decide(set, 1, POLICY_PUBLISH, span_of(name, sizeof name), &who), POLICY_ALLOWED);
    assert_true(clock_mono_ms() - start < 5000); /* milliseconds; backtracking would take years */
    policy_free(p);
}

/* One Allow for all with this Condition. The subject is dev-1 with a will, from 127.0.0.1. */
static bool
holds(const char *condition, enum policy_action a)
{
    char document[4096];
    struct policy_subject who = subject("dev-1");
    struct policy_certificate *leaf = certificate();
    struct policy *p;
    const struct policy *set[1];
    enum policy_verdict v;

    (void)snprintf(document, sizeof document,
        "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\","
        "\"Resource\":\"*\",\"Condition\":{%s}}}",
        condition);
    p = parse(document);
    set[0] = p;
    who.certificate = leaf;
    who.last_will = true;
    v = policy_decide(set, 1, a, span_str("dev-1"), &who);
    policy_free(p);
    policy_certificate_free(leaf);
    return v == POLICY_ALLOWED;
}

static void
conditions_hold_by_the_table(void **state)
{
#define ORGANIZATIONS "\"iot:Certificate.Subject.Organization.List\":"
    static const struct {
        const char *condition;
        bool holds;
    } cases[] = {
        { "", true },
        { "\"StringEquals\":{\"iot:ClientId\":\"dev-1\"}", true },
        { "\"StringEquals\":{\"IOT:clientID\":\"dev-1\"}", true }, /* keys: whatever the case */
        { "\"StringEquals\":{\"iot:ClientId\":[\"x\",\"dev-1\"]}", true },
        { "\"StringEquals\":{\"iot:ClientId\":[]}", false },
        { "\"StringEquals\":{\"iot:ClientId\":\"dev-*\"}", false }, /* a star is a star */
        { "\"StringEquals\":{\"iot:ClientId\":\"DEV-1\"}", false },
        { "\"StringEqualsIgnoreCase\":{\"iot:ClientId\":\"DEV-1\"}", true },
        { "\"StringNotEqualsIgnoreCase\":{\"iot:ClientId\":\"DEV-1\"}", false },
        { "\"StringNotEquals\":{\"iot:ClientId\":\"dev-2\"}", true },
        { "\"StringNotEquals\":{\"iot:ClientId\":[\"dev-2\",\"dev-1\"]}", false },
        { "\"StringLike\":{\"iot:ClientId\":\"d*-?\"}", true },
        { "\"StringLike\":{\"iot:ClientId\":\"D*\"}", false },
        { "\"StringNotLike\":{\"iot:ClientId\":\"d*\"}", false },
        { "\"StringEquals\":{\"iot:ClientId\":\"${iot:ClientId}\"}", true },
        { "\"StringEquals\":{\"iot:CertificateId\":\"" ID "\"}", true },
        /* all keys and all operators must hold */
        { "\"StringEquals\":{\"iot:ClientId\":\"dev-1\",\"aws:SourceIp\":\"x\"}", false },
        { "\"StringEquals\":{\"iot:ClientId\":\"dev-1\"},\"StringLike\":{\"iot:ClientId\":\"x\"}",
            false },
        /* addresses */
        { "\"IpAddress\":{\"aws:SourceIp\":\"127.0.0.0/8\"}", true },
        { "\"IpAddress\":{\"aws:SourceIp\":\"127.0.0.1\"}", true },
        { "\"IpAddress\":{\"aws:SourceIp\":\"127.0.0.2/31\"}", false },
        { "\"IpAddress\":{\"aws:SourceIp\":\"127.0.0.0/31\"}", true },
        { "\"IpAddress\":{\"aws:SourceIp\":[\"10.0.0.0/8\",\"0.0.0.0/0\"]}", true },
        { "\"IpAddress\":{\"aws:SourceIp\":\"::ffff:127.0.0.1/128\"}", true },
        { "\"IpAddress\":{\"aws:SourceIp\":\"2001:db8::/32\"}", false },
        { "\"NotIpAddress\":{\"aws:SourceIp\":\"2001:db8::/32\"}", true },
        { "\"NotIpAddress\":{\"aws:SourceIp\":\"127.0.0.0/8\"}", false },
        /* numbers, booleans */
        { "\"NumericEquals\":{\"iot:Certificate.SerialNumber\":4711}", true },
        { "\"NumericEquals\":{\"iot:Certificate.SerialNumber\":\"4711.0\"}", true },
        { "\"NumericNotEquals\":{\"iot:Certificate.SerialNumber\":4711}", false },
        { "\"NumericLessThan\":{\"iot:Certificate.SerialNumber\":4711}", false },
        { "\"NumericLessThanEquals\":{\"iot:Certificate.SerialNumber\":4711}", true },
        { "\"NumericGreaterThan\":{\"iot:Certificate.SerialNumber\":4710}", true },
        { "\"NumericGreaterThanEquals\":{\"iot:Certificate.SerialNumber\":4712}", false },
        { "\"NumericEquals\":{\"iot:ClientId\":1}", false }, /* dev-1 is no number */
        { "\"Bool\":{\"iot:ClientId\":true}", false },
        /* a key without a value */
        { "\"Bool\":{\"iot:Connection.Thing.IsAttached\":[\"true\"]}", false },
        { "\"Bool\":{\"iot:Connection.Thing.IsAttached\":\"false\"}", true }, /* always has one */
        { "\"BoolIfExists\":{\"iot:Connection.Thing.IsAttached\":\"true\"}", false },
        { "\"Null\":{\"iot:Connection.Thing.ThingName\":\"true\"}", true },
        { "\"StringEquals\":{\"iot:Connection.Thing.Attributes[room]\":\"hall\"}", false },
        { "\"StringNotEquals\":{\"iot:Connection.Thing.Attributes[room]\":\"hall\"}", true },
        { "\"Null\":{\"iot:ClientId\":false}", true },
        { "\"StringEquals\":{\"iot:Certificate.Subject.State\":\"x\"}", false },
        { "\"StringNotEquals\":{\"iot:Certificate.Subject.State\":\"x\"}", true },
        { "\"StringEqualsIfExists\":{\"iot:Certificate.Subject.State\":\"x\"}", true },
        { "\"ForAllValues:StringEquals\":{\"iot:Certificate.Subject.State.List\":\"x\"}", true },
        { "\"ForAnyValue:StringEquals\":{\"iot:Certificate.Subject.State.List\":\"x\"}", false },
        { "\"ForAnyValue:StringNotEquals\":{\"iot:Certificate.Subject.State.List\":\"x\"}", false },
        /* several values: Acme, West */
        { "\"StringEquals\":{\"iot:Certificate.Subject.Organization\":\"Acme\"}", true },
        { "\"StringEquals\":{\"iot:Certificate.Subject.Organization\":\"West\"}", false },
        { "\"StringEquals\":{\"iot:Certificate.Subject.Organization.1\":\"West\"}", true },
        { "\"StringEquals\":{" ORGANIZATIONS "\"West\"}", true },
        { "\"StringNotEquals\":{" ORGANIZATIONS "\"West\"}", false },
        { "\"ForAnyValue:StringEquals\":{" ORGANIZATIONS "[\"West\",\"East\"]}", true },
        { "\"ForAnyValue:StringEquals\":{" ORGANIZATIONS "[\"East\"]}", false },
        { "\"ForAnyValue:StringNotEquals\":{" ORGANIZATIONS "[\"West\"]}", true },
        { "\"ForAnyValue:StringNotEquals\":{" ORGANIZATIONS "[\"West\",\"Acme\"]}", false },
        { "\"ForAllValues:StringEquals\":{" ORGANIZATIONS "[\"West\",\"Acme\"]}", true },
        { "\"ForAllValues:StringEquals\":{" ORGANIZATIONS "[\"West\"]}", false },
        { "\"ForAllValues:StringLike\":{" ORGANIZATIONS "[\"*e*\"]}", true },
        { "\"ForAllValues:StringNotEquals\":{" ORGANIZATIONS "[\"East\"]}", true },
        { "\"ForAllValues:StringNotEquals\":{" ORGANIZATIONS "[\"East\",\"West\"]}", false },
        /* how it connects: with a will, in a clean session */
        { "\"StringEquals\":{\"iot:ConnectAttributes\":\"LastWill\"}", true },
        { "\"ForAllValues:StringEquals\":{\"iot:ConnectAttributes\":[\"LastWill\"]}", true },
        { "\"ForAllValues:StringEquals\":{\"iot:ConnectAttributes\":[]}", false },
        { "\"ForAnyValue:StringEquals\":{\"iot:ConnectAttributes\":\"PersistentConnect\"}", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (holds(cases[i].condition, POLICY_CONNECT) != cases[i].holds)
            fail_msg("%s", cases[i].condition);
    }
    /* only a CONNECT has them */
    assert_false(
        holds("\"StringEquals\":{\"iot:ConnectAttributes\":\"LastWill\"}", POLICY_PUBLISH));
}

/* One Allow for all with this Condition, of a subject with a thing, at 2026-11-23T10:00:00Z. */
static bool
holds_for_thing(const char *condition)
{
    char document[4096];
    struct policy_subject who = subject("dev-1");
    struct policy_thing *thing = NULL;
    struct policy *p;
    const struct policy *set[1];
    enum policy_verdict v;

    (void)snprintf(document, sizeof document,
        "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\","
        "\"Resource\":\"*\",\"Condition\":{%s}}}",
        condition);
    p = parse(document);
    set[0] = p;
    assert_int_equal(
        policy_thing_new("Lamp",
            span_str("{\"room\":\"hall\",\"watt\":\"60\",\"Room\":\"#\",\"none\":\"\"}"), &thing,
            NULL),
        BM_OK);
    who.thing = thing;
    who.now_ms = 1795428000999;
    v = policy_decide(set, 1, POLICY_PUBLISH, span_str("a"), &who);
    policy_free(p);
    policy_thing_free(thing);
    return v == POLICY_ALLOWED;
}

static void
keys_of_things_and_times_by_the_table(void **state)
{
#define THING "\"iot:Connection.Thing."
#define NOW(operator, time) "\"" operator"\":{\"aws:CurrentTime\":" time "}"
    static const struct {
        const char *condition;
        bool holds;
    } cases[] = {
        { "\"Bool\":{" THING "IsAttached\":[\"true\"]}", true },
        { "\"Bool\":{" THING "IsAttached\":\"false\"}", false },
        { "\"StringEquals\":{" THING "ThingName\":\"dev-1\"}", true },
        { "\"StringEquals\":{" THING "ThingName\":\"dev-2\"}", false },
        { "\"StringEquals\":{" THING "ThingTypeName\":[\"Door\",\"Lamp\"]}", true },
        { "\"StringEquals\":{" THING "thingtypename\":\"Lamp\"}", true },
        { "\"StringEquals\":{" THING "Attributes[room]\":\"hall\"}", true },
        { "\"StringEquals\":{" THING "attributes[Room]\":\"hall\"}",
            false }, /* another attribute */
        { "\"StringEquals\":{" THING "Attributes[Room]\":\"#\"}", true },
        { "\"StringEquals\":{" THING "Attributes[none]\":\"\"}", true },
        { "\"NumericLessThan\":{" THING "Attributes[watt]\":100}", true },
        { "\"Null\":{" THING "Attributes[floor]\":true}", true },
        { "\"StringEquals\":{" THING
          "Attributes[room]\":\"${iot:Connection.Thing.Attributes[floor]}\"}",
            false },
        { NOW("DateEquals", "\"2026-11-23T10:00:00Z\""), true },
        { NOW("DateEquals", "\"2026-11-23T10:00:00.25Z\""), true },
        { NOW("DateEquals", "\"2026-11-23T12:30+02:30\""), true },
        { NOW("DateEquals", "\"2026-11-23T06:00:00-04:00\""), true },
        { NOW("DateEquals", "1795428000"), true },
        { NOW("DateNotEquals", "[\"2026-11-23\",\"2026-11-23T10:00:00Z\"]"), false },
        { NOW("DateGreaterThan", "\"2026-11-23\""), true },
        { NOW("DateGreaterThanEquals", "\"2026-11\""), true },
        { NOW("DateLessThan", "\"2027\""), true },
        { NOW("DateLessThan", "\"2026\""), false },
        { NOW("DateLessThanEquals", "\"2026-11-23T09:59:59Z\""), false },
        { NOW("DateLessThan", "\"2028-02-29T00:00:00Z\""), true },
        { "\"NumericGreaterThan\":{\"aws:EpochTime\":1795427999}", true },
        { "\"DateGreaterThan\":{\"aws:epochtime\":\"2026-11-23T10:00:01Z\"}", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (holds_for_thing(cases[i].condition) != cases[i].holds)
            fail_msg("%s", cases[i].condition);
    }
    /* without a time given, the clock's */
    assert_true(holds(NOW("DateGreaterThan", "\"2024-01-01T00:00:00Z\""), POLICY_PUBLISH));
    assert_false(holds(NOW("DateLessThan", "\"2024-01-01T00:00:00Z\""), POLICY_PUBLISH));
}

/* As variables; SPEC aws-iot 7.3: without the attached thing they stay text. */
static void
variables_of_a_thing_have_its_values(void **state)
{
    static const struct {
        const char *resource;
        const char *topic;
        bool attached;
        bool alone; /* without the thing */
    } cases[] = {
        { "topic/${iot:Connection.Thing.ThingName}/x", "dev-1/x", true, false },
        { "topic/${iot:Connection.Thing.ThingTypeName}/*", "Lamp/x", true, false },
        { "topic/${iot:Connection.Thing.Attributes[room]}/"
          "${iot:Connection.Thing.Attributes[floor]}",
            "hall/1", true, false },
        { "topic/${iot:Connection.Thing.Attributes[Room]}", "hall", false, false },
        { "topic/${iot:Connection.Thing.Attributes[Room]}",
            "${iot:Connection.Thing.Attributes[Room]}", true, true },
        { "topic/${iot:Connection.Thing.Attributes[wild]}", "anything", false, false },
        { "topic/${iot:Connection.Thing.Attributes[wild]}", "*", true, false },
        { "topic/${iot:Connection.Thing.IsAttached}", "true", true, false },
        { "topic/${iot:Connection.Thing.IsAttached}", "false", false, true },
        { "topic/${iot:Connection.Thing.thingname}", "dev-1", false, false },
        { "topic/${iot:Connection.Thing.Attributes[room}",
            "${iot:Connection.Thing.Attributes[room}", true, true },
        { "topic/${aws:CurrentTime}", "${aws:CurrentTime}", true, true },
    };
    struct policy_thing *thing = NULL;

    (void)state;
    assert_int_equal(
        policy_thing_new(
            "Lamp", span_str("{\"room\":\"hall\",\"floor\":\"1\",\"wild\":\"*\"}"), &thing, NULL),
        BM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char document[1024];
        struct policy_subject who = subject("dev-1");
        struct policy *p;

        (void)snprintf(document, sizeof document,
            ALLOW("\"Action\":\"iot:*\"", "\"Resource\":\"" ARN "%s\""), cases[i].resource);
        p = parse(document);
        who.thing = thing;
        if ((policy_decide((const struct policy *const *)&p, 1, POLICY_PUBLISH,
                 span_str(cases[i].topic), &who) == POLICY_ALLOWED) != cases[i].attached)
            fail_msg("%s on %s", cases[i].resource, cases[i].topic);
        who.thing = NULL;
        if ((policy_decide((const struct policy *const *)&p, 1, POLICY_PUBLISH,
                 span_str(cases[i].topic), &who) == POLICY_ALLOWED) != cases[i].alone)
            fail_msg("%s on %s without the thing", cases[i].resource, cases[i].topic);
        policy_free(p);
    }
    policy_thing_free(thing);
}

static void
a_thing_without_type_has_no_type_name_and_bad_attributes_are_refused(void **state)
{
    struct policy *p = parse(ALLOW("\"Action\":\"*\"",
        "\"Resource\":\"*\",\"Condition\":{\"Null\":{" THING "ThingTypeName\":true}}"));
    struct policy_subject who = subject("dev-1");
    struct policy_thing *thing = NULL;
    struct bm_msg msg;

    (void)state;
    assert_int_equal(policy_thing_new("", span_of(NULL, 0), &thing, NULL), BM_OK);
    who.thing = thing;
    assert_int_equal(
        policy_decide((const struct policy *const *)&p, 1, POLICY_CONNECT, span_str("dev-1"), &who),
        POLICY_ALLOWED);
    policy_thing_free(thing);
    policy_free(p);
    assert_int_equal(policy_thing_new("", span_str("[]"), &thing, &msg), BM_ERR_INPUT);
    assert_int_equal(policy_thing_new("T", span_str("{\"a\":1}"), &thing, &msg), BM_ERR_INPUT);
    assert_int_equal(policy_thing_new("T", span_str("{"), &thing, &msg), BM_ERR_INPUT);
    assert_null(thing);
}

static void
a_document_names_only_so_many_attributes_of_a_thing(void **state)
{
    char document[4096] = "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\","
                          "\"Action\":\"*\",\"Resource\":[\"*\"";
    size_t len = strlen(document);
    struct policy *p = NULL;

    (void)state;
    /* as many as fit into 2048 characters, and one twice */
    for (unsigned i = 0; i < 44; i++)
        len += (size_t)snprintf(&document[len], sizeof document - len,
            ",\"arn:${iot:Connection.Thing.Attributes[%c]}\"", (int)('!' + 4 + i % 43));
    (void)snprintf(&document[len], sizeof document - len, "]}}");
    p = parse(document);
    assert_true(policy_uses_thing(p));
    policy_free(p);
}

static void
not_action_and_not_resource_mean_all_others(void **state)
{
#define NOT_PUBLISH "\"NotAction\":[\"iot:Publish\",\"iot:Connect\"]"
#define NOT_A "\"NotResource\":[\"" ARN "topic/a\",\"" ARN "topic/b*\"]"
    (void)state;
    assert_int_equal(decide(ALLOW(NOT_PUBLISH, "\"Resource\":\"*\""), POLICY_PUBLISH, "x", "c"),
        POLICY_DENIED_IMPLICIT);
    assert_int_equal(decide(ALLOW(NOT_PUBLISH, "\"Resource\":\"*\""), POLICY_CONNECT, "x", "c"),
        POLICY_DENIED_IMPLICIT);
    assert_int_equal(
        decide(ALLOW(NOT_PUBLISH, "\"Resource\":\"*\""), POLICY_RECEIVE, "x", "c"), POLICY_ALLOWED);
    assert_int_equal(
        decide(ALLOW("\"NotAction\":\"s3:*\"", NOT_A), POLICY_PUBLISH, "c", "c"), POLICY_ALLOWED);
    assert_int_equal(decide(ALLOW("\"NotAction\":\"s3:*\"", NOT_A), POLICY_PUBLISH, "a", "c"),
        POLICY_DENIED_IMPLICIT);
    assert_int_equal(decide(ALLOW("\"NotAction\":\"s3:*\"", NOT_A), POLICY_PUBLISH, "bb", "c"),
        POLICY_DENIED_IMPLICIT);
}

static void
decision_names_the_statement_that_made_it(void **state)
{
    struct policy *mixed = parse(
        "{\"Version\":\"2012-10-17\",\"Statement\":["
        "{\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\"Resource\":\"*\","
        "\"Condition\":{\"StringEquals\":{\"iot:ClientId\":\"other\"}}},"
        "{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":\"*\"},"
        "{\"Effect\":\"Deny\",\"Action\":\"iot:Publish\",\"Resource\":\"" ARN "topic/no\"}]}");
    struct policy *other = parse("{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\","
                                 "\"Action\":\"iot:Receive\",\"Resource\":\"*\"}}");
    const struct policy *set[] = { other, mixed };
    struct policy_subject who = subject("c");
    struct policy_decider by;

    (void)state;
    assert_int_equal(
        policy_decide_by(set, 2, POLICY_PUBLISH, span_str("x"), &who, &by), POLICY_ALLOWED);
    assert_true(by.found && by.policy == 1 && by.statement == 1);
    assert_int_equal(policy_decide_by(set, 2, POLICY_PUBLISH, span_str("no"), &who, &by),
        POLICY_DENIED_EXPLICIT);
    assert_true(by.found && by.policy == 1 && by.statement == 2);
    assert_int_equal(
        policy_decide_by(set, 2, POLICY_RECEIVE, span_str("x"), &who, &by), POLICY_ALLOWED);
    assert_true(by.found && by.policy == 0 && by.statement == 0);
    /* the Allow that fits but for its Condition */
    assert_int_equal(
        policy_decide_by(set, 2, POLICY_CONNECT, span_str("c"), &who, &by), POLICY_DENIED_IMPLICIT);
    assert_true(by.found && by.policy == 1 && by.statement == 0);
    assert_int_equal(policy_decide_by(set, 2, POLICY_SUBSCRIBE, span_str("x"), &who, &by),
        POLICY_DENIED_IMPLICIT);
    assert_false(by.found);
    policy_free(mixed);
    policy_free(other);
}

/* SPEC aws-iot 7.3: five values, 1024 characters, `* $ + ? #` */
static void
limits_of_a_certificates_values_are_kept(void **state)
{
    static const char special[] = "*$+?#";
    char longest[1025];
    char topic[1100];

    (void)state;
    memset(longest, 'a', sizeof longest);
    for (size_t over = 0; over < 2; over++) {
        struct policy_certificate *c = policy_certificate_new();
        struct policy_subject who = subject("c");
        struct policy *p = parse(ALLOW("\"Action\":\"*\"",
            "\"Resource\":\"" ARN "topic/${iot:Certificate.Subject.CommonName}\""));
        const struct policy *set[] = { p };

        assert_true(policy_uses_certificate(p));
        policy_certificate_add(c, "Subject.CommonName", span_of(longest, 1024 + over));
        who.certificate = c;
        assert_int_equal(policy_decide(set, 1, POLICY_PUBLISH, span_of(longest, 1024 + over), &who),
            over == 0 ? POLICY_ALLOWED : POLICY_DENIED_IMPLICIT);
        policy_free(p);
        policy_certificate_free(c);
    }
    for (size_t i = 0; i < sizeof special - 1; i++) {
        struct policy_certificate *c = policy_certificate_new();
        struct policy_subject who = subject("c");
        struct policy *p = parse(ALLOW("\"Action\":\"*\"",
            "\"Resource\":\"" ARN "topic/${iot:Certificate.Subject.Country.4}\""));
        const struct policy *set[] = { p };

        (void)snprintf(topic, sizeof topic, "x%cy", special[i]);
        for (size_t k = 0; k < 4; k++)
            policy_certificate_add(c, "Subject.Country", span_str("first"));
        policy_certificate_add(c, "Subject.Country", span_str(topic));
        policy_certificate_add(c, "Subject.Country", span_str("the sixth is left out"));
        who.certificate = c;
        assert_int_equal(
            policy_decide(set, 1, POLICY_PUBLISH, span_str(topic), &who), POLICY_DENIED_IMPLICIT);
        policy_free(p);
        policy_certificate_free(c);
    }
}

static void
only_policies_that_ask_need_the_certificate_or_the_thing(void **state)
{
    static const struct {
        const char *document;
        bool uses;
        bool thing;
    } cases[] = {
        { ALLOW("\"Action\":\"*\"", "\"Resource\":\"*\""), false, false },
        { ALLOW("\"Action\":\"*\"", "\"Resource\":\"arn:${iot:CertificateId}\""), false, false },
        { ALLOW("\"Action\":\"*\"", "\"Resource\":\"arn:${iot:Certificate.SerialNumber}\""), true,
            false },
        { ALLOW("\"Action\":\"*\"", "\"Resource\":\"*\",\"Condition\":{\"Null\":{\"iot:Certificate."
                                    "SerialNumber\":true}}"),
            true, false },
        { ALLOW("\"Action\":\"*\"", "\"Resource\":\"arn:${iot:Connection.Thing.IsAttached}\""),
            false, true },
        { ALLOW("\"Action\":\"*\"", "\"Resource\":\"arn:${iot:Connection.Thing.Attributes[a]}\""),
            false, true },
        { ALLOW("\"Action\":\"*\"",
              "\"Resource\":\"*\",\"Condition\":{\"Null\":{" THING "ThingName\":true}}"),
            false, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy *p = parse(cases[i].document);

        assert_int_equal(policy_uses_certificate(p), cases[i].uses);
        assert_int_equal(policy_uses_thing(p), cases[i].thing);
        policy_free(p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resources_match_by_the_table),
        cmocka_unit_test(value_of_a_variable_is_never_a_wildcard),
        cmocka_unit_test(variable_without_value_stays_text),
        cmocka_unit_test(actions_match_whatever_the_case_and_by_wildcards),
        cmocka_unit_test(explicit_deny_wins_across_policies_in_any_order),
        cmocka_unit_test(policy_of_the_jitr_sample_allows_the_device_its_own_names_only),
        cmocka_unit_test(malformed_documents_are_refused_with_the_place_named),
        cmocka_unit_test(size_limit_counts_characters_without_white_space),
        cmocka_unit_test(many_stars_do_not_blow_up),
        cmocka_unit_test(conditions_hold_by_the_table),
        cmocka_unit_test(not_action_and_not_resource_mean_all_others),
        cmocka_unit_test(decision_names_the_statement_that_made_it),
        cmocka_unit_test(limits_of_a_certificates_values_are_kept),
        cmocka_unit_test(only_policies_that_ask_need_the_certificate_or_the_thing),
        cmocka_unit_test(keys_of_things_and_times_by_the_table),
        cmocka_unit_test(variables_of_a_thing_have_its_values),
        cmocka_unit_test(a_thing_without_type_has_no_type_name_and_bad_attributes_are_refused),
        cmocka_unit_test(a_document_names_only_so_many_attributes_of_a_thing),
    };

    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}

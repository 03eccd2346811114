/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of the signature verifier. The seven vectors of SPEC aws-iot 2.4 were computed with
 * botocore's signer; everything else is a vector with one thing changed.
 */
#include "api/sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ASSERT_HAS(text, part) assert_non_null(strstr((text), (part)))
#define CERT "8c2c1cde98712d88a7daed538bdffde3b4685f7534f695b7f260ae99cd08d57d"

enum { HEADERS_MAX = 8 };

static const char SECRET[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
static const char STAMP[] = "20260102T030405Z";
static const int64_t NOW_MS = 1767323045000; /* the same moment */

struct vector {
    const char *name;
    const char *method;
    const char *path;
    const char *query;
    const char *service;
    const char *signed_headers;
    const char *body;
    const char *signature;
    struct sigv4_header more[2]; /* beside Host, X-Amz-Date, Authorization */
};

#define JSON                                                                                       \
    {                                                                                              \
        {                                                                                          \
            "Content-Type", "application/json"                                                     \
        }                                                                                          \
    }

static const struct vector VECTORS[] = {
    { "V1", "GET", "/registrationcode", "", "execute-api", "host;x-amz-date", "",
        "f5361c64b3246d45b44bb42db5fb53c53ecd2aac4a57486e3e7824d19ec51eb0", { { 0 } } },
    { "V2", "PUT", "/cacertificate/" CERT, "newStatus=ACTIVE", "execute-api",
        "content-type;host;x-amz-date", "{}",
        "58f27aa920963040e6a2d7e7d24d8f57cd4883810a4ea0e35dd6c73f913b9184", JSON },
    { "V3", "PUT", "/cacertificate/" CERT, "newStatus=ACTIVE", "iot",
        "content-type;host;x-amz-date", "{}",
        "0fbc1d7f5048550586475320e9c1fafdd6cba95738393c40bca285658eef1f0a", JSON },
    { "V4", "POST", "/topics/foo%2Fbar%20baz", "qos=1", "iotdata", "host;x-amz-date", "Hello",
        "7ec7db5c3e6ef380575acc86d37cbf525d78fc75651e7c1533364105db2f563c", { { 0 } } },
    { "V5", "POST", "/2015-03-31/functions/jitr/invocations", "", "lambda",
        "host;x-amz-date;x-amz-invocation-type;x-amz-security-token", "{\"a\":1}",
        "3abc99c490e3e4db05ed7d4f4d71d51dcc70feb71985e36a65aa8e45e51c7999",
        { { "X-Amz-Invocation-Type", "Event" }, { "X-Amz-Security-Token", "TOKEN/abc+==" } } },
    { "V6", "POST", "/cacertificate", "setAsActive=true&allowAutoRegistration=true", "execute-api",
        "content-type;host;x-amz-date", "{}",
        "14278d26d22c4500606540b8491068292f8c3ca01f019683c4d5e49612403d4b", JSON },
    { "V7", "GET", "/endpoint", "endpointType=iot%3AData-ATS", "execute-api", "host;x-amz-date", "",
        "6c29b0786a0ae959ee56ea2c8deaa11e5d79348cc4674c0a8ab165b48ba43920", { { 0 } } },
};
enum { VECTOR_COUNT = sizeof VECTORS / sizeof VECTORS[0] };

/* A request that may be changed before it is verified. */
struct trial {
    char authorization[600];
    struct sigv4_header headers[HEADERS_MAX];
    struct sigv4_request rq;
    const char *access_key;
    const char *secret;
    int64_t now_ms;
    struct sigv4_result result;
};

static void
prepare(struct trial *t, const struct vector *v)
{
    bool session = strcmp(v->name, "V5") == 0;

    memset(t, 0, sizeof *t);
    t->access_key = session ? "ASIDEXAMPLE" : "AKIDEXAMPLE";
    t->secret = SECRET;
    t->now_ms = NOW_MS;
    (void)snprintf(t->authorization, sizeof t->authorization,
        "AWS4-HMAC-SHA256 Credential=%s/20260102/us-east-1/%s/aws4_request, SignedHeaders=%s, "
        "Signature=%s",
        t->access_key, v->service, v->signed_headers, v->signature);
    t->headers[0] = (struct sigv4_header){ "Host", "127.0.0.1:8080" };
    t->headers[1] = (struct sigv4_header){ "X-Amz-Date", STAMP };
    t->headers[2] = (struct sigv4_header){ "authorization", t->authorization };
    t->rq =
        (struct sigv4_request){ v->method, v->path, v->query, t->headers, 3, span_str(v->body) };
    for (size_t i = 0; i < 2 && v->more[i].name != NULL; i++)
        t->headers[t->rq.header_count++] = v->more[i];
}

static enum sigv4_verdict
verify(struct trial *t)
{
    sigv4_verify(&t->rq, t->access_key, t->secret, t->now_ms, &t->result);
    if (t->result.verdict != SIGV4_OK)
        assert_true(t->result.message.text[0] != '\0');
    return t->result.verdict;
}

static void
add_header(struct trial *t, const char *name, const char *value)
{
    assert_true(t->rq.header_count < HEADERS_MAX);
    t->headers[t->rq.header_count++] = (struct sigv4_header){ name, value };
}

/* Replace the first `from` in the Authorization header. */
static void
edit(struct trial *t, const char *from, const char *to)
{
    char copy[sizeof t->authorization];
    char *at = strstr(t->authorization, from);

    assert_non_null(at);
    memcpy(copy, t->authorization, sizeof copy);
    (void)snprintf(at, sizeof t->authorization - (size_t)(at - t->authorization), "%s%s", to,
        copy + (at - t->authorization) + strlen(from));
}

static void
botocore_vectors_verify(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct trial t;

        prepare(&t, &VECTORS[i]);
        if (verify(&t) != SIGV4_OK)
            fail_msg("%s: %s", VECTORS[i].name, t.result.message.text);
        assert_string_equal(t.result.service, VECTORS[i].service);
        assert_string_equal(t.result.region, "us-east-1");
        assert_string_equal(t.result.access_key, t.access_key);
    }
}

static void
any_other_signature_digit_is_refused(void **state)
{
    (void)state;
    for (size_t at = 0; at < 64; at++) {
        struct trial t;
        char *digit;

        prepare(&t, &VECTORS[1]);
        digit = strstr(t.authorization, "Signature=") + 10 + at;
        *digit = *digit == 'a' ? 'b' : 'a';
        assert_int_equal(verify(&t), SIGV4_MISMATCH);
    }
}

static void
change_of_any_signed_part_is_refused(void **state)
{
    static const struct vector changed[] = {
        { "V2", "POST", "/cacertificate/" CERT, "newStatus=ACTIVE", "execute-api",
            "content-type;host;x-amz-date", "{}", NULL, JSON },
        { "V2", "PUT", "/cacertificate/0" CERT, "newStatus=ACTIVE", "execute-api",
            "content-type;host;x-amz-date", "{}", NULL, JSON },
        { "V2", "PUT", "/x/../cacertificate/" CERT, "newStatus=ACTIVE", "execute-api",
            "content-type;host;x-amz-date", "{}", NULL, JSON },
        { "V2", "PUT", "/cacertificate/" CERT, "newStatus=INACTIVE", "execute-api",
            "content-type;host;x-amz-date", "{}", NULL, JSON },
        { "V2", "PUT", "/cacertificate/" CERT, "newStatus=ACTIVE&x", "execute-api",
            "content-type;host;x-amz-date", "{}", NULL, JSON },
        { "V2", "PUT", "/cacertificate/" CERT, "", "execute-api", "content-type;host;x-amz-date",
            "{}", NULL, JSON },
        { "V2", "PUT", "/cacertificate/" CERT, "newStatus=ACTIVE", "iot",
            "content-type;host;x-amz-date", "{}", NULL, JSON },
        { "V2", "PUT", "/cacertificate/" CERT, "newStatus=ACTIVE", "execute-api", "host;x-amz-date",
            "{}", NULL, JSON },
        { "V2", "PUT", "/cacertificate/" CERT, "newStatus=ACTIVE", "execute-api",
            "content-type;host;x-amz-date", "{ }", NULL, JSON },
        { "V2", "PUT", "/cacertificate/" CERT, "newStatus=ACTIVE", "execute-api",
            "content-type;host;x-amz-date", "", NULL, JSON },
        { "V2", "PUT", "/cacertificate/" CERT, "newStatus=ACTIVE", "execute-api",
            "content-type;host;x-amz-date", "{}", NULL, { { "Content-Type", "text/plain" } } },
    };
    struct trial t;

    (void)state;
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        struct vector v = changed[i];

        v.signature = VECTORS[1].signature;
        prepare(&t, &v);
        if (verify(&t) != SIGV4_MISMATCH)
            fail_msg("change %zu went through", i);
        ASSERT_HAS(t.result.message.text, "'AKIDEXAMPLE'");
    }
    prepare(&t, &VECTORS[1]);
    t.headers[0].value = "127.0.0.1:8081";
    assert_int_equal(verify(&t), SIGV4_MISMATCH);
    prepare(&t, &VECTORS[1]);
    t.headers[1].value = "20260102T030406Z";
    assert_int_equal(verify(&t), SIGV4_MISMATCH);
    prepare(&t, &VECTORS[1]);
    edit(&t, "us-east-1", "us-east-2");
    assert_int_equal(verify(&t), SIGV4_MISMATCH);
    prepare(&t, &VECTORS[1]);
    t.secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEZ";
    assert_int_equal(verify(&t), SIGV4_MISMATCH);
}

static void
order_of_query_and_blanks_in_values_do_not_matter(void **state)
{
    struct trial t;

    (void)state;
    prepare(&t, &VECTORS[5]);
    t.rq.query = "allowAutoRegistration=true&setAsActive=true";
    assert_int_equal(verify(&t), SIGV4_OK);
    prepare(&t, &VECTORS[0]);
    t.headers[0].value = "  127.0.0.1:8080 \t";
    assert_int_equal(verify(&t), SIGV4_OK);
    prepare(&t, &VECTORS[0]);
    add_header(&t, "User-Agent", "not signed, may be anything");
    assert_int_equal(verify(&t), SIGV4_OK);
}

static void
clock_window_is_five_minutes_each_way(void **state)
{
    struct trial t;

    (void)state;
    prepare(&t, &VECTORS[0]);
    t.now_ms = NOW_MS + 5 * 60 * 1000;
    assert_int_equal(verify(&t), SIGV4_OK);
    t.now_ms++;
    assert_int_equal(verify(&t), SIGV4_EXPIRED);
    ASSERT_HAS(t.result.message.text, "Signature expired: 20260102T030405Z");
    t.now_ms = NOW_MS - 5 * 60 * 1000;
    assert_int_equal(verify(&t), SIGV4_OK);
    t.now_ms--;
    assert_int_equal(verify(&t), SIGV4_EXPIRED);
    ASSERT_HAS(t.result.message.text, "not yet current");
}

static void
unknown_access_key_is_told_apart(void **state)
{
    struct trial t;

    (void)state;
    prepare(&t, &VECTORS[0]);
    t.access_key = "AKIDOTHER";
    assert_int_equal(verify(&t), SIGV4_UNKNOWN_KEY);
    ASSERT_HAS(t.result.message.text, "The security token included in the request is invalid");
}

static void
unsigned_request_is_missing_its_token(void **state)
{
    struct trial t;

    (void)state;
    prepare(&t, &VECTORS[0]);
    t.headers[2].name = "X-Other";
    assert_int_equal(verify(&t), SIGV4_MISSING);
}

static void
incomplete_authorization_is_told(void **state)
{
    static const struct {
        const char *from;
        const char *to;
    } edits[] = {
        { "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256" },
        { "AWS4-HMAC-SHA256", "AWS3-HMAC-SHA256" },
        { "AWS4-HMAC-SHA256 Credential", "Basic" },
        { ", SignedHeaders=host;x-amz-date", "" },
        { ", Signature=", ", Signature:" },
        { "Signature=f", "Signature=" },
        { "Signature=f", "Signature=F" },
        { "Signature=f", "Signature=ff" },
        { ", Signature=", ", Credential=a, Signature=" },
        { "SignedHeaders=host;x-amz-date", "Credential=AKIDEXAMPLE" },
        { "/aws4_request", "" },
        { "/aws4_request", "/aws4_requesx" },
        { "/us-east-1/", "//" },
        { "AKIDEXAMPLE", "" },
        { "20260102", "2026010" },
        { "20260102", "20260103" }, /* not the date of X-Amz-Date */
        { "execute-api", "s3" },
        { "execute-api", "a-service-with-a-name-beyond-all-reason" },
        { "host;x-amz-date", "host" },       /* the date must be signed */
        { "host;x-amz-date", "x-amz-date" }, /* and the host */
        { "host;x-amz-date", "Host;x-amz-date" },
        { "host;x-amz-date", "host;x-absent;x-amz-date" },
        { "host;x-amz-date", "host;;x-amz-date" },
        { "host;x-amz-date", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        struct trial t;

        prepare(&t, &VECTORS[0]);
        edit(&t, edits[i].from, edits[i].to);
        if (verify(&t) != SIGV4_INCOMPLETE)
            fail_msg("'%s': verdict %d", t.authorization, t.result.verdict);
    }
}

static void
every_prefix_of_authorization_is_incomplete(void **state)
{
    struct trial t;

    (void)state;
    prepare(&t, &VECTORS[0]);
    for (size_t len = strlen(t.authorization); len-- > 0;) {
        t.authorization[len] = '\0';
        assert_int_equal(verify(&t), SIGV4_INCOMPLETE);
    }
}

static void
signed_header_there_twice_is_refused(void **state)
{
    struct trial t;

    (void)state;
    prepare(&t, &VECTORS[0]);
    add_header(&t, "host", "evil");
    assert_int_equal(verify(&t), SIGV4_INCOMPLETE);
    ASSERT_HAS(t.result.message.text, "'host', which the request has 2 times");
    prepare(&t, &VECTORS[0]);
    add_header(&t, "X-AMZ-DATE", STAMP);
    assert_int_equal(verify(&t), SIGV4_INCOMPLETE);
    prepare(&t, &VECTORS[0]);
    add_header(&t, "Authorization", t.authorization);
    assert_int_equal(verify(&t), SIGV4_INCOMPLETE);
}

static void
date_that_is_none_is_incomplete(void **state)
{
    static const char *const bad[] = { "20260132T030405Z", "20260102T250405Z", "20260102030405Z",
        "20260102T030405", "20260102T030405ZZ", "2026-01-02T03:04:05Z", "", "20260102T03 405Z" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct trial t;

        prepare(&t, &VECTORS[0]);
        t.headers[1].value = bad[i];
        assert_int_equal(verify(&t), SIGV4_INCOMPLETE);
        ASSERT_HAS(t.result.message.text, "YYYYMMDDTHHMMSSZ");
    }
}

static void
content_hash_header_must_be_the_body_s(void **state)
{
    struct trial t;

    (void)state;
    prepare(&t, &VECTORS[1]);
    add_header(&t, "x-amz-content-sha256",
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    assert_int_equal(verify(&t), SIGV4_OK);
    prepare(&t, &VECTORS[1]);
    add_header(&t, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_int_equal(verify(&t), SIGV4_MISMATCH);
    prepare(&t, &VECTORS[1]);
    add_header(&t, "x-amz-content-sha256",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(verify(&t), SIGV4_MISMATCH);
    ASSERT_HAS(t.result.message.text, "44136fa3");
}

static void
query_with_too_many_parameters_is_refused(void **state)
{
    struct trial t;
    char query[2 * SIGV4_PARAMS_MAX + 4];

    (void)state;
    prepare(&t, &VECTORS[0]);
    for (size_t i = 0; i < sizeof query; i++)
        query[i] = i % 2 == 0 ? 'a' : '&';
    query[sizeof query - 1] = '\0';
    t.rq.query = query;
    assert_int_equal(verify(&t), SIGV4_INCOMPLETE);
}

/* ---- the query form; the URLs were made by botocore's SigV4QueryAuth, X-Amz-Expires 3600 ---- */

#define PRESIGNED(service)                                                                         \
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-1%"        \
    "2F" service "%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&"                 \
    "X-Amz-SignedHeaders=host"

static const struct {
    const char *method;
    const char *path;
    const char *query;
} PRESIGNED_VECTORS[] = {
    { "GET", "/registrationcode",
        PRESIGNED(
            "execute-api") "&X-Amz-Signature="
                           "3cdcf76261c95f110284512792f99df45425833b51d0f2e772fd1643f80d4fc4" },
    { "PUT", "/cacertificate/" CERT,
        "newStatus=ACTIVE&" PRESIGNED("iot") "&X-Amz-Signature="
                                             "16645027878f93829c1faca1a345eb78a308ce56016c3bc26ea38"
                                             "cac0882acbb" },
    { "POST", "/topics/foo%2Fbar%20baz",
        "qos=1&" PRESIGNED("iotdata") "&X-Amz-Security-Token=TOKEN%2Fabc%2B%3D%3D&X-Amz-Signature="
                                      "f34d6a0a414654aad523c9ab056224b5171028d1b6f5432bf0939d781cff"
                                      "5d7e" },
};

/* `query` NULL: the vector's own. */
static void
prepare_url(struct trial *t, size_t i, const char *query)
{
    memset(t, 0, sizeof *t);
    t->access_key = "AKIDEXAMPLE";
    t->secret = SECRET;
    t->now_ms = NOW_MS;
    t->headers[0] = (struct sigv4_header){ "Host", "127.0.0.1:8080" };
    t->rq = (struct sigv4_request){ PRESIGNED_VECTORS[i].method, PRESIGNED_VECTORS[i].path,
        query != NULL ? query : PRESIGNED_VECTORS[i].query, t->headers, 1, span_str("") };
}

static void
presigned_urls_of_botocore_verify_until_they_expire(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct trial t;

        prepare_url(&t, i, NULL);
        if (verify(&t) != SIGV4_OK)
            fail_msg("%s: %s", PRESIGNED_VECTORS[i].path, t.result.message.text);
        t.now_ms = NOW_MS + 3600 * 1000;
        assert_int_equal(verify(&t), SIGV4_OK);
        t.now_ms++;
        assert_int_equal(verify(&t), SIGV4_EXPIRED);
        t.now_ms = NOW_MS - SIGV4_WINDOW_MS - 1;
        assert_int_equal(verify(&t), SIGV4_EXPIRED);
    }
}

static void
any_change_of_a_presigned_url_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(PRESIGNED_VECTORS[i].query);

        for (size_t at = 0; at < len; at++) {
            char query[600];
            struct trial t;

            (void)snprintf(query, sizeof query, "%s", PRESIGNED_VECTORS[i].query);
            query[at] = query[at] == 'e' ? 'f' : 'e';
            prepare_url(&t, i, query);
            assert_int_not_equal(verify(&t), SIGV4_OK);
            query[at] = '\0'; /* every prefix, too */
            assert_int_not_equal(verify(&t), SIGV4_OK);
        }
    }
}

static void
a_request_signed_twice_or_with_odd_parameters_is_incomplete(void **state)
{
    static const char *const queries[] = {
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Signature=0",
        PRESIGNED("iot") "&X-Amz-Date=20260102T030405Z&X-Amz-Signature=0",
        PRESIGNED("iot%2") "&X-Amz-Signature=0",
        PRESIGNED("iot%00") "&X-Amz-Signature=0",
    };
    struct trial t;

    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        prepare_url(&t, 0, queries[i]);
        assert_int_equal(verify(&t), SIGV4_INCOMPLETE);
    }
    prepare_url(&t, 0, NULL);
    add_header(&t, "Authorization", "AWS4-HMAC-SHA256 Credential=a");
    assert_int_equal(verify(&t), SIGV4_INCOMPLETE);
    ASSERT_HAS(t.result.message.text, "both");
    prepare_url(&t, 0, NULL);
    add_header(&t, "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD");
    assert_int_equal(verify(&t), SIGV4_MISMATCH);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(botocore_vectors_verify),
        cmocka_unit_test(any_other_signature_digit_is_refused),
        cmocka_unit_test(change_of_any_signed_part_is_refused),
        cmocka_unit_test(order_of_query_and_blanks_in_values_do_not_matter),
        cmocka_unit_test(clock_window_is_five_minutes_each_way),
        cmocka_unit_test(unknown_access_key_is_told_apart),
        cmocka_unit_test(unsigned_request_is_missing_its_token),
        cmocka_unit_test(incomplete_authorization_is_told),
        cmocka_unit_test(every_prefix_of_authorization_is_incomplete),
        cmocka_unit_test(signed_header_there_twice_is_refused),
        cmocka_unit_test(date_that_is_none_is_incomplete),
        cmocka_unit_test(content_hash_header_must_be_the_body_s),
        cmocka_unit_test(query_with_too_many_parameters_is_refused),
        cmocka_unit_test(presigned_urls_of_botocore_verify_until_they_expire),
        cmocka_unit_test(any_change_of_a_presigned_url_is_refused),
        cmocka_unit_test(a_request_signed_twice_or_with_odd_parameters_is_incomplete),
    };

    return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the messages between worker and control. */
#include "endpoint/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KINDS = LINK_FACTS };

static enum bm_err
parse(struct span packet, struct link_msg *m)
{
    return link_next(&packet, m);
}

/* One message of each type with every field set. */
static void
fill(struct link_msg *m, enum link_type type)
{
    memset(m, 0, sizeof *m);
    m->type = type;
    m->account = 3;
    m->request = 0x01020304;
    switch (type) {
    case LINK_ADMIT:
        m->u.admit.client_id = span_str("dev");
        m->u.admit.peer = span_str("127.0.0.1:9");
        m->u.admit.leaf_der = span_str("not really DER");
        return;
    case LINK_VERDICT:
        m->u.verdict.cause = CAUSE_REGISTERED_JITR;
        return;
    case LINK_POLICY:
        m->u.policy.set = 77;
        return;
    case LINK_DOCUMENTS:
        m->u.documents.set = 77;
        m->u.documents.found = 1;
        m->u.documents.count = 2;
        m->u.documents.docs[0] = span_str("{}");
        m->u.documents.docs[1] = span_str("");
        m->u.documents.names[0] = span_str("narrow");
        m->u.documents.names[1] = span_str("wide");
        return;
    case LINK_RECORD:
        m->u.record.time_ms = 1577248409400;
        m->u.record.cause = CAUSE_PUBLISH_DENIED;
        m->u.record.has_cert = true;
        memset(m->u.record.cert_id, 0xab, 32);
        (void)strcpy(m->u.record.client_id, "dev");
        (void)strcpy(m->u.record.peer, "127.0.0.1:9");
        (void)strcpy(m->u.record.status, "ACTIVE");
        (void)strcpy(m->u.record.facts, "topic=a/b");
        return;
    case LINK_INGRESS:
    case LINK_EVENT:
        memset(m->u.ingress.cert_id, 0xcd, 32);
        m->u.ingress.client_id = span_str("dev");
        m->u.ingress.topic = span_str("a/b");
        m->u.ingress.payload = span_str("payload");
        m->u.ingress.delay_s = 30;
        return;
    case LINK_FILTERS:
        m->u.filters.count = 1;
        m->u.filters.filters[0] = span_str("a/#");
        return;
    case LINK_CHANGED:
        memset(m->u.changed.cert_id, 0xef, 32);
        return;
    case LINK_RETAINED:
        m->u.retained.topic = span_str("a/b");
        m->u.retained.empty = 1;
        return;
    case LINK_STORED:
        m->u.stored.ok = 1;
        m->u.stored.saved = 1;
        return;
    case LINK_SAVE:
        return;
    case LINK_THING:
        memset(m->u.thing.cert_id, 0xab, 32);
        m->u.thing.client_id = span_str("dev");
        return;
    case LINK_FACTS:
        m->u.facts.found = FACTS_FAILED;
        m->u.facts.type = span_str("Lamp");
        m->u.facts.attributes = span_str("{}");
        return;
    }
}

static void
what_is_built_parses_and_builds_the_same_bytes(void **state)
{
    static struct link_msg m;

    (void)state;
    for (int type = 1; type <= KINDS; type++) {
        struct buf first = { 0 };
        struct buf second = { 0 };

        fill(&m, (enum link_type)type);
        assert_int_equal(link_build(&first, &m), BM_OK);
        assert_int_equal(parse(buf_span(&first), &m), BM_OK);
        assert_int_equal(m.type, type);
        assert_int_equal(m.account, 3);
        assert_int_equal(m.request, 0x01020304);
        assert_int_equal(link_build(&second, &m), BM_OK);
        assert_true(span_eq(buf_span(&first), buf_span(&second)));
        buf_fini(&first);
        buf_fini(&second);
    }
}

static void
fields_arrive_as_they_were_sent(void **state)
{
    static struct link_msg m;
    struct buf b = { 0 };

    (void)state;
    fill(&m, LINK_RECORD);
    assert_int_equal(link_build(&b, &m), BM_OK);
    assert_int_equal(parse(buf_span(&b), &m), BM_OK);
    assert_true(m.u.record.time_ms == 1577248409400);
    assert_int_equal(m.u.record.cause, CAUSE_PUBLISH_DENIED);
    assert_int_equal(m.u.record.cert_id[31], 0xab);
    assert_string_equal(m.u.record.status, "ACTIVE");
    assert_string_equal(m.u.record.facts, "topic=a/b");
    b.len = 0;
    fill(&m, LINK_DOCUMENTS);
    assert_int_equal(link_build(&b, &m), BM_OK);
    assert_int_equal(parse(buf_span(&b), &m), BM_OK);
    assert_int_equal(m.u.documents.count, 2);
    assert_true(span_eq(m.u.documents.docs[0], span_str("{}")));
    assert_true(span_eq(m.u.documents.names[1], span_str("wide")));
    buf_fini(&b);
}

static void
messages_of_one_packet_follow_each_other(void **state)
{
    static struct link_msg m;
    struct buf b = { 0 };
    struct span rest;

    (void)state;
    for (int type = 1; type <= KINDS; type++) {
        fill(&m, (enum link_type)type);
        assert_int_equal(link_build(&b, &m), BM_OK);
    }
    buf_add(&b, "", 1);
    rest = buf_span(&b);
    for (int type = 1; type <= KINDS; type++) {
        assert_int_equal(link_next(&rest, &m), BM_OK);
        assert_int_equal(m.type, type);
    }
    assert_int_equal(rest.len, 1);
    assert_int_equal(link_next(&rest, &m), BM_ERR_PROTO);
    buf_fini(&b);
}

static void
every_prefix_is_refused(void **state)
{
    static struct link_msg m;

    (void)state;
    for (int type = 1; type <= KINDS; type++) {
        struct buf b = { 0 };

        fill(&m, (enum link_type)type);
        assert_int_equal(link_build(&b, &m), BM_OK);
        for (size_t cut = 0; cut < b.len; cut++) {
            assert_int_equal(parse(span_of(b.ptr, cut), &m), BM_ERR_PROTO);
        }
        buf_fini(&b);
    }
}

static void
wrong_values_are_refused(void **state)
{
    static const uint8_t no_type[] = { 0, 0, 0, 0, 0 };
    static const uint8_t high_type[] = { KINDS + 1, 0, 0, 0, 0 };
    static const uint8_t no_cause[] = { LINK_VERDICT, 0, 0, 0, 1, 0, 0 };
    static const uint8_t high_cause[] = { LINK_VERDICT, 0, 0, 0, 1, 0xff, 0 };
    static const uint8_t long_list[] = { LINK_FILTERS, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };
    static const uint8_t bad_bool[] = { LINK_DOCUMENTS, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0, 0, 0 };
    static struct link_msg m;

    (void)state;
    assert_int_equal(parse(SPAN(no_type), &m), BM_ERR_PROTO);
    assert_int_equal(parse(SPAN(high_type), &m), BM_ERR_PROTO);
    assert_int_equal(parse(SPAN(no_cause), &m), BM_ERR_PROTO);
    assert_int_equal(parse(SPAN(high_cause), &m), BM_ERR_PROTO);
    assert_int_equal(parse(SPAN(long_list), &m), BM_ERR_PROTO);
    assert_int_equal(parse(SPAN(bad_bool), &m), BM_ERR_PROTO);
}

static void
a_text_too_long_for_its_record_is_refused(void **state)
{
    static struct link_msg m;
    struct buf b = { 0 };
    char facts[TIMELINE_FACTS_MAX + 1];

    (void)state;
    memset(facts, 'x', TIMELINE_FACTS_MAX);
    facts[TIMELINE_FACTS_MAX] = '\0';
    fill(&m, LINK_RECORD);
    memcpy(m.u.record.facts, facts, sizeof facts);
    assert_int_equal(link_build(&b, &m), BM_OK);
    assert_int_equal(parse(buf_span(&b), &m), BM_OK);
    /* one byte more in the last string, and its length says so */
    b.ptr[b.len - TIMELINE_FACTS_MAX - 1] = 0;
    b.ptr[b.len - TIMELINE_FACTS_MAX - 2] = 1;
    buf_add(&b, "x", 1);
    assert_int_equal(parse(buf_span(&b), &m), BM_ERR_PROTO);
    buf_fini(&b);
}

static void
too_much_for_one_packet_is_refused_and_leaves_the_buffer(void **state)
{
    static struct link_msg m;
    static uint8_t big[LINK_MESSAGE_MAX];
    struct buf b = { 0 };

    (void)state;
    fill(&m, LINK_INGRESS);
    m.u.ingress.payload = SPAN(big);
    buf_add(&b, "keep", 4);
    assert_int_equal(link_build(&b, &m), BM_ERR_LIMIT);
    assert_int_equal(b.len, 4);
    fill(&m, LINK_FILTERS);
    m.u.filters.count = LINK_LIST_MAX + 1;
    assert_int_equal(link_build(&b, &m), BM_ERR_LIMIT);
    assert_int_equal(b.len, 4);
    buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_built_parses_and_builds_the_same_bytes),
        cmocka_unit_test(fields_arrive_as_they_were_sent),
        cmocka_unit_test(messages_of_one_packet_follow_each_other),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(a_text_too_long_for_its_record_is_refused),
        cmocka_unit_test(too_much_for_one_packet_is_refused_and_leaves_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

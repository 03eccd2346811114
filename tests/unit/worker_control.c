/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control process as the worker's tests play it (worker_world.h): it answers what the worker
 * asks as the script says, and remembers what it was told for the test that waits for it.
 */
#include "worker_world.h"

/* All may connect and use t/; foo is deaf: it may publish and subscribe but receive nothing. */
static const char wide[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":["
    "{\"Effect\":\"Allow\",\"Action\":\"iot:*\",\"Resource\":["
    "\"arn:aws:iot:us-east-1:000000000000:client/*\","
    "\"arn:aws:iot:us-east-1:000000000000:topic/t*\","
    "\"arn:aws:iot:us-east-1:000000000000:topicfilter/t*\","
    "\"arn:aws:iot:us-east-1:000000000000:topic/$aws/*\","
    "\"arn:aws:iot:us-east-1:000000000000:topicfilter/$*\","
    "\"arn:aws:iot:us-east-1:000000000000:topicfilter/deaf\"]},"
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:topic/deaf\"},"
    "{\"Effect\":\"Deny\",\"Action\":\"iot:Connect\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:client/banned\"},"
    "{\"Effect\":\"Deny\",\"Action\":\"iot:RetainPublish\",\"Resource\":\"*\"},"
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:topic/cn/${iot:Certificate.Subject.CommonName}\"},"
    "{\"Effect\":\"Deny\",\"Action\":\"iot:Connect\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:client/brief\",\"Condition\":"
    "{\"StringEquals\":{\"iot:ConnectAttributes\":\"PersistentConnect\"}}},"
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:topic/far\",\"Condition\":"
    "{\"NotIpAddress\":{\"aws:SourceIp\":\"127.0.0.0/8\"}}}]}";
static const char all[] = "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\","
                          "\"Action\":\"iot:*\",\"Resource\":\"*\"}}";
static const char narrow[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"iot:Connect\","
    "\"Resource\":\"*\"}}";

static const char of_thing[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":["
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\"Resource\":\"*\",\"Condition\":"
    "{\"Bool\":{\"iot:Connection.Thing.IsAttached\":\"true\"}}},"
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:topic/t/${iot:Connection.Thing.Attributes[room]}\"}]}";

static const struct {
    uint32_t set;
    const char *name;
    const char *text;
} documents[] = { { SET, "wide", wide }, { SET_NARROW, "narrow", narrow },
    { SET_RETAIN, "all", all }, { SET_THING, "of_thing", of_thing } };

void
put_table(struct fixture *f, const struct made *m, enum cert_status status, uint32_t set)
{
    struct table_entry e = {
        .status = (uint8_t)status, .policy_set = set, .not_after_ms = clock_wall_ms() + 3600000
    };

    certs_id(m, e.id);
    assert_int_equal(table_put(f->table, &e, NULL), BM_OK);
}

void
control_send_tx(struct fixture *f)
{
    struct buf out = { 0 };

    assert_int_equal(link_build(&out, &f->tx), BM_OK);
    assert_int_equal(send(f->control, out.ptr, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
    buf_fini(&out);
}

void
changed(struct fixture *f, const struct made *m)
{
    f->tx.type = LINK_CHANGED;
    f->tx.request = 0;
    certs_id(m, f->tx.u.changed.cert_id);
    control_send_tx(f);
}

static void
answer_policy(struct fixture *f)
{
    size_t i = 0;

    while (documents[i].set != f->rx.u.policy.set) {
        i++;
        assert_true(i < sizeof documents / sizeof *documents);
    }
    f->policies++;
    if (f->silent) {
        return;
    }
    f->tx.type = LINK_DOCUMENTS;
    f->tx.request = f->rx.request;
    f->tx.u.documents.set = f->rx.u.policy.set;
    f->tx.u.documents.found = f->set_missing ? 0 : 1;
    f->tx.u.documents.count = f->set_missing ? 0 : 1;
    f->tx.u.documents.docs[0] = span_str(documents[i].text);
    f->tx.u.documents.names[0] = span_str(documents[i].name);
    control_send_tx(f);
}

void
answer_thing(struct fixture *f)
{
    f->tx.type = LINK_FACTS;
    f->tx.request = f->thing_request;
    f->tx.u.facts.found = f->thing_fails     ? FACTS_FAILED
                          : f->thing != NULL ? FACTS_ATTACHED
                                             : FACTS_NONE;
    f->tx.u.facts.type = span_str("Lamp");
    f->tx.u.facts.attributes = span_str(f->thing != NULL ? f->thing : "");
    control_send_tx(f);
}

static void
take_thing(struct fixture *f)
{
    struct span id = f->rx.u.thing.client_id;

    f->things++;
    f->thing_request = f->rx.request;
    (void)snprintf(f->thing_client, sizeof f->thing_client, "%.*s", (int)id.len, id.ptr);
    if (!f->silent && !f->thing_waits) {
        answer_thing(f);
    }
}

static void
answer_admit(struct fixture *f)
{
    struct span id = f->rx.u.admit.client_id;

    f->admits++;
    f->admit_der.len = 0;
    buf_add(&f->admit_der, f->rx.u.admit.leaf_der.ptr, f->rx.u.admit.leaf_der.len);
    (void)snprintf(f->admit_client, sizeof f->admit_client, "%.*s", (int)id.len, id.ptr);
    if (f->silent) {
        return;
    }
    if (f->admit_puts_active) {
        put_table(f, &f->device, CERT_ACTIVE, SET);
    }
    f->tx.type = LINK_VERDICT;
    f->tx.request = f->rx.request;
    f->tx.u.verdict.cause = (uint16_t)f->verdict;
    control_send_tx(f);
}

static void
answer_number(struct fixture *f, uint32_t number, bool ok, bool saved)
{
    f->tx.type = LINK_STORED;
    f->tx.request = number;
    f->tx.u.stored.ok = ok;
    f->tx.u.stored.saved = saved;
    control_send_tx(f);
}

/* As control does it after a commit. */
void
answer_stored(struct fixture *f, uint32_t number, bool ok)
{
    answer_number(f, number, ok, false);
}

void
answer_saved(struct fixture *f, uint32_t number, bool ok)
{
    answer_number(f, number, ok, true);
}

static void
note_unstored(struct fixture *f)
{
    if (f->rx.request != 0) {
        f->unstored = f->rx.request;
    }
    if (f->rx.request != 0 && !f->stores_late) {
        answer_stored(f, f->rx.request, true);
    }
}

static void
note_ingress(struct fixture *f)
{
    struct span t = f->rx.u.ingress.topic;
    struct span p = f->rx.u.ingress.payload;

    f->ingresses++;
    (void)snprintf(f->ingress_topic, sizeof f->ingress_topic, "%.*s", (int)t.len, t.ptr);
    (void)snprintf(f->ingress_payload, sizeof f->ingress_payload, "%.*s", (int)p.len, p.ptr);
    note_unstored(f);
}

static void
control_message(struct fixture *f)
{
    if (f->rx.type == LINK_ADMIT) {
        answer_admit(f);
    } else if (f->rx.type == LINK_POLICY) {
        answer_policy(f);
    } else if (f->rx.type == LINK_THING) {
        take_thing(f);
    } else if (f->rx.type == LINK_INGRESS) {
        note_ingress(f);
    } else if (f->rx.type == LINK_RETAINED) {
        note_unstored(f);
    } else if (f->rx.type == LINK_SAVE) {
        f->saves++;
        f->unsaved = f->rx.request;
        if (!f->saves_late) {
            answer_saved(f, f->rx.request, true);
        }
    } else if (f->rx.type == LINK_EVENT) {
        struct event *e = &f->events[f->event_count % EVENTS_MAX];
        struct span t = f->rx.u.ingress.topic;
        struct span p = f->rx.u.ingress.payload;

        assert_int_equal(f->rx.u.ingress.client_id.len, 0);
        f->event_count++;
        (void)snprintf(e->topic, sizeof e->topic, "%.*s", (int)t.len, t.ptr);
        (void)snprintf(e->payload, sizeof e->payload, "%.*s", (int)p.len, p.ptr);
    } else {
        assert_int_equal(f->rx.type, LINK_RECORD);
        assert_true(f->record_count < RECORDS_MAX);
        f->records[f->record_count++] = f->rx.u.record;
    }
}

void
pump(struct fixture *f, int fd, short events, int ms)
{
    struct pollfd p[2] = { { .fd = f->deaf ? -1 : f->control, .events = POLLIN },
        { .fd = fd, .events = events } };

    (void)poll(p, 2, ms);
    while (f->control >= 0 && !f->deaf) {
        ssize_t len = recv(f->control, f->packet, sizeof f->packet, MSG_DONTWAIT);

        if (len <= 0) {
            return;
        }
        for (struct span rest = span_of(f->packet, (size_t)len); rest.len > 0;) {
            assert_int_equal(link_next(&rest, &f->rx), BM_OK);
            control_message(f);
        }
    }
}

void
wait_ingress(struct fixture *f, unsigned count)
{
    int64_t end = clock_mono_ms() + WAIT_MS;

    while (f->ingresses < count) {
        assert_true(clock_mono_ms() < end);
        pump(f, -1, 0, 20);
    }
    assert_int_equal(f->ingresses, count);
}

const struct timeline_record *
wait_record(struct fixture *f, size_t from, enum cause cause)
{
    int64_t end = clock_mono_ms() + WAIT_MS;

    for (;;) {
        for (size_t i = from; i < f->record_count; i++) {
            if (f->records[i].cause == cause) {
                return &f->records[i];
            }
        }
        if (clock_mono_ms() > end) {
            for (size_t i = 0; i < f->record_count; i++) {
                (void)fprintf(stderr, "record %zu: %s %s\n", i, cause_info(f->records[i].cause)->id,
                    f->records[i].facts);
            }
            fail_msg("no record of %s", cause_info(cause)->id);
        }
        pump(f, -1, 0, 20);
    }
}

const struct event *
wait_event(struct fixture *f, const char *topic, const char *part)
{
    int64_t end = clock_mono_ms() + WAIT_MS;

    for (;;) {
        for (size_t i = 0; i < f->event_count && i < EVENTS_MAX; i++) {
            if (strcmp(f->events[i].topic + strlen("$aws/events/"), topic) == 0 &&
                strstr(f->events[i].payload, part) != NULL) {
                return &f->events[i];
            }
        }
        if (clock_mono_ms() > end) {
            for (size_t i = 0; i < f->event_count && i < EVENTS_MAX; i++) {
                (void)fprintf(stderr, "%s %s\n", f->events[i].topic, f->events[i].payload);
            }
            fail_msg("no event %s with %s", topic, part);
        }
        pump(f, -1, 0, 20);
    }
}

void
wait_metric(struct fixture *f, const char *line)
{
    int64_t end = clock_mono_ms() + WAIT_MS;
    struct buf text = { 0 };

    metrics_text(f->metrics, 1, &text);
    while (strstr(buf_cstr(&text), line) == NULL) {
        if (clock_mono_ms() > end) {
            fail_msg("no \"%s\" in\n%s", line, buf_cstr(&text));
        }
        pump(f, -1, 0, 20);
        text.len = 0;
        metrics_text(f->metrics, 1, &text);
    }
    buf_fini(&text);
}

void
assert_fact(const struct timeline_record *r, const char *part)
{
    if (strstr(r->facts, part) == NULL) {
        fail_msg("facts \"%s\" lack \"%s\"", r->facts, part);
    }
}

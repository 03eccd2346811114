/* SPDX-License-Identifier: Apache-2.0 */
/* DescribeEndpoint and the HTTPS data plane's Publish. SPEC aws-iot 1.3.6, 1.3.7, 6.3. */
#include "api/internal.h"

#include <string.h>

enum { PAYLOAD_MAX = 131072, TOPIC_MAX = 256, TOPIC_SLASHES_MAX = 7 };

static void
refuse_endpoint(struct call *c, const char *type)
{
    if (strcmp(type, "iot:CredentialProvider") == 0 || strcmp(type, "iot:DeviceAdvisor") == 0)
        call_refuse(c, NOT_BUILT, "The endpoint type %s is not built here; iot:Data-ATS is.", type);
    else if (strcmp(type, "iot:Data") == 0 || strcmp(type, "iot:Jobs") == 0)
        call_refuse_input(c, "The endpoint type %s is retired; use iot:Data-ATS.", type);
    else
        call_refuse_input(c, "endpointType is '%.60s'; want iot:Data-ATS.", type);
}

void
api_describe_endpoint(struct call *c)
{
    const char *type = param_text(c, "endpointType");

    if (type == NULL || strcmp(type, "iot:Data-ATS") == 0)
        call_reply_json(
            c, 200, json_pack("{s:s}", "endpointAddress", c->account->endpoint_address));
    else
        refuse_endpoint(c, type);
}

/* ---- Publish ---- */

static bool
is_utf8(struct span text)
{
    json_t *value = json_span(text); /* jansson takes nothing else */
    bool valid = value != NULL;

    json_decref(value);
    return valid;
}

bool
call_check_topic(struct call *c, struct span topic, bool publish)
{
    size_t slashes = 0;

    for (size_t i = 0; i < topic.len; i++)
        slashes += topic.ptr[i] == '/';
    if (publish && topic.len > 0 && topic.ptr[0] == '$') {
        call_refuse(c, FORBIDDEN,
            "Topics that begin with '$' are the service's own; '%.200s' "
            "cannot be published to over HTTPS.",
            call_label(c, 0));
        return false;
    }
    if (topic.len == 0 || topic.len > TOPIC_MAX || slashes > TOPIC_SLASHES_MAX) {
        call_refuse_input(c,
            "The topic has %zu bytes and %zu slashes; at most %d bytes and %d slashes are allowed.",
            topic.len, slashes, TOPIC_MAX, TOPIC_SLASHES_MAX);
        return false;
    }
    if (strpbrk(call_label(c, 0), "+#") != NULL || !is_utf8(topic)) {
        call_refuse_input(
            c, "The topic '%.200s' has a wildcard (+ or #) or is not UTF-8.", call_label(c, 0));
        return false;
    }
    return true;
}

/* What MQTT 5 would carry beside the payload. */
static bool
check_mqtt5(struct call *c)
{
    static const char *const headers[] = { "x-amz-mqtt5-user-properties",
        "x-amz-mqtt5-payload-format-indicator", "x-amz-mqtt5-correlation-data" };
    static const char *const params[] = { "contentType", "responseTopic", "messageExpiry" };
    struct buf b = { 0 };
    const char *found = NULL;

    for (size_t i = 0; i < 3; i++) {
        if (http_header(c->rq, headers[i]) != NULL)
            found = headers[i];
        if (http_query_value(c->rq, params[i], &b))
            found = params[i];
    }
    buf_fini(&b);
    if (found == NULL)
        return true;
    call_refuse(c, NOT_BUILT, "The MQTT 5 property %s is not built here; leave it out.", found);
    return false;
}

static void
reply_published(struct call *c, enum bm_err err)
{
    if (err != BM_OK)
        call_refuse(c, UNAVAILABLE,
            "The message could not be handed to the broker, or stored for the rules; try again.");
    else if (call_commit(c))
        call_reply_json(c, 200, json_pack("{s:s,s:s}", "message", "OK", "traceId", http_id(c->rq)));
}

static void
on_published(void *arg, enum bm_err err)
{
    struct call *c = arg;

    reply_published(c, err);
    call_end(c);
}

void
api_publish(struct call *c)
{
    const struct api_options *o = &c->api->options;
    struct span topic = buf_span(&c->labels[0]);
    struct span payload = http_body(c->rq);
    int qos = (int)param_number(c, "qos", 0);
    bool retain = param_bool(c, "retain", false);
    enum bm_err err;

    if (!call_check_topic(c, topic, true) || !check_mqtt5(c))
        return;
    if (payload.len > PAYLOAD_MAX) {
        call_refuse(c, ENTITY_TOO_LARGE, "The payload has %zu bytes; at most %d are allowed.",
            payload.len, PAYLOAD_MAX);
        return;
    }
    err = o->publish(c->account->arg, topic, payload, qos, retain, on_published, c);
    if (err == BM_ERR_MORE)
        call_wait(c);
    else
        reply_published(c, err);
}

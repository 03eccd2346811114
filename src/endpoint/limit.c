/* SPDX-License-Identifier: Apache-2.0 */
/* See limit.h. */
#include "endpoint/limit.h"

#include <stdlib.h>
#include <string.h>

static const struct limit_row rows[LIMIT_COUNT] = {
    [LIMIT_PUBLISH_RATE] = { "publish-rate", 100, 0, 1000000, 0,
        "messages a second of a connection, each way" },
    [LIMIT_THROUGHPUT] = { "throughput", 512 * 1024, 0, UINT32_MAX, 0,
        "bytes a second of a connection, each way" },
    [LIMIT_IN_FLIGHT] = { "in-flight", 100, 0, 65535, 0,
        "unacknowledged QoS 1 messages of a connection, each way" },
    [LIMIT_SUBSCRIPTIONS] = { "subscriptions", 50, 1, 10000, 0, "of a connection" },
    [LIMIT_BEHIND_MS] = { "behind-ms", 10000, 100, 600000, 0,
        "milliseconds that a client may be behind before QoS 0 for it is discarded" },
    [LIMIT_CONNECT_RATE] = { "connect-rate", 1, 0, 1000, 0,
        "CONNECTs a second of one certificate with one client id" },
    [LIMIT_CONNECT_BURST] = { "connect-burst", 10, 1, 1000, 0, "so many of them may come at once" },
    [LIMIT_ADDRESS_CONNECTIONS] = { "address-connections", 0, 0, 65535, 0,
        "open connections of one IP address (IPv6: /64)" },
    [LIMIT_ADDRESS_HANDSHAKES] = { "address-handshakes", 0, 0, 65535, 0,
        "TLS handshakes in flight of one IP address" },
    [LIMIT_HANDSHAKES] = { "handshakes", 128, 1, 65535, 0,
        "TLS handshakes in flight in one worker; others wait" },
    [LIMIT_HANDSHAKE_MS] = { "handshake-ms", 10000, 100, 600000, 0,
        "milliseconds for TLS handshake and CONNECT together" },
    [LIMIT_DESCRIPTOR_RESERVE] = { "descriptor-reserve", 64, 32, 65535, 0,
        "descriptors of a worker that connections leave free" },
    [LIMIT_SESSION_HOURS] = { "session-hours", 1, 0, 168, 0,
        "hours that a persistent session outlives its connection at most" },
    [LIMIT_ACCOUNT_CONNECT_RATE] = { "account-connect-rate", 0, 0, 1000000, 500,
        "CONNECTs a second of an account's ACTIVE certificates" },
    [LIMIT_REGISTER_RATE] = { "register-rate", 0, 0, 1000000, 15,
        "certificates registered a second in an account, at CONNECT or by the API" },
    [LIMIT_UPDATE_CERTIFICATE_RATE] = { "update-certificate-rate", 0, 0, 1000000, 10,
        "UpdateCertificate a second in an account" },
    [LIMIT_REGISTER_CA_RATE] = { "register-ca-rate", 0, 0, 1000000, 10,
        "RegisterCACertificate a second in an account" },
    [LIMIT_CREATE_POLICY_RATE] = { "create-policy-rate", 0, 0, 1000000, 10,
        "CreatePolicy a second in an account" },
    [LIMIT_ATTACH_POLICY_RATE] = { "attach-policy-rate", 0, 0, 1000000, 15,
        "AttachPolicy a second in an account" },
};

const struct limit_row *
limit_row(enum limit which)
{
    return &rows[which];
}

struct limits
limits_default(void)
{
    struct limits l;

    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        l.v[i] = rows[i].value;
    }
    return l;
}

void
limits_lift(struct limits *l)
{
    l->v[LIMIT_PUBLISH_RATE] = 0;
    l->v[LIMIT_THROUGHPUT] = 0;
    l->v[LIMIT_IN_FLIGHT] = 0;
    l->v[LIMIT_CONNECT_RATE] = 0;
}

static enum bm_err
no_such_limit(const char *text, struct bm_msg *msg)
{
    char names[512] = "";
    size_t len = 0;

    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        size_t more = strlen(rows[i].name);

        memcpy(&names[len], rows[i].name, more);
        names[len + more] = ' ';
        len += more + 1;
    }
    names[len - 1] = '\0';
    return bm_fail(msg, BM_ERR_ARG, "'%s' is neither \"service\" nor NAME=NUMBER with one of: %s",
        text, names);
}

enum bm_err
limits_set(struct limits *l, const char *text, struct bm_msg *msg)
{
    const char *equals = strchr(text, '=');
    size_t len = equals != NULL ? (size_t)(equals - text) : 0;
    unsigned long long v;
    char *end = NULL;
    size_t i = 0;

    if (strcmp(text, "service") == 0) {
        for (; i < LIMIT_COUNT; i++) {
            l->v[i] = rows[i].service != 0 ? rows[i].service : l->v[i];
        }
        return BM_OK;
    }
    while (
        i < LIMIT_COUNT && (strlen(rows[i].name) != len || strncmp(rows[i].name, text, len) != 0)) {
        i++;
    }
    if (i == LIMIT_COUNT) {
        return no_such_limit(text, msg);
    }
    v = strtoull(equals + 1, &end, 10);
    if (equals[1] < '0' || equals[1] > '9' || *end != '\0' || v > rows[i].max || v < rows[i].min) {
        return bm_fail(msg, BM_ERR_ARG, "%s wants a number from %u to %u%s, not '%s'", rows[i].name,
            rows[i].min, rows[i].max, rows[i].min == 0 ? " (0: no limit)" : "", equals + 1);
    }
    l->v[i] = (uint32_t)v;
    return BM_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See outcome.h. */
#include "device/outcome.h"

#include <errno.h>
#include <openssl/x509_vfy.h>

enum { SLOW_HANDSHAKE_MS = 5000 };

static const struct outcome_info infos[OUTCOME_COUNT] = {
    [OUTCOME_LOST] = { CAUSE_DEVICE_LOST, RETRY_LOST, DEVICE_EXIT_LOST },
    [OUTCOME_TAKEN_OVER] = { CAUSE_TAKEN_OVER, RETRY_FOREIGN, DEVICE_EXIT_LOST },
    [OUTCOME_AT_PUBLISH] = { CAUSE_DEVICE_AT_PUBLISH, RETRY_LOST, DEVICE_EXIT_PUBLISH },
    [OUTCOME_NO_PUBACK] = { CAUSE_DEVICE_NO_PUBACK, RETRY_NETWORK, DEVICE_EXIT_BUSY },
    [OUTCOME_DROPPED] = { CAUSE_DEVICE_DROPPED, RETRY_JITR, DEVICE_EXIT_DROPPED },
    [OUTCOME_SHUT_OUT] = { CAUSE_DEVICE_SHUT_OUT, RETRY_JITR, DEVICE_EXIT_DROPPED },
    [OUTCOME_SLOW] = { CAUSE_DEVICE_SLOW, RETRY_NETWORK, DEVICE_EXIT_BUSY },
    [OUTCOME_NOT_ALLOWED] = { CAUSE_DEVICE_NOT_ALLOWED, RETRY_JITR, DEVICE_EXIT_REFUSED },
    [OUTCOME_REFUSED] = { CAUSE_DEVICE_REFUSED, RETRY_REFUSED, DEVICE_EXIT_REFUSED },
    [OUTCOME_BUSY] = { CAUSE_DEVICE_BUSY, RETRY_NETWORK, DEVICE_EXIT_BUSY },
    [OUTCOME_NO_CONNACK] = { CAUSE_DEVICE_NO_CONNACK, RETRY_NETWORK, DEVICE_EXIT_BUSY },
    [OUTCOME_NAME_UNKNOWN] = { CAUSE_DEVICE_NAME_UNKNOWN, RETRY_NETWORK, DEVICE_EXIT_NETWORK },
    [OUTCOME_NO_NETWORK] = { CAUSE_DEVICE_NO_NETWORK, RETRY_NETWORK, DEVICE_EXIT_NETWORK },
    [OUTCOME_NOBODY] = { CAUSE_DEVICE_NOBODY, RETRY_NETWORK, DEVICE_EXIT_NETWORK },
    [OUTCOME_NOT_TLS] = { CAUSE_DEVICE_NOT_TLS, RETRY_FOREIGN, DEVICE_EXIT_FOREIGN },
    [OUTCOME_UNTRUSTED] = { CAUSE_DEVICE_UNTRUSTED, RETRY_FOREIGN, DEVICE_EXIT_SERVER },
    [OUTCOME_SERVER_NAME] = { CAUSE_DEVICE_SERVER_NAME, RETRY_FOREIGN, DEVICE_EXIT_SERVER },
    [OUTCOME_SERVER_DATES] = { CAUSE_DEVICE_SERVER_DATES, RETRY_CLOCK, DEVICE_EXIT_SERVER },
    [OUTCOME_CLOCK] = { CAUSE_DEVICE_CLOCK, RETRY_CLOCK, DEVICE_EXIT_CLOCK },
    [OUTCOME_TLS_REFUSED] = { CAUSE_DEVICE_TLS_REFUSED, RETRY_REFUSED, DEVICE_EXIT_TLS },
    [OUTCOME_TLS_FAILED] = { CAUSE_DEVICE_TLS_FAILED, RETRY_NETWORK, DEVICE_EXIT_TLS },
    [OUTCOME_CHIP] = { CAUSE_DEVICE_CHIP, RETRY_CHIP, DEVICE_EXIT_CHIP },
    [OUTCOME_KEY] = { CAUSE_DEVICE_KEY, RETRY_REFUSED, DEVICE_EXIT_KEY },
};

static const struct {
    int alert;
    const char *name;
    bool of_us; /* what a server says of a client's certificate */
} alerts[] = {
    { 0, "close_notify", false },
    { 10, "unexpected_message", false },
    { 20, "bad_record_mac", false },
    { 22, "record_overflow", false },
    { 40, "handshake_failure", false },
    { 42, "bad_certificate", true },
    { 43, "unsupported_certificate", true },
    { 44, "certificate_revoked", true },
    { 45, "certificate_expired", true },
    { 46, "certificate_unknown", true },
    { 47, "illegal_parameter", false },
    { 48, "unknown_ca", true },
    { 49, "access_denied", true },
    { 50, "decode_error", false },
    { 51, "decrypt_error", true }, /* the signature was not made by the certificate's key */
    { 70, "protocol_version", false },
    { 71, "insufficient_security", false },
    { 80, "internal_error", false },
    { 86, "inappropriate_fallback", false },
    { 90, "user_canceled", false },
    { 109, "missing_extension", false },
    { 110, "unsupported_extension", false },
    { 112, "unrecognized_name", false },
    { 113, "bad_certificate_status_response", false },
    { 115, "unknown_psk_identity", false },
    { 116, "certificate_required", true },
    { 120, "no_application_protocol", false },
};

/* 1 to 5 are CONNACK codes of MQTT 3.1.1; from 0x80 on, reasons of MQTT 5. */
static const struct {
    int code;
    const char *text;
    enum outcome connack; /* what it means in a CONNACK */
} reasons[] = {
    { 1, "unacceptable protocol level", OUTCOME_REFUSED },
    { 2, "client id rejected", OUTCOME_REFUSED },
    { 3, "server unavailable", OUTCOME_BUSY },
    { 4, "bad user name or password", OUTCOME_NOT_ALLOWED },
    { 5, "not authorised", OUTCOME_NOT_ALLOWED },
    { 7, "not authorised", OUTCOME_NOT_ALLOWED }, /* spec aws-iot 6.2 */
    { 0x80, "unspecified error", OUTCOME_BUSY },
    { 0x81, "malformed packet", OUTCOME_REFUSED },
    { 0x82, "protocol error", OUTCOME_REFUSED },
    { 0x83, "implementation specific error", OUTCOME_BUSY },
    { 0x84, "unsupported protocol level", OUTCOME_REFUSED },
    { 0x85, "client id not valid", OUTCOME_REFUSED },
    { 0x86, "bad user name or password", OUTCOME_NOT_ALLOWED },
    { 0x87, "not authorised", OUTCOME_NOT_ALLOWED },
    { 0x88, "server unavailable", OUTCOME_BUSY },
    { 0x89, "server busy", OUTCOME_BUSY },
    { 0x8a, "banned", OUTCOME_NOT_ALLOWED },
    { 0x8b, "server shutting down", OUTCOME_BUSY },
    { 0x8d, "keep alive timeout", OUTCOME_BUSY },
    { 0x8e, "session taken over", OUTCOME_TAKEN_OVER },
    { 0x8f, "topic filter not valid", OUTCOME_REFUSED },
    { 0x90, "topic name not valid", OUTCOME_REFUSED },
    { 0x93, "receive maximum exceeded", OUTCOME_REFUSED },
    { 0x95, "packet too large", OUTCOME_REFUSED },
    { 0x97, "quota exceeded", OUTCOME_BUSY },
    { 0x98, "administrative action", OUTCOME_NOT_ALLOWED },
    { 0x99, "payload format not valid", OUTCOME_REFUSED },
    { 0x9a, "retain not supported", OUTCOME_REFUSED },
    { 0x9b, "QoS not supported", OUTCOME_REFUSED },
    { 0x9c, "use another server", OUTCOME_REFUSED },
    { 0x9d, "server moved", OUTCOME_REFUSED },
    { 0x9f, "connection rate exceeded", OUTCOME_BUSY },
};

const struct outcome_info *
outcome_info(enum outcome o)
{
    return &infos[(unsigned)o < OUTCOME_COUNT ? o : OUTCOME_LOST];
}

const char *
outcome_id(enum outcome o)
{
    return cause_info(outcome_info(o)->cause)->id;
}

const char *
tls_alert_name(int alert)
{
    for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++) {
        if (alerts[i].alert == alert)
            return alerts[i].name;
    }
    return NULL;
}

const char *
mqtt_reason_text(int code)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].code == code)
            return reasons[i].text;
    }
    return "unknown reason";
}

void
mqtt_refusal_text(const char *packet, int code, const char *words, struct buf *out)
{
    buf_addf(out, "%s %d, %s%s%s", packet, code, mqtt_reason_text(code),
        words[0] != '\0' ? ": " : "", words);
}

static enum outcome
of_connack(const struct attempt *a)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].code == a->connack)
            return reasons[i].connack;
    }
    return OUTCOME_REFUSED;
}

static enum outcome
of_server_certificate(const struct attempt *a)
{
    switch (a->verify_error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return OUTCOME_SERVER_NAME;
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return a->clock_wrong ? OUTCOME_CLOCK : OUTCOME_SERVER_DATES;
    default:
        return OUTCOME_UNTRUSTED;
    }
}

/*
 * In TLS 1.3 a client that is late cannot know that the server has given up: it takes its handshake
 * for done and sends CONNECT. `birthmark cloud` gives up after 10 s (--limit handshake-ms).
 */
static enum outcome
of_dropped(const struct attempt *a)
{
    if (a->ms[PHASE_CONNECT] - a->ms[PHASE_TLS] >= SLOW_HANDSHAKE_MS)
        return OUTCOME_SLOW;
    return a->admitted_before ? OUTCOME_SHUT_OUT : OUTCOME_DROPPED;
}

/*
 * An alert after the handshake is how TLS 1.3 refuses a client's certificate, too. In 2017 the real
 * service said certificate_unknown to a newcomer, which is to be tried again. SPEC aws-iot 4.1
 */
static enum outcome
of_alert(const struct attempt *a)
{
    for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++) {
        if (alerts[i].alert == a->alert_received && alerts[i].of_us)
            return a->alert_received == 46 ? of_dropped(a) : OUTCOME_TLS_REFUSED;
    }
    return OUTCOME_TLS_FAILED;
}

static enum outcome
of_connected(const struct attempt *a)
{
    if (a->disconnect == 0x8e)
        return OUTCOME_TAKEN_OVER;
    if (a->no_puback)
        return OUTCOME_NO_PUBACK;
    return a->refuses_message ? OUTCOME_AT_PUBLISH : OUTCOME_LOST;
}

enum outcome
outcome_of(const struct attempt *a)
{
    bool alert = a->alert_received > 0;

    if (a->key_misfit)
        return OUTCOME_KEY;
    if (a->key_unusable)
        return OUTCOME_CHIP;
    switch (a->phase) {
    case PHASE_KEY:
        return OUTCOME_CHIP;
    case PHASE_NAME:
        return OUTCOME_NAME_UNKNOWN;
    case PHASE_TCP:
        return a->sys_errno == ECONNREFUSED ? OUTCOME_NOBODY : OUTCOME_NO_NETWORK;
    case PHASE_TLS:
        if (a->foreign)
            return OUTCOME_NOT_TLS;
        if (a->verify_error != X509_V_OK)
            return of_server_certificate(a);
        if (a->timed_out)
            return OUTCOME_NO_NETWORK;
        return alert ? of_alert(a) : OUTCOME_TLS_FAILED;
    case PHASE_CONNECT:
        if (a->connack > 0)
            return of_connack(a);
        if (a->timed_out)
            return OUTCOME_NO_CONNACK;
        return alert ? of_alert(a) : of_dropped(a);
    case PHASE_CONNECTED:
        return of_connected(a);
    case PHASE_COUNT:
        break;
    }
    return OUTCOME_LOST;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why something was admitted, refused or changed, and the record of it: what happened to one
 * certificate, in order.
 *
 * One table (cause.c) has for each cause an id that scripts may rely on, a sentence, a cure and a
 * class. `birthmark explain`, the log and later the console print from it. The store of records is
 * the registry's business.
 */
#ifndef BM_TIMELINE_TIMELINE_H
#define BM_TIMELINE_TIMELINE_H

#include "base/bytes.h"

enum cause {
    CAUSE_NONE = 0,
    /* changes of state */
    CAUSE_REGISTERED_JITR, /* unknown leaf of a registered CA: PENDING_ACTIVATION */
    CAUSE_REGISTERED_API, /* RegisterCertificate, CreateKeysAndCertificate, CreateCertificateFromCsr
                           */
    CAUSE_STATUS_CHANGED, /* UpdateCertificate; facts: from=... to=... by=... */
    CAUSE_CERTIFICATE_DELETED,
    CAUSE_POLICY_ATTACHED,
    CAUSE_POLICY_DETACHED,
    CAUSE_CA_REGISTERED,
    CAUSE_CA_CHANGED,
    CAUSE_CA_DELETED,
    /* consequences */
    CAUSE_EVENT_PUBLISHED,
    CAUSE_RULE_MATCHED,
    CAUSE_RULE_FAILED, /* an action could not run; facts say why */
    CAUSE_FUNCTION_INVOKED,
    CAUSE_FUNCTION_SUCCEEDED,
    CAUSE_FUNCTION_FAILED,
    /* connections */
    CAUSE_ADMITTED,
    CAUSE_DISCONNECTED, /* the client left or the connection ended */
    CAUSE_TAKEN_OVER,   /* another connection uses the client id */
    CAUSE_PENDING,      /* registered, not yet activated; the event is published again */
    CAUSE_INACTIVE,
    CAUSE_REVOKED,
    CAUSE_CA_UNKNOWN, /* no registered CA has this issuer name */
    CAUSE_CA_INACTIVE,
    CAUSE_CA_NO_AUTO_REGISTRATION,
    CAUSE_CA_TEMPLATE,     /* the CA has a provisioning template (JITP), which is not built */
    CAUSE_SIGNATURE_WRONG, /* issuer name matches, signature does not */
    CAUSE_LEAF_EXPIRED,
    CAUSE_LEAF_NOT_YET_VALID,
    CAUSE_LEAF_UNACCEPTABLE, /* key or signature algorithm too weak, not parsable */
    CAUSE_NO_CERTIFICATE,
    CAUSE_SNI_REQUIRED, /* mode SNI_ONLY, and no server name of ours was asked for */
    CAUSE_NO_POLICY,
    CAUSE_CONNECT_DENIED,
    CAUSE_PUBLISH_DENIED,
    CAUSE_SUBSCRIBE_DENIED,
    CAUSE_RECEIVE_DENIED,
    CAUSE_PROTOCOL, /* malformed or unsupported MQTT; facts name the field */
    CAUSE_QOS2,
    CAUSE_TOO_LARGE,       /* a limit of SPEC aws-iot 6 */
    CAUSE_CONNECT_TIMEOUT, /* TLS or CONNECT did not finish in time */
    CAUSE_KEEP_ALIVE,
    CAUSE_TLS, /* handshake failed; facts: OpenSSL's words */
    CAUSE_BROKER_DOWN,
    CAUSE_CONTROL_DOWN, /* the registry writer did not answer */
    CAUSE_OUT_OF_MEMORY,
    /* what a device sees from its end; `birthmark device` and `birthmark doctor` name them */
    CAUSE_DEVICE_CHIP,         /* the chip, or the key file, cannot be used */
    CAUSE_DEVICE_KEY,          /* no certificate fits the key */
    CAUSE_DEVICE_CHAIN,        /* the issuer is missing, or the order is wrong */
    CAUSE_DEVICE_ALPN,         /* the server does not speak MQTT on this port without, or with it */
    CAUSE_DEVICE_CLOCK,        /* the clock cannot be right */
    CAUSE_DEVICE_NAME_UNKNOWN, /* no address for the host name */
    CAUSE_DEVICE_NO_NETWORK,   /* no way to the address, or no answer */
    CAUSE_DEVICE_NOBODY,       /* connection refused: nobody listens */
    CAUSE_DEVICE_NOT_TLS,      /* something else answers: a captive portal */
    CAUSE_DEVICE_UNTRUSTED,    /* the server's certificate has another root */
    CAUSE_DEVICE_SERVER_NAME,  /* the server's certificate names another host */
    CAUSE_DEVICE_SERVER_DATES, /* the server's certificate is not valid today */
    CAUSE_DEVICE_TLS_REFUSED,  /* the server ended TLS with an alert about our certificate */
    CAUSE_DEVICE_TLS_FAILED,   /* the handshake failed otherwise */
    CAUSE_DEVICE_NO_CONNACK,   /* connected, CONNECT sent, silence */
    CAUSE_DEVICE_NO_PUBACK,    /* connected, published, silence */
    CAUSE_DEVICE_DROPPED,      /* closed at CONNECT; never let in so far */
    CAUSE_DEVICE_SHUT_OUT,     /* closed at CONNECT; was let in before */
    CAUSE_DEVICE_SLOW,         /* closed at CONNECT, after a handshake that took long */
    CAUSE_DEVICE_NOT_ALLOWED,  /* CONNACK: not authorised */
    CAUSE_DEVICE_REFUSED,      /* CONNACK: protocol level or client id */
    CAUSE_DEVICE_BUSY,         /* CONNACK: server unavailable, busy, quota */
    CAUSE_DEVICE_LOST,         /* the connection ended */
    CAUSE_DEVICE_AT_PUBLISH,   /* the connection ends whenever a message is published */
    /* limits of the endpoint, `birthmark cloud --limits` */
    CAUSE_CONNECT_RATE,
    CAUSE_ADDRESS_CONNECTIONS,
    CAUSE_ADDRESS_HANDSHAKES,
    CAUSE_PUBLISH_RATE, /* discarded or delayed, either way: facts */
    CAUSE_THROUGHPUT,   /* delayed */
    CAUSE_IN_FLIGHT,
    CAUSE_SUBSCRIPTIONS,
    CAUSE_REGISTER_RATE,
    CAUSE_SLOW, /* QoS 0 discarded, or disconnected: facts */
    CAUSE_COUNT
};

enum cause_class { CAUSE_CHANGE, CAUSE_EFFECT, CAUSE_ACCEPT, CAUSE_REFUSE, CAUSE_END };

struct cause_info {
    const char *id;       /* "connect.no_policy": stable, for scripts */
    const char *sentence; /* "The certificate is ACTIVE but has no policy attached." */
    const char *cure;     /* what a person does about it; "" when nothing is wrong */
    enum cause_class kind;
};

/* Never NULL for 0 < c < CAUSE_COUNT. */
const struct cause_info *cause_info(enum cause c);
bool cause_by_id(const char *id, enum cause *out);
/* "change", "effect", "accepted", "refused", "ended" */
const char *cause_class_name(enum cause_class kind);

enum { TIMELINE_CLIENT_MAX = 128, TIMELINE_PEER_MAX = 63, TIMELINE_FACTS_MAX = 255 };

struct timeline_record {
    int64_t time_ms; /* wall clock */
    enum cause cause;
    bool has_cert;
    uint8_t cert_id[32];
    char client_id[TIMELINE_CLIENT_MAX + 1]; /* "" when unknown */
    char peer[TIMELINE_PEER_MAX + 1];        /* "127.0.0.1:40122", or "api" with the request id */
    char status[24]; /* certificate status after this, "" when it does not apply */
    char facts[TIMELINE_FACTS_MAX + 1]; /* `key=value` pairs */
};

/* Fill time and cause, copy what is not NULL (cut to fit). */
void timeline_fill(struct timeline_record *r, enum cause cause, const uint8_t *cert_id,
    const char *client_id, const char *peer, const char *status, const char *facts_fmt, ...)
    __attribute__((format(printf, 7, 8)));

/* What the commands of cures are for. A member that is NULL or "": us-east-1, 000000000000, and
 * API_URL in the URL's place, which is the `api` line that the cloud printed. */
struct timeline_place {
    const char *region;
    const char *account;
    const char *api; /* URL */
};

/* Append one record to `out`, for a person: time, status, sentence, facts, and the cure on a line
 * of its own for refusals. `place` may be NULL. */
void timeline_text(
    const struct timeline_record *r, const struct timeline_place *place, struct buf *out);
/* As one JSON object without line end. */
void timeline_json(
    const struct timeline_record *r, const struct timeline_place *place, struct buf *out);
/* A refusal as three lines: why (cause and sentence), evidence, cure. */
void timeline_verdict(
    const struct timeline_record *r, const struct timeline_place *place, struct buf *out);
/* Text from outside, with \xNN for what would steer a terminal. */
void timeline_clean(const char *text, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of one attempt to connect: facts in, outcome out, and what an outcome means.
 *
 * One table (outcome.c) says for each outcome its cause (sentence and cure: timeline/cause.c), how
 * soon to try again (backoff.h) and the exit code of a program that does not try again. The facts
 * are what any client sees: how far it came, errno, alerts, OpenSSL's verdict on the server's
 * certificate, the CONNACK. Pure; a fleet of thousands uses the same table as one device.
 */
#ifndef BM_DEVICE_OUTCOME_H
#define BM_DEVICE_OUTCOME_H

#include "base/bytes.h"
#include "timeline/timeline.h"

/* How far an attempt came; each stands for all before it. */
enum attempt_phase {
    PHASE_KEY,       /* reading key and certificates */
    PHASE_NAME,      /* asking for the server's addresses */
    PHASE_TCP,       /* connecting */
    PHASE_TLS,       /* shaking hands */
    PHASE_CONNECT,   /* CONNECT sent, no CONNACK yet */
    PHASE_CONNECTED, /* CONNACK with success came; the connection ended later */
    PHASE_COUNT
};

/* Zero-initialised: no fact at all. */
struct attempt {
    enum attempt_phase phase;
    int sys_errno;      /* PHASE_TCP: why; 0: no answer in time. Later: of the lost connection */
    bool key_unusable;  /* the chip did not answer, refused to sign, or the files are unreadable */
    bool key_misfit;    /* the certificate is not for the key, or there is none */
    bool foreign;       /* bytes that are no TLS came back */
    bool clock_wrong;   /* the system's clock is known to be wrong (clock.h) */
    long verify_error;  /* X509_V_ERR_* of the server's certificate; 0: none */
    int alert_received; /* TLS alert of the server, e.g. 46; 0: none */
    bool timed_out;     /* the phase did not end in time */
    int connack;        /* code of a CONNACK that refuses; 0: none came */
    int disconnect;     /* reason of a DISCONNECT from the server (MQTT 5); 0: none */
    bool admitted_before; /* this certificate was let in by this server at some time */
    bool no_puback;       /* connected, published, and no PUBACK came in time */
    bool refuses_message; /* the connection ended again and again after the same publish */
    /* for explanations */
    char words[256];    /* MQTT 5: Reason String of the server's last answer, fit to print; or "" */
    char peer[72];      /* "127.0.0.1:8883", once it is known */
    unsigned addresses; /* how many the host has */
    int ms[PHASE_COUNT]; /* from the start until a phase was reached */
};

enum outcome {
    OUTCOME_LOST, /* it was connected, and the connection ended */
    OUTCOME_TAKEN_OVER,
    OUTCOME_AT_PUBLISH,
    OUTCOME_NO_PUBACK,
    OUTCOME_DROPPED,
    OUTCOME_SHUT_OUT,
    OUTCOME_SLOW,
    OUTCOME_NOT_ALLOWED,
    OUTCOME_REFUSED,
    OUTCOME_BUSY,
    OUTCOME_NO_CONNACK,
    OUTCOME_NAME_UNKNOWN,
    OUTCOME_NO_NETWORK,
    OUTCOME_NOBODY,
    OUTCOME_NOT_TLS,
    OUTCOME_UNTRUSTED,
    OUTCOME_SERVER_NAME,
    OUTCOME_SERVER_DATES,
    OUTCOME_CLOCK,
    OUTCOME_TLS_REFUSED,
    OUTCOME_TLS_FAILED,
    OUTCOME_CHIP,
    OUTCOME_KEY,
    OUTCOME_COUNT
};

/* How an outcome is retried; the figures are in backoff.c. */
enum retry {
    RETRY_LOST,    /* it worked a moment ago: soon, but not all devices at once */
    RETRY_JITR,    /* dropped at CONNECT: in a moment it may be ACTIVE, or never */
    RETRY_NETWORK, /* as soon as the network or the server is back */
    RETRY_CHIP,    /* as soon as the chip is back */
    RETRY_CLOCK,   /* once the clock is set */
    RETRY_FOREIGN, /* somebody else answers: slowly, nothing is gained by haste */
    RETRY_REFUSED, /* a person must act: rarely, in case it has been done */
    RETRY_COUNT
};

/* Exit codes of `birthmark device` and `birthmark doctor`, listed in birthmark-device(1). */
enum {
    DEVICE_EXIT_CHIP = 10,
    DEVICE_EXIT_KEY = 11,
    DEVICE_EXIT_CLOCK = 12,
    DEVICE_EXIT_NETWORK = 13,
    DEVICE_EXIT_FOREIGN = 14, /* no TLS */
    DEVICE_EXIT_SERVER = 15,  /* the server's certificate */
    DEVICE_EXIT_TLS = 16,
    DEVICE_EXIT_DROPPED = 17,
    DEVICE_EXIT_REFUSED = 18,
    DEVICE_EXIT_BUSY = 19,
    DEVICE_EXIT_LOST = 20,
    DEVICE_EXIT_PUBLISH = 21,
    DEVICE_EXIT_FULL = 22,  /* the queue; no outcome */
    DEVICE_EXIT_RENEW = 23, /* no new certificate; no outcome */
};

struct outcome_info {
    enum cause cause;
    enum retry retry;
    int exit_code;
};

enum outcome outcome_of(const struct attempt *a);
const struct outcome_info *outcome_info(enum outcome o); /* never NULL */
const char *outcome_id(enum outcome o);                  /* the cause's: "device.dropped" */

/* "unknown_ca" for a TLS alert (RFC 8446 6.2), "alert 99" has no name: NULL. */
const char *tls_alert_name(int alert);
/* Words for the code of a CONNACK, PUBACK, SUBACK or DISCONNECT of either protocol level. */
const char *mqtt_reason_text(int code);
/* "PUBACK 135, not authorised: WORDS"; without words no colon. */
void mqtt_refusal_text(const char *packet, int code, const char *words, struct buf *out);

#endif

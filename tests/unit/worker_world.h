/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS worker as a process, for its tests: a scripted control process on the other end of the
 * link, a real mosquitto behind it, devices that are plain OpenSSL with packets written by hand.
 *
 * One thread plays control and all devices: whatever a device waits for, `pump` serves the link
 * meanwhile. Waiting has a deadline, nothing sleeps.
 */
#ifndef BM_TESTS_WORKER_WORLD_H
#define BM_TESTS_WORKER_WORLD_H

#include "base/clock.h"
#include "base/file.h"
#include "certs.h"
#include "endpoint/inside.h"
#include "registry/registry.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LIT(text) span_of(text, sizeof(text) - 1)

enum {
    WAIT_MS = 60 * 1000,
    RECORDS_MAX = 512,
    EVENTS_MAX = 512,
    SET = 7,
    SET_NARROW = 8,
    SET_RETAIN = 9,
    SET_THING = 10,   /* connect: an attached thing; publish: t/ and its attribute "room" */
    HANDSHAKES = 128, /* in flight, the default */
};

struct fixture {
    char dir[64];
    char broker_path[96];
    struct table *table;
    struct metrics *metrics;
    struct made ca;
    struct made server;
    struct made device;
    struct made other;
    pid_t worker;
    pid_t mosquitto;
    int control; /* our end of the link */
    uint16_t port;
    /* the script */
    enum cause verdict;
    bool admit_puts_active;
    bool silent; /* control does not answer */
    bool set_missing;
    bool stores_late;  /* control does not say that it stored */
    bool saves_late;   /* nor that the broker saved */
    const char *thing; /* its attributes; NULL: the client is none */
    bool thing_fails;
    bool thing_waits; /* the question is taken, not answered */
    bool deaf;        /* control does not read */
    unsigned keep_alive_min_s;
    struct limits limits;
    rlim_t descriptors; /* 0: as they are */
    /* what was seen */
    unsigned admits;
    unsigned policies;
    unsigned things;
    uint32_t thing_request;
    char thing_client[160];
    struct buf admit_der;
    char admit_client[160];
    struct timeline_record records[RECORDS_MAX];
    size_t record_count;
    unsigned ingresses;
    unsigned saves;
    uint32_t unsaved;  /* the newest save that control was asked for */
    uint32_t unstored; /* the newest that control was asked to store */
    char ingress_topic[300];
    char ingress_payload[300];
    struct event {
        char topic[160];
        char payload[512];
    } events[EVENTS_MAX];
    size_t event_count;
    struct link_msg rx;
    struct link_msg tx;
    uint8_t packet[LINK_MESSAGE_MAX];
};

/* ---- control: worker_control.c ---- */

void put_table(struct fixture *f, const struct made *m, enum cert_status status, uint32_t set);
void control_send_tx(struct fixture *f);
void changed(struct fixture *f, const struct made *m);
/* Control stored, or lost, all up to this number. It does so by itself unless it stores_late. */
void answer_stored(struct fixture *f, uint32_t number, bool ok);
/* The same of the broker's sessions; by itself unless it saves_late. */
void answer_saved(struct fixture *f, uint32_t number, bool ok);
/* Wait until control got so many messages for rules. */
void wait_ingress(struct fixture *f, unsigned count);
/* The answer to the newest LINK_THING. */
void answer_thing(struct fixture *f);
/* Serve the link, and wait for it or `fd` at most `ms`. */
void pump(struct fixture *f, int fd, short events, int ms);
/* Wait for the record number `from` or later of this cause. */
const struct timeline_record *wait_record(struct fixture *f, size_t from, enum cause cause);
/* Wait for the event with this topic below $aws/events/, with this part in its payload. */
const struct event *wait_event(struct fixture *f, const char *topic, const char *part);
/* Wait until the one worker's numbers have this line: it may count what it did afterwards. */
void wait_metric(struct fixture *f, const char *line);
void assert_fact(const struct timeline_record *r, const char *part);

/* ---- devices: worker_device.c ---- */

struct device {
    struct fixture *f;
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    bool closed;
    struct buf in;
};

struct tls_choice {
    const struct made *cert; /* NULL: none */
    int version;             /* 0: any */
    const char *alpn;        /* wire form */
};

void device_free(struct device *d);
/* One step that did not finish: false when it never will. */
bool step(struct device *d, int ret, int64_t end);
void tcp_connect(struct device *d);
/* Start a TLS connection; finished by device_handshake. */
struct device device_start(struct fixture *f, const struct tls_choice *choice);
bool device_handshake(struct device *d);
struct device device_open(struct fixture *f, const struct made *cert);
void device_send(struct device *d, struct span bytes);
/* The next packet into `out`; it lives until the next call. False: the connection is closed. */
bool device_next(struct device *d, struct mqtt_packet *out);
void expect(struct device *d, struct span bytes);
/* Closed, and not one packet before. */
void expect_closed(struct device *d);
/* CONNACK 3 of level 4, and then closed. */
void expect_unavailable(struct device *d);
void say_connect(struct device *d, uint8_t level, const char *id, struct span properties);
void say_publish(
    struct device *d, uint8_t level, uint8_t qos, const char *topic, const char *payload);
void say_subscribe(struct device *d, uint8_t level, const char *filter, uint8_t qos);
void expect_connack5(struct device *d, uint8_t code);
/* DISCONNECT of level 5 with this code and the cause as Reason String. */
void expect_disconnect5(struct device *d, uint8_t code, enum cause cause);
/* PUBACK and SUBACK of level 5 with these codes, and with cause and evidence as Reason String;
 * CAUSE_NONE: with none. */
void expect_puback5(
    struct device *d, uint16_t id, uint8_t code, enum cause cause, const char *evidence);
void expect_suback5(
    struct device *d, uint16_t id, struct span codes, enum cause cause, const char *evidence);
/* An admitted device of level 4. */
struct device device_in(struct fixture *f, const struct made *cert, const char *id);
struct device device_in5(struct fixture *f, const struct made *cert, const char *id);
void expect_ping(struct device *d);
/* The rules have these filters (second: NULL when there is none), before what d says next. */
void give_filters(struct device *d, const char *first, const char *second);

/* ---- fixture: worker_world.c ---- */

/* Is mosquitto installed? Says so when it is not. For main, before any test. */
bool worker_can_run(void);
void start_mosquitto(struct fixture *f);
/* Somebody is subscribed to events (as when the fixture begins), or nobody is. */
void events_heard(struct fixture *f, bool heard);
void end_child(pid_t *pid, int *status);
/* The device is not in the table; known: it is ACTIVE; impatient: keep-alive from 1 s; hasty: that,
 * lifted; lifted: no limits of rates; lagging: the same, and who is behind for 0.2 s is slow;
 * paced: that with 20 messages a second; slow: one CONNECT a second of the account; poor: 48
 * connections at most; narrow: two handshakes in flight, which do not time out during a test. */
int set_up(void **state);
int set_up_known(void **state);
int set_up_impatient(void **state);
int set_up_hasty(void **state);
int set_up_lifted(void **state);
int set_up_lagging(void **state);
int set_up_paced(void **state);
int set_up_slow(void **state);
int set_up_poor(void **state);
int set_up_narrow(void **state);
int tear_down(void **state);

#define KNOWN(name) cmocka_unit_test_setup_teardown(name, set_up_known, tear_down)
#define UNKNOWN(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define LIFTED(name) cmocka_unit_test_setup_teardown(name, set_up_lifted, tear_down)

#endif

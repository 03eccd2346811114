/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a worker: what its files share. Not for other rooms.
 *
 *   worker.c    start, accept, end                 tls.c      OpenSSL, one step at a time
 *   conn.c      the life of one connection         state.c    its states as a pure table
 *   client.c    the client's socket, backpressure  address.c  where it comes from
 *   hello.c     CONNECT: who, may it, to the broker
 *   relay.c     packets of an admitted client      broker.c   the upstream socket and its packets
 *   subscribe.c its SUBSCRIBE and UNSUBSCRIBE
 *   acks.c      PUBACKs that wait for control's store
 *   slow.c      clients that take less than comes for them
 *   reason.c    Reason Strings
 *   control.c   the link to the control process    policies.c compiled policy sets by number
 *   thing.c     what policies may know of the thing of a connection
 *   presence.c  lifecycle events                  throttle.c  rates and counts over all workers
 *   index.c     find connections by client id, certificate, request
 *   lean.c      what a finished handshake leaves behind
 *
 * Rules. Everything runs on one thread in one loop. A handler of a packet or message may close its
 * own connection: afterwards `state` is CONN_CLOSED and the memory stays until the end of the
 * round. Handlers only fill buffers; the callback at the top calls conn_settle once at its end,
 * which writes, resumes what was held back, and sets what epoll waits for.
 */
#ifndef BM_ENDPOINT_INSIDE_H
#define BM_ENDPOINT_INSIDE_H

#include "base/loop.h"
#include "broker/transport.h"
#include "endpoint/kept.h"
#include "endpoint/link.h"
#include "endpoint/worker.h"
#include "policy/policy.h"
#include "registry/table.h"
#include "wire/mqtt.h"
#include "wire/topic.h"

#include <netinet/in.h>
#include <openssl/ssl.h>

enum {
    SCRATCH_LEN = 64 * 1024,     /* at least TRANSPORT_READ_MIN */
    HOLD_MAX = 256 * 1024,       /* above this much unsent, the other side is not read */
    READ_BUDGET = 256 * 1024,    /* bytes taken from one client before others get their turn */
    CONNECT_MAX = 80 * 1024,     /* body of a CONNECT: a will of 64 KB and the rest */
    ADMITS_MAX = 1024,           /* questions to control in flight */
    ACKS_MAX = 4096,             /* PUBACKs that wait; beyond, the client is not read */
    CONTROL_QUEUE_MAX = 8 << 20, /* bytes waiting for control; half of it for records */
    RECORDS_MS = 20,             /* a timeline record may wait for others that go with it */
    RECORDS_LEN = 16 << 10,
    CONTROL_WAIT_MS = 10000,
    BROKER_WAIT_MS = 5000,
    BROKER_ANSWER_MS = 20, /* a cluster accepts within it when asked whether it is there */
    FLUSH_WAIT_MS = 5000,
    DENIALS_RECORDED = 16,   /* per connection, of those that do not end it */
    ANONYMOUS_RECORDS = 100, /* per second and worker: peers that proved no certificate */
    KEEP_ALIVE_MIN_S = 30,   /* SPEC aws-iot 6.2 */
    KEEP_ALIVE_MAX_S = 1200,
    SLASHES_MAX = 7, /* SPEC aws-iot 6.3 */
    PEER_TEXT = TIMELINE_PEER_MAX + 1,
    LEAN_MAX = 16, /* versions with ciphers */
};

/* For a topic of a client, or a filter that became `x/+/#`, as a broker gets it. */
enum { BROKER_TOPIC_ROOM = TOPICS_PREFIX + TOPICS_GROWTH * (MQTT_TOPIC_MAX + 2) };

/* MQTT 5 reason codes the endpoint gives itself, from the lists of SPEC aws-iot 6.6; and VERSION
 * and SHARED, which the service has no need of: a cluster behind us may lack either. */
enum reason {
    REASON_UNSPECIFIED = 0x80,
    REASON_UNAVAILABLE = 0x80, /* nothing is wrong with the device: it is to come again */
    REASON_MALFORMED = 0x81,
    REASON_PROTOCOL = 0x82,
    REASON_VERSION = 0x84,
    REASON_CLIENT_ID = 0x85,
    REASON_NOT_AUTHORIZED = 0x87,
    REASON_SHUTTING_DOWN = 0x8b,
    REASON_KEEP_ALIVE = 0x8d,
    REASON_TAKEN_OVER = 0x8e,
    REASON_FILTER_INVALID = 0x8f,
    REASON_TOPIC_INVALID = 0x90,
    REASON_RECEIVE_MAXIMUM = 0x93,
    REASON_ALIAS_INVALID = 0x94,
    REASON_QUOTA = 0x97,
    REASON_ADMINISTRATIVE = 0x98,
    REASON_QOS = 0x9b,
    REASON_SHARED = 0x9e,
    REASON_SUBSCRIPTION_ID = 0xa1,
};

/* ---- state.c ---- */

enum conn_state {
    CONN_TLS,     /* handshake */
    CONN_HELLO,   /* waits for CONNECT */
    CONN_VERDICT, /* waits for control: who is it */
    CONN_POLICY,  /* waits for the documents of its policy set */
    CONN_BROKER,  /* waits for a place at the broker's socket */
    CONN_CONNACK, /* CONNECT is on its way, waits for the broker's answer */
    CONN_RELAY,
    CONN_CLOSING, /* reads nothing more, ends when everything is written */
    CONN_CLOSED,
};
enum { CONN_STATES = CONN_CLOSED + 1 };

enum conn_event {
    EV_TLS_DONE,
    EV_ASK,      /* the table does not say ACTIVE */
    EV_KNOWN,    /* ACTIVE */
    EV_ALLOWED,  /* iot:Connect is granted */
    EV_SENT,     /* CONNECT went to the broker */
    EV_ACCEPTED, /* the broker's CONNACK */
    EV_FLUSH,    /* end once everything is written */
    EV_END,
};
enum { CONN_EVENTS = EV_END + 1 };

/* The state after the event; false when the event cannot happen there (a bug here). */
bool conn_next(enum conn_state from, enum conn_event event, enum conn_state *to);

/* ---- index.c ---- */

enum index_kind { BY_CLIENT, BY_CERT, BY_REQUEST };
enum { INDEX_KINDS = BY_REQUEST + 1 };

struct conn;

struct index {
    enum index_kind kind;
    struct conn **slots;
    size_t cap;
    size_t count;
};
struct index_link {
    struct conn *next;
    uint64_t key;
    bool linked;
};

void index_fini(struct index *ix);
enum bm_err index_add(struct index *ix, struct conn *c, uint64_t key);
void index_remove(struct index *ix, struct conn *c);
struct conn *index_first(const struct index *ix, uint64_t key);
struct conn *index_again(const struct index *ix, const struct conn *c); /* next with c's key */
uint64_t index_hash(uint64_t seed, struct span bytes);

/* ---- policies.c ---- */

enum { SET_CHAINS = 1024, SETS_MIN = 256 };
enum set_state { SET_LOADING, SET_READY, SET_MISSING };

struct policy_set {
    uint8_t account;
    uint32_t number;
    enum set_state state;
    unsigned refs;
    bool uses_certificate;
    bool uses_thing;
    struct policy **list;
    char **names; /* of the policies in list */
    size_t count;
    struct conn *waiting; /* chained by wait_next */
    struct policy_set *next;
};

struct worker;

/*
 * The account's set with this number, with a reference for the caller. Asks control when it is new:
 * then it is SET_LOADING. BM_ERR_CLOSED, BM_ERR_LIMIT: control cannot be asked.
 */
enum bm_err policies_get(
    struct worker *w, uint8_t account, uint32_t number, struct policy_set **out);
void policies_put(struct policy_set *set); /* takes NULL */
void policies_wait(struct policy_set *set, struct conn *c);
void policies_stop_waiting(struct conn *c);
void policies_documents(struct worker *w, const struct link_msg *m);
void policies_control_down(struct worker *w);
void policies_fini(struct worker *w);

/* ---- connections ---- */

/* A SUBSCRIBE of which some filters were denied, until its SUBACK comes. Level 5 only. */
struct partial_sub {
    struct partial_sub *next;
    uint16_t packet_id;
    uint8_t count;
    uint8_t denied; /* bit i: filter i was denied and did not go to the broker */
    char *why;      /* Reason String; NULL: none */
};

/* Whose doing a CAUSE_DISCONNECTED was. */
enum left_by { LEFT_BROKER, LEFT_CLIENT, LEFT_LOST, LEFT_SERVICE };

/* What the broker publishes when the connection is lost; control hears of it then. */
struct will {
    bool retain;
    uint32_t delay_s; /* level 5: so long the broker waits for the client to come back */
    uint16_t topic_len;
    uint16_t payload_len;
    uint8_t bytes[]; /* topic, payload */
};

struct conn {
    struct worker *w;
    struct conn *next;
    struct conn *prev;
    struct index_link links[INDEX_KINDS];

    enum conn_state state;
    int fd;
    struct transport up; /* to the broker */
    struct loop_watch *watch;
    struct loop_watch *up_watch;
    uint32_t events;
    uint32_t up_events;
    struct loop_timer *deadline; /* of the present state; while relaying: keep-alive */
    int64_t due_ms;
    struct loop_timer *retry;
    SSL *ssl;
    int64_t opened_ms;
    bool admitting;                  /* control is asked who it is, */
    int64_t asked_ms;                /* since then */
    bool handshaking;                /* counts among the handshakes in flight */
    bool of_address[THROTTLE_KINDS]; /* counts for its address */
    bool ssl_wants_write;
    bool stalled;      /* client input may wait in OpenSSL or in `in`, epoll will not tell */
    struct buf in;     /* from the client, not yet a whole packet */
    struct buf out;    /* to the client */
    struct buf up_in;  /* from the broker, not yet a whole packet */
    struct buf up_out; /* to the broker */

    char source_ip[INET6_ADDRSTRLEN];
    uint16_t source_port;
    uint8_t account; /* whose device it is; 0 until that is known */
    enum sni sni;
    bool has_cert;
    uint8_t cert_id[32];
    char cert_hex[65];
    struct buf leaf; /* DER */
    uint8_t status;  /* enum cert_status as last seen in the table, 0: not there */

    struct buf connect; /* the held CONNECT, body only */
    uint8_t level;
    bool assigned_id; /* the endpoint chose the client id */
    bool superseded;  /* a newer connection has our client id */
    char *client_id;
    uint8_t session[16];  /* sessionIdentifier of lifecycle events */
    int64_t connected_ms; /* wall clock, their versionNumber */
    enum cause ended_by;
    enum left_by left;
    bool persistent; /* iot:ConnectAttributes */
    bool kept;       /* the session outlives the connection */
    bool last_will;
    struct will *will;                      /* NULL: none */
    struct policy_certificate *certificate; /* made when a policy asks for it */
    struct policy_thing *thing;             /* as control last told it; NULL: none */
    bool thing_known;                       /* and it is so still */
    struct policy_decider decider;          /* of the newest decision */
    uint16_t keep_alive_asked_s;
    uint32_t session_asked_s; /* level 5: Session Expiry Interval */
    uint32_t packet_max;      /* level 5: Maximum Packet Size; 0: any */
    bool no_problems;         /* level 5: Request Problem Information 0 */
    uint16_t keep_alive_s;
    int64_t heard_ms;
    unsigned broker_tries;
    size_t broker_address;
    bool broker_lost; /* it went away; the client is told when it is its turn */
    bool queued;      /* for a place at the broker's socket */
    struct conn *queue_next;
    struct conn *queue_prev;
    unsigned denials;
    struct policy_set *policies;      /* that decides */
    struct policy_set *next_policies; /* that is being fetched to take its place */
    struct policy_set *waits_for;
    struct conn *wait_next;
    struct partial_sub *partials;
    uint64_t *subscriptions; /* hashes of the filters; NULL: none yet */
    size_t subscription_count;
    struct loop_timer *pause;    /* until then the client is not read: it is over a rate */
    struct loop_timer *up_pause; /* the same of the broker */
    struct loop_timer *behind;   /* looks again whether the client still is */
    int64_t behind_ms;           /* since then it takes less than comes; 0: it does not */
    int64_t behind_told_ms;      /* the behind_ms that has a record */
    int64_t took_ms;             /* when it last took something meanwhile */
    int64_t sent_us;             /* rates of what the client sends, see throttle.h: messages, */
    int64_t sent_bytes_us;       /* bytes */
    int64_t given_us;            /* and of what it is given */
    int64_t given_bytes_us;
    uint16_t in_flight; /* its messages that it has no PUBACK for yet */
    uint16_t timed_id;  /* the one of them that is timed for the histogram, 0: none */
    int64_t timed_us;   /* since then */
    struct acks *acks;  /* NULL: none has to wait */
};

struct queued {
    struct queued *next;
    struct buf packet;
};

struct control {
    int fd; /* -1: gone */
    struct loop_watch *watch;
    uint32_t last_request;
    size_t admits;
    struct queued *first;
    struct queued **last;
    size_t queued_len;
    struct buf records; /* leave together, after RECORDS_MS at most */
    struct loop_timer *records_timer;
    bool congested; /* clients are not read while rules are there to be told */
};

struct worker_account {
    struct table *table;
    struct kept *kept;
    struct buf filters_packet; /* owns what filters borrow */
    struct span *filters;      /* of its rules */
    size_t filter_count;
    uint32_t told;       /* number of the newest message that control shall store; never 0 */
    uint32_t stored;     /* control has stored all up to this one */
    uint32_t save_asked; /* number of the newest save that control was asked for */
    uint32_t save_done;
    bool save_wanted;     /* one more, when that one is done */
    SSL_CTX *broker_tls;  /* NULL: its broker is plain */
    size_t address;       /* of its broker's, the one in use */
    int64_t absent_ms;    /* since when its broker is not there; 0: it is, as far as known */
    struct acks *waiting; /* connections whose PUBACKs wait */
};

struct worker {
    const struct worker_options *o;
    struct worker_account accounts[ACCOUNTS_MAX];
    struct loop *loop;
    SSL_CTX *tls;
    struct lean *lean[LEAN_MAX]; /* by version and cipher */
    size_t lean_count;
    uint64_t seed;
    struct loop_watch *listen_watch;
    bool listening;
    struct loop_timer *accept_retry;
    size_t conns_max;
    size_t conn_count;
    size_t handshakes;
    struct conn *conns;
    struct conn *closed;      /* freed at the end of the round, chained by next */
    struct conn *queue_first; /* who waits for a place at the broker's socket */
    struct conn *queue_last;
    struct loop_timer *queue_timer;
    struct loop_timer *probe; /* looks whether an absent broker is back */
    unsigned queue_failures;  /* in a row */
    struct index by_client;
    struct index by_cert;
    struct index by_request;
    struct control control;
    struct policy_set *sets[SET_CHAINS]; /* by number */
    size_t set_count;
    size_t sets_max; /* at this many, those without a user are dropped */
    int64_t anonymous_second;
    unsigned anonymous_count;
    struct link_msg tx; /* too large for a stack frame of every record */
    struct link_msg rx;
    uint8_t scratch[SCRATCH_LEN];
    uint8_t link_in[LINK_MESSAGE_MAX + 1];
};

/* Count for /metrics; the new value. */
static inline uint64_t
count(struct worker *w, enum metric which, uint64_t n)
{
    return metrics_add(&w->o->metrics->counts[which], n);
}

static inline uint32_t
limit(const struct worker *w, enum limit which)
{
    return w->o->limits->v[which];
}

/* worker.c */
void worker_accepting(struct worker *w); /* look again whether to accept */

/* tls.c */
enum tls_io { TLS_OK, TLS_AGAIN, TLS_CLOSED, TLS_FAILED };
enum bm_err tls_context(const struct worker_options *o, SSL_CTX **out, struct bm_msg *msg);
enum tls_io tls_accept(struct conn *c, enum cause *cause, char *facts, size_t cap);
enum tls_io tls_read(struct conn *c, void *out, size_t cap, size_t *len);
enum tls_io tls_write(struct conn *c, struct span in, size_t *len);
/* Sets `leaf` and `cert_id`; false when the peer has shown no certificate. Before lean_make. */
bool tls_peer(struct conn *c);
/* The server name asked for; *account is set when it is SNI_ACCOUNT. Before lean_make. */
enum sni tls_sni(const struct conn *c, uint8_t *account);

/* lean.c */
/* After the handshake: free what OpenSSL holds of it. The peer's certificate is gone then. */
void lean_make(struct conn *c);
void lean_fini(struct worker *w);

/* conn.c */
enum bm_err conn_open(struct worker *w, int fd, const struct sockaddr_storage *address);
void conn_go(struct conn *c, enum conn_event event);
void conn_deadline(struct conn *c, int64_t delay_ms); /* replaces the present one */
/* A record without an end of the connection. */
void conn_record(struct conn *c, enum cause cause, const char *facts_fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Record the cause and close at once; upstream without DISCONNECT, so that a will fires. */
void conn_end(struct conn *c, enum cause cause, const char *facts_fmt, ...)
    __attribute__((format(printf, 3, 4)));
/*
 * The same, but a level 5 client is told the reason first: CONNACK before RELAY, else DISCONNECT.
 * REASON_UNAVAILABLE is told before RELAY at level 4, too. conn_settle writes it.
 */
void conn_dismiss(struct conn *c, enum cause cause, enum reason reason, const char *facts_fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A record of what a client does again and again, without an end: some are kept, all are counted.
 */
void conn_note(struct conn *c, enum cause cause, const char *facts_fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Without a record: somebody else has written it. */
void conn_drop(struct conn *c);
void conns_free_closed(struct worker *w);
/* `s` for a fact: cut to cap at a character's edge, control characters and quotes replaced. */
void fact_text(char *out, size_t cap, struct span s);

/* client.c */
enum bm_err client_attach(struct conn *c); /* OpenSSL and the loop to its socket */
bool client_reads(const struct conn *c);   /* or is its input left where it is? */
/* Write to both sides, take up what was held back, and set what epoll waits for. */
void conn_settle(struct conn *c);
/* What held its client back is over: read again, but not from here. Ends no connection. */
void conn_resume(struct conn *c);
/* Read the client, or the broker, no more for so long. */
void conn_pause(struct conn *c, struct loop_timer **timer, int64_t wait_us);

/* address.c */
void address_note(struct conn *c, const struct sockaddr_storage *address);
void address_text(const struct conn *c, char out[PEER_TEXT]); /* with the port */
/* One more of this kind; false when its address has too many, which ends it. */
bool address_enter(struct conn *c, enum throttle_of kind, enum limit which, enum cause cause);
void address_leave(struct conn *c, enum throttle_of kind); /* if it entered */

/* hello.c */
void hello_packet(struct conn *c, const struct mqtt_packet *p);
void hello_verdict(struct worker *w, uint32_t request, uint8_t account, enum cause cause);
void hello_control_down(struct worker *w);
void hello_policies_ready(struct conn *c);
void hello_connack(struct conn *c, const struct mqtt_packet *p);
void hello_changed(struct worker *w, uint8_t account, const uint8_t cert_id[32]);

/* relay.c */
void relay_packet(struct conn *c, const struct mqtt_packet *p);
void relay_delivery(struct conn *c, const struct mqtt_packet *p);
enum policy_verdict relay_decide(struct conn *c, enum policy_action action, struct span name);
/* Keep what relay_will needs; BM_ERR_MEM. */
enum bm_err relay_note_will(struct conn *c, const struct mqtt_connect *m);
/* The broker publishes the will, now or after its delay: control hears of it. */
void relay_will(struct conn *c);
/* Does a rule of the account look at this topic? */
bool relay_rules_see(const struct conn *c, struct span topic);
/* The newest decision for a fact: `explicit_deny policy=NAME statement=2 effect=Deny`. */
enum { DECISION_FACT = 192 };
void relay_decision(const struct conn *c, enum policy_verdict v, char *out, size_t cap);
/* May a client publish there at all? SPEC aws-iot 6.3, 6.7. NULL when it may, else why not. */
const char *relay_topic_reserved(struct span topic, bool retain);
bool relay_depth_fits(struct span topic);

/* subscribe.c */
void subscribe_packet(struct conn *c, const struct mqtt_packet *p); /* SUBSCRIBE */
void subscribe_undo(struct conn *c, const struct mqtt_packet *p);   /* UNSUBSCRIBE */
void subscribe_answer(struct conn *c, const struct mqtt_packet *p); /* the broker's SUBACK */

/* thing.c */
/* May `set` decide for c? Else control was asked, and hello_policies_ready is called again. */
bool thing_ready(struct conn *c, const struct policy_set *set);
void thing_changed(struct conn *c); /* perhaps; ends c when it cannot be learnt */
void thing_facts(struct worker *w, const struct link_msg *m);
void thing_control_down(struct conn *c);

/* acks.c */
/*
 * The client published this with QoS 1: it gets its PUBACK once the broker answered and control
 * stored `number` (0: it need not). `answered`: nobody is asked but control. `kept`: it may be for
 * sessions that outlive their connections, which the broker has to have on disk. May end c.
 */
void acks_expect(struct conn *c, uint16_t packet_id, uint32_t number, bool answered, bool kept);
/* The broker's PUBACK: for the client, now or later. */
void acks_answer(struct conn *c, uint16_t packet_id, uint8_t code);
/* A PUBACK of our own for a message that goes nowhere, with what reason_text says; in its order,
 * too.
 */
void acks_refuse(
    struct conn *c, uint16_t packet_id, uint8_t code, enum cause cause, const char *evidence);
bool acks_full(const struct conn *c);
void acks_forget(struct conn *c);
/* Have the broker write its sessions to disk. Nobody waits for that. */
void acks_save(struct conn *c);
void acks_saved(struct worker *w, uint8_t account, uint32_t number, bool ok);
/* Control stored all up to `number`, or, not `ok`, lost what it had not stored before. */
void acks_stored(struct worker *w, uint8_t account, uint32_t number, bool ok);
void acks_control_down(struct worker *w);

/* slow.c */
/* Where the broker may be held up: a client's buffer is full, or it is over a rate. */
void slow_watch(struct conn *c);
bool slow_broker_is_read(const struct conn *c);
/* Is this message given up, with a record? */
bool slow_discards(struct conn *c, const struct mqtt_publish *m);
void slow_drained(struct conn *c); /* nothing waits at the broker */
void slow_took(struct conn *c);    /* the client took bytes */

/* reason.c */
enum reason_packet { REASON_ENDS, REASON_STAYS }; /* CONNACK and DISCONNECT; PUBACK and SUBACK */
/*
 * What the Reason String of a refusal says: the cause and, if not "", the evidence. NULL: none, the
 * client cannot have one, or wants none. The caller's to free.
 */
char *reason_text(
    const struct conn *c, enum reason_packet packet, enum cause cause, const char *evidence);
void reason_property(const char *text, struct buf *out); /* which is empty; it stays so for NULL */

/* presence.c: for a connection that is, or was until now, in CONN_RELAY */
void presence_connected(struct conn *c);
void presence_disconnected(struct conn *c);
/* `type`: subscribed or unsubscribed; bit i of `denied`: filter i is left out. */
void presence_subscriptions(
    struct conn *c, const char *type, const struct mqtt_subscribe *s, uint8_t denied);

/* broker.c */
void broker_connect(struct conn *c);
void broker_flush(struct conn *c);
void broker_watch(struct conn *c);
void broker_stop_waiting(struct conn *c);
void broker_drop(struct conn *c);
/* How c's broker has to get topics; NULL: as they are. */
const struct topics *broker_topics(const struct conn *c);
/* Does it take a topic, or filter, of this length? If not, c is dismissed. */
bool broker_takes(struct conn *c, struct span topic, enum reason reason);
/* The broker of c is gone, and now it is c's turn to end. */
void broker_lost(struct conn *c);
/* It did not answer: a cluster may at another address. */
void broker_silent(struct conn *c);
/* Has every account's broker been away for so long that newcomers are refused at once? */
bool broker_all_away(const struct worker *w);

/* control.c */
enum bm_err control_open(struct worker *w);
void control_fini(struct worker *w);
/* Send w->tx. BM_ERR_CLOSED: control is gone. BM_ERR_LIMIT: the queue is full. */
enum bm_err control_send(struct worker *w);
uint32_t control_request(struct worker *w);
void control_record(struct worker *w, uint8_t account, const struct timeline_record *rec);
/* Must clients wait, because what they publish may not fit in the queue? */
bool control_congested(const struct worker *w);
void control_drain(struct worker *w, int64_t deadline_ms); /* before ending */

#endif

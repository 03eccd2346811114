/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between a TLS worker and the control process, over a SOCK_SEQPACKET socket pair: a
 * packet holds one message or several, one behind the other.
 *
 * Layout: type u8, account u8 (index), request u32 (0 when no answer is expected; echoed in the
 * answer), then the fields of the type in the order of the struct; byte strings are u32 length and
 * bytes, lists are u32 count and byte strings. Both ends are our own processes, but a parser never
 * trusts a length.
 */
#ifndef BM_ENDPOINT_LINK_H
#define BM_ENDPOINT_LINK_H

#include "base/bytes.h"
#include "timeline/timeline.h"

enum link_type {
    LINK_ADMIT = 1, /* worker: who is this certificate? Asked when the table does not say ACTIVE */
    LINK_VERDICT,   /* control: the answer */
    LINK_POLICY,    /* worker: give me policy set N */
    LINK_DOCUMENTS, /* control: the documents of a set */
    LINK_RECORD,    /* worker: a timeline record */
    LINK_INGRESS,   /* worker: a message that entered and matches a rule's filter */
    LINK_FILTERS,   /* control: the filters of all enabled rules; replaces what the worker had */
    LINK_CHANGED,   /* control: this certificate changed, look at the table again */
    LINK_EVENT,     /* worker: a lifecycle event, for the broker and the rules; as LINK_INGRESS */
    LINK_RETAINED,  /* worker: the topic gets, or loses, its retained message */
    LINK_SAVE,      /* worker: have the broker write its sessions to disk; answer LINK_STORED */
    LINK_STORED,    /* control: up to which LINK_INGRESS or LINK_RETAINED, or which LINK_SAVE */
    LINK_THING,     /* worker: what may a policy know of the thing of this client? */
    LINK_FACTS,     /* control: the answer */
};

enum {
    LINK_MESSAGE_MAX = 192 * 1024,
    LINK_LIST_MAX = 1024,
    LINK_DOCUMENTS_MAX = 64,
};

/*
 * The server name that a client asked for in TLS. SPEC aws-iot 3.6. Each account has an endpoint
 * name of its own; the first one's are all names of the server certificate.
 */
enum sni {
    SNI_NONE,    /* none, or not one that the server certificate has */
    SNI_SERVER,  /* one of the first account's names */
    SNI_ACCOUNT, /* another account's */
};

/* Of LINK_FACTS: is the client id a thing that the certificate is attached to? */
enum facts { FACTS_NONE, FACTS_ATTACHED, FACTS_FAILED };

struct link_msg {
    enum link_type type;
    uint8_t
        account; /* whose it is: an index that both ends know. Of LINK_ADMIT: by SNI, see there */
    uint32_t request;
    union {
        struct {
            struct span client_id;
            struct span peer;
            struct span leaf_der;
            uint8_t sni; /* enum sni; SNI_ACCOUNT: `account` is the one that it names */
        } admit;
        struct {
            uint16_t cause; /* enum cause: CAUSE_ADMITTED: the table has it now; else refuse */
        } verdict;
        struct {
            uint32_t set;
        } policy;
        struct {
            uint32_t set;
            uint8_t found; /* 0: no such set; refuse */
            uint32_t count;
            struct span docs[LINK_DOCUMENTS_MAX];  /* JSON texts */
            struct span names[LINK_DOCUMENTS_MAX]; /* of their policies: a second list, as long */
        } documents;
        struct timeline_record record;
        struct {
            uint8_t cert_id[32];
            struct span client_id;
            struct span topic;
            struct span payload;
            uint32_t delay_s; /* of a will; 0: now */
        } ingress;
        struct {
            uint32_t count;
            struct span filters[LINK_LIST_MAX];
        } filters;
        struct {
            uint8_t cert_id[32];
        } changed;
        struct {
            struct span topic;
            uint8_t empty; /* 1: an empty payload, so there is none from here on */
        } retained;
        struct {
            uint8_t ok;    /* 0: what was not stored before is lost */
            uint8_t saved; /* 1: of a LINK_SAVE */
        } stored;          /* `request`: of the newest message that it tells of */
        struct {
            uint8_t cert_id[32];
            struct span client_id;
        } thing;
        struct {
            uint8_t found;          /* enum facts */
            struct span type;       /* empty: none */
            struct span attributes; /* JSON */
        } facts;
    } u;
};

/* Take the first message off a packet; its spans borrow from it. BM_ERR_PROTO: not one of ours; the
 * rest of the packet is lost then. */
enum bm_err link_next(struct span *packet, struct link_msg *out);
/* Append one message. BM_ERR_LIMIT: above LINK_MESSAGE_MAX or a list too long; then as before. */
enum bm_err link_build(struct buf *out, const struct link_msg *msg);

#endif

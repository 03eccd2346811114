/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the actions of `birthmark device` share: the options that say who the device is and where it
 * goes, and how events are told.
 */
#ifndef BM_BIRTHMARK_DEVICE_H
#define BM_BIRTHMARK_DEVICE_H

#include "birthmark/cmd.h"

#include "device/check.h"
#include "device/queue.h"

#include <stdio.h>

enum { DEVICE_TOPICS_MAX = 50 };

struct device_options {
    const char *action; /* "publish" */
    struct client_options client;
    const char *topics[DEVICE_TOPICS_MAX]; /* -t */
    size_t topic_count;
    const char *message; /* -m */
    const char *file;    /* -f */
    bool lines;          /* -l */
    bool null_message;   /* -n */
    int qos;
    bool retain;
    bool verbose;
    bool quiet;
    bool explain;
    bool json;
    long timeout_s; /* -1: not given */
    long count;     /* -C, 0: no end */
    long window_s;  /* -W, 0: no end */
    bool local;     /* the action connects to nothing */
    struct queue_options queue;
    const char *filters[DEVICE_TOPICS_MAX]; /* -s */
    size_t filter_count;
    const char *input;
    const char *command;
    long every_s;
    bool ack;
    bool until_empty;
    bool refused;
    bool retry_refused;
    const char *cloud; /* URL of the API, for doctor */
    const char *renew_command;
    const char *renew_url;
    long renew_before; /* days, -1: not given */
    bool new_key;
    bool force;
    char **argv; /* the action's arguments, for a renewal by a process of its own; borrowed */
    int argc;
    char **config; /* the options of --config; owned */
    int config_count;
    char state[PATH_MAX];
};

/*
 * Fill from the command line and, before it, from files named by --config. CMD_GO_ON or an exit
 * code. argv may be replaced by one that lives as long as the process.
 */
int device_options_parse(int argc, char **argv, struct device_options *o);
void device_options_fini(struct device_options *o);

/* How a failed attempt is told on stderr: once in full, then briefly as long as it stays the same.
 */
struct device_teller {
    bool quiet;
    bool told;
    enum outcome last;
    unsigned times;
};
void device_tell(struct device_teller *t, const struct client_event *e, const struct client *c);
/* One line, and why and what to do when there is something to do. */
void device_print_finding(FILE *to, const struct finding *f);
void device_note(const struct device_teller *t, const char *text);

/*
 * A certificate's request, in PEM, to a shell command's stdin or by POST to a URL, and what it
 * answers. BM_ERR_IO, BM_ERR_TIMEOUT, BM_ERR_LIMIT.
 */
enum bm_err device_ask_command(const char *line, struct span request, int64_t timeout_ms,
    struct buf *answer, struct bm_msg *msg);
enum bm_err device_ask_url(const struct device_options *o, const struct identity *id,
    struct span request, int64_t timeout_ms, struct buf *answer, struct bm_msg *msg);

/*
 * What publish, subscribe and run are made of: a loop with one client on it, until it ends with an
 * exit code. First member of theirs, so that their callbacks' argument is it, too.
 */
struct device_session {
    struct device_options *o;
    struct loop *loop;
    struct client *client;
    struct device_teller teller;
    int exit_code;
};
/* The loop; before anything is put on it. False: out of memory. */
bool device_session_start(struct device_session *s, struct device_options *o);
/* The client, with the callbacks in o->client; `signals`: SIGTERM and SIGINT end it with status 0,
 * else they kill as usual. It is told when it fails. */
bool device_session_connect(struct device_session *s, bool signals);
int device_session_run(struct device_session *s);
void device_session_end(struct device_session *s, int code);
void device_session_fini(struct device_session *s);
/* Ask for the filters from *asked on; BM_ERR_ARG: one is none. Call again when connected anew. */
enum bm_err device_session_ask(
    struct device_session *s, const char *const *filters, size_t count, int qos, size_t *asked);

/* Of run: renewals in time, each by a process of its own. Zero-initialised but for `s`. */
struct device_renewing {
    struct device_session *s;
    pid_t pid; /* 0: none under way */
    int fd;    /* its output */
    struct loop_watch *watch;
    struct loop_timer *timer;
    int64_t next_ms; /* monotonic, when to look again */
};
/* Is it time? Cheap; call whenever the client's identity may be known. */
void device_renewing_look(struct device_renewing *r);
void device_renewing_fini(struct device_renewing *r); /* before the loop goes */

/* A message that came, on stdout. */
void device_print_message(
    const struct device_options *o, const char *topic, struct span payload, bool retained);
/* The state folder, when none was given: the default. False: there is none, and that was said. */
bool device_state_needed(struct device_options *o);

int device_publish(struct device_options *o);
int device_subscribe(struct device_options *o);
int device_run(struct device_options *o);
int device_renew(struct device_options *o);
int device_put(struct device_options *o);
int device_queue(struct device_options *o);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the actions of `birthmark device` share: the options that say who the device is and where it
 * goes, and how events are told.
 */
#ifndef BM_BIRTHMARK_DEVICE_H
#define BM_BIRTHMARK_DEVICE_H

#include "birthmark/cmd.h"

#include "device/client.h"
#include "device/queue.h"

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
    bool json;
    long timeout_s; /* -1: not given */
    long count;     /* -C, 0: no end */
    long window_s;  /* -W, 0: no end */
    bool local; /* the action connects to nothing */
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
void device_note(const struct device_teller *t, const char *text);

/* A message that came, on stdout. */
void device_print_message(
    const struct device_options *o, const char *topic, struct span payload, bool retained);
/* The state folder, when none was given: the default. False: there is none, and that was said. */
bool device_state_needed(struct device_options *o);

int device_publish(struct device_options *o);
int device_subscribe(struct device_options *o);
int device_run(struct device_options *o);
int device_put(struct device_options *o);
int device_queue(struct device_options *o);

#endif

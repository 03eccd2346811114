/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the unit tests of src/registry: a registry with its table in a folder of its own,
 * certificates by number, and callbacks that note what a list shows.
 */
#ifndef BM_TESTS_UNIT_REGISTRY_WORLD_H
#define BM_TESTS_UNIT_REGISTRY_WORLD_H

#include "registry/registry.h"
#include "registry/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    char dir[32];
    struct table *table;
    struct registry *r;
    struct bm_msg msg;
    size_t changed;
    uint8_t last_changed[32];
};

/* Fails with what the registry said. */
#define OK(f, call)                                                                                \
    do {                                                                                           \
        if ((call) != BM_OK)                                                                       \
            fail_msg("%s: %s", #call, (f)->msg.text);                                              \
    } while (0)

int set_up(void **state);
int tear_down(void **state);
/* Close it, and open what is on disk. */
void reopen(struct fixture *f);

/* The id of certificate number `n`. */
void make_id(uint8_t id[32], unsigned n);
enum bm_err insert_cert(
    struct registry *r, unsigned n, enum cert_status status, const uint8_t *ca, struct bm_msg *msg);
enum cert_status status_of(struct fixture *f, unsigned n);
void record(
    struct fixture *f, enum cause cause, const uint8_t *id, const char *client, const char *facts);

/* What a list showed: numbers of certificates, or names one after the other. */
struct seen {
    unsigned n[64];
    size_t count;
};
struct names {
    char text[512];
};

void add(struct names *n, const char *text, const char *end);
void see_cert(void *arg, const struct registry_cert *c);
void see_policy(void *arg, const struct registry_policy *p);
void see_record(void *arg, const struct timeline_record *rec);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of `birthmark ca`: what each does with the room ca, and what it tells a person or, with
 * --json, a program. The command line is cmd_ca.c's.
 */
#ifndef BM_BIRTHMARK_CA_VERBS_H
#define BM_BIRTHMARK_CA_VERBS_H

#include "ca/cloud.h"
#include "ca/folder.h"

#include <limits.h>

struct ca_options {
    struct ca_access access;
    struct ca_plan plan;
    struct aws_options aws;
    bool days_given;
    bool offline;
    bool print;
    bool yes;
    bool json;
    unsigned generation; /* 0: the newest */
    const char *certificate;
    const char *csr;
    bool renewals_only;
    bool active_only;
    char dir[PATH_MAX];
};

struct ca_verb;
const struct ca_verb *ca_verb_find(const char *name); /* NULL: there is none */
/* Do it: lines on stdout at once, or with --json one object at the end. A passphrase that was asked
 * for stays in o->access. */
enum bm_err ca_verb_run(const struct ca_verb *v, struct ca_options *o, struct bm_msg *msg);

#endif

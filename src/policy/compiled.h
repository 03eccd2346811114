/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled form of a policy: what parse.c builds and policy.c decides with. Private to the
 * room.
 *
 * A pattern is a row of units, one for each character or construct, so that an escaped `${*}` and a
 * wildcard `*` cannot be taken for each other, nor can the value of a variable, which is looked up
 * only while matching. A variable is three things in a row: its unit, the length of its text, its
 * text; matching takes the value or, when there is none, the text (SPEC aws-iot 7.3).
 */
#ifndef BM_POLICY_COMPILED_H
#define BM_POLICY_COMPILED_H

#include "policy/policy.h"

enum unit {
    /* 0..255: this byte */
    UNIT_STAR = 256,     /* any run of bytes */
    UNIT_ONE,            /* one UTF-8 character */
    UNIT_VARIABLE = 512, /* and above: UNIT_VARIABLE + enum variable */
};

enum {
    ACTION_COUNT = POLICY_RECEIVE + 1,
    VALUES_MAX = 5, /* SPEC aws-iot 7.3, of a certificate's attribute */
    VALUE_LEN_MAX = 1024,
    NAME_PARTS = 13,  /* of a subject or issuer */
    ALTERNATIVES = 5, /* kinds of alternative name */
    ATTRIBUTES = 2 * NAME_PARTS + ALTERNATIVES + 1,
    FORM_LIST = VALUES_MAX, /* forms 0 to 4 are one value */
    FORMS,
    THING_ATTRIBUTES_MAX = 64, /* named in one document; its size allows fewer */
};

/* What a variable or a condition's key names. */
enum variable {
    VAR_CLIENT_ID,
    VAR_CERTIFICATE_ID,
    VAR_SOURCE_IP,
    VAR_CONNECT_ATTRIBUTES, /* this and the times: a key only */
    VAR_CURRENT_TIME,
    VAR_EPOCH_TIME,
    VAR_THING_NAME,
    VAR_THING_TYPE,
    VAR_THING_ATTACHED,
    VAR_ATTRIBUTE, /* of the certificate: VAR_ATTRIBUTE + attribute * FORMS + form */
    VAR_THING_ATTRIBUTE = VAR_ATTRIBUTE + ATTRIBUTES * FORMS, /* + index of its name */
    VAR_END = VAR_THING_ATTRIBUTE + THING_ATTRIBUTES_MAX,
};

struct pattern {
    size_t len;
    uint16_t *units;
};

/* The text to be matched, in two pieces that are never joined. */
struct text {
    struct span head;
    struct span tail;
};

/* Where we are, for the messages. */
struct place_of {
    size_t statement; /* from 1 */
    const char *member;
    struct policy *policy; /* learns which variables it uses */
    struct bm_msg *msg;
};

enum test {
    TEST_STRING,
    TEST_BOOL,
    TEST_IP,
    TEST_NULL,
    TEST_EQUAL,
    TEST_LESS,
    TEST_LESS_EQUAL,
    TEST_GREATER,
    TEST_GREATER_EQUAL,
};

enum quantifier { QUANTIFIER_NONE, QUANTIFIER_ANY, QUANTIFIER_ALL };

union operand {
    struct pattern pattern; /* TEST_STRING */
    bool truth;             /* TEST_BOOL, TEST_NULL */
    double number;
    struct {
        uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
        unsigned bits;
    } net;
};

/* One operator applied to one key. */
struct condition {
    enum test test;
    enum quantifier quantifier;
    bool negated;
    bool ignore_case;
    bool if_exists;
    bool date;    /* what is compared as numbers are times */
    uint16_t key; /* enum variable */
    size_t count;
    union operand *operands;
};

struct statement {
    bool deny;
    bool not_resource;
    uint8_t actions; /* bit 1 << enum policy_action */
    size_t count;
    struct pattern *patterns;
    size_t condition_count;
    struct condition *conditions;
};

struct policy {
    bool uses_certificate;
    bool uses_thing;
    bool uses_time;
    size_t thing_attribute_count;
    char *thing_attributes[THING_ATTRIBUTES_MAX]; /* their names, by variable */
    size_t count;
    struct statement *statements;
};

/* The values of a key; none when it is absent. */
struct values {
    size_t count;
    struct span v[VALUES_MAX];
};

/* One question to one policy. */
struct asked {
    const struct policy *policy;
    enum policy_action action;
    const struct policy_subject *who;
    char now[24]; /* aws:EpochTime; empty unless the policy uses it */
};

/*
 * variable.c: *out is VAR_END when the name is none of ours. Condition keys are found whatever the
 * case. The policy remembers what it uses. BM_ERR_MEM.
 */
enum bm_err variable_find(
    const struct place_of *at, struct span name, bool ignore_case, uint16_t *out);
/* May it stand for one value in a pattern? */
bool variable_stands(uint16_t variable);
/* ptr NULL: it has no value that may stand in a pattern. */
struct span variable_value(uint16_t variable, const struct asked *q);
void variable_values(uint16_t variable, const struct asked *q, struct values *out);

/* date.c: seconds since 1970 from ISO 8601 or from a number of them; false: it is neither. */
bool date_of(struct span text, double *out);
/* Digits with a sign and a point, nothing else. */
bool number_of(struct span text, double *out);

/* pattern.c: with `wildcards` false `*` and `?` are plain characters. */
enum bm_err pattern_compile(
    const struct place_of *at, const char *text, bool wildcards, struct pattern *out);
bool pattern_matches(
    const struct pattern *p, const struct text *t, const struct asked *q, bool ignore_case);

/* condition.c; `v` is the value of the member Condition. */
enum bm_err conditions_compile(struct place_of *at, void *v, struct statement *out);
bool conditions_hold(const struct statement *s, const struct asked *q);
void conditions_free(struct statement *s);

/* Does `name` match `pattern` with its `*` and `?`, whatever the case? */
bool policy_action_matches(const char *pattern, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* See fault.h. */
#include "a71chd/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t ALWAYS = (uint64_t)UINT32_MAX + 1;

static const struct kind {
    const char *name;
    enum fault_point point;
    uint32_t max; /* of the value; 0: it takes none */
    bool wants;   /* ... which must be there; else it is of chance */
    const char *help;
} kinds[FAULT_KINDS] = {
    [FAULT_HANG] = { "hang", FAULT_EXCHANGE, 0, false,
        "hang                no answer until the client resets the chip or leaves" },
    [FAULT_DROP] = { "drop", FAULT_EXCHANGE, 0, false,
        "drop                the connection is closed; an exception on the I2C bus" },
    [FAULT_RESET] = { "reset", FAULT_EXCHANGE, 0, false,
        "reset               the chip resets itself before it runs the command: no answer" },
    [FAULT_POWER_BEFORE] = { "power-before", FAULT_EXCHANGE, 0, false,
        "power-before        power fails before the command changes anything: no answer" },
    [FAULT_POWER_DURING] = { "power-during", FAULT_EXCHANGE, UINT32_MAX, false,
        "power-during        ... after `value` bytes of its first write to the memory" },
    [FAULT_POWER_AFTER] = { "power-after", FAULT_EXCHANGE, 0, false,
        "power-after         ... when all is done but the answer" },
    [FAULT_STATUS] = { "status", FAULT_EXCHANGE, 0xffff, true,
        "status              the command is not run; the answer is the status word `value` (hex)" },
    [FAULT_FLIP] = { "flip", FAULT_EXCHANGE, UINT32_MAX, false,
        "flip                bit `value` of the response is wrong" },
    [FAULT_FLIP_COMMAND] = { "flip-command", FAULT_EXCHANGE, UINT32_MAX, false,
        "flip-command        bit `value` of the command is wrong" },
    [FAULT_TRUNCATE] = { "truncate", FAULT_EXCHANGE, UINT32_MAX, false,
        "truncate            only the first `value` bytes of the response arrive" },
    [FAULT_BAD_RMAC] = { "bad-rmac", FAULT_EXCHANGE, UINT32_MAX, false,
        "bad-rmac            bit `value` of the MAC of a protected response is wrong" },
    [FAULT_DELAY] = { "delay", FAULT_EXCHANGE, 3600000, true,
        "delay               the answer takes `value` ms more" },
    [FAULT_FRAME_NACK] = { "frame-nack", FAULT_FRAME, 0, false,
        "frame-nack          nobody acknowledges the address" },
    [FAULT_FRAME_FLIP] = { "frame-flip", FAULT_FRAME, UINT32_MAX, false,
        "frame-flip          bit `value` is wrong of what the chip sends, or of what it takes" },
    [FAULT_FRAME_CUT] = { "frame-cut", FAULT_FRAME, UINT32_MAX, false,
        "frame-cut           the chip lets the bus go after `value` bytes: FF, or no acknowledge" },
    [FAULT_FRAME_BUSY] = { "frame-busy", FAULT_FRAME, 0, false,
        "frame-busy          from here on the chip is busy, until a soft reset" },
    [FAULT_FRAME_HANG] = { "frame-hang", FAULT_FRAME, 0, false,
        "frame-hang          from here on it acknowledges nothing but a soft reset" },
    [FAULT_FRAME_RESET] = { "frame-reset", FAULT_FRAME, 0, false,
        "frame-reset         the chip resets itself just before" },
    [FAULT_FRAME_EXCEPTION] = { "frame-exception", FAULT_FRAME, 0xf, true,
        "frame-exception     the chip reports exception `value` (8 to 15)" },
};

const char *
fault_help(size_t i)
{
    return i < FAULT_KINDS ? kinds[i].help : NULL;
}

/* A whole number of digits, in `base`. */
static bool
number(const char *text, int base, uint64_t max, uint64_t *out)
{
    char *end;
    const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
    size_t len = strspn(text, digits);

    if (len == 0 || len > 18 || text[len] != '\0')
        return false;
    *out = strtoull(text, &end, base);
    return *out <= max;
}

/* "0.25", "1", ".5": in 32 bits. */
static bool
probability(const char *text, uint64_t *out)
{
    size_t len = strlen(text);
    double p;

    if (len == 0 || len > 12 || strspn(text, "0123456789.") != len || strcmp(text, ".") == 0 ||
        strchr(text, '.') != strrchr(text, '.'))
        return false;
    p = strtod(text, NULL);
    if (p > 1)
        return false;
    *out = (uint64_t)(p * (double)ALWAYS);
    return true;
}

static bool
take_pair(struct fault *f, const char *key, const char *value)
{
    uint64_t n;

    if (strcmp(key, "ins") == 0) {
        if (!number(value, 16, 0xff, &n))
            return false;
        f->ins = (int)n;
        return true;
    }
    if (strcmp(key, "nth") == 0)
        return number(value, 10, UINT64_MAX, &f->nth) && f->nth > 0;
    if (strcmp(key, "count") == 0)
        return number(value, 10, UINT64_MAX, &f->left) && f->left > 0;
    if (strcmp(key, "seed") == 0)
        return number(value, 10, UINT64_MAX, &f->dice.state);
    if (strcmp(key, "p") == 0)
        return probability(value, &f->threshold);
    if (strcmp(key, "value") != 0 || kinds[f->kind].max == 0 ||
        !number(value, f->kind == FAULT_STATUS ? 16 : 10, kinds[f->kind].max, &n))
        return false;
    f->has_value = true;
    f->value = (uint32_t)n;
    return f->kind != FAULT_FRAME_EXCEPTION || (n >= 8 && n <= 15);
}

static bool
take_kind(struct fault *f, const char *name)
{
    for (size_t i = 0; i < FAULT_KINDS; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            f->kind = (enum fault_kind)i;
            return true;
        }
    }
    return false;
}

/* Take `text` apart in a copy. */
static bool
parse(struct fault *f, char *text)
{
    char *rest = strchr(text, ':');

    if (rest != NULL)
        *rest++ = '\0';
    if (!take_kind(f, text))
        return false;
    while (rest != NULL) {
        char *key = rest;
        char *value = strchr(key, '=');

        rest = strchr(key, ',');
        if (rest != NULL)
            *rest++ = '\0';
        if (value == NULL || (rest != NULL && value > rest))
            return false;
        *value++ = '\0';
        if (!take_pair(f, key, value))
            return false;
    }
    return f->has_value || !kinds[f->kind].wants;
}

enum bm_err
faults_add(struct faults *all, const char *text, struct bm_msg *msg)
{
    struct fault f = { .ins = -1, .threshold = ALWAYS, .left = UINT64_MAX, .dice = { 1 } };
    char copy[FAULT_TEXT_LEN];

    if (all->count == FAULTS_MAX)
        return bm_fail(
            msg, BM_ERR_LIMIT, "there are %d fault rules already; clear them first", FAULTS_MAX);
    if (strlen(text) < sizeof copy) {
        (void)snprintf(copy, sizeof copy, "%s", text);
        (void)snprintf(f.text, sizeof f.text, "%s", text);
        if (parse(&f, copy)) {
            all->rules[all->count++] = f;
            return BM_OK;
        }
    }
    return bm_fail(msg, BM_ERR_INPUT,
        "'%.90s' is no fault; write KIND[:KEY=VALUE,...], as truncate:ins=15,nth=2,value=10 (see "
        "a71chd --faults)",
        text);
}

static bool
happens(struct fault *f, uint8_t ins)
{
    bool hit;

    if (f->ins >= 0 && f->ins != ins)
        return false;
    f->seen++;
    hit =
        (dice_roll(&f->dice) >> 32) < f->threshold; /* rolled each time: its order is the seed's */
    if (!hit || f->left == 0 || (f->nth != 0 && f->seen != f->nth))
        return false;
    f->left--;
    f->fired++;
    return true;
}

struct fault *
faults_at(struct faults *all, enum fault_point point, uint8_t ins)
{
    struct fault *found = NULL;

    for (size_t i = 0; i < all->count; i++) {
        struct fault *f = &all->rules[i];

        if (kinds[f->kind].point == point && happens(f, ins) && found == NULL)
            found = f;
    }
    return found;
}

uint32_t
fault_value(struct fault *f)
{
    uint32_t any = (uint32_t)dice_roll(&f->dice);

    /* by chance within the shortest write there is, not almost always behind it */
    return f->has_value ? f->value : f->kind == FAULT_POWER_DURING ? any % 64 : any;
}

void
faults_list(const struct faults *all, struct buf *out)
{
    buf_add(out, "[", 1);
    for (size_t i = 0; i < all->count; i++) {
        const struct fault *f = &all->rules[i];

        buf_addf(out, "%s{\"rule\":", i == 0 ? "" : ",");
        buf_add_json(out, f->text);
        buf_addf(out, ",\"seen\":%llu,\"fired\":%llu}", (unsigned long long)f->seen,
            (unsigned long long)f->fired);
    }
    buf_add(out, "]", 1);
}

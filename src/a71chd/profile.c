/* SPDX-License-Identifier: Apache-2.0 */
/* See profile.h. */
#include "a71chd/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 3, WORD_LEN = FAULT_TEXT_LEN, BITS_PER_BYTE = 9, BUS_KHZ_MAX = 5000 };

struct line {
    char words[WORDS_MAX][WORD_LEN];
    size_t count;
    bool bad; /* too many words, or too long ones */
};

struct profile
profile_none(void)
{
    return (struct profile){ .throttle_after = UINT64_MAX, .endurance = UINT64_MAX };
}

static bool
blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Take one line off `in` and cut it into words. */
static struct line
next_line(struct rd *in)
{
    struct line l = { .count = 0 };
    bool comment = false;
    size_t len = 0;

    while (rd_left(in) > 0) {
        uint8_t c = rd_u8(in);

        if (c == '\n')
            break;
        comment = comment || c == '#';
        if (comment || blank(c)) {
            l.count += len > 0;
            len = 0;
        } else if (l.count == WORDS_MAX || len == WORD_LEN - 1 || c < ' ' || c > '~') {
            l.bad = true;
        } else {
            l.words[l.count][len++] = (char)c;
        }
    }
    l.count += len > 0;
    return l;
}

static bool
whole(const char *text, uint64_t max, uint64_t *out)
{
    size_t len = strlen(text);

    if (len == 0 || len > 18 || strspn(text, "0123456789") != len)
        return false;
    *out = strtoull(text, NULL, 10);
    return *out <= max;
}

static bool
whole_u32(const char *text, uint32_t max, uint32_t *out)
{
    uint64_t n;

    if (!whole(text, max, &n))
        return false;
    *out = (uint32_t)n;
    return true;
}

/* "12", "0.5", "2.125" milliseconds, an hour at most. */
static bool
time_us(const char *text, uint32_t *out)
{
    enum { HOUR_MS = 3600 * 1000 };
    char ms[16];
    size_t len = strcspn(text, ".");
    const char *decimals = text[len] == '.' ? &text[len + 1] : "";
    size_t places = strlen(decimals);
    uint32_t n;
    uint32_t us = 0;

    if (len >= sizeof ms || places > 3 || (text[len] == '.' && places == 0))
        return false;
    memcpy(ms, text, len);
    ms[len] = '\0';
    if (!whole_u32(ms, HOUR_MS, &n) || (places > 0 && !whole_u32(decimals, 999, &us)))
        return false;
    for (size_t i = places; i < 3; i++)
        us *= 10;
    *out = n * 1000 + us;
    return true;
}

static bool
take_command(struct profile *p, const char *name, const char *value)
{
    size_t i = 0;

    if (strcmp(name, "*") == 0)
        return time_us(value, &p->other_us);
    while (i < p->command_count && strcmp(p->commands[i].name, name) != 0)
        i++;
    if (i == PROFILE_COMMANDS_MAX || strlen(name) >= PROFILE_NAME_LEN ||
        !time_us(value, &p->commands[i].us))
        return false;
    (void)snprintf(p->commands[i].name, sizeof p->commands[i].name, "%s", name);
    p->command_count += i == p->command_count;
    return true;
}

static bool
take_line(const struct line *l, struct profile *p)
{
    const char *key = l->words[0];
    const char *a = l->words[1];
    const char *b = l->words[2];
    bool two = l->count == 2;
    bool three = l->count == 3;

    if (two && strcmp(key, "clock") == 0) {
        p->is_virtual = strcmp(a, "virtual") == 0;
        return p->is_virtual || strcmp(a, "real") == 0;
    }
    if (two && strcmp(key, "i2c-clock-khz") == 0)
        return whole_u32(a, BUS_KHZ_MAX, &p->i2c_khz);
    if (three && strcmp(key, "command") == 0)
        return take_command(p, a, b);
    if (two && strcmp(key, "reset") == 0)
        return time_us(a, &p->reset_us);
    if (two && strcmp(key, "nvm-write") == 0)
        return time_us(a, &p->write_us);
    if ((two || three) && strcmp(key, "jitter") == 0)
        return whole_u32(a, 100, &p->jitter_percent) && (two || whole(b, UINT64_MAX, &p->seed));
    if (three && strcmp(key, "throttle") == 0)
        return whole(a, UINT64_MAX, &p->throttle_after) && time_us(b, &p->throttle_us);
    return two && strcmp(key, "nvm-endurance") == 0 && whole(a, UINT64_MAX, &p->endurance);
}

enum bm_err
profile_parse(struct span text, struct profile *out, struct quirks *quirks, struct faults *faults,
    struct bm_msg *msg)
{
    struct rd in = rd_of(text);

    out->given = true;
    for (unsigned number = 1; rd_left(&in) > 0; number++) {
        struct line l = next_line(&in);
        struct bm_msg why = { "not a line of a profile; see PROFILES in a71chd(1)" };
        bool ok;

        if (l.count == 0 && !l.bad)
            continue;
        if (!l.bad && l.count == 2 && strcmp(l.words[0], "quirk") == 0)
            ok = quirks_set(quirks, l.words[1], &why) == BM_OK;
        else if (!l.bad && l.count == 2 && strcmp(l.words[0], "fault") == 0)
            ok = faults_add(faults, l.words[1], &why) == BM_OK;
        else
            ok = !l.bad && take_line(&l, out);
        if (!ok)
            return bm_fail(msg, BM_ERR_INPUT, "line %u: %s", number, why.text);
    }
    return BM_OK;
}

static uint64_t
jittered(const struct profile *p, struct pace *pace, uint64_t us)
{
    uint64_t span = us * p->jitter_percent / 100;

    return span == 0 ? us : us - span + dice_below(&pace->dice, 2 * span + 1);
}

uint64_t
profile_command(const struct profile *p, struct pace *pace, const char *name, uint64_t signatures,
    uint64_t writes)
{
    uint64_t us = p->other_us;

    for (size_t i = 0; i < p->command_count; i++) {
        if (strcmp(p->commands[i].name, name) == 0)
            us = p->commands[i].us;
    }
    us += writes * p->write_us;
    if (signatures > 0 && pace->signatures >= p->throttle_after)
        us += p->throttle_us;
    pace->signatures += signatures;
    return jittered(p, pace, us);
}

uint64_t
profile_reset(const struct profile *p, struct pace *pace)
{
    return jittered(p, pace, p->reset_us);
}

uint64_t
profile_bus(const struct profile *p, size_t bytes)
{
    return p->i2c_khz == 0 ? 0 : (uint64_t)bytes * BITS_PER_BYTE * 1000 / p->i2c_khz;
}

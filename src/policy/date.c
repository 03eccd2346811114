/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers and times of a condition. IAM takes times as ISO 8601 of the W3C's profile (a year, a
 * month, a day, or a day with a time and its zone) or as seconds since 1970.
 */
#include "policy/compiled.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Digits with a sign and a point, nothing else. */
bool
number_of(struct span text, double *out)
{
    char copy[32];
    char *end;

    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (strspn(copy, "+-.0123456789") != text.len)
        return false;
    *out = strtod(copy, &end);
    return *end == '\0' && end != copy;
}

/* Exactly `digits` digits off the front. */
static bool
take(struct rd *r, size_t digits, int *out)
{
    struct span s = rd_span(r, digits);

    *out = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        *out = 10 * *out + (s.ptr[i] - '0');
    }
    return !r->failed;
}

static bool
take_one(struct rd *r, char c)
{
    return rd_u8(r) == (uint8_t)c && !r->failed;
}

/* Takes it when it is next. */
static bool
skip_one(struct rd *r, char c)
{
    struct rd copy = *r;

    if (!take_one(&copy, c))
        return false;
    *r = copy;
    return true;
}

/* A fraction of a second counts as none: the clock that it is compared with has none either. */
static bool
take_fraction(struct rd *r)
{
    struct rd copy;
    int digit;

    if (!skip_one(r, '.'))
        return true;
    if (!take(r, 1, &digit))
        return false;
    for (copy = *r; take(&copy, 1, &digit);)
        *r = copy;
    return true;
}

/* `Z`, `+hh:mm` or `-hh:mm` */
static bool
take_zone(struct rd *r, int *minutes)
{
    uint8_t sign = rd_u8(r);
    int h;
    int m;

    *minutes = 0;
    if (sign == 'Z')
        return !r->failed;
    if ((sign != '+' && sign != '-') || !take(r, 2, &h) || !take_one(r, ':') || !take(r, 2, &m) ||
        h > 23 || m > 59)
        return false;
    *minutes = (sign == '+' ? 1 : -1) * (60 * h + m);
    return true;
}

static bool
take_time(struct rd *r, struct tm *tm, int *zone)
{
    if (!take_one(r, 'T') || !take(r, 2, &tm->tm_hour) || !take_one(r, ':') ||
        !take(r, 2, &tm->tm_min))
        return false;
    if (skip_one(r, ':') && (!take(r, 2, &tm->tm_sec) || !take_fraction(r)))
        return false;
    return take_zone(r, zone) && tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec < 61;
}

bool
date_of(struct span text, double *out)
{
    struct rd r = rd_of(text);
    struct tm tm = { .tm_mday = 1 };
    struct tm same;
    int year;
    int month = 1;
    int zone = 0;
    time_t at;

    if (text.len < 4 || (text.len > 4 && text.ptr[4] != '-'))
        return number_of(text, out);
    if (!take(&r, 4, &year))
        return false;
    if (rd_left(&r) > 0 && (!take_one(&r, '-') || !take(&r, 2, &month)))
        return false;
    if (rd_left(&r) > 0 && (!take_one(&r, '-') || !take(&r, 2, &tm.tm_mday)))
        return false;
    if (rd_left(&r) > 0 && !take_time(&r, &tm, &zone))
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    same = tm;
    at = timegm(&tm); /* makes the 31st of June the 1st of July */
    if (rd_left(&r) > 0 || month < 1 || month > 12 || tm.tm_mday != same.tm_mday)
        return false;
    *out = (double)at - 60.0 * zone;
    return true;
}

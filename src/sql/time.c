/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse_time() and time_to_epoch(): date patterns as in the service (iot-sql-functions): y u M d D
 * E a H h K k m s S G z Z X x V and quoted text. Another letter makes the result Undefined.
 *
 * A zone is UTC, an offset (+01:00, UTC+01:00) or a name of the system's zoneinfo. Names go through
 * TZ, which is the process's: this room is for one thread.
 */
#include "sql/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static const char *const months[] = { "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December" };
static const char *const days[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday",
    "Friday", "Saturday" };

/* ---- zones ---- */

enum { ZONE_MAX = 64 };

struct zone {
    bool named; /* else the offset */
    char name[ZONE_MAX];
    long offset_s; /* east of UTC */
};

/* [UTC|GMT][+-]H[H][[:]MM] */
static bool
zone_offset(const char *s, long *offset_s)
{
    int hours;
    int minutes = 0;
    int sign;

    if (strncmp(s, "UTC", 3) == 0 || strncmp(s, "GMT", 3) == 0)
        s += 3;
    if (*s == '\0' || strcmp(s, "Z") == 0) {
        *offset_s = 0;
        return true;
    }
    sign = *s == '-' ? -1 : 1;
    if ((*s != '+' && *s != '-') || strspn(s + 1, "0123456789:") != strlen(s + 1) ||
        sscanf(s + 1, strchr(s, ':') != NULL ? "%2d:%2d" : "%2d%2d", &hours, &minutes) < 1 ||
        hours > 18 || minutes > 59)
        return false;
    *offset_s = sign * (hours * 3600L + minutes * 60L);
    return true;
}

static bool
zone_of(const char *s, struct zone *z)
{
    char path[ZONE_MAX + 32];

    *z = (struct zone){ 0 };
    if (s == NULL || *s == '\0' || strlen(s) >= ZONE_MAX)
        return false;
    (void)snprintf(z->name, sizeof z->name, "%s", s);
    if (zone_offset(s, &z->offset_s))
        return true;
    if (strstr(s, "..") != NULL || *s == '/')
        return false;
    (void)snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", s);
    z->named = access(path, R_OK) == 0;
    return z->named;
}

struct saved_zone {
    char *tz;
};

static struct saved_zone
zone_enter(const struct zone *z)
{
    const char *tz = getenv("TZ");
    struct saved_zone saved = { tz != NULL ? strdup(tz) : NULL };

    (void)setenv("TZ", z->name, 1);
    tzset();
    return saved;
}

static void
zone_leave(struct saved_zone saved)
{
    if (saved.tz != NULL)
        (void)setenv("TZ", saved.tz, 1);
    else
        (void)unsetenv("TZ");
    tzset();
    free(saved.tz);
}

/* `abbreviation` gets what `z` prints. */
static bool
broken_down(const struct zone *z, time_t t, struct tm *tm, char abbreviation[ZONE_MAX])
{
    bool ok;

    if (!z->named) {
        t += z->offset_s;
        ok = gmtime_r(&t, tm) != NULL;
        tm->tm_gmtoff = z->offset_s;
        (void)snprintf(abbreviation, ZONE_MAX, "%s", z->name);
    } else {
        struct saved_zone saved = zone_enter(z);

        ok = localtime_r(&t, tm) != NULL;
        (void)snprintf(abbreviation, ZONE_MAX, "%s", tm->tm_zone != NULL ? tm->tm_zone : z->name);
        zone_leave(saved);
    }
    return ok;
}

/* ---- patterns ---- */

struct field {
    char letter; /* 0: literal text */
    int count;   /* how often the letter stands */
    struct span text;
};

/* The next field of a pattern; false at its end. */
static bool
next_field(const char **pattern, struct field *f)
{
    const char *p = *pattern;
    const char *end;

    *f = (struct field){ 0 };
    if (*p == '\0')
        return false;
    if (*p == '\'') {
        end = strchr(p + 1, '\'');
        if (end == NULL)
            end = p + strlen(p);
        f->text = end == p + 1 ? span_of(p, 1) : span_of(p + 1, (size_t)(end - p - 1));
        *pattern = *end == '\0' ? end : end + 1;
        return true;
    }
    if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')) {
        f->letter = *p;
        while (*p == f->letter && f->count < 20) {
            p++;
            f->count++;
        }
    } else {
        f->text = span_of(p++, 1);
    }
    *pattern = p;
    return true;
}

/* ---- parse_time ---- */

static void
put_offset(struct buf *out, long s, const char *colon)
{
    buf_addf(out, "%c%02ld%s%02ld", s < 0 ? '-' : '+', labs(s) / 3600, colon, labs(s) / 60 % 60);
}

struct moment {
    struct tm tm;
    int ms;
    struct zone zone;
    char abbreviation[ZONE_MAX];
};

static void
put_name(struct buf *out, const char *name, int count)
{
    buf_addf(out, "%.*s", count >= 4 ? 20 : 3, name);
}

/* False: not a letter that is known. */
static bool
put_field(struct buf *out, const struct field *f, const struct moment *m)
{
    static const int scale[] = { 100, 10, 1 };
    int year = m->tm.tm_year + 1900;
    int hour = m->tm.tm_hour;

    switch (f->letter) {
    case 0:
        buf_add(out, f->text.ptr, f->text.len);
        break;
    case 'y':
    case 'Y':
    case 'u':
        buf_addf(out, "%0*d", f->count, f->count == 2 ? year % 100 : year);
        break;
    case 'M':
        if (f->count >= 3)
            put_name(out, months[m->tm.tm_mon], f->count);
        else
            buf_addf(out, "%0*d", f->count, m->tm.tm_mon + 1);
        break;
    case 'd':
        buf_addf(out, "%0*d", f->count, m->tm.tm_mday);
        break;
    case 'D':
        buf_addf(out, "%0*d", f->count, m->tm.tm_yday + 1);
        break;
    case 'E':
        put_name(out, days[m->tm.tm_wday], f->count);
        break;
    case 'a':
        buf_addf(out, "%s", hour < 12 ? "AM" : "PM");
        break;
    case 'H':
        buf_addf(out, "%0*d", f->count, hour);
        break;
    case 'k':
        buf_addf(out, "%0*d", f->count, hour == 0 ? 24 : hour);
        break;
    case 'K':
        buf_addf(out, "%0*d", f->count, hour % 12);
        break;
    case 'h':
        buf_addf(out, "%0*d", f->count, hour % 12 == 0 ? 12 : hour % 12);
        break;
    case 'm':
        buf_addf(out, "%0*d", f->count, m->tm.tm_min);
        break;
    case 's':
        buf_addf(out, "%0*d", f->count, m->tm.tm_sec);
        break;
    case 'S':
        buf_addf(out, "%0*d", f->count < 3 ? f->count : 3,
            m->ms / scale[f->count < 3 ? f->count - 1 : 2]);
        buf_addf(out, "%.*s", f->count > 3 ? f->count - 3 : 0, "00000000000000000");
        break;
    case 'G':
        buf_addf(out, "%s", year > 0 ? "AD" : "BC");
        break;
    case 'z':
        buf_addf(out, "%s", m->abbreviation);
        break;
    case 'Z':
        if (f->count >= 3)
            buf_addf(out, "%s", m->zone.name);
        else
            put_offset(out, m->tm.tm_gmtoff, f->count == 2 ? ":" : "");
        break;
    default:
        return false;
    }
    return true;
}

json_t *
sql_parse_time(struct run *r, json_t **args, size_t count)
{
    const char *pattern = json_string_value(args[0]);
    const char *name = count == 3 ? json_string_value(args[2]) : "UTC";
    struct buf out = { 0 };
    struct field f;
    struct moment m = { 0 };
    json_int_t ms;
    json_t *v = NULL;
    bool known = pattern != NULL && name != NULL && value_int_down(args[1], &ms) &&
                 llabs(ms) < 253402300800000 && zone_of(name, &m.zone);

    if (known) {
        m.ms = (int)((ms % 1000 + 1000) % 1000);
        known = broken_down(&m.zone, (time_t)((ms - m.ms) / 1000), &m.tm, m.abbreviation);
    }
    while (known && next_field(&pattern, &f))
        known = put_field(&out, &f, &m) && out.len <= SQL_RESULT_MAX;
    if (known && !out.failed)
        v = run_text(r, out.len > 0 ? (const void *)out.ptr : "", out.len);
    buf_fini(&out);
    return v;
}

/* ---- time_to_epoch ---- */

struct reading {
    const char *at;
    struct tm tm;
    int ms;
    bool pm;
    bool has_zone;
    struct zone zone;
};

/* A number of at most `digits` digits. */
static bool
take_number(struct reading *in, int digits, int *out)
{
    int n = 0;

    *out = 0;
    for (; n < digits && *in->at >= '0' && *in->at <= '9'; n++)
        *out = *out * 10 + (*in->at++ - '0');
    return n > 0;
}

static bool
take_name(struct reading *in, const char *const *names, size_t count, int letters, int *out)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = letters >= 4 ? strlen(names[i]) : 3;

        if (strncasecmp(in->at, names[i], len) == 0) {
            in->at += len;
            *out = (int)i;
            return true;
        }
    }
    return false;
}

static bool
take_zone(struct reading *in)
{
    char name[ZONE_MAX];
    size_t len =
        strspn(in->at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-/_:");

    if (len == 0 || len >= sizeof name)
        return false;
    memcpy(name, in->at, len);
    name[len] = '\0';
    in->at += len;
    in->has_zone = true;
    return zone_of(name, &in->zone);
}

static bool
take_text(struct reading *in, struct span text)
{
    if (strncmp(in->at, (const char *)text.ptr, text.len) != 0)
        return false;
    in->at += text.len;
    return true;
}

static bool
take_fraction(struct reading *in, int digits)
{
    int scale = 100;

    for (int i = 0; i < digits; i++, in->at++) {
        if (*in->at < '0' || *in->at > '9')
            return false;
        in->ms += (*in->at - '0') * scale;
        scale /= 10;
    }
    return true;
}

static bool
take_field(struct reading *in, const struct field *f)
{
    int wide = f->count == 1 ? 9 : f->count;
    int n = 0;
    bool ok = true;

    switch (f->letter) {
    case 0:
        return take_text(in, f->text);
    case 'y':
    case 'u':
        ok = take_number(in, wide, &n);
        in->tm.tm_year = (f->count == 2 ? 2000 + n : n) - 1900;
        return ok;
    case 'M':
        if (f->count >= 3)
            return take_name(in, months, 12, f->count, &in->tm.tm_mon);
        ok = take_number(in, 2, &n) && n >= 1 && n <= 12;
        in->tm.tm_mon = n - 1;
        return ok;
    case 'd':
        return take_number(in, 2, &in->tm.tm_mday) && in->tm.tm_mday >= 1 && in->tm.tm_mday <= 31;
    case 'E':
        return take_name(in, days, 7, f->count, &n);
    case 'a':
        in->pm = strncasecmp(in->at, "PM", 2) == 0;
        ok = in->pm || strncasecmp(in->at, "AM", 2) == 0;
        in->at += ok ? 2 : 0;
        return ok;
    case 'H':
        return take_number(in, 2, &in->tm.tm_hour) && in->tm.tm_hour <= 23;
    case 'h':
        ok = take_number(in, 2, &n) && n >= 1 && n <= 12;
        in->tm.tm_hour = n % 12;
        return ok;
    case 'm':
        return take_number(in, 2, &in->tm.tm_min) && in->tm.tm_min <= 59;
    case 's':
        return take_number(in, 2, &in->tm.tm_sec) && in->tm.tm_sec <= 60;
    case 'S':
        return take_fraction(in, f->count);
    case 'G':
        return take_text(in, span_str("AD"));
    case 'z':
    case 'V':
    case 'Z':
    case 'X':
    case 'x':
        return take_zone(in);
    default:
        return false;
    }
}

static json_t *
epoch_of(struct reading *in)
{
    time_t t;

    in->tm.tm_hour += in->pm ? 12 : 0;
    if (in->zone.named) {
        struct saved_zone saved = zone_enter(&in->zone);

        in->tm.tm_isdst = -1;
        t = mktime(&in->tm);
        zone_leave(saved);
    } else {
        t = timegm(&in->tm) - in->zone.offset_s;
    }
    return json_integer((json_int_t)t * 1000 + in->ms);
}

json_t *
sql_time_to_epoch(struct run *r, json_t **args, size_t count)
{
    struct reading in = { .at = json_string_value(args[0]), .tm = { .tm_mday = 1, .tm_year = 70 } };
    const char *pattern = json_string_value(args[1]);
    struct field f;
    bool fits = in.at != NULL && pattern != NULL;

    (void)r;
    (void)count;
    while (fits && next_field(&pattern, &f))
        fits = take_field(&in, &f);
    return fits && *in.at == '\0' ? epoch_of(&in) : NULL;
}

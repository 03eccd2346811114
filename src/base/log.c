/* SPDX-License-Identifier: Apache-2.0 */
/* See log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    char module[32];
    enum log_level level;
} sink = { "birthmark", LOG_INFO };

static const char *const level_names[] = { "error", "warn", "info", "debug", "trace" };

void
log_setup(const char *module, enum log_level level)
{
    (void)snprintf(sink.module, sizeof sink.module, "%s", module);
    sink.level = level;
}

void
log_rename(const char *module)
{
    log_setup(module, sink.level);
}

bool
log_on(enum log_level level)
{
    return level <= sink.level;
}

bool
log_level_parse(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void
log_line(enum log_level level, const char *fmt, ...)
{
    char line[2048];
    struct timespec now;
    struct tm tm;
    size_t len;
    int n;
    va_list ap;

    if (!log_on(level))
        return;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    len = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    len += (size_t)snprintf(line + len, sizeof line - len,
        ".%03ldZ %-5s %s: ", now.tv_nsec / 1000000, level_names[level], sink.module);
    va_start(ap, fmt);
    n = vsnprintf(line + len, sizeof line - len - 1, fmt, ap);
    va_end(ap);
    if (n > 0)
        len += (size_t)n < sizeof line - len - 1 ? (size_t)n : sizeof line - len - 2;
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nobody left to tell */
}

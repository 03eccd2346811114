/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Program log: one event, one line on stderr: time, level, module, sentence with `key=value` facts.
 *
 * Libraries return errors, programs log; liba71ch and the OpenSSL module never log. The sink is
 * the process's stderr, which is why this one setting is per process and not in a handle.
 * Secrets are logged as their length, never as bytes.
 */
#ifndef BM_BASE_LOG_H
#define BM_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* Name that starts each line of this process ("a71chd", "control"); default level is LOG_INFO. */
void log_setup(const char *module, enum log_level level);
void log_rename(const char *module); /* a forked child keeps the level */
bool log_on(enum log_level level);
bool log_level_parse(const char *name, enum log_level *out);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif

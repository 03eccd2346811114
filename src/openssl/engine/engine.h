/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenSSL ENGINE "e2a71ch": the same chip keys as the provider's, for programs that know
 * engines or use keys in OpenSSL's old form. SPEC a71ch 9.2 to 9.4, SPEC openssl 2.
 *
 * Model. An engine is a table of functions in a list that the whole process shares, and its random
 * generator is called without any context; so this module has one state per process, made by the
 * first ENGINE_init() and ended by the last ENGINE_finish(). Keys and OpenSSL's defaults hold such
 * references, so the state outlives them.
 *
 * As the default EC method it sees every key on every curve of the process. It looks at the scalar
 * and leaves all but reference keys to OpenSSL's own method, untouched. No chip traffic before the
 * first private operation, the first random byte, or a key asked for by slot.
 */
#ifndef BM_OPENSSL_ENGINE_H
#define BM_OPENSSL_ENGINE_H

/* The engine interface is deprecated as a whole, and wanted here. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "openssl/core/random.h"
#include "openssl/core/reason.h"
#include "openssl/core/shared_chip.h"
#include "wire/refkey.h"

#include <openssl/ec.h>
#include <openssl/engine.h>
#include <openssl/err.h>

/* Bits of the control command LOG_LEVEL. SPEC a71ch 9.4 */
enum engine_log { ENGINE_LOG_FLOW = 1, ENGINE_LOG_DEBUG = 2, ENGINE_LOG_ERROR = 4 };

/* NULL, raised: between the last ENGINE_finish() and the next ENGINE_init(). */
struct shared_chip *engine_chip(void);
struct mixed_random *engine_random(void);

/* A line on stderr when the user asked for this kind with LOG_LEVEL. */
void engine_log(enum engine_log kind, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put a reason and its particulars on the error queue. Always 0: `return engine_raise(...)`. */
#define engine_raise(reason, ...)                                                                  \
    engine_raise_at((reason), __FILE__, __LINE__, __func__, __VA_ARGS__)
int engine_raise_at(enum reason reason, const char *file, int line, const char *func,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The EC method over OpenSSL's own; the caller frees it. NULL: out of memory. */
EC_KEY_METHOD *engine_ec_method(void);

extern const RAND_METHOD engine_rand_method;

/* ENGINE_load_private_key() and ENGINE_load_public_key(): `id` is pair:N, pub:N or the path of a
 * reference key. NULL: raised. */
EVP_PKEY *engine_load_private(ENGINE *e, const char *id, UI_METHOD *ui, void *data);
EVP_PKEY *engine_load_public(ENGINE *e, const char *id, UI_METHOD *ui, void *data);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* See engine.h: the module's two exported symbols, its state, its control commands. */
#include "openssl/engine/engine.h"

#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENGINE_ID "e2a71ch"
#define ENGINE_NAME "NXP A71CH keys (Birthmark)"

__attribute__((visibility("default"))) unsigned long v_check(unsigned long v);
__attribute__((visibility("default"))) int bind_engine(
    ENGINE *e, const char *id, const dynamic_fns *fns);

/* The numbers 200 and 201 are NXP's. SPEC a71ch 9.4 */
enum {
    CMD_LOG_LEVEL = ENGINE_CMD_BASE,
    CMD_SO_PATH,
    CMD_ADDRESS,
    CMD_STRICT_RANDOM,
    CMD_ANSWER_TIMEOUT,
};

static const ENGINE_CMD_DEFN commands[] = {
    { CMD_LOG_LEVEL, "LOG_LEVEL",
        "What to tell on stderr: 1 each use of the chip, 2 what is left to software, 4 errors; add "
        "them up (default 0)",
        ENGINE_CMD_FLAG_NUMERIC },
    { CMD_SO_PATH, "SO_PATH", "Not used: there is no further library to load",
        ENGINE_CMD_FLAG_STRING },
    { CMD_ADDRESS, "ADDRESS",
        "Where the chip is, HOST:PORT or unix:PATH (default: A71CH_ADDRESS, RJCT_SERVER_ADDR, "
        "127.0.0.1:8050)",
        ENGINE_CMD_FLAG_STRING },
    { CMD_STRICT_RANDOM, "STRICT_RANDOM",
        "1: no random numbers without the chip; 0: then the operating system's alone (default)",
        ENGINE_CMD_FLAG_NUMERIC },
    { CMD_ANSWER_TIMEOUT, "ANSWER_TIMEOUT",
        "How long the chip may take to answer, in seconds (default 30)", ENGINE_CMD_FLAG_NUMERIC },
    { 0, NULL, NULL, 0 },
};

/* Of the process: see engine.h for why. `lock` guards all but `log` and `library`. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned bound; /* ENGINE objects that stand for this module */
static unsigned users; /* ENGINE_init() without ENGINE_finish() */
static char *address;  /* NULL: the environment decides */
static long timeout_s; /* 0: the library's own */
static struct shared_chip *chip;
static struct mixed_random rnd;
static _Atomic int log_mask;
static int library; /* our number in OpenSSL's error codes */

/* Not const: OpenSSL writes the library's number into it. */
#define REASON_ROW(name, number, sentence) { ERR_PACK(0, 0, number), (sentence) },
static ERR_STRING_DATA reason_strings[] = { REASONS(REASON_ROW){ 0, NULL } };
#undef REASON_ROW
static ERR_STRING_DATA library_name[] = { { 0, ENGINE_ID }, { 0, NULL } };

int
engine_raise_at(
    enum reason reason, const char *file, int line, const char *func, const char *fmt, ...)
{
    char text[BM_MSG_LEN];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    engine_log(ENGINE_LOG_ERROR, "%s", text);
    ERR_new();
    ERR_set_debug(file, line, func);
    ERR_set_error(library, (int)reason, "%s", text);
    return 0;
}

void
engine_log(enum engine_log kind, const char *fmt, ...)
{
    char text[BM_MSG_LEN];
    va_list ap;

    if ((atomic_load(&log_mask) & (int)kind) == 0)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, ENGINE_ID ": %s\n", text);
}

struct shared_chip *
engine_chip(void)
{
    struct shared_chip *c;

    (void)pthread_mutex_lock(&lock);
    c = chip;
    (void)pthread_mutex_unlock(&lock);
    if (c == NULL)
        (void)engine_raise(REASON_INTERNAL, "the engine is not initialised; call ENGINE_init()");
    return c;
}

struct mixed_random *
engine_random(void)
{
    return engine_chip() != NULL ? &rnd : NULL;
}

/* The address is taken now, not at the first use: a server may empty its environment after it. */
static int
init(ENGINE *e)
{
    bool ok;

    (void)e;
    (void)pthread_mutex_lock(&lock);
    if (users == 0) {
        rnd.chip = chip = shared_chip_new(address);
        if (chip != NULL && timeout_s > 0)
            shared_chip_set_timeout(chip, (unsigned)timeout_s * 1000);
    }
    ok = chip != NULL;
    if (ok)
        users++;
    (void)pthread_mutex_unlock(&lock);
    return ok;
}

static int
finish(ENGINE *e)
{
    struct shared_chip *last = NULL;

    (void)e;
    (void)pthread_mutex_lock(&lock);
    if (users > 0 && --users == 0) {
        last = chip;
        rnd.chip = chip = NULL;
    }
    (void)pthread_mutex_unlock(&lock);
    shared_chip_free(last);
    return 1;
}

static int
too_late(const char *command)
{
    return engine_raise(REASON_PARAMETER,
        "%s comes too late, the engine is in use; in a configuration file it stands before init "
        "and default_algorithms",
        command);
}

static int
set_address(const char *text)
{
    char *copy = text != NULL && text[0] != '\0' ? strdup(text) : NULL;
    bool ok;

    if (copy == NULL)
        return engine_raise(REASON_PARAMETER, "ADDRESS wants HOST:PORT or unix:PATH");
    (void)pthread_mutex_lock(&lock);
    ok = users == 0;
    if (ok) {
        free(address);
        address = copy;
    }
    (void)pthread_mutex_unlock(&lock);
    if (!ok)
        free(copy);
    return ok ? 1 : too_late("ADDRESS");
}

static int
set_timeout(long seconds)
{
    bool ok;

    if (seconds < 1 || seconds > 3600)
        return engine_raise(
            REASON_PARAMETER, "ANSWER_TIMEOUT is %ld; it goes from 1 to 3600 s", seconds);
    (void)pthread_mutex_lock(&lock);
    ok = users == 0;
    if (ok)
        timeout_s = seconds;
    (void)pthread_mutex_unlock(&lock);
    return ok ? 1 : too_late("ANSWER_TIMEOUT");
}

static int
control(ENGINE *e, int cmd, long i, void *p, void (*f)(void))
{
    (void)e;
    (void)f;
    switch (cmd) {
    case CMD_LOG_LEVEL:
        if (i < 0 || i > (ENGINE_LOG_FLOW | ENGINE_LOG_DEBUG | ENGINE_LOG_ERROR))
            return engine_raise(REASON_PARAMETER, "LOG_LEVEL is %ld; it goes from 0 to 7", i);
        atomic_store(&log_mask, (int)i);
        return 1;
    case CMD_SO_PATH:
        return engine_raise(REASON_PARAMETER, "SO_PATH is not used; leave it out");
    case CMD_ADDRESS:
        return set_address(p);
    case CMD_STRICT_RANDOM:
        if (i != 0 && i != 1)
            return engine_raise(REASON_PARAMETER, "STRICT_RANDOM is %ld; it is 0 or 1", i);
        atomic_store(&rnd.strict, i == 1);
        return 1;
    case CMD_ANSWER_TIMEOUT:
        return set_timeout(i);
    default:
        return engine_raise(REASON_PARAMETER, "there is no control command %d", cmd);
    }
}

static int
destroy(ENGINE *e)
{
    /* ENGINE_get_EC() gives back what bind() put there, as const */
    EC_KEY_METHOD_free((EC_KEY_METHOD *)(uintptr_t)ENGINE_get_EC(e));
    (void)pthread_mutex_lock(&lock);
    if (bound > 0 && --bound == 0) {
        (void)ERR_unload_strings(library, reason_strings);
        (void)ERR_unload_strings(library, library_name);
        free(address);
        address = NULL;
        timeout_s = 0;
    }
    (void)pthread_mutex_unlock(&lock);
    return 1;
}

static void
load_strings(void)
{
    (void)pthread_mutex_lock(&lock);
    if (bound++ == 0) {
        if (library == 0) /* the tables keep the number they were once given */
            library = ERR_get_next_error_library();
        library_name[0].error = ERR_PACK(library, 0, 0);
        (void)ERR_load_strings(library, reason_strings);
        (void)ERR_load_strings(library, library_name);
    }
    (void)pthread_mutex_unlock(&lock);
}

static int
bind(ENGINE *e, const char *id)
{
    EC_KEY_METHOD *method;

    if (id != NULL && strcmp(id, ENGINE_ID) != 0)
        return 0;
    method = engine_ec_method();
    if (method == NULL)
        return 0;
    load_strings();
    if (!ENGINE_set_id(e, ENGINE_ID) || !ENGINE_set_name(e, ENGINE_NAME) ||
        !ENGINE_set_EC(e, method) || !ENGINE_set_destroy_function(e, destroy)) {
        EC_KEY_METHOD_free(method);
        return 0;
    }
    return ENGINE_set_RAND(e, &engine_rand_method) && ENGINE_set_init_function(e, init) &&
           ENGINE_set_finish_function(e, finish) && ENGINE_set_ctrl_function(e, control) &&
           ENGINE_set_cmd_defns(e, commands) &&
           ENGINE_set_load_privkey_function(e, engine_load_private) &&
           ENGINE_set_load_pubkey_function(e, engine_load_public);
}

IMPLEMENT_DYNAMIC_CHECK_FN()
IMPLEMENT_DYNAMIC_BIND_FN(bind)

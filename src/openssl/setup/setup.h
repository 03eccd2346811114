/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write the OpenSSL configuration that gives programs the keys in the chip, in the only order that
 * is safe (SPEC openssl 1.4, 1.7), and take it out again.
 *
 * Two ways. By a file of its own, which includes the system's and is named in OPENSSL_CONF; the
 * system's file is not touched. Or for every program, by one line at the end of an existing
 * openssl.cnf that includes that file. What the existing configuration loads (legacy, an engine)
 * stays loaded, and its name for the initial section is kept. Nothing takes its place before
 * OpenSSL has loaded it in a trial, and all of it is replaced by rename: after a crash the old or
 * the new file is there.
 */
#ifndef BM_OPENSSL_SETUP_H
#define BM_OPENSSL_SETUP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { SETUP_PATH_MAX = 1024 };

enum setup_psk { SETUP_NO_PSK, SETUP_PSK_HMAC, SETUP_PSK_NATIVE };

struct setup {
    const char *system;  /* the configuration to build upon; NULL: OpenSSL's own */
    const char *file;    /* what to write; NULL: a71ch.cnf beside `system` */
    const char *address; /* of the chip; NULL: the environment will say it */
    bool engine;         /* the ENGINE instead of the provider */
    bool into;           /* add the line to `system`; not with SETUP_PSK_NATIVE */
    enum setup_psk psk;  /* pre-shared keys (docs/openssl.md), with the provider only */
    const char *pair;    /* SETUP_PSK_NATIVE: "0".."3", key pair for ECDHE_PSK; NULL: none */
    bool renew;          /* ... which the chip makes anew after each handshake */
};

/*
 * `written` gets the path of the file. BM_ERR_EXISTS: `file` is not one of ours. BM_ERR_CONFLICT:
 * `system` has the line already, for another file, or for `psk` an alg_section of its own. BM_ERR_NOT_FOUND: our module or template is not
 * where it was installed. BM_ERR_INPUT: OpenSSL does not take the result, or `system` as it is.
 * BM_ERR_IO. After a failure all files are as before.
 */
enum bm_err setup_write(const struct setup *s, char written[SETUP_PATH_MAX], struct bm_msg *msg);

/* Take our line out of `system` (NULL: OpenSSL's own), and nothing else. BM_ERR_NOT_FOUND: it has
 * none. */
enum bm_err setup_remove(const char *system, struct bm_msg *msg);

#endif

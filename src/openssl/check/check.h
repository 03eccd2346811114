/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The self-test: does a program of this machine, with this configuration, sign with the chip when
 * it is given this key file? SPEC openssl 1.4
 */
#ifndef BM_OPENSSL_CHECK_H
#define BM_OPENSSL_CHECK_H

#include <stdbool.h>
#include <stdio.h>

/* Also exit codes, one per cause; the man page lists them. */
enum check_verdict {
    CHECK_FINE = 0,
    CHECK_FAILED_OTHER = 1,
    CHECK_PROVIDER_MISSING = 3,
    CHECK_CONFIGURATION = 4,
    CHECK_NOT_A_REFERENCE = 5,
    CHECK_KEY_REFUSED = 6,
    CHECK_CERTIFICATE = 7,
    CHECK_CHIP_ABSENT = 8,
    CHECK_CHIP_REFUSED = 9,
    CHECK_WRONG_SLOT = 10,
    CHECK_SIGNED_IN_SOFTWARE = 11,
    CHECK_NO_PERMISSION = 13,
};

struct check_options {
    const char *key_path;
    const char *cert_path; /* NULL: none */
    bool json;
    FILE *out; /* the report; a cause and its cure go to stderr unless it is JSON */
};

/*
 * Uses OpenSSL's default library context, whose configuration is the environment's: call it in a
 * process that has not used that context before. Makes one signature in the chip, changes nothing.
 */
enum check_verdict openssl_check(const struct check_options *options);

#endif

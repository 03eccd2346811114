/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate's subject from text, as `openssl req -subj` writes it: /C=NL/O=Acme/CN=meter 7. A
 * backslash takes the next character as it is; + instead of / joins to one set.
 */
#ifndef BM_PKI_SUBJECT_H
#define BM_PKI_SUBJECT_H

#include "base/err.h"

#include <openssl/types.h>

enum { SUBJECT_VALUE_MAX = 256 }; /* of one value, with terminator */

/* BM_ERR_INPUT: another form, an unknown name, or a value that the name forbids. The caller frees
 * *out with X509_NAME_free(). */
enum bm_err subject_parse(const char *text, X509_NAME **out, struct bm_msg *msg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of ~/.aws: sections in brackets, `key = value` lines, comments with # and ;.
 */
#ifndef BM_AWS_PROFILE_H
#define BM_AWS_PROFILE_H

#include "base/bytes.h"

/*
 * The value of `key` in section [profile], or, as the file `config` writes it, [profile NAME];
 * terminated. Of several the last counts. False: not there, empty, or it does not fit; `out` is ""
 * then. Lines that belong to a nested setting (they begin with a blank) are no keys.
 */
bool profile_get(struct span text, const char *profile, const char *key, char *out, size_t cap);
/* Is there such a section? */
bool profile_has(struct span text, const char *profile);

#endif

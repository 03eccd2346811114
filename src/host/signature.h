/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chip's ECDSA signature made strict DER. Pure, on bytes from the chip. SPEC a71ch 3.1.
 */
#ifndef BM_HOST_SIGNATURE_H
#define BM_HOST_SIGNATURE_H

#include "base/bytes.h"

/*
 * Read `30 L 02 l r 02 l s`, followed by any padding, and append the same two numbers in strict
 * DER, 8..72 bytes. The chip writes numbers in a fixed width: leading zeros go, and a first bit
 * that is set is part of the number, never a sign.
 * BM_ERR_INPUT: not of this form, or a number is zero or longer than 32 bytes. BM_ERR_SPACE: no
 * room. `out` is as before then.
 */
enum bm_err signature_normalise(struct span in, struct wr *out);

#endif

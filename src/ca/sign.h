/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device certificates for requests: the first one of a device, or the next one, when the request
 * comes with the certificate in use (as from `birthmark device renew`).
 */
#ifndef BM_CA_SIGN_H
#define BM_CA_SIGN_H

#include "ca/cloud.h"
#include "ca/folder.h"

enum { CA_REQUEST_MAX = 65536 };

struct ca_sign_options {
    unsigned days;       /* 0: 365 */
    unsigned generation; /* 0: the newest */
    bool renewals_only;  /* refuse what does not prove to be a renewal: no certificate of ours in
                            use comes with it, or it is for another key than that certificate's */
    struct aws_client *cloud; /* ask it: the certificate in use must be ACTIVE; NULL: nobody */
};

/*
 * `request`: PEM, a CSR and perhaps certificates behind it, the first of them the one in use. A
 * certificate of ours that comes with it must be of the same subject, in date, and of a generation
 * that is not revoked. Appends leaf and issuer, PEM, to `out`.
 *
 * BM_ERR_INPUT: no CSR, or a damaged one; BM_ERR_DENIED: the profile or what is said above;
 * BM_ERR_NOT_FOUND: no such generation; others: the key.
 */
enum bm_err ca_sign(const struct ca_folder *f, const char *dir, struct ca_access *a,
    const struct ca_sign_options *o, struct span request, struct buf *out, struct bm_msg *msg);

#endif

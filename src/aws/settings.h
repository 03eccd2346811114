/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoint, region and credentials of a client: found once, from options, environment and files. */
#ifndef BM_AWS_SETTINGS_H
#define BM_AWS_SETTINGS_H

#include "aws/aws.h"

enum { AWS_SERVICES = 3, AWS_URL_MAX = 300 };

struct aws_settings {
    char endpoint[AWS_SERVICES][AWS_URL_MAX]; /* "": the region's own */
    char region[64];
    char access_key[160];
    char secret_key[160];
    char token[4096]; /* "": none */
};

/* Index of a service, or -1; and what AWS calls it. */
int aws_service(const char *name);
const char *aws_service_host(int service); /* "iot", "data-ats.iot", "lambda" */

/* Does this URL lead to this machine? */
bool aws_is_loopback(const char *url);

enum bm_err aws_settings_find(
    const struct aws_options *o, struct aws_settings *out, struct bm_msg *msg);

#endif

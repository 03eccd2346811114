/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed requests to AWS, or to a cloud that looks like it, for our own tools: one call, one JSON
 * answer. Blocks; libcurl makes the signature (SPEC aws-iot 2) and the connection.
 *
 * Where it goes and as whom is found as the aws CLI finds it, the first that is there:
 *
 *   endpoint     options.endpoint; AWS_ENDPOINT_URL_IOT, _IOT_DATA_PLANE, _LAMBDA for that service;
 *                AWS_ENDPOINT_URL; endpoint_url of the profile; the service of the region
 *   region       options.region, AWS_REGION, AWS_DEFAULT_REGION, the profile's region; us-east-1
 *                when the endpoint is on loopback
 *   profile      options.profile, AWS_PROFILE, "default"; in the files AWS_SHARED_CREDENTIALS_FILE
 *                (~/.aws/credentials) and AWS_CONFIG_FILE (~/.aws/config)
 *   credentials  of options.profile when it was given; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
 *                AWS_SESSION_TOKEN; the profile; test/test when the endpoint is on loopback
 *
 * Single sign-on, roles, web identities and instance metadata are not read: `aws configure
 * export-credentials --format env` makes variables of them. No message ever holds a secret.
 *
 * A client is used by one thread at a time. Call aws_open() before other threads start.
 */
#ifndef BM_AWS_AWS_H
#define BM_AWS_AWS_H

#include "base/bytes.h"

#include <jansson.h>

struct aws_client;

/* Zero-initialise, set what you need; NULL means all defaults. Copied. */
struct aws_options {
    const char *endpoint; /* "http://127.0.0.1:4566" */
    const char *region;
    const char *profile;
    unsigned timeout_ms; /* of one attempt; 0: 15000 */
    unsigned attempts;   /* in all; 0: 4 */
};

/*
 * Find endpoint, region and credentials; nothing is sent. BM_ERR_INPUT: one of them is not there or
 * no good, and the message says how to give it. BM_ERR_IO: a file named by the environment cannot
 * be read. Free with aws_close (takes NULL).
 */
enum bm_err aws_open(
    const struct aws_options *options, struct aws_client **out, struct bm_msg *msg);
void aws_close(struct aws_client *c);

/* "http://127.0.0.1:4566" or "https://iot.eu-west-1.amazonaws.com"; NULL: no such service. Valid
 * until the next call with this client. */
const char *aws_endpoint(struct aws_client *c, const char *service);
const char *aws_region(const struct aws_client *c);
/* Is the endpoint of "iot" one that was given, and not the region's own? */
bool aws_has_own_endpoint(const struct aws_client *c);

enum { AWS_PATH_MAX = 6, AWS_QUERY_MAX = 6, AWS_HEADERS_MAX = 3 };

struct aws_request {
    const char *service;            /* "iot", "iotdata", "lambda" */
    const char *method;             /* "GET", "POST", "PUT", "PATCH", "DELETE" */
    const char *path[AWS_PATH_MAX]; /* segments, unencoded, NULL behind the last: "cacertificate" */
    struct {
        const char *name;
        const char *value;                /* unencoded */
    } query[AWS_QUERY_MAX];               /* name NULL behind the last; any order */
    const char *headers[AWS_HEADERS_MAX]; /* "x-amzn-principal: arn:..." */
    const json_t *body;                   /* NULL: none */
};

/*
 * Send it, and again after a pause that grows with chance when the service throttles (429), fails
 * (5xx) or cannot be reached, as often as the options allow. A request may thus reach the service
 * twice: every change has to be one that may be repeated.
 *
 * BM_OK: status 2xx; *answer is the JSON of the body, an empty object when there is none; end with
 * json_decref. Otherwise *answer is NULL, and aws_failure() tells more:
 *
 *   BM_ERR_INPUT      400 and what is not below        BM_ERR_DENIED   401, 403
 *   BM_ERR_NOT_FOUND  404                              BM_ERR_CONFLICT 406, and 409 of other names
 *   BM_ERR_EXISTS     409 ResourceAlreadyExists...     BM_ERR_LIMIT    429
 *   BM_ERR_IO         5xx, not reached                 BM_ERR_TIMEOUT  no answer in time
 *   BM_ERR_PROTO      an answer that is no JSON, or 501: the cloud has not built that operation
 */
enum bm_err aws_send(
    struct aws_client *c, const struct aws_request *rq, json_t **answer, struct bm_msg *msg);

/* About the last aws_send that failed. */
struct aws_failure {
    unsigned status;   /* 0: there was no answer */
    char name[80];     /* "ResourceNotFoundException"; "" when the answer had none */
    char message[320]; /* the service's words */
    char resource[80]; /* resourceId, as ResourceAlreadyExistsException has it; or "" */
    unsigned attempts;
};
const struct aws_failure *aws_failure(const struct aws_client *c);

#endif

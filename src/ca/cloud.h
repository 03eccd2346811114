/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CA at the cloud: registered, ACTIVE, with just-in-time registration; SPEC aws-iot 1.3.1, 3.2,
 * 3.3. Every call may be interrupted anywhere and made again.
 */
#ifndef BM_CA_CLOUD_H
#define BM_CA_CLOUD_H

#include "aws/aws.h"
#include "pki/issue.h"

#include <stdio.h>

struct ca_cloud {
    char id[PKI_ID_TEXT]; /* of the certificate, whether it is registered or not */
    bool registered;
    bool active;
    bool joins; /* autoRegistrationStatus ENABLE: devices register just in time */
    char arn[128];
};

/* How it is there. A CA that is not registered is no error. */
enum bm_err ca_cloud_ask(
    struct aws_client *aws, const struct pki_cert *ca, struct ca_cloud *out, struct bm_msg *msg);

/*
 * Is all that the cloud will look at in order: a CA, valid now, of a kind of key that is accepted,
 * and is the key its own? BM_ERR_DENIED or BM_ERR_INPUT says what is not.
 */
enum bm_err ca_cloud_ready(
    const struct pki_cert *ca, const struct pki_signer *key, int64_t now_ms, struct bm_msg *msg);

/*
 * Registered, ACTIVE and with just-in-time registration afterwards, whatever it was before.
 * *changed: was anything to be done?
 */
enum bm_err ca_cloud_register(struct aws_client *aws, const struct pki_cert *ca,
    const struct pki_signer *key, struct ca_cloud *out, bool *changed, struct bm_msg *msg);

/* ACTIVE and just-in-time registration on or off. BM_ERR_NOT_FOUND: it is not registered. */
enum bm_err ca_cloud_set(
    struct aws_client *aws, const struct pki_cert *ca, bool active, bool joins, struct bm_msg *msg);

/* Is a device's certificate ACTIVE at the cloud? BM_ERR_DENIED: no, the message says what it is, or
 * that the cloud does not know it. */
enum bm_err ca_cloud_device_active(
    struct aws_client *aws, const char id[PKI_ID_TEXT], struct bm_msg *msg);
/* A device's certificate: REVOKED. BM_ERR_NOT_FOUND. */
enum bm_err ca_cloud_revoke_device(
    struct aws_client *aws, const char id[PKI_ID_TEXT], struct bm_msg *msg);

/*
 * Shell lines with openssl and the aws CLI that do what ca_cloud_register does. The passphrase is
 * read from `passphrase_file`, or asked by openssl (NULL).
 */
void ca_cloud_print(FILE *to, struct aws_client *aws, const struct pki_cert *ca,
    const char *cert_path, const char *key_path, const char *passphrase_file);

#endif

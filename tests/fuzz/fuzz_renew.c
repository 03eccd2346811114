/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz what a device takes for its next certificate: whatever the CA's answer is, it is refused
 * with a sentence, or has a leaf of the device's key and subject.
 */
#include "device/renew.h"

#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Key and leaf of a device: a constant, because a random key would fit no corpus. */
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKtYXRUkZLx8aEQTO\n"
                              "jFRwJzEJOYBXi9coPD8KGil3ncyhRANCAAR/r08C6m9N5eXnOSB39sHyjAvDiPaX\n"
                              "XW1hdd0tG+dimoSYF/J07q0/R+vZTPfBlMLyQwUPz11uXKyRPJMu8vvw\n"
                              "-----END PRIVATE KEY-----\n";
static const char leaf_pem[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBFDCBuwIUTmC1rkYajfjD2UCTy49CR7TGsbAwCgYIKoZIzj0EAwIwDTELMAkG\n"
                               "A1UEAwwCQ0EwHhcNMjYxMTIzMTI0ODQ3WhcNMjcwMzAzMTI0ODQ3WjANMQswCQYD\n"
                               "VQQDDAJkMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABH+vTwLqb03l5ec5IHf2\n"
                               "wfKMC8OI9pddbWF13S0b52KahJgX8nTurT9H69lM98GUwvJDBQ/PXW5crJE8ky7y\n"
                               "+/AwCgYIKoZIzj0EAwIDSAAwRQIgHcgVv/oAW31DGp/gJxicxewQqsxW4NqMhsCG\n"
                               "4uT7TpUCIQCgezs+ccBa4P5EOo10BYuGD7hAvBQefMOpUxPUovUEJw==\n"
                               "-----END CERTIFICATE-----\n";

static void
open_device(struct identity *id)
{
    BIO *key = BIO_new_mem_buf(key_pem, -1);
    BIO *leaf = BIO_new_mem_buf(leaf_pem, -1);

    id->keys[0] = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
    id->key_count = 1;
    id->found = sk_X509_new_null();
    if (id->keys[0] == NULL ||
        sk_X509_push(id->found, PEM_read_bio_X509(leaf, NULL, NULL, NULL)) <= 0)
        abort();
    chain_build(id->found, id->keys, 1, 0, &id->chain);
    if (id->chain.leaf_count != 1)
        abort();
    BIO_free(key);
    BIO_free(leaf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct identity id;
    struct renew_answer a;
    struct bm_msg msg = { "" };

    if (id.found == NULL)
        open_device(&id);
    if (renew_take(&id, 0, 0, span_of(data, size), 1800000000000, &a, &msg) == BM_OK) {
        if (!chain_is_for(a.leaf, id.keys[0]) ||
            X509_NAME_cmp(
                X509_get_subject_name(a.leaf), X509_get_subject_name(id.chain.leaves[0])) != 0)
            abort();
    } else if (msg.text[0] == '\0' || a.all != NULL) {
        abort();
    }
    renew_answer_fini(&a);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz reading of certificates (PEM and DER) and CSRs, and every question asked about them. */
#include "pki/internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What policies may ask of a device's certificate: text, whatever the certificate holds. */
static void
read_value(void *arg, const char *name, struct span value)
{
    size_t *sum = arg;

    for (size_t i = 0; i < value.len; i++) {
        *sum += value.ptr[i];
    }
    if (name[0] == '\0') {
        abort();
    }
}

static void
ask_all(struct pki_cert *c)
{
    char text[PKI_CN_MAX];
    struct buf pem = { 0 };
    struct pki_cert *again = NULL;
    struct span subject;
    struct span issuer;
    size_t sum = 0;

    if (!pki_names_find(pki_cert_der(c), &subject, &issuer) ||
        !span_eq(subject, pki_cert_subject(c)) || !span_eq(issuer, pki_cert_issuer(c)))
        abort();
    (void)pki_cert_is_ca(c);
    (void)pki_cert_common_name(c, text, sizeof text);
    pki_cert_subject_text(c, text, sizeof text);
    pki_cert_issuer_text(c, text, 7);
    (void)pki_cert_acceptable(c, NULL);
    (void)pki_cert_signed_by(c, c, NULL);
    (void)pki_cert_valid_at(c, 0, NULL);
    pki_cert_attributes(c, read_value, &sum);
    if (pki_cert_to_pem(c, &pem) != BM_OK ||
        pki_cert_from_pem(buf_span(&pem), &again, NULL) != BM_OK ||
        !span_eq(pki_cert_der(c), pki_cert_der(again)))
        abort(); /* what was read must be written the same: its hash is the certificate's id */
    pki_cert_free(again);
    buf_fini(&pem);
    pki_cert_free(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pki_cert *c;
    struct span names[2];
    char text[PKI_CN_MAX];
    X509_REQ *req;

    if (pki_names_find(span_of(data, size), &names[0], &names[1])) {
        pki_name_text(names[0], text, sizeof text);
        (void)pki_name_common_name(names[1], text, sizeof text);
    }

    if (pki_cert_from_pem(span_of(data, size), &c, NULL) == BM_OK)
        ask_all(c);
    if (pki_cert_from_der(span_of(data, size), &c, NULL) == BM_OK)
        ask_all(c);
    (void)pki_csr_read(span_of(data, size), &req, NULL);
    X509_REQ_free(req);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM's P-256 operations through tpm2-tss, one after another: the peer of bench_chip through a
 * socket. usage: tpm TCTI SERVER_PID SECONDS OP...   OP: sign, verify, ecdh
 */
#include "measure.h"

#include <string.h>

#include <tss2/tss2_esys.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

struct tpm {
    ESYS_CONTEXT *esys;
    ESYS_TR signer;
    ESYS_TR agreer;
    TPM2B_ECC_POINT peer;
    TPMT_SIGNATURE *signature;
};

static const TPM2B_DIGEST hash = { .size = 32, .buffer = { 0x5a } };

static void
must(TSS2_RC rc, const char *what)
{
    if (rc == TSS2_RC_SUCCESS)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, Tss2_RC_Decode(rc));
    exit(1);
}

static ESYS_TR
make_key(struct tpm *t, TPMA_OBJECT use, TPMI_ALG_ASYM_SCHEME scheme, TPM2B_PUBLIC **public)
{
    const TPM2B_SENSITIVE_CREATE sensitive = { 0 };
    const TPM2B_DATA outside = { 0 };
    const TPML_PCR_SELECTION pcr = { 0 };
    const TPM2B_PUBLIC in = {
        .publicArea = { .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = use | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_FIXEDTPM |
                                TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN,
            .parameters.eccDetail = { .symmetric.algorithm = TPM2_ALG_NULL,
                .scheme = { .scheme = scheme, .details.ecdsa.hashAlg = TPM2_ALG_SHA256 },
                .curveID = TPM2_ECC_NIST_P256,
                .kdf.scheme = TPM2_ALG_NULL } },
    };
    ESYS_TR out;

    must(Esys_CreatePrimary(t->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
             &sensitive, &in, &outside, &pcr, &out, public, NULL, NULL, NULL),
        "Esys_CreatePrimary");
    return out;
}

static bool
sign(void *arg)
{
    struct tpm *t = arg;
    const TPMT_SIG_SCHEME scheme = { .scheme = TPM2_ALG_NULL };
    const TPMT_TK_HASHCHECK ticket = { .tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL };

    Esys_Free(t->signature);
    t->signature = NULL;
    return Esys_Sign(t->esys, t->signer, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &hash, &scheme,
               &ticket, &t->signature) == TSS2_RC_SUCCESS;
}

static bool
verify(void *arg)
{
    struct tpm *t = arg;
    TPMT_TK_VERIFIED *ticket = NULL;
    TSS2_RC rc = Esys_VerifySignature(t->esys, t->signer, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
        &hash, t->signature, &ticket);

    Esys_Free(ticket);
    return rc == TSS2_RC_SUCCESS;
}

static bool
ecdh(void *arg)
{
    struct tpm *t = arg;
    TPM2B_ECC_POINT *out = NULL;
    TSS2_RC rc = Esys_ECDH_ZGen(
        t->esys, t->agreer, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &t->peer, &out);

    Esys_Free(out);
    return rc == TSS2_RC_SUCCESS;
}

int
main(int argc, char **argv)
{
    struct tpm t = { 0 };
    TSS2_TCTI_CONTEXT *tcti = NULL;
    TPM2B_PUBLIC *public = NULL;

    if (argc < 5)
        return 2;
    must(Tss2_TctiLdr_Initialize(argv[1], &tcti), "Tss2_TctiLdr_Initialize");
    must(Esys_Initialize(&t.esys, tcti, NULL), "Esys_Initialize");
    t.signer = make_key(&t, TPMA_OBJECT_SIGN_ENCRYPT, TPM2_ALG_ECDSA, &public);
    t.peer.point = public->publicArea.unique.ecc;
    Esys_Free(public);
    t.agreer = make_key(&t, TPMA_OBJECT_DECRYPT, TPM2_ALG_ECDH, &public);
    Esys_Free(public);
    (void)sign(&t);
    for (int i = 4; i < argc; i++) {
        bool (*once)(void *) = strcmp(argv[i], "sign") == 0     ? sign
                               : strcmp(argv[i], "verify") == 0 ? verify
                                                                : ecdh;

        measure(argv[i], once, &t, strtod(argv[3], NULL), (pid_t)strtol(argv[2], NULL, 10));
    }
    Esys_Free(t.signature);
    Esys_Finalize(&t.esys);
    Tss2_TctiLdr_Finalize(&tcti);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission of any certificate, in any of two accounts, against registries with CAs of every kind
 * (admit_corpus.py). Whatever comes: a decision with a cause; and what gets registered was signed
 * by a CA of that account that is open for newcomers, is in its dates, and is PENDING from then on.
 *
 * Nothing is ever committed, so a group grows; now and then the registries are made anew.
 */
#include "base/clock.h"
#include "base/file.h"
#include "endpoint/admit.h"
#include "pki/pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ACCOUNTS = 2, INPUTS_MAX = 20000, DER_MAX = 1024 };

static const struct {
    uint8_t accounts; /* bits */
    uint8_t active;
    uint8_t open;
    uint8_t sni_only;
    uint8_t has_template;
    uint16_t len;
    uint8_t der[DER_MAX];
} cas[] = {
#include "admit_cas.inc"
};

struct world {
    char dir[ACCOUNTS][64];
    struct registry *registry[ACCOUNTS];
    unsigned inputs;
    struct issuer_cache issuers;
};

static void
need(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "fuzz_admit: %s\n", what);
        abort();
    }
}

static void
add_ca(struct registry *r, size_t i)
{
    struct registry_ca row = { .status = cas[i].active ? CERT_ACTIVE : CERT_INACTIVE,
        .auto_registration = cas[i].open,
        .mode = cas[i].sni_only ? MODE_SNI_ONLY : MODE_DEFAULT };
    struct pki_cert *cert = NULL;
    struct span subject;

    need(pki_cert_from_der(span_of(cas[i].der, cas[i].len), &cert, NULL) == BM_OK, "a CA");
    subject = pki_cert_subject(cert);
    pki_cert_id(cert, row.id);
    buf_add(&row.subject, subject.ptr, subject.len);
    buf_add(&row.der, cas[i].der, cas[i].len);
    if (cas[i].has_template) {
        buf_add(&row.registration_config, "{}", 2);
    }
    need(registry_ca_insert(r, &row, NULL) == BM_OK, "a CA is stored");
    registry_ca_fini(&row);
    pki_cert_free(cert);
}

static void
end_world(struct world *w)
{
    issuer_cache_clear(&w->issuers);
    for (size_t a = 0; a < ACCOUNTS && w->registry[a] != NULL; a++) {
        registry_close(w->registry[a]);
        w->registry[a] = NULL;
        (void)dir_remove(w->dir[a], NULL);
    }
}

static void
begin_world(struct world *w)
{
    const char *top = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    for (size_t a = 0; a < ACCOUNTS; a++) {
        struct registry_options o = { .dir = w->dir[a] };

        (void)snprintf(w->dir[a], sizeof w->dir[a], "%s/bm-fuzz-admit-XXXXXX", top);
        need(mkdtemp(w->dir[a]) != NULL, "a folder");
        need(registry_open(&o, &w->registry[a], NULL) == BM_OK, "a registry");
        for (size_t i = 0; i < sizeof cas / sizeof *cas; i++) {
            if ((cas[i].accounts & 1u << a) != 0) {
                add_ca(w->registry[a], i);
            }
        }
    }
    w->inputs = 0;
}

/* Did a CA of the account that takes newcomers sign it, and is it in its dates? */
static bool
may_register(size_t account, const struct admit_request *rq)
{
    struct pki_cert *leaf = NULL;
    int64_t now = clock_wall_ms();
    bool good = false;

    if (pki_cert_from_der(rq->leaf_der, &leaf, NULL) != BM_OK) {
        return false;
    }
    for (size_t i = 0; !good && i < sizeof cas / sizeof *cas; i++) {
        struct pki_cert *ca = NULL;

        if ((cas[i].accounts & 1u << account) == 0 || !cas[i].active || !cas[i].open ||
            cas[i].has_template || (cas[i].sni_only && rq->sni == SNI_NONE)) {
            continue;
        }
        need(pki_cert_from_der(span_of(cas[i].der, cas[i].len), &ca, NULL) == BM_OK, "a CA");
        good = pki_cert_signed_by(leaf, ca, NULL) == BM_OK;
        pki_cert_free(ca);
    }
    good = good && pki_cert_not_before_ms(leaf) <= now && pki_cert_not_after_ms(leaf) >= now;
    pki_cert_free(leaf);
    return good;
}

/* A function's own, as libFuzzer gives no other place that lasts. */
static struct world *
the_world(void)
{
    static struct world w;

    return &w;
}

static void
at_end(void)
{
    end_world(the_world());
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = the_world();
    struct admit_request rq = { .client_id = span_str("dev-1"), .peer = span_str("127.0.0.1:1"),
        .issuers = &w->issuers };
    enum cause cause = CAUSE_NONE;
    size_t account;

    if (w->registry[0] == NULL) {
        (void)atexit(at_end);
    }
    if (w->registry[0] == NULL || w->inputs++ > INPUTS_MAX) {
        end_world(w);
        begin_world(w);
    }
    if (size == 0) {
        return 0;
    }
    rq.sni = (enum sni)(data[0] % (SNI_ACCOUNT + 1));
    rq.leaf_der = span_of(&data[1], size - 1);
    account = rq.sni == SNI_ACCOUNT ? ACCOUNTS - 1 : admit_account(w->registry, ACCOUNTS, &rq);
    need(account < ACCOUNTS, "an account");
    need(admit_decide(w->registry[account], "000000000000", &rq, &cause, NULL) == BM_OK,
        "a decision");
    need(cause > CAUSE_NONE && cause < CAUSE_COUNT, "a cause");
    if (cause == CAUSE_REGISTERED_JITR) {
        need(may_register(account, &rq), "registered although nobody open signed it");
        need(admit_decide(w->registry[account], "000000000000", &rq, &cause, NULL) == BM_OK &&
                 cause == CAUSE_PENDING,
            "and PENDING from then on");
    }
    need(cause != CAUSE_ADMITTED, "admitted although nobody set it ACTIVE");
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: job file, journal and manifest; the first byte says which. */
#include "factory/chips.h"
#include "factory/job.h"
#include "factory/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A certificate to check signatures with: made once, and any will do. */
static struct pki_cert *
log_certificate(void)
{
    static const char pem[] = "-----BEGIN CERTIFICATE-----\n"
                              "MIIBJjCBzAIUIIjX4ZIMhXTX3i3nITUFtGk0Nb4wCgYIKoZIzj0EAwIwFjEUMBIG\n"
                              "A1UEAwwLRGVtbyBDQSBOWFAwHhcNMjYxMTIzMDA1NTQyWhcNMzYxMTIwMDA1NTQy\n"
                              "WjAVMRMwEQYDVQQDDApJb1QgZGV2aWNlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD\n"
                              "QgAEdk3787UUD47eFt9h6fFDImS262I/LhnCBfukpa9SQxhTQFCDm3lVyZA7L3ei\n"
                              "SRu77rJbkMp2mUdM/D3FjalKRjAKBggqhkjOPQQDAgNJADBGAiEA+VuxSo3u3hPZ\n"
                              "FwOq1C2cLMlQnqNwxrJGEkDMFIXRyEICIQD2UyG1MUQMglSYk1flOY+r4S+t3IjW\n"
                              "lhK54ohW2XDxsQ==\n"
                              "-----END CERTIFICATE-----\n";
    struct pki_cert *c = NULL;

    if (pki_cert_from_pem(span_str(pem), &c, NULL) != BM_OK)
        abort();
    return c;
}

static void
try_job(struct span text)
{
    struct job job;
    struct buf lines = { 0 };

    if (job_parse(text, "/nowhere", &job, NULL) != BM_OK)
        return;
    if (job.count == 0 || job.slot > 3 || job.name[0] == '\0')
        abort();
    job_irreversible(&job, &lines);
    buf_fini(&lines);
    job_fini(&job);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of(data, size);
    struct pki_cert *log;
    struct chips *chips;
    struct journal_end end;

    if (size == 0)
        return 0;
    text = span_of(data + 1, size - 1);
    if (data[0] == 'J') {
        try_job(text);
        return 0;
    }
    log = log_certificate();
    if (data[0] == 'A' && chips_new(10, &chips, NULL) == BM_OK) {
        if (journal_read(text, log, chips_replay, chips, &end, NULL) == BM_OK &&
            end.good_bytes > text.len)
            abort();
        chips_free(chips);
    } else if (data[0] == 'M' && manifest_check(text, log, NULL, NULL) == BM_OK && text.len > 0) {
        abort(); /* nobody has signed it */
    }
    pki_cert_free(log);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fill the registry of a state folder with N certificates, each the DER in FILE with another serial
 * number, whose 8 bytes 1122334455667788 are found there; print SAMPLE of their ids. With POLICY, a
 * document, these have it attached.
 * usage: bench_api_fill DIR FILE N SAMPLE [POLICY]
 */
#include "base/file.h"
#include "registry/registry.h"
#include "registry/table.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 20000, DER_MAX = 65536 };
static const char POLICY[] = "bench";

static uint8_t *
find_serial(struct buf *der)
{
    static const uint8_t serial[8] = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 };

    return memmem(der->ptr, der->len, serial, sizeof serial);
}

static enum bm_err
attach(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], struct bm_msg *msg)
{
    struct registry_target t = { 0 };

    memcpy(t.cert_id, id, sizeof t.cert_id);
    return registry_policy_attach(r, POLICY, &t, msg);
}

static enum bm_err
fill(struct registry *r, struct buf *der, unsigned long count, unsigned long sample,
    bool with_policy, struct bm_msg *msg)
{
    struct registry_cert c = {
        .status = CERT_ACTIVE, .mode = MODE_SNI_ONLY, .not_after_ms = INT64_C(4102444800000)
    };
    uint8_t *serial = find_serial(der);
    enum bm_err err = BM_OK;

    if (serial == NULL)
        return bm_fail(
            msg, BM_ERR_INPUT, "the template has not the serial number 1122334455667788");
    buf_add(&c.der, der->ptr, der->len);
    serial = c.der.ptr + (serial - der->ptr);
    for (unsigned long i = 0; err == BM_OK && i < count; i++) {
        for (unsigned k = 0; k < 4; k++)
            serial[4 + k] = (uint8_t)(i >> (24 - 8 * k));
        (void)SHA256(c.der.ptr, c.der.len, c.id);
        err = registry_cert_insert(r, &c, msg);
        if (err == BM_OK && i % (count / sample > 0 ? count / sample : 1) == 0) {
            char hex[65];

            hex_encode(hex, c.id, sizeof c.id);
            (void)puts(hex);
            if (with_policy)
                err = attach(r, c.id, msg);
        }
        if (err == BM_OK && i % BATCH == BATCH - 1)
            err = registry_commit(r, msg);
    }
    registry_cert_fini(&c);
    return err == BM_OK ? registry_commit(r, msg) : err;
}

int
main(int argc, char **argv)
{
    struct registry_options ro = { .bulk = true };
    struct registry *r = NULL;
    struct buf der = { 0 };
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: bench_api_fill DIR FILE N SAMPLE [POLICY]\n");
        return 2;
    }
    ro.dir = argv[1];
    err = file_read(argv[2], DER_MAX, &der, &msg);
    if (err == BM_OK)
        err = table_resume(argv[1], &ro.table, &msg);
    if (err == BM_OK)
        err = registry_open(&ro, &r, &msg);
    if (err == BM_OK && argc == 6)
        err = registry_policy_create(r, POLICY, span_str(argv[5]), &msg);
    if (err == BM_OK)
        err =
            fill(r, &der, strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10), argc == 6, &msg);
    registry_close(r);
    table_close(ro.table);
    buf_fini(&der);
    if (err != BM_OK)
        fprintf(stderr, "bench_api_fill: %s\n", msg.text);
    return err == BM_OK ? 0 : 1;
}

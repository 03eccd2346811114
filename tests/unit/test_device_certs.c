/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of a device's certificates: which are its own and in which order, what is remembered
 * of them, what a CA may answer to a request, and that power may be cut at every write of putting
 * a new one into the chip.
 */
#include "device/known.h"
#include "device/renew.h"
#include "host/host.h"

#include "base/clock.h"
#include "base/file.h"
#include "certs.h"
#include "chip/chip.h"
#include "chip/nvm.h"

#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { DAY = 86400 };

/* A device with a leaf that ends in three days, its issuer, and a chip on memory. */
struct world {
    struct a71ch host; /* first: its link is what the exchange gets */
    struct nvm_mem mem;
    struct chip *chip;
    struct made root, issuer, old, newer, other;
    struct identity id;
    char dir[40];
};

/* ---- the chip ---- */

static enum bm_err
to_chip(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg)
{
    struct world *w = (struct world *)(void *)l;

    (void)timeout_ms;
    *answer = (struct jrcp_msg){ .mty = request->mty };
    if (request->mty == JRCP_DEBUG_INFO) /* no leases here */
        return BM_OK;
    if (w->mem.cut.off)
        return bm_fail(msg, BM_ERR_CLOSED, "power is off");
    *answer = (struct jrcp_msg){ .mty = JRCP_APDU,
        .payload = span_of(room, chip_apdu(w->chip, request->payload, room)) };
    return BM_OK;
}

static void
power_up(struct world *w)
{
    static const uint8_t select[] = { 0, 0xa4, 4, 0, 5, 'a', '7', '1', 'c', 'h', 0 };
    uint8_t rsp[A71CH_APDU_RSP_MAX];
    size_t len = sizeof rsp;
    struct bm_msg msg = { "" };

    chip_close(w->chip);
    w->mem.cut = (struct nvm_cut){ 0 };
    if (chip_open_store(nvm_store_mem(&w->mem), &w->chip, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    w->host = (struct a71ch){ .link = { .fd = -1, .name = "the chip" }, .exchange = to_chip };
    assert_int_equal(a71ch_transceive(&w->host, select, sizeof select, rsp, &len), A71CH_OK);
}

static void
put(struct world *w, const struct made *m, uint8_t index)
{
    struct buf der = { 0 };

    certs_der(m, &der);
    assert_int_equal(
        a71ch_object_write(&w->host, A71CH_CERTIFICATE, index, der.ptr, der.len, 0), A71CH_OK);
    buf_fini(&der);
}

/* Is it among what the chip stores? */
static bool
chip_has(struct world *w, X509 *x)
{
    STACK_OF(X509) *found = sk_X509_new_null();
    uint8_t index[64];
    bool yes = false;

    assert_int_equal(identity_read_chip(&w->host, found, index, 64), A71CH_OK);
    for (int i = 0; i < sk_X509_num(found); i++)
        yes = yes || X509_cmp(sk_X509_value(found, i), x) == 0;
    sk_X509_pop_free(found, X509_free);
    return yes;
}

/* ---- the world ---- */

/* What the device knows: these certificates. */
static void
knows(struct world *w, size_t count, const struct made *const *list)
{
    sk_X509_pop_free(w->id.found, X509_free);
    w->id.found = sk_X509_new_null();
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(X509_up_ref(list[i]->cert), 1);
        assert_true(sk_X509_push(w->id.found, list[i]->cert) > 0);
    }
    chain_build(w->id.found, w->id.keys, w->id.key_count, 0, &w->id.chain);
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    if (w == NULL)
        return -1;
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/birthmark-certs.XXXXXX");
    if (mkdtemp(w->dir) == NULL)
        return -1;
    power_up(w);
    w->root = certs_make(&(struct make){ .name = "Root", .ca = true });
    w->issuer = certs_make(&(struct make){ .name = "CA", .ca = true, .issuer = &w->root });
    w->old = certs_make(
        &(struct make){ .name = "d1", .issuer = &w->issuer, .from_s = -7200, .to_s = 3 * DAY });
    w->newer = certs_make(&(struct make){
        .name = "d1", .issuer = &w->issuer, .key_of = &w->old, .from_s = -3600, .to_s = 90 * DAY });
    w->other = certs_make(&(struct make){ .name = "d2", .issuer = &w->issuer });
    w->id.keys[0] = w->id.key = w->old.key;
    w->id.key_count = 1;
    knows(w, 2, (const struct made *[]){ &w->old, &w->issuer });
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    struct made *all[] = { &w->root, &w->issuer, &w->old, &w->newer, &w->other };

    (void)!dir_remove(w->dir, NULL);
    chip_close(w->chip);
    buf_fini(&w->mem.bytes);
    sk_X509_pop_free(w->id.found, X509_free);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        certs_fini(all[i]);
    free(w);
    return 0;
}

static void
add_pem(struct buf *out, const struct made *m)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len;

    assert_int_equal(PEM_write_bio_X509(b, m->cert), 1);
    len = BIO_get_mem_data(b, &text);
    buf_add(out, text, (size_t)len);
    BIO_free(b);
}

/* ---- chain ---- */

static void
a_heap_of_certificates_becomes_leaf_and_issuers(void **state)
{
    struct world *w = *state;
    const struct made *orders[][5] = {
        { &w->old, &w->issuer, &w->root, &w->other, NULL },
        { &w->root, &w->other, &w->issuer, &w->old, NULL },
        { &w->issuer, &w->issuer, &w->old, &w->old, NULL },
    };

    for (size_t i = 0; i < 3; i++) {
        size_t n = 0;

        while (orders[i][n] != NULL)
            n++;
        knows(w, n, orders[i]);
        assert_int_equal(w->id.chain.leaf_count, 1);
        assert_ptr_equal(w->id.chain.leaves[0], w->old.cert);
        assert_true(w->id.chain.issuer_count >= 1);
        assert_int_equal(X509_cmp(w->id.chain.issuers[0], w->issuer.cert), 0);
        assert_int_equal(w->id.chain.issuer_count, i < 2 ? 2 : 1);
        assert_true(w->id.chain.complete);
        assert_int_equal(w->id.chain.in_order, i == 0);
        assert_int_equal(w->id.chain.strangers, i < 2 ? 1 : 0);
    }
    knows(w, 1, (const struct made *[]){ &w->old });
    assert_false(w->id.chain.complete);
    knows(w, 1, (const struct made *[]){ &w->other });
    assert_int_equal(w->id.chain.leaf_count, 0);
    assert_int_equal(w->id.chain.strangers, 1);
    knows(w, 0, NULL);
    assert_int_equal(w->id.chain.leaf_count, 0);
}

static void
the_newest_leaf_comes_first_whichever_key_it_is_for(void **state)
{
    struct world *w = *state;
    struct made second = certs_make(
        &(struct make){ .name = "d1", .issuer = &w->issuer, .from_s = -60, .to_s = DAY });

    w->id.keys[1] = second.key;
    w->id.key_count = 2;
    knows(w, 4, (const struct made *[]){ &w->old, &second, &w->newer, &w->issuer });
    assert_int_equal(w->id.chain.leaf_count, 3);
    assert_ptr_equal(w->id.chain.leaves[0], second.cert);
    assert_int_equal(w->id.chain.key_of[0], 1);
    assert_ptr_equal(w->id.chain.leaves[1], w->newer.cert);
    assert_int_equal(w->id.chain.key_of[1], 0);
    assert_ptr_equal(w->id.chain.leaves[2], w->old.cert);
    assert_ptr_equal(identity_leaf(&w->id, 9), w->old.cert);
    w->id.key_count = 1;
    w->id.chain = (struct chain){ .leaf_count = 0 };
    certs_fini(&second);
}

/* ---- what is remembered ---- */

static void
what_is_remembered_comes_back_whole_or_not_at_all(void **state)
{
    struct world *w = *state;
    struct known k = { .passed_ms = 1795000000000 };
    struct known back;
    struct bm_msg msg = { "" };
    char path[80];

    assert_int_equal(known_read(w->dir, &back, &msg), BM_OK);
    assert_int_equal(back.passed_ms, 0);
    memset(k.admitted, 'a', 64);
    memset(k.server_id, 'b', 64);
    assert_int_equal(known_write(w->dir, &k, &msg), BM_OK);
    assert_int_equal(known_read(w->dir, &back, &msg), BM_OK);
    assert_memory_equal(&back, &k, sizeof k);
    (void)snprintf(path, sizeof path, "%s/known.json", w->dir);
    assert_int_equal(file_write(path, span_str("{\"passed\":17"), 0600, NULL), BM_OK);
    assert_int_equal(known_read(w->dir, &back, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "known.json is damaged"));
    assert_int_equal(back.passed_ms, 0);
    assert_int_equal(known_write(w->dir, &k, &msg), BM_OK);
    assert_int_equal(known_read(w->dir, &back, &msg), BM_OK);
    assert_int_equal(known_write("/proc/nowhere", &k, &msg), BM_ERR_IO);
}

static void
what_nobody_wrote_is_left_out(void **state)
{
    static const struct {
        const char *text;
        enum bm_err err;
        int64_t passed_ms;
        bool admitted;
    } cases[] = {
        { "{}", BM_OK, 0, false },
        { "[]", BM_ERR_INPUT, 0, false },
        { "", BM_ERR_INPUT, 0, false },
        { "{\"passed\":-5}", BM_OK, 0, false },
        { "{\"passed\":\"5\"}", BM_OK, 0, false },
        { "{\"passed\":5,\"passed\":6}", BM_ERR_INPUT, 0, false },
        { "{\"passed\":5,\"admitted\":\"abc\"}", BM_OK, 5, false },
        { "{\"admitted\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}",
            BM_OK, 0, true },
        { "{\"admitted\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg\"}",
            BM_OK, 0, false },
        { "{\"admitted\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0\"}",
            BM_OK, 0, false },
    };
    struct known k;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(known_parse(span_str(cases[i].text), &k, NULL), cases[i].err);
        assert_int_equal(k.passed_ms, cases[i].passed_ms);
        assert_int_equal(k.admitted[0] != '\0', cases[i].admitted);
    }
}

/* ---- request and answer ---- */

static void
a_request_has_the_subject_and_proves_the_key(void **state)
{
    struct world *w = *state;
    struct buf pem = { 0 };
    struct bm_msg msg = { "" };
    BIO *in;
    X509_REQ *csr;
    X509 *beside;

    assert_true(renew_due(&w->id, clock_wall_ms(), 4));
    assert_false(renew_due(&w->id, clock_wall_ms(), 2));
    assert_int_equal(renew_request(&w->id, 0, 0, &pem, &msg), BM_OK);
    in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    csr = PEM_read_bio_X509_REQ(in, NULL, NULL, NULL);
    assert_non_null(csr);
    assert_int_equal(X509_REQ_verify(csr, w->old.key), 1);
    assert_int_equal(
        X509_NAME_cmp(X509_REQ_get_subject_name(csr), X509_get_subject_name(w->old.cert)), 0);
    beside = PEM_read_bio_X509(in, NULL, NULL, NULL);
    assert_non_null(beside);
    assert_int_equal(X509_cmp(beside, w->old.cert), 0);
    X509_free(beside);
    X509_REQ_free(csr);
    BIO_free(in);
    buf_fini(&pem);
}

static void
only_a_better_certificate_of_the_same_device_is_taken(void **state)
{
    struct world *w = *state;
    struct made stranger = certs_make(&(struct make){ .name = "CA", .ca = true });
    const struct make makes[] = {
        { .name = "d1", .issuer = &w->issuer, .key_of = &w->old, .from_s = -60, .to_s = 9 * DAY },
        { .name = "d1", .issuer = &w->issuer, .from_s = -60, .to_s = 9 * DAY },
        { .name = "d2", .issuer = &w->issuer, .key_of = &w->old, .from_s = -60, .to_s = 9 * DAY },
        { .name = "d1", .issuer = &w->issuer, .key_of = &w->old, .from_s = -60, .to_s = 2 * DAY },
        { .name = "d1", .issuer = &w->issuer, .key_of = &w->old, .from_s = -99, .to_s = -1 },
        { .name = "d1", .issuer = &w->issuer, .key_of = &w->old, .from_s = 600, .to_s = 9 * DAY },
        { .name = "d1", .issuer = &w->issuer, .key_of = &w->old, .from_s = -DAY, .to_s = 9 * DAY },
        { .name = "d1", .issuer = &stranger, .key_of = &w->old, .from_s = -60, .to_s = 9 * DAY },
    };
    static const char *const says[] = { "", "for the key of the request", "is for CN=d2",
        "no later than", "ended", "begins", "before the certificate in use did", "neither in it" };

    for (size_t i = 0; i < sizeof makes / sizeof *makes; i++) {
        struct made m = certs_make(&makes[i]);
        struct buf pem = { 0 };
        struct renew_answer a;
        struct bm_msg msg = { "" };
        enum bm_err err;

        add_pem(&pem, &m);
        err = renew_take(&w->id, 0, 0, buf_span(&pem), clock_wall_ms(), &a, &msg);
        assert_int_equal(err, i == 0 ? BM_OK : BM_ERR_CONFLICT);
        assert_non_null(strstr(msg.text, says[i]));
        if (i == 0)
            assert_int_equal(X509_cmp(a.leaf, m.cert), 0);
        renew_answer_fini(&a);
        buf_fini(&pem);
        certs_fini(&m);
    }
    certs_fini(&stranger);
}

static void
an_answer_brings_its_issuers_in_any_order(void **state)
{
    struct world *w = *state;
    struct made ca2 = certs_make(&(struct make){ .name = "CA G2", .ca = true, .issuer = &w->root });
    struct made m = certs_make(&(struct make){
        .name = "d1", .issuer = &ca2, .key_of = &w->old, .from_s = -60, .to_s = 9 * DAY });
    struct buf pem = { 0 };
    struct renew_answer a;

    buf_addf(&pem, "subject=/CN=root, as some CAs print it\n");
    add_pem(&pem, &w->root);
    add_pem(&pem, &m);
    add_pem(&pem, &ca2);
    assert_int_equal(renew_take(&w->id, 0, 0, buf_span(&pem), clock_wall_ms(), &a, NULL), BM_OK);
    assert_int_equal(a.issuer_count, 2);
    assert_int_equal(X509_cmp(a.issuers[0], ca2.cert), 0);
    assert_int_equal(X509_cmp(a.issuers[1], w->root.cert), 0);
    assert_int_equal(renew_store_chip(&w->host, &w->id, 0, &a, NULL), BM_OK);
    assert_true(chip_has(w, m.cert));
    assert_true(chip_has(w, ca2.cert));
    assert_false(chip_has(w, w->root.cert));
    renew_answer_fini(&a);
    buf_fini(&pem);
    certs_fini(&m);
    certs_fini(&ca2);
}

/* ---- storing ---- */

static void
take(struct world *w, const struct made *m, size_t in_use, struct renew_answer *a)
{
    struct buf pem = { 0 };
    struct bm_msg msg = { "" };

    add_pem(&pem, m);
    if (renew_take(&w->id, 0, in_use, buf_span(&pem), clock_wall_ms(), a, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    buf_fini(&pem);
}

static void
power_may_be_cut_at_every_write_of_a_renewal(void **state)
{
    struct world *w = *state;
    struct made former = certs_make(&(struct make){
        .name = "d1", .issuer = &w->issuer, .key_of = &w->old, .from_s = -DAY, .to_s = 3600 });
    struct buf start = { 0 };
    struct renew_answer a;
    unsigned cuts = 0;

    put(w, &former, 0);
    put(w, &w->issuer, 1);
    put(w, &w->old, 2);
    knows(w, 3, (const struct made *[]){ &former, &w->issuer, &w->old });
    take(w, &w->newer, 0, &a);
    chip_close(w->chip);
    w->chip = NULL;
    buf_add(&start, w->mem.bytes.ptr, w->mem.bytes.len);
    for (;; cuts++) {
        enum bm_err err;

        chip_close(w->chip);
        w->chip = NULL;
        w->mem.bytes.len = 0;
        buf_add(&w->mem.bytes, start.ptr, start.len);
        power_up(w);
        w->mem.cut = (struct nvm_cut){ .armed = true, .write = cuts / 2, .byte = cuts % 2 * 1000 };
        err = renew_store_chip(&w->host, &w->id, 0, &a, NULL);
        if (!w->mem.cut.off)
            break;
        assert_int_not_equal(err, BM_OK);
        power_up(w);
        assert_true(chip_has(w, w->old.cert));
        assert_true(chip_has(w, w->issuer.cert));
        assert_int_equal(renew_store_chip(&w->host, &w->id, 0, &a, NULL), BM_OK);
        assert_true(chip_has(w, w->newer.cert));
        assert_true(chip_has(w, w->old.cert));
        assert_false(chip_has(w, former.cert));
    }
    assert_true(cuts > 4);
    renew_answer_fini(&a);
    buf_fini(&start);
    certs_fini(&former);
}

static void
no_room_and_locked_storage_are_known_before_anybody_is_asked(void **state)
{
    struct world *w = *state;
    uint8_t block[3008] = { 1 };
    struct bm_msg msg = { "" };

    put(w, &w->old, 0);
    put(w, &w->issuer, 1);
    assert_int_equal(renew_room(&w->host, &w->id, 0, 500, &msg), BM_OK);
    assert_int_equal(a71ch_object_write(&w->host, A71CH_DATA, 0, block, sizeof block, 0), A71CH_OK);
    assert_int_equal(renew_room(&w->host, &w->id, 0, 500, &msg), BM_ERR_LIMIT);
    assert_non_null(strstr(msg.text, "room for"));
    /* a leaf that is neither the newest nor in use makes room */
    assert_int_equal(a71ch_object_erase(&w->host, A71CH_DATA, 0), A71CH_OK);
    assert_int_equal(a71ch_object_write(&w->host, A71CH_DATA, 0, block, sizeof block, 0), A71CH_OK);
    put(w, &w->newer, 2);
    knows(w, 3, (const struct made *[]){ &w->old, &w->newer, &w->issuer });
    assert_int_equal(renew_room(&w->host, &w->id, 1, 230, &msg), BM_ERR_LIMIT);
    assert_int_equal(renew_room(&w->host, &w->id, 0, 230, &msg), BM_OK);
    assert_int_equal(renew_make_room(&w->host, &w->id, 0, &msg), BM_OK);
    assert_false(chip_has(w, w->old.cert));
    assert_true(chip_has(w, w->newer.cert));
    assert_int_equal(a71ch_gp_freeze(&w->host, 4096 - 32, 32), A71CH_OK);
    assert_int_equal(renew_room(&w->host, &w->id, 0, 230, &msg), BM_ERR_DENIED);
    assert_non_null(strstr(msg.text, "locked; keep certificates in a file"));
}

static void
with_files_old_and_new_lie_side_by_side(void **state)
{
    struct world *w = *state;
    struct made third = certs_make(&(struct make){
        .name = "d1", .issuer = &w->issuer, .key_of = &w->old, .from_s = -60, .to_s = 200 * DAY });
    struct identity_options o = { .chip = false };
    struct identity *id = NULL;
    struct renew_answer a;
    enum cause cause;
    char cert[80];
    char key[80];
    struct bm_msg msg = { "" };

    certs_write(&w->old, w->dir, "d");
    (void)snprintf(cert, sizeof cert, "%s/d.pem", w->dir);
    (void)snprintf(key, sizeof key, "%s/d.key", w->dir);
    o.cert_file = cert;
    o.key_file = key;
    take(w, &w->newer, 0, &a);
    assert_int_equal(renew_store_file(cert, &w->id, 0, &a, &msg), BM_OK);
    renew_answer_fini(&a);
    assert_int_equal(identity_open(&o, 0, &id, &cause, &msg), BM_OK);
    assert_int_equal(id->chain.leaf_count, 2);
    assert_int_equal(X509_cmp(identity_leaf(id, 0), w->newer.cert), 0);
    assert_true(id->chain.complete); /* the issuer came along from the old file */
    identity_free(id);
    /* the newer one was let in: it becomes the file, the third one lies beside it */
    knows(w, 3, (const struct made *[]){ &w->old, &w->newer, &w->issuer });
    take(w, &third, 0, &a);
    assert_int_equal(renew_store_file(cert, &w->id, 0, &a, &msg), BM_OK);
    renew_answer_fini(&a);
    assert_int_equal(identity_open(&o, 0, &id, &cause, &msg), BM_OK);
    assert_int_equal(id->chain.leaf_count, 2);
    assert_int_equal(X509_cmp(identity_leaf(id, 0), third.cert), 0);
    assert_int_equal(X509_cmp(identity_leaf(id, 1), w->newer.cert), 0);
    identity_free(id);
    certs_fini(&third);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_heap_of_certificates_becomes_leaf_and_issuers, setup, teardown),
        cmocka_unit_test_setup_teardown(
            the_newest_leaf_comes_first_whichever_key_it_is_for, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_remembered_comes_back_whole_or_not_at_all, setup, teardown),
        cmocka_unit_test(what_nobody_wrote_is_left_out),
        cmocka_unit_test_setup_teardown(
            a_request_has_the_subject_and_proves_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(
            only_a_better_certificate_of_the_same_device_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_brings_its_issuers_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(
            power_may_be_cut_at_every_write_of_a_renewal, setup, teardown),
        cmocka_unit_test_setup_teardown(
            no_room_and_locked_storage_are_known_before_anybody_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(with_files_old_and_new_lie_side_by_side, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

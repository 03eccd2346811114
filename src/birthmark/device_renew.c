/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark device renew`: the next certificate, before the one in use ends.
 *
 *     look (is it due? is there room?) - key, when a new one is wanted - request, signed by the
 * chip
 *     - the CA's answer, held against the device - STATE/renewal.pem - stored beside the old one
 *
 * Cut off before the answer is in the state folder, it begins anew; afterwards it goes on from
 * there, so that a CA is asked once. `birthmark device run` starts it as a process of its own.
 */
#include "birthmark/device.h"

#include "base/clock.h"
#include "base/file.h"
#include "device/renew.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { BEFORE_DAYS = 30, TIMEOUT_S = 60, ASK_TIME_MS = 5000, MORE_THAN_NOW = 64 };

struct renewal {
    struct device_options *o;
    struct identity *id;
    struct known known;
    int64_t now_ms;
    size_t in_use;           /* leaf */
    size_t key;              /* of the new one */
    char path[PATH_MAX];     /* of the answer */
    char key_path[PATH_MAX]; /* which key was made for it */
    enum cause cause;
};

static int
failed(const struct renewal *r, enum bm_err err, const struct bm_msg *msg)
{
    fprintf(stderr, "birthmark device: %s\n", msg->text);
    if (r->id == NULL)
        return r->cause == CAUSE_DEVICE_KEY ? DEVICE_EXIT_KEY : DEVICE_EXIT_CHIP;
    return err == BM_ERR_MEM ? EXIT_FAILED : DEVICE_EXIT_RENEW;
}

static void
tell(const struct renewal *r, const char *what)
{
    X509 *leaf = identity_leaf(r->id, 0);
    char subject[200];
    char until[CLOCK_TEXT_LEN];

    if (r->o->quiet)
        return;
    chain_name(leaf, false, subject, sizeof subject);
    clock_text(until, chain_until_ms(leaf));
    printf("%s: %s, valid until %s\n", what, subject, until);
}

/* The system's clock, or what stands in for one that cannot be right (clock.h). */
static void
take_time(struct renewal *r)
{
    struct clock_facts f = { .system_ms = clock_wall_ms() + r->o->client.clock_offset_ms,
        .passed_ms = clock_built_ms() };
    struct clock_verdict v;

    if (r->known.passed_ms > f.passed_ms)
        f.passed_ms = r->known.passed_ms;
    v = clock_judge(&f);
    if (v.system != CLOCK_PLAUSIBLE && r->o->client.time_from != NULL &&
        clock_ask(r->o->client.time_from, ASK_TIME_MS, &f.server_ms, NULL) == BM_OK)
        v = clock_judge(&f);
    r->now_ms = v.now_ms;
}

static enum bm_err
look(struct renewal *r, struct bm_msg *msg)
{
    enum bm_err err;

    identity_free(r->id);
    err = identity_open(&r->o->client.identity, 0, &r->id, &r->cause, msg);
    if (err != BM_OK) {
        identity_free(r->id);
        r->id = NULL;
        return err;
    }
    r->in_use = renew_in_use(r->id, r->known.admitted);
    r->key = r->id->chain.key_of[r->in_use];
    return BM_OK;
}

static enum bm_err
open_chip(const struct renewal *r, a71ch **chip, struct bm_msg *msg)
{
    static const a71ch_options wait = { .connect_timeout_ms = 5000, .answer_timeout_ms = 10000 };
    a71ch_result res = a71ch_open(r->o->client.identity.address, &wait, chip);

    return res == A71CH_OK ? BM_OK
                           : bm_fail(msg, BM_ERR_IO, "chip: %.300s",
                                 *chip != NULL ? a71ch_message(*chip) : "out of memory");
}

/* ---- a new key ---- */

/* Another slot of the list than that of the leaf in use; it holds nothing that is needed. */
static enum bm_err
choose_slot(const struct renewal *r, unsigned *slot, struct bm_msg *msg)
{
    const struct identity_options *o = &r->o->client.identity;
    unsigned used = r->id->slots[r->id->chain.key_of[r->in_use]];
    unsigned newest = r->id->slots[r->id->chain.key_of[0]];
    unsigned listed = o->more_slots | 1u << o->slot;

    for (*slot = 0; *slot < CHAIN_KEYS_MAX; (*slot)++) {
        if ((listed & 1u << *slot) != 0 && *slot != used && *slot != newest)
            return BM_OK;
    }
    return bm_fail(msg, BM_ERR_CONFLICT,
        used != newest
            ? "the newest certificate was not let in yet, and its key and that of the one in use "
              "are all that --slot lists; try again when it was"
            : "--new-key wants a second slot for it: --slot %u,%u",
        used, used == 0 ? 1 : 0);
}

/* "SLOT HASH": the key of a slot, for a later run. */
static bool
key_mark(const struct renewal *r, unsigned slot, size_t *key, char out[80])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char *der = NULL;
    char hex[65] = "";
    int len;

    for (*key = 0; *key < r->id->key_count && r->id->slots[*key] != slot; (*key)++)
        ;
    if (*key == r->id->key_count)
        return false;
    len = i2d_PUBKEY(r->id->keys[*key], &der);
    if (len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1)
        hex_encode(hex, digest, 32);
    OPENSSL_free(der);
    (void)snprintf(out, 80, "%u %s\n", slot, hex);
    return hex[0] != '\0';
}

static bool
was_made_for_this(const struct renewal *r, const char *mark)
{
    struct buf text = { 0 };
    bool yes = access(r->key_path, F_OK) == 0 && file_read(r->key_path, 80, &text, NULL) == BM_OK &&
               span_eq(buf_span(&text), span_str(mark));

    buf_fini(&text);
    return yes;
}

static enum bm_err
generate(const struct renewal *r, unsigned slot, struct bm_msg *msg)
{
    a71ch *chip = NULL;
    enum bm_err err = open_chip(r, &chip, msg);

    if (err == BM_OK && r->o->client.identity.cert_file == NULL)
        err = renew_make_room(chip, r->id, r->in_use, msg);
    if (err == BM_OK && a71ch_pair_generate(chip, slot) != A71CH_OK)
        err =
            bm_fail(msg, BM_ERR_STATUS, "no new key in slot %u: %.300s", slot, a71ch_message(chip));
    a71ch_close(chip);
    return err;
}

/* Once for a renewal, however often the CA is asked. */
static enum bm_err
make_key(struct renewal *r, struct bm_msg *msg)
{
    unsigned slot = 0;
    char mark[80];
    enum bm_err err = choose_slot(r, &slot, msg);

    if (err == BM_OK && key_mark(r, slot, &r->key, mark) && was_made_for_this(r, mark))
        return BM_OK;
    if (err == BM_OK)
        err = generate(r, slot, msg);
    if (err == BM_OK)
        err = look(r, msg);
    if (err == BM_OK && !key_mark(r, slot, &r->key, mark))
        err = bm_fail(msg, BM_ERR_INTERNAL, "the new key in slot %u is not there", slot);
    return err == BM_OK ? file_write(r->key_path, span_str(mark), 0600, msg) : err;
}

/* ---- steps ---- */

static enum bm_err
check_room(const struct renewal *r, struct bm_msg *msg)
{
    int len = i2d_X509(identity_leaf(r->id, r->in_use), NULL);
    a71ch *chip = NULL;
    enum bm_err err;

    if (r->o->client.identity.cert_file != NULL)
        return BM_OK;
    err = open_chip(r, &chip, msg);
    if (err == BM_OK)
        err = renew_room(chip, r->id, r->in_use, (size_t)len + MORE_THAN_NOW, msg);
    a71ch_close(chip);
    return err;
}

static enum bm_err
store(struct renewal *r, const struct renew_answer *a, struct bm_msg *msg)
{
    const char *file = r->o->client.identity.cert_file;
    a71ch *chip = NULL;
    enum bm_err err;

    if (file != NULL)
        return renew_store_file(file, r->id, r->in_use, a, msg);
    err = open_chip(r, &chip, msg);
    if (err == BM_OK)
        err = renew_store_chip(chip, r->id, r->in_use, a, msg);
    a71ch_close(chip);
    return err;
}

/* Ask; what comes is durable before it is used. */
static enum bm_err
ask(struct renewal *r, struct bm_msg *msg)
{
    int64_t timeout_ms = (r->o->timeout_s > 0 ? r->o->timeout_s : TIMEOUT_S) * 1000;
    struct buf request = { 0 };
    struct buf answer = { 0 };
    struct renew_answer a = { 0 };
    enum bm_err err = renew_request(r->id, r->key, r->in_use, &request, msg);

    if (err == BM_OK)
        err = r->o->renew_url != NULL
                  ? device_ask_url(r->o, r->id, buf_span(&request), timeout_ms, &answer, msg)
                  : device_ask_command(
                        r->o->renew_command, buf_span(&request), timeout_ms, &answer, msg);
    if (err == BM_OK)
        err = renew_take(r->id, r->key, r->in_use, buf_span(&answer), r->now_ms, &a, msg);
    if (err == BM_OK)
        err = file_write(r->path, buf_span(&answer), 0600, msg);
    renew_answer_fini(&a);
    buf_fini(&request);
    buf_fini(&answer);
    return err;
}

/* Store the answer in the state folder. BM_ERR_NOT_FOUND: there is none that fits. */
static enum bm_err
finish(struct renewal *r, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct renew_answer a = { 0 };
    enum bm_err err = BM_ERR_NOT_FOUND;

    if (access(r->path, F_OK) == 0 && file_read(r->path, RENEW_ANSWER_MAX, &text, msg) == BM_OK) {
        /* the key may be any: that of the request is known no more */
        for (size_t k = 0; err != BM_OK && k < r->id->key_count; k++)
            err = renew_take(r->id, k, r->in_use, buf_span(&text), r->now_ms, &a, msg);
        if (err != BM_OK)
            err = BM_ERR_NOT_FOUND;
    }
    if (err == BM_OK)
        err = store(r, &a, msg);
    if (err == BM_OK || err == BM_ERR_NOT_FOUND)
        (void)unlink(r->path);
    if (err == BM_OK)
        (void)unlink(r->key_path);
    renew_answer_fini(&a);
    buf_fini(&text);
    return err;
}

/* Of several leaves one has to be known to work before another one may go. */
static enum bm_err
check_history(const struct renewal *r, struct bm_msg *msg)
{
    char hex[65];

    chain_id(r->id->chain.leaves[r->in_use], hex);
    if (r->o->force || r->id->chain.leaf_count == 1 || strcmp(hex, r->known.admitted) == 0)
        return BM_OK;
    return bm_fail(msg, BM_ERR_CONFLICT,
        "of the device's %zu certificates none is known in %s to have been let in; connect once "
        "with --state %s, or say --force to go by the newest",
        r->id->chain.leaf_count, r->o->state, r->o->state);
}

static enum bm_err
renew(struct renewal *r, struct bm_msg *msg)
{
    enum bm_err err = finish(r, msg);

    if (err != BM_ERR_NOT_FOUND)
        return err;
    err = check_history(r, msg);
    if (err == BM_OK)
        err = check_room(r, msg);
    if (err == BM_OK && r->o->new_key)
        err = make_key(r, msg);
    if (err == BM_OK)
        err = ask(r, msg);
    return err == BM_OK ? finish(r, msg) : err;
}

/* One renewal at a time for a device. */
static int
take_lock(const char *dir)
{
    char path[PATH_MAX];
    int fd;

    if (snprintf(path, sizeof path, "%s/renewal.lock", dir) >= (int)sizeof path)
        return -1;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static int
run(struct renewal *r, struct bm_msg *msg)
{
    unsigned days = r->o->renew_before > 0 ? (unsigned)r->o->renew_before : BEFORE_DAYS;
    enum bm_err err = look(r, msg);

    if (err == BM_OK && !r->o->force && !renew_due(r->id, r->now_ms, days) &&
        access(r->path, F_OK) != 0) {
        tell(r, "not due");
        return EXIT_DONE;
    }
    if (err == BM_OK)
        err = renew(r, msg);
    if (err == BM_OK)
        err = look(r, msg);
    if (err != BM_OK)
        return failed(r, err, msg);
    tell(r, "renewed");
    return EXIT_DONE;
}

int
device_renew(struct device_options *o)
{
    struct renewal r = { .o = o };
    struct bm_msg msg = { "out of memory" };
    int lock;
    int code;

    if (o->renew_command == NULL && o->renew_url == NULL)
        return cmd_misuse("device", "renew wants --renew-command or --renew-url");
    if (o->new_key && o->client.identity.key_file != NULL)
        return cmd_misuse("device", "--new-key makes keys in a chip: --chip");
    if (!device_state_needed(o))
        return EXIT_USAGE;
    if (dir_make(o->state, 0700, &msg) != BM_OK ||
        snprintf(r.path, sizeof r.path, "%s/renewal.pem", o->state) >= (int)sizeof r.path ||
        snprintf(r.key_path, sizeof r.key_path, "%s/renewal.key", o->state) >=
            (int)sizeof r.key_path) {
        fprintf(stderr, "birthmark device: %s\n", msg.text);
        return EXIT_FAILED;
    }
    lock = take_lock(o->state);
    if (lock < 0) {
        fprintf(stderr, "birthmark device: another renewal is under way in %s\n", o->state);
        return EXIT_BUSY;
    }
    (void)!known_read(o->state, &r.known, NULL);
    take_time(&r);
    code = run(&r, &msg);
    identity_free(r.id);
    (void)close(lock);
    return code;
}

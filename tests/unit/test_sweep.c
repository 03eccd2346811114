/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault sweep: every fault of the simulator, at every frame or exchange of an operation of
 * liba71ch, over I2C and over the socket link, in the clear and under SCP03. Each run ends with the
 * right answer or with an error that says why; never with a wrong answer, and never not at all.
 * After it the chip holds the state before or after, and the next connection works.
 *
 * What no host can notice is left out: a wrong bit of data in the clear, for the links have no
 * checksum. Under SCP03 nothing is left out.
 *
 * And what the kernel may refuse is said with its cure.
 *
 * Library, daemon and chip run in this one process, on a clock that stands still but when somebody
 * sleeps (the linker wraps the system calls), so a run takes well below a millisecond. The suite
 * tries a few places for each damaged byte; BIRTHMARK_SWEEP=full tries many more.
 */
#include "a71ch.h"
#include "a71chd/i2c.h"
#include "a71chd/server.h"
#include "base/file.h"
#include "base/log.h"
#include "chip/state.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/evp.h>

#define DEVICE "/dev/i2c-sweep"
#define SOCKET "/sweep"
/* RFC 6979 A.2.5, and the base point of P-256 */
#define PRIV "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
#define PUB                                                                                        \
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"                           \
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
#define BASE                                                                                       \
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"                           \
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"

enum { OUT_MAX = 512, GP_LEN = 100, STATE_LEN = 4 + GP_LEN, ROUNDS_MAX = 200000 };
enum channel { CLEAR, SCP03 };

static const a71ch_scp_keys keys = { .enc = { 1, 2, 3 }, .mac = { 4, 5, 6 }, .dek = { 7, 8, 9 } };

/* One chip and whatever serves it. */
static struct world {
    OSSL_LIB_CTX *lib;
    struct loop *loop;
    struct nvm_mem factory; /* the chip as each run finds it */
    struct nvm_mem mem;
    struct sim_options options;
    struct backend *backend;
    struct i2c *bus;       /* I2C, or */
    int idle;              /* its listener, to whom nobody comes */
    struct server *server; /* sockets */
    struct chips *chips;
    int device;            /* open descriptor, or -1 */
    unsigned long refused; /* ioctl that fails with this errno; 0: open does */
    int refusal;           /* 0: none */
    unsigned long lacks;   /* functions that the adapter does not have */
    int64_t now_us;        /* of the clock */
    unsigned rounds;
} w;

/* ---- the system, as far as the library sees it ---- */

int __real_open64(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
ssize_t __real_write(int fd, const void *data, size_t len);
int __real_flock(int fd, int operation);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __real_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_flock(int fd, int operation);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);

static void
stop(void *arg)
{
    loop_stop(arg);
}

/* What the daemon has to do now, it does. */
static void
serve(int64_t us)
{
    w.now_us += us;
    if (++w.rounds > ROUNDS_MAX)
        fail_msg("no end after %d rounds and %lld virtual seconds", ROUNDS_MAX,
            (long long)w.now_us / 1000000);
    if (w.backend == NULL || loop_after(w.loop, 0, stop, w.loop) == NULL)
        return;
    assert_int_equal(loop_run(w.loop), BM_OK);
}

int
__wrap_open64(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    if (strcmp(path, DEVICE) == 0 && w.refusal != 0 && w.refused == 0) {
        errno = w.refusal;
        return -1;
    }
    if (strcmp(path, DEVICE) == 0)
        return w.device = eventfd(0, EFD_CLOEXEC);
    va_start(ap, flags);
    mode = va_arg(ap, mode_t);
    va_end(ap);
    return __real_open64(path, flags, mode);
}

int
__wrap_open(const char *path, int flags, ...)
{
    return __wrap_open64(path, flags, 0600);
}

static int
transact(const struct i2c_msg *m, size_t count)
{
    static uint8_t in[I2CBUS_PACKET_MAX];
    static uint8_t out[I2CBUS_PACKET_MAX];
    struct wr request = wr_of(in, sizeof in);
    struct rd answer;
    uint8_t result;

    for (size_t i = 0; i < count; i++) {
        struct i2cbus_message one = { .address = (uint8_t)m[i].addr,
            .flags = (m[i].flags & I2C_M_RD) != 0 ? I2CBUS_READ_BLOCK : I2CBUS_WRITE };

        if (one.flags == I2CBUS_WRITE)
            one.data = span_of(m[i].buf, m[i].len);
        assert_int_equal(i2cbus_message_build(&request, &one), BM_OK);
    }
    answer = rd_of(span_of(out, i2c_transact(w.bus, span_of(in, wr_len(&request)), out)));
    result = rd_u8(&answer);
    (void)rd_u8(&answer);
    for (size_t i = 0; i < count && result == I2CBUS_DONE; i++) {
        if ((m[i].flags & I2C_M_RD) != 0) {
            struct span got = rd_span(&answer, rd_u16(&answer));

            assert_true(got.len <= m[i].len);
            memcpy(m[i].buf, got.ptr, got.len);
        }
    }
    serve(300);
    switch (result) { /* as the kernel says it */
    case I2CBUS_DONE:
        return (int)count;
    case I2CBUS_NO_SLAVE:
        errno = ENXIO;
        return -1;
    case I2CBUS_REFUSED:
        errno = EREMOTEIO;
        return -1;
    case I2CBUS_BAD_LENGTH:
        errno = EPROTO;
        return -1;
    default:
        errno = EINVAL;
        return -1;
    }
}

int
__wrap_ioctl(int fd, unsigned long request, ...)
{
    const struct i2c_rdwr_ioctl_data *all;
    void *arg;
    va_list ap;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (fd != w.device)
        return __real_ioctl(fd, request, arg);
    if (w.refusal != 0 && request == w.refused) {
        serve(1000);
        errno = w.refusal;
        return -1;
    }
    if (request == I2C_FUNCS)
        *(unsigned long *)arg = (I2C_FUNC_I2C | I2C_FUNC_SMBUS_READ_BLOCK_DATA) & ~w.lacks;
    if (request != I2C_RDWR)
        return 0;
    all = arg;
    return transact(all->msgs, all->nmsgs);
}

ssize_t
__wrap_write(int fd, const void *data, size_t len)
{
    uint8_t copy[300];
    struct i2c_msg m = { .addr = 0x48, .len = (uint16_t)len, .buf = copy };

    if (fd != w.device || w.bus == NULL)
        return __real_write(fd, data, len);
    assert_true(len <= sizeof copy);
    memcpy(copy, data, len);
    return transact(&m, 1) == 1 ? (ssize_t)len : -1;
}

int
__wrap_flock(int fd, int operation)
{
    return fd == w.device ? 0 : __real_flock(fd, operation);
}

int
__wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
    (void)left;
    serve(t->tv_sec * 1000000 + t->tv_nsec / 1000);
    return 0;
}

int
__wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    (void)clock;
    *out = (struct timespec){ .tv_sec = w.now_us / 1000000, .tv_nsec = w.now_us % 1000000 * 1000 };
    return 0;
}

int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    int64_t end = w.now_us + (int64_t)timeout * 1000;

    for (;;) {
        int ready;

        serve(0);
        ready = __real_poll(fds, count, 0);
        if (ready != 0 || w.now_us >= end)
            return ready;
        w.now_us += 200000;
    }
}

int
__wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)to;
    struct bm_msg msg = { "" };
    int pair[2];

    if (to->sa_family != AF_UNIX || strcmp(un->sun_path, SOCKET) != 0)
        return __real_connect(fd, to, len);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_true(dup2(pair[0], fd) == fd);
    (void)close(pair[0]);
    if (server_attach(w.server, pair[1], &msg) != BM_OK)
        fail_msg("%s", msg.text);
    return 0;
}

/* ---- chips ---- */

static void
copy_mem(struct nvm_mem *to, const struct nvm_mem *from)
{
    buf_fini(&to->bytes);
    *to = (struct nvm_mem){ .has_key = from->has_key };
    memcpy(to->key, from->key, sizeof to->key);
    buf_add(&to->bytes, from->bytes.ptr, from->bytes.len);
    assert_false(to->bytes.failed);
}

static struct chip *
open_chip(struct nvm_mem *mem)
{
    struct chip *chip;
    struct bm_msg msg = { "" };

    if (chip_open_store_shared(nvm_store_mem(mem), w.lib, &chip, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    return chip;
}

/* Run one command, given as hex, which the chip must take. */
static void
run(struct chip *chip, const char *hex)
{
    uint8_t rsp[APDU_RSP_MAX];
    uint8_t cmd[APDU_CMD_MAX];
    size_t len;

    assert_int_equal(hex_decode(cmd, strlen(hex) / 2, span_str(hex)), BM_OK);
    len = chip_apdu(chip, span_of(cmd, strlen(hex) / 2), rsp);
    assert_int_equal(rsp[len - 2], 0x90);
}

/*
 * What mutating operations change, counter 0 and the front of the storage, as a copy of the memory
 * has it: no session of ours is disturbed, and no channel needed.
 */
static void
stored_state(uint8_t out[STATE_LEN])
{
    struct wr state = wr_of(out, STATE_LEN);
    struct nvm_mem copy = { 0 };
    struct chip *chip;

    copy_mem(&copy, &w.mem);
    chip = open_chip(&copy);
    wr_span(&state, nvm_read(chip->nvm, IMG_COUNTER, 4));
    wr_span(&state, nvm_read(chip->nvm, IMG_GP, GP_LEN));
    chip_close(chip);
    buf_fini(&copy.bytes);
}

static void
make_factory(void)
{
    struct chip *chip = open_chip(&w.factory);
    char gp[10 + 2 * 255 + 1] = "80720000ff";

    for (size_t i = 0; i < 255; i++)
        (void)snprintf(&gp[10 + 2 * i], 3, "%02x", (unsigned)(i * 7 + 1) & 0x7f);
    run(chip, "00a4040005613731636800");
    run(chip, "8012000061" PRIV PUB "00");
    run(chip, "8022000041" PUB "00");
    run(chip, "8042000110"
              "000102030405060708090a0b0c0d0e0f"
              "00");
    run(chip, "8062000004"
              "00000005"
              "00");
    run(chip, gp);
    chip_close(chip);
}

/* ---- the world of one run ---- */

static void
world_open(const char *address, const char *rule)
{
    static const struct server_options server = {
        .deadline_s = 3600, .clients_max = 8, .group = PEER_NO_GROUP
    };
    struct bm_msg msg = { "" };

    copy_mem(&w.mem, &w.factory);
    w.options.faults.count = 0;
    if (rule != NULL && faults_add(&w.options.faults, rule, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    assert_int_equal(loop_new(&w.loop), BM_OK);
    assert_int_equal(backend_sim_of(w.loop, open_chip(&w.mem), &w.options, &w.backend), BM_OK);
    w.rounds = 0;
    w.device = -1;
    if (strncmp(address, "i2c:", 4) == 0) {
        w.idle = eventfd(0, EFD_CLOEXEC);
        assert_int_equal(i2c_new(w.loop, w.backend, w.idle, &w.bus), BM_OK);
        return;
    }
    assert_int_equal(chips_one(w.backend, &w.chips), BM_OK);
    assert_int_equal(server_new(w.loop, w.chips, &server, &w.server), BM_OK);
}

static void
world_close(void)
{
    i2c_free(w.bus);
    if (w.bus != NULL)
        (void)close(w.idle);
    server_free(w.server);
    if (w.chips != NULL)
        chips_free(w.chips);
    else
        backend_free(w.backend);
    loop_free(w.loop);
    w.bus = NULL;
    w.server = NULL;
    w.chips = NULL;
    w.backend = NULL;
}

/* ---- operations ---- */

struct result {
    uint8_t bytes[OUT_MAX];
    size_t len;
};

static void
put(struct result *r, const void *bytes, size_t len)
{
    memcpy(r->bytes, bytes, len);
    r->len = len;
}

static void
point(uint8_t out[A71CH_POINT_LEN], const char *hex)
{
    assert_int_equal(hex_decode(out, A71CH_POINT_LEN, span_str(hex)), BM_OK);
}

static a71ch_result
op_unique_id(a71ch *chip, struct result *r)
{
    r->len = A71CH_UID_LEN;
    return a71ch_get_unique_id(chip, r->bytes);
}

static a71ch_result
op_public_key(a71ch *chip, struct result *r)
{
    r->len = A71CH_POINT_LEN;
    return a71ch_pair_get_public(chip, 0, r->bytes);
}

/* The answer differs each time, so it is judged here: one byte, valid. */
static a71ch_result
op_sign(a71ch *chip, struct result *r)
{
    static const uint8_t hash[A71CH_HASH_LEN] = { 1, 2, 3 };
    uint8_t signature[A71CH_SIGNATURE_MAX];
    size_t len = sizeof signature;
    uint8_t pub[A71CH_POINT_LEN];
    a71ch_result res = a71ch_pair_sign(chip, 0, hash, signature, &len);
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx;
    OSSL_PARAM params[3];
    static char group[] = "P-256";

    if (res != A71CH_OK)
        return res;
    point(pub, PUB);
    params[0] = OSSL_PARAM_construct_utf8_string("group", group, 0);
    params[1] = OSSL_PARAM_construct_octet_string("pub", pub, sizeof pub);
    params[2] = OSSL_PARAM_construct_end();
    ctx = EVP_PKEY_CTX_new_from_name(w.lib, "EC", NULL);
    assert_true(EVP_PKEY_fromdata_init(ctx) > 0 &&
                EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) > 0);
    EVP_PKEY_CTX_free(ctx);
    ctx = EVP_PKEY_CTX_new_from_pkey(w.lib, key, NULL);
    assert_true(EVP_PKEY_verify_init(ctx) > 0);
    r->bytes[0] = EVP_PKEY_verify(ctx, signature, len, hash, sizeof hash) == 1;
    r->len = 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return A71CH_OK;
}

static a71ch_result
op_ecdh(a71ch *chip, struct result *r)
{
    uint8_t peer[A71CH_POINT_LEN];

    point(peer, BASE);
    r->len = A71CH_SECRET_LEN;
    return a71ch_pair_ecdh(chip, 0, peer, r->bytes);
}

static a71ch_result
op_sha256_in_parts(a71ch *chip, struct result *r)
{
    uint8_t data[300];

    memset(data, 'a', sizeof data);
    r->len = A71CH_HASH_LEN;
    return a71ch_sha256(chip, data, sizeof data, r->bytes);
}

static a71ch_result
op_read_storage(a71ch *chip, struct result *r)
{
    r->len = GP_LEN;
    return a71ch_gp_read(chip, 20, r->bytes, GP_LEN);
}

static a71ch_result
op_write_storage(a71ch *chip, struct result *r)
{
    uint8_t data[GP_LEN];

    memset(data, 0x5a, sizeof data);
    put(r, "written", 7);
    return a71ch_gp_write(chip, 0, data, sizeof data);
}

static a71ch_result
op_increment(a71ch *chip, struct result *r)
{
    put(r, "counted", 7);
    return a71ch_counter_increment(chip, 0);
}

static const struct op {
    const char *name;
    a71ch_result (*run)(a71ch *chip, struct result *r);
} ops[] = {
    { "unique id", op_unique_id },
    { "public key", op_public_key },
    { "sign", op_sign },
    { "ECDH", op_ecdh },
    { "SHA-256 in parts", op_sha256_in_parts },
    { "read storage", op_read_storage },
    { "write storage", op_write_storage },
    { "increment", op_increment },
};

/* Connect, open the channel if there is to be one, do it, leave. */
static a71ch_result
session(const char *address, enum channel channel, const struct op *op, struct result *r)
{
    static const a71ch_options options = { .connect_timeout_ms = 4000, .answer_timeout_ms = 2000 };
    a71ch *chip;
    a71ch_result res = a71ch_open(address, &options, &chip);

    if (res == A71CH_OK && channel == SCP03)
        res = a71ch_channel_open(chip, &keys, 0);
    if (res == A71CH_OK)
        res = op->run(chip, r);
    if (res != A71CH_OK && strlen(a71ch_message(chip)) < 20)
        fail_msg("%s says only '%s'", a71ch_result_name(res), a71ch_message(chip));
    a71ch_close(chip);
    return res;
}

/* ---- the sweep ---- */

struct kind {
    const char *rule; /* KIND[:value=N], to which nth is added */
    bool heals;       /* the library tries again, so there is no error */
    bool damages;     /* a wrong bit somewhere: in the clear nobody can notice it */
    bool places;      /* also at other places than that of the first seed */
};

static const struct kind frame_kinds[] = {
    { "frame-nack:count=1", true, false, false },
    { "frame-busy:count=1", false, false, false },
    { "frame-hang:count=1", false, false, false },
    { "frame-reset:count=1", false, false, false },
    { "frame-exception:value=9", false, false, false },
    { "frame-exception:value=15", false, false, false },
    { "frame-cut:count=1", false, true, true },
    { "frame-flip:count=1", false, true, true },
};

static const struct kind exchange_kinds[] = {
    { "hang:count=1", false, false, false }, { "drop:count=1", false, false, false },
    { "reset:count=1", false, false, false }, { "power-before:count=1", false, false, false },
    { "power-after:count=1", false, false, false }, { "status:value=6f00", false, false, false },
    { "delay:value=50", true, false, false }, { "truncate:count=1", false, false, true },
    { "flip:count=1", false, true, true }, { "flip-command:count=1", false, true, true },
    { "bad-rmac:count=1", false, false, true }, /* under SCP03; elsewhere there is none */
};

struct tally {
    unsigned runs, right, errors, unnoticed;
};

struct wanted {
    struct result result;
    uint8_t before[STATE_LEN];
    uint8_t after[STATE_LEN];
};

/* The run without a fault. */
static void
reference(const char *address, enum channel channel, const struct op *op, struct wanted *want)
{
    world_open(address, NULL);
    stored_state(want->before);
    assert_int_equal(session(address, channel, op, &want->result), A71CH_OK);
    stored_state(want->after);
    world_close();
}

/* False: the fault comes after the end of the operation. */
static bool
one_run(const char *address, enum channel channel, const struct op *op, const struct kind *kind,
    const char *rule, const struct wanted *want, struct tally *tally)
{
    bool strict = !kind->damages || channel == SCP03;
    struct result got = { .len = 0 };
    uint8_t state[STATE_LEN];
    a71ch_result res;
    bool happened;

    world_open(address, rule);
    res = session(address, channel, op, &got);
    happened = w.options.faults.rules[0].fired > 0;
    stored_state(state);
    tally->runs++;
    if (res != A71CH_OK) {
        tally->errors++;
        if (kind->heals)
            fail_msg("%s, %s: an error after %s", address, op->name, rule);
    } else if (got.len == want->result.len && memcmp(got.bytes, want->result.bytes, got.len) == 0 &&
               memcmp(state, want->after, sizeof state) == 0) {
        tally->right++;
    } else {
        tally->unnoticed++;
        if (strict)
            fail_msg("%s, %s: a wrong answer after %s", address, op->name, rule);
    }
    if (strict && memcmp(state, want->before, sizeof state) != 0 &&
        memcmp(state, want->after, sizeof state) != 0)
        fail_msg("%s, %s: neither the state before nor after %s", address, op->name, rule);
    w.options.faults.count = 0; /* one that has not happened yet must not happen to the next */
    if (strict && session(address, channel, &ops[0], &got) != A71CH_OK)
        fail_msg("%s, %s: the next connection after %s failed", address, op->name, rule);
    world_close();
    return happened;
}

static void
sweep_kind(const char *address, enum channel channel, const struct kind *kind)
{
    const char *full = getenv("BIRTHMARK_SWEEP");
    unsigned seeds = !kind->places ? 1 : full != NULL && strcmp(full, "full") == 0 ? 64 : 2;
    struct tally tally = { 0 };
    char rule[FAULT_TEXT_LEN];

    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct wanted want = { 0 };

        reference(address, channel, &ops[i], &want);
        for (unsigned seed = 1; seed <= seeds; seed++) {
            unsigned nth = 1;

            do {
                (void)snprintf(rule, sizeof rule, "%s,nth=%u,seed=%u", kind->rule, nth++, seed);
            } while (one_run(address, channel, &ops[i], kind, rule, &want, &tally));
        }
    }
    print_message("# %s%s %s: %u runs, %u right, %u errors, %u unnoticed\n", address,
        channel == SCP03 ? " SCP03" : "", kind->rule, tally.runs, tally.right, tally.errors,
        tally.unnoticed);
    assert_true(tally.runs > 8);
}

static void
sweep(const char *address, enum channel channel, const struct kind *kinds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sweep_kind(address, channel, &kinds[i]);
}

enum { FRAMES = sizeof frame_kinds / sizeof *frame_kinds };
enum { EXCHANGES = sizeof exchange_kinds / sizeof *exchange_kinds };

static void
trouble_with_the_bus_is_named_with_its_cure(void **state)
{
    static const struct {
        unsigned long request;
        int cause;
        unsigned long lacks;
        const char *says, *cure;
    } rows[] = {
        { 0, ENOENT, 0, "cannot open the bus: No such file or directory", "i2cdetect -l" },
        { 0, EACCES, 0, "cannot open the bus: Permission denied", "user of the group i2c" },
        { I2C_FUNCS, ENOTTY, 0, "ioctl I2C_FUNCS: Inappropriate ioctl", "is it an i2c-dev device" },
        { I2C_SLAVE, EBUSY, 0, "ioctl I2C_SLAVE: Device or resource busy", "unbind it" },
        { I2C_PEC, EOPNOTSUPP, 0, "ioctl I2C_PEC: Operation not supported", "without PEC" },
        { 0, 0, I2C_FUNC_SMBUS_READ_BLOCK_DATA, "lacks plain I2C or SMBus block read", "i2c-gpio" },
        { 0, 0, I2C_FUNC_I2C, "lacks plain I2C or SMBus block read", "i2c-gpio" },
        { I2C_RDWR, ENXIO, 0, "nobody answers at address 0x48", "wiring and power" },
        { I2C_RDWR, EREMOTEIO, 0, "nobody answers at address 0x48", "i2cdetect" },
        { I2C_RDWR, ETIMEDOUT, 0, "stuck (ioctl I2C_RDWR: Connection timed out)", "off and on" },
        { I2C_RDWR, EAGAIN, 0, "another master took the bus", "let one of them" },
        { I2C_RDWR, EPROTO, 0, "no length from 1 to 32", "power good" },
        { I2C_RDWR, EIO, 0, "ioctl I2C_RDWR: Input/output error", "connect again" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static const a71ch_options options = { .connect_timeout_ms = 500 };
        a71ch *chip;

        world_open("i2c:" DEVICE, NULL);
        w.refused = rows[i].request;
        w.refusal = rows[i].cause;
        w.lacks = rows[i].lacks;
        assert_int_equal(a71ch_open("i2c:" DEVICE, &options, &chip), A71CH_ERR_CONNECT);
        w.refusal = 0;
        w.lacks = 0;
        if (strstr(a71ch_message(chip), rows[i].says) == NULL ||
            strstr(a71ch_message(chip), rows[i].cure) == NULL)
            fail_msg("row %zu says '%s'", i, a71ch_message(chip));
        assert_int_equal(a71ch_errno(chip), rows[i].lacks != 0 ? EOPNOTSUPP : rows[i].cause);
        a71ch_close(chip);
        world_close();
    }
}

static void
every_frame_on_i2c(void **state)
{
    (void)state;
    sweep("i2c:" DEVICE, CLEAR, frame_kinds, FRAMES);
}

static void
every_exchange_on_i2c(void **state)
{
    (void)state;
    sweep("i2c:" DEVICE, CLEAR, exchange_kinds, EXCHANGES);
}

static void
every_exchange_on_a_socket(void **state)
{
    (void)state;
    sweep("unix:" SOCKET, CLEAR, exchange_kinds, EXCHANGES);
}

/* From here on the chip has SCP03 keys. */
static void
every_frame_on_i2c_under_scp03(void **state)
{
    struct result r;
    a71ch *chip;

    (void)state;
    (void)r;
    world_open("unix:" SOCKET, NULL);
    assert_int_equal(a71ch_open("unix:" SOCKET, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_scp_put_keys(chip, 1, &keys), A71CH_OK);
    a71ch_close(chip);
    copy_mem(&w.factory, &w.mem);
    world_close();
    sweep("i2c:" DEVICE, SCP03, frame_kinds, FRAMES);
}

static void
every_exchange_on_a_socket_under_scp03(void **state)
{
    (void)state;
    sweep("unix:" SOCKET, SCP03, exchange_kinds, EXCHANGES);
}

static int
setup(void **state)
{
    (void)state;
    log_setup("sweep", LOG_ERROR);
    w.now_us = 1700000000000000;
    w.device = -1;
    w.lib = OSSL_LIB_CTX_new();
    w.options =
        (struct sim_options){ .lib = w.lib, .quirks = quirks_default(), .profile = profile_none() };
    w.options.profile.is_virtual = true;
    make_factory();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    buf_fini(&w.factory.bytes);
    buf_fini(&w.mem.bytes);
    OSSL_LIB_CTX_free(w.lib);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trouble_with_the_bus_is_named_with_its_cure),
        cmocka_unit_test(every_frame_on_i2c),
        cmocka_unit_test(every_exchange_on_i2c),
        cmocka_unit_test(every_exchange_on_a_socket),
        cmocka_unit_test(every_frame_on_i2c_under_scp03),
        cmocka_unit_test(every_exchange_on_a_socket_under_scp03),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

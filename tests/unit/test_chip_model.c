/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chip against a small model of SPEC a71ch 1.5 and 1.6 that was written from those tables and
 * shares no code with it: long random sequences of commands from a fixed seed, each status word
 * predicted, all states compared now and then, with power cycles between. Every command must have
 * met every state of its object, with the inject lock off and on, and the transport lock; and, in
 * the clear and inside the channel, every state of SCP03.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "chip_bench.h"
#include "scp_host.h"

#include <openssl/evp.h>

enum { STEPS = 40000, PAIRS = 4, PUBS = 3, CONFIGS = 3, SYMS = 8, COUNTERS = 2, SEGMENTS = 128 };
enum state { EMPTY, OPEN, FROZEN, STATES };
enum op {
    GENERATE,
    INJECT,
    INJECT_WRAPPED,
    PAIR_FREEZE,
    PAIR_ERASE,
    PAIR_GET,
    SIGN,
    PUB_SET,
    PUB_SET_WRAPPED,
    PUB_FREEZE,
    PUB_ERASE,
    PUB_GET,
    CONFIG_SET,
    CONFIG_SET_WRAPPED,
    SYM_SET,
    SYM_SET_WRAPPED,
    SYM_ERASE,
    SYM_HMAC,
    COUNTER_ADD,
    COUNTER_SET,
    COUNTER_ERASE,
    GP_SET,
    GP_GET,
    GP_FREEZE,
    INJECT_LOCK,
    TRANSPORT_LOCK,
    TRANSPORT_UNLOCK,
    DEBUG_DISABLE,
    DEBUG_RESET,
    PUT_KEYS,
    AUTHENTICATE,
    SPOIL,
    COMPARE,
    POWER_CYCLE,
    OPS,
};
/* As in the credential map, less one. */
enum scp { MANDATORY, NO_KEYS, KEYS_SET, SCP_STATES };
/* What comes instead of, or as, a code. */
enum code { NO_CODE, RIGHT, WRONG, STALE, CODES };

static const uint8_t scalar[32] = { 0xc9, 0xaf, 0xa9, 0xd8, 0x45, 0xba, 0x75, 0x16, 0x6b, 0x5c,
    0x21, 0x57, 0x67, 0xb1, 0xd6, 0x93, 0x4e, 0x50, 0xc3, 0xdb, 0x36, 0xe8, 0x9b, 0x12, 0x7b, 0x8a,
    0x62, 0x2b, 0x12, 0x0f, 0x67, 0x21 };
static const uint8_t point[65] = { 0x04, 0x60, 0xfe, 0xd4, 0xba, 0x25, 0x5a, 0x9d, 0x31, 0xc9, 0x61,
    0xeb, 0x74, 0xc6, 0x35, 0x6d, 0x68, 0xc0, 0x49, 0xb8, 0x92, 0x3b, 0x61, 0xfa, 0x6c, 0xe6, 0x69,
    0x62, 0x2e, 0x60, 0xf2, 0x9f, 0xb6, 0x79, 0x03, 0xfe, 0x10, 0x08, 0xb8, 0xbc, 0x99, 0xa4, 0x1a,
    0xe9, 0xe9, 0x56, 0x28, 0xbc, 0x64, 0xf2, 0xf1, 0xb2, 0x0c, 0x2d, 0x7e, 0x9f, 0x51, 0x77, 0xa3,
    0xc2, 0x94, 0xd4, 0x46, 0x22, 0x99 };

struct key {
    bool set;
    uint8_t bytes[16];
};

struct world {
    struct bench b;
    uint32_t seed;
    enum state pairs[PAIRS];
    enum state pubs[PUBS];
    struct key configs[CONFIGS];
    struct key syms[SYMS];
    uint32_t counters[COUNTERS];
    bool frozen[SEGMENTS];
    bool inject;
    unsigned transport; /* as module info has it: 3, 1, 2 */
    bool debug;
    enum scp scp;
    bool up;     /* the channel */
    bool secure; /* this command goes through it */
    struct scp_host host;
    unsigned met_scp[OPS][SCP_STATES][2]; /* by SCP03 state, in the clear or not */
    unsigned met[OPS][STATES][2];         /* by state of the object and inject lock */
    unsigned met_locked[OPS];
    unsigned met_code[OPS][CODES];
};

static uint32_t
pick(struct world *w, uint32_t below)
{
    w->seed ^= w->seed << 13;
    w->seed ^= w->seed >> 17;
    w->seed ^= w->seed << 5;
    return w->seed % below;
}

static void
pick_bytes(struct world *w, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)pick(w, 256);
}

static uint16_t
send(struct world *w, unsigned ins, unsigned p1, unsigned p2, const void *data, size_t len)
{
    uint8_t cmd[APDU_CMD_MAX] = { 0x80, (uint8_t)ins, (uint8_t)p1, (uint8_t)p2, (uint8_t)len };

    if (len > 0)
        memcpy(&cmd[5], data, len);
    if (w->secure) {
        uint16_t sw = scp_run_bytes(&w->b, &w->host, span_of(cmd, len > 0 ? 5 + len + 1 : 5));

        w->b.data = w->host.data;
        assert_true(w->host.proved || sw != 0x9000 || ins == 0x94); /* reset leaves no keys */
        return sw;
    }
    return run_bytes(&w->b, span_of(cmd, len > 0 ? 5 + len + 1 : 5));
}

/* SPEC 1.6: the chip does not even look at it. */
static bool
wants_channel(const struct world *w, enum op op)
{
    return w->scp == MANDATORY && !w->secure && op != DEBUG_DISABLE && op != DEBUG_RESET;
}

/* One predicted command; true when it was predicted, and seen, to succeed. */
static bool
step(struct world *w, enum op op, enum state state, unsigned want, unsigned ins, unsigned p1,
    unsigned p2, const void *data, size_t len)
{
    unsigned got;

    w->met_scp[op][w->scp][w->secure]++;
    if (wants_channel(w, op)) {
        want = 0x6982;
    } else if (w->transport == 1) {
        want = op == TRANSPORT_UNLOCK ? want : 0x6985;
        w->met_locked[op]++;
    } else {
        w->met[op][state][w->inject]++;
    }
    got = send(w, ins, p1, p2, data, len);
    if (got != want)
        fail_msg("%02x %02x %02x with %zu bytes: %04x, the model says %04x (inject lock %d, SCP03 "
                 "%d, %s)",
            ins, p1, p2, len, got, want, w->inject, (int)w->scp + 1,
            w->secure ? "in the channel" : "in the clear");
    return want == 0x9000;
}

/* RFC 3394 by libcrypto. */
static size_t
wrap(const uint8_t kek[16], const uint8_t *key, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_wrap(), NULL, kek, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &n, key, (int)len), 1);
    EVP_CIPHER_CTX_free(ctx);
    return (size_t)n;
}

static void
decrypt(const uint8_t key[16], const uint8_t in[16], uint8_t out[16])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    assert_int_equal(EVP_DecryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, key, NULL), 1);
    assert_int_equal(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
    assert_int_equal(EVP_DecryptUpdate(ctx, out, &n, in, 16), 1);
    EVP_CIPHER_CTX_free(ctx);
}

/* Get a challenge and make the code of this kind; the answer the chip must give to it. */
static unsigned
make_code(struct world *w, unsigned kind, enum code code, unsigned without, uint8_t out[16])
{
    memset(out, 0x5a, 16);
    if (code == NO_CODE)
        return w->inject ? without : 0x9000;
    if (code == STALE)
        return 0x6985;
    if (w->transport == 1 && kind != 0)
        return 0x6985;
    if (wants_channel(w, COMPARE))
        return 0x6982;
    assert_int_equal(send(w, 0x91, kind, 5, NULL, 0), 0x9000);
    if (code == RIGHT && w->configs[kind].set)
        decrypt(w->configs[kind].bytes, w->b.data.ptr, out);
    return !w->configs[kind].set ? 0x6985 : code == RIGHT ? 0x9000 : 0x6a80;
}

/* Generate, freeze, erase: the code first, then the object. */
static bool
coded(struct world *w, enum op op, enum state state, unsigned ins, unsigned index, unsigned kind,
    unsigned without, unsigned of_object)
{
    enum code code = (enum code)pick(w, CODES);
    uint8_t bytes[16];
    unsigned sw = make_code(w, kind, code, without, bytes);

    w->met_code[op][code]++;
    if (sw == 0x9000)
        sw = of_object;
    return step(w, op, state, sw, ins, index, code == NO_CODE ? 0 : 16, bytes,
        code == NO_CODE ? 0 : sizeof bytes);
}

static unsigned
change_of(enum state state)
{
    return state == FROZEN ? 0x6986 : 0x9000;
}

static unsigned
freeze_of(enum state state)
{
    return state == EMPTY ? 0x6985 : state == FROZEN ? 0x6986 : 0x9000;
}

static unsigned
erase_of(enum state state)
{
    return state == FROZEN ? 0x6986 : 0x9000;
}

static unsigned
use_of(enum state state)
{
    return state == EMPTY ? 0x6985 : 0x9000;
}

static void
run_pair(struct world *w, enum op op)
{
    unsigned i = pick(w, PAIRS);
    enum state *s = &w->pairs[i];
    uint8_t data[105];
    unsigned sw = change_of(*s);

    switch ((int)op) {
    case GENERATE:
        if (coded(w, op, *s, 0x12, i, 1, 0x6986, sw))
            *s = OPEN;
        return;
    case INJECT:
        memcpy(data, scalar, 32);
        memcpy(&data[32], point, 65);
        if (step(w, op, *s, w->inject ? 0x6986 : sw, 0x12, i, 0, data, 97))
            *s = OPEN;
        return;
    case INJECT_WRAPPED:
        (void)wrap(w->configs[1].bytes, scalar, 32, data);
        memcpy(&data[40], point, 65);
        if (sw == 0x9000 && !w->configs[1].set)
            sw = 0x6985;
        if (step(w, op, *s, sw, 0x12, i, 0, data, 105))
            *s = OPEN;
        return;
    case PAIR_FREEZE:
        if (coded(w, op, *s, 0x13, i, 1, 0x6a80, freeze_of(*s)))
            *s = FROZEN;
        return;
    case PAIR_ERASE:
        if (coded(w, op, *s, 0x14, i, 1, 0x6a80, erase_of(*s)))
            *s = EMPTY;
        return;
    case PAIR_GET:
        (void)step(w, op, *s, use_of(*s), 0x11, i, 0, NULL, 0);
        return;
    default:
        (void)step(w, op, *s, use_of(*s), 0x15, i, 0, scalar, 32);
    }
}

static void
run_pub(struct world *w, enum op op)
{
    unsigned i = pick(w, PUBS);
    enum state *s = &w->pubs[i];
    uint8_t data[80];
    unsigned sw = change_of(*s);

    switch ((int)op) {
    case PUB_SET:
        if (step(w, op, *s, w->inject ? 0x6986 : sw, 0x22, i, 0, point, 65))
            *s = OPEN;
        return;
    case PUB_SET_WRAPPED:
        (void)wrap(w->configs[2].bytes, &point[1], 64, data);
        if (sw == 0x9000 && !w->configs[2].set)
            sw = 0x6985;
        if (step(w, op, *s, sw, 0x22, i, 0, data, 72))
            *s = OPEN;
        return;
    case PUB_FREEZE:
        if (coded(w, op, *s, 0x23, i, 2, 0x6a80, freeze_of(*s)))
            *s = FROZEN;
        return;
    case PUB_ERASE:
        if (coded(w, op, *s, 0x24, i, 2, 0x6a80, erase_of(*s)))
            *s = EMPTY;
        return;
    default:
        (void)step(w, op, *s, use_of(*s), 0x21, i, 0, NULL, 0);
    }
}

/* Config keys (32) and symmetric keys (42). */
static void
run_key(struct world *w, enum op op, struct key *k, unsigned ins, unsigned i)
{
    bool wrapped = op == CONFIG_SET_WRAPPED || op == SYM_SET_WRAPPED;
    enum state state = k->set ? OPEN : EMPTY;
    uint8_t key[16];
    uint8_t data[24];
    bool done;

    pick_bytes(w, key, sizeof key);
    if (wrapped) {
        (void)wrap(k->bytes, key, 16, data);
        done = step(w, op, state, k->set ? 0x9000 : 0x6985, ins, i, 2, data, 24);
    } else {
        done = step(w, op, state, w->inject ? 0x6986 : 0x9000, ins, i, 1, key, 16);
    }
    if (done) {
        k->set = true;
        memcpy(k->bytes, key, 16);
    }
}

static void
run_secret(struct world *w, enum op op)
{
    unsigned config = pick(w, CONFIGS);
    unsigned sym = pick(w, SYMS);
    struct key *k = &w->syms[sym];
    enum state state = k->set ? OPEN : EMPTY;

    switch ((int)op) {
    case CONFIG_SET:
    case CONFIG_SET_WRAPPED:
        run_key(w, op, &w->configs[config], 0x32, config);
        return;
    case SYM_SET:
    case SYM_SET_WRAPPED:
        run_key(w, op, k, 0x42, sym);
        return;
    case SYM_ERASE:
        if (step(w, op, state, w->inject ? 0x6986 : 0x9000, 0x44, sym, 0, NULL, 0))
            k->set = false;
        return;
    default:
        (void)step(w, op, state, use_of(state), 0x47, 0x10 | sym, 0, "x", 1);
    }
}

static void
run_counter(struct world *w, enum op op)
{
    unsigned i = pick(w, COUNTERS);
    uint32_t now = w->counters[i];
    uint32_t value = now + pick(w, 5) - (now < 2 ? now : 2); /* from a little below */
    uint8_t data[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
        (uint8_t)value };

    if (op == COUNTER_ADD) {
        if (step(w, op, OPEN, 0x9000, 0x62, i, 0, NULL, 0))
            w->counters[i]++;
    } else if (op == COUNTER_SET) {
        if (step(w, op, OPEN, value > now ? 0x9000 : 0x6a80, 0x62, i, 0, data, 4))
            w->counters[i] = value;
    } else if (step(w, op, OPEN, w->debug ? 0x9000 : 0x6d00, 0x64, i, 0, NULL, 0)) {
        w->counters[i] = 0;
    }
}

static void
run_gp(struct world *w, enum op op)
{
    uint8_t bytes[100];
    unsigned offset = pick(w, 4096);
    unsigned len = 1 + pick(w, 100);
    uint8_t want[2] = { 0, (uint8_t)len };
    enum state state = OPEN;

    if (op == GP_FREEZE) {
        unsigned segment = pick(w, SEGMENTS);

        want[1] = 32;
        state = w->frozen[segment] ? FROZEN : OPEN;
        if (step(w, op, state, 0x9000, 0x73, segment * 32 >> 8, segment * 32 & 0xff, want, 2))
            w->frozen[segment] = true;
        return;
    }
    if (offset + len > 4096)
        len = want[1] = (uint8_t)(4096 - offset);
    for (unsigned i = offset / 32; i <= (offset + len - 1) / 32; i++)
        state = w->frozen[i] ? FROZEN : state;
    pick_bytes(w, bytes, len);
    if (op == GP_GET)
        (void)step(w, op, state, 0x9000, 0x71, offset >> 8, offset & 0xff, want, 2);
    else
        (void)step(w, op, state, change_of(state), 0x72, offset >> 8, offset & 0xff, bytes, len);
}

static void
forget(struct world *w)
{
    memset(w->pairs, 0, sizeof w->pairs);
    memset(w->pubs, 0, sizeof w->pubs);
    memset(w->configs, 0, sizeof w->configs);
    memset(w->syms, 0, sizeof w->syms);
    memset(w->counters, 0, sizeof w->counters);
    memset(w->frozen, 0, sizeof w->frozen);
    w->inject = false;
    w->transport = 3;
    w->scp = NO_KEYS;
    w->up = w->secure = false;
}

static void
new_chip(struct world *w)
{
    chip_close(w->b.chip);
    w->b.chip = NULL;
    buf_fini(&w->b.mem.bytes);
    w->b.mem = (struct nvm_mem){ 0 };
    reopen(&w->b);
    forget(w);
    w->debug = true;
}

static uint8_t
map_of(enum state s)
{
    return s == EMPTY ? 0xa5 : s == OPEN ? 0x55 : 0x5f;
}

/* Credential map, module info and counters against the model. */
static void
compare(struct world *w)
{
    uint8_t map[149] = { (uint8_t)(w->scp + 1) };
    uint8_t info[6] = { 0x01, w->debug ? 0x31 : 0x30, (uint8_t)(0xf0 | w->transport),
        (uint8_t)((w->scp + 1) << 4 | (w->inject ? 1 : 2)), 0x10, 0x00 };
    size_t at = 1;

    for (size_t i = 0; i < PAIRS; i++)
        map[at++] = map_of(w->pairs[i]);
    for (size_t i = 0; i < PUBS; i++)
        map[at++] = map_of(w->pubs[i]);
    for (size_t i = 0; i < CONFIGS; i++)
        map[at++] = map_of(w->configs[i].set ? OPEN : EMPTY);
    for (size_t i = 0; i < SYMS; i++)
        map[at++] = map_of(w->syms[i].set ? OPEN : EMPTY);
    for (size_t i = 0; i < COUNTERS; i++)
        map[at++] = map_of(OPEN);
    for (size_t i = 0; i < SEGMENTS; i++)
        map[at++] = map_of(w->frozen[i] ? FROZEN : OPEN);
    assert_int_equal(send(w, 0x91, 0, 3, NULL, 0), 0x9000);
    assert_int_equal(w->b.data.len, 6);
    assert_memory_equal(w->b.data.ptr, info, 6);
    if (!step(w, COMPARE, OPEN, 0x9000, 0x91, 0, 4, NULL, 0))
        return;
    assert_int_equal(w->b.data.len, 149);
    assert_memory_equal(w->b.data.ptr, map, 149);
    for (unsigned i = 0; i < COUNTERS; i++) {
        uint32_t v = w->counters[i];
        uint8_t want[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

        assert_int_equal(send(w, 0x61, i, 0, NULL, 0), 0x9000);
        assert_memory_equal(w->b.data.ptr, want, 4);
    }
}

static void
run_transport(struct world *w, enum op op)
{
    enum code code = (enum code)(RIGHT + pick(w, 3));
    uint8_t bytes[16];
    unsigned sw;

    if (op == TRANSPORT_LOCK) {
        sw = w->transport == 2 ? 0x6986 : w->configs[0].set ? 0x9000 : 0x6985;
        if (step(w, op, w->configs[0].set ? OPEN : EMPTY, sw, 0x92, 0, 2, NULL, 0))
            w->transport = 1;
        return;
    }
    sw = make_code(w, 0, code, 0, bytes);
    w->met_code[op][code]++;
    if (step(w, op, OPEN, w->transport == 1 ? sw : 0x6985, 0x92, 0, 3, bytes, 16))
        w->transport = 2;
}

/* With the right keys, or with a wrong MAC; a refused one leaves no channel either. */
static void
authenticate(struct world *w)
{
    unsigned want = w->transport == 1 && w->scp != MANDATORY ? 0x6985
                    : w->scp == NO_KEYS                      ? 0x6a88
                                                             : 0x9000;
    bool spoil = pick(w, 4) == 0;

    w->secure = false;
    w->met_scp[AUTHENTICATE][w->scp][0]++;
    assert_int_equal(scp_challenge(&w->b, &w->host), want);
    if (want != 0x9000)
        return;
    scp_wrap_authenticate(&w->host);
    if (spoil)
        w->host.wire[5 + pick(w, 16)] ^= 0x20;
    assert_int_equal(
        run_bytes(&w->b, span_of(w->host.wire, w->host.wire_len)), spoil ? 0x6982 : 0x9000);
    scp03_next(&w->host.channel);
    w->up = !spoil;
    w->scp = spoil ? w->scp : MANDATORY;
}

/* A command with a wrong MAC, or of class 84 without a channel: never done, and the channel ends.
 */
static void
spoil(struct world *w)
{
    const struct apdu cmd = { 0x80, INS_COUNTER_SET, 0, 0, { 0 }, 256 };

    scp_wrap(&w->host, &cmd);
    w->host.wire[5 + pick(w, 8)] ^= (uint8_t)(1u << pick(w, 8));
    w->met_scp[SPOIL][w->scp][w->up]++;
    assert_int_equal(run_bytes(&w->b, span_of(w->host.wire, w->host.wire_len)), 0x6982);
    w->up = false;
}

static void
run_scp(struct world *w, enum op op)
{
    uint8_t data[SCP03_PUT_KEY_LEN];

    if (op == AUTHENTICATE) {
        authenticate(w);
    } else if (op == SPOIL) {
        spoil(w);
    } else {
        assert_int_equal(scp03_put_key_build(&w->host.aes, 0x21, &w->host.keys, data), BM_OK);
        if (step(
                w, op, OPEN, w->scp == NO_KEYS ? 0x9000 : 0x6985, 0xd8, 0, 0x81, data, sizeof data))
            w->scp = KEYS_SET;
    }
}

static void
run_module(struct world *w, enum op op)
{
    switch ((int)op) {
    case INJECT_LOCK:
        if (step(w, op, OPEN, w->inject ? 0x6986 : 0x9000, 0x92, 0, 1, NULL, 0))
            w->inject = true;
        return;
    case DEBUG_DISABLE:
        if (step(w, op, OPEN, w->debug ? 0x9000 : 0x6d00, 0x93, 0, 0xdd, NULL, 0))
            w->debug = false;
        return;
    case DEBUG_RESET:
        if (step(w, op, OPEN, w->debug ? 0x9000 : 0x6d00, 0x94, 0, 0xea, NULL, 0))
            forget(w);
        return;
    case POWER_CYCLE:
        reopen(&w->b);
        w->up = false;
        return;
    default:
        compare(w);
    }
}

/* Often what changes keys, now and then what ends an era. */
static enum op
pick_op(struct world *w)
{
    enum op op = (enum op)pick(w, OPS);

    if (w->scp == MANDATORY && !w->up && pick(w, 5) == 0)
        return AUTHENTICATE;
    if (w->transport == 1 && pick(w, 20) == 0)
        return TRANSPORT_UNLOCK;
    if (op == DEBUG_DISABLE || op == DEBUG_RESET)
        return pick(w, op == DEBUG_RESET ? 4 : 10) == 0 ? op : COMPARE;
    if (op == INJECT_LOCK || op == TRANSPORT_LOCK)
        return pick(w, 3) == 0 ? op : SYM_SET;
    return op;
}

static void
run_op(struct world *w, enum op op)
{
    w->secure = w->up && pick(w, 5) != 0;
    if (op <= SIGN)
        run_pair(w, op);
    else if (op <= PUB_GET)
        run_pub(w, op);
    else if (op <= SYM_HMAC)
        run_secret(w, op);
    else if (op <= COUNTER_ERASE)
        run_counter(w, op);
    else if (op <= GP_FREEZE)
        run_gp(w, op);
    else if (op == TRANSPORT_LOCK || op == TRANSPORT_UNLOCK)
        run_transport(w, op);
    else if (op == PUT_KEYS || op == AUTHENTICATE || op == SPOIL)
        run_scp(w, op);
    else
        run_module(w, op);
}

/* States that an object of the command can have. */
static bool
has_state(enum op op, enum state s)
{
    if (op <= PUB_GET)
        return true;
    if (op <= SYM_HMAC || op == TRANSPORT_LOCK)
        return s != FROZEN;
    if (op >= GP_SET && op <= GP_FREEZE)
        return s != EMPTY;
    return s == OPEN;
}

static void
check_coverage(const struct world *w)
{
    for (int op = 0; op < OPS; op++) {
        if (op == POWER_CYCLE)
            continue;
        for (int scp = 0; scp < SCP_STATES; scp++) {
            for (int secure = 0; secure <= (scp == MANDATORY && op != AUTHENTICATE); secure++) {
                if (w->met_scp[op][scp][secure] == 0)
                    fail_msg(
                        "command %d never met SCP03 state %d, channel %d", op, scp + 1, secure);
            }
        }
        if (op == AUTHENTICATE || op == SPOIL)
            continue;
        for (int s = 0; s < STATES; s++) {
            for (int lock = 0; lock < 2; lock++) {
                if (has_state((enum op)op, (enum state)s) && w->met[op][s][lock] == 0)
                    fail_msg("command %d never met state %d, inject lock %d", op, s, lock);
            }
        }
        if (w->met_locked[op] == 0)
            fail_msg("command %d never met the transport lock", op);
        for (int code = 0; code < CODES; code++) {
            if ((op == GENERATE || op == PAIR_FREEZE || op == PAIR_ERASE || op == PUB_FREEZE ||
                    op == PUB_ERASE) &&
                w->met_code[op][code] == 0)
                fail_msg("command %d never met code %d", op, code);
        }
    }
}

static void
random_commands_answer_as_the_model_in_every_state(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    (void)state;
    assert_non_null(w);
    w->seed = 0xa71c4;
    scp_host_init(&w->host);
    new_chip(w);
    for (unsigned i = 0; i < STEPS; i++) {
        run_op(w, pick_op(w));
        if (!w->debug && pick(w, 60) == 0)
            new_chip(w); /* nothing else brings debug mode back */
    }
    check_coverage(w);
    scp03_aes_fini(&w->host.aes);
    chip_close(w->b.chip);
    buf_fini(&w->b.mem.bytes);
    free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_commands_answer_as_the_model_in_every_state),
    };

    return cmocka_run_group_tests_name("chip_model", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `psk hmac|native -x N (-h PSK | -k FILE)`: store a pre-shared key of TLS in symmetric keys from
 * slot N on, and print the reference that programs are given in its place. Not of the vendor's
 * tool.
 *
 * hmac stores what TLS computes from the key before anything else: the premaster secret of TLS 1.2
 * and the early secret of TLS 1.3, each of which the chip then uses as an HMAC key. native stores
 * the key itself, for the chip's own master secret command. SPEC openssl 3.
 */
#include "config/tool.h"
#include "wire/refpsk.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

enum {
    PSK_MAX = 256, /* OpenSSL's limit */
    HMAC_BLOCK = 64,
    HASH_LEN = 32,
    ROOM = REFPSK_BLOCKS_MAX * A71CH_KEY_LEN, /* one secret */
    FILE_TEXT_MAX = 2 * PSK_MAX + 16,
};

struct psk {
    uint8_t bytes[PSK_MAX];
    size_t len;
};

/* The hex digits of a file; white space around them does not count. */
static enum code
read_file(const char *path, struct psk *psk)
{
    char text[FILE_TEXT_MAX];
    FILE *f = fopen(path, "r");
    enum code code = CODE_OK;
    size_t first;
    size_t len;

    if (f == NULL) {
        fprintf(stderr, "%s cannot be opened: %s\n", path, strerror(errno));
        return CODE_FILE_OPEN;
    }
    setbuf(f, NULL); /* no second copy of the key */
    len = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[len] = '\0';
    first = strspn(text, " \t\r\n");
    len = strcspn(text + first, " \t\r\n");
    if (text[first + len + strspn(text + first + len, " \t\r\n")] != '\0' || len % 2 != 0 ||
        len / 2 > PSK_MAX || hex_decode(psk->bytes, len / 2, span_of(text + first, len)) != BM_OK) {
        fprintf(stderr, "%s does not hold a pre-shared key: 1 to %d bytes as hexadecimal digits\n",
            path, PSK_MAX);
        code = CODE_FILE_FORMAT;
    }
    psk->len = len / 2;
    bm_wipe(text, sizeof text);
    return code;
}

static enum code
read_psk(struct args *a, struct psk *psk)
{
    const char *path;
    enum code code;

    if (opt_ahead(a, "-h")) {
        code = opt_hex(a, "-h", 1, PSK_MAX, psk->bytes, &psk->len);
    } else {
        code = opt_text(a, "-k", &path);
        if (code == CODE_OK)
            code = read_file(path, psk);
    }
    if (code != CODE_OK)
        return code;
    if (psk->len == 0) {
        fprintf(stderr, "the pre-shared key is empty\n");
        return CODE_FILE_FORMAT;
    }
    if (refpsk_claims(span_of(psk->bytes, psk->len))) {
        fprintf(stderr, "this is a reference to a key in a chip and no key: whoever were given it "
                        "as a key would share it with everybody; give the real pre-shared key\n");
        return CODE_ARG_VALUE;
    }
    return CODE_OK;
}

/* Into whole slots, filled up with zeros. */
static enum code
store(struct tool *t, struct refpsk_secret where, const uint8_t secret[ROOM])
{
    for (unsigned i = 0; i < where.blocks; i++) {
        a71ch_result res =
            a71ch_sym_set(t->chip, where.index + i, &secret[i * A71CH_KEY_LEN], A71CH_KEY_LEN);

        if (res != A71CH_OK)
            return tool_chip_failed(t, res);
    }
    return CODE_OK;
}

/* Room for `needed` slots from `first` on? */
static enum code
check_room(unsigned first, unsigned needed)
{
    if (first + needed <= A71CH_SYM_COUNT)
        return CODE_OK;
    fprintf(stderr, "this takes %u symmetric keys from number %u on; the chip has 0 to %d\n",
        needed, first, A71CH_SYM_COUNT - 1);
    return CODE_ARG_RANGE;
}

static enum code
print_reference(struct tool *t, const struct refpsk *ref)
{
    uint8_t bytes[REFPSK_LEN];
    char text[2 * REFPSK_LEN + 1];

    if (refpsk_build(bytes, ref) != BM_OK)
        return CODE_ARG_RANGE;
    hex_encode(text, bytes, sizeof bytes);
    if (t->json)
        fprintf(t->data,
            "{\"reference\": \"%s\", \"tls12\": {\"index\": %u, \"blocks\": %u}, \"tls13\": "
            "{\"index\": %u, \"blocks\": %u}}\n",
            text, ref->tls12.index, ref->tls12.blocks, ref->tls13.index, ref->tls13.blocks);
    else
        printf("PSK reference: %s\n", text);
    return CODE_OK;
}

/*
 * The premaster secret of RFC 4279 2 as an HMAC key: its hash when it is longer than a block (RFC
 * 2104 2); zeros at the end change nothing. Returns the length, 0 when libcrypto failed.
 */
static size_t
premaster_key(const struct psk *psk, uint8_t out[ROOM])
{
    uint8_t premaster[2 * PSK_MAX + 4];
    struct wr w = wr_of(premaster, sizeof premaster);
    size_t len;

    wr_u16(&w, (uint16_t)psk->len);
    for (size_t i = 0; i < psk->len; i++)
        wr_u8(&w, 0);
    wr_u16(&w, (uint16_t)psk->len);
    wr_bytes(&w, psk->bytes, psk->len);
    len = wr_len(&w);
    if (len <= HMAC_BLOCK)
        memcpy(out, premaster, len);
    else
        len = EVP_Digest(premaster, len, out, NULL, EVP_sha256(), NULL) == 1 ? HASH_LEN : 0;
    bm_wipe(premaster, sizeof premaster);
    return len;
}

/* RFC 8446 7.1: HKDF-Extract(0, PSK). */
static bool
early_secret(const struct psk *psk, uint8_t out[ROOM])
{
    static const uint8_t zeros[HASH_LEN];

    return HMAC(EVP_sha256(), zeros, sizeof zeros, psk->bytes, psk->len, out, NULL) != NULL;
}

static enum code
store_hmac(struct tool *t, unsigned first, const struct psk *psk)
{
    struct refpsk ref = { .kind = REFPSK_HMAC };
    uint8_t premaster[ROOM] = { 0 };
    uint8_t early[ROOM] = { 0 };
    size_t len = premaster_key(psk, premaster);
    enum code code = len > 0 && early_secret(psk, early) ? CODE_OK : CODE_MEMORY;

    ref.tls12 = (struct refpsk_secret){ (uint8_t)first,
        (uint8_t)((len + A71CH_KEY_LEN - 1) / A71CH_KEY_LEN) };
    ref.tls13 =
        (struct refpsk_secret){ (uint8_t)(first + ref.tls12.blocks), HASH_LEN / A71CH_KEY_LEN };
    if (code == CODE_OK)
        code = check_room(first, ref.tls12.blocks + ref.tls13.blocks);
    if (code == CODE_OK)
        code = store(t, ref.tls12, premaster);
    if (code == CODE_OK)
        code = store(t, ref.tls13, early);
    bm_wipe(premaster, sizeof premaster);
    bm_wipe(early, sizeof early);
    return code == CODE_OK ? print_reference(t, &ref) : code;
}

static enum code
store_native(struct tool *t, unsigned first, const struct psk *psk)
{
    struct refpsk ref = { .kind = REFPSK_NATIVE,
        .tls12 = { (uint8_t)first, (uint8_t)(psk->len / A71CH_KEY_LEN) } };
    enum code code;

    if (psk->len % A71CH_KEY_LEN != 0 || psk->len > ROOM) {
        fprintf(stderr,
            "the chip's own command takes pre-shared keys of 16, 32, 48 or 64 bytes, not %zu; use "
            "'psk hmac'\n",
            psk->len);
        return CODE_ARG_VALUE;
    }
    code = check_room(first, ref.tls12.blocks);
    if (code == CODE_OK)
        code = store(t, ref.tls12, psk->bytes);
    return code == CODE_OK ? print_reference(t, &ref) : code;
}

static enum code
run(struct tool *t, struct args *a,
    enum code (*store_kind)(struct tool *t, unsigned first, const struct psk *psk))
{
    struct psk psk = { .len = 0 };
    unsigned first;
    enum code code = opt_index(a, &first);

    if (code == CODE_OK)
        code = read_psk(a, &psk);
    if (code == CODE_OK)
        code = store_kind(t, first, &psk);
    bm_wipe(&psk, sizeof psk);
    return code;
}

static enum code
psk_hmac(struct tool *t, struct args *a)
{
    return run(t, a, store_hmac);
}

static enum code
psk_native(struct tool *t, struct args *a)
{
    return run(t, a, store_native);
}

enum code
cmd_psk(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "hmac", psk_hmac },
        { "native", psk_native },
        { NULL, NULL },
    };

    return tool_sub(t, a, "psk", subs);
}

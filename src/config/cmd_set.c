/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `set pair|pub|cfg|sym|cnt|gp ...`: put keys and data into the chip.
 *
 * `-w KEY` wraps the key on the host. The vendor's tool drops the option when its value is
 * malformed and sends the key in the clear; here the command is refused.
 */
#include "config/pem.h"

#include <stdio.h>
#include <string.h>

enum {
    PRIVATE_MAX = A71CH_SCALAR_LEN + A71CH_WRAP_EXTRA,
    PUBLIC_MAX = A71CH_POINT_LEN - 1 + A71CH_WRAP_EXTRA,
    KEY_MAX = A71CH_KEY_LEN + A71CH_WRAP_EXTRA,
    WRAPPING_MAX = 32, /* the vendor takes AES-256, too; the chip has AES-128 only */
    STORAGE_MAX = 32,
};

/* A key on its way to the chip; the caller wipes it. */
struct secret {
    uint8_t bytes[PUBLIC_MAX];
    size_t len;
};

static enum code
wrap(const uint8_t *wrapping, size_t wrapping_len, struct secret *s)
{
    uint8_t out[PUBLIC_MAX];
    struct span plain = span_of(s->bytes, s->len);
    struct wr w = wr_of(s->bytes, sizeof s->bytes);
    a71ch_result res;

    if (wrapping_len != A71CH_KEY_LEN) {
        fprintf(stderr, "the key after -w has %zu bytes; the chip unwraps with one of %d\n",
            wrapping_len, A71CH_KEY_LEN);
        return CODE_WRAP;
    }
    if (s->len == A71CH_POINT_LEN)
        plain = span_of(&s->bytes[1], s->len - 1); /* without the 04: SPEC a71ch 2.4 */
    else if (s->len != A71CH_KEY_LEN && s->len != A71CH_SCALAR_LEN) {
        fprintf(stderr, "-w wraps a key that is not wrapped yet; this one has %zu bytes\n", s->len);
        return CODE_WRAP;
    }
    res = a71ch_wrap_key(wrapping, plain.ptr, plain.len, out);
    if (res != A71CH_OK) {
        fprintf(stderr, "cannot wrap the key: libcrypto failed\n");
        return CODE_WRAP;
    }
    s->len = plain.len + A71CH_WRAP_EXTRA;
    wr_bytes(&w, out, s->len);
    return CODE_OK;
}

/* [-w KEY] ends the line. What looks like a misspelt one must not let the key out in the clear. */
static enum code
opt_wrap(struct args *a, struct secret *s)
{
    uint8_t wrapping[WRAPPING_MAX];
    size_t len;
    enum code code = CODE_OK;

    if (opt_ahead(a, "-w")) {
        code = opt_hex(a, "-w", A71CH_KEY_LEN, sizeof wrapping, wrapping, &len);
        if (code == CODE_OK)
            code = wrap(wrapping, len, s);
    }
    for (; code == CODE_OK && a->next < a->count; a->next++) {
        if (strncasecmp(a->words[a->next], "-w", 2) != 0)
            continue;
        printf("Argument %s not expected\n", a->words[a->next]);
        fprintf(
            stderr, "'%s' stands where it has no effect; nothing was sent\n", a->words[a->next]);
        code = CODE_ARG_OPTION;
    }
    bm_wipe(wrapping, sizeof wrapping);
    return code;
}

static enum code
read_key_file(struct args *a, struct key *key)
{
    const char *path;
    enum code code = opt_text(a, "-k", &path);

    return code == CODE_OK ? pem_read(path, key) : code;
}

/* From PEM; the private key must be one. */
static enum code
read_pair_file(struct args *a, struct key *key, struct secret *priv)
{
    struct wr w = wr_of(priv->bytes, sizeof priv->bytes);
    enum code code = read_key_file(a, key);

    if (code == CODE_OK && key->is_reference) {
        fprintf(stderr, "this file is a reference key: it names a slot of a chip and holds no "
                        "private key; give the file of the real key\n");
        return CODE_FILE_FORMAT;
    }
    if (code == CODE_OK && !key->has_scalar) {
        fprintf(stderr, "this file holds a public key only; 'set pair' wants the private key\n");
        return CODE_PEM_READ;
    }
    wr_bytes(&w, key->scalar, sizeof key->scalar);
    priv->len = wr_len(&w);
    return code;
}

static enum code
set_pair(struct tool *t, struct args *a)
{
    struct key key = { 0 };
    struct secret priv = { .len = 0 };
    unsigned index;
    size_t len;
    bool hex;
    enum code code = opt_index(a, &index);

    if (code != CODE_OK)
        return code;
    hex = opt_ahead(a, "-h");
    if (hex)
        code = opt_hex(a, "-h", sizeof key.point, sizeof key.point, key.point, &len);
    else
        code = read_pair_file(a, &key, &priv);
    if (code == CODE_OK && hex)
        code = opt_hex(a, "-h", A71CH_SCALAR_LEN, PRIVATE_MAX, priv.bytes, &priv.len);
    if (code == CODE_OK)
        code = opt_wrap(a, &priv);
    if (code == CODE_OK && !hex) {
        printf("ECCPrivateKey: hidden\n");
        print_bytes_colon("ECCPublicKey", SPAN(key.point));
    }
    if (code == CODE_OK)
        code = tool_done(t, a71ch_pair_set(t->chip, index, key.point, priv.bytes, priv.len));
    bm_wipe(&key, sizeof key);
    bm_wipe(&priv, sizeof priv);
    return code;
}

static enum code
set_pub(struct tool *t, struct args *a)
{
    struct key key = { 0 };
    struct secret pub = { .len = 0 };
    struct wr w = wr_of(pub.bytes, sizeof pub.bytes);
    unsigned index;
    bool hex;
    enum code code = opt_index(a, &index);

    if (code != CODE_OK)
        return code;
    hex = opt_ahead(a, "-h");
    if (hex) {
        code = opt_hex(a, "-h", A71CH_POINT_LEN, PUBLIC_MAX, pub.bytes, &pub.len);
    } else {
        code = read_key_file(a, &key);
        wr_bytes(&w, key.point, sizeof key.point);
        pub.len = wr_len(&w);
    }
    if (code == CODE_OK)
        code = opt_wrap(a, &pub);
    if (code == CODE_OK && !hex)
        print_bytes_colon("ECCPublicKey", SPAN(key.point));
    if (code == CODE_OK)
        code = tool_done(t, a71ch_pub_set(t->chip, index, pub.bytes, pub.len));
    bm_wipe(&key, sizeof key);
    return code;
}

static enum code
set_key(struct tool *t, struct args *a,
    a71ch_result (*set)(a71ch *chip, unsigned index, const uint8_t *key, size_t len))
{
    struct secret key = { .len = 0 };
    unsigned index;
    enum code code = opt_index(a, &index);

    if (code == CODE_OK)
        code = opt_hex(a, "-h", A71CH_KEY_LEN, KEY_MAX, key.bytes, &key.len);
    if (code == CODE_OK)
        code = opt_wrap(a, &key);
    if (code == CODE_OK && key.len != A71CH_KEY_LEN && key.len != KEY_MAX) {
        fprintf(stderr, "this key has %d bytes, or %d when wrapped, not %zu\n", A71CH_KEY_LEN,
            KEY_MAX, key.len);
        t->sw = HOST_TOOL;
        code = CODE_FAILED;
    }
    if (code == CODE_OK)
        code = tool_done(t, set(t->chip, index, key.bytes, key.len));
    bm_wipe(&key, sizeof key);
    return code;
}

static enum code
set_cfg(struct tool *t, struct args *a)
{
    return set_key(t, a, a71ch_config_set);
}

static enum code
set_sym(struct tool *t, struct args *a)
{
    return set_key(t, a, a71ch_sym_set);
}

static enum code
set_cnt(struct tool *t, struct args *a)
{
    uint8_t value[4];
    struct rd r = rd_of(SPAN(value));
    unsigned index;
    size_t len;
    enum code code = opt_index(a, &index);

    if (code == CODE_OK)
        code = opt_hex(a, "-h", sizeof value, sizeof value, value, &len);
    return code == CODE_OK ? tool_done(t, a71ch_counter_set(t->chip, index, rd_u32(&r))) : code;
}

/* A certificate's DER at an offset, in no table: what came before objects. SPEC a71ch 8.3. */
static enum code
set_gp_certificate(struct tool *t, unsigned offset, struct args *a)
{
    struct buf der = { 0 };
    const char *path;
    enum code code = opt_text(a, "-c", &path);

    if (code == CODE_OK)
        code = pem_read_certificate(path, FORM_PEM, &der);
    if (code == CODE_OK)
        code = tool_done(t, a71ch_gp_write_checked(t->chip, offset, der.ptr, der.len));
    buf_fini(&der);
    return code;
}

static enum code
set_gp(struct tool *t, struct args *a)
{
    uint8_t data[STORAGE_MAX];
    unsigned offset;
    size_t len;
    enum code code = opt_offset(a, &offset);

    if (code == CODE_OK && opt_ahead(a, "-c"))
        return set_gp_certificate(t, offset, a);
    if (code == CODE_OK)
        code = opt_hex(a, "-h", 1, sizeof data, data, &len);
    return code == CODE_OK ? tool_done(t, a71ch_gp_write(t->chip, offset, data, len)) : code;
}

enum code
cmd_set(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "pair", set_pair },
        { "pub", set_pub },
        { "cfg", set_cfg },
        { "sym", set_sym },
        { "cnt", set_cnt },
        { "gp", set_gp },
        { NULL, NULL },
    };

    return tool_sub(t, a, "set", subs);
}

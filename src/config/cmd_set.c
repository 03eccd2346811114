/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `set pair|pub|gp ...`: put keys and data into the chip.
 *
 * The vendor's `-w` (wrap the key on the host) is not built: a command with it is refused as a
 * whole, because dropping the option would send the key in the clear.
 */
#include "config/pem.h"

#include <stdio.h>

enum {
    PRIVATE_MIN = 32,
    PRIVATE_MAX = 40, /* wrapped */
    PUBLIC_MAX = 72,  /* wrapped */
    STORAGE_MAX = 32,
};

static enum code
refuse_wrap(const struct args *a)
{
    return opt_ahead(a, "-w") ? tool_not_implemented("set ... -w (wrapping a key)") : CODE_OK;
}

static enum code
read_key_option(struct args *a, struct key *key)
{
    const char *path;
    enum code code = opt_text(a, "-k", &path);

    if (code == CODE_OK)
        code = refuse_wrap(a);
    return code == CODE_OK ? pem_read(path, key) : code;
}

static enum code
set_pair_from_file(struct tool *t, unsigned index, struct args *a)
{
    struct key key = { 0 };
    a71ch_result res;
    enum code code = read_key_option(a, &key);

    if (code == CODE_OK && key.is_reference) {
        fprintf(stderr, "this file is a reference key: it names a slot of a chip and holds no "
                        "private key; give the file of the real key\n");
        code = CODE_FILE_FORMAT;
    }
    if (code == CODE_OK && !key.has_scalar) {
        fprintf(stderr, "this file holds a public key only; 'set pair' wants the private key\n");
        code = CODE_PEM_READ;
    }
    if (code == CODE_OK) {
        printf("ECCPrivateKey: hidden\n");
        print_bytes_colon("ECCPublicKey", SPAN(key.point));
        res = a71ch_pair_set(t->chip, index, key.point, key.scalar, sizeof key.scalar);
        if (res != A71CH_OK)
            code = tool_chip_failed(t, res);
    }
    bm_wipe(&key, sizeof key);
    return code;
}

static enum code
set_pair_from_hex(struct tool *t, unsigned index, struct args *a)
{
    uint8_t pub[A71CH_POINT_LEN];
    uint8_t priv[PRIVATE_MAX];
    size_t pub_len;
    size_t priv_len = 0;
    a71ch_result res;
    enum code code = opt_hex(a, "-h", A71CH_POINT_LEN, A71CH_POINT_LEN, pub, &pub_len);

    if (code == CODE_OK)
        code = opt_hex(a, "-h", PRIVATE_MIN, PRIVATE_MAX, priv, &priv_len);
    if (code == CODE_OK)
        code = refuse_wrap(a);
    if (code == CODE_OK) {
        res = a71ch_pair_set(t->chip, index, pub, priv, priv_len);
        if (res != A71CH_OK)
            code = tool_chip_failed(t, res);
    }
    bm_wipe(priv, sizeof priv);
    return code;
}

static enum code
set_pair(struct tool *t, struct args *a)
{
    unsigned index;
    enum code code = opt_index(a, &index);

    if (code != CODE_OK)
        return code;
    return opt_ahead(a, "-h") ? set_pair_from_hex(t, index, a) : set_pair_from_file(t, index, a);
}

static enum code
set_pub(struct tool *t, struct args *a)
{
    struct key key = { 0 };
    uint8_t given[PUBLIC_MAX];
    struct span pub = SPAN(key.point);
    unsigned index;
    a71ch_result res;
    enum code code = opt_index(a, &index);

    if (code != CODE_OK)
        return code;
    if (opt_ahead(a, "-h")) {
        pub.ptr = given;
        code = opt_hex(a, "-h", A71CH_POINT_LEN, PUBLIC_MAX, given, &pub.len);
        if (code == CODE_OK)
            code = refuse_wrap(a);
    } else {
        code = read_key_option(a, &key);
        if (code == CODE_OK)
            print_bytes_colon("ECCPublicKey", pub);
    }
    if (code == CODE_OK) {
        res = a71ch_pub_set(t->chip, index, pub.ptr, pub.len);
        if (res != A71CH_OK)
            code = tool_chip_failed(t, res);
    }
    bm_wipe(&key, sizeof key);
    return code;
}

static enum code
set_gp(struct tool *t, struct args *a)
{
    uint8_t at[2];
    uint8_t data[STORAGE_MAX];
    size_t at_len;
    size_t len;
    struct rd r;
    a71ch_result res;
    enum code code = opt_hex(a, "-h", sizeof at, sizeof at, at, &at_len);

    if (code == CODE_OK && opt_ahead(a, "-c"))
        return tool_not_implemented("set gp -c (a certificate without table)");
    if (code == CODE_OK)
        code = opt_hex(a, "-h", 1, sizeof data, data, &len);
    if (code != CODE_OK)
        return code;
    r = rd_of(SPAN(at));
    res = a71ch_gp_write(t->chip, rd_u16(&r), data, len);
    return res == A71CH_OK ? CODE_OK : tool_chip_failed(t, res);
}

enum code
cmd_set(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "pair", set_pair },
        { "pub", set_pub },
        { "gp", set_gp },
        { "cfg", NULL },
        { "sym", NULL },
        { "cnt", NULL },
        { NULL, NULL },
    };

    return tool_sub(t, a, "set", subs);
}

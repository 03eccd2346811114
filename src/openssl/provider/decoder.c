/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider.h: DER decoders that know reference keys and nothing else. Any other file is
 * declined by success without an object, and libcrypto goes on to its own decoders. SPEC
 * openssl 1.2
 */
#include "openssl/provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdlib.h>

enum { FILE_MAX = 512 }; /* longest file looked at: a reference, with room for PKCS#8 attributes */

typedef enum bm_err parse_fn(struct span der, struct refkey *out);

static OSSL_FUNC_decoder_newctx_fn new_ctx;
static OSSL_FUNC_decoder_freectx_fn free_ctx;
static OSSL_FUNC_decoder_does_selection_fn does_selection;
static OSSL_FUNC_decoder_decode_fn decode_sec1;
static OSSL_FUNC_decoder_decode_fn decode_pkcs8;
static OSSL_FUNC_decoder_export_object_fn export_object;

/* The context is the provider itself: a decoder keeps nothing between two files. */
static void *
new_ctx(void *provctx)
{
    return prov_ref(provctx);
}

static void
free_ctx(void *ctx)
{
    prov_unref(ctx);
}

static int
does_selection(void *provctx, int selection)
{
    (void)provctx;
    return selection == 0 || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

static bool
read_more(const struct prov *p, OSSL_CORE_BIO *in, struct wr *to, size_t len)
{
    while (len > 0) {
        uint8_t piece[64];
        size_t got = 0;

        if (!p->bio_read(in, piece, len < sizeof piece ? len : sizeof piece, &got) || got == 0)
            return false;
        wr_bytes(to, piece, got);
        len -= got;
    }
    return !to->failed;
}

/* One DER SEQUENCE and not a byte more: what follows in the file is another object's. */
static bool
read_element(const struct prov *p, OSSL_CORE_BIO *in, struct wr *to)
{
    struct rd header;
    size_t len;

    if (!read_more(p, in, to, 2))
        return false;
    header = rd_of(span_of(to->start, wr_len(to)));
    if (rd_u8(&header) != 0x30)
        return false;
    len = rd_u8(&header);
    if (len >= 0x80) {
        size_t octets = len & 0x7f;

        if (octets < 1 || octets > 2 || !read_more(p, in, to, octets))
            return false;
        header = rd_of(span_of(to->start, wr_len(to)));
        (void)rd_u16(&header);
        len = octets == 1 ? rd_u8(&header) : rd_u16(&header);
    }
    return len <= FILE_MAX && read_more(p, in, to, len);
}

static int
hand_over(struct prov *p, const struct refkey *ref, OSSL_CALLBACK *cb, void *cbarg)
{
    struct key *k = key_from_reference(p, ref);
    int ok;

    if (k == NULL)
        return 0; /* raised; an error, because the next decoder would make an ordinary key of it */
    ok = key_give(&k, cb, cbarg);
    key_unref(k); /* NULL when keymgmt took it */
    return ok;
}

static int
decode(struct prov *p, parse_fn *parse, OSSL_CORE_BIO *in, OSSL_CALLBACK *cb, void *cbarg)
{
    uint8_t der[FILE_MAX + 4];
    struct wr w = wr_of(der, sizeof der);
    struct refkey ref;
    bool is_reference = read_element(p, in, &w) && parse(span_of(der, wr_len(&w)), &ref) == BM_OK;

    bm_wipe(der, sizeof der); /* an ordinary private key, most of the time */
    return is_reference ? hand_over(p, &ref, cb, cbarg) : 1;
}

static int
decode_sec1(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *cb, void *cbarg,
    OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    (void)selection;
    (void)pw_cb;
    (void)pw_cbarg;
    return decode(ctx, refkey_parse_sec1, in, cb, cbarg);
}

static int
decode_pkcs8(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *cb, void *cbarg,
    OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    (void)selection;
    (void)pw_cb;
    (void)pw_cbarg;
    return decode(ctx, refkey_parse_pkcs8, in, cb, cbarg);
}

/* For a key management of another provider: the public half is all there is to give. */
static int
export_object(void *ctx, const void *reference, size_t len, OSSL_CALLBACK *cb, void *cbarg)
{
    struct key *const *from = reference;

    (void)ctx;
    if (len != sizeof *from || *from == NULL)
        return 0;
    return EVP_PKEY_export((*from)->soft, EVP_PKEY_PUBLIC_KEY, cb, cbarg);
}

#define DECODER_FUNCTIONS(decode_fn)                                                               \
    {                                                                                              \
        PROV_FN(OSSL_FUNC_DECODER_NEWCTX, new_ctx), PROV_FN(OSSL_FUNC_DECODER_FREECTX, free_ctx),  \
            PROV_FN(OSSL_FUNC_DECODER_DOES_SELECTION, does_selection),                             \
            PROV_FN(OSSL_FUNC_DECODER_DECODE, decode_fn),                                          \
            PROV_FN(OSSL_FUNC_DECODER_EXPORT_OBJECT, export_object), PROV_END                      \
    }

static const OSSL_DISPATCH sec1_functions[] = DECODER_FUNCTIONS(decode_sec1);
static const OSSL_DISPATCH pkcs8_functions[] = DECODER_FUNCTIONS(decode_pkcs8);

const OSSL_ALGORITHM decoder_algorithms[] = {
    { PROV_EC_NAMES, PROV_PROPERTIES ",input=der,structure=type-specific", sec1_functions,
        "A71CH reference key, SEC 1" },
    { PROV_EC_NAMES, PROV_PROPERTIES ",input=der,structure=PrivateKeyInfo", pkcs8_functions,
        "A71CH reference key, PKCS#8" },
    { NULL, NULL, NULL, NULL },
};

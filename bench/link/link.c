/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation of liba71ch on a chip, for bench/link/count.py, which counts what it costs.
 *
 * usage: bench_link ADDRESS OPERATION      see the table below; `prepare` makes what they need
 */
#include "a71ch.h"

#include <stdio.h>
#include <string.h>

enum { CERT_LEN = 500, CERT_INDEX = 2 };

static const a71ch_scp_keys keys = { "encencencencenc", "macmacmacmacmac", "dekdekdekdekdek" };

static a71ch_result
do_prepare(a71ch *chip)
{
    uint8_t cert[CERT_LEN] = { 0x30, 0x82, (CERT_LEN - 4) >> 8, (CERT_LEN - 4) & 0xff };
    uint8_t point[A71CH_POINT_LEN];
    a71ch_result res = a71ch_pair_generate(chip, 0);

    if (res == A71CH_OK)
        res = a71ch_pair_get_public(chip, 0, point);
    if (res == A71CH_OK)
        res = a71ch_pub_set(chip, 0, point, sizeof point);
    if (res == A71CH_OK)
        res = a71ch_object_write(chip, A71CH_CERTIFICATE, CERT_INDEX, cert, sizeof cert, 0);
    return res == A71CH_OK ? a71ch_scp_put_keys(chip, 1, &keys) : res;
}

static a71ch_result
do_connect(a71ch *chip)
{
    (void)chip;
    return A71CH_OK;
}

static a71ch_result
do_sign(a71ch *chip)
{
    static const uint8_t hash[A71CH_HASH_LEN] = { 1 };
    uint8_t sig[A71CH_SIGNATURE_MAX];
    size_t len;

    return a71ch_pair_sign(chip, 0, hash, sig, &len);
}

/* The base point of P-256: a point that is on the curve without asking the chip for one. */
static a71ch_result
do_ecdh(a71ch *chip)
{
    static const uint8_t peer[A71CH_POINT_LEN] = { 0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42,
        0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb,
        0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe,
        0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57,
        0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5 };
    uint8_t secret[A71CH_SECRET_LEN];

    return a71ch_pair_ecdh(chip, 0, peer, secret);
}

static a71ch_result
do_public(a71ch *chip)
{
    uint8_t point[A71CH_POINT_LEN];

    return a71ch_pair_get_public(chip, 0, point);
}

static a71ch_result
do_random(a71ch *chip)
{
    uint8_t bytes[32];

    return a71ch_get_random(chip, bytes, sizeof bytes);
}

static a71ch_result
do_certificate(a71ch *chip)
{
    uint8_t cert[CERT_LEN];
    size_t len = sizeof cert;

    return a71ch_certificate_read(chip, CERT_INDEX, cert, &len);
}

static a71ch_result
do_channel(a71ch *chip)
{
    return a71ch_channel_open(chip, &keys, 0);
}

static a71ch_result
do_channel_sign(a71ch *chip)
{
    a71ch_result res = do_channel(chip);

    return res == A71CH_OK ? do_sign(chip) : res;
}

static a71ch_result
do_channel_ecdh(a71ch *chip)
{
    a71ch_result res = do_channel(chip);

    return res == A71CH_OK ? do_ecdh(chip) : res;
}

static const struct {
    const char *name;
    a71ch_result (*run)(a71ch *chip);
} operations[] = {
    { "prepare", do_prepare },
    { "connect", do_connect },
    { "sign", do_sign },
    { "ecdh", do_ecdh },
    { "public", do_public },
    { "random", do_random },
    { "certificate", do_certificate },
    { "channel", do_channel },
    { "channel-sign", do_channel_sign },
    { "channel-ecdh", do_channel_ecdh },
};

int
main(int argc, char **argv)
{
    a71ch *chip = NULL;
    a71ch_result res = A71CH_ERR_ARG;

    for (size_t i = 0; argc == 3 && i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(operations[i].name, argv[2]) != 0)
            continue;
        res = a71ch_open(argv[1], NULL, &chip);
        if (res == A71CH_OK)
            res = operations[i].run(chip);
    }
    if (chip == NULL)
        fprintf(stderr, "usage: bench_link ADDRESS OPERATION\n");
    else if (res != A71CH_OK)
        fprintf(stderr, "bench_link: %s\n", a71ch_message(chip));
    a71ch_close(chip);
    return res == A71CH_OK ? 0 : 1;
}

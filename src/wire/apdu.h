/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command and response APDUs of the A71CH as bytes: short form only. SPEC a71ch 2.1, 2.2.
 *
 * Shared by the chip and the host library, so its tests use vectors from the specification, never
 * our own encoder.
 */
#ifndef BM_WIRE_APDU_H
#define BM_WIRE_APDU_H

#include "base/bytes.h"

enum {
    APDU_DATA_MAX = 255,                  /* command data in the clear */
    APDU_CMD_MAX = 5 + APDU_DATA_MAX + 1, /* header, Lc, data, Le */
    APDU_RSP_MAX = 256 + 2,               /* data and status word */
    APDU_CHUNK = 239,                     /* NXP's host splits long transfers here, SPEC 2.1 */
};

/* Status words, SPEC a71ch 2.2. */
enum {
    SW_OK = 0x9000,
    SW_WRONG_LENGTH = 0x6700,
    SW_SECURITY_STATUS = 0x6982,
    SW_CONDITIONS = 0x6985,
    SW_NOT_ALLOWED = 0x6986,
    SW_WRONG_DATA = 0x6a80,
    SW_NOT_FOUND = 0x6a82,
    SW_WRONG_P1P2 = 0x6a86,
    SW_NO_REFERENCE = 0x6a88,
    SW_INS_UNKNOWN = 0x6d00,
    SW_CLA_UNKNOWN = 0x6e00,
};

/* Instruction = object class or action, SPEC a71ch 2.1. One name per row of 2.3 to 2.7. */
enum {
    INS_PAIR_GET = 0x11,
    INS_PAIR_SET = 0x12,
    INS_PAIR_FREEZE = 0x13,
    INS_PAIR_ERASE = 0x14,
    INS_PAIR_SIGN = 0x15,
    INS_PAIR_MASTER = 0x16, /* ECDHE-PSK master secret */
    INS_PAIR_ECDH = 0x17,
    INS_PUB_GET = 0x21,
    INS_PUB_SET = 0x22,
    INS_PUB_FREEZE = 0x23,
    INS_PUB_ERASE = 0x24,
    INS_PUB_VERIFY = 0x25,
    INS_CONFIG_SET = 0x32,
    INS_SYM_SET = 0x42,
    INS_SYM_FREEZE = 0x43, /* applets before 1.3 */
    INS_SYM_ERASE = 0x44,
    INS_SYM_HKDF = 0x45,
    INS_SYM_MASTER = 0x46, /* PSK master secret */
    INS_SYM_HMAC = 0x47,
    INS_INIT_UPDATE = 0x50, /* INITIALIZE UPDATE, SPEC a71ch 4 */
    INS_COUNTER_GET = 0x61,
    INS_COUNTER_SET = 0x62,
    INS_COUNTER_ERASE = 0x64,
    INS_GP_GET = 0x71,
    INS_GP_SET = 0x72,
    INS_GP_FREEZE = 0x73,
    INS_EXT_AUTH = 0x82, /* EXTERNAL AUTHENTICATE */
    INS_MODULE_GET = 0x91,
    INS_MODULE_SET = 0x92,
    INS_DEBUG_DISABLE = 0x93,
    INS_DEBUG_RESET = 0x94,
    INS_RANDOM = 0x95,
    INS_SHA256 = 0x96,
    INS_SELECT = 0xa4,
    INS_PUT_KEY = 0xd8,
    INS_REFLECT = 0xfe,
};

/* One command. `data` is borrowed. */
struct apdu {
    uint8_t cla;
    uint8_t ins;
    uint8_t p1;
    uint8_t p2;
    struct span data; /* 0..255 bytes */
    int le;           /* bytes wanted back: -1 no Le byte, else 0..256 (256 travels as 00) */
};

/*
 * Read one command that fills `in` exactly: cases 1, 2S, 3S, 4S of ISO 7816-3 12.1.3.
 * BM_ERR_INPUT: shorter than 4 bytes, an Lc that does not fit the length, or an extended form.
 */
enum bm_err apdu_parse(struct span in, struct apdu *out);

/* Append the command, 4..261 bytes. BM_ERR_ARG: data or le out of range. BM_ERR_SPACE: no room. */
enum bm_err apdu_build(struct wr *out, const struct apdu *cmd);

/* Split a response into data (borrowed) and status word. BM_ERR_PROTO: shorter than 2 bytes. */
enum bm_err apdu_split(struct span rsp, struct span *data, uint16_t *sw);

#endif

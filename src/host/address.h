/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a chip is: the address text of a71ch_open() taken apart. Pure, no I/O but getenv. SPEC
 * a71ch 6.2.
 */
#ifndef BM_HOST_ADDRESS_H
#define BM_HOST_ADDRESS_H

#include "base/err.h"

enum {
    ADDRESS_HOST_LEN = 256, /* with terminator */
    ADDRESS_PORT_LEN = 6,
    ADDRESS_PATH_LEN = 256,
    ADDRESS_SOCKET_LEN = 108, /* sun_path */
    ADDRESS_TEXT_LEN = 288,
    ADDRESS_I2C_DEFAULT = 0x48, /* SPEC 5.1 */
};

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX, ADDRESS_I2C, ADDRESS_SIM };

struct address {
    enum address_kind kind;
    char host[ADDRESS_HOST_LEN]; /* TCP; an IPv6 literal stands here without brackets */
    char port[ADDRESS_PORT_LEN]; /* TCP; "1".."65535" */
    char path[ADDRESS_PATH_LEN]; /* Unix; I2C: the device; sim: the folder */
    unsigned i2c;                /* I2C: the chip's address on the bus, 7 bits */
    char text[ADDRESS_TEXT_LEN]; /* the normal form: "tcp:HOST:PORT", "unix:PATH", "i2c:DEVICE" ...
                                  */
};

/*
 * Read `text`: tcp:HOST:PORT, HOST:PORT, unix:PATH, i2c:DEVICE[:0xADDR] or sim:DIR; an IPv6 literal
 * in brackets. BM_ERR_INPUT: no such form. The message has the cure.
 */
enum bm_err chip_address_parse(const char *text, struct address *out, struct bm_msg *msg);

/* From the environment: A71CH_ADDRESS, RJCT_SERVER_ADDR (host alone: port 8050), 127.0.0.1:8050. */
enum bm_err chip_address_from_environment(struct address *out, struct bm_msg *msg);

#endif

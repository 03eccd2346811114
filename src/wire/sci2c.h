/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCI2C, the chip's I2C link, as bytes: protocol control bytes (PCB) and frames. SPEC a71ch 5.
 *
 * The master writes [PCB], or [PCB][LEN][data] for a piece of a command. To read it writes [PCB]
 * and, after a repeated start, reads [LEN][PCB'][data], where LEN counts PCB' and the data. There
 * is no checksum: the two EDC bits are always 00.
 */
#ifndef BM_WIRE_SCI2C_H
#define BM_WIRE_SCI2C_H

#include "base/bytes.h"

enum {
    SCI2C_ADDRESS = 0x48,  /* 7 bits, SPEC 5.1 */
    SCI2C_SEND_MAX = 253,  /* data bytes of one master frame, SPEC 5.2 */
    SCI2C_WRITE_MAX = 255, /* PCB, LEN, data */
    SCI2C_REPLY_MAX = 256, /* LEN, PCB', data: the most that LEN can say */
    SCI2C_SEQUENCES = 8,   /* 0..7, then 0 again */
    SCI2C_SIZE_CODES = 4,
};

/* Fixed PCBs, SPEC 5.3. */
enum {
    SCI2C_PCB_WAKE_UP = 0x0f,
    SCI2C_PCB_SOFT_RESET = 0x1f,
    SCI2C_PCB_ATR = 0x2f,
    SCI2C_PCB_STATUS = 0x07,
    SCI2C_PCB_RECEIVE_FIRST = 0x82,
    SCI2C_PCB_RECEIVE = 0x02,
};

enum sci2c_kind {
    SCI2C_WAKE_UP,
    SCI2C_SOFT_RESET,
    SCI2C_ATR,
    SCI2C_PARAMETERS, /* size_code */
    SCI2C_STATUS,
    SCI2C_SEND,    /* more, sequence, edc */
    SCI2C_RECEIVE, /* more: bit 7, the first request */
    SCI2C_UNKNOWN, /* binding select (03), 0B and what no row of SPEC 5.3 names */
};

/* SPEC 5.5: the upper half of the status byte. */
enum sci2c_status {
    SCI2C_READY = 0x0,
    SCI2C_BUSY = 0x1,
    SCI2C_NO_DIAGNOSIS = 0x8,
    SCI2C_OVER_CLOCKING = 0x9,
    SCI2C_BAD_SEQUENCE = 0xa,
    SCI2C_BAD_LENGTH = 0xb,
    SCI2C_UNEXPECTED = 0xc,
    SCI2C_BAD_EDC = 0xd,
    SCI2C_OTHER = 0xf,
};

struct sci2c_pcb {
    enum sci2c_kind kind;
    bool more;
    uint8_t sequence;  /* 0..7 */
    uint8_t edc;       /* 0..3, 0 in all valid frames */
    uint8_t size_code; /* 0..3 */
};

struct sci2c_pcb sci2c_pcb_parse(uint8_t pcb); /* of the master; every byte has a meaning */

/* The PCB of a piece of a command. */
uint8_t sci2c_pcb_send(bool more, uint8_t sequence);

/* Parameter exchange, SPEC 5.4: request, the slave's reply, and what a master accepts. */
uint8_t sci2c_pcb_parameters(uint8_t size_code);
uint8_t sci2c_parameters_reply(uint8_t size_code, uint8_t variant); /* 0..3, all accepted */
bool sci2c_parameters_accepted(uint8_t size_code, uint8_t reply);

/*
 * Bytes of a whole slave frame for a size code: 31, 63, 127, 254. SPEC 5.4 does not know whether
 * the chip counts LEN and PCB' among them; the emulated slave of 5.9 does, so we do.
 */
size_t sci2c_frame_size(uint8_t size_code);

uint8_t sci2c_status_byte(enum sci2c_status status);
bool sci2c_is_exception(uint8_t pcb); /* in any reply: (PCB' & 8F) == 87 */

/*
 * Append one master frame [PCB][LEN][data]. BM_ERR_ARG: data is not 1..253 bytes. BM_ERR_SPACE.
 */
enum bm_err sci2c_send_build(struct wr *out, uint8_t pcb, struct span data);

/* Read the part after the PCB. BM_ERR_INPUT: LEN is 0, above 253, or not what follows. */
enum bm_err sci2c_send_parse(struct rd *in, struct span *data);

/* Append one slave frame [LEN][PCB'][data]. BM_ERR_ARG: data above 254 bytes. BM_ERR_SPACE. */
enum bm_err sci2c_reply_build(struct wr *out, uint8_t pcb, struct span data);

/*
 * Take one slave frame off `in`; bytes after it are left (a master may clock more than it needs).
 * BM_ERR_PROTO: LEN is 0. BM_ERR_MORE: not all here.
 */
enum bm_err sci2c_reply_parse(struct rd *in, uint8_t *pcb, struct span *data);

#endif

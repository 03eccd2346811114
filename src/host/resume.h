/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session between two programs: what a71ch_session_export() gives and a71ch_session_resume()
 * takes. SPEC a71ch 4.7, 7.3. Numbers are big-endian:
 *
 *     4  "A71S"
 *     1  version, 1
 *     1  link: 1 I2C, 2 socket
 *     1  sequence number of the next frame, 0..7; 0 for a socket. SPEC 5.3
 *     2  applet version, 2 SecureBox version
 *     1  length of the ATR, and the ATR
 *     1  1 when a secure channel is up, then SCP03_SAVED_LEN bytes of scp03_client_save
 *     4  CRC-32 of all before, against damage on the way; it proves nothing
 */
#ifndef BM_HOST_RESUME_H
#define BM_HOST_RESUME_H

#include "host/host.h"

enum { SESSION_CRC_LEN = 4, SESSION_HEAD_LEN = 5 };

/* A71CH_ERR_SPACE: no room; A71CH_ERR_CHANNEL: the channel is over. */
a71ch_result session_write(a71ch *chip, struct wr *out);

/*
 * Make the handle, which has its address and kind of link but no channel, what the bytes say.
 * A71CH_ERR_SESSION: they say nothing that fits; A71CH_ERR_MEMORY.
 */
a71ch_result session_read(a71ch *chip, struct span bytes);

uint32_t session_crc(struct span bytes);

#endif

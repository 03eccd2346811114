/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I2C link: a chip on a bus of this machine, over Linux i2c-dev and SCI2C. SPEC a71ch 5.
 *
 * It takes the place of link_exchange and speaks in the same messages: "wait for card" is soft
 * reset, ATR and parameter exchange (5.6), "APDU" is 5.7. After any failure it closes, as the
 * socket link does: a command must not run twice, so it is never sent again by itself. Opening
 * again brings both sides into step, whatever was under way.
 *
 * Tested against the simulator only. It waits as long as the vendor's host does, since the real
 * chip's needs are not known.
 */
#ifndef BM_HOST_I2C_H
#define BM_HOST_I2C_H

#include "host/link.h"

/*
 * Open the device and wait until the chip is ready. BM_ERR_IO: no device, no permission, an adapter
 * that cannot do it, nobody at the address. BM_ERR_CONFLICT: another program of this library has
 * the bus. BM_ERR_TIMEOUT: the chip stays busy. *l names the address already. `resume`: without a
 * soft reset, come what may.
 */
enum bm_err i2c_open(struct link *l, const struct address *address, unsigned timeout_ms,
    bool resume, struct bm_msg *msg);

/* As link_exchange. */
enum bm_err i2c_exchange(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg);

#endif

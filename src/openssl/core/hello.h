/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chip's own way to a PSK master secret of TLS 1.2: it makes the ClientHello's random, and the
 * very next command to it makes the master secret. SPEC a71ch 3.5, SPEC openssl 3.2.
 *
 * libssl tells nobody that it begins a handshake, so each random that might become a
 * ClientHello.random is the chip's, and the last one counts: one handshake at a time. The commands
 * go over a connection of their own, on which nothing else is said; a simulator keeps clients
 * apart, but behind a real bus any other client's command between the two spoils the handshake. No
 * lease is taken: a slow server would keep the chip from everybody.
 *
 * For ECDHE_PSK the key pair is one of the chip's; its public half is read before the random is
 * made. With `renew` the chip makes a new one after each use, else it is the same every time and
 * there is no forward secrecy.
 */
#ifndef BM_OPENSSL_HELLO_H
#define BM_OPENSSL_HELLO_H

#include "openssl/core/shared_chip.h"

enum { HELLO_NO_PAIR = -1 };

/* Stands for the ECDHE secret that only the chip can make; not to be guessed. */
enum { HELLO_TICKET_LEN = 16 };

struct hello;

/* Takes over `own`, a connection that nothing else uses; NULL for it: NULL. `pair`: of ECDHE_PSK,
 * or HELLO_NO_PAIR. NULL: memory is short, and `own` is freed. */
struct hello *hello_new(struct shared_chip *own, int pair, bool renew);
void hello_free(struct hello *h); /* takes NULL */

/* All may be called by any thread and fail as shared_chip_do() does. */

/* A random for a ClientHello. An earlier one is void. */
enum bm_err hello_make(struct hello *h, uint8_t out[A71CH_RANDOM_LEN], struct bm_msg *msg);

/* The public half to be sent with the last random. BM_ERR_NOT_FOUND: there is none. */
enum bm_err hello_point(
    struct hello *h, unsigned *pair, uint8_t out[A71CH_POINT_LEN], struct bm_msg *msg);

/* Keep the peer's point until the master secret is made with this ticket. */
enum bm_err hello_set_peer(struct hello *h, const uint8_t peer[A71CH_POINT_LEN],
    const uint8_t ticket[HELLO_TICKET_LEN], struct bm_msg *msg);

/*
 * The master secret of the last random, once. `ticket` NULL: plain PSK. BM_ERR_CONFLICT: the
 * handshake's random is not the last one, or the ticket is not this handshake's.
 */
enum bm_err hello_master(struct hello *h, unsigned index, unsigned blocks,
    const uint8_t *ticket /* HELLO_TICKET_LEN */, const uint8_t client_random[A71CH_RANDOM_LEN],
    const uint8_t server_random[A71CH_RANDOM_LEN], uint8_t out[A71CH_MASTER_LEN],
    struct bm_msg *msg);

#endif

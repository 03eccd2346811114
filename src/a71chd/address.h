/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a71chd listens and is asked: `tcp:HOST:PORT`, `HOST:PORT` or `unix:PATH`; and
 * `i2c-unix:PATH`, where it is the slave of a simulated I2C bus (wire/i2cbus.h).
 */
#ifndef BM_A71CHD_ADDRESS_H
#define BM_A71CHD_ADDRESS_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

struct address {
    struct sockaddr_storage sa;
    socklen_t len;
    bool i2c; /* a SOCK_SEQPACKET socket */
};

/* Read an address; HOST may be a name. BM_ERR_ARG: not of either form, or an unknown host. */
enum bm_err address_from_text(const char *text, struct address *out, struct bm_msg *msg);

/* As parsed: "tcp:127.0.0.1:8050", "tcp:[::1]:8050", "unix:PATH", "i2c-unix:PATH". */
enum { ADDRESS_TEXT_LEN = 160 };
void address_text(char out[ADDRESS_TEXT_LEN], const struct address *a);

/* The path of a Unix address, NULL for others. */
const char *address_path(const struct address *a);

/* Are there `count` ports from this one on? Not at port 0, nor for other than TCP addresses. */
bool address_has_ports(const struct address *a, size_t count);
void address_add_port(struct address *a, size_t more);

/* Can only this machine reach it? */
bool address_local(const struct address *a);

/*
 * A listening socket, non-blocking. Port 0 becomes a free port, written back to `a`. A Unix socket
 * gets mode 0600 and replaces a file that nobody listens on. BM_ERR_CONFLICT: address is in use.
 */
enum bm_err address_listen(struct address *a, int *fd, struct bm_msg *msg);

/* A connected socket, blocking, with time-outs of `timeout_ms` for each send and receive. */
enum bm_err address_connect(const struct address *a, int timeout_ms, int *fd, struct bm_msg *msg);

#endif

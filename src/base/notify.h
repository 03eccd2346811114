/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tell systemd how the service is: sd_notify(3), which is a datagram of lines. Nothing happens when
 * nobody asked for it (NOTIFY_SOCKET).
 */
#ifndef BM_BASE_NOTIFY_H
#define BM_BASE_NOTIFY_H

#include <stdint.h>

/* "READY=1", "WATCHDOG=1", "STATUS=connected"; several are separated by line ends. */
void notify_send(const char *state);
/* How often the watchdog must hear from us, in ms (WATCHDOG_USEC, for this process); 0: never. */
int64_t notify_watchdog_ms(void);

#endif

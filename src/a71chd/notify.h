/* SPDX-License-Identifier: Apache-2.0 */
/* Tell systemd that the service is ready: sd_notify(3), which is one datagram. */
#ifndef BM_A71CHD_NOTIFY_H
#define BM_A71CHD_NOTIFY_H

/* Does nothing when nobody asked for it (NOTIFY_SOCKET). */
void notify_ready(void);

#endif

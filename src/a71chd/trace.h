/* SPDX-License-Identifier: Apache-2.0 */
/* APDUs in the log at trace level, without the secrets in them. */
#ifndef BM_A71CHD_TRACE_H
#define BM_A71CHD_TRACE_H

#include "base/bytes.h"

/* Hex of header and data, or of the header and the data's length when it may hold a secret. */
void trace_command(unsigned client, struct span cmd);
void trace_response(unsigned client, struct span cmd, struct span rsp);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a connection. What is not in the table cannot happen; a test walks the matrix. */
#include "endpoint/inside.h"

bool
conn_next(enum conn_state from, enum conn_event event, enum conn_state *to)
{
    /* 0 (CONN_TLS is never entered again) stands for: cannot happen */
    static const uint8_t table[CONN_STATES][CONN_EVENTS] = {
        [CONN_TLS] = { [EV_TLS_DONE] = CONN_HELLO, [EV_END] = CONN_CLOSED },
        [CONN_HELLO] = { [EV_ASK] = CONN_VERDICT,
            [EV_KNOWN] = CONN_POLICY,
            [EV_FLUSH] = CONN_CLOSING,
            [EV_END] = CONN_CLOSED },
        [CONN_VERDICT] = { [EV_KNOWN] = CONN_POLICY,
            [EV_FLUSH] = CONN_CLOSING,
            [EV_END] = CONN_CLOSED },
        [CONN_POLICY] = { [EV_ALLOWED] = CONN_BROKER,
            [EV_FLUSH] = CONN_CLOSING,
            [EV_END] = CONN_CLOSED },
        [CONN_BROKER] = { [EV_SENT] = CONN_CONNACK,
            [EV_FLUSH] = CONN_CLOSING,
            [EV_END] = CONN_CLOSED },
        [CONN_CONNACK] = { [EV_ACCEPTED] = CONN_RELAY,
            [EV_FLUSH] = CONN_CLOSING,
            [EV_END] = CONN_CLOSED },
        [CONN_RELAY] = { [EV_FLUSH] = CONN_CLOSING, [EV_END] = CONN_CLOSED },
        [CONN_CLOSING] = { [EV_END] = CONN_CLOSED },
        [CONN_CLOSED] = { 0 },
    };
    uint8_t next = table[from][event];

    if (next == 0) {
        return false;
    }
    *to = (enum conn_state)next;
    return true;
}

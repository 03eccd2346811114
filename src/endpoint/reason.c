/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reason Strings of MQTT 5: the cause in words, as `birthmark explain` has it, in the packet that
 * refuses. None when the client takes no packet that long, and, beside CONNACK and DISCONNECT, none
 * when it asked for none. OASIS MQTT 5.0, 3.1.2.11.7.
 *
 * What a device is told names what it asked for, not the policies that decide.
 */
#include "endpoint/inside.h"

#include <stdlib.h>

enum { PACKET_MORE = 24 }; /* what a packet may have beside the string: eight codes of a SUBACK */

char *
reason_text(const struct conn *c, enum reason_packet packet, enum cause cause, const char *evidence)
{
    const struct cause_info *i = cause_info(cause);
    struct buf out = { 0 };

    if (c->level != 5 || (packet == REASON_STAYS && c->no_problems)) {
        return NULL;
    }
    buf_addf(&out, "%s: %s%s%s", i->id, i->sentence, evidence[0] != '\0' ? " " : "", evidence);
    if (out.failed || (c->packet_max != 0 && c->packet_max < out.len + PACKET_MORE)) {
        buf_fini(&out);
        return NULL;
    }
    return buf_cstr(&out);
}

void
reason_property(const char *text, struct buf *out)
{
    if (text != NULL) {
        mqtt_put_text(out, MQTT_PROP_REASON_STRING, span_str(text));
        out->len = out->failed ? 0 : out->len;
    }
}

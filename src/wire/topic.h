/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts of MQTT: strings, topic names and topic filters. OASIS MQTT 3.1.1, 1.5.3 and 4.7; limits of
 * SPEC aws-iot 6.
 */
#ifndef BM_WIRE_TOPIC_H
#define BM_WIRE_TOPIC_H

#include "base/bytes.h"

enum { MQTT_TOPIC_MAX = 256 };

/* Well-formed UTF-8 without U+0000 and surrogates. */
bool mqtt_string_valid(struct span s);

/* Wildcards placed correctly, 1..MQTT_TOPIC_MAX bytes, UTF-8. */
bool mqtt_topic_valid(struct span topic);
bool mqtt_filter_valid(struct span filter);
bool mqtt_has_wildcard(struct span s);
/* No shared subscription, or one whose name is not empty and has no wildcard. 5.0, 4.8.2 */
bool mqtt_share_valid(struct span filter);
/* The filter of `$share/name/filter`, which is what policies and limits mean; else as it is. */
struct span mqtt_plain_filter(struct span filter);

/*
 * Does the filter match the topic? As AWS does it (SPEC aws-iot 6.4): `x/#` does not match `x`, and
 * a wildcard at the first level does not match a topic that begins with `$`.
 */
bool mqtt_match(struct span filter, struct span topic);

#endif

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Server CPU for one message: N devices publish 100 bytes with QoS 1, one subscriber gets them all with QoS 1, everything over TLS 1.3. The
# cloud with all its processes, broker included and --no-limits, beside mosquitto's own TLS with required certificates and TCP_NODELAY.
# Rounds alternate; medians. "saturated": the devices publish as fast as they are acknowledged; else so many a second in all.
# usage: [ROUNDS=5] [SCALE=1] [WORKERS=1] [CASES="..."] bench/messages/run.sh   (BUILD as for the tests)
WORKERS=${WORKERS:-1} CLOUD_OPTIONS=--no-limits
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/../lib.sh"
SCALE=${SCALE:-1}
[ -z "$QUICK" ] || { ROUNDS=1 SCALE=0.02; }
ROUNDS=${ROUNDS:-5}
# connections,messages,options,figure
CASES=${CASES:-1,20000,--window=100,- 100,30000,--window=10,1.1 1000,20000,--window=1,- 1000,12000,--rate=4000,1.8}

messages()
{
    "$obj/bench_messages" --port "$1" --pids "$2" --cert "$work/known.crt" --key "$work/known.key" --publishers "$3" --count "$4" "$5"
}

prepare
start_peer
about "$ROUNDS rounds, $WORKERS worker(s)"
for case in $CASES; do
    n=$(echo "$case" | cut -d, -f1) how=$(echo "$case" | cut -d, -f3)
    count=$(echo "$case" | awk -F, -v s="$SCALE" '{ printf "%d", $2 * s }')
    for _ in $(seq "$ROUNDS"); do
        round "mosquitto$n$how" us_per_message messages "$peer_port" "$(peer_pids)" "$n" "$count" "$how"
        round "birthmark$n$how" us_per_message messages "$port" "$(cloud_pids)" "$n" "$count" "$how"
    done
done
for case in $CASES; do
    n=$(echo "$case" | cut -d, -f1) how=$(echo "$case" | cut -d, -f3) figure=$(echo "$case" | cut -d, -f4)
    echo "QoS 1, $n connections, ${how#--}: mosquitto $(median "$work/mosquitto$n$how") us, birthmark $(median "$work/birthmark$n$how") us, ratio $(ratio "birthmark$n$how" "mosquitto$n$how")$([ "$figure" = - ] || echo " (figure: <= $figure)")"
done

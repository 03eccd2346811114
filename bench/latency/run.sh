#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The round trip of connected devices while others connect as fast as they can, 128 at a time: 8 clients publish to themselves every 20 ms
# (QoS 0). The cloud beside mosquitto alone, in alternating rounds; medians of the rounds' quantiles. Quiet rounds come first.
# usage: [ROUNDS=5] [SECONDS_=4] [WORKERS=2] [IN_FLIGHT=128] bench/latency/run.sh   (BUILD as for the tests)
WORKERS=${WORKERS:-2}
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/../lib.sh"
[ -z "$QUICK" ] || { ROUNDS=1 SECONDS_=1; }
ROUNDS=${ROUNDS:-5} SECONDS_=${SECONDS_:-4} IN_FLIGHT=${IN_FLIGHT:-128}

latency()
{
    "$obj/bench_latency" --port "$1" --cert "$work/known.crt" --key "$work/known.key" --seconds "$SECONDS_"
}

# PORT PIDS: the same, in a storm, which is ended by its process id
stormy()
{
    "$obj/bench_connect" --port "$1" --pids "$2" --count 1000000 --in-flight "$IN_FLIGHT" --cert "$work/known.pem" --key "$work/known.key" \
        >"$work/storm.out" 2>&1 &
    storm=$!
    sleep 1
    latency "$1"
    result=$?
    kill -0 $storm || { cat "$work/storm.out"; result=1; }
    kill $storm
    wait $storm 2>/dev/null
    return $result
}

prepare
start_peer
about "$ROUNDS rounds of $SECONDS_ s, $IN_FLIGHT connects in flight, $WORKERS worker(s)"
round mosquitto.quiet p99_ms latency "$peer_port"
round birthmark.quiet p99_ms latency "$port"
for _ in $(seq "$ROUNDS"); do
    round mosquitto.storm p99_ms stormy "$peer_port" "$(peer_pids)"
    round birthmark.storm p99_ms stormy "$port" "$(cloud_pids)"
done
echo "round trip p99: quiet: mosquitto $(median "$work/mosquitto.quiet") ms, birthmark $(median "$work/birthmark.quiet") ms; in a storm: mosquitto $(median "$work/mosquitto.storm") ms, birthmark $(median "$work/birthmark.storm") ms, ratio $(ratio birthmark.storm mosquitto.storm) (figure: <= 0.2)"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Part of tests/scenario/clients.sh: the life of a device with mosquitto_pub and mosquitto_sub.
# usage: mosquitto.sh 311|5 PORT CA CERT KEY ID    prints what life_paho.py prints; they do not come back by themselves, so it calls again
set -u
level=$1 port=$2 ca=$3 cert=$4 key=$5 id=$6
log=$(mktemp)
sub=
trap 'kill $sub 2>/dev/null; rm -f "$log"; exit 0' TERM INT EXIT

mosquitto()
{
    program=$1
    shift
    exec stdbuf -oL "mosquitto_$program" -V "mqttv$level" -h 127.0.0.1 -p "$port" --cafile "$ca" --cert "$cert" --key "$key" -t "clients/$id" -q 1 "$@"
}

# TEXT: until the subscriber has printed it, or is gone
until_sub_says()
{
    until grep -q "$1" "$log"; do
        kill -0 "$sub" 2>/dev/null || return 1
        sleep 0.05
    done
}

until (mosquitto pub -i "$id" -m first >/dev/null 2>&1); do
    echo refused
    sleep 1
done
for round in 1 2; do
    : >"$log"
    (mosquitto sub -i "$id" -d >"$log" 2>&1) &
    sub=$!
    until_sub_says 'received CONNACK' && echo connected
    until_sub_says '^Subscribed (mid: 1): 1' && echo subscribed
    (mosquitto pub -i "$id-pub" -m "hello $round") && echo acknowledged
    until_sub_says "^hello $round" && echo "received hello $round"
    if [ $round = 1 ]; then
        kill "$sub"
        wait "$sub"
        echo left
    fi
done
wait "$sub" # not ended by us this time
echo "lost, exit code $?"
(mosquitto pub -i "$id" -m after >/dev/null 2>&1) || echo refused

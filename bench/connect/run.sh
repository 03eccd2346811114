#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Server CPU for one connect (full TLS 1.3 handshake with client certificate, CONNECT, CONNACK, DISCONNECT): the cloud
# with all its processes, broker included, beside mosquitto alone with the same CA, server certificate and OpenSSL.
# Rounds alternate between the two; the medians and their ratio come last. Then the first connect of unknown devices:
# registration made durable and the event published. Last, the memory of all server processes for each of HOLD idle connections.
# usage: [ROUNDS=5] [COUNT=1500] [NEW=500] [IN_FLIGHT=16] [WORKERS=1] [CHAIN=known.pem] [HOLD=3000] bench/connect/run.sh   (BUILD as for the tests)
# CHAIN=known.crt: the device sends its leaf alone, not its issuer too.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../../tests/scenario/lib.sh"
# shellcheck source=tests/scenario/libcloud.sh
. "$root/tests/scenario/libcloud.sh"
ROUNDS=${ROUNDS:-5} COUNT=${COUNT:-1500} NEW=${NEW:-500} IN_FLIGHT=${IN_FLIGHT:-16} WORKERS=${WORKERS:-1} CHAIN=${CHAIN:-known.pem} HOLD=${HOLD:-3000}
load=$BUILD/obj/bench/bench_connect

die()
{
    echo "bench/connect: $1" >&2
    exit 1
}

# the process and all below it, comma-separated
family()
{
    printf '%s' "$1"
    for kid in $(pgrep -P "$1"); do
        printf ','
        family "$kid"
    done
}

start_peer()
{
    peer_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$work/peer.conf" <<END
listener $peer_port 127.0.0.1
user $(id -un)
log_type none
allow_anonymous true
require_certificate true
tls_version tlsv1.3
cafile $work/factory.crt
certfile $work/cloud/pki/server.pem
keyfile $work/cloud/pki/server.key
END
    start peer /usr/sbin/mosquitto -c "$work/peer.conf"
    wait_for 10 mosquitto_pub -h 127.0.0.1 -p "$peer_port" --cafile "$ca" --cert "$work/known.pem" --key "$work/known.key" \
        -t a -m x || die "mosquitto does not take the device; see its log: $(cat "$work/peer.log")"
}

# one round: NAME PORT PIDS; adds to $work/NAME
round()
{
    out=$("$load" --port "$2" --count "$COUNT" --in-flight "$IN_FLIGHT" --cert "$work/$CHAIN" --key "$work/known.key" \
        --pids "$3") || die "$1: $out"
    echo "$1: $out"
    echo "$out" | sed 's/us_per_connect=\([0-9.]*\).*/\1/' >>"$work/$1.us"
}

median()
{
    sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

start_cloud ""
make_ca factory
register_ca factory || die "the CA was not registered"
make_device known factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null || die "no policy"
known=$(iot iot register-certificate --certificate-pem "file://$work/known.crt" --ca-certificate-pem "file://$work/factory.crt" \
    --status ACTIVE --query certificateId --output text) || die "the device was not registered"
iot iot attach-policy --policy-name open --target "$arn:cert/$known" || die "no policy attached"
as known mosquitto_pub -t a -m x -q 1 || die "the registered device is not admitted"
start_peer

cloud_pids=$(family "$(cat "$work/cloud.pid")")
peer_pids=$(cat "$work/peer.pid")
echo "connect: $ROUNDS rounds of $COUNT, $IN_FLIGHT in flight, $WORKERS worker(s), $(openssl version | cut -d' ' -f1,2), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
for _ in $(seq "$ROUNDS"); do
    round mosquitto "$peer_port" "$peer_pids"
    round birthmark "$port" "$cloud_pids"
done
leaf_only=
[ "$CHAIN" = known.pem ] || leaf_only=--leaf-only
for _ in 1 2 3; do
    # shellcheck disable=SC2086
    out=$("$load" --unknown $leaf_only --port "$port" --count "$NEW" --in-flight "$IN_FLIGHT" --cert "$work/factory.crt" \
        --key "$work/factory.key" --pids "$cloud_pids") || die "first connect: $out"
    echo "first connect: $out"
    echo "$out" | sed 's/us_per_connect=\([0-9.]*\).*/\1/' >>"$work/first.us"
done
# NAME PORT PIDS; each on fresh processes, because freed memory would be used again
hold()
{
    out=$("$load" --hold --port "$2" --count "$HOLD" --in-flight "$IN_FLIGHT" --cert "$work/$CHAIN" --key "$work/known.key" \
        --pids "$3") || die "$1: $out"
    echo "$1, idle: $out"
    echo "$out" | sed 's/bytes_per_connection=\([0-9.]*\).*/\1/' >"$work/$1.bytes"
}
stop peer
start_peer
hold mosquitto "$peer_port" "$(cat "$work/peer.pid")"
stop cloud
start_cloud ""
hold birthmark "$port" "$(family "$(cat "$work/cloud.pid")")"

awk -v m="$(cat "$work/mosquitto.bytes")" -v b="$(cat "$work/birthmark.bytes")" 'BEGIN {
    printf "memory per idle connection: mosquitto %.1f KB, birthmark %.1f KB, ratio %.2f (figure: <= 0.85)\n", m / 1024, b / 1024, b / m }'
awk -v m="$(median "$work/mosquitto.us")" -v b="$(median "$work/birthmark.us")" -v f="$(median "$work/first.us")" 'BEGIN {
    printf "server CPU per connect, median: mosquitto %.0f us, birthmark %.0f us, ratio %.2f (figure: <= 0.55)\n", m, b, b / m
    printf "first connect of an unknown device: %.0f us, %.2f of a registered one (figure: <= 1.3)\n", f, f / b }'

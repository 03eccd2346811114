# SPDX-License-Identifier: Apache-2.0
# What the benchmarks beside mosquitto share: sourced by bench/*/run.sh, after which $0 is still theirs.
#
#   QUICK=1           a smoke test of the benchmark itself: few rounds, small numbers, figures that mean nothing
#   die TEXT          end
#   about TEXT        the heading: what, versions, cores, load
#   family PID        it and all below it, comma-separated
#   prepare           the cloud (CLOUD_OPTIONS, WORKERS) with an ACTIVE device: $work/known.crt, .pem (with issuer), .key
#   start_peer [VERSION]  mosquitto alone: required certificates, TCP_NODELAY, the cloud's certificate; TLS tlsv1.3 unless told;
#                     no limits of messages in flight and queued, as the cloud's own has with --no-limits
#   restart_cloud     the same folder, new processes and ports
#   cloud_pids, peer_pids  of all processes of the two
#   round NAME KEY COMMAND...  one measurement: prints what it says, adds the number behind KEY= to $work/NAME
#   median FILE       of its lines
#   ratio A B         median(A) / median(B)
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../../tests/scenario/lib.sh"
# shellcheck source=tests/scenario/libcloud.sh
. "$root/tests/scenario/libcloud.sh"
QUICK=${QUICK:-}
obj=$BUILD/obj/bench
bench=$(basename "$(dirname "$0")")

die()
{
    echo "bench/$bench: $1" >&2
    exit 1
}

about()
{
    version=$(ldd "$bin/birthmark" | sed -n 's/.*libcrypto.so.3 => \([^ ]*\) .*/\1/p' | xargs grep -aom1 'OpenSSL 3[.0-9]* ')
    echo "$bench: $1; ${version% }, mosquitto $(/usr/sbin/mosquitto -h | sed -n 's/^mosquitto version //p'), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
}

family()
{
    printf '%s' "$1"
    for kid in $(pgrep -P "$1"); do
        printf ','
        family "$kid"
    done
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

prepare()
{
    start_cloud ""
    make_ca factory
    register_ca factory || die "the CA was not registered"
    make_device known factory
    iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null || die "no policy"
    known=$(iot iot register-certificate --certificate-pem "file://$work/known.crt" --ca-certificate-pem "file://$work/factory.crt" \
        --status ACTIVE --query certificateId --output text) || die "the device was not registered"
    iot iot attach-policy --policy-name open --target "$arn:cert/$known" || die "no policy attached"
    as known mosquitto_pub -t a -m x -q 1 || die "the registered device is not admitted"
}

restart_cloud()
{
    stop cloud
    wait_for 20 flock -n "$work/cloud/run/lock" true # the workers that outlived it hold it for a moment
    start_cloud ""
}

start_peer()
{
    peer_port=$(free_port)
    cat >"$work/peer.conf" <<END
listener $peer_port 127.0.0.1
user $(id -un)
log_type none
allow_anonymous true
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
require_certificate true
tls_version ${1:-tlsv1.3}
cafile $work/factory.crt
certfile $work/cloud/pki/server.pem
keyfile $work/cloud/pki/server.key
END
    start peer /usr/sbin/mosquitto -c "$work/peer.conf"
    wait_for 10 mosquitto_pub -h 127.0.0.1 -p "$peer_port" --cafile "$ca" --cert "$work/known.pem" --key "$work/known.key" \
        -t a -m x || die "mosquitto does not take the device; see its log: $(cat "$work/peer.log")"
}

cloud_pids() { family "$(cat "$work/cloud.pid")"; }
peer_pids() { cat "$work/peer.pid"; }

round()
{
    into=$1 key=$2
    shift 2
    out=$("$@") || die "$into: $out"
    echo "$into: $out"
    echo "$out" | tr ' ' '\n' | sed -n "s/^$key=//p" >>"$work/$into"
}

median()
{
    sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

ratio() { awk -v a="$(median "$work/$1")" -v b="$(median "$work/$2")" 'BEGIN { printf "%.2f", a / b }'; }

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The device over a network that loses packets, in a network namespace of its own: every message arrives.
if [ "${BIRTHMARK_IN_NAMESPACE:-}" != 1 ]; then
    for how in "unshare -n" "unshare -rn"; do
        $how sh -c 'PATH=/usr/sbin:/sbin:$PATH; ip link set lo up && tc qdisc add dev lo root tbf rate 500kbit burst 1600 limit 1600' 2>/dev/null || continue
        BIRTHMARK_IN_NAMESPACE=1 $how "$0" "$@"
        exit $?
    done
    echo "skip - a network namespace with a shaped link cannot be made here"
    exit 0
fi
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libdevice.sh"

ip link set lo mtu 1500 up
start_cloud
make_ca factory
for d in d1 d2; do
    make_device $d factory
    iot iot register-certificate-without-ca --certificate-pem "file://$work/$d.crt" --status ACTIVE >/dev/null
    let_in "$work/$d.crt"
done
state=$work/state
queued_is() { [ "$("$bin/birthmark" device queue --state "$state" | sed -n '1s/ waiting.*//p')" = "$1" ]; }
received() { [ "$(grep -cE '^loss [0-9]+ x' "$work/listener.log")" -ge "$1" ] && [ "$(grep -E '^loss [0-9]+ x' "$work/listener.log" | sort -u | wc -l)" = "$1" ]; }
unbuffered_sub() { stdbuf -oL mosquitto_sub "$@"; }
start listener as d2 unbuffered_sub -t loss -v -q 1 -d
wait_line listener Subscribed >/dev/null
# netem where the kernel has it, else a link so narrow that what does not fit is dropped
tc qdisc add dev lo root netem loss 10% 2>/dev/null || tc qdisc add dev lo root tbf rate 500kbit burst 1600 limit 1600
start device "$bin/birthmark" device run -h 127.0.0.1 -p "$port" --cafile "$ca" --state "$state" --key "$work/d1.key" --cert "$work/d1.pem" -t loss -l </dev/null
pad=$(head -c 1500 /dev/zero | tr "\\0" x)
i=0
while [ $i -lt 60 ]; do
    i=$((i + 1))
    "$bin/birthmark" device put --state "$state" -t loss -m "$i $pad" || not_ok "put takes message $i"
done
check "the queue empties" wait_for 90 queued_is 0
check "every message arrived" wait_for 60 received 60
check "although packets were lost" sh -c 'tc -s qdisc show dev lo | grep -E "dropped [1-9]"'
check "without a busy loop" sh -c '[ "$(awk "{ print \$14 + \$15 }" "/proc/$0/stat")" -lt 300 ]' "$(cat "$work/device.pid")"
done_testing

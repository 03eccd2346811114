#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the broker the moment a QoS 1 message is acknowledged: a session that is kept still gets it, and so does who asks for what is retained.
# The broker by itself writes its sessions to disk once a minute only.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
for d in keeper sender; do
    make_device $d factory
    iot iot register-certificate --certificate-pem "file://$work/$d.crt" --ca-certificate-pem "file://$work/factory.crt" --status ACTIVE >/dev/null
    iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/$d.crt")"
done
master=$(cat "$work/cloud.pid")
broker() { pgrep -P "$master" -x mosquitto; }
another_broker() { now=$(broker) && [ "$now" != "$1" ]; }
# say PAYLOAD OPTION...: publish with QoS 1, and at the PUBACK kill the broker
say()
{
    payload=$1
    shift
    old=$(broker)
    as sender mosquitto_pub -q 1 -m "$payload" "$@" || return 1
    kill -9 "$old"
    wait_for 20 another_broker "$old"
}
sub() { as keeper mosquitto_sub -W 60 "$@"; }

check "a session is made" sub -c -q 1 -t 'kept/+' -E
check "a message is acknowledged, and the broker killed" say 1 -t kept/x
check "again: the session is there, although the broker is another" say 2 -t kept/y
check "a third time" say 3 -t kept/x
sub -c -q 1 -t 'kept/+' -C 3 >"$work/got" 2>"$work/err"
check "all of them are delivered" [ "$(sort "$work/got" | tr '\n' ' ')" = "1 2 3 " ]
check "a retained message is acknowledged, and the broker killed" say stay -r -t other/retained
check_output "it is still there" '^stay$' sub -t other/retained -C 1
done_testing

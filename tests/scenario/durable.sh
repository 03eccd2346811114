#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the whole cloud at any moment after a client saw PENDING_ACTIVATION or ACTIVE loses neither.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

# The master and all that it started, at once and without a chance to tidy up.
kill_cloud()
{
    master=$(cat "$work/cloud.pid")
    all="$master $(pgrep -P "$master" | tr '\n' ' ')"
    kill -9 $all 2>/dev/null
    for p in $all; do
        wait_for 10 not_running "$p"
    done
    wait "$master" 2>/dev/null
}

start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
lost=0
round=0
while [ $round -lt 6 ]; do
    round=$((round + 1))
    make_device "p$round" factory
    make_device "a$round" factory
    # a device that saw its connection dropped is PENDING; kill the cloud in the very next moment
    as "p$round" mosquitto_pub -t x -m x -q 1 >/dev/null 2>&1
    as "a$round" mosquitto_pub -t x -m x -q 1 >/dev/null 2>&1
    iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/a$round.crt")" &&
        iot iot update-certificate --certificate-id "$(id_of "$work/a$round.crt")" --new-status ACTIVE
    kill_cloud
    start_cloud
    status_is "$(id_of "$work/p$round.crt")" PENDING_ACTIVATION || lost=$((lost + 1))
    status_is "$(id_of "$work/a$round.crt")" ACTIVE || lost=$((lost + 1))
    as "a$round" mosquitto_pub -t x -m x -q 1 >/dev/null 2>&1 || lost=$((lost + 1))
done
check "in $round rounds nothing acknowledged was lost" [ "$lost" -eq 0 ]

# A storm of newcomers, the cloud killed in the middle: whatever a client was told holds.
n=0
while [ $n -lt 12 ]; do
    n=$((n + 1))
    make_device "s$n" factory
done
n=0
while [ $n -lt 12 ]; do
    n=$((n + 1))
    (
        as "s$n" mosquitto_pub -t x -m x -q 1 >"$work/s$n.out" 2>&1
        echo $? >"$work/s$n.rc"
    ) &
done
storm_has_begun() { [ "$(find "$work" -name 's*.rc' | wc -l)" -ge 3 ]; }
wait_for 10 storm_has_begun
told=$(find "$work" -name 's*.rc' | sed 's/.*\/\(s[0-9]*\)\.rc/\1/')
for s in $told; do # dropped after CONNECT: registered by then
    status_is "$(id_of "$work/$s.crt")" PENDING_ACTIVATION || echo "$s" >>"$work/untold"
done
kill_cloud
start_cloud
missing=0
for s in $told; do
    status_is "$(id_of "$work/$s.crt")" PENDING_ACTIVATION || missing=$((missing + 1))
done
check "newcomers told before the kill are still registered" [ "$missing" -eq 0 ]
check "at least three were told" [ "$(echo "$told" | wc -w)" -ge 3 ]
check "dropped meant registered" [ ! -e "$work/untold" ]
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A disk that is full under a running cloud: who is known is served as ever, newcomers are dropped without being told anything that is
# not so, and when there is room again all goes on by itself.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

trap '' XFSZ # a limit on the size of files takes the place of a full disk: writes fail, which is what SQLite sees there, too
start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
make_device known factory
check_fails 7 "a device is registered" as known mosquitto_pub -q 1 -t t -m x
id=$(id_of "$work/known.crt")
iot iot attach-policy --policy-name open --target "$arn:cert/$id"
iot iot update-certificate --certificate-id "$id" --new-status ACTIVE
check "and activated" as known mosquitto_pub -q 1 -t t -m x

control=$(pgrep -P "$(cat "$work/cloud.pid")" -x control)
limit() { prlimit --pid "$control" --fsize="$1:unlimited"; }
is_unknown() { ! iot iot describe-certificate --certificate-id "$1" >/dev/null 2>&1; }

limit 4096
make_device late factory
late=$(id_of "$work/late.crt")
check_fails 3 "the disk is full: a newcomer is told to come again" as late mosquitto_pub -q 1 -t t -m x
check "the log says why" wait_for 10 grep -q 'could not commit; newcomers are refused until it can' "$work/cloud.log"
check "it is not registered" is_unknown "$late"
check_fails 254 "and the API says that it cannot store anything" iot iot create-policy --policy-name p --policy-document "$open_policy"
check "a known device is let in, and its messages pass" as known mosquitto_pub -q 1 -t t -m x

limit unlimited
check_fails 7 "there is room again: the newcomer is dropped" as late mosquitto_pub -q 1 -t t -m x
check "and registered" status_is "$late" PENDING_ACTIVATION
check_output "explain has it" 'certificate.registered' "$bin/birthmark" explain --dir "$work/cloud" --json late
check "the control process is the same" [ "$control" = "$(pgrep -P "$(cat "$work/cloud.pid")" -x control)" ]
done_testing

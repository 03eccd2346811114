#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sessions that ended while the broker was away, and which nobody resumes: mosquitto 2.0 forgets their time when it starts, so the cloud ends them.
# The broker's file is put back in time instead of waiting.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

CLOUD_OPTIONS="--limit connect-rate=0"
start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
active_device d open
# sub ID OPTION...
sub()
{
    id=$1
    shift
    timeout 60 mosquitto_sub --cafile "$ca" --cert "$work/d.pem" --key "$work/d.key" -h 127.0.0.1 -p "$port" -i "$id" -q 1 -t "t/$id" "$@"
}
pub() { mosquitto_pub --cafile "$ca" --cert "$work/d.pem" --key "$work/d.key" -h 127.0.0.1 -p "$port" -i pub -q 1 "$@"; }
file=$work/cloud/broker/mosquitto.db
# times ID...: when each session ends, in seconds from now, "connected" or "none"; set ID SECONDS: from now
sessions() { /usr/bin/python3 "$root/tests/scenario/sessions_file.py" "$file" "$@"; }

for id in late311 late5 soon; do
    level=mqttv311
    [ "$id" = late311 ] || level=mqttv5
    # shellcheck disable=SC2046
    check "a session is made: $id" sub "$id" -c -V "$level" $([ "$level" = mqttv311 ] || echo -x 3000) -E
    check "and a message waits for it" pub -t "t/$id" -m waits
done
start held stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/d.pem" --key "$work/d.key" -h 127.0.0.1 -p "$port" -i held -c -q 1 -t t/held -d
wait_for 20 grep -q Subscribed "$work/held.log"
check "a message is acknowledged, so the file is written" pub -t t/held -m x
check_output "one that is connected has no time in the file" '^connected$' sessions times held

# shellcheck disable=SC2046
kill -9 $(cat "$work/cloud.pid") $(pgrep -P "$(cat "$work/cloud.pid")")
stop cloud
stop held KILL
check "their time is over when the cloud starts again" sessions set late311 -1000 late5 -1000
start_cloud
check_output "what was connected has an hour from now on" '^3[56][0-9][0-9]$' sessions times held
ended() { grep -q "a session that nobody resumed is ended client=$1\$" "$work/cloud.log"; }
for id in late311 late5; do
    check "$id ends, although nobody comes" wait_for 60 ended "$id"
done
check "soon, whose time is to come, does not, nor held" sh -c '! grep -q "resumed is ended client=[sh]" "$0"' "$work/cloud.log"
pub -t t/soon -m saved
gone() { [ "$(sessions times late311 late5 | sort -u)" = none ]; }
check "the broker has them no more" wait_for 20 gone
check_output "what waited for soon is there" '^waits$' sub soon -c -V mqttv5 -x 3000 -C 1
check_output "held is there" '^[0-9]*$' sessions times held
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# birthmark fleet: devices by the hundred join just in time by the example function, publish, lose the cloud and come back; bad certificates stay
# out, clones take over from each other; the report adds up. The full size is bench/fleet.
#
# FLEET_DEVICES: how many join (100).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
devices=${FLEET_DEVICES:-100}

# of FILE EXPRESSION: a value of the JSON report, as python reads it with r for the whole
of() { /usr/bin/python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$work/$1.json" "$2"; }
is() { [ "$(of "$1" "$2")" = "$3" ]; }
fleet() { "$bin/birthmark" fleet -p "$port" --cafile "$ca" --ca "$work/ca" --quiet "$@"; }
report() # NAME ARGS...: JSON into NAME.json
{
    name=$1
    shift
    fleet --json "$@" >"$work/$name.json"
}

tool="$bin/birthmark fleet"
check_output "help is on stdout" '^usage: birthmark fleet' $tool --help
check_fails 2 "without a CA there is no fleet" $tool --cafile /dev/null
check_fails 2 "an unknown option is told" $tool --colour
check_fails 2 "as is a time without a known unit" $tool --cafile x --ca y --for 10weeks
printf '{"groups":[{"count":1,"shape":"round"}]}' >"$work/bad.json"
check_fails 2 "and a scenario with an unknown key" $tool --cafile x --ca y --scenario "$work/bad.json"
check_fails 2 "a scenario and options that it says are too much" $tool --cafile x --ca y --scenario "$work/bad.json" --devices 3
check "a CA of our own" "$bin/birthmark" ca new --dir "$work/ca" --no-passphrase
check_fails 5 "another machine wants --force" $tool -h 192.0.2.1 --cafile /dev/null --ca "$work/ca"
check_fails 6 "more devices than open files are refused before anything begins" \
    sh -c 'ulimit -n 100; exec "$@"' sh $tool --cafile /dev/null --ca "$work/ca" -n 200

start_cloud
check "is registered" env AWS_ENDPOINT_URL="$api" "$bin/birthmark" ca register --dir "$work/ca"
cp -r "$BUILD/share/birthmark/examples/jitr-activate/python" "$work/jitr"
(cd "$work/jitr" && zip -qr ../jitr.zip .)
iot lambda create-function --function-name jitr --runtime python3.11 --handler lambda_function.lambda_handler \
    --role arn:aws:iam::000000000000:role/any --timeout 60 --zip-file "fileb://$work/jitr.zip" >/dev/null
iot lambda add-permission --function-name jitr --statement-id iot --action lambda:InvokeFunction --principal iot.amazonaws.com \
    --source-arn "$arn:rule/jitr" >/dev/null
check "the example function waits for them" iot iot create-topic-rule --rule-name jitr --topic-rule-payload \
    "{\"sql\":\"SELECT * FROM '\$aws/events/certificates/registered/+'\",\"actions\":[{\"lambda\":{\"functionArn\":\"arn:aws:lambda:us-east-1:000000000000:function:jitr\"}}]}"

check "$devices devices nobody knows join just in time and publish" report join -n "$devices" --spread 1s --seed 7 --for 5m \
    --svg "$work/join.svg"
check "the report says so" is join "r['end'], r['through'], r['connected'], r['stuck'], r['intruders']" "('settled', $devices, $devices, 0, 0)"
check "each was dropped first, which is how a newcomer is registered" is join \
    "[c['devices'] for c in r['causes'] if c['cause'] == 'device.dropped']" "[$devices]"
check "a handshake is one signature of the chip" is join "r['connects']['signatures'] == r['connects']['tls'] == r['connects']['attempts']" True
check "every message is acknowledged" is join "r['messages']['sent'], r['messages']['acknowledged'], r['latency_ms']['puback']['count']" \
    "($devices, $devices, $devices)"
check "the timeline adds up to it" is join "sum(s[1] for s in r['timeline']['steps']), r['timeline']['steps'][-1][0]" "($devices, $devices)"
check "the plots are sound XML" /usr/bin/python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$work/join.svg"
text iot list-certificates --page-size 250 --query 'certificates[].status' | tr '\t' '\n' | grep -c ACTIVE >"$work/active"
check "the cloud has them all, ACTIVE" [ "$(cat "$work/active")" = "$devices" ]

# what must stay out does, and is told apart
cat >"$work/mixed.scenario" <<'JSON'
{"groups": [{"name": "fleet", "count": 10, "subscribe": "foo/{client}"},
            {"name": "old", "count": 3, "mqtt": "3.1.1", "clock": "-20000d"},
            {"name": "copied", "count": 2, "identity": "clone"},
            {"name": "early", "count": 2, "identity": "not-yet-valid"},
            {"name": "late", "count": 2, "identity": "expired"},
            {"name": "stranger", "count": 2, "identity": "other-ca"},
            {"name": "forger", "count": 1, "identity": "forged"},
            {"name": "self", "count": 1, "identity": "self-signed"}],
 "for": "5m", "seed": 3}
JSON
check "a scenario of good and bad devices ends as expected" report mixed --scenario "$work/mixed.scenario" --state "$work/devices"
check "good ones are in, bad ones are out" is mixed "[g['came_in'] for g in r['groups']]" "[10, 3, 2, 0, 0, 0, 0, 0]"
check "each bad one was refused" is mixed "[g['refused'] for g in r['groups'][3:]]" "[2, 2, 2, 1, 1]"
check "who subscribes gets its message" is mixed "r['messages']['received'] >= 10" True
"$bin/birthmark" explain --dir "$work/cloud" --json --limit 1000000 >"$work/explained"
for cause in connect.not_yet_valid connect.expired connect.ca_unknown connect.signature_wrong disconnect.taken_over; do
    check "the cloud tells them apart: $cause" grep -q "\"$cause\"" "$work/explained"
done

# the same chips again, then without the cloud for a while
check "with their chips kept they are known the next time" report again -n 10 --spread 0s --state "$work/devices"
check "and nobody is dropped" is again "r['causes'], r['connects']['attempts']" "([], 10)"
# the broker stands still while they come: the devices are told that the cloud is busy, not that they are not wanted
broker=$(pgrep -P "$(cat "$work/cloud.pid")" mosquitto)
kill -STOP "$broker"
"$bin/birthmark" fleet -p "$port" --cafile "$ca" --ca "$work/ca" --quiet --json -n 10 --spread 0s --state "$work/devices" --for 5m >"$work/busy.json" &
fleet_pid=$!
busy() { [ "$("$bin/birthmark" explain --dir "$work/cloud" --json --limit 1000000 | grep -c '"cloud.broker_down"')" -ge 10 ]; }
check "while the broker stands still each is refused with a cause" wait_for 60 busy
kill -CONT "$broker"
check "when it goes on all come in" wait "$fleet_pid"
check "and were told that the cloud was busy, nothing else" is busy "[c['cause'] for c in r['causes']]" "['device.server_busy']"

# one run with two outages: all are cut off, and when they are back the cloud is started anew
admitted() { "$bin/birthmark" explain --dir "$work/cloud" --json --limit 1000000 | grep -c '"connect.admitted"'; }
at_least() { [ "$(admitted)" -ge "$1" ]; }
before=$(admitted)
"$bin/birthmark" fleet -p "$port" --cafile "$ca" --ca "$work/ca" --quiet --json -n 10 --spread 0s --state "$work/devices" --storm 500ms \
    --stay --for 5m >"$work/outages.json" 2>"$work/outages.err" &
fleet_pid=$!
check "a storm: all are cut off and come back" wait_for 60 at_least $((before + 20))
stop cloud
MQTT_PORT=$port start_cloud
check "so they do when the cloud was away" wait_for 90 at_least $((before + 30))
all_read() { [ "$(ss -Htn state established "dport = :$port" | awk '$1 == 0' | wc -l)" = 10 ]; } # its last CONNACK, too
wait_for 20 all_read
kill $fleet_pid
wait $fleet_pid
check "interrupted when all is well, it ends with 0" [ $? = 0 ]
check "outages are in the report, and all came back from each" is outages \
    "r['end'], r['connected'], max(o['lost'] for o in r['outages']), all(o['settled'] >= o['first_back'] > o['at'] for o in r['outages'])" "('interrupted', 10, 10, True)"

bar() { "$root/tests/scenario/terminal.py" $tool -p "$port" --cafile "$ca" --ca "$work/ca" --state "$work/devices" -n 3 --spread 0s --stay --for 1s; }
check_output "on a terminal there is a progress bar" '\[#+\] 3/3 connected' bar
stop cloud
check_fails 13 "nobody listens: the cause gives the exit status" fleet -n 5 --spread 0s --for 1s
done_testing

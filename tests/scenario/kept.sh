#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the broker the moment a QoS 1 message is acknowledged: a session that is kept still gets it, and so does who asks for what is retained.
# The broker by itself writes its sessions to disk once a minute only.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

CLOUD_OPTIONS="--limit connect-rate=0" # the probe below comes often
start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
for d in keeper sender; do
    active_device $d open
done
master=$(cat "$work/cloud.pid")
broker() { pgrep -P "$master" -x mosquitto; }
another_broker() { now=$(broker) && [ "$now" != "$1" ]; }
# there, and the control process has found it: until then no message that must be saved is acknowledged
next_broker() { wait_for 20 another_broker "$1" && wait_for 20 as sender mosquitto_pub -q 1 -r -n -t probe; }
# say PAYLOAD OPTION...: publish with QoS 1, and at the PUBACK kill the broker
say()
{
    payload=$1
    shift
    old=$(broker)
    as sender mosquitto_pub -q 1 -m "$payload" "$@" || return 1
    kill -9 "$old"
    next_broker "$old"
}
sub() { as keeper mosquitto_sub -W 60 "$@"; }

check "a session is made" sub -c -q 1 -t 'kept/+' -E
check "a message is acknowledged, and the broker killed" say 1 -t kept/x
check "again: the session is there, although the broker is another" say 2 -t kept/y
check "a third time" say 3 -t kept/x
sub -c -q 1 -t 'kept/+' -C 3 >"$work/got" 2>"$work/err"
check "all of them are delivered" [ "$(sort "$work/got" | tr '\n' ' ')" = "1 2 3 " ]
# the same of what the API publishes: `answered` is its PUBACK
answered()
{
    old=$(broker)
    iot iot-data publish --qos "$1" --cli-binary-format raw-in-base64-out --topic "$2" --payload "$3" ${4:-} >/dev/null || return 1
    kill -9 "$old"
    next_broker "$old"
}
check "the API's Publish with QoS 1 is answered, and the broker killed" answered 1 kept/api 4
check "and with a retained message" answered 1 other/api stays --retain
check "which may have QoS 0" answered 0 other/zero stays0 --retain
start last stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/keeper.pem" --key "$work/keeper.key" -h 127.0.0.1 -p "$port" -i keeper -c -q 1 -t 'kept/+'
check "the session gets it, perhaps after what it had acknowledged before the kill" wait_for 20 grep -qx 4 "$work/last.log"
stop last
check_output "the retained message is there" '^stays$' sub -t other/api -C 1
check_output "that of QoS 0, too" '^stays0$' sub -t other/zero -C 1
check_output "and has QoS 0" '"qos": 0' iot iot-data get-retained-message --topic other/zero
sub -c -q 1 -t 'kept/+' -E || not_ok "a session is made again" # the subscriber of what is retained had none
# and of what a rule republishes: a live subscriber that has it stands for its PUBACK
iot iot create-topic-rule --rule-name again --topic-rule-payload "{\"sql\":\"SELECT * FROM 'rule/in'\",\"actions\":[
    {\"republish\":{\"roleArn\":\"arn:aws:iam::000000000000:role/r\",\"topic\":\"kept/rule\",\"qos\":1}}]}" || not_ok "a rule is created"
start live stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/sender.pem" --key "$work/sender.key" -h 127.0.0.1 -p "$port" -i live -d -t kept/rule
wait_for 10 grep -q Subscribed "$work/live.log"
as sender mosquitto_pub -q 1 -t rule/in -m '{"n":5}'
check "a rule republishes for a kept session" wait_for 10 grep -qxF '{"n":5}' "$work/live.log"
old=$(broker)
kill -9 "$old"
stop live
next_broker "$old"
start later stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/keeper.pem" --key "$work/keeper.key" -h 127.0.0.1 -p "$port" -i keeper -c -q 1 -t 'kept/+'
check "which gets it, although the broker was killed" wait_for 20 grep -qxF '{"n":5}' "$work/later.log"
stop later

old=$(broker)
check "a Publish whose broker is killed before it acknowledges is not answered with success" /usr/bin/python3 - "$api" "$old" <<'END'
import os, signal, sys, threading, boto3, botocore.config, botocore.exceptions
data = boto3.client("iot-data", endpoint_url=sys.argv[1], config=botocore.config.Config(retries={"total_max_attempts": 1}))
codes = []
def publish():
    try:
        data.publish(topic="t/late", qos=1, payload=b"x")
        codes.append("done")
    except botocore.exceptions.ClientError as error:
        codes.append(error.response["Error"]["Code"])
data.publish(topic="t/early", qos=1, payload=b"x")
os.kill(int(sys.argv[2]), signal.SIGSTOP)
waits = threading.Thread(target=publish)
waits.start()
for _ in range(10):  # QoS 0 is answered without the broker's word; the other is there by then
    data.publish(topic="t/early", qos=0, payload=b"x")
os.kill(int(sys.argv[2]), signal.SIGKILL)
waits.join()
sys.exit(codes != ["ServiceUnavailableException"] and str(codes))
END
next_broker "$old"
check "the next broker takes it" wait_for 20 iot iot-data publish --topic t/late --qos 1 --payload eA==
check "a retained message is acknowledged, and the broker killed" say stay -r -t other/retained
check_output "it is still there" '^stay$' sub -t other/retained -C 1
done_testing

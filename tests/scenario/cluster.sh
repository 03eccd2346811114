#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A broker that runs already, by address and with credentials, instead of the cloud's own: an unmodified mosquitto that lets nobody in
# without a password, of two addresses the second. Devices, rules, API and console work as ever, its other clients see them; it is
# killed and comes back; a wrong password is told as such.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

dead=$(free_port)
live=$(free_port)
printf 'secret of the gateway\nsecond line\n' >"$work/password"
echo wrong >"$work/wrong"
: >"$work/users"
chmod 600 "$work/password" "$work/users"
mosquitto_passwd -b "$work/users" gateway 'secret of the gateway' && mosquitto_passwd -b "$work/users" other other
cat >"$work/mosquitto.conf" <<CONF
listener $live 127.0.0.1
allow_anonymous false
password_file $work/users
persistence true
persistence_location $work/
log_dest stderr
CONF
[ "$(id -u)" != 0 ] || echo "user root" >>"$work/mosquitto.conf"
outside() { what=$1; shift; "$what" -h 127.0.0.1 -p "$live" -u other -P other "$@"; }
start_broker() { start broker mosquitto -c "$work/mosquitto.conf" && wait_for 20 outside mosquitto_pub -t up -n; }
start_broker

CLOUD_OPTIONS="--broker mqtt://gateway@127.0.0.1:$dead,127.0.0.1:$live --broker-password $work/password"
start_cloud
check "it has no broker of its own" sh -c '! pgrep -P "$0" -x mosquitto' "$(cat "$work/cloud.pid")"
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
make_device a factory
make_device b factory
id=$(id_of "$work/a.crt")
outside_hears() { grep -qE "$1" "$work/outside.log"; }
start outside stdbuf -oL mosquitto_sub -h 127.0.0.1 -p "$live" -u other -P other -q 1 -v -d -t '#' -t '$aws/events/#'
wait_for 10 outside_hears Subscribed

check_fails any "a new device is registered and closed" as a mosquitto_pub -t t -m x
check "its registration is an event at that broker" wait_for 20 outside_hears "^.aws/events/certificates/registered/$ca_id .*PENDING_ACTIVATION"
for d in a b; do
    as $d mosquitto_pub -t t -m x >/dev/null 2>&1
    iot iot update-certificate --certificate-id "$(id_of "$work/$d.crt")" --new-status ACTIVE
    iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/$d.crt")"
done
check "a device publishes" as a mosquitto_pub -q 1 -t from/a -m one
check "another client of that broker gets it" wait_for 10 outside_hears '^from/a one'
check "and sees who came" wait_for 10 outside_hears '^.aws/events/presence/connected/a .*"eventType":"connected"'
for v in mqttv311 mqttv5; do
    start "sub$v" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i "b$v" -V $v -d -v -q 1 -t 'to/#'
    wait_for 10 grep -q Subscribed "$work/sub$v.log"
    outside mosquitto_pub -q 1 -t to/b -m "hello $v"
    check "a device gets what another client published ($v)" wait_for 10 grep -q "^to/b hello $v" "$work/sub$v.log"
    check "a device sends its own user name and is served ($v)" as a mosquitto_pub -V $v -q 1 -u '?SDK=x' -P y -t from/a -m "user $v"
done
check "the API publishes" iot iot-data publish --topic to/api --cli-binary-format raw-in-base64-out --payload '{"n":1}' --qos 1
check "to devices, too" wait_for 10 grep -q '^to/api {"n":1}' "$work/submqttv5.log"
iot iot create-topic-rule --rule-name again --topic-rule-payload \
    '{"sql":"SELECT * FROM '"'from/a'"'","awsIotSqlVersion":"2016-03-23","actions":[{"republish":{"roleArn":"arn:aws:iam::000000000000:role/r","topic":"again"}}]}'
wait_for 20 as a mosquitto_pub -q 1 -t from/a -m '{"v":7}'
check "a rule's message comes there" wait_for 10 outside_hears '^again \{"v":7\}'
check "a retained message is kept there" as a mosquitto_pub -q 1 -r -t kept/r -m stay
check_output "and the API finds it" '^stay$' sh -c 'aws --endpoint-url "$0" iot-data get-retained-message --topic kept/r --query payload --output text | base64 -d; echo' "$api"
as b mosquitto_sub -c -q 1 -t 'later/#' -E
check "what is published for a session that is away" as a mosquitto_pub -q 1 -t later/x -m waited
check_output "waits there" '^waited$' as b mosquitto_sub -c -q 1 -t 'later/#' -C 1 -W 20
start twin stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i b2 -d -t x
wait_for 10 grep -q Subscribed "$work/twin.log"
mosquitto_pub --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i b2 -t t -m x
check "the older of two with one id is taken over" wait_for 10 outside_hears '^.aws/events/presence/disconnected/b2 .*DUPLICATE_CLIENTID'
stop twin

# ---- it goes, and comes back ----
stop broker KILL
check "when it is killed, devices are closed" wait_for 20 not_running "$(cat "$work/submqttv311.pid")"
wait_for 20 not_running "$(cat "$work/submqttv5.pid")"
check_fails 1 "which are not taken over, and are told so" grep 'DISCONNECT (142)' "$work/submqttv5.log"
check_fails any "nobody is let in" as a mosquitto_pub -q 1 -t from/a -m x
explained() { "$bin/birthmark" explain --dir "$work/cloud" --client a | grep -q "$1"; }
check "explain says that the broker does not answer" wait_for 20 explained '^cause *cloud.broker_down'
start_broker
check "when it is back, a device publishes again" wait_for 20 as a mosquitto_pub -q 1 -t from/a -m back
check "and the API" wait_for 20 iot iot-data publish --topic to/api --payload e30= --qos 1
stop cloud

# ---- refusals ----
CLOUD_OPTIONS="--broker mqtt://gateway@127.0.0.1:$live --broker-password $work/wrong"
start_cloud
check "a wrong password is told in the log" wait_for 20 grep -q 'the broker refused the control connection: Connection Refused: not authorised' "$work/cloud.log"
check_fails any "no device is let in with it" as a mosquitto_pub -q 1 -t from/a -m x
check "explain says whose refusal it is" wait_for 20 explained 'broker="refused CONNECT" code=5'
stop cloud
check_output "a broker that is not there costs a warning" "no broker answers at 127.0.0.1:$dead" sh -c '
    timeout 20 "$0" cloud --dir "$1" --api 127.0.0.1:0 --mqtt 127.0.0.1:0 --broker "mqtt://127.0.0.1:$2" 2>&1 | sed "/no broker/q"' "$bin/birthmark" "$work/cloud" "$dead"
check_fails any "a password in the address is refused" "$bin/birthmark" cloud --dir "$work/cloud" --broker "mqtt://u:p@127.0.0.1:$live"
"$bin/birthmark" cloud --dir "$work/cloud" --new-credentials >"$work/out"
"$bin/birthmark" cloud --dir "$work/cloud" --new-credentials --account 111111111111 >"$work/out"
check_fails any "and a second account at one broker" "$bin/birthmark" cloud --dir "$work/cloud" --broker "mqtt://127.0.0.1:$live"
check_output "because devices would meet" 'at one broker by address their devices would meet' sh -c '"$0" cloud --dir "$1" --broker "mqtt://127.0.0.1:$2" 2>&1; true' "$bin/birthmark" "$work/cloud" "$live"
done_testing

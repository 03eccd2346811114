#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unmodified MQTT clients through the endpoint: levels 4 and 5, wills, persistent sessions, take-over, refusals with their words.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
iot iot create-policy --policy-name narrow --policy-document '{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:000000000000:client/${iot:ClientId}"},
 {"Effect":"Allow","Action":["iot:Publish","iot:Receive"],"Resource":"arn:aws:iot:us-east-1:000000000000:topic/t/*"},
 {"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:us-east-1:000000000000:topicfilter/t/*"}]}' >/dev/null

active_device a open
active_device b narrow
active_device c open

# what the subscriber of this name and topic has printed so far
got() { grep -qxF "$2" "$work/$1.log"; }
subscribed() { grep -q 'Subscribed' "$work/$1.log"; }

for level in mqttv311 mqttv5; do
    start "sub-$level" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" \
        -i "sub-$level" -V "$level" -q 1 -d -t 't/#'
    check "$level: a subscription is granted" wait_for 10 subscribed "sub-$level"
    check "$level: QoS 1 is acknowledged" as a mosquitto_pub -V "$level" -q 1 -t "t/$level" -m "one $level"
    check "$level: and delivered" wait_for 10 got "sub-$level" "one $level"
    head -c 131072 /dev/zero | tr '\0' x >"$work/big"
    check "$level: a large message passes" as a mosquitto_pub -V "$level" -q 1 -t "t/big" -s <"$work/big"
done
as a mosquitto_pub -t t -m parent
as a mosquitto_pub -q 1 -t t/last -m last
check "t/# delivers what is below t" wait_for 10 got sub-mqttv311 last
check_fails 1 "but not t itself" got sub-mqttv311 parent

check_fails 7 "level 4: a denied publish closes the connection" as b mosquitto_pub -q 1 -t other -m x
check_output "level 5: it is told why" 'Not authorized' sh -c '"$@" 2>&1 || true' sh mosquitto_pub --cafile "$ca" --cert "$work/b.pem" \
    --key "$work/b.key" -h 127.0.0.1 -p "$port" -i b5 -V mqttv5 -q 1 -t other -m x
check_fails 7 "level 4: a denied subscription closes the connection" as b mosquitto_sub -E -t other
check_output "level 5: all subscriptions are denied" 'All subscription requests were denied' sh -c '"$@" 2>&1 || true' sh mosquitto_sub \
    --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i b5 -V mqttv5 -E -t other
check_fails 7 "QoS 2 is not there" as a mosquitto_pub -V mqttv311 -q 2 -t t/x -m x
check_fails any "nobody publishes events but the service" as a mosquitto_pub -q 1 -t '$aws/events/certificates/registered/x' -m x

check "a client without an id is given one" mosquitto_pub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 \
    -p "$port" -q 1 -t t/x -m anonymous
check "a session is kept" as a mosquitto_sub -c -q 1 -E -t t/kept
as b mosquitto_pub -q 1 -t t/kept -m kept
check_output "and what came meanwhile is delivered" '^kept$' timeout 60 mosquitto_sub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" \
    -h 127.0.0.1 -p "$port" -i a -c -q 1 -C 1 -t t/kept

# leave CODE: of MQTT 5, with a will that says so
leave()
{
    /usr/bin/python3 - "$port" "$ca" "$work/a.pem" "$work/a.key" "$1" <<'PY'
import sys
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCodes
port, ca, cert, key, code = sys.argv[1:]
client = mqtt.Client("leaver", protocol=mqtt.MQTTv5)
client.tls_set(ca, cert, key)
client.will_set("t/will", "left with " + code, 1)
client.on_connect = lambda c, *_: c.disconnect(ReasonCodes(PacketTypes.DISCONNECT, code))
client.connect("127.0.0.1", int(port))
client.loop_forever()
PY
}
for code in "Normal disconnection" "Disconnect with will message" "Unspecified error"; do
    check "MQTT 5: a client leaves: $code" leave "$code"
done
check "who leaves with code 4 asks for its will" wait_for 10 got sub-mqttv311 "left with Disconnect with will message"
check "who leaves with an error gets it, too" wait_for 10 got sub-mqttv311 "left with Unspecified error"
check_fails 1 "who leaves without does not" got sub-mqttv311 "left with Normal disconnection"

start doomed stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" -i doomed -d -t t/none \
    --will-topic t/will --will-payload "will fired"
check "a device with a will is in" wait_for 10 subscribed doomed
iot iot update-certificate --certificate-id "$(id_of "$work/a.crt")" --new-status INACTIVE
check "deactivated, it is disconnected and its will fires" wait_for 10 got sub-mqttv311 "will fired"
check_fails 7 "and it does not come back" as a mosquitto_pub -q 1 -t t/x -m x
check_output "explain names the refused publish" 'publish' "$bin/birthmark" explain --dir "$work/cloud" b
check_output "explain tells of the deactivation" 'INACTIVE' "$bin/birthmark" explain --dir "$work/cloud" doomed

as c mosquitto_pub -r -q 1 -t r/stored -m stored
for level in mqttv311 mqttv5; do
    check_output "$level: a stored message is for its exact topic" '^stored$' timeout 60 mosquitto_sub --cafile "$ca" --cert "$work/c.pem" \
        --key "$work/c.key" -h 127.0.0.1 -p "$port" -i "exact-$level" -V "$level" -q 1 -C 1 -t r/stored
    start "wild-$level" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/c.pem" --key "$work/c.key" -h 127.0.0.1 -p "$port" \
        -i "wild-$level" -V "$level" -q 1 -d -t 'r/+'
    wait_for 10 subscribed "wild-$level"
    as c mosquitto_pub -q 1 -t r/live -m live
    check "$level: a wildcard gets what is sent from then on" wait_for 10 got "wild-$level" live
    check_fails 1 "$level: and not what is stored" got "wild-$level" stored
done
done_testing

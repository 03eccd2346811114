#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Reason Strings of MQTT 5 as unmodified clients get them: the cause in words, in the packet that refuses.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libnpm.sh"

start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name narrow --policy-document '{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"iot:Connect","Resource":"*"},
 {"Effect":"Allow","Action":["iot:Publish","iot:Receive"],"Resource":"arn:aws:iot:us-east-1:000000000000:topic/t/*"},
 {"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:us-east-1:000000000000:topicfilter/t/*"}]}' >/dev/null
active_device d narrow
clients=$root/tests/clients

said() { grep -qxF "$1" "$work/said"; }
filter='subscribe.denied: Refused: no attached policy allows iot:Subscribe to this topic filter. action=iot:Subscribe resource="topicfilter/other"'
message='publish.denied: Refused: no attached policy allows iot:Publish to this topic.'

timeout 20 /usr/bin/python3 "$clients/reasons_paho.py" "$port" "$ca" "$work/d.pem" "$work/d.key" paho >"$work/said" 2>&1
check "paho: SUBACK names the denied filter" said "suback 1,135 $filter"
check "paho: DISCONNECT says why" said "disconnect 135 $message"

if npm_install "$clients"; then
    # PROBLEMS: 1 or 0
    mqttjs() { (cd "$modules" && timeout 20 node "$clients/reasons.mjs" "$port" "$ca" "$work/d.pem" "$work/d.key" "mqttjs$1" "$1") >"$work/said" 2>&1; }
    mqttjs 1
    check "mqtt (npm): PUBACK says why" said "puback 135 $message action=iot:Publish resource=\"topic/other\""
    check "mqtt (npm): SUBACK names the first of the denied filters" said "suback 1,135,135 $filter and 1 more"
    mqttjs 0
    check "asked for no problem information: PUBACK has the code alone" said "puback 135 undefined"
    check "and so has SUBACK" said "suback 1,135,135 undefined"
else
    echo "skip - the client from npm: $why_not"
fi
check_output "mosquitto_pub takes a PUBACK with a string" 'Not authorized' sh -c '"$@" 2>&1 || true' sh mosquitto_pub --cafile "$ca" \
    --cert "$work/d.pem" --key "$work/d.key" -h 127.0.0.1 -p "$port" -i d5 -V mqttv5 -q 1 -t other -m x
done_testing

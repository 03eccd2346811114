#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# GetRetainedMessage and ListRetainedMessages: what devices, wills and the API leave at the broker, told by the aws CLI and
# boto3, across a restart.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

data() { iot iot-data "$@"; }
get() { data get-retained-message --output text --query "$2" --topic "$1"; }
no_message() { data get-retained-message --topic "$1" 2>&1 | grep -q '(ResourceNotFoundException)'; }
has() { [ "$(get "$1" '[payload,qos]')" = "$(printf '%s\t%s' "$(printf %s "$2" | base64)" "$3")" ]; }

start_cloud
check_output "none at first: an empty list" '^\[\]$' data list-retained-messages --query retainedTopics --output json
check "and no message: 404" no_message lamp/state

iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
iot iot create-keys-and-certificate --set-as-active --certificate-pem-outfile "$work/d.pem" --private-key-outfile "$work/d.key" >/dev/null
iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/d.pem")"
before=$(date +%s%3N)
check "a device publishes a retained message" as d mosquitto_pub -t lamp/state -m on -q 1 -r
check "it is got, with its QoS" has lamp/state on 1
modified=$(get lamp/state lastModifiedTime)
check "and the time when it was published" [ "$modified" -ge "$before" -a "$modified" -le "$(date +%s%3N)" ]
check "a message that is not retained changes nothing" as d mosquitto_pub -t lamp/state -m off -q 1
check "it is as it was" has lamp/state on 1
check "the API publishes one with QoS 0" data publish --topic 'a b/ü' --payload "$(printf x | base64)" --retain
check "it is got" wait_for 10 has 'a b/ü' x 0

# a will that the broker publishes and retains
start doomed stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/d.pem" --key "$work/d.key" -h 127.0.0.1 -p "$port" -i doomed -d -t t/none \
    --will-topic lamp/gone --will-payload lost --will-qos 1 --will-retain
wait_for 20 grep -q 'received SUBACK' "$work/doomed.log"
check "a will has not happened yet" no_message lamp/gone
stop doomed KILL
check "it is a retained message when its device is lost" wait_for 10 has lamp/gone lost 1
listed() { [ "$(data list-retained-messages --output text --query "retainedTopics[?topic=='$1'].[payloadSize,qos]")" = "$(printf '%s\t%s' "$2" "$3")" ]; }
check "the list has the device's" wait_for 10 listed lamp/state 2 1
check "the API's" listed 'a b/ü' 1 0
check "and the will's" wait_for 10 listed lamp/gone 4 1
start waits stdbuf -oL mosquitto_sub -V mqttv5 --cafile "$ca" --cert "$work/d.pem" --key "$work/d.key" -h 127.0.0.1 -p "$port" -i waits -d \
    -t t/none -c -x 60 --will-topic lamp/late --will-payload lost --will-qos 1 --will-retain -D WILL will-delay-interval 2
start late stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/d.pem" --key "$work/d.key" -h 127.0.0.1 -p "$port" -i late -d -t lamp/late
wait_for 20 grep -q 'received SUBACK' "$work/waits.log"
wait_for 20 grep -q 'received SUBACK' "$work/late.log"
stop waits KILL
wait_for 20 grep -qx lost "$work/late.log"
came=$(date +%s%3N)
check "a will that waits is there when it has waited" has lamp/late lost 1
check "a will that waits has the time when its device was lost" [ "$(get lamp/late lastModifiedTime)" -lt "$((came - 1000))" ]
check "an empty payload removes it" as d mosquitto_pub -t lamp/gone -n -q 1 -r
check "from the broker" no_message lamp/gone
check "and from the list" sh -c '! grep -q lamp/gone "$0"' "$(data list-retained-messages >"$work/list"; echo "$work/list")"

/usr/bin/python3 - "$api" >"$work/boto3.out" 2>&1 <<'PYTHON' || echo "not ok - python" >>"$work/boto3.out"
import sys
import boto3
import botocore.config
from botocore.exceptions import ClientError
data = boto3.client("iot-data", endpoint_url=sys.argv[1], config=botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}))


def claim(text, holds, seen=""):
    print(f"ok - {text}" if holds else f"not ok - {text}: {seen!r}")


topics = [f"many/{n}" for n in range(120)]
for topic in topics:
    data.publish(topic=topic, qos=1, retain=True, payload=topic.encode() * 100)
for size in (7, 200):
    pages = list(data.get_paginator("list_retained_messages").paginate(PaginationConfig={"PageSize": size}))
    seen = [t for page in pages for t in page["retainedTopics"]]
    claim(f"pages of {size} hold each topic once", sorted(t["topic"] for t in seen if t["topic"].startswith("many/")) == sorted(topics),
          seen)
claim("in the order in which they came", [t["topic"] for t in seen if t["topic"].startswith("many/")] == topics, seen)
claim("with sizes", all(t["payloadSize"] == 100 * len(t["topic"]) for t in seen if t["topic"].startswith("many/")))
got = data.get_retained_message(topic="many/7")
claim("payload is bytes, qos and time are numbers", (got["payload"], got["qos"], type(got["lastModifiedTime"])) ==
      (b"many/7" * 100, 1, int), got)
for text, arguments in (("a token of nobody's", {"nextToken": "x"}), ("a page of 201", {"maxResults": 201}), ("a page of 0", {"maxResults": 0})):
    try:
        claim(f"{text} is refused", False, data.list_retained_messages(**arguments))
    except ClientError as error:
        claim(f"{text} is refused", error.response["Error"]["Code"] == "InvalidRequestException", error)
    except Exception as error:  # botocore refuses some itself
        claim(f"{text} is refused", "ParamValidation" in type(error).__name__, error)
for topic in ("a/+", "a/#", "a/" * 9, "t" * 257):
    try:
        claim(f"topic {topic[:8]}", False, data.get_retained_message(topic=topic))
    except ClientError as error:
        claim(f"topic {topic[:8]} is refused", error.response["Error"]["Code"] == "InvalidRequestException", error)
PYTHON
while read -r line; do
    case $line in "ok - "*) ok "boto3: ${line#ok - }" ;; *) not_ok "boto3: $line" ;; esac
done <"$work/boto3.out"

stop cloud
start_cloud
check "after a restart it is still there" has lamp/state on 1
check "with its time" [ "$(get lamp/state lastModifiedTime)" = "$modified" ]
done_testing

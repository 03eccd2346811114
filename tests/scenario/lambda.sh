#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Rules and functions as a user types them, with the real aws CLI: packages that are refused, invocations and their
# errors, a rule without permission, a cloud that is killed while a function runs.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

role=arn:aws:iam::000000000000:role/any
rule_arn=$arn:rule/jitr

# package NAME: NAME.zip of the files in the folder NAME
package() { (cd "$work/$1" && rm -f "../$1.zip" && zip -qr "../$1.zip" .); }

# create NAME RUNTIME HANDLER [OPTIONS]: a function of the package NAME
create()
{
    name=$1 runtime=$2 handler=$3
    shift 3
    iot lambda create-function --function-name "$name" --runtime "$runtime" --handler "$handler" --role $role \
        --zip-file "fileb://$work/$name.zip" "$@"
}

# call NAME PAYLOAD [OPTIONS]: invoke, the answer on stdout after what the CLI prints
call()
{
    name=$1 payload=$2
    shift 2
    iot lambda invoke --cli-binary-format raw-in-base64-out --function-name "$name" --payload "$payload" "$@" "$work/answer" &&
        cat "$work/answer"
}

# rule_payload FUNCTION [SQL]
rule_payload()
{
    printf '{"sql":"%s","actions":[{"lambda":{"functionArn":"arn:aws:lambda:us-east-1:000000000000:function:%s"}}]}' \
        "${2:-SELECT * FROM '\$aws/events/certificates/registered/+'}" "$1"
}

permit()
{
    iot lambda add-permission --function-name "$1" --statement-id iot --action lambda:InvokeFunction \
        --principal iot.amazonaws.com --source-arn "$rule_arn"
}

# refused CLAIM PATTERN command...: the service refuses it (254) and says so
refused()
{
    claim=$1 pattern=$2
    shift 2
    "$@" >"$work/out" 2>&1
    code=$?
    if [ $code -eq 254 ] && grep -qE -- "$pattern" "$work/out"; then ok "$claim"; else
        echo "exit code $code; wanted 254 and a line matching: $pattern" >>"$work/out"
        not_ok "$claim" "$work/out"
    fi
}

explains() { "$bin/birthmark" explain --dir "$work/cloud" "$1" 2>/dev/null | tr -s ' \n' '  ' | grep -q -- "$2"; }

start_cloud

# ---- packages ----
mkdir "$work/echo" "$work/plain" "$work/outside"
cat >"$work/echo/app.py" <<'PY'
import time

def handler(event, context):
    print("echo runs for", context.function_name)
    if event.get("wait"):
        time.sleep(event["wait"])
    if event.get("fail"):
        raise ValueError("asked to fail")
    return {"got": event}
PY
package echo
echo x >"$work/plain/bootstrap"
package plain
/usr/bin/python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1], "w").writestr("../evil.py", "x")' "$work/outside.zip"
/usr/bin/python3 -c 'import sys; b = bytearray(open(sys.argv[1], "rb").read()); b[100] ^= 1; open(sys.argv[2], "wb").write(b)' \
    "$work/echo.zip" "$work/damaged.zip"

invalid=InvalidParameterValueException
refused "a bootstrap without x bit is refused, with the cure" "$invalid.*chmod \\+x before zip" create plain provided.al2 x
refused "a zip that leaves its folder is refused" "$invalid.*'../evil.py'" create outside python3.11 evil.handler
refused "a damaged zip is refused" "$invalid.*app.py" create damaged python3.11 app.handler
refused "a runtime that is not built is refused, with what is" "$invalid.*provided.al2023.*python3" create echo ruby3.2 app.handler
refused "a handler that is not in the zip is refused" "$invalid.*other.py" create echo python3.11 other.handler
check "nothing of them is stored" sh -c '[ -z "$(find "$0" -name "*.zip" -o -name evil.py -o -name "unpack.*")" ]' "$work/cloud/functions"

# ---- invocations ----
check_output "a function is made" '"State": "Active"' create echo python3.11 app.handler --timeout 2
refused "but not twice" ResourceConflictException create echo python3.11 app.handler
check_output "it answers" '"got": \{"a": 1\}' call echo '{"a":1}'
check_output "its log comes along" 'echo runs for echo' sh -c "$(printf 'aws --endpoint-url %s lambda invoke --function-name echo --log-type Tail --query LogResult --output text %s/answer | base64 -d' "$api" "$work")"
check_output "an exception is a function error" 'Unhandled' call echo '{"fail":true}'
check_output "with its stack" 'app.py.*in handler' cat "$work/answer"
check_output "so is a timeout" 'Task timed out after 2.00 seconds' call echo '{"wait":60}'
check_output "after which it works again" '"got": \{\}' call echo '{}'
sed -i 's/"got"/"new"/' "$work/echo/app.py"
package echo
check "new code is stored" iot lambda update-function-code --function-name echo --zip-file "fileb://$work/echo.zip"
check_output "and runs" '"new": \{\}' call echo '{}'
refused "a handler that the code lacks is refused later as well" "$invalid.*other.py" iot lambda update-function-configuration \
    --function-name echo --handler other.handler
refused "a missing function is not invoked" ResourceNotFoundException call nobody '{}'

# ---- rules ----
refused "an action that is not built is refused by name" "InvalidRequestException.*'sqs' is not built" \
    iot iot create-topic-rule --rule-name bad \
    --topic-rule-payload "{\"sql\":\"SELECT * FROM 'x'\",\"actions\":[{\"sqs\":{\"queueUrl\":\"q\",\"roleArn\":\"$role\"}}]}"
check "a rule is made" iot iot create-topic-rule --rule-name jitr --topic-rule-payload "$(rule_payload echo)"

make_ca factory
register_ca factory
for d in d1 d4; do
    make_device $d factory
done
as d1 mosquitto_pub -t foo/bar -m x -q 1 >/dev/null 2>&1
d1=$(id_of "$work/d1.crt")
check "without permission, explain has the command to type" wait_for 10 explains "$d1" "aws lambda add-permission --function-name echo"

# what that left is sent again, by the cloud: the function runs with the device's event
letters() { "$bin/birthmark" dead-letters --dir "$work/cloud" "$@"; }
check_output "and dead-letters the event" 'function echo' letters
letter=$(letters --json | sed -n 's/.*"id":\([0-9]*\).*"target":"echo".*/\1/p' | head -n 1)
check_fails 3 "a letter that is not there is not sent again" letters resend 4711
check_fails 2 "nor is none" letters resend
check_output "resend" "^$letter is sent to the function echo again" letters resend "$letter"
check "then the function runs" wait_for 20 explains "$d1" "The function ended well. function=echo"
check_fails 3 "and the letter is gone" letters resend "$letter"
check_output "--all has nothing more" '^none: ' letters resend --all

# ---- a cloud that is killed while the function runs ----
permit echo >/dev/null
check "code that waits at its first event" sh -c 'cat >"$0" <<PY
import os, time, boto3

iot = boto3.client("iot")

def handler(event, context):
    if not iot.list_things()["things"]:
        iot.create_thing(thingName="mark", attributePayload={"attributes": {"pid": str(os.getpid())}})
        time.sleep(1000)
    iot.update_certificate(certificateId=event["certificateId"], newStatus="ACTIVE")
PY' "$work/echo/app.py"
package echo
iot lambda update-function-code --function-name echo --zip-file "fileb://$work/echo.zip" >/dev/null
iot lambda update-function-configuration --function-name echo --timeout 900 >/dev/null
iot iot replace-topic-rule --rule-name jitr --topic-rule-payload "$(rule_payload echo)"
as d4 mosquitto_pub -t foo/bar -m x -q 1 >/dev/null 2>&1
marked() { pid=$(text iot describe-thing --thing-name mark --query attributes.pid 2>/dev/null); }
check "the function runs" wait_for 20 marked
master=$(cat "$work/cloud.pid")
kill -9 "$master" $(pgrep -P "$master")
check "its process ends with the cloud" wait_for 10 not_running "$pid"
wait "$master" 2>/dev/null
start_cloud
check "the next cloud runs the event again" wait_for 60 status_is "$(id_of "$work/d4.crt")" ACTIVE
check_output "logs shows what a function printed" 'REPORT RequestId' "$bin/birthmark" logs --dir "$work/cloud" --lines 0 echo
check_fails 3 "and says when there is nothing" "$bin/birthmark" logs --dir "$work/cloud" nosuch
mkdir "$work/node"
echo 'exports.handler = async (e) => { console.log("seen", e.n); return { twice: e.n * 2 }; };' >"$work/node/index.js"
(cd "$work/node" && zip -q "$work/node.zip" index.js)
if command -v node >/dev/null; then
    iot lambda create-function --function-name node --runtime nodejs20.x --handler index.handler --role "$role" --timeout 30 \
        --zip-file "fileb://$work/node.zip" >/dev/null
    iot lambda invoke --function-name node --cli-binary-format raw-in-base64-out --payload '{"n":21}' "$work/node.out" >/dev/null
    check "a function for Node.js answers" grep -qx '{"twice":42}' "$work/node.out"
    start follow "$bin/birthmark" logs --dir "$work/cloud" -f node
    wait_for 10 grep -q 'seen 21' "$work/follow.log"
    iot lambda invoke --function-name node --cli-binary-format raw-in-base64-out --payload '{"n":4}' "$work/node.out" >/dev/null
    check "logs -f goes on as it writes" wait_for 10 grep -q 'seen 4' "$work/follow.log"
else
    echo "skip - a function for Node.js answers: there is no node on this machine"
fi
d4=$(id_of "$work/d4.crt")
iot iot update-certificate --certificate-id "$d4" --new-status INACTIVE
stop cloud
check "and leaves no process of a function behind when it stops" sh -c '! grep -lsz "AWS_ENDPOINT_URL=$0" /proc/[0-9]*/environ' "$api"

# a letter that is sent again while no cloud runs: the next one invokes the function, once
/usr/bin/python3 - "$work/cloud/registry.db" "$d4" <<'PY'
import json, sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("INSERT INTO dead_letters(created, kind, target, rule, request, attempts, cause, cert, detail, payload)"
               " VALUES(1, 'function', 'echo', '', 'r', 3, 'why', ?, x'', ?)",
               (bytes.fromhex(sys.argv[2]), json.dumps({"certificateId": sys.argv[2]}).encode()))
PY
check_output "resend without a cloud" 'is sent to the function echo again' letters resend --all
check_output "the letter is gone" '^none' letters
start_cloud
check "and the next cloud invokes the function" wait_for 60 status_is "$d4" ACTIVE
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `birthmark policy`: documents tried without a cloud.
. "$(dirname "$0")/lib.sh"

cd "$work" || exit 1

policy()
{
    "$bin/birthmark" policy "$@" >said 2>&1
    code=$?
    cat said
    return $code
}

cat >wide.json <<'END'
{ "Version": "2012-10-17", "Statement": [
  { "Effect": "Allow", "Action": "iot:Connect", "Resource": "*",
    "Condition": { "ForAllValues:StringNotEquals": { "iot:ConnectAttributes": "PersistentConnect" } } },
  { "Effect": "Allow", "Action": "iot:Publish",
    "Resource": "arn:aws:iot:*:*:topic/lamp/${iot:Certificate.Subject.CommonName}/*" },
  { "Effect": "Allow", "Action": "iot:Subscribe", "Resource": "*",
    "Condition": { "IpAddress": { "aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"] } } } ] }
END
cat >narrow.json <<'END'
{ "Version": "2012-10-17", "Statement": { "Effect": "Deny", "Action": "iot:Publish",
  "NotResource": "arn:aws:iot:us-east-1:000000000000:topic/lamp/*/on" } }
END
printf '{ "Version": "2012-10-17",\n  "Statement": [ }' >cut.json
printf '{ "Version": "2012-10-17", "Statement": [ { "Effect": "Allow", "Action": "iot:*", "Resource": "*",
  "Condition": { "StringEqual": { "iot:ClientId": "x" } } } ] }' >operator.json
openssl ecparam -genkey -name prime256v1 -out key.pem 2>/dev/null
openssl req -x509 -new -key key.pem -days 9 -subj '/CN=Lamp 7' -out cert.pem 2>/dev/null

check_output "check takes good documents" '^narrow.json: ok$' policy check wide.json narrow.json
check_fails 1 "check refuses what is no JSON" policy check cut.json wide.json
check "... and says in which line" grep -qE 'cut.json: .* in line 2' said
check "... and goes on with the others" grep -q 'wide.json: ok' said
check_fails 1 "check refuses an unknown operator" policy check operator.json
check "... and names statement and operator" grep -q 'statement 1, Condition: the operator "StringEqual"' said
check_fails 1 "a file that is not there is named" policy check missing.json
check "... by its path" grep -q missing.json said

set -- wide.json --client-id d1 --certificate cert.pem
check_output "the statement that allows is named" '^ALLOWED: wide.json, statement 2:' \
    policy test "$@" --action iot:Publish --resource 'lamp/Lamp 7/on'
check_fails 3 "another device's topic is denied" policy test "$@" --action iot:Publish --resource 'lamp/Lamp 8/on'
check "... because no statement allows it" grep -qx 'DENIED: no statement allows it' said
check_fails 3 "without the certificate its variable has no value" \
    policy test wide.json --client-id d1 --action iot:Publish --resource 'lamp/Lamp 7/on'
check_fails 3 "a Deny of another file wins" \
    policy test narrow.json "$@" --action iot:publish --resource 'lamp/Lamp 7/off'
check "... and is named" grep -q '^DENIED: narrow.json, statement 1: it denies' said
check_output "connecting needs no --resource" '^ALLOWED: wide.json, statement 1' policy test "$@" --action iot:Connect
check_fails 3 "a persistent session is not allowed" policy test "$@" --action iot:Connect --persistent
check "... and the Condition is named as the reason" grep -q 'statement 1: .*Condition does not hold' said
check "an address of the network is allowed" \
    policy test "$@" --action iot:Subscribe --resource 'a/#' --source-ip 2001:db8::7
check_fails 3 "an address outside is not" policy test "$@" --action iot:Subscribe --resource 'a/#' --source-ip 127.0.0.1
cat >things.json <<'END'
{ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Action": "iot:Publish",
  "Resource": "arn:aws:iot:*:*:topic/${iot:Connection.Thing.ThingTypeName}/${iot:Connection.Thing.Attributes[room]}",
  "Condition": { "Bool": { "iot:Connection.Thing.IsAttached": "true" }, "DateLessThan": { "aws:CurrentTime": "2030-01-01T00:00:00Z" } } } }
END
set -- things.json --client-id d1 --action iot:Publish --resource Lamp/hall --time 2029-12-31T23:59:59Z
check "a thing is told by its type and attributes" policy test "$@" --thing-type Lamp --thing-attribute floor=1 --thing-attribute room=hall
check_fails 3 "of another type it may not" policy test "$@" --thing-type Door --thing-attribute room=hall
check_fails 3 "without a thing the variables stay text" policy test "$@"
check_fails 3 "a second later it may not" policy test "$@" --thing-type Lamp --thing-attribute room=hall --time 2030-01-01T00:00:00Z
check_fails 2 "a time that is none is misuse" policy test "$@" --time tomorrow
check_fails 2 "an attribute without value is misuse" policy test "$@" --thing-attribute room
set -- wide.json --client-id d1 --certificate cert.pem
check_output "--json says the same to a program" '"decision":"ALLOWED".*"file":"wide.json","statement":2' \
    policy test "$@" --action iot:Publish --resource 'lamp/Lamp 7/on' --json
check_fails 1 "a malformed document decides nothing" policy test operator.json "$@" --action iot:Connect
check_fails 2 "an action that no MQTT packet asks for is misuse" policy test "$@" --action iot:Dance --resource x
check_fails 2 "a missing --resource is misuse" policy test "$@" --action iot:Publish
check_fails 2 "an address that is none is misuse" policy test "$@" --action iot:Connect --source-ip 1.2.3
check_fails 2 "neither check nor test is misuse" policy guess wide.json
check_output "--help prints usage" '^usage: birthmark policy check' policy --help
done_testing

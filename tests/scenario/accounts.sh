#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Several accounts on one cloud: keys by account, nothing of one is seen by another, devices go to the account of their
# certificate or of their server name. With boto3 and MQTT over a TLS socket in accounts.py, the real mosquitto clients here.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

A=000000000000
B=111111111111
cloud() { "$bin/birthmark" cloud --dir "$work/cloud" "$@"; }
use() { eval "$(cat "$work/keys.$1")"; }

check_fails 2 "an account number has 12 digits" cloud --new-credentials --account 1234
check_fails 2 "--account without --new-credentials is misuse" cloud --account $B
cloud --new-credentials >"$work/keys.$A"
cloud --new-credentials --account $B >"$work/keys.$B"
check "each account gets a line" sh -c '[ "$(wc -l <"$0")" = 2 ] && grep -q " 111111111111$" "$0"' "$work/cloud/credentials"
cp "$work/keys.$B" "$work/keys.old"
cloud --new-credentials --account $B >"$work/keys.$B"
check "made again, it takes the place of the old one" \
    sh -c '[ "$(wc -l <"$0")" = 2 ] && ! grep -q "$(sed -n s/.*ACCESS_KEY_ID=//p "$1")" "$0"' "$work/cloud/credentials" "$work/keys.old"

echo "one two three four" >>"$work/cloud/credentials"
check_fails 1 "a damaged line is refused" cloud --api 127.0.0.1:0 --mqtt 127.0.0.1:0
check_output "by its number" 'credentials, line 3: want ACCESS-KEY' sh -c '"$@" 2>&1 || true' - "$bin/birthmark" cloud --dir "$work/cloud"
sed -i '$d' "$work/cloud/credentials"

start_cloud
check_output "the cloud prints the accounts' endpoints" "^account $B endpoint $B.localhost\$" cat "$work/cloud.log"
check_output "the server certificate has that name" "DNS:$B.localhost" \
    openssl x509 -in "$work/cloud/pki/server.pem" -noout -ext subjectAltName
check_output "keys that are no longer there are refused" UnrecognizedClientException sh -c '
    eval "$(cat "$0")"; aws --endpoint-url "$1" iot get-registration-code 2>&1 || true' "$work/keys.old" "$api"

use $A
make_ca demo 2>/dev/null
register_ca demo
/usr/bin/python3 "$(dirname "$0")/accounts.py" "$api" "$port" "$work" >"$work/python.out" 2>&1 || echo "accounts.py exited with $?" >>"$work/python.out"
while read -r line; do
    case $line in "ok - "*) ok "${line#ok - }" ;; *) not_ok "$line" ;; esac
done <"$work/python.out"

cure() { "$bin/birthmark" explain --dir "$work/cloud/accounts/$B" any | grep -qF -- "$1"; }
check "what explain says to type is for that account, at that cloud" wait_for 10 cure \
    "aws --endpoint-url $api iot list-attached-policies --target arn:aws:iot:us-east-1:$B:cert/"

# ---- devices ----
make_device d1 demo
check_fails 7 "a newcomer is registered in the account that has its CA" as d1 mosquitto_pub -t t/a -m x -q 1
check "and is PENDING_ACTIVATION there" status_is "$(id_of "$work/d1.crt")" PENDING_ACTIVATION
iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/d1.crt")"
iot iot update-certificate --certificate-id "$(id_of "$work/d1.crt")" --new-status ACTIVE
check_output "explain of the other account knows nothing of it" 'nothing is known of d1' \
    sh -c '"$@" 2>&1 || true' - "$bin/birthmark" explain --dir "$work/cloud/accounts/$B" d1
use $B
subscribed() { grep -q 'Subscribed' "$work/$1.log"; }
start sub_b stdbuf -oL mosquitto_sub -d --cafile "$ca" --cert "$work/b.crt" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i d1 -t 't/#' -C 1
check "a device of the other account connects without its name" wait_for 10 subscribed sub_b
check "a publish of the first account, with the same client id and topic" as d1 mosquitto_pub -t t/a -m from-a -q 1
check "does not end the other's connection" sh -c 'kill -0 "$(cat "$0")"' "$work/sub_b.pid"
check "an API publish of its own account" iot iot-data publish --topic t/b --qos 1 \
    --cli-binary-format raw-in-base64-out --payload from-b
ended() { not_running "$(cat "$work/sub_b.pid")"; }
check "is what it gets" wait_for 10 ended
check_output "and nothing else" '^from-b$' sh -c 'grep -x "from-[ab]" "$0"' "$work/sub_b.log"
check_output "explain tells it in its own folder" 'connect.admitted' "$bin/birthmark" explain --dir "$work/cloud/accounts/$B" --json d1

stop cloud
start_cloud
use $B
check_output "after a restart each account has its own" "cert/$(id_of "$work/b.crt")" text iot list-certificates
use $A
check_output "and the first still its own" "cert/$(id_of "$work/d1.crt")" text iot list-certificates

# ---- a folder from before there were accounts ----
stop cloud
sed -i "/$B/d; s/ $A\$//" "$work/cloud/credentials"
start_cloud
check_output "a credentials file without account numbers is of 000000000000" "cert/$(id_of "$work/d1.crt")" text iot list-certificates
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Choices of the parity ledger (docs/parity.in) that no other scenario shows: of the control plane with boto3 (choices.py), of the
# MQTT endpoint with mosquitto's clients and curl; and what keeps the ledger honest.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

start_cloud
/usr/bin/python3 "$(dirname "$0")/choices.py" "$api" "$work" >"$work/python.out" 2>&1 || echo "choices.py exited with $?" >>"$work/python.out"
while read -r line; do
    case $line in "ok - "*) ok "${line#ok - }" ;; *) not_ok "$line" ;; esac
done <"$work/python.out"

# ---- the MQTT endpoint ----
make_ca factory
register_ca factory
make_device new factory
iot iot create-policy --policy-name all --policy-document "$open_policy" >/dev/null
iot iot create-keys-and-certificate --set-as-active --certificate-pem-outfile "$work/d.pem" --private-key-outfile "$work/d.key" >/dev/null
iot iot attach-policy --policy-name all --target "$arn:cert/$(id_of "$work/d.pem")"
said() { grep -qE "$2" "$work/$1.log"; }
# listen NAME FILTER: all that comes, and with what flags
listen()
{
    start "$1" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/d.pem" --key "$work/d.key" -h 127.0.0.1 -p "$port" -i "$1" -q 1 -v -d -t "$2"
    wait_for 10 said "$1" Subscribed
}

listen events '$aws/events/certificates/registered/+'
# the leaf alone, without a server name
printf '\020\020\0\004MQTT\004\002\0\074\0\004none' >"$work/connect"
timeout 60 openssl s_client -quiet -connect "127.0.0.1:$port" -noservername -cert "$work/new.crt" -key "$work/new.key" \
    <"$work/connect" >/dev/null 2>&1
check "a leaf alone, without a server name, is registered" wait_for 10 status_is "$(id_of "$work/new.crt")" PENDING_ACTIVATION
check "the registration's event comes at QoS 1" wait_for 10 said events "received PUBLISH .*, q1, .*events/certificates/registered/$ca_id'"

check_fails any "level 4: a subscription with QoS 2 ends the connection" timeout 60 mosquitto_sub --cafile "$ca" --cert "$work/d.pem" --key "$work/d.key" \
    -h 127.0.0.1 -p "$port" -i two -q 2 -E -t t

listen shadow '$aws/things/lamp/shadow/#'
as d mosquitto_pub -q 1 -t '$aws/things/lamp/shadow/get' -m '{}'
as d mosquitto_pub -q 1 -t '$aws/things/lamp/shadow/last' -m end
wait_for 10 said shadow '^\$aws/things/lamp/shadow/last end$'
check "a shadow's topic is a topic, and nobody answers there" [ "$(grep -c '^.aws/things' "$work/shadow.log")" = 2 ]

# closed without an answer, or reset: 28 would be a server that says nothing
check "an HTTPS publish with a certificate is not served" sh -c '"$@"; case $? in 52 | 56) ;; *) false ;; esac' - curl -sS --http1.1 --max-time 20 \
    --cacert "$ca" --cert "$work/d.pem" --key "$work/d.key" -d x "https://127.0.0.1:$port/topics/t?qos=1"

# who was connected is told to be gone when the broker dies, and there is nobody to tell
lost() { said cloud 'lifecycle event not published'; }
for _ in 1 2 3 4 5; do
    lost && break
    listen with-broker t
    old=$(pgrep -P "$(cat "$work/cloud.pid")" -x mosquitto)
    kill -9 "$old"
    stop with-broker
    wait_for 10 sh -c 'n=$(pgrep -P "$0" -x mosquitto) && [ "$n" != "$1" ]' "$(cat "$work/cloud.pid")" "$old"
done
check "an event that the broker cannot take is lost, and the log says so" lost
end_all

# ---- the ledger ----
mkdir -p "$work/ledger/docs" "$work/ledger/scripts" "$work/ledger/tests/unit" "$work/ledger/tests/scenario" "$work/ledger/tests/npm"
cp "$root/scripts/parity" "$work/ledger/scripts"
cp "$root/docs/parity.md" "$work/ledger/docs"
echo 'check "a claim" true' >"$work/ledger/tests/scenario/api.sh"
{
    echo '## Control plane'
    echo "a point | a choice | open | 1.1 | api: a claim"
    echo "a point | a choice | open | 1.1 | api: no such claim"
} >"$work/ledger/docs/parity.in"
check_fails 1 "a ledger with a row that no test shows is refused" "$work/ledger/scripts/parity" --check
check_output "by the line of the row" "^docs/parity.in:3: there is no test 'api: no such claim'" sh -c '"$0" --check || true' "$work/ledger/scripts/parity"
check_output "and one whose table was not made again" '^docs/parity.md: not made from' sh -c '"$0" --check || true' "$work/ledger/scripts/parity"
check "that of this source tree is sound" "$root/scripts/parity" --check
done_testing

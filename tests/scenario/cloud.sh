#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The cloud as a program: options, refusals, starting and ending, parts that die.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

check_output "help is on stdout" '^usage: birthmark cloud' "$bin/birthmark" cloud --help
check_output "version" '^birthmark [0-9]' "$bin/birthmark" --version
check_fails 2 "an unknown command is misuse" "$bin/birthmark" clod
check_fails 2 "an unknown option is misuse" "$bin/birthmark" cloud --nonsense
check_fails 2 "a host name without port is misuse" "$bin/birthmark" cloud --dir "$work/x" --mqtt localhost
check_fails 2 "a timeline of seven records is misuse" "$bin/birthmark" cloud --dir "$work/x" --timeline 7
check_fails 1 "beyond loopback it does not start with test/test" \
    "$bin/birthmark" cloud --dir "$work/x" --api 0.0.0.0:0 --mqtt 127.0.0.1:0
check_output "and says how to make credentials" 'new-credentials' \
    sh -c '"$0" cloud --dir "$1" --api 0.0.0.0:0 2>&1 || true' "$bin/birthmark" "$work/x"
check_output "new credentials are printed" '^export AWS_ACCESS_KEY_ID=AKIA' "$bin/birthmark" cloud --dir "$work/x" --new-credentials
check "and kept unreadable for others" sh -c '[ "$(stat -c %a "$0/credentials")" = 600 ]' "$work/x"

start_cloud
check_fails 4 "a second cloud on the same folder is refused" \
    "$bin/birthmark" cloud --dir "$work/cloud" --api 127.0.0.1:0 --mqtt 127.0.0.1:0
check_fails 1 "a taken MQTT port is refused" \
    "$bin/birthmark" cloud --dir "$work/other" --api 127.0.0.1:0 --mqtt "127.0.0.1:$port"
check_fails 1 "a taken API port is refused" \
    "$bin/birthmark" cloud --dir "$work/other" --api "${api#http://}" --mqtt 127.0.0.1:0
first_code=$(text iot get-registration-code)
check "the registration code is 64 hex digits" sh -c 'echo "$0" | grep -qE "^[0-9a-f]{64}$"' "$first_code"

make_ca factory
register_ca factory
make_device d1 factory
check_fails 7 "an unknown device is dropped" as d1 mosquitto_pub -t a -m x -q 1
check "and registered" status_is "$(id_of "$work/d1.crt")" PENDING_ACTIVATION

master=$(cat "$work/cloud.pid")
part() { pgrep -P "$master" -x "$1"; }
replaced() { new=$(part "$1") && [ "$new" != "$2" ]; }
connects() { as d1 mosquitto_pub -t a -m x -q 1; }

broker=$(part mosquitto)
kill -9 "$broker"
check "a broker that dies is replaced" wait_for 10 replaced mosquitto "$broker"
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/d1.crt")"
iot iot update-certificate --certificate-id "$(id_of "$work/d1.crt")" --new-status ACTIVE
check "and devices connect again" wait_for 10 connects

for worker in worker0 worker1; do
    pid=$(part $worker)
    kill -9 "$pid"
    check "$worker, killed, is replaced" wait_for 10 replaced $worker "$pid"
done
check "and known devices connect through the new workers" wait_for 10 connects
make_device d2 factory
check_fails 7 "and newcomers are dropped" as d2 mosquitto_pub -t a -m x -q 1
check "and registered" status_is "$(id_of "$work/d2.crt")" PENDING_ACTIVATION

pids=$(pgrep -P "$master")
stop cloud
gone_all() { for p in $pids; do kill -0 "$p" 2>/dev/null && return 1; done; return 0; }
check "SIGTERM ends every process it started" wait_for 10 gone_all
check "and its sockets are gone" sh -c '[ -z "$(find "$0" -type s)" ]' "$work/cloud"

start_cloud
same_code() { [ "$(text iot get-registration-code)" = "$first_code" ]; }
check "after a restart the code is the same" same_code
check "and the device is still ACTIVE and connects" connects
check_output "explain tells its history" 'PENDING_ACTIVATION' "$bin/birthmark" explain --dir "$work/cloud" d1
check_output "explain prints JSON" '^\{' "$bin/birthmark" explain --dir "$work/cloud" --json d1
check_fails 3 "explain of an unknown name says so" "$bin/birthmark" explain --dir "$work/cloud" nobody

iot iot update-certificate --certificate-id "$(id_of "$work/d1.crt")" --new-status INACTIVE
check_fails 7 "a device that was deactivated is refused" as d1 mosquitto_pub -t a -m x -q 1
explain() { "$bin/birthmark" explain --dir "$work/cloud" "$@" 2>&1 || true; }
check_output "explain last is that refusal: its cause" '^cause  *connect.inactive: Refused' explain last
check_output "and its evidence" '^evidence .* client=d1 peer=127.0.0.1:' explain last
check_output "and its cure" "^cure .*$(id_of "$work/d1.crt")" explain last
check_output "as JSON, one line" '^1$' sh -c '"$@" | grep -c connect.inactive' sh "$bin/birthmark" explain --dir "$work/cloud" --json last
short=$(id_of "$work/d1.crt" | cut -c1-9)
check_output "the first digits of the id will do" '^cause  *connect.inactive' explain "$short"
check_output "or the client id, last or not" '^cause  *connect.inactive' explain --client d1
check_output "or the address" '^cause  *connect.inactive' explain 127.0.0.1
peer=$(explain --json last | sed 's/.*"peer":"\([^"]*\)".*/\1/')
check_output "with its port" '^cause  *connect.inactive' explain "$peer"
check_fails 3 "an address that never came" "$bin/birthmark" explain --dir "$work/cloud" 192.0.2.1
check_fails 3 "digits that no id begins with" "$bin/birthmark" explain --dir "$work/cloud" 0123456789abcdef0
check_fails 3 "a client called last is asked for with --client" "$bin/birthmark" explain --dir "$work/cloud" --client last
check_output "what nobody knows comes with what to try" 'explain last' explain nobody
done_testing

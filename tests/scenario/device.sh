#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The reference client: the first contact of a device whose key is in a chip, messages both ways, and what it says when it is
# not let in, by exit code and cause.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libdevice.sh"

check_output "help is on stdout" '^usage: birthmark device' "$bin/birthmark" device --help
check_fails 2 "no action is misuse" "$bin/birthmark" device
check_fails 2 "an unknown action is misuse" "$bin/birthmark" device dance
check_fails 2 "no host is misuse" "$bin/birthmark" device publish -t a -m x
check_fails 2 "two messages are misuse" "$bin/birthmark" device publish -h 127.0.0.1 -t a -m x -n
check_fails 2 "a key file without certificate is misuse" "$bin/birthmark" device publish -h 127.0.0.1 --key x -t a -m x
check_fails 2 "QoS 2 is misuse" "$bin/birthmark" device publish -h 127.0.0.1 -t a -m x -q 2

unbuffered_sub() { stdbuf -oL mosquitto_sub "$@"; }

CLOUD_OPTIONS="--limit connect-rate=0" # one device after the other says the same client id
start_cloud
make_ca factory
register_ca factory

# first contact: dropped, registered, activated meanwhile, let in
chip_device d1 factory
id=$(id_of "$work/d1.crt")
start first "$bin/birthmark" device publish -h 127.0.0.1 -p "$port" --cafile "$ca" -t a/d1 -m hello --timeout 50
check "a newcomer is told that it was dropped" wait_line first 'device.dropped: .*trying again'
check "and it is registered" wait_for 20 status_is "$id" PENDING_ACTIVATION
check "it tries again while it is pending" wait_line first 'device.dropped again'
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
let_in "$work/d1.crt"
check "once ACTIVE it is let in and its message is acknowledged" ends_with first 0

signed=$("$bin/a71chd" --stats "tcp:$A71CH_ADDRESS" | sed 's/.*"signatures":\([0-9]*\).*/\1/')
check "a known device connects at once" device publish -t a/d1 -m again
now=$("$bin/a71chd" --stats "tcp:$A71CH_ADDRESS" | sed 's/.*"signatures":\([0-9]*\).*/\1/')
check "with one signature of the chip" test "$now" = $((signed + 1))

# --explain: each layer, in order, as far as it came
layers() { sed -n 's/^\(ok\|warn\|FAIL\) *\([a-z]*\) .*/\2/p' "$work/said" | tr '\n' ' '; }
says 0 "explained, it is let in" '^ok +mqtt +CONNECT of client id d1, MQTT 5: CONNACK 0' device publish -t a/d1 -m x --explain --alpn x-amzn-mqtt-ca
check "at each layer" test "$(layers)" = 'clock key certificate dates chain name tcp asked server tls alpn mqtt result '
check "which name it asked for, and the protocol" grep -q '^ok *asked *server name (SNI) 127.0.0.1, ALPN x-amzn-mqtt-ca$' "$work/said"
says 13 "explained, nobody listens" '^FAIL +tcp +Connection refused' "$bin/birthmark" device publish -h 127.0.0.1 -p 1 --cafile "$ca" -t a -m x --once --explain
check "which is its last layer" test "$(layers)" = 'clock key certificate dates chain name tcp result '
says 15 "explained, another root" '^FAIL +server .*issuer CN=Birthmark Root CA' \
    "$bin/birthmark" device publish -h 127.0.0.1 -p "$port" --cafile "$work/factory.crt" -t a -m x --once --explain
says 10 "explained, no chip" '^FAIL +key .*nobody listens' device publish --chip 127.0.0.1:1 -t a -m x --once --explain

# messages both ways, with an unmodified client at the other end, at both protocol levels
make_device d2 factory
iot iot register-certificate --certificate-pem "file://$work/d2.crt" --ca-certificate-pem "file://$work/factory.crt" --status ACTIVE >/dev/null
let_in "$work/d2.crt"
for level in 5 3.1.1; do
    start listener as d2 unbuffered_sub -t 'a/#' -C 6 -v -q 1 -d
    wait_line listener 'Subscribed' >/dev/null
    printf 'one\ntwo\n\nfour' | device publish -t a/lines -l --mqtt $level --timeout 20
    check "MQTT $level: lines of stdin are acknowledged" test $? = 0
    head -c 1000 /dev/urandom | base64 -w0 >"$work/file"
    check "MQTT $level: a file is published with QoS 0" device publish -t a/file -f "$work/file" -q 0 --mqtt $level
    check "MQTT $level: a message without bytes, too" device publish -t a/empty -n --mqtt $level
    for line in 'a/lines one' 'a/lines two' 'a/lines four' "a/file $(cat "$work/file")" 'a/empty \(null\)'; do
        check "MQTT $level: mosquitto_sub received $(echo "$line" | cut -c1-20)" wait_line listener "^$(printf '%s' "$line" | sed 's/+/\\+/g')\$"
    done
    stop listener
    start sub "$bin/birthmark" device subscribe -h 127.0.0.1 -p "$port" --cafile "$ca" -t b/+ -t c -C 2 -v --mqtt $level
    wait_line sub subscribed >/dev/null
    as d2 mosquitto_pub -t b/1 -m ding -q 1
    as d2 mosquitto_pub -t c -m dong -q 1
    check "MQTT $level: it prints what mosquitto_pub sent" wait_line sub '^c dong$'
    check "MQTT $level: with the topic" wait_line sub '^b/1 ding$'
    check "MQTT $level: and ends after two" ends_with sub 0
done
start older "$bin/birthmark" device subscribe -h 127.0.0.1 -p "$port" --cafile "$ca" -t b/+ -v --once
wait_line older subscribed >/dev/null
check "another one with its client id connects" device publish -t c -m x
check "whoever is taken over prints the server's words" wait_line older 'DISCONNECT 142, session taken over: disconnect.taken_over: Disconnected'
check "and ends" ends_with older 20
start json "$bin/birthmark" device subscribe -h 127.0.0.1 -p "$port" --cafile "$ca" -t j -C 2 --json -v
wait_line json subscribed >/dev/null
as d2 mosquitto_pub -t j -m '"' -q 1
printf '\377\376' >"$work/bytes"
as d2 mosquitto_pub -t j -f "$work/bytes" -q 1
check "as JSON, text is text" wait_line json '^\{"topic":"j","retained":false,"payload":"\\""\}$'
check "and bytes are base64" wait_line json '"payloadBase64":"//4="'

# key in files, options in a file
printf '# a device\nhost 127.0.0.1\nport %s\ncafile %s\nkey %s\ncert %s\n' "$port" "$ca" "$work/d2.key" "$work/d2.pem" >"$work/d2.conf"
check "options come from a file" "$bin/birthmark" device publish --config "$work/d2.conf" -t a -m x
printf 'colour blue\n' >"$work/bad.conf"
check_fails 2 "an unknown option in it is misuse" "$bin/birthmark" device publish --config "$work/bad.conf" -t a -m x
cat "$work/factory.crt" "$work/d2.crt" >"$work/turned.pem"
check "a file with the issuer first is put in order" device publish --key "$work/d2.key" --cert "$work/turned.pem" -t a -m x
check "a reference key in a file works without any configuration" \
    device publish --key "$work/d1.ref" --cert "$work/d1.crt" -t a -m x

# what it says when it does not get in
says 13 "nobody listens" 'device.nobody_listens.*refused' "$bin/birthmark" device publish -h 127.0.0.1 -p 1 --cafile "$ca" -t a -m x --once
says 13 "an unknown name" 'device.name_unknown' "$bin/birthmark" device publish -h no.such.invalid --cafile "$ca" -t a -m x --once
start_portal
says 14 "an HTTP server" 'device.not_tls.*HTTP/' "$bin/birthmark" device publish -h 127.0.0.1 -p "$portal" --cafile "$ca" -t a -m x --once
stop portal
says 15 "another root" 'device.server_untrusted.*issuer CN=Birthmark Root CA' \
    "$bin/birthmark" device publish -h 127.0.0.1 -p "$port" --cafile "$work/factory.crt" -t a -m x --once
says 15 "another name" 'device.server_name.*names localhost' device publish --server-name example.org -t a -m x --once
says 11 "a certificate of another key" 'device.key.*none of 2 certificates' device publish --key "$work/d1.ref" --cert "$work/d2.pem" -t a -m x --once
says 11 "an empty slot" 'device.key.*slot 3.*gen pair' device publish --slot 3 -t a -m x --once
says 10 "a key file that is not there" 'device.chip.*nowhere.key' device publish --key "$work/nowhere.key" --cert "$work/d2.pem" -t a -m x --once
says 10 "no chip" 'device.chip.*nobody listens' device publish --chip 127.0.0.1:1 -t a -m x --once

iot iot create-policy --policy-name narrow --policy-document "{\"Version\":\"2012-10-17\",\"Statement\":[
 {\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\"Resource\":\"$arn:client/d2\"},
 {\"Effect\":\"Allow\",\"Action\":[\"iot:Publish\",\"iot:Receive\"],\"Resource\":\"$arn:topic/mine\"}]}" >/dev/null
iot iot detach-policy --policy-name open --target "$arn:cert/$(id_of "$work/d2.crt")"
iot iot attach-policy --policy-name narrow --target "$arn:cert/$(id_of "$work/d2.crt")"
d2="--key $work/d2.key --cert $work/d2.pem"
check "a topic that the policy names" device publish $d2 -t mine -m x
says 18 "a client id that it does not" 'device.not_allowed.*CONNACK 135, not authorised: connect.denied: Refused' device publish $d2 -i other -t mine -m x --once
says 17 "the same at level 3.1.1" 'device.dropped' device publish $d2 -i other -t mine -m x --once --mqtt 3.1.1
says 21 "a topic that it does not" 'PUBACK 135, not authorised: publish.denied: Refused: .*resource="topic/theirs"' device publish $d2 -t theirs -m x --timeout 30
says 21 "and at level 3.1.1 device.dropped_at_publish" 'device.dropped_at_publish' device publish $d2 -t theirs -m x --timeout 30 --mqtt 3.1.1
"$bin/birthmark" device put --state "$work/queue" -t theirs -m x
says 0 "a message of the queue is set aside" 'is refused \(PUBACK 135, not authorised: publish.denied' device run $d2 --state "$work/queue" --until-empty
check_output "with what the server said" '"reason":135,"reasonString":"publish.denied: Refused' "$bin/birthmark" device queue --refused --json \
    --state "$work/queue"
check_output "in words, too" '  not authorised: publish.denied: Refused' "$bin/birthmark" device queue --refused --state "$work/queue"
says 18 "a filter that it does not" 'SUBACK 135, not authorised: subscribe.denied: Refused: .*resource="topicfilter/theirs"' device subscribe $d2 -t theirs --timeout 30
says 18 "the same at level 3.1.1" 'subscribe.denied' device subscribe $d2 -t theirs --timeout 30 --mqtt 3.1.1
check "what was let in once is remembered" device publish $d2 -t mine -m x --state "$work/state"
iot iot update-certificate --certificate-id "$(id_of "$work/d2.crt")" --new-status REVOKED
says 17 "so that a revoked device is told so" 'device.shut_out.*REVOKED' device publish $d2 -t mine -m x --state "$work/state" --timeout 3
check "without a busy loop" sh -c 'n=$(grep -c shut_out "$0"); [ "$n" -ge 1 ] && [ "$n" -le 4 ]' "$work/said"
done_testing

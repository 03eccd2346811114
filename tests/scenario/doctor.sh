#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# birthmark doctor: each failure provoked, and named before the device connects; and that looking registers nothing.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libdevice.sh"

doctor() { timeout 60 "$bin/birthmark" doctor -h 127.0.0.1 -p "$port" --cafile "$ca" "$@"; }

start_cloud
make_ca factory
chip_device d1 factory
make_device d2 factory
id=$(id_of "$work/d1.crt")

says 0 "all is well without the cloud's word" '^ok +tls .*CN=localhost' doctor
check "with the chip's key" grep -q '^ok *key .*key pair 0 of the chip' "$work/said"
check "and the chain, stored in another order" grep -q '^ok *chain .*1 issuers' "$work/said"
says 17 "an issuer that is not registered" 'connect.ca_unknown' doctor --cloud "$api"
register_ca factory
says 0 "a newcomer whose issuer is registered" '^ok +cloud .*registers by itself' doctor --cloud "$api"
iot iot update-ca-certificate --certificate-id "$ca_id" --new-auto-registration-status DISABLE
says 17 "auto-registration that is off" 'connect.ca_no_auto_registration' doctor --cloud "$api"
iot iot update-ca-certificate --certificate-id "$ca_id" --new-status INACTIVE
says 17 "an issuer that is INACTIVE" 'connect.ca_inactive' doctor --cloud "$api"
iot iot update-ca-certificate --certificate-id "$ca_id" --new-status ACTIVE --new-auto-registration-status ENABLE
check_fails 254 "looking has registered nothing" iot iot describe-certificate --certificate-id "$id"

device publish -t a -m x --once >/dev/null 2>&1
says 17 "a certificate that is pending" 'connect.pending' doctor --cloud "$api"
iot iot update-certificate --certificate-id "$id" --new-status ACTIVE
says 17 "no policy" 'connect.no_policy' doctor --cloud "$api"
iot iot create-policy --policy-name narrow --policy-document "{\"Version\":\"2012-10-17\",\"Statement\":[
 {\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\"Resource\":\"$arn:client/d1\"},
 {\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":\"$arn:topic/mine\"}]}" >/dev/null
iot iot attach-policy --policy-name narrow --target "$arn:cert/$id"
says 0 "a policy that allows client id and topic" '^ok +policy .*PUBLISH mine is allowed' doctor --cloud "$api" -t mine
says 17 "another client id" 'connect.denied' doctor --cloud "$api" -i other
says 21 "another topic" 'publish.denied' doctor --cloud "$api" -t theirs
says 21 "a filter" 'subscribe.denied' doctor --cloud "$api" -s mine/+
says 21 "as JSON" '"cause": "publish.denied"' doctor --cloud "$api" -t theirs --json
iot iot update-certificate --certificate-id "$id" --new-status REVOKED
says 17 "a revoked certificate" 'connect.revoked' doctor --cloud "$api"

says 13 "nobody listens" 'device.nobody_listens' "$bin/birthmark" doctor -h 127.0.0.1 -p 1 --cafile "$ca"
says 13 "an unknown name" 'device.name_unknown' "$bin/birthmark" doctor -h no.such.invalid --cafile "$ca"
start_portal
says 14 "something else answers" 'device.not_tls' "$bin/birthmark" doctor -h 127.0.0.1 -p "$portal" --cafile "$ca"
stop portal
says 15 "another root" 'device.server_untrusted' "$bin/birthmark" doctor -h 127.0.0.1 -p "$port" --cafile "$work/factory.crt"
says 0 "the name for MQTT on port 443, which the server takes" '^ok +alpn .*took x-amzn-mqtt-ca' doctor --alpn x-amzn-mqtt-ca
says 0 "one that it does not take is a warning" '^warn +alpn .*did not take h2' doctor --alpn h2
says 15 "another name" 'device.server_name' doctor --server-name example.org
says 0 "a clock in 1970 is a warning" '^warn +clock .*1970' doctor --clock 1970-01-01T00:00:00Z
says 0 "one in 2100, too" '^warn +clock .*2100' doctor --clock 2100-01-01T00:00:00Z
says 11 "a certificate of another key" "device.key" doctor --key "$work/factory.key" --cert "$work/d2.crt"
says 10 "no chip" 'device.chip' doctor --chip 127.0.0.1:1
openssl x509 -req -in "$work/d2.csr" -CA "$work/factory.crt" -CAkey "$work/factory.key" -CAcreateserial -days -1 -out "$work/old.crt" 2>/dev/null
says 11 "an expired certificate" 'connect.expired' doctor --key "$work/d2.key" --cert "$work/old.crt"
check "whose issuer is missing" grep -q 'device.chain' "$work/said"
done_testing

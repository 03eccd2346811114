#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A broker by address in TLS (--broker mqtts://...): an unmodified mosquitto that wants a certificate of its clients. Devices at both
# levels, the API and control are served, large messages both ways, also to a device that reads slowly; it goes and comes back. What
# is wrong is told as such: who signed it, its name, its date, a plain port, our certificate. No secret is in the log or in ps.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

plain=$(free_port)
tls=$(free_port)
late=$(free_port)
six= # the address, when there is IPv6
! grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null || six=::1
make_ca broker
make_ca other
server_cert()
{
    openssl ecparam -genkey -name prime256v1 -out "$work/$1.key" && openssl req -new -key "$work/$1.key" -out "$work/$1.csr" -subj "/CN=$1" &&
        printf 'subjectAltName=%s\n' "$2" >"$work/$1.ext" &&
        openssl x509 -req -in "$work/$1.csr" -CA "$work/broker.crt" -CAkey "$work/broker.key" -CAcreateserial -days "$3" -extfile "$work/$1.ext" -out "$work/$1.crt" 2>/dev/null
}
server_cert server DNS:localhost,IP:127.0.0.1,IP:::1 10
server_cert named DNS:broker.example 10
make_device gateway broker
make_device stranger other
echo 'secret of the gateway' >"$work/password"
: >"$work/users"
chmod 600 "$work/password" "$work/users" "$work/gateway.key"
mosquitto_passwd -b "$work/users" gateway 'secret of the gateway'
[ "$(id -u)" != 0 ] || echo "user root" >"$work/mosquitto.conf"
cat >>"$work/mosquitto.conf" <<CONF
password_file $work/users
persistence true
persistence_location $work/
log_dest stderr
max_queued_messages 0
listener $plain 127.0.0.1
$(for host in 127.0.0.1 $six; do
    printf '%s\n' "listener $tls $host" "certfile $work/server.crt" "keyfile $work/server.key" "cafile $work/broker.crt" "require_certificate true"
done)
listener $late 127.0.0.1
certfile $work/named.crt
keyfile $work/named.key
CONF
outside() { what=$1; shift; "$what" -h 127.0.0.1 -p "$plain" -u gateway -P 'secret of the gateway' "$@"; }
start_broker() { start broker mosquitto -c "$work/mosquitto.conf" && wait_for 20 outside mosquitto_pub -t up -n; }
start_broker

ours="--broker-password $work/password --broker-cert $work/gateway.pem --broker-key $work/gateway.key"
CLOUD_OPTIONS="--broker mqtts://gateway@localhost:$tls --broker-ca $work/broker.crt $ours"
start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
make_device a factory
make_device b factory
for d in a b; do
    as $d mosquitto_pub -t t -m x >/dev/null 2>&1
    wait_for 20 iot iot update-certificate --certificate-id "$(id_of "$work/$d.crt")" --new-status ACTIVE
    iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/$d.crt")"
done
start outside stdbuf -oL mosquitto_sub -h 127.0.0.1 -p "$plain" -u gateway -P 'secret of the gateway' -q 1 -v -d -t '#'
wait_line outside Subscribed >/dev/null
outside_hears() { grep -qE "$1" "$work/outside.log"; }
check "a device publishes" as a mosquitto_pub -q 1 -t from/a -m one
check "another client of that broker gets it" wait_for 10 outside_hears '^from/a one'
check "the API publishes" iot iot-data publish --topic from/api --cli-binary-format raw-in-base64-out --payload '{"n":1}' --qos 1
check "and that arrives, too" wait_for 10 outside_hears '^from/api {"n":1}'
check "the broker saw our certificate's connections" sh -c "grep -q 'New client connected from .* as a ' $work/broker.log"
head -c 100000 /dev/urandom | base64 -w 0 | head -c 120000 >"$work/large"
for v in mqttv311 mqttv5; do
    start "sub$v" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i "b$v" -V $v -d -v -q 1 -t 'to/#'
    wait_line "sub$v" Subscribed >/dev/null
    check "a device publishes 120 KB ($v)" as a mosquitto_pub -V $v -q 1 -t "to/$v" -f "$work/large"
    check "and a device gets it whole" wait_for 20 grep -qF "to/$v $(cat "$work/large")" "$work/sub$v.log"
done
# one that reads nothing for a while: what waits, waits at the broker and in sockets, and all of it comes
start slow stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i slow -d -q 1 -t 'slow/#' -F 'at %t'
wait_line slow Subscribed >/dev/null
kill -STOP "$(cat "$work/slow.pid")"
i=0
while [ $i -lt 60 ]; do echo; i=$((i + 1)); done | sed "s/.*/$(head -c 60000 "$work/large" | tr '/' _)/" >"$work/lines"
check "while a device sleeps, 3.6 MB are published to it" outside mosquitto_pub -q 1 -l -t slow/x <"$work/lines"
kill -CONT "$(cat "$work/slow.pid")"
all_came() { [ "$(grep -c '^at slow/x' "$work/slow.log")" = 60 ]; }
check "when it wakes, it gets all of it" wait_for 20 all_came

# ---- it goes, and comes back ----
stop broker KILL
wait_for 20 not_running "$(cat "$work/submqttv5.pid")"
check_fails any "when it is killed, nobody is let in" as a mosquitto_pub -q 1 -t from/a -m x
start_broker
check "when it is back, a device publishes again" wait_for 20 as a mosquitto_pub -q 1 -t from/a -m back
check "and the API" wait_for 20 iot iot-data publish --topic from/api --payload e30= --qos 1
master=$(cat "$work/cloud.pid")
for pid in "$master" $(pgrep -P "$master"); do cat "/proc/$pid/cmdline"; done >"$work/cmdlines"
check_fails any "no secret is in its command lines" grep -q 'secret of' "$work/cmdlines"
check_fails any "nor in its log" grep -q 'secret of' "$work/cloud.log"
stop cloud

# ---- refusals ----
explained() { "$bin/birthmark" explain --dir "$work/cloud" --client a | grep -qF -- "$1"; }
# claim, options, what control says, what explain says
refused()
{
    CLOUD_OPTIONS=$2
    start_cloud
    check "$1: control says it in the log" wait_for 20 grep -qF -- "$3" "$work/cloud.log"
    check_fails any "$1: no device is let in" as a mosquitto_pub -q 1 -t from/a -m x
    check "$1: explain says why" wait_for 20 explained "$4"
    stop cloud
}
at="mqtts://gateway@127.0.0.1"
refused "a broker of another CA" "--broker $at:$tls --broker-ca $work/other.crt $ours" \
    "no TLS between control and the broker at 127.0.0.1:$tls: self-signed certificate in certificate chain" 'broker="self-signed certificate in'
refused "a broker with another name" "--broker $at:$late --broker-ca $work/broker.crt $ours" \
    "127.0.0.1:$late: IP address mismatch" 'broker="IP address mismatch'
refused "a plain port" "--broker $at:$plain --broker-ca $work/broker.crt $ours" \
    "127.0.0.1:$plain: unexpected eof while reading" 'broker="closed during the TLS handshake: is this its TLS port?'
refused "no certificate where one is wanted" "--broker $at:$tls --broker-ca $work/broker.crt --broker-password $work/password" \
    "certificate required" 'certificate required'
refused "a certificate that it does not know" "--broker $at:$tls --broker-ca $work/broker.crt --broker-password $work/password --broker-cert $work/stranger.pem --broker-key $work/stranger.key" \
    "unknown ca" 'unknown ca'
if [ -n "$six" ]; then
    CLOUD_OPTIONS="--broker mqtts://gateway@[::1]:$tls --broker-ca $work/broker.crt $ours"
    start_cloud
    check "it is reached by IPv6, with the address in its certificate" wait_for 20 as a mosquitto_pub -q 1 -t from/a -m six
    stop cloud
else
    echo "skip - a broker by IPv6: no ::1 here"
fi

cloud() { "$bin/birthmark" cloud --dir "$work/cloud" --broker "$@"; }
check_fails 2 "--broker-ca without TLS is refused" cloud mqtt://127.0.0.1 --broker-ca "$work/broker.crt"
check_fails 2 "a certificate without its key is refused" cloud mqtts://127.0.0.1 --broker-cert "$work/gateway.pem"
check_output "a key that is another's is refused by its name" "stranger.key: key values mismatch" \
    sh -c '! "$0" cloud --dir "$1" --broker mqtts://127.0.0.1 --broker-cert "$2" --broker-key "$3" 2>&1' "$bin/birthmark" "$work/cloud" "$work/gateway.pem" "$work/stranger.key"
check_output "a CA file that is not there is refused by its name" "cannot read $work/none" \
    sh -c '! "$0" cloud --dir "$1" --broker mqtts://127.0.0.1 --broker-ca "$2" 2>&1' "$bin/birthmark" "$work/cloud" "$work/none"
done_testing

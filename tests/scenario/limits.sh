#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Limits of the endpoint: the service's by default, others by option; what passes one is told by cause, code and number.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

check_output "limits are listed" '^publish-rate +100 ' "$bin/birthmark" cloud --limits
check_output "an unknown limit is refused, and told which there are" 'nonsense=1.*subscriptions' sh -c \
    "'$bin/birthmark' cloud --dir '$work/x' --limit nonsense=1 2>&1 || [ \$? = 2 ]"

CLOUD_OPTIONS='--metrics 127.0.0.1:0 --limit publish-rate=20 --limit in-flight=2 --limit subscriptions=3 --limit connect-burst=3
    --limit register-rate=1 --limit create-policy-rate=2 --limit throughput=20000 --limit address-connections=4 --limit address-handshakes=2 --limit handshake-ms=60000'
start_cloud
registered()
{
    iot iot register-certificate --certificate-pem "file://$work/$1.crt" --ca-certificate-pem "file://$work/factory.crt" --status ACTIVE
}
registered_device()
{
    make_device "$1" factory
    wait_for 20 registered "$1" || not_ok "$1 is registered" # one in a second, so the second of two may have to ask again
    iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/$1.crt")"
}
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
registered_device a
registered_device b

# NAME PROGRAM ...: as device a with this client id
id() { name=$1 program=$2; shift 2; "$program" --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" -i "$name" "$@"; }
watch_as()
{
    start "$1" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i "$1" -q 1 -d \
        -t "$2"
    wait_for 10 grep -q Subscribed "$work/$1.log"
}
explains() { "$bin/birthmark" explain --dir "$work/cloud" "$1" | grep -q "$2"; }
metric() { curl -sS "$(sed -n 's/^metrics //p' "$work/cloud.log")/metrics" | grep -qE "^birthmark_causes_total\{cause=\"$1\"\} [1-9]"; }
client() { /usr/bin/python3 "$root/tests/scenario/limits.py" "$port" "$ca" "$work/a.pem" "$work/a.key" "$@"; }

# CONNECTs of one client id: three at once, then one a second
check "a level 5 client is told: quota exceeded" client again5
check "connects that come too fast are refused" wait_for 10 explains again5 'connects more often than the service allows'
check "other client ids are not" id other mosquitto_pub -q 1 -t t -m x
check "and a little later it is let in" wait_for 10 id again5 mosquitto_pub -q 1 -t t -m x
check "counted: connect.throttled" metric connect.throttled

# messages a second
seq 60 >"$work/lines"
watch_as all 't/#'
id five mosquitto_pub -V mqttv5 -q 0 -t t/five -l <"$work/lines"
check "QoS 0 over the rate is discarded, with its cause" wait_for 10 explains five 'from=client discarded messages_per_second=20'
check "level 5, QoS 1: the client is told of each" client rate5
check "level 4, QoS 1: all come to be acknowledged" id four mosquitto_pub -V mqttv311 -q 1 -t t/four -l <"$work/lines"
check "delayed, with the cause" wait_for 10 explains four 'from=client delayed'
check "and are delivered" wait_for 20 grep -qx 60 "$work/all.log"
check "counted: mqtt.rate" metric mqtt.rate

# bytes a second
head -c 30000 /dev/zero | tr '\0' y >"$work/large"
check "a message over the throughput passes" id large mosquitto_pub -q 1 -t t/large -s <"$work/large"
check "late, with the cause" wait_for 10 explains large 'from=client bytes_per_second=20000'
check "counted: mqtt.throughput" metric mqtt.throughput
stop all

# in flight
check "level 5: receive maximum is in CONNACK, and who sends more is told so" client flight5
check "with the cause" wait_for 10 explains flight5 'in_flight_max=2'
check "level 4: the rest waits for its turn" client flight4
check "counted: mqtt.in_flight" metric mqtt.in_flight

check_fails any "one subscription more than allowed ends the connection" timeout 60 mosquitto_sub --cafile "$ca" --cert "$work/a.pem" \
    --key "$work/a.key" -h 127.0.0.1 -p "$port" -i many -q 1 -t s/1 -t s/2 -t s/3 -t s/4
check "with the cause: mqtt.subscriptions" wait_for 10 explains many 'subscriptions_max=3'

# an account, over all clients: one newcomer in a second, and the API's calls
for i in 1 2; do
    make_device "new$i" factory
done
# both have their TLS connection before one says CONNECT, so that they come in one second on a loaded machine, too
/usr/bin/python3 - "$work" "$ca" "$port" <<'END'
import socket, ssl, sys
folder, ca, port = sys.argv[1:4]
def opened(name):
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    context.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}.key")
    return context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), 20))
names = [f"new{n}" for n in (1, 2)]
devices = [(opened(name), name.encode()) for name in names]
for device, name in devices:
    device.sendall(bytes([16, 12 + len(name)]) + b"\0\4MQTT\4\2\0\x3c" + len(name).to_bytes(2, "big") + name)
for device, _ in devices:
    try:
        device.recv(1)
    except OSError:
        pass
END
check "newcomers beyond the rate are not registered" wait_for 10 metric register.throttled
throttled()
{
    explains new1 'of=account registrations_per_second=1' || explains new2 'of=account registrations_per_second=1'
}
check "with the cause" wait_for 10 throttled
check "an operation of the API beyond its rate is throttled" /usr/bin/python3 - "$api" "$open_policy" <<'END'
import sys, boto3, botocore.config
iot = boto3.client("iot", endpoint_url=sys.argv[1], config=botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}))
for n in range(100):
    try:
        iot.create_policy(policyName=f"p{n}", policyDocument=sys.argv[2])
    except iot.exceptions.ThrottlingException as error:
        sys.exit(0 if "at most 2 calls of CreatePolicy a second" in str(error) else str(error))
sys.exit("never")
END

# one address
for i in 1 2 3 4; do
    watch_as "open$i" t/none
done
check_fails any "one connection more of an address is refused" id fifth mosquitto_pub -q 1 -t t -m x
check "counted: connect.address_connections" metric connect.address_connections
stop open1
check "when one has gone there is room again" wait_for 10 id fifth mosquitto_pub -q 1 -t t -m x
for i in 2 3 4; do
    stop "open$i"
done
start half /usr/bin/python3 "$root/tests/scenario/limits.py" "$port" "$ca" "$work/a.pem" "$work/a.key" half
wait_for 10 grep -q half "$work/half.log"
check "one handshake more of an address is refused" wait_for 10 metric connect.address_handshakes
stop half
check "when they have gone there is room again" wait_for 10 id fifth mosquitto_pub -q 1 -t t -m x
check "explain tells the cause without a certificate" wait_for 10 sh -c "'$bin/birthmark' explain --dir '$work/cloud' |
    grep -q 'limit=address-handshakes max=2'"

# without limits: what waits for a kept session that is away is not cut at mosquitto's thousand
stop all
stop cloud
CLOUD_OPTIONS=--no-limits
start_cloud
id away mosquitto_sub -c -q 1 -E -t t/away || not_ok "a session is kept"
seq 1500 >"$work/lines"
id writer mosquitto_pub -q 1 -t t/away -l <"$work/lines"
id away mosquitto_sub -c -q 1 -C 1500 -W 60 -t t/away >"$work/got"
check "1,500 messages wait for a client that is away, in their order" cmp "$work/lines" "$work/got"
done_testing

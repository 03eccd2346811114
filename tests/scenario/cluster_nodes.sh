#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A cluster of three nodes behind the cloud: nats-server, which keeps sessions, retained messages and what waits on a majority of them,
# and topics with dots (--broker-profile nats). Each worker begins with another node; devices on one are heard on the other, under the
# names that they gave. A node is killed while devices are connected: what was acknowledged comes, sessions go on at another node. MQTT 5
# and shared subscriptions, which it has not, are refused with their cause.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

command -v nats-server >/dev/null || { echo "skip - a cluster of nodes: apt-get install nats-server"; done_testing; }
echo 'of the cluster' >"$work/password"
chmod 600 "$work/password"
for n in one two three; do
    eval "$n=$(free_port) route_$n=$(free_port) seen_$n=$(free_port)"
done
start_node()
{
    eval "mqtt=\$$1 route=\$route_$1 seen=\$seen_$1"
    cat >"$work/$1.conf" <<CONF
server_name: $1
listen: "127.0.0.1:-1"
http: "127.0.0.1:$seen"
jetstream { store_dir: "$work/$1.store", max_mem: 64M, max_file: 256M }
cluster { name: c, listen: "127.0.0.1:$route", routes: ["nats://127.0.0.1:$route_one", "nats://127.0.0.1:$route_two", "nats://127.0.0.1:$route_three"] }
mqtt { listen: "127.0.0.1:$mqtt", authorization { username: gateway, password: "of the cluster" } }
CONF
    start "$1" nats-server -c "$work/$1.conf"
}
node_has() { eval "curl -sf http://127.0.0.1:\$seen_$1/connz" | grep -q "\"mqtt_client\": \"$2\""; }
node_is_well() { eval "curl -sf http://127.0.0.1:\$seen_$1/healthz"; }
at() { eval "at=\$$1" && what=$2 && shift 2 && "$what" -h 127.0.0.1 -p "$at" -u gateway -P 'of the cluster' "$@"; }
for n in one two three; do start_node "$n"; done
takes() { at "$1" mosquitto_pub -i "probe-$1" -q 1 -t t/up -m x; }
for n in one two three; do wait_for 20 takes $n; done
start outside stdbuf -oL mosquitto_sub -h 127.0.0.1 -p "$three" -u gateway -P 'of the cluster' -i outside -q 1 -v -d -t 't/#' -t 's/#'
wait_line outside Subscribed >/dev/null
outside_hears() { grep -qE "$1" "$work/outside.log"; }

CLOUD_OPTIONS="--broker mqtt://gateway@127.0.0.1:$one,127.0.0.1:$two,127.0.0.1:$three --broker-profile nats --broker-password $work/password --limit connect-rate=0"
start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
newcomer()
{
    make_device "$1" factory
    as "$1" mosquitto_pub -t t -m x >/dev/null 2>&1
    wait_for 20 iot iot update-certificate --certificate-id "$(id_of "$work/$1.crt")" --new-status ACTIVE
    iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/$1.crt")"
}
newcomer a
newcomer b
check "a registration is an event in the cluster" wait_for 10 outside_hears "^s/.aws/events/certificates/registered/$ca_id .*PENDING_ACTIVATION"

settled() { grep -q Subscribed "$work/$1.log" || not_running "$(cat "$work/$1.pid")"; } # or refused: a node may be slow
# Which worker takes a connection is the kernel's choice, and the worker's node is its own: try until it is the one.
# NODE NAME ARGS...: a subscriber in the background, its client id NAME
subscriber()
{
    node=$1 id=$2
    shift 2
    while :; do
        start "$id" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i "$id" -d -v -q 1 "$@"
        wait_for 20 settled "$id"
        ! node_has "$node" "$id" || return 0
        stop "$id"
    done
}
hears() { grep -qF -- "$2" "$work/$1.log"; }
subscriber one first -t 'to/#' -t '$aws/things/x/+'
subscriber two second -t '#'
ok "workers are at different nodes"
check "a device publishes" as a mosquitto_pub -q 1 -t to/all -m one
check "a device on the one node gets it" wait_for 10 hears first 'to/all one'
check "and one on the other" wait_for 10 hears second 'to/all one'
check "and a client of the cluster that is none of ours" wait_for 10 outside_hears '^t/to/all one'
at three mosquitto_pub -q 1 -t t/to/all -m 'from outside'
check "whose messages devices get" wait_for 10 hears first 'to/all from outside'
check "a topic with what the broker does not take" as a mosquitto_pub -q 1 -t 'to/v1.2 a/*/>/50%' -m odd
check "comes as it was" wait_for 10 hears first 'to/v1.2 a/*/>/50% odd'
as a mosquitto_pub -q 1 -t '$aws/things/x/y' -m reserved
check "a topic that begins with \$ goes to who asks for it" wait_for 10 hears first '$aws/things/x/y reserved'
as a mosquitto_pub -q 1 -t to/all -m behind
wait_for 10 hears second 'to/all behind'
check_fails any "and to nobody by #, nor does what the broker says to itself" grep -E '^\$' "$work/second.log"
check "presence is an event there" wait_for 10 outside_hears '^s/.aws/events/presence/connected/first .*"eventType":"connected"'
iot iot create-topic-rule --rule-name again --topic-rule-payload \
    '{"sql":"SELECT * FROM '"'from/a.b'"'","awsIotSqlVersion":"2016-03-23","actions":[{"republish":{"roleArn":"arn:aws:iam::000000000000:role/r","topic":"to/again.b"}}]}'
wait_for 20 as a mosquitto_pub -q 1 -t from/a.b -m '{"v":7}'
check "a rule's message is heard on both nodes" wait_for 10 hears first 'to/again.b {"v":7}'
wait_for 10 hears second 'to/again.b {"v":7}'
check "a retained message is kept" as a mosquitto_pub -q 1 -r -t kept/r.x -m stay
retained() { iot iot-data get-retained-message --topic kept/r.x --query payload --output text | base64 -d | grep -q '^stay$'; }
check "and the API finds it" wait_for 20 retained
start will stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/b.pem" --key "$work/b.key" -h 127.0.0.1 -p "$port" -i will -d -t x --will-topic to/will.x --will-payload gone --will-qos 1
wait_line will Subscribed >/dev/null
stop will KILL
check "a will comes, too" wait_for 10 hears first 'to/will.x gone'
subscriber one twice -t x
# a client that is gone again before the nodes have told each other may not be noticed: it comes again
comes_there()
{
    at two mosquitto_pub -i twice -q 1 -t t/x -m x
    outside_hears '^s/.aws/events/presence/disconnected/twice .*DUPLICATE_CLIENTID'
}
check "a client id that comes to the other node ends the older connection, with its cause" wait_for 30 comes_there

# ---- what it has not ----
check_output "a device that speaks MQTT 5 is told that this protocol is not spoken" 'Unsupported Protocol Version' \
    sh -c '! "$@" 2>&1' - mosquitto_pub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" -i a -V mqttv5 -q 1 -t to/all -m x
explained() { "$bin/birthmark" explain --dir "$work/cloud" --client a | grep -qF -- "$1"; }
check "and explain says whose limit it is" wait_for 20 explained 'broker="speaks MQTT 3.1.1 only"'
as a mosquitto_sub -q 1 -t '$share/g/to/#' -C 1 -W 1 >/dev/null 2>&1
check "so it does of a shared subscription" wait_for 20 explained 'error="no shared subscriptions" broker=nats'

# ---- a node is killed ----
as b mosquitto_sub -c -q 1 -t 'away/#' -E
check "what is published for a session that is away is acknowledged" as a mosquitto_pub -q 1 -t away/x.y -m waited
stop one KILL
ended() { "$bin/birthmark" explain --dir "$work/cloud" --client "$1" | grep -q 'by=broker'; }
check "one node is killed: its devices are closed" wait_for 20 ended first
check "those of the other did not notice" node_has two second
check "a device publishes again" wait_for 20 as a mosquitto_pub -q 1 -t to/all -m two
check "and that is heard" wait_for 10 hears second 'to/all two'
got() { as b mosquitto_sub -c -i "$1" -q 1 -v -t "$2" -C 1 -W 10 | grep -F "$3"; }
check "the session that was away gets its message at another node" wait_for 20 got b 'away/#' 'away/x.y waited'
check "the API publishes" wait_for 20 iot iot-data publish --topic from/api --payload e30= --qos 1
check "and that is heard" wait_for 10 hears second 'from/api {}'
check "the retained message is still there" wait_for 20 retained
newcomer c
check "a newcomer is registered, and that is an event" wait_for 20 outside_hears "^s/.aws/events/certificates/registered/.*$(id_of "$work/c.crt")"
check "and it is served" wait_for 20 as c mosquitto_pub -q 1 -t to/all -m three

start_node one
wait_for 20 node_is_well one
check "the node is back, and takes messages" wait_for 20 takes one
done_testing

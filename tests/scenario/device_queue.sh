#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The device as a service: a queue on disk that loses nothing while cloud, broker, chip or the program itself is down; its bounds;
# what the server refuses; what systemd is told.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libdevice.sh"

state=$work/state
queued() { "$bin/birthmark" device queue --state "$state" | sed -n '1s/ waiting.*//p'; }
run() { name=$1 && shift && start "$name" "$bin/birthmark" device run -h 127.0.0.1 -p "$port" --cafile "$ca" --state "$state" $d1 "$@"; }
put() { "$bin/birthmark" device put --state "$state" "$@"; }
empty() { [ "$(queued)" = 0 ]; }
# received N PATTERN: that many different lines like it arrived at the listener
received() { [ "$(grep -E "$2" "$work/listener.log" | sort -u | wc -l)" -eq "$1" ]; }

check_fails 2 "a line for put wants a topic" "$bin/birthmark" device put --state "$state" -m x
check "put takes a message without any cloud" put -t q/early -m early
check "and the queue shows it" sh -c '"$0" device queue --state "$1" | grep -q "q/early  5 bytes"' "$bin/birthmark" "$state"
check "as JSON, too" sh -c '"$0" device queue --state "$1" --json | grep -q "\"payload\":\"early\""' "$bin/birthmark" "$state"

start_cloud
make_ca factory
make_device d1 factory
make_device d2 factory
for d in d1 d2; do
    register_device() { iot iot register-certificate-without-ca --certificate-pem "file://$work/$1.crt" --status ACTIVE >/dev/null; }
    register_device $d
    let_in "$work/$d.crt"
done
d1="--key $work/d1.key --cert $work/d1.pem"
# a client with a persistent session, so that nothing passes it by; mosquitto_sub ends when the cloud goes down
listen()
{
    while :; do
        stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/d2.pem" --key "$work/d2.key" -h 127.0.0.1 -p "$port" -i d2 -c -t 'q/#' -v -q 1 -d
        sleep 0.2
    done
}
start listener listen
wait_for 20 grep -q Subscribed "$work/listener.log" || not_ok "the listener subscribes" "$work/listener.log"

# what waits is sent; what comes while it runs, too, from every input
mkfifo "$work/pipe"
run device --input "$work/pipe" --command 'echo q/command from a command' --every 1 -s 'q/back' -v
check "what waited is sent" wait_line listener '^q/early early$'
check "and a command's output" wait_line listener '^q/command from a command$'
echo 'q/pipe from a pipe' >"$work/pipe"
check "and a pipe's lines" wait_line listener '^q/pipe from a pipe$'
echo 'q/pipe another writer' >"$work/pipe"
check "of one writer after the other" wait_line listener '^q/pipe another writer$'
put -t q/put -m 'from another program'
check "and what another program puts" wait_line listener '^q/put from another program$'
as d2 mosquitto_pub -i d3 -t q/back -m 'to the device' -q 1
check "what is subscribed is printed" wait_line device '^q/back to the device$'
check "then the queue is empty" wait_for 20 empty
stop device

# killed at any moment, the cloud going down meanwhile: nothing is lost
run victim
i=0
while [ $i -lt 100 ]; do
    i=$((i + 1))
    put -t q/n -m $i || not_ok "put takes message $i" "$work/out"
    case $i in
    20 | 50 | 90)
        kill -9 "$(cat "$work/victim.pid")"
        wait "$(cat "$work/victim.pid")" 2>/dev/null
        names=$(printf '%s ' "$names" | sed 's/ victim / /; s/ $//')
        run victim ;;
    35) stop cloud ;;
    70) port_before=$port && MQTT_PORT=$port && start_cloud ;;
    esac
done
check "the cloud came back where it was" test "$port" = "$port_before"
check "after three kill -9 and a restart of the cloud the queue empties" wait_for 60 empty
check "all 100 arrived" wait_for 20 received 100 '^q/n [0-9]+$'
stop victim
check "nothing waits and nothing was dropped" sh -c '"$0" device queue --state "$1" | grep -q "^0 waiting, 0 bytes; 0 set aside; 0 dropped"' "$bin/birthmark" "$state"
done_testing

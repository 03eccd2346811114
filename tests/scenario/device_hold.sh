#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The device as a service while everything around it fails, one thing after the other: it says the right thing, tries again in the
# right way, does not spin, and what is in its queue arrives in the end. And what systemd hears of it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libdevice.sh"

state=$work/state
messages=0
run() { name=$1 && shift && start "$name" "$bin/birthmark" device run --state "$state" "$@"; }
put() { messages=$((messages + 1)) && "$bin/birthmark" device put --state "$state" -t "q/$messages" -m x; }
queued() { "$bin/birthmark" device queue --state "$state" | sed -n '1s/ waiting.*//p'; }
queued_is() { [ "$(queued)" = "$1" ]; }
# ticks of processor time that it has used, at 100 a second: a loop that spins has one second of it after a second
used() { awk '{ print $14 + $15 }' "/proc/$(cat "$work/$1.pid")/stat"; }
idle() { [ "$(used "$1")" -lt 150 ]; }
# holds NAME PATTERN "claim" [again]: it says so, once in full and then briefly, does not spin, and keeps its queue
holds()
{
    check "$3: it says so" wait_for 40 grep -qE -- "$2" "$work/$1.log"
    [ -z "${4:-}" ] || check "$3: it tries again" wait_for 40 grep -qE 'again \((2|3) times\); trying again' "$work/$1.log"
    check "$3: it does not spin" idle "$1"
    stop "$1"
    check "$3: nothing queued is lost" queued_is "$messages"
    put
}

start_cloud
make_ca factory
chip_device d1 factory
make_device d2 factory
for d in d1 d2; do
    iot iot register-certificate-without-ca --certificate-pem "file://$work/$d.crt" --status ACTIVE >/dev/null
    let_in "$work/$d.crt"
done
put

run unreachable -h 127.0.0.1 -p 1 --cafile "$ca"
holds unreachable 'device.nobody_listens: .*trying again in' "cloud down" again
start_portal
run portal-client -h 127.0.0.1 -p "$portal" --cafile "$ca"
holds portal-client 'device.not_tls: .*HTTP/.*trying again in ([5-9]|1[0-9])\.' "captive portal"
stop portal

# the rest is mostly waiting: once with gcc and once with a sanitizer is enough
case $BUILD in *clang*) done_testing ;; esac

# a server's certificate that was changed
cat >"$work/server.py" <<'PY'
import socket, ssl, sys
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[1] + ".crt", sys.argv[1] + ".key")
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
while True:
    peer = listener.accept()[0]
    try:
        tls.wrap_socket(peer, server_side=True).recv(1)
    except OSError:
        pass
    peer.close()
PY
serve() # name of the certificate
{
    start "server-$1" /usr/bin/python3 "$work/server.py" "$work/$1"
    other=$(wait_line "server-$1" '^port') || exit 1
    other=${other#port }
}
cat >"$work/names.cnf" <<EOF2
[good]
subjectAltName=IP:127.0.0.1
[bad]
subjectAltName=DNS:example.org
EOF2
for kind in other ended named; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/$kind.key" -out "$work/$kind.csr" -subj "/CN=$kind" 2>/dev/null
    days=9 section=good
    [ $kind != ended ] || days=0
    [ $kind != named ] || section=bad
    openssl x509 -req -in "$work/$kind.csr" -CA "$work/factory.crt" -CAkey "$work/factory.key" -CAcreateserial -days $days \
        -extfile "$work/names.cnf" -extensions $section -out "$work/$kind.crt" 2>/dev/null
done
serve other
run other-ca -h 127.0.0.1 -p "$other" --cafile "$ca"
holds other-ca 'device.server_untrusted: .*issuer CN=Demo CA factory.*trying again in' "server of another CA"
serve named
run other-name -h 127.0.0.1 -p "$other" --cafile "$work/factory.crt"
holds other-name 'device.server_name: .*names example.org' "server of another name"
serve ended
run old-server -h 127.0.0.1 -p "$other" --cafile "$work/factory.crt"
holds old-server 'device.server_dates: ' "server's certificate ended"

# the broker stands still behind a cloud that answers; a chip that goes away and comes back
start service "$bin/birthmark" device run --state "$state" -h 127.0.0.1 -p "$port" --cafile "$ca" -k 5 --ack-timeout 2
check "then all of it is sent" wait_for 40 queued_is 0
messages=0
broker=$(pgrep -P "$(cat "$work/cloud.pid")" mosquitto)
kill -STOP "$broker"
put
check "broker down: silence is told" wait_for 40 grep -q 'device.no_puback: ' "$work/service.log"
check "broker down: it does not spin" idle service
check "broker down: the message is kept" queued_is 1
kill -CONT "$broker"
check "broker down: and sent when it is back" wait_for 60 queued_is 0
stop d1
kill -HUP "$(cat "$work/service.pid")"
put
check "chip gone: it says so" wait_for 40 grep -q 'device.chip: .*trying again' "$work/service.log"
check "chip gone: it tries again" wait_for 40 grep -q 'device.chip again (2 times)' "$work/service.log"
check "chip gone: the message is kept" queued_is 1
start d1 "$bin/a71chd" --sim "$work/d1.chip" --listen "tcp:$A71CH_ADDRESS"
check "chip gone: and sent when it is back" wait_for 60 queued_is 0

# shut out, and let in again
id=$(id_of "$work/d1.crt")
iot iot update-certificate --certificate-id "$id" --new-status INACTIVE
put
check "shut out: it says so" wait_for 60 grep -q 'device.shut_out: ' "$work/service.log"
check "shut out: the message is kept" queued_is 1
iot iot update-certificate --certificate-id "$id" --new-status ACTIVE
kill -HUP "$(cat "$work/service.pid")"
check "shut out: and sent when it is let in" wait_for 60 queued_is 0
check "in all that it did not spin" idle service
stop service

# a clock that cannot be right, with a real connection
for year in 1970 2100; do
    says 0 "the clock says $year: it connects by the least time it can be" "says $year-01-01.*cannot be right .*the least it can be" \
        device publish -t a -m x --clock $year-01-01T00:00:00Z
done
says 0 "or by a web server's" 'cannot be right .*of the time server' device publish -t a -m x --clock 1970-01-01T00:00:00Z --time-from "$api/"

# the unit, and what systemd hears: that it is ready, that its loop turns; and nothing while that stands still
cat >"$work/systemd.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print(s.recv(4096).decode().replace("\n", " "), flush=True)
PY
start systemd /usr/bin/python3 "$work/systemd.py" "$work/notify"
wait_line systemd '^bound$' >/dev/null
start watched env NOTIFY_SOCKET="$work/notify" WATCHDOG_USEC=900000 "$bin/birthmark" device run --state "$state" -h 127.0.0.1 -p "$port" --cafile "$ca"
pings() { grep -c '^WATCHDOG=1$' "$work/systemd.log"; }
pings_from() { [ "$(pings)" -gt "$1" ]; }
check "systemd hears that it is ready" wait_line systemd '^READY=1'
check "and connected" wait_line systemd '^STATUS=connected'
check "and that its loop turns" wait_for 10 pings_from 3
kill -STOP "$(cat "$work/watched.pid")"
# what it said before is written by then
/usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"stopped", sys.argv[1])' "$work/notify"
wait_line systemd '^stopped$' >/dev/null
before=$(pings)
check "a loop that stands still says nothing" sh -c '! timeout 3 tail -n 0 -f "$0" | grep -q -m1 WATCHDOG' "$work/systemd.log"
kill -CONT "$(cat "$work/watched.pid")"
check "until it turns again" wait_for 10 pings_from "$before"
stop watched
check "and that it stops" wait_line systemd '^STOPPING=1'
unit=$lib/systemd/system/birthmark-device.service
check "the unit names the installed program" grep -q "^ExecStart=$bin/birthmark device run --config" "$unit"
check "and has a watchdog" grep -qE '^(Type=notify|WatchdogSec=[0-9]+)$' "$unit"
if command -v systemd-analyze >/dev/null; then
    check "systemd takes the unit" systemd-analyze verify --man=no "$unit"
else
    echo "skip - no systemd-analyze to look at the unit"
fi
done_testing

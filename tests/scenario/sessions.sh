#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How long a session outlives its connection: what MQTT 5 asks for at CONNECT and DISCONNECT, an hour at most, and an hour for 3.1.1.
# The broker's clock is put forward instead of waiting (shift_time.c).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

${CC:-cc} -shared -fPIC -o "$work/shift.so" "$root/tests/scenario/shift_time.c" || not_ok "the clock's shift is built"
echo 0 >"$work/shift"
cat >"$work/mosquitto" <<END
#!/bin/sh
exec env LD_PRELOAD="$work/shift.so" SHIFT_TIME="$work/shift" /usr/sbin/mosquitto "\$@"
END
chmod +x "$work/mosquitto"
CLOUD_OPTIONS="--broker $work/mosquitto --limit connect-rate=0"
start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
active_device d open

# ID LEVEL EXPIRY [LEAVES]: what became of it in $work/ID.said
session() { timeout 20 /usr/bin/python3 "$root/tests/clients/session.py" "$port" "$ca" "$work/d.pem" "$work/d.key" "$@" >"$work/$1.said" 2>&1; }
said() { grep -qE "^$2\$" "$work/$1.said"; }
# resumed ID BOOL LEVEL EXPIRY [LEAVES]
resumed()
{
    name=$1 present=$2
    shift 2
    session "$name" "$@" && grep -qE "^present $present " "$work/$name.said"
}
publish() { mosquitto_pub --cafile "$ca" --cert "$work/d.pem" --key "$work/d.key" -h 127.0.0.1 -p "$port" -i sender -q 1 -t "t/session/$1" -m "$2"; }
explains() { "$bin/birthmark" explain --dir "$work/cloud" "$1" | grep -q "$2"; }
shift=0
# SECONDS: later, and the broker has looked at its sessions: that of a witness is gone, which a second less would have kept
later()
{
    session "witness$shift" 5 "$1"
    shift=$((shift + $1 + 1))
    echo $shift >"$work/shift"
    wait_for 10 grep -q "Expiring client witness$((shift - $1 - 1)) " "$work/cloud.log"
}

check "MQTT 5: 100 s are asked for" session leaves 5 100
check "and not lowered" said leaves 'present 0 given -'
check "also by one that loses its connection" session drops 5 100 drop
check "without Session Expiry Interval" session none 5 -
check "with 0" session zero 5 0
check "DISCONNECT takes it back" session taken 5 100 0
check "DISCONNECT asks for more" session more 5 100 1000
check "without one, DISCONNECT may not ask for one" session never 5 0 100
check "which is a protocol error" wait_for 10 explains never 'packet=DISCONNECT error="0 at CONNECT"'
check "MQTT 5: more than an hour is asked for" session long 5 4294967295
check "and lowered, which CONNACK says" said long 'present 0 given 3600'
check "MQTT 3.1.1: clean session 0" session old 311 -
for id in none zero taken never; do
    check "the session is gone at once ($id)" resumed $id 0 5 0
done
publish leaves one
check "90 s later" later 90
check "100 s: it is there" resumed leaves 1 5 100
check "with what came meanwhile" said leaves 'received one'
check "also of a connection that was lost" resumed drops 1 5 100 drop
check "and these count anew: 90 s later" later 90
check "it is there again" resumed leaves 1 5 100
check "another 110 s" later 110
for id in leaves drops; do
    check "100 s: it is gone ($id)" resumed $id 0 5 0
done
check "what DISCONNECT asked for counts" resumed more 1 5 100
check "the broker is killed, and starts again" sh -c 'kill -9 $(pgrep -P "$1" -x mosquitto)' sh "$(cat "$work/cloud.pid")"
check "altogether 3,400 s" later 3200
check "an hour: MQTT 3.1.1 is there" resumed old 1 311 -
check "so is MQTT 5" resumed long 1 5 4294967295
check "an hour and some" later 3700
check "MQTT 3.1.1: gone" resumed old 0 311 -
check "MQTT 5: gone" resumed long 0 5 0
done_testing

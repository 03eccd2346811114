#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The life of a device with every MQTT client that its makers are likely to use, each as it is published, with levels 3.1.1 and 5, the key in a
# file and in the chip (by OpenSSL's provider, or by PKCS #11): dropped and registered at the first connect, let in when activated, back after leaving, messages of its own received,
# cut off when revoked; and what `birthmark explain` tells of it. The clients are the programs of tests/clients; all live at the same time.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libopenssl.sh"
. "$(dirname "$0")/libnpm.sh"
clients=$root/tests/clients
conf=$BUILD/openssl-a71ch.cnf
lives=""
chips=0

# life NAME file|chip PROGRAM [ARGS]: start it; its events in $work/NAME.log
life()
{
    name=$1 where=$2 program=$3
    shift 3
    set -- "$program" "$@" "$port" "$ca" "$work/$name.pem" "$work/$name.key" "$name"
    with=
    if [ "$where" = chip ]; then
        slot=$((chips % 4)) chips=$((chips + 1)) with=chip
        set -- env OPENSSL_CONF="$conf" PKCS11_MODULE="$lib/pkcs11/a71ch-pkcs11.so" PKCS11_LABEL="pair$slot" \
            ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} "$@"
        [ -e "$work/slot$slot.pem" ] || {
            "$bin/a71chConfig" "$A71CH_ADDRESS" gen pair -x $slot >/dev/null &&
                "$bin/a71chConfig" "$A71CH_ADDRESS" refpem -c 10 -x $slot -r "$work/slot$slot.pem" >/dev/null
        }
        cp "$work/slot$slot.pem" "$work/$name.key"
    else
        openssl ecparam -genkey -noout -name prime256v1 -out "$work/$name.key"
    fi
    $with openssl req -new -key "$work/$name.key" -out "$work/$name.csr" -subj "/CN=$name" &&
        openssl x509 -req -days 3650 -in "$work/$name.csr" -CA "$work/factory.crt" -CAkey "$work/factory.key" -CAcreateserial \
            -out "$work/$name.crt" 2>"$work/$name.ca" && cat "$work/$name.crt" "$work/factory.crt" >"$work/$name.pem" ||
        not_ok "$name has a certificate" "$work/$name.ca"
    start "$name" "$@"
    lives="$lives $name"
}

# every life's log has a line of this pattern
all_say()
{
    for name in $lives; do
        grep -qE "$1" "$work/$name.log" || return 1
    done
}

# CLAIM PATTERN: each life comes to that
each()
{
    wait_for 60 all_say "$2"
    for name in $lives; do
        if grep -qE "$2" "$work/$name.log"; then ok "$name $1"; else not_ok "$name $1" "$work/$name.log"; fi
    done
}

explains() { "$bin/birthmark" explain --dir "$work/cloud" --json --limit 10000 "$1" | grep -q "$2"; }

# before anybody connects: fetching may take a while, and the others would try again all the time
npm_install "$clients" && why_not=
start_cloud
start_chip chip0
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null

for level in 311 5; do
    for where in file chip; do
        life "mosquitto-$level-$where" $where "$clients/mosquitto.sh" $level
        life "paho-$level-$where" $where /usr/bin/python3 "$clients/life_paho.py" $level
    done
done
if [ -z "${why_not:-}" ]; then
    cd "$modules" || exit 1
    for where in file chip; do
        life "mqttjs-311-$where" $where node "$clients/events.mjs" mqtt 311
        life "mqttjs-5-$where" $where node "$clients/events.mjs" mqtt 5
        life "sdk1-311-$where" $where node "$clients/events.mjs" sdk1 311
        life "sdk2-311-$where" $where node "$clients/sdk2.mjs" 311 # its TLS is not OpenSSL: by PKCS #11
        life "sdk2-5-$where" $where node "$clients/sdk2.mjs" 5
    done
else
    echo "skip - the clients from npm: $why_not"
fi

count=$(echo "$lives" | wc -w)
each "is dropped at its first connect" '^refused'
check_output "all $count are PENDING_ACTIVATION and nothing else is registered" "^PENDING_ACTIVATION $count\$" "$clients/fleet.py" "$api" statuses
check "they are activated" "$clients/fleet.py" "$api" activate open
each "is let in, and leaves" '^left'
each "comes back, and is granted its subscription" '^subscribed'
each "has its QoS 1 publish acknowledged" '^acknowledged'
each "receives what it published" '^received hello 2'
signed=$(signatures)
[ "$chips" -eq 0 ] || check "the keys of $chips were used in the chip" [ "$signed" -ge $((3 * chips)) ]
check "they are revoked" "$clients/fleet.py" "$api" revoke
each "is cut off" '^lost'
for name in $lives; do
    for cause in certificate.registered connect.admitted connect.revoked; do
        check "explain tells of $name: $cause" wait_for 20 explains "$name" "$cause"
    done
done
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Does it stay as fast when there is more of it?
# 1. Registered certificates: start to `ready` and server CPU for one connect with 1,000 in the registry and with ROWS, every connect with
#    another certificate of theirs. Both clouds run at once; rounds alternate.
# 2. Connections: server CPU for one connect and one message, and memory, with N connections that stay, TLS 1.2 and 1.3, beside mosquitto.
# usage: [ROWS=1000000] [ROUNDS=5] [COUNT=1000] [CONNECTIONS="1 100 1000 8000"] bench/scale/run.sh   (BUILD as for the tests)
# Filling a million takes two minutes; ROWS=10000000 half an hour, and 5 GB. 8,000 connections need 16,100 descriptors (ulimit -Hn).
WORKERS=${WORKERS:-1} CLOUD_OPTIONS=--no-limits
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/../lib.sh"
[ -z "$QUICK" ] || { ROWS=5000 ROUNDS=1 COUNT=100 CONNECTIONS="1 50"; }
ROWS=${ROWS:-1000000} ROUNDS=${ROUNDS:-5} COUNT=${COUNT:-1000} CONNECTIONS=${CONNECTIONS:-1 100 1000 8000}

# NAME ROWS: a cloud of its own with so many certificates, left running; sets port
filled()
{
    "$obj/bench_api_fill" "$work/state.$1" "$work/template.der" "$2" "$COUNT" "$open_policy" >/dev/null || die "cannot fill"
    start_cloud "$work/state.$1" # the first makes keys; timed is a second, as after an update
    stop cloud
    from=$(date +%s%3N)
    start_cloud "$work/state.$1"
    echo "$2 certificates: start to ready $(($(date +%s%3N) - from)) ms, registry $(du -sh "$work/state.$1" | cut -f1)"
}

# PORT PIDS STEP
registered()
{
    "$obj/bench_connect" --port "$1" --pids "$2" --count "$COUNT" --in-flight 16 --cert "$work/template.pem" --key "$work/template.key" \
        --sni localhost --vary "$3"
}

about "$ROUNDS rounds, registry of 1,000 and $ROWS, $WORKERS worker(s)"
make_ca bench
openssl ecparam -genkey -name prime256v1 -out "$work/template.key"
openssl req -new -key "$work/template.key" -subj "/CN=template" -out "$work/template.csr" &&
    openssl x509 -req -in "$work/template.csr" -CA "$work/bench.crt" -CAkey "$work/bench.key" -set_serial 0x1122334455667788 -days 3650 \
        -out "$work/template.pem" 2>/dev/null && openssl x509 -in "$work/template.pem" -outform DER -out "$work/template.der"
filled few 1000
few_port=$port few_pids=$(cloud_pids)
mv "$work/cloud.pid" "$work/few.pid"
names="$names few"
filled many "$ROWS"
for _ in $(seq "$ROUNDS"); do
    round few us_per_connect registered "$few_port" "$few_pids" $((1000 / COUNT))
    round many us_per_connect registered "$port" "$(cloud_pids)" $((ROWS / COUNT))
done
stop cloud
stop few
rm -rf "$work/state.many" "$work/state.few"
echo "connects for a second of CPU with $ROWS certificates beside 1,000: $(ratio few many) (figure: >= 0.9)"

# PORT PIDS CONNECTIONS TLS
connects() { "$obj/bench_connect" $5 --port "$1" --pids "$2" --count "$6" --in-flight "$3" --tls "$4" --cert "$work/known.pem" --key "$work/known.key"; }
# of few connections memory says nothing; so they come one after another
holds() { if [ "$3" -ge 100 ]; then connects "$1" "$2" 32 "$4" --hold "$3"; else connects "$1" "$2" "$3" "$4" "" "$COUNT"; fi; }
talks() { "$obj/bench_messages" --port "$1" --pids "$2" --count 5000 --publishers "$3" --tls "$4" --cert "$work/known.pem" --key "$work/known.key"; }
value() { sed -n "s/.*\\b$1=\\([0-9.]*\\).*/\\1/p" "$work/out.$2" | grep . || echo -; }

prepare
echo "TLS connections: us per connect, us per message of QoS 1 (window 1), bytes per idle connection; mosquitto, birthmark"
for tls in 1.2 1.3; do
    for n in $CONNECTIONS; do
        for who in mosquitto birthmark; do
            start_peer "tlsv$tls" # fresh: memory once freed would be used again
            restart_cloud
            if [ $who = mosquitto ]; then at=$peer_port pids=$(peer_pids); else at=$port pids=$(cloud_pids); fi
            holds "$at" "$pids" "$n" "$tls" >"$work/out.$who" || die "$who: $(cat "$work/out.$who")"
            talks "$at" "$pids" "$n" "$tls" >>"$work/out.$who" || die "$who: $(cat "$work/out.$who")"
            stop peer
        done
        echo "TLS $tls, $n: $(value us_per_connect mosquitto) $(value us_per_message mosquitto) $(value bytes_per_connection mosquitto);" \
            "$(value us_per_connect birthmark) $(value us_per_message birthmark) $(value bytes_per_connection birthmark)"
    done
done

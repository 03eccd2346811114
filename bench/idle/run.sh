#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a cloud without work costs. Start to `ready` (the first start makes root CA, keys and database; the others find them) and memory of all
# its processes, broker included (PSS); then the memory of all server processes for each of HOLD idle connections, beside mosquitto alone,
# both on fresh processes because freed memory would be used again: the device sends leaf and issuer, or the leaf alone.
# usage: [STARTS=9] [HOLD=3000] [ROUNDS=2] [WORKERS=2] bench/idle/run.sh   (BUILD as for the tests)
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/../lib.sh"
[ -z "$QUICK" ] || { STARTS=2 HOLD=100 ROUNDS=1; }
STARTS=${STARTS:-9} HOLD=${HOLD:-3000} ROUNDS=${ROUNDS:-2}

starts()
{
    "$root/bench/idle/idle.py" "$1" "$bin/birthmark" cloud --dir "$work/idle" --api 127.0.0.1:0 --mqtt 127.0.0.1:0 --workers "${WORKERS:-2}"
}

# PORT PIDS CHAIN
hold()
{
    "$obj/bench_connect" --hold --port "$1" --pids "$2" --count "$HOLD" --in-flight 16 --cert "$work/$3" --key "$work/known.key"
}

about "$STARTS starts with ${WORKERS:-2} workers; $HOLD idle connections"
starts 1 | sed 's/^/first start: /'
starts "$STARTS" | tee "$work/starts"
sed -n 's/^ready_ms=\([0-9]*\).*/\1/p' "$work/starts" >"$work/ready"
sed -n 's/.*pss_mb=\([0-9.]*\).*/\1/p' "$work/starts" >"$work/pss"

WORKERS=1
prepare
for chain in known.pem known.crt; do
    for _ in $(seq "$ROUNDS"); do
        start_peer
        round "mosquitto.$chain" bytes_per_connection hold "$peer_port" "$(peer_pids)" $chain
        stop peer
        restart_cloud
        round "birthmark.$chain" bytes_per_connection hold "$port" "$(cloud_pids)" $chain
    done
done
echo "start to ready, median: $(median "$work/ready") ms (figure: < 100); memory of all processes: $(median "$work/pss") MB (figure: < 30)"
for chain in known.pem known.crt; do
    echo "memory for each idle connection, $([ $chain = known.pem ] && echo "leaf and issuer" || echo "leaf alone"): mosquitto $(median "$work/mosquitto.$chain") bytes, birthmark $(median "$work/birthmark.$chain") bytes, ratio $(ratio "birthmark.$chain" "mosquitto.$chain") (figure: <= 0.85)"
done

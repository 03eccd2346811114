#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The control plane under load with ROWS certificates in the registry: requests per second, CPU time of the control process for
# each, latency, for DescribeCertificate, UpdateCertificate and RegisterCertificate; how long a start takes from the snapshot and by a
# scan. Beside it moto's server, where moto_server is in the PATH.
# usage: [ROWS="1000 1000000"] [COUNT=5000] [CONNECTIONS=8] bench/api/run.sh   (BUILD as for the tests)
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../../tests/scenario/lib.sh"
# shellcheck source=tests/scenario/libcloud.sh
. "$root/tests/scenario/libcloud.sh"
ROWS=${ROWS:-1000 1000000} COUNT=${COUNT:-5000} CONNECTIONS=${CONNECTIONS:-8}
START_S=300
load=$BUILD/obj/bench/bench_api_load
now_ms() { date +%s%3N; }
timed_start()
{
    from=$(now_ms)
    start_cloud "$work/state"
    echo "$1: ready after $(($(now_ms) - from)) ms"
}

make_ca bench 2>/dev/null
openssl req -new -key "$work/bench.key" -subj "/CN=template" -out "$work/t.csr" &&
    openssl x509 -req -in "$work/t.csr" -CA "$work/bench.crt" -CAkey "$work/bench.key" -set_serial 0x1122334455667788 -days 3650 \
        -outform DER -out "$work/template.der" 2>/dev/null
for rows in $ROWS; do
    rm -rf "$work/state"
    echo "== $rows certificates"
    from=$(now_ms)
    "$BUILD/obj/bench/bench_api_fill" "$work/state" "$work/template.der" "$rows" 1000 >"$work/ids" || exit 1
    sync -f "$work/state" # what the fill left to the kernel is not the requests' to wait for
    echo "filled in $(($(now_ms) - from)) ms, $(du -sh "$work/state/registry.db" | cut -f1)"
    timed_start "start from the snapshot"
    register_ca bench 2>"$work/err" || cat "$work/err"
    control=$(pgrep -P "$(cat "$work/cloud.pid")" -x control)
    for what in "describe $work/ids" "update $work/ids" "register $work/bench"; do
        # shellcheck disable=SC2086
        "$load" "${api##*:}" $what "$COUNT" "$CONNECTIONS" "$control"
    done
    kill -9 "$control"
    stop cloud KILL
    wait_for 20 flock -n "$work/state/run/lock" true # the workers that outlived it hold it for a moment
    timed_start "start by a scan, after kill -9"
    stop cloud
done

if command -v moto_server >/dev/null; then
    echo "== moto_server, as many certificates as it registers first"
    start moto moto_server -H 127.0.0.1 -p 45660
    wait_for 20 curl -s http://127.0.0.1:45660/
    "$load" 45660 register "$work/bench" 1000 1 "$(cat "$work/moto.pid")"
    timeout 60 aws --endpoint-url http://127.0.0.1:45660 iot list-certificates --output text --query 'certificates[].certificateId' | tr '\t' '\n' >"$work/ids"
    for what in "describe $work/ids" "update $work/ids"; do
        # shellcheck disable=SC2086
        "$load" 45660 $what 1000 1 "$(cat "$work/moto.pid")"
    done
else
    echo "moto_server is not in the PATH: no peer in this run"
fi
end_all

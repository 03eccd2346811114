#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# birthmark factory: chips per second and where the time goes, chips in memory, without a profile and with the typical one's times.
# Chips' own state lies in SHM (default /dev/shm, as a real chip does not sync a disk), journal and results in TMPDIR.
set -eu
cd "$(dirname "$0")/../.."
bin=$PWD/${BUILD:-build}/bin
case ${BUILD:-} in /*) bin=$BUILD/bin ;; esac
n=${CHIPS:-500}
work=$(mktemp -d)
mem=$(mktemp -d "${SHM:-/dev/shm}/factory.XXXXXX")
pid=
trap '[ -z "$pid" ] || kill $pid; wait; rm -rf "$work" "$mem"' EXIT
"$bin/birthmark" ca new --dir "$work/ca" --no-passphrase >/dev/null
measure() # name, a71chd's options
{
    name=$1
    shift
    "$bin/a71chd" --sim "$mem/$name" --chips "$n" --workers 2 --listen "unix-dir:$mem/$name.s" "$@" >"$work/$name.log" 2>&1 &
    pid=$!
    until grep -qs "^ready$" "$work/$name.log"; do sleep 0.1; done
    printf '{"name":"%s","count":%d,"ca":{"certificate":"ca/issuing-1.pem","key":"ca/issuing-1.key"},"chips":["unix-dir:%s"],"subject":"/CN={uid}","days":300}\n' \
        "$name" "$n" "$mem/$name.s" >"$work/$name.json"
    "$bin/birthmark" factory run "$work/$name.json" --out "$work/$name" --yes --json >"$work/$name.out"
    printf '%-20s ' "$name"
    python3 -c 'import json,sys; r=json.load(sys.stdin); print("%6.0f chips/s; ms per chip:" % r["chipsPerSecond"], " ".join("%s %.1f" % p for p in r["msPerChip"].items()), "; %d journal syncs, %.0f ms" % (r["journalGroups"], r["journalSyncMs"]))' <"$work/$name.out"
    kill "$pid"
    wait "$pid" || :
    pid=
}
measure no-profile
n=$((n < 64 ? n : 64))
measure typical-profile --profile "$PWD/share/birthmark/profiles/a71ch-typical"

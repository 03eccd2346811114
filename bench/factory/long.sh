#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# birthmark factory, the long run: 1,000 chips (CHIPS), results on a disk (tmpfs) that is full again and again, factory, daemon and
# chips' power cut at random (SEED), until all is done; then journal, manifest, bulk lines, references and chips must agree.
set -eu
if [ "${IN_NAMESPACE:-}" != 1 ]; then
    for how in "unshare -m" "unshare -rm"; do
        if $how mount -t tmpfs none /mnt 2>/dev/null; then
            IN_NAMESPACE=1 $how "$0" "$@"
            exit $?
        fi
    done
    echo "no file system can be mounted here" >&2
    exit 1
fi
cd "$(dirname "$0")/../.."
root=$PWD
bin=$root/${BUILD:-build}/bin
case ${BUILD:-} in /*) bin=$BUILD/bin ;; esac
n=${CHIPS:-1000}
seed=${SEED:-7}
work=$(mktemp -d)
mem=$(mktemp -d "${SHM:-/dev/shm}/factory.XXXXXX")
daemon=
trap '[ -z "$daemon" ] || kill "$daemon"; wait; umount "$work/out"; rm -rf "$work" "$mem"' EXIT
# roll N: 0 to N-1 in $rolled; not in $(), where the seed would stay as it is
roll() { seed=$(((seed * 1103515245 + 12345) % 2147483648)) && rolled=$((seed / 65536 % $1)); }
chips()
{
    "$bin/a71chd" --sim "$mem/c" --chips "$n" --workers 2 --listen "unix-dir:$mem/s" "$@" >"$work/chips.log" 2>&1 &
    daemon=$!
    until grep -qs '^ready$' "$work/chips.log"; do sleep 0.1; done
}
end_chips() # signal
{
    kill "-$1" "$daemon"
    wait "$daemon" || :
    daemon=
}
"$bin/birthmark" ca new --dir "$work/ca" --no-passphrase >/dev/null
printf '{"name":"long","count":%d,"reset":true,"ca":{"certificate":"ca/issuing-1.pem","key":"ca/issuing-1.key"},"chips":["unix-dir:%s"],"subject":"/CN={uid}","days":300,"counter":{"index":0,"value":1},"locks":{"storage":true}}\n' \
    "$n" "$mem/s" >"$work/long.json"
mkdir "$work/out"
size=$((n * 1))
mount -t tmpfs -o "size=${size}k" none "$work/out"
chips
run=0 killed=0 full=0 got=1
while [ $got != 0 ] && [ $run -lt 200 ]; do
    run=$((run + 1))
    roll 5
    what=$rolled
    roll 8
    moment=0.$((rolled + 1))
    got=0
    if [ "$what" = 0 ]; then # kill -9 of the factory
        timeout -s KILL "$moment" "$bin/birthmark" factory run "$work/long.json" --out "$work/out" --yes >"$work/run.log" 2>&1 || got=$?
        killed=$((killed + 1))
    elif [ "$what" = 1 ]; then # kill -9 of the daemon
        (sleep "$moment" && kill -9 "$daemon") &
        "$bin/birthmark" factory run "$work/long.json" --out "$work/out" --yes >"$work/run.log" 2>&1 || got=$?
        end_chips KILL 2>/dev/null || :
        killed=$((killed + 1))
        chips
    elif [ "$what" = 2 ]; then # power cuts of chips
        end_chips TERM
        chips --fault "power-during:p=0.01,seed=$run,count=30" --fault "power-after:p=0.01,seed=$run,count=30"
        "$bin/birthmark" factory run "$work/long.json" --out "$work/out" --yes >"$work/run.log" 2>&1 || got=$?
        end_chips TERM
        chips
    else
        "$bin/birthmark" factory run "$work/long.json" --out "$work/out" --yes >"$work/run.log" 2>&1 || got=$?
    fi
    if [ $got = 6 ]; then
        full=$((full + 1))
        size=$((size + n))
        mount -o "remount,size=${size}k" "$work/out"
    fi
done
cat "$work/run.log"
printf '%d runs: %d killed, %d ended by a full disk, at last %d KiB\n' $run $killed $full $size
"$bin/birthmark" factory verify "$work/out" --ca "$work/ca/issuing-1.pem"
tests/scenario/factory_check.py "$work/out" "$mem/s" "$work/ca/issuing-1.pem" "$n"

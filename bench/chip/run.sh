#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Simulated chips beside `openssl speed`, SoftHSM2 and swtpm in one run, operations per second of CPU time (client and server together):
# command APDU in to response APDU out, in a process and through a socket of a71chd. Then what grows with processes, what
# durable writes cost beside fdatasync alone, and ten thousand chips in one a71chd. Rounds alternate; medians are what counts. A client
# and its server stay on one core, the peers' too: on two, waking the other one costs as much as a signature.
# usage: [ROUNDS=5] [SECS=1] [CHIPS=10000] [TOUCH=2000] bench/chip/run.sh   (BUILD as for the tests); installs its peers when they are missing
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../../tests/scenario/lib.sh"
ROUNDS=${ROUNDS:-5} SECS=${SECS:-1} CHIPS=${CHIPS:-10000} TOUCH=${TOUCH:-2000}
load=$BUILD/obj/bench/bench_chip
peers=$root/bench/chip/peers
cores=$(nproc)

die()
{
    echo "bench/chip: $1" >&2
    exit 1
}

# lines of bench_chip and its peers (`op=X ... per_second=N per_cpu_second=N`) as `WHO OP WALL CPU` into $work/rows
record()
{
    sed -n "s/^op=\([a-z-]*\) processes=[0-9]* per_second=\([0-9]*\) per_cpu_second=\([0-9]*\)\$/$1 \1 \2 \3/p" >>"$work/rows"
}

# median of WHO OP, of field 3 (per second) or 4 (per second of CPU time)
median()
{
    awk -v who="$1" -v op="$2" -v f="$3" '$1 == who && $2 == op { print $f }' "$work/rows" | sort -n |
        awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

chip()
{
    out=$("$load" --seconds "$SECS" "$@") || die "bench_chip $* failed"
    echo "$out"
}

"$root/scripts/install-deps" softhsm2 libp11-kit-dev swtpm libtss2-dev libtss2-tcti-swtpm0 || exit 1
# shellcheck disable=SC2046
cc -O2 -D_GNU_SOURCE $(pkg-config --cflags p11-kit-1) "$peers/pkcs11.c" -o "$work/pkcs11" -ldl || die "pkcs11.c does not compile"
cc -O2 -D_GNU_SOURCE "$peers/tpm.c" -o "$work/tpm" -ltss2-esys -ltss2-tctildr -ltss2-rc || die "tpm.c does not compile"

mkdir "$work/token" "$work/tpmstate" "$work/mem" "$work/sockets"
printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$work/token" >"$work/softhsm2.conf"
export SOFTHSM2_CONF="$work/softhsm2.conf"
softhsm2-util --init-token --free --label bench --pin 1234 --so-pin 1234 >/dev/null || die "no SoftHSM2 token"
module=$(find /usr/lib -name libsofthsm2.so | head -n 1)
# shellcheck disable=SC2094
taskset -c 0 swtpm socket --tpm2 --tpmstate dir="$work/tpmstate" --server type=unixio,path="$work/tpm.sock" \
    --ctrl type=unixio,path="$work/tpm.sock.ctrl" --flags not-need-init,startup-clear >/dev/null 2>&1 &
echo $! >"$work/swtpm.pid"
names="$names swtpm"
wait_for 10 test -S "$work/tpm.sock.ctrl" || die "swtpm does not start"
start served "$bin/a71chd" --sim "$work/served" --chips "$cores" --workers "$cores" --listen "unix-dir:$work/sockets" --log error
wait_line served '^ready$' >/dev/null || exit 1
pids=
if [ "$cores" -gt 1 ]; then workers=$(pgrep -P "$(cat "$work/served.pid")"); else workers=$(cat "$work/served.pid"); fi
for pid in $workers; do # in the order of their chips
    taskset -cp "$(printf '%s' "$pids" | tr -dc , | wc -c)" "$pid" >/dev/null
    pids=$pids$pid,
done
pids=${pids%,}

echo "chip: $ROUNDS rounds of $SECS s each, $(openssl version | cut -d' ' -f1,2), SoftHSM2 $(dpkg-query -W -f '${Version}' softhsm2)," \
    "swtpm $(dpkg-query -W -f '${Version}' swtpm), $cores cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
for _ in $(seq "$ROUNDS"); do
    taskset -c 0 openssl speed -seconds "$SECS" ecdsap256 ecdhp256 2>/dev/null | awk '
        / ecdsa / { print "openssl sign", 0, $(NF - 1); print "openssl verify", 0, $NF }
        / ecdh / { print "openssl ecdh", 0, $NF }' >>"$work/rows"
    for op in sign verify ecdh; do
        chip --op $op --dir "$work/mem" | record process
        chip --op $op --sockets "$work/sockets" --pids "${pids%%,*}" | record socket
    done
    taskset -c 0 "$work/pkcs11" "$module" 1234 "$SECS" sign verify ecdh | record softhsm2
    taskset -c 0 "$work/tpm" "swtpm:path=$work/tpm.sock" "$(cat "$work/swtpm.pid")" "$SECS" sign verify ecdh 2>/dev/null | record swtpm
    for n in $(seq "$cores"); do
        chip --op sign --dir "$work/mem" --processes "$n" | record "process$n"
        chip --op sign --sockets "$work/sockets" --processes "$n" --pids "$pids" | record "socket$n"
    done
    for op in fsync gp-write inject; do
        chip --op $op --dir "$work/mem" | record disk
    done
    mkdir -p "/dev/shm/birthmark-bench.$$"
    for op in gp-write inject; do
        chip --op $op --dir "/dev/shm/birthmark-bench.$$" | record memory
    done
    rm -rf "/dev/shm/birthmark-bench.$$"
    taskset -c 0 "$work/pkcs11" "$module" 1234 "$SECS" inject | record softhsm2
done

echo "per second of CPU time:     sign   verify     ecdh"
for who in openssl process softhsm2 socket swtpm; do
    printf '%-22s %9s%9s%9s\n' "$who" "$(median $who sign 4)" "$(median $who verify 4)" "$(median $who ecdh 4)"
done
ratio()
{
    awk -v a="$2" -v b="$3" -v name="$1" -v figure="${4:-}" 'BEGIN { printf "%-60s %.2f%s\n", name, a / b, figure == "" ? "" : " (figure: " figure ")" }'
}
ratio "sign in a process, beside openssl speed" "$(median process sign 4)" "$(median openssl sign 4)" ">= 0.5"
ratio "sign in a process, beside SoftHSM2" "$(median process sign 4)" "$(median softhsm2 sign 4)" "> 1"
ratio "sign through a socket, beside openssl speed" "$(median socket sign 4)" "$(median openssl sign 4)" ">= 0.5"
ratio "sign through a socket, beside SoftHSM2 in a process" "$(median socket sign 4)" "$(median softhsm2 sign 4)" "> 1"
ratio "sign through a socket, beside swtpm through its socket" "$(median socket sign 4)" "$(median swtpm sign 4)" ">= 10"
for n in $(seq 2 "$cores"); do
    ratio "signatures per second, $n processes beside 1" "$(median "process$n" sign 3)" "$(median process1 sign 3)" "grows"
    ratio "... per second of CPU time: what is lost by the company" "$(median "process$n" sign 4)" "$(median process1 sign 4)"
    ratio "signatures per second, $n workers of a71chd beside 1" "$(median "socket$n" sign 3)" "$(median socket1 sign 3)" "grows"
    ratio "... per second of CPU time" "$(median "socket$n" sign 4)" "$(median socket1 sign 4)"
done
echo "durable, per second: fdatasync alone $(median disk fsync 3), GP write $(median disk gp-write 3), key injection $(median disk inject 3);" \
    "SoftHSM2 key made and removed $(median softhsm2 inject 3)"
echo "without a disk (tmpfs), per second of CPU time: GP write $(median memory gp-write 4), key injection $(median memory inject 4)"
ratio "key injections for each fdatasync that the disk does" "$(median disk inject 3)" "$(median disk fsync 3)"

# ---- many chips; their sockets where sockets usually are, on a tmpfs ----
many_sockets=/dev/shm/birthmark-sockets.$$
trap 'cleanup; rm -rf "$many_sockets"' EXIT
rss()
{
    awk '/^VmRSS/ { printf "%.0f MB", $2 / 1024 }' "/proc/$(cat "$work/many.pid")/status"
}
since()
{
    echo "$((($(date +%s%N) - $1) / 1000000)) ms"
}
touch_chips()
{
    "$root/tests/scenario/chips.py" "$@" >"$work/touched" || die "not all chips answer"
}
began=$(date +%s%N)
start many "$bin/a71chd" --sim "$work/many" --chips "$CHIPS" --listen "unix-dir:$many_sockets" --log error
wait_for 60 grep -q '^ready$' "$work/many.log" || die "$CHIPS chips: $(cat "$work/many.log")"
echo "$CHIPS chips: ready after $(since "$began") (figure: < 5 s), $(rss)"
began=$(date +%s%N)
touch_chips "$many_sockets" 0 "$TOUCH" 8012000000
echo "made and given a key, one after another: $(cat "$work/touched"), $(since "$began"), $(rss) (figure: < 1 GB)"
touch_chips --keep "$many_sockets" 0 "$TOUCH" 8015000020"$(printf '%064d' 5)"00
echo "open and connected at once: $(cat "$work/touched"), $(rss)"
stop many

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The link sim:DIR; and how a71chd --i2c gets into step again with a chip on a bus, which here is another a71chd's.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

shim=$lib/a71ch-i2c-shim.so

on_bus()
{
    env LD_PRELOAD="${PRELOAD:+$PRELOAD }$shim" ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
        A71CH_I2C_BUS="7:$work/bus" "$@"
}

sim()
{
    "$bin/a71chConfig" "sim:$work/own" "$@"
}

# ---- sim:DIR ----
check_output "sim: makes a chip and reaches it" '^uid ' sim info device
check "its folder is there" test -s own/nvm
check "a key is made" sim gen pair -x 0
check "and there for the next program" sim get pub -c 10 -x 0 -k own.pem
for i in 1 2 3 4 5 6; do sim info device >"turn.$i" 2>&1 & pids="${pids:-} $!"; done
for p in $pids; do wait "$p" || echo failed >>turns; done
check "programs that come at once take turns" test ! -e turns
check "no daemon is left behind" sh -c "! pgrep -f '[a]71chd --sim $work/own'"
check "OpenSSL signs through sim:" sh -c "
    '$bin/a71chConfig' 'sim:$work/own' refpem -c 10 -x 0 -r ref.pem >/dev/null &&
    head -c 32 /dev/zero >digest &&
    A71CHD='$bin/a71chd' A71CH_ADDRESS='sim:$work/own' OPENSSL_CONF='$BUILD/openssl-a71ch.cnf' ${PRELOAD:+LD_PRELOAD='$PRELOAD'} \
        openssl pkeyutl -sign -inkey ref.pem -in digest -out signature"
check "a signature that verifies" openssl pkeyutl -verify -pubin -inkey own.pem -in digest -sigfile signature
check_fails any "a folder with other things in it is refused" "$bin/a71chConfig" "sim:$root/src" info device
cp out said
check "with the daemon's own sentence" grep -q 'holds .* but no chip; name a new or empty folder' said
check_fails any "a chip that another has is refused" sh -c "
    '$bin/a71chd' --sim '$work/own' --listen tcp:127.0.0.1:0 >busy.log 2>&1 & pid=\$!
    timeout 60 sh -c 'until grep -q ready busy.log; do sleep 0.05; done' || { kill \$pid; exit 0; }
    '$bin/a71chConfig' 'sim:$work/own' info device; code=\$?; kill \$pid; wait \$pid; exit \$code"
cp out said
check "and told who" grep -q 'already open in process [0-9]*' said
check_fails any "without an a71chd there is no chip" env A71CHD=/nonexistent/a71chd "$bin/a71chConfig" "sim:$work/own" info device
cp out said
check "which is said, with the cure" grep -q 'cannot start /nonexistent/a71chd .*set A71CHD' said

# ---- a71chd --i2c ----
start chip "$bin/a71chd" --sim "$work/chip" --listen "i2c-unix:$work/bus" --listen "unix:$work/chip.sock" --trace "$work/trace"
wait_line chip '^ready$' >/dev/null || done_testing
start owner env LD_PRELOAD="${PRELOAD:+$PRELOAD }$shim" ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
    A71CH_I2C_BUS="7:$work/bus" "$bin/a71chd" --i2c /dev/i2c-7 --listen tcp:127.0.0.1:0 --listen "unix:$work/owner.sock"
wait_line owner '^ready$' >/dev/null || done_testing
tcp=$(wait_line owner '^listening tcp:' | sed 's/^listening tcp://')
check_output "a chip on a bus is served over sockets" '^uid ' "$bin/a71chConfig" "$tcp" info device
"$bin/a71chd" --ctl "unix:$work/chip.sock" fault add frame-hang:count=1 >/dev/null
check_fails any "a chip that hangs is an error" "$bin/a71chConfig" "$tcp" info device
cp out said
check "with its cause" grep -qE 'nobody answers at address 0x48|did not become ready' said
check_output "the next command brings both into step again" '^uid ' "$bin/a71chConfig" "$tcp" info device
stop chip
check_fails any "a chip that is gone is an error" "$bin/a71chConfig" "$tcp" info device
start chip "$bin/a71chd" --sim "$work/chip" --listen "i2c-unix:$work/bus"
wait_line chip '^ready$' >/dev/null || done_testing
check_output "one that comes back is reached again" '^uid ' "$bin/a71chConfig" "$tcp" info device
holder=$(pgrep -P "$(cat "$work/owner.pid")" | head -n 1)
kill -9 "$holder"
wait_for 10 sh -c "! kill -0 $holder 2>/dev/null" # a71chd has noticed; a command before that may or may not have run, and is told so
check_output "the process that holds the bus may die: another one serves" '^uid ' "$bin/a71chConfig" "$tcp" info device
check "another one" sh -c "now=\$(pgrep -P '$(cat "$work/owner.pid")') && [ \"\$now\" != '$holder' ]"
stop owner
check "nothing holds the bus afterwards" on_bus "$bin/a71chConfig" i2c:/dev/i2c-7 info device
stop chip
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A session of the chip goes from one process to the next: over an I2C bus (through the shim), and over a Unix socket and
# TCP with an a71chd that owns a chip on such a bus; where it cannot, that is said.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
stages=$BUILD/obj/tests/two_stages
i2c=i2c:/dev/i2c-7

on_bus()
{
    env LD_PRELOAD="${PRELOAD:+$PRELOAD }$lib/a71ch-i2c-shim.so" A71CH_I2C_BUS="7:$work/bus" \
        ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" "$@"
}

start chip "$bin/a71chd" --sim "$work/chip" --listen "i2c-unix:$work/bus" --listen "unix:$work/chip.sock" --trace "$work/trace"
wait_line chip '^ready$' >/dev/null || done_testing

check_output "a boot loader leaves a session in the clear" '^left [0-9]+ bytes$' on_bus "$stages" boot $i2c clear.session clear
check_output "the system goes on with it, another process" '^channel 0 count 2$' on_bus "$stages" system $i2c clear.session again
check_output "and a third" '^channel 0 count 3$' on_bus "$stages" system $i2c clear.session
check_output "a boot loader opens the secure channel" '^left [0-9]+ bytes$' on_bus "$stages" boot $i2c session
before=$(wc -l <trace)
check_output "the system goes on in it, without the keys" '^channel 1 count 5$' on_bus "$stages" system $i2c session again
check_fails 1 "without a reset of the chip, SELECT or a new channel" sh -c "tail -n +$((before + 1)) trace | grep -iE 'reset|00a40400|8050|8482'"
check "which the trace would show" sh -c "head -n $before trace | grep -iq 00a40400"
cp session stale
check_output "and a third" '^channel 1 count 6$' on_bus "$stages" system $i2c session
check_output "the same session a second time is refused" '^resume: A71CH_ERR_SESSION: .*resumed before.*open a new connection$' \
    sh -c "! LD_PRELOAD='${PRELOAD:+$PRELOAD }$lib/a71ch-i2c-shim.so' A71CH_I2C_BUS='7:$work/bus' ASAN_OPTIONS=detect_leaks=0 '$stages' system $i2c stale"
check_output "a new connection is the cure" '^left ' on_bus "$stages" boot $i2c session
head -c 40 session >cut.session
check_fails 1 "a session that was cut is refused" on_bus "$stages" system $i2c cut.session
cp out said
check "and says so" grep -q 'A71CH_ERR_SESSION: .*damaged' said
check_output "which the chip did not see: the whole one is still good" '^channel 1 count 8$' on_bus "$stages" system $i2c session

# a simulated chip gives each connection a session of its own, which ends with it
check_output "over a socket to a simulated chip a session can be left" '^left ' "$stages" boot "unix:$work/chip.sock" socket.session
check_fails 1 "but not resumed" "$stages" system "unix:$work/chip.sock" socket.session
cp out said
check "and that is said" grep -q 'A71CH_ERR_SESSION: ' said
check_fails 1 "nor on another kind of link" on_bus "$stages" system $i2c socket.session
cp out said
check "and that is said" grep -q 'another kind of link' said
check_fails 1 "a chip of one handle has none to leave" env A71CHD="$bin/a71chd" "$stages" boot "sim:$work/own" sim.session
cp out said
check "and that is said" grep -q A71CH_ERR_UNSUPPORTED said

# a chip that an a71chd owns has one session for all
start real env LD_PRELOAD="${PRELOAD:+$PRELOAD }$lib/a71ch-i2c-shim.so" A71CH_I2C_BUS="7:$work/bus" \
    ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" "$bin/a71chd" --i2c /dev/i2c-7 --listen tcp:127.0.0.1:0 --listen "unix:$work/real.sock"
wait_line real '^ready$' >/dev/null || done_testing
tcp=$(wait_line real '^listening tcp:' | sed 's/^listening //')
for address in "unix:$work/real.sock" "$tcp"; do
    check_output "${address%%:*}: a boot loader opens the secure channel" '^left ' "$stages" boot "$address" session
    cp session stale
    check_output "${address%%:*}: the system goes on in it" '^channel 1 count 1[0-9]$' "$stages" system "$address" session again
    check_output "${address%%:*}: and a third" '^channel 1 count 1[0-9]$' "$stages" system "$address" session
    check_fails 1 "${address%%:*}: the same session a second time is refused" "$stages" system "$address" stale
    cp out said
    check "${address%%:*}: and says so" grep -q 'A71CH_ERR_SESSION: .*6982.*resumed before' said
done
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# a71chd as owner of a real chip on an I2C bus. The chip is another a71chd's, the bus comes through the shim: all that is
# not wires is as on a board.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

many="$root/tests/scenario/arbiter.py"
unix=unix:$work/real.sock
start chip "$bin/a71chd" --sim "$work/chip" --listen "i2c-unix:$work/bus" --listen "unix:$work/chip.sock"
wait_line chip '^ready$' >/dev/null || done_testing

serve()
{
    start real env LD_PRELOAD="${PRELOAD:+$PRELOAD }$lib/a71ch-i2c-shim.so" A71CH_I2C_BUS="7:$work/bus" \
        ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
        "$bin/a71chd" --i2c /dev/i2c-7 --listen tcp:127.0.0.1:0 --listen "$unix"
}

check_fails 2 "a chip is simulated or real" "$bin/a71chd" --sim "$work/chip" --i2c /dev/i2c-7 --listen "$unix"
check_output "a bus that is not there is named" 'i2c-93.*No such file' \
    sh -c "'$bin/a71chd' --i2c /dev/i2c-93 --listen '$unix' 2>&1; true"
serve
wait_line real '^ready$' >/dev/null || done_testing
tcp=$(wait_line real '^listening tcp:' | sed 's/^listening //')
check "every byte that NXP's clients depend on" "$many" bytes "$tcp"
check_output "24 clients in a storm: no answer is lost or crossed" '^served 21 died 3$' "$many" storm 24 "$tcp" "$unix"
check_output "clients count under leases: no step is lost" '^40 ' "$many" count 8 "$tcp" "$unix"
check_output "hashes in several commands, under leases" '^12 right$' "$many" hash 12 "$tcp" "$unix"
check_output "the same without leases are torn: the chip has one hash in progress" '^([0-9]|1[01]) right$' \
    "$many" torn-hash 12 "$tcp" "$unix"
check "a71chConfig makes a key" "$bin/a71chConfig" "$unix" gen pair -x 0
check "and a reference to it" "$bin/a71chConfig" "$unix" refpem -c 10 -x 0 -r "$work/ref.pem"
echo hello >"$work/data"
check "OpenSSL signs with it" env A71CH_ADDRESS="$unix" OPENSSL_CONF="$BUILD/openssl-a71ch.cnf" \
    ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} openssl dgst -sha256 -sign "$work/ref.pem" -out "$work/sig" "$work/data"
check "the signature is right" sh -c "openssl ec -in '$work/ref.pem' -pubout -out '$work/pub.pem' && \
    openssl dgst -sha256 -verify '$work/pub.pem' -signature '$work/sig' '$work/data'"
check_output "--stats counts it" '"signatures":1,' "$bin/a71chd" --stats "$tcp"

# what holds the link dies, and what holds the chip
driver=$(pgrep -P "$(cat "$work/real.pid")")
kill -9 "$driver"
wait_for 20 not_running "$driver"
check "the process that holds the link is started again" "$bin/a71chConfig" "$unix" get pub -c 10 -x 0 -k "$work/again.pem"
check_output "and counted" '"restarts":1' "$bin/a71chd" --stats "$tcp"
stop chip KILL
check_fails any "without a chip a command fails" "$bin/a71chConfig" "$unix" get pub -c 10 -x 0 -k "$work/none.pem"
start chip "$bin/a71chd" --sim "$work/chip" --listen "i2c-unix:$work/bus" --listen "unix:$work/chip.sock"
wait_line chip '^ready$' >/dev/null || done_testing
check "when it is back, the next one is served" wait_for 10 "$bin/a71chConfig" "$unix" get pub -c 10 -x 0 -k "$work/back.pem"
check "by the same key" cmp "$work/again.pem" "$work/back.pem"
check "SIGTERM ends it" stop real
gone()
{
    ! pgrep -f -- "--i2c /dev/i2c-7 .*$unix" >/dev/null
}
check "and the process that held the link" wait_for 10 gone
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The application note's flow, as `make demo` runs it, twice at once; then what each step must have shown.
. "$(dirname "$0")/lib.sh"

export BUILD TMPDIR="$work"
start one "$root/scripts/demo"
start two "$root/scripts/demo"
wait "$(cat "$work/one.pid")"
rc_one=$?
wait "$(cat "$work/two.pid")"
rc_two=$?

for demo in one two; do
    rc=$rc_one
    [ $demo = one ] || rc=$rc_two
    log=$work/$demo.log
    [ "$rc" -eq 0 ] || not_ok "demo $demo ends well (exit code $rc)" "$log"
    check "demo $demo: registration code" grep -qE '"registrationCode": "[0-9a-f]{64}"' "$log"
    check "demo $demo: CA INACTIVE and DISABLE at first" sh -c 'grep -A1 INACTIVE "$0" | grep -q DISABLE' "$log"
    check "demo $demo: CA ACTIVE and ENABLE afterwards" sh -c 'grep -A1 "\"ACTIVE\"" "$0" | grep -q ENABLE' "$log"
    check "demo $demo: the key went into the chip" grep -q 'ECCPrivateKey: hidden' "$log"
    check "demo $demo: the first connection was dropped" grep -q 'The connection was lost' "$log"
    check "demo $demo: the operator saw the event" grep -q '"certificateStatus": *"PENDING_ACTIVATION"' "$log"
    check "demo $demo: the publish was acknowledged" grep -q 'received PUBACK' "$log"
    check "demo $demo: the second device received Hello" grep -q 'the second device printed: Hello' "$log"
    check "demo $demo: two handshakes, two chip signatures" grep -q 'the chip made 2 signatures' "$log"
done
check "both removed their folders" sh -c '[ -z "$(find "$0" -maxdepth 1 -name "birthmark-demo.*")" ]' "$work"
done_testing

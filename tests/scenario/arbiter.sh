#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# a71chd as arbiter: many clients at once, leases, clients that die, who may connect, what NXP's clients send.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

many="$root/tests/scenario/arbiter.py"
unix=unix:$work/chip.sock
start chip "$bin/a71chd" --sim "$work/chip" --listen tcp:127.0.0.1:0 --listen "$unix"
wait_line chip '^ready$' >/dev/null || done_testing
tcp=$(wait_line chip '^listening tcp:' | sed 's/^listening //')

check_output "200 clients in a storm, 25 of which die: no answer is lost or crossed" '^served 175 died 25$' \
    "$many" storm 200 "$tcp" "$unix"
check_output "and it serves as before" '^served 7 died 1$' "$many" storm 8 "$tcp"
check_output "100 clients count under leases, more than may wait at once: no step is lost" '^500 refused' \
    "$many" count 100 "$tcp" "$unix"
check_output "the same without leases does lose some" '^([0-9]|[0-9][0-9]|[1-4][0-9][0-9]) $' "$many" torn 100 "$tcp" "$unix"
for step in $("$many" steps); do
    check "a client killed at '$step' of a lease: the next one gets it" "$many" killed "$step" "$unix"
    check "the same over TCP" "$many" killed "$step" "$tcp"
done
check "a lease that is not released ends, and its client hears of it" "$many" expire "$unix"
check_output "--ctl leases shows them" '"holder":null,"waiting":\[\]' "$bin/a71chd" --ctl "$tcp" leases
check "every byte that NXP's clients depend on, over TCP" "$many" bytes "$tcp"
check "and over a Unix socket" "$many" bytes "$unix"

check "SIGTERM ends it" stop chip
done_testing

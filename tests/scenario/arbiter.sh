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

# who may connect: owner, root, and members of the group
group=$(id -g)
[ "$(id -u)" -ne 0 ] || group=65534
check_fails 1 "--group wants a group that exists" "$bin/a71chd" --sim "$work/chip" --listen "$unix" --group no-such-group
check_output "--group: the cure is named" 'groupadd' sh -c "'$bin/a71chd' --sim x --listen '$unix' --group no-such-group 2>&1; true"
start chip "$bin/a71chd" --sim "$work/chip" --listen "$unix" --group "$group"
wait_line chip '^ready$' >/dev/null || done_testing
check_output "with --group the socket is for the group" "^660 $group$" stat -c '%a %g' "$work/chip.sock"
check "the owner connects" "$many" bytes "$unix"
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    chmod 755 "$work"
    cp "$many" "$work/client.py" # where other users can read it, wherever the checkout lies
    as()
    {
        setpriv --reuid 65533 --regid "$1" "$2" "$3" "$work/client.py" bytes "$unix" >"$work/as.log" 2>&1
    }
    check "a user of that group connects" as "$group" --clear-groups --
    check "also when it is one of its further groups" as 65533 --groups "$group"
    check_fails any "another user does not" as 65533 --clear-groups --
    check_output "because of the file's mode" 'PermissionError' cat "$work/as.log"
    chmod 666 "$work/chip.sock"
    check_fails any "nor when the file's mode lets it" as 65533 --clear-groups --
    check "and the log says who it was" wait_line chip 'turned away uid=65533'
else
    echo "skip - other users at the socket: needs root and setpriv"
fi
check "SIGTERM ends it" stop chip

# as a service
check_output "it tells systemd when it is ready" '^READY=1$' "$many" notify "$bin/a71chd" --sim "$work/chip" --listen "$unix"
unit=$BUILD/lib/systemd/system/a71chd.service
check_output "the unit starts the program that was built" "^ExecStart=$bin/a71chd " cat "$unit"
if command -v systemd-analyze >/dev/null; then
    # it would complain of the machine's own units, too
    check "systemd takes the unit" sh -c "! systemd-analyze verify --man=no '$unit' 2>&1 | grep a71chd"
else
    echo "skip - the unit: no systemd-analyze here"
fi
if command -v systemd-sysusers >/dev/null && systemd-sysusers --help | grep -q dry-run; then
    check_output "systemd makes user and group" "create.*user 'a71chd'|Creating user 'a71chd'" sh -c "systemd-sysusers --dry-run --root='$work' '$BUILD/lib/sysusers.d/a71chd.conf' 2>&1"
else
    echo "skip - the sysusers file: no systemd-sysusers with --dry-run here"
fi
check "the udev rule is where udev looks" grep -q 'GROUP="a71ch"' "$BUILD/lib/udev/rules.d/70-a71ch.rules"
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Snapshot, restore and fork of a chip: by control command while clients are connected, and on a folder without a daemon.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

jrcp="$root/tests/scenario/jrcp.py"
select=00a4040005613731636800
info=8091000300
hash=af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf

serve()
{
    unix=unix:$work/$1.sock
    start "$1" "$bin/a71chd" --sim "$2" --listen "$unix" --listen tcp:127.0.0.1:0
    wait_line "$1" '^ready$' >/dev/null || done_testing
    tcp=$(wait_line "$1" '^listening tcp:' | sed 's/^listening //')
}

ctl()
{
    "$bin/a71chd" --ctl "$@"
}

last_line()
{
    "$jrcp" "$@" >"$work/last" || return
    tail -n 1 "$work/last"
}

is()
{
    [ "$1" = "$2" ] || { echo "got $1, wanted $2"; return 1; }
}

isnt()
{
    [ "$1" != "$2" ] || { echo "got $1 again"; return 1; }
}

refusal()
{
    "$bin/a71chd" --ctl "$@" 2>&1 || :
}

serve first "$work/chip"
check_output "there is no snapshot yet" '^\{"snapshots":\[\]\}$' ctl "$unix" list
check "a chip gets a key" is "$(last_line "$unix" $select 8012000000)" 9000
check "and a number in its storage" is "$(last_line "$unix" $select 80720000021111)" 9000
key=$(last_line "$unix" $select 8011000000)
check_output "a snapshot is taken" '^\{"snapshot":"before"\}$' ctl "$unix" snapshot before
check "and is private" is "$(stat -c %a "$work/chip/snapshots/before.nvm")" 600
check "the key is replaced" is "$(last_line "$unix" $select 8012000000)" 9000
other=$(last_line "$unix" $select 8011000000)
check "by another" isnt "$key" "$other"
check_output "a second snapshot" '"after-1"' ctl "$unix" snapshot after-1
check_output "both are listed" '^\{"snapshots":\[\{"name":"after-1","made":"20[0-9T:-]+Z"\},\{"name":"before",' ctl "$unix" list

# the same client restores (message type 07, words ended by zero bytes) and goes on without selecting
restore_before=mty07:726573746f7265006265666f726500
check_output "a connected client is as after a power cycle" '^6985$' \
    sh -c "'$jrcp' '$unix' $select $info $restore_before $info | tail -n 1"
check "the first key is back" is "$(last_line "$unix" $select 8011000000)" "$key"
check "and signs for another client" is "$(last_line "$unix" two $select 2:$select $restore_before 2:$info)" 6985
check_output "the restored chip signs" '^30[0-9a-f]+9000$' "$jrcp" "$unix" $select 8015000020${hash}00
check_output "the other way" '^\{"restored":"after-1"\}$' ctl "$unix" restore after-1
check "the second key is there" is "$(last_line "$unix" $select 8011000000)" "$other"

check_fails 1 "over TCP none of it" ctl "$tcp" snapshot x
check_output "and it says why" 'over a Unix socket; over TCP only when' refusal "$tcp" restore before
check_output "not the list either" 'list is for the user that runs a71chd' refusal "$tcp" list
check_fails 1 "a snapshot that is not there" ctl "$unix" restore nothing
check_output "is named" '^a71chd: there is no snapshot nothing$' refusal "$unix" restore nothing
for bad in ../x .x a/b ''; do
    check_fails 1 "'$bad' is no name" ctl "$unix" snapshot "$bad"
done

check_output "a fork is made" '^\{"fork":"[^"]*twin"\}$' ctl "$unix" fork "$work/twin"
check_fails 1 "not over a chip that is there" ctl "$unix" fork "$work/twin"
check_fails 1 "nor over the chip itself" ctl "$unix" fork "$work/chip"
check_fails 1 "nor over other files" ctl "$unix" fork "$work"
check "the fork has a file key of its own" isnt "$(sha256sum <"$work/chip/key")" "$(sha256sum <"$work/twin/key")"
check_fails 1 "a folder in use is not asked offline" ctl "sim:$work/chip" list
check_output "it is said who has it" 'already open in process [0-9]+; stop that one' refusal "sim:$work/chip" list
check "the original goes another way" is "$(last_line "$unix" $select 80720000022222)" 9000
serve second "$work/twin"
check "the twin has the key" is "$(last_line "$unix" $select 8011000000)" "$other"
check "and the number" is "$(last_line "$unix" $select 8071000002000200)" 11119000
stop second
stop first

check_output "offline: the snapshots of a folder" '"name":"before"' ctl "sim:$work/chip" list
check_output "offline: restored" '^\{"restored":"before"\}$' ctl "sim:$work/chip" restore before
check_output "offline: forked, by a path of here" '^\{"fork":"three"\}$' sh -c "cd '$work' && '$bin/a71chd' --ctl 'sim:$work/chip' fork three"
check_fails 1 "offline: no folder, no chip" ctl "sim:$work/none" stats
check "and none is made" test ! -e "$work/none"
serve third "$work/three"
check "the forked folder has the restored key" is "$(last_line "$unix" $select 8011000000)" "$key"
stop third
printf x | dd of="$work/chip/snapshots/before.nvm" bs=1 seek=999 conv=notrunc 2>/dev/null
check_output "a damaged snapshot is refused" 'before.nvm: the checksum of its snapshot is wrong' refusal "sim:$work/chip" restore before
cp "$work/twin/nvm" "$work/chip/snapshots/foreign.nvm"
check_output "so is another chip's" 'foreign.nvm: the file key beside it is not the one' refusal "sim:$work/chip" restore foreign

# kill -9 while it restores and takes snapshots in turn
for round in 1 2 3 4 5; do
    serve "kill$round" "$work/chip"
    (while "$bin/a71chd" --ctl "$unix" restore after-1 && "$bin/a71chd" --ctl "$unix" snapshot "r$round"; do :; done) >/dev/null 2>&1 &
    loop=$!
    wait_for 10 test -e "$work/chip/snapshots/r$round.nvm"
    stop "kill$round" KILL
    wait "$loop"
    check_output "after kill -9 in round $round the chip and its snapshot open" "\"r$round\"" ctl "sim:$work/chip" restore "r$round"
done
done_testing

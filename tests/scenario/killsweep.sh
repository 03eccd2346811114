#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the whole cloud while changes of the registry are asked for: what was answered is there after the restart, what was not
# is whole or absent (kill_sweep.py).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

kill_cloud()
{
    master=$(cat "$work/cloud.pid")
    all="$master $(pgrep -P "$master" | tr '\n' ' ')"
    kill -9 $all 2>/dev/null
    for p in $all; do
        wait_for 10 not_running "$p"
    done
    wait "$master" 2>/dev/null
}

start_cloud
for round in 1 2 3 4 5; do
    : >"$work/sweep.out" # or the last round's words would be taken for this one's
    timeout 60 /usr/bin/python3 "$(dirname "$0")/kill_sweep.py" change "$api" "$work/said.json" "$round" >"$work/sweep.out" 2>&1 &
    writer=$!
    wait_for 20 grep -q "^going\$" "$work/sweep.out" || not_ok "round $round: changes are asked for" "$work/sweep.out"
    sleep "0.$((round * 13 % 40 + 10))"
    kill_cloud
    wait "$writer"
    start_cloud
    check "round $round: nothing answered was lost, nothing is half there" \
        timeout 60 /usr/bin/python3 "$(dirname "$0")/kill_sweep.py" verify "$api" "$work/said.json" "$round"
done
done_testing

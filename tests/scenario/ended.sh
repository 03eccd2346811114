#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A scenario that is ended by a signal leaves nothing behind: no program, whichever way it was started, and no folder (lib.sh).
. "$(dirname "$0")/lib.sh"

mkdir -p "$work/tests/scenario" "$work/tmp"
cat >"$work/tests/scenario/inner.sh" <<SH
. "$root/tests/scenario/lib.sh"
sleep 1000 &
echo \$! >"$work/beside"
start server sleep 1000
cp "\$work/server.pid" "$work/server"
while :; do sleep 0.1; done
SH
started() { [ -s "$work/beside" ] && [ -s "$work/server" ]; }
for signal in TERM INT; do
    rm -f "$work/beside" "$work/server"
    TMPDIR=$work/tmp BUILD=$BUILD /usr/bin/python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp("sh", ["sh", sys.argv[1]])' \
        "$work/tests/scenario/inner.sh" >"$work/inner.log" 2>&1 &
    inner=$!
    check "a scenario runs" wait_for 20 started
    kill -$signal $inner
    wait $inner
    check "ended by $signal, what it started is gone" not_running "$(cat "$work/server")"
    check "so is what it started by itself" wait_for 10 not_running "$(cat "$work/beside")"
    check "and its folder" sh -c '[ -z "$(ls "$0")" ]' "$work/tmp"
done
done_testing

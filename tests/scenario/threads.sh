#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Eight threads and four forked children sign ten thousand times with one chip; ThreadSanitizer watches where it can.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

threads=$BUILD/obj/tests/threads
unix=unix:$work/chip.sock
start chip "$bin/a71chd" --sim "$work/chip" --listen tcp:127.0.0.1:0 --listen "$unix"
wait_line chip '^ready$' >/dev/null || done_testing
tcp=$(wait_line chip '^listening tcp:' | sed 's/^listening //')
export TSAN_OPTIONS="exitcode=66 halt_on_error=0"

signed()
{
    "$bin/a71chd" --stats "$tcp" | sed -n 's/.*"signatures":\([0-9]*\).*/\1/p'
}

run()
{
    address=$1
    shift
    "$threads" "$address" "$@" >"$work/run.log" 2>&1
    cat "$work/run.log"
}

check_output "8 threads and 4 children forked beside them: 10000 signatures, each for its own hash" '^10000 good, 0 bad$' \
    run "$unix" 8 4 10000
if grep -q __tsan_init "$threads"; then
    check_fails 1 "ThreadSanitizer has seen no race" grep ThreadSanitizer "$work/run.log"
else
    echo "skip - ThreadSanitizer: this build has another sanitizer, or the compiler none"
fi
check_output "the chip signed each once" '^10001$' signed
check_output "the same over TCP, fewer" '^600 good, 0 bad$' run "$tcp" 8 4 600
check "SIGTERM ends it" stop chip
done_testing

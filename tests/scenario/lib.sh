# SPDX-License-Identifier: Apache-2.0
# What every scenario script sources: a private folder, servers that end with the script, claims
# that are counted. Sets: bin, lib (built programs), work (private folder), root (source tree).
#
#   check "claim" command ...      passes when the command exits 0
#   check_fails CODE "claim" command ...   passes when it exits with CODE ("any": any but 0, and but those that mean
#                                          that timeout(1) ended it, that it could not be run, or that a signal ended it)
#   check_output "claim" PATTERN command ...   exits 0 and prints a line matching the grep -E pattern
#   start NAME command ...         run in the background; output in $work/NAME.log; ended at exit
#   wait_for SECONDS command ...   try until it exits 0; a deadline, not a sleep; never less than 60: machines are
#                                  slow or busy; in vain it prints what the last try said
#   wait_line NAME PATTERN         wait until NAME's log has a matching line; prints it
#   stop NAME [SIGNAL]             end it and wait for it
#   done_testing                   prints the counts; last line of every script
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$root/$BUILD ;; esac
bin=$BUILD/bin
lib=$BUILD/lib
work=$(mktemp -d "${TMPDIR:-/tmp}/birthmark-test.XXXXXX")
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH # the distribution's own programs, whatever else a machine has
passed=0
failed=0
names=""
unset OPENSSL_CONF A71CH_ADDRESS RJCT_SERVER_ADDR
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 AWS_PAGER= AWS_CONFIG_FILE=/dev/null \
    AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true HOME="$work"

end_all()
{
    for name in $names; do
        kill "$(cat "$work/$name.pid")" 2>/dev/null
    done
    for name in $names; do
        end_of "$name"
    done
    names=
    jobs -p >"$work/jobs" # what a scenario started without `start`; not in $(...), which has no jobs
    kill $(cat "$work/jobs") 2>/dev/null
}

cleanup()
{
    end_all
    [ -n "${KEEP_WORK:-}" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ok()
{
    passed=$((passed + 1))
    printf 'ok - %s\n' "$1"
}

not_ok()
{
    failed=$((failed + 1))
    printf 'not ok - %s\n' "$1"
    [ -z "${2:-}" ] || sed -e 's/^/    /' -e '$a\' "$2" | tail -n 40 # $a: the end of a last line that has none
}

check()
{
    claim=$1
    shift
    if "$@" >"$work/out" 2>&1; then ok "$claim"; else not_ok "$claim" "$work/out"; fi
}

check_fails()
{
    code=$1 claim=$2
    shift 2
    "$@" >"$work/out" 2>&1
    got=$?
    if [ "$got" = "$code" ] || { [ "$code" = any ] && [ "$got" -ne 0 ] && [ "$got" -lt 124 ]; }; then
        ok "$claim"
    else
        printf '\nexit code %s, wanted %s\n' "$got" "$code" >>"$work/out"
        not_ok "$claim" "$work/out"
    fi
}

check_output()
{
    claim=$1 pattern=$2
    shift 2
    if "$@" >"$work/out" 2>&1 && grep -qE -- "$pattern" "$work/out"; then ok "$claim"; else
        printf '\nwanted a line matching: %s\n' "$pattern" >>"$work/out"
        not_ok "$claim" "$work/out"
    fi
}

start()
{
    name=$1
    shift
    : >"$work/$name.log"
    "$@" >>"$work/$name.log" 2>&1 &
    echo $! >"$work/$name.pid"
    names="$names $name"
}

# Wait for a started program to end; kill it after a minute.
end_of()
{
    pid=$(cat "$work/$1.pid")
    wait_for 60 not_running "$pid" || kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
}

not_running()
{
    ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}

stop()
{
    kill "-${2:-TERM}" "$(cat "$work/$1.pid")" 2>/dev/null
    end_of "$1"
    names=$(printf '%s' "$names" | sed "s/ $1\$//; s/ $1 / /")
}

wait_for()
{
    deadline=$(($(date +%s) + ($1 > 60 ? $1 : 60)))
    shift
    until "$@" >"$work/try" 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || {
            cat "$work/try"
            return 1
        }
        sleep 0.05
    done
}

wait_line()
{
    wait_for 60 grep -qE -- "$2" "$work/$1.log" || {
        not_ok "$1 prints $2" "$work/$1.log" >&2 # where it is seen, whoever reads the line
        return 1
    }
    grep -m1 -E -- "$2" "$work/$1.log"
}

# start a simulated chip in $work/$1 and set its address in A71CH_ADDRESS
start_chip()
{
    start "$1" "$bin/a71chd" --sim "$work/$1.chip" --listen tcp:127.0.0.1:0
    wait_line "$1" '^ready$' >/dev/null || exit 1
    A71CH_ADDRESS=$(wait_line "$1" '^listening tcp:' | sed 's/^listening tcp://')
    export A71CH_ADDRESS
}

# A sanitizer speaks when a program misbehaves or, of leaks, when it ends: so all are ended first.
done_testing()
{
    end_all
    reports=$(grep -lE 'ERROR: (Address|Leak)Sanitizer|runtime error:' "$work"/*.log 2>/dev/null)
    for log in $reports; do
        not_ok "no sanitizer report in $(basename "$log")" "$log"
    done
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
    exit $?
}

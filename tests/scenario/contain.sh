#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Functions that misbehave, made and called with the real aws CLI: fork bomb, full disk, children that eat memory, a gigabyte
# of logs, garbage answers, crash, hang. Each is contained and reported, and a well-behaved function answers beside it. When
# run by root, the cloud is started as root, and for a part of it as another user.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

role=arn:aws:iam::000000000000:role/any

# create NAME RUNTIME HANDLER FILE [OPTIONS]: a function of one file
create()
{
    name=$1 runtime=$2 handler=$3 file=$4
    shift 4
    (cd "$work" && rm -f "$name.zip" && zip -q "$name.zip" "$file") &&
        iot lambda create-function --function-name "$name" --runtime "$runtime" --handler "$handler" --role $role \
            --zip-file "fileb://$work/$name.zip" "$@"
}

call()
{
    name=$1
    shift
    rm -f "$work/answer.$name"
    iot lambda invoke --function-name "$name" --cli-binary-format raw-in-base64-out "$@" "$work/answer.$name" && cat "$work/answer.$name"
}

# processes_of FUNCTION: how many it has, by what all of them have in their environment
processes_of()
{
    grep -lsz "AWS_ENDPOINT_URL=$api" /proc/[0-9]*/environ | xargs -r grep -lsz "AWS_LAMBDA_FUNCTION_NAME=$1" | wc -l
}
none_of() { [ "$(processes_of "$1")" -eq 0 ]; }

cat >"$work/good.py" <<'PY'
def handler(event, context):
    return "good"
PY
cat >"$work/bomb.py" <<'PY'
import os, signal, time

def handler(event, context):
    signal.alarm(60)  # not without end, should containment fail
    print("forks from here on", flush=True)
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.1)  # as a shell does; hundreds that spin would stop the machine's other tests
PY
cat >"$work/disk.py" <<'PY'
import os, time

def handler(event, context):
    folder = event.get("folder", os.environ["TMPDIR"])
    for n in range(12):  # not without end: this test must not fill the disk when containment fails
        with open(f"{folder}/{n}", "wb") as f:
            os.posix_fallocate(f.fileno(), 0, 100 << 20)
    time.sleep(1000)
PY
cat >"$work/memory.py" <<'PY'
import os, time

def handler(event, context):
    for n in range(8):
        if os.fork() == 0:
            if n % 2:
                os.setsid()
            mine = b"x" * (100 << 20)  # each less than it may have
            break
    time.sleep(60)
PY
cat >"$work/talk.py" <<'PY'
def handler(event, context):
    line = "x" * 65535
    for n in range(16384):
        print(line)
    return "said"
PY
cat >"$work/hang.py" <<'PY'
import signal, subprocess

def handler(event, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.run(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1000; done"])
PY
cat >"$work/bootstrap" <<'SH'
#!/bin/sh
# answers with what is no answer: no such id, a wrong verb, half a request, and then nothing at all
api=$AWS_LAMBDA_RUNTIME_API
while curl -sS -o /dev/null "http://$api/2018-06-01/runtime/invocation/next"; do
    curl -sS -o /dev/null -d garbage "http://$api/2018-06-01/runtime/invocation/none/response"
    curl -sS -o /dev/null -X BREW "http://$api/2018-06-01/runtime/invocation/next"
    printf 'POST /2018-06-01/runtime/\001\377 HTTP/9\r\n\r\n\000\000' | timeout 2 nc -q 1 127.0.0.1 "${api#*:}" 2>/dev/null
    head -c 100000 /dev/urandom | curl -sS -o /dev/null --data-binary @- "http://$api/$(head -c 30 /dev/urandom | base64 | tr -d '/+=')"
    kill -SEGV $$
done
SH
chmod +x "$work/bootstrap"

# What a cloud contains whoever runs it.
contains()
{
    check "a well-behaved function is made" create good python3.11 good.handler good.py --timeout 60
    check_output "and answers" good call good

    # ---- a fork bomb ----
    # hundreds of Pythons do fill a small function's memory, which would be its end as well
    check "a fork bomb is made" create bomb python3.11 bomb.handler bomb.py --timeout 3 --memory-size 2048
    start bomb call bomb
    check "a fork bomb goes off" wait_for 30 grep -q "forks from here on" "$state/functions/log/bomb.log"
    check_output "while it goes off, the other function answers" good call good
    wait_for 120 not_running "$(cat "$work/bomb.pid")"
    check_output "the bomb ends at its deadline" 'Task timed out after 3.00 seconds' cat "$work/answer.bomb"
    check "with all its processes" wait_for 30 none_of bomb

    # ---- disk ----
    check "a function that fills the disk is made" create disk python3.11 disk.handler disk.py --timeout 60
    check_output "it is killed when its folder is full" 'temporary folder has more than 512 MB' call disk
    if grep -q "functions see the machine's files" "$work/cloud.log"; then
        echo "skip - /tmp is bounded, too: mount namespaces are not allowed here"
    else
        check_output "also when it writes to /tmp" 'temporary folder has more than 512 MB' call disk --payload '{"folder":"/tmp"}'
        check_output "and nothing else can be written to" 'Read-only file system' call disk --payload '{"folder":"/var/tmp"}'
    fi
    check "its folder is removed" wait_for 30 sh -c '! find "$0/functions/scratch" /var/tmp/birthmark-functions.*/scratch -size +90M 2>/dev/null | grep -q .' \
        "$state"

    # ---- memory ----
    check "a function is made whose children eat memory" create memory python3.11 memory.handler memory.py --timeout 60
    check_output "they are killed when they have too much together" 'use more than 256 MB of memory together' call memory
    check "all of them" wait_for 30 none_of memory

    # ---- hang ----
    check "a function that hangs and ignores signals is made" create hang python3.11 hang.handler hang.py --timeout 1
    check_output "it times out" 'Task timed out after 1.00 seconds' call hang
    check "and is gone with what it started" wait_for 30 none_of hang
}

top=$(mktemp -d /var/tmp/birthmark-test.XXXXXX) # not in /tmp, which functions of a plain user would then share
trap 'cleanup; rm -rf "$top"' EXIT
state=$top/own
start_cloud "$state"
contains

# ---- logs ----
check "a function that prints a gigabyte is made" create talk python3.11 talk.handler talk.py --timeout 300
start talk call talk
check_output "while it prints, the other function answers" good call good
wait_for 120 not_running "$(cat "$work/talk.pid")"
check_output "it ends as well" said cat "$work/answer.talk"
check "what is kept of it is bounded" sh -c '[ $(cat "$0"/functions/log/talk.log* | wc -c) -le 16800000 ]' "$state"
check_output "and has the end" 'REPORT RequestId' "$bin/birthmark" logs --dir "$state" --lines 1 talk

# ---- garbage, crash ----
check "a program that speaks garbage is made" create garbage provided.al2 x bootstrap --timeout 30
check_output "its crash is the answer" 'Runtime exited with error: signal: segmentation fault' call garbage
check_output "the well-behaved function still answers" good call good

# ---- concurrency ----
iot lambda put-function-concurrency --function-name good --reserved-concurrent-executions 0 >"$work/out"
check "reserved concurrency 0 stops a function" sh -c '! AWS_MAX_ATTEMPTS=1 aws --endpoint-url "$0" lambda invoke \
    --function-name good "$1/answer" 2>"$1/err" && grep -q TooManyRequestsException "$1/err"' "$api" "$work"
iot lambda delete-function-concurrency --function-name good
check_output "and without it it runs" good call good

# ---- a large package does not stop the cloud ----
mkdir "$work/large"
head -c 45000000 /dev/urandom >"$work/large/data"
echo 'def handler(e, c): return "large"' >"$work/large/large.py"
(cd "$work/large" && zip -q0 ../large.zip data large.py)
start upload iot lambda create-function --function-name large --runtime python3.11 --handler large.handler --role $role \
    --timeout 60 --zip-file "fileb://$work/large.zip"
check_output "while a large package is stored, functions answer" good call good
wait_for 60 not_running "$(cat "$work/upload.pid")"
check_output "the large one answers, too" large call large

# ---- bubblewrap ----
stop cloud
if bwrap --ro-bind / / --unshare-pid true 2>/dev/null; then
    CLOUD_OPTIONS="--sandbox bwrap"
    start_cloud "$state"
    check_output "in bubblewrap the function answers" good call good
    check_output "the bomb is contained there, too" 'Task timed out' call bomb
    check "with all its processes" wait_for 30 none_of bomb
    stop cloud
else
    echo "skip - functions in bubblewrap: it is not installed, or may not make namespaces here"
fi
CLOUD_OPTIONS=

# ---- as another user ----
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
if [ "$(id -u)" != 0 ]; then
    : # that was the run above
elif case $BUILD in *asan* | *clang*) true ;; *) false ;; esac; then
    : # once is enough: what is contained, and how, is the same in every build
elif ! $nobody test -x "$bin/birthmark" 2>/dev/null; then
    echo "skip - a plain user's functions are contained: another user can not run $bin/birthmark"
else
    chmod 711 "$work"
    chmod 711 "$top"
    state=$top/other
    mkdir "$state"
    chown 65534:65534 "$state"
    CLOUD_AS=$nobody
    start_cloud "$state"
    echo "# the same by a plain user"
    contains
    check_output "a plain user's function answers after all that" good call good
    stop cloud
fi
check "nothing of functions is left" sh -c '! grep -lsz "AWS_ENDPOINT_URL=$0" /proc/[0-9]*/environ' "$api"
done_testing

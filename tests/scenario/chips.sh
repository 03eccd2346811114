#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Many chips of one a71chd: made when first used, independent, durable once they have answered, closed when others are used.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

chips="$root/tests/scenario/chips.py"
jrcp="$root/tests/scenario/jrcp.py"
select=00a4040005613731636800
get_key=8011000000
sockets=$work/s

serve()
{
    name=$1
    shift
    start "$name" "$bin/a71chd" --sim "$work/chips" "$@"
    wait_line "$name" '^ready$' >/dev/null || done_testing
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

folders()
{
    find "$work/chips" -mindepth 1 -type d | wc -l
}

refusal()
{
    "$bin/a71chd" "$@" 2>&1 || :
}

check_fails 2 "--chips 0 is misuse" "$bin/a71chd" --sim "$work/chips" --chips 0 --listen "unix-dir:$sockets"
check_fails 2 "so is what is no number" "$bin/a71chd" --sim "$work/chips" --chips 10x --listen "unix-dir:$sockets"
check_fails 2 "so is --chips without --sim" "$bin/a71chd" --chips 10 --listen "unix-dir:$sockets"
check_output "many chips and one socket do not go together" '300 chips need unix-dir:PATH, or tcp:HOST:PORT with so many ports' \
    refusal --sim "$work/chips" --chips 300 --listen "unix:$work/one"
check_output "nor any port" 'need unix-dir:PATH' refusal --sim "$work/chips" --chips 2 --listen tcp:127.0.0.1:0
check_output "too few descriptors are said beforehand" '5000 chips need [0-9]+ open files, this process may have 1500; raise' \
    sh -c "ulimit -n 1500; '$bin/a71chd' --sim '$work/few' --chips 5000 --listen 'unix-dir:$sockets' 2>&1 || :"

serve first --chips 300 --listen "unix-dir:$sockets"
check_output "one line names the folder of sockets" "^listening unix-dir:$sockets\$" cat "$work/first.log"
check "there are as many sockets" is "$(find "$sockets" -type s | wc -l)" 300
check "which are private" is "$(stat -c %a "$sockets") $(stat -c %a "$sockets/0299")" "700 600"
check "no chip is made yet" is "$(folders)" 0
check_output "one has a client" '^\{"chips":300,"open":1,"clients":1\}$' "$bin/a71chd" --ctl "unix:$sockets/0042" chips
check "so it is made" is "$(ls "$work/chips")" "0042
lock"
check_output "a key is made in 20 chips" '^20 answers, 1 different, 20 ok$' "$chips" "$sockets" 0 20 8012000000
check_output "20 different ones" '^20 answers, 20 different, 20 ok$' "$chips" "$sockets" 0 20 $get_key
check_output "the others have none" '^280 answers, 1 different, 0 ok$' "$chips" "$sockets" 20 280 $get_key
check_output "300 chips with 300 unique ids, all connected at once" '^300 answers, 300 different, 300 ok$' \
    "$chips" --keep "$sockets" 0 300 8091000100
wait_for 10 sh -c "'$bin/a71chd' --ctl 'unix:$sockets/0299' chips | grep -q '\"clients\":1}'"
check_output "without clients no more than 256 stay open" '"open":25[67],"clients":1' "$bin/a71chd" --ctl "unix:$sockets/0299" chips
key=$(last_line "unix:$sockets/0003" $select $get_key)
check_output "one that was closed is opened again" '^04[0-9a-f]{128}9000$' echo "$key"
check_output "each has counts of its own" '"generated":1,' "$bin/a71chd" --stats "unix:$sockets/0003"
check_output "as the other" '"generated":0,' "$bin/a71chd" --stats "unix:$sockets/0033"
check_output "a snapshot is one chip's" '"snapshots":\[\]' \
    sh -c "'$bin/a71chd' --ctl 'unix:$sockets/0003' snapshot a >/dev/null; '$bin/a71chd' --ctl 'unix:$sockets/0004' list"
check_fails 1 "a second a71chd cannot have the same chips" \
    "$bin/a71chd" --sim "$work/chips" --chips 300 --listen "unix-dir:$work/other"
check_output "and is told so" 'another process serves the chips in' \
    refusal --sim "$work/chips" --chips 300 --listen "unix-dir:$work/other"
check_output "nor is the folder taken for a chip" 'holds [0-9a-z]+ but no chip' refusal --sim "$work/chips" --listen "unix:$work/one"
check_output "nor a chip for a folder of chips" '0003 is a chip itself' \
    refusal --sim "$work/chips/0003" --chips 2 --listen "unix-dir:$work/other"

check_output "a new chip answers" '^10 answers, 10 different, 10 ok$' "$chips" --keep "$sockets" 100 10 8012000000 $get_key
key109=$(last_line "unix:$sockets/0109" $select $get_key)
stop first KILL
serve second --chips 300 --listen "unix-dir:$sockets"
check "after kill -9 it has the key it answered with" is "$(last_line "unix:$sockets/0109" $select $get_key)" "$key109"
check "the older one, too" is "$(last_line "unix:$sockets/0003" $select $get_key)" "$key"
stop second
check "a clean end removes the sockets" is "$(find "$sockets" -type s | wc -l)" 0

base=$(python3 - <<'PY'
import random, socket
while True:
    base = random.randrange(20000, 60000)
    try:
        held = [socket.create_server(("127.0.0.1", base + i)) for i in range(3)]
        break
    except OSError:
        pass
print(base)
PY
)
serve third --chips 3 --listen "tcp:127.0.0.1:$base"
key1=$(last_line "127.0.0.1:$((base + 1))" $select $get_key)
check "ports in a row lead to different chips" isnt "$(last_line "127.0.0.1:$base" $select $get_key)" "$key1"
stop third
serve fourth --chips 3 --listen "unix-dir:$sockets" --listen "unix-dir:$sockets.more"
check "the same chips as at sockets" is "$(last_line "unix:$sockets.more/0001" $select $get_key)" "$key1"
stop fourth

# several processes for the chips of one a71chd
check_fails 2 "--workers without --chips is misuse" "$bin/a71chd" --sim "$work/chips" --workers 2 --listen "unix-dir:$sockets"
workers_of()
{
    pgrep -P "$(cat "$work/$1.pid")"
}
serve fifth --chips 300 --workers 3 --listen "unix-dir:$sockets"
check "ready comes once, when all workers are" is "$(grep -cE '^(ready|listening unix-dir:.*)$' "$work/fifth.log")" 2
check "there are three" is "$(workers_of fifth | wc -l)" 3
check "and all sockets" is "$(find "$sockets" -type s | wc -l)" 300
check "the same chips as with one" is "$(last_line "unix:$sockets/0109" $select $get_key)" "$key109"
check_output "each answers" '^300 answers, 300 different, 300 ok$' "$chips" "$sockets" 0 300 8091000100
check_fails 1 "another a71chd cannot have them" "$bin/a71chd" --sim "$work/chips" --chips 300 --listen "unix-dir:$work/other"
stop fifth
check "SIGTERM ends all, cleanly" is "$(find "$sockets" -type s | wc -l)" 0
serve sixth --chips 300 --workers 3 --listen "unix-dir:$sockets"
kill -9 "$(workers_of sixth | tail -n 1)"
end_of sixth
check_output "a worker that dies ends the others, and is told" 'worker [0-9]+ was ended by signal 9; ending the others' cat "$work/sixth.log"
serve seventh --chips 300 --workers 3 --listen "unix-dir:$sockets"
workers=$(workers_of seventh)
stop seventh KILL
check "workers do not outlive the process that started them" \
    wait_for 10 sh -c "! kill -0 $(echo $workers | tr '\n' ' ') 2>/dev/null"
serve eighth --chips 300 --workers 2 --listen "unix-dir:$sockets"
check "and another number of workers serves the same chips" is "$(last_line "unix:$sockets/0109" $select $get_key)" "$key109"
stop eighth
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# a71chd as a user runs it: start and end, restart, kill -9, several clients, broken ones, secrets.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

jrcp="$root/tests/scenario/jrcp.py"
select=00a4040005613731636800
info=8091000300
private=c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721
public=0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299
hash=af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf

# run a71chd as $1 on the chip in $work/chip with more options; sets $tcp and $unix
serve()
{
    name=$1
    shift
    unix=unix:$work/$name.sock
    start "$name" "$bin/a71chd" --sim "$work/chip" --listen tcp:127.0.0.1:0 --listen "$unix" "$@"
    wait_line "$name" '^ready$' >/dev/null || done_testing
    tcp=$(wait_line "$name" '^listening tcp:' | sed 's/^listening //')
}

last_line()
{
    "$@" >"$work/last" || return
    tail -n 1 "$work/last"
}

gone()
{
    ! [ -e "$1" ]
}

is()
{
    [ "$1" = "$2" ] || { echo "got $1, wanted $2"; return 1; }
}

check_output "--help says how to start" '^usage: a71chd --sim DIR' "$bin/a71chd" --help
check_output "--version names itself" '^a71chd [0-9]' "$bin/a71chd" --version
check_fails 2 "no options is misuse" "$bin/a71chd"
check_fails 2 "--sim alone is misuse" "$bin/a71chd" --sim "$work/none"
check_fails 2 "a real and a simulated chip are two" "$bin/a71chd" --sim "$work/none" --i2c /dev/i2c-1 --listen tcp:127.0.0.1:0
check_fails 2 "a real chip has no faults on purpose" "$bin/a71chd" --i2c /dev/i2c-1 --fault hang --listen tcp:127.0.0.1:0
check_fails 1 "a bus that is not there is no chip" "$bin/a71chd" --i2c "$work/no-bus" --listen tcp:127.0.0.1:0
check_output "which is said" 'i2c:.*/no-bus: cannot open the bus: No such file or directory; load the module i2c-dev' \
    sh -c "'$bin/a71chd' --i2c '$work/no-bus' --listen tcp:127.0.0.1:0 2>&1 || :"
check_fails 2 "an unknown option is misuse" "$bin/a71chd" --nonsense
for bad in x 4:0:1 3 3: 3:0 3:0: '3:0:1,' 3:0:1,max= 3:0:256 3:4096:1 3:0:1,max=256 3:0:1,max=1,2:1 max=1 3:0:1:2 \
    3:0:1,2:1,4:1,6:1,8:1; do
    check_fails 2 "--restricted $bad is misuse" "$bin/a71chd" --sim "$work/none" --listen tcp:127.0.0.1:0 --restricted "$bad"
done
for bad in bad-index bad-index=9000 nonsense=1 pair-check=2; do
    check_fails 2 "--quirk $bad is misuse" "$bin/a71chd" --sim "$work/none" --listen tcp:127.0.0.1:0 --quirk "$bad"
done
check_output "--quirks lists name, default and reason" '^bad-index +6a86 +index out of range' "$bin/a71chd" --quirks
check "misuse makes no chip" gone "$work/none"
check_fails 2 "an unknown log level is misuse" "$bin/a71chd" --log loud
check_fails 2 "--stats wants an address" "$bin/a71chd" --stats nowhere
check_fails 1 "a bad address to listen on is refused" "$bin/a71chd" --sim "$work/addr" --listen 127.0.0.1

serve first
check_output "the card answers its reset over TCP" \
    '^b80411010504b9020101ba0101bb0c413731307843483234325231bc00$' "$jrcp" "$tcp" atr
check_output "module info over a Unix socket" '^0131f32210009000$' "$jrcp" "$unix" "$select" "$info"
check "the Unix socket is private" is "$(stat -c %a "$work/first.sock")" 600
check "the chip's folder is private" is "$(stat -c %a "$work/chip")" 700
check_output "unknown message types are answered empty" '^$' "$jrcp" "$tcp" mty50:0011
check_output "a message may arrive byte by byte" '^01319000$' "$jrcp" "$tcp" split:$select
check_output "100 commands at once get 100 answers" '^100$' "$jrcp" "$tcp" "$select" burst:100
check "generate a key" is "$(last_line "$jrcp" "$tcp" $select 8012000000)" 9000
key=$(last_line "$jrcp" "$tcp" $select 8011000000)
check_output "sign" '^30[0-9a-f]+9000$' "$jrcp" "$tcp" $select 8015000020${hash}00
check "what is no APDU answers 6700" is "$(last_line "$jrcp" "$tcp" $select 80)" 6700

check_output "one client's reset leaves the other's selection alone" '^0131f32210009000$' \
    sh -c "'$jrcp' '$tcp' two $select 2:$select 2:atr $info | tail -n 1"
check_output "a reset client has to select again" '^6985$' \
    sh -c "'$jrcp' '$tcp' two $select 2:$select 2:atr 2:$info | tail -n 1"

check "garbage closes the connection that sent it" "$jrcp" "$tcp" raw:474554202f20485454502f312e310d0a closed:5
wait_line first 'closing client=[0-9]+: .*316' >/dev/null && ok "and the log names the cause"
check_output "the others are served as before" '^0131f32210009000$' \
    sh -c "'$jrcp' '$tcp' two $select 2:raw:ffffffffff 2:closed:5 $info | tail -n 1"
check "a message that never ends disturbs nobody" "$jrcp" "$tcp" two 2:raw:0100 $select $info

check_output "300 clients at once are all served, the last when others have left" '^300$' "$jrcp" "$tcp" crowd:300

check_output "--stats prints JSON" '^\{"commands":[0-9]+,"signatures":1,"ecdh":0,"generated":1,"nvm_writes":[0-9]+\}$' \
    "$bin/a71chd" --stats "$tcp"
check_output "--ctl stats is the same" '^\{"commands":[0-9]+,"signatures":1,' "$bin/a71chd" --ctl "$unix" stats
check_output "--ctl help is JSON that lists the commands" '"stats": ' sh -c "'$bin/a71chd' --ctl '$unix' help | python3 -m json.tool"
check_fails 1 "an unknown control command is refused" "$bin/a71chd" --ctl "$unix" nonsense
check_output "with a hint" 'there is no control command nonsense; the command help' sh -c "'$bin/a71chd' --ctl '$unix' nonsense 2>&1 || :"
check_fails 1 "so are superfluous words" "$bin/a71chd" --ctl "$unix" stats now
check_fails 2 "words that no message holds are misuse" "$bin/a71chd" --ctl "$unix" "$(printf '%400s' x)"
check_fails 1 "a second a71chd cannot have the same chip" \
    "$bin/a71chd" --sim "$work/chip" --listen tcp:127.0.0.1:0
check_output "and is told which process has it" "process $(cat "$work/first.pid");" \
    sh -c "'$bin/a71chd' --sim '$work/chip' --listen tcp:127.0.0.1:0 2>&1 || :"
check_fails 1 "nor the same socket" "$bin/a71chd" --sim "$work/other" --listen "$unix"

stop first
check "a clean end removes the Unix socket" gone "$work/first.sock"
check_fails 1 "--stats fails when nobody is there" "$bin/a71chd" --stats "$tcp"

serve second
check "the key survives a restart" is "$(last_line "$jrcp" "$tcp" $select 8011000000)" "$key"
check_output "so does the count of signatures" '"signatures":1,' "$bin/a71chd" --stats "$unix"

# kill -9 while a client writes 1, 2, 3 ...: what it was told is there, and at most one more
"$jrcp" "$tcp" count:1000000 >"$work/confirmed" &
writer=$!
wait_for 10 grep -q '^50$' "$work/confirmed"
stop second KILL
wait "$writer"
told=$(tail -n 1 "$work/confirmed")
serve second # on the socket file that the killed one left
got=$(last_line "$jrcp" "$unix" $select 8071000002000400 | cut -c 1-8)
got=$(printf '%d' "0x$got")
between()
{
    echo "got $1, told $told"
    [ "$1" -ge "$told" ] && [ "$1" -le $((told + 1)) ]
}
check "after kill -9 the chip holds what it confirmed" between "$got"
check "and the key" is "$(last_line "$jrcp" "$tcp" $select 8011000000)" "$key"
stop second

serve traced --trace "$work/trace" --log trace
check "a private key is injected" is "$(last_line "$jrcp" "$tcp" $select 8012010061${private}${public}00)" 9000
check_output "and agrees on a secret" '9000$' "$jrcp" "$tcp" $select 8017010041${public}00
secret=$(last_line "$jrcp" "$tcp" $select 8017010041${public}00 | cut -c 1-64)
check_output "the trace names commands and answers" \
    "\"name\":\"module-info\",\"command\":\"$info\",\"sw\":\"9000\",\"meaning\":\"ok\",\"answer\":\"0131f3221000\"" \
    sh -c "'$jrcp' '$tcp' $select $info; cat '$work/trace'"
check "the log has the same lines" grep -q '"name":"module-info"' "$work/traced.log"
check_fails 1 "but not the private key" grep -i "$private" "$work/trace" "$work/traced.log"
check_fails 1 "nor the shared secret" grep -i "$secret" "$work/trace" "$work/traced.log"
check "a symmetric key is injected" is "$(last_line "$jrcp" "$tcp" $select 8042000110${hash%????????????????????????????????}00)" 9000
check "a config key, too" is "$(last_line "$jrcp" "$tcp" $select 8032000110${hash#????????????????????????????????}00)" 9000
derived=$(last_line "$jrcp" "$tcp" $select 80451020010000 | cut -c 1-64)
check "a key is derived" is "${#derived}" 64
check_output "the trace has these commands" '"name":"sym-set","slot":0,"command_secret":17,' cat "$work/trace"
check "each line is JSON" python3 -c 'import json, sys; [json.loads(l) for l in open(sys.argv[1]) if l[0] == "{"]' "$work/trace"
check "the trace is private" is "$(stat -c %a "$work/trace")" 600
check_fails 1 "but neither of their keys" grep -iE "${hash%????????????????????????????????}|${hash#????????????????????????????????}" "$work/trace" "$work/traced.log"
check_fails 1 "nor the derived one" grep -i "$derived" "$work/trace" "$work/traced.log"
stop traced

serve strict --deadline 1
check "a half message is closed at its deadline" "$jrcp" "$tcp" raw:0100 closed:5
wait_line strict 'closing client=[0-9]+: its message did not end in time' >/dev/null && ok "and the log says so"
check_output "a client between messages is not" '^0131f32210009000$' \
    sh -c "'$jrcp' '$tcp' two $select 2:raw:0100 2:closed:5 $info | tail -n 1"
check_output "a client that takes no answers keeps nobody waiting" '^0131f32210009000$' \
    sh -c "'$jrcp' '$tcp' two $select 2:$select 2:flood $info 2:dropped:10 | tail -n 1"
wait_line strict 'closing client=[0-9]+: it has not taken its reply in time' >/dev/null && ok "and is closed at its deadline"
stop strict INT
check_output "SIGINT ends it cleanly, too" 'ending on a signal' cat "$work/strict.log"

serve quirky --quirk bad-index=6985 --quirk free-eeprom=4660
check "a quirk changes the chip's answer" is "$(last_line "$jrcp" "$tcp" $select 8011070000)" 6985
check "and its figures" is "$(last_line "$jrcp" "$tcp" $select 8091000200)" 12349000
stop quirky

for pass in 1 2; do # the same option again changes nothing
    serve "restricted$pass" --restricted 3:64:2,70:1,max=9
    check_output "info tells the restricted pair, start $pass" '^0131332210009000$' "$jrcp" "$tcp" $select $info
    check "it signs what it is given into its blocks, start $pass" \
        is "$(last_line "$jrcp" "$tcp" $select 8015030003aabbcc00)" "0${pass}9000"
    check "and counts, start $pass" is "$(last_line "$jrcp" "$tcp" $select 8011030100)" "0${pass}099000"
    stop "restricted$pass"
done
check_fails 1 "other blocks for the same chip are refused" \
    "$bin/a71chd" --sim "$work/chip" --listen tcp:127.0.0.1:0 --restricted 3:64:3
check_output "with cause and cure" 'has a restricted key pair 3 with other blocks or uses; leave the option' \
    sh -c "'$bin/a71chd' --sim '$work/chip' --listen tcp:127.0.0.1:0 --restricted 3:64:3 2>&1 || :"

cp -r "$work/chip" "$work/copy"
printf x | dd of="$work/copy/nvm" bs=1 seek=300 conv=notrunc 2>/dev/null
check_fails 1 "a damaged chip is refused" "$bin/a71chd" --sim "$work/copy" --listen tcp:127.0.0.1:0
check_output "with file, cause and cure" 'copy/nvm is damaged or foreign: .*checksum.*put back' \
    sh -c "'$bin/a71chd' --sim '$work/copy' --listen tcp:127.0.0.1:0 2>&1 || :"
done_testing

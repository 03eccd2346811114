#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a rule republishes with QoS 1 of a message that was acknowledged arrives: once when nothing is killed, at least once when control, the broker or
# all are killed with -9 at any moment. The subscriber has a session that is kept and comes in the end. REPUBLISH_SEED=N: other moments.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
seed=${REPUBLISH_SEED:-5}

CLOUD_OPTIONS="--limit connect-rate=0 --limit publish-rate=0"
start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
for d in keeper sender; do
    active_device $d open
done
iot iot create-topic-rule --rule-name again --topic-rule-payload "{\"sql\":\"SELECT * FROM 'in/+'\",\"awsIotSqlVersion\":\"2016-03-23\",\"actions\":[
    {\"republish\":{\"roleArn\":\"arn:aws:iam::000000000000:role/r\",\"topic\":\"out/\${topic(2)}\",\"qos\":1}}]}" || not_ok "a rule is created"
keeper() { as keeper mosquitto_sub -c -q 1 -t 'out/+' "$@"; }
check "a session is made" keeper -W 60 -E

# roll N: sets rolled to one of 0 .. N-1
roll()
{
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    rolled=$((seed / 65536 % $1))
}
acknowledged() { grep -c 'received PUBACK' "$work/$1.log"; }
some_acknowledged() { [ "$(acknowledged "$1")" -ge "$2" ]; }
# publish NAME TOPIC: the lines of $work/NAME.in, each a message, by one client, to which the Nth is Mid N
publish()
{
    # shellcheck disable=SC2016
    start "$1" sh -c 'exec "$@" <"$0"' "$work/$1.in" stdbuf -oL mosquitto_pub --cafile "$ca" --cert "$work/sender.pem" --key "$work/sender.key" \
        -h 127.0.0.1 -p "$port" -i sender -q 1 -d -l -t "$2"
}
# which lines of $work/NAME.all were acknowledged
numbers() { sed -n 's/.*received PUBACK (Mid: \([0-9]*\),.*/\1/p' "$work/$1.log" | while read -r mid; do sed -n "${mid}p" "$work/$1.all"; done; }
# end the cloud as it is, after the kill of VICTIM ..., each the name of a process or `all`; and start another
replace_cloud()
{
    master=$(cat "$work/cloud.pid")
    left="$master $(pgrep -P "$master" | tr '\n' ' ')"
    for v in "$@"; do
        [ "$v" = all ] && v=$left || v=$(pgrep -P "$master" -x "$v")
        # shellcheck disable=SC2086
        kill -9 $v 2>/dev/null
    done
    for p in $left; do
        wait_for 20 not_running "$p"
    done
    wait "$master" 2>/dev/null
    start_cloud
}

seq 1 200 >"$work/calm.in"
publish calm in/a
check "200 messages are acknowledged" wait_for 30 some_acknowledged calm 200
echo end >"$work/end.in"
publish end in/a
wait_for 30 some_acknowledged end 1
start got stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/keeper.pem" --key "$work/keeper.key" -h 127.0.0.1 -p "$port" -i keeper -c -q 1 -t 'out/+'
wait_for 30 grep -qx end "$work/got.log"
stop got
cat "$work/calm.in" "$work/end.in" >"$work/wanted"
check "without a kill each is republished once, in order" cmp "$work/wanted" "$work/got.log"

# The broker stands still, so what the rule republishes has not left the cloud when it is killed; Basic Ingest is acknowledged without the broker.
mkfifo "$work/still.in"
publish still "\$aws/rules/again/in/b"
exec 3>"$work/still.in"
echo one >&3
wait_for 30 some_acknowledged still 1
broker=$(pgrep -P "$(cat "$work/cloud.pid")" -x mosquitto)
kill -STOP "$broker"
echo two >&3
check "a message is acknowledged although the broker stands still" wait_for 30 some_acknowledged still 2
replace_cloud control mosquitto
exec 3>&-
stop still KILL

# ten lines at a time, so that the kill falls between some
feed()
{
    while [ $# -gt 0 ]; do
        printf '%s\n' "$@" | head -n 10
        shift $(($# < 10 ? $# : 10))
        sleep 0.01
    done
}
n=0
for victims in control all "mosquitto control"; do
    n=$((n + 1))
    seq $((1000 * n)) $((1000 * n + 299)) >"$work/kill$n.all"
    mkfifo "$work/kill$n.in"
    publish kill$n in/a
    # shellcheck disable=SC2046
    feed $(cat "$work/kill$n.all") >"$work/kill$n.in" 2>/dev/null &
    roll 150
    wait_for 30 some_acknowledged kill$n $((rolled + 1))
    # shellcheck disable=SC2086
    replace_cloud $victims
    stop kill$n KILL
    numbers kill$n >>"$work/acknowledged"
    check "killed ($victims) after $(acknowledged kill$n) of 300 were acknowledged: the cloud starts again" [ "$(acknowledged kill$n)" -gt 0 ]
done
start late stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/keeper.pem" --key "$work/keeper.key" -h 127.0.0.1 -p "$port" -i keeper -c -q 1 -t 'out/+'
check "what was not sent is sent by the next cloud" wait_for 30 grep -qx two "$work/late.log"
sort -u "$work/acknowledged" >"$work/wanted"
all_there() { sort -u "$work/late.log" | comm -23 "$work/wanted" - >"$work/missing" && ! [ -s "$work/missing" ] || { cat "$work/missing" && false; }; }
check "all $(wc -l <"$work/wanted") that were acknowledged are republished, whatever was killed" wait_for 30 all_there
stop late
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Times, wear and faults on purpose, as a test engineer sets them: profile, rules, control commands; what clients then see.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

jrcp="$root/tests/scenario/jrcp.py"
shim=$lib/a71ch-i2c-shim.so
select=00a4040005613731636800
info=8091000300

serve()
{
    name=$1
    shift
    unix=unix:$work/$name.sock
    start "$name" "$bin/a71chd" --sim "$work/chip" --listen tcp:127.0.0.1:0 --listen "$unix" --listen "i2c-unix:$work/$name.bus" "$@"
    wait_line "$name" '^ready$' >/dev/null || done_testing
    tcp=$(wait_line "$name" '^listening tcp:' | sed 's/^listening tcp://')
    bus=$work/$name.bus
}

tool()
{
    "$bin/a71chConfig" "$tcp" "$@"
}

on_bus()
{
    env LD_PRELOAD="${PRELOAD:+$PRELOAD }$shim" ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
        A71CH_I2C_BUS="7:$bus" "$@"
}

check_output "--faults lists the kinds" '^power-during +' "$bin/a71chd" --faults
check_fails 2 "a rule that is none is misuse" "$bin/a71chd" --sim "$work/none" --listen tcp:127.0.0.1:0 --fault explode
check_output "and the rule's form is told" 'write KIND\[:KEY=VALUE' sh -c "'$bin/a71chd' --sim '$work/none' --listen tcp:127.0.0.1:0 --fault explode 2>&1 || :"
printf 'reset 5\nfly 3\n' >bad-profile
check_fails 1 "a bad profile is refused" "$bin/a71chd" --sim "$work/none" --listen tcp:127.0.0.1:0 --profile bad-profile
check_output "with file and line" 'bad-profile, line 2: ' sh -c "'$bin/a71chd' --sim '$work/none' --listen tcp:127.0.0.1:0 --profile bad-profile 2>&1 || :"

serve faulty --fault status:ins=12,nth=1,value=6f00 --fault power-after:ins=12,nth=3 --trace "$work/trace"
check_fails 1 "a status word on purpose reaches the tool" tool gen pair -x 0
cp out said
check "and is shown" grep -q 'sw=0x6F00' said
check "the next command works" tool gen pair -x 0
check_fails any "power is lost after the third" tool gen pair -x 1
cp out said
check "the tool says that the chip did not answer" grep -qi 'lost power in the middle of the command' said
check "the key it made is there" tool get pub -c 10 -x 1 -k pub.pem
check "the trace tells what was done" grep -q '"fault":"power-after:ins=12,nth=3","error":"the chip lost power' trace
check_output "the rules tell how often" '"rule":"status:ins=12,nth=1,value=6f00","seen":3,"fired":1' \
    "$bin/a71chd" --ctl "$unix" fault list
check_output "they can be cleared" '^\{"faults":\[\]\}$' "$bin/a71chd" --ctl "$unix" fault clear
check_output "and added" '"rule":"hang:ins=95,count=1"' "$bin/a71chd" --ctl "$unix" fault add hang:ins=95,count=1
check_fails any "a bad one is refused" "$bin/a71chd" --ctl "$unix" fault add hang:when=now
check_fails any "nobody may over TCP" "$bin/a71chd" --ctl "tcp:$tcp" fault clear
check_output "while one client waits in vain the others are served" '^0131f32210009000$' \
    "$jrcp" "tcp:$tcp" two $select 2:raw:010000058095000010 $info
check_output "the one did meet the fault" '"seen":1,"fired":1' "$bin/a71chd" --ctl "$unix" fault list
"$bin/a71chd" --ctl "$unix" fault clear >/dev/null
"$bin/a71chd" --ctl "$unix" fault add drop:count=1 >/dev/null
check "a connection may be cut" "$jrcp" "tcp:$tcp" raw:01000005$info closed:5
"$bin/a71chd" --ctl "$unix" fault clear >/dev/null

# on the bus
"$bin/a71chd" --ctl "$unix" fault add frame-nack >/dev/null
check_fails any "nobody at the address" on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
"$bin/a71chd" --ctl "$unix" fault clear >/dev/null
check_output "until the rule goes" '^0x01 0x07$' on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
"$bin/a71chd" --ctl "$unix" fault add frame-busy:count=1 >/dev/null
check_output "a busy chip says so" '^0x01 0x17$' on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
check_output "until a soft reset" '^0x01 0x1f$' on_bus i2ctransfer -y 7 w1@0x48 0x1f r2
check_output "which frees it" '^0x01 0x07$' on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
"$bin/a71chd" --ctl "$unix" fault add frame-hang:count=1 >/dev/null
check_fails any "a hanging chip acknowledges nothing" on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
check_fails any "not the next time either" on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
check_output "but a soft reset" '^0x01 0x1f$' on_bus i2ctransfer -y 7 w1@0x48 0x1f r2
"$bin/a71chd" --ctl "$unix" fault add frame-exception:count=1,value=9 >/dev/null
check_output "an exception is told" '^0x01 0x97$' on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
"$bin/a71chd" --ctl "$unix" fault add frame-cut:count=1,value=1 >/dev/null
check_output "a frame may end early" '^0x01 0xff$' on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
"$bin/a71chd" --ctl "$unix" fault add frame-flip:count=1,value=8 >/dev/null
check_output "a bit may be wrong" '^0x01 0x06$' on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
stop faulty

# times and wear
printf 'clock virtual\ni2c-clock-khz 100\ncommand * 1000\ncommand pair-sign 2000\n' >slow
serve slow --profile slow
"$jrcp" "tcp:$tcp" $select $info $info >/dev/null
check_output "a virtual clock counts the time of commands" '"worked_us":3000000}$' "$bin/a71chd" --stats "$unix"
on_bus i2ctransfer -y 7 w1@0x48 0x07 r2 >/dev/null
check_output "and of the bus: 5 bytes of 9 bits at 100 kHz" '"worked_us":3000450}$' "$bin/a71chd" --stats "$unix"
stop slow
serve typical --profile "$root/share/birthmark/profiles/a71ch-typical"
check "a chip that takes its time serves the tool" tool gen pair -x 0
check "over the bus, too" on_bus "$bin/a71chConfig" i2c:/dev/i2c-7 info device
check_output "its stats tell how long it has worked" '"worked_us":[1-9][0-9]{4,}\}$' "$bin/a71chd" --stats "$unix"
stop typical
printf 'nvm-endurance 1\n' >worn
serve worn --profile worn
check_fails 1 "a worn memory takes no more" tool gen pair -x 2
cp out said
check "and says 6581" grep -q 'sw=0x6581' said
check "what it has is still there" tool get pub -c 10 -x 1 -k pub2.pem
check "unchanged" cmp pub.pem pub2.pem
stop worn
done_testing

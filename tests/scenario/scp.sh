#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SCP03 as the vendor's tool uses it: put keys, authenticate in a script, what goes in the clear and what does not; on each link.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
tab=$(printf '\t')
shim=$lib/a71ch-i2c-shim.so
private=c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721
public=0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299
enc=0F1E2D3C4B5A69788796A5B4C3D2E1F0
mac=00112233445566778899AABBCCDDEEFF
dek=A0A1A2A3A4A5A6A7A8A9AAABACADAEAF

# tool COMMAND...: stdout without the start-up lines to `got`
tool()
{
    env ${preload:-} "$bin/a71chConfig" "$chip" "$@" >all 2>err
    code=$?
    sed '1,/^Applet-Rev:SecureBox-Rev /d' all >got
    return $code
}

# fails CLAIM CODE "failure text" COMMAND...
fails()
{
    claim=$1 wanted=$2 text=$3
    shift 3
    tool "$@"
    if [ $code = "$wanted" ] && [ "$(tail -n 1 got)" = "Command Failed ($text)" ]; then ok "$claim"; else not_ok "$claim" all; fi
}

# does CLAIM COMMAND...: exit 0 and nothing printed
does()
{
    claim=$1
    shift
    if tool "$@" && ! [ -s got ]; then ok "$claim"; else not_ok "$claim" all; fi
}

# script CLAIM CODE <lines: its output in `got`
script()
{
    cat >"lines.$$"
    tool script -f "lines.$$"
    if [ $code = "$2" ]; then ok "$1"; else not_ok "$1" all; fi
}

says()
{
    if grep -qF -- "$2" err; then ok "$1"; else not_ok "$1" err; fi
}

shows()
{
    if grep -qxF -- "$2" got; then ok "$1"; else not_ok "$1" got; fi
}

printf '# keys of the test\nENC %s\nMAC %s # trailing\nDEK %s\n' $enc $mac $dek >keys.txt
printf 'ENC %s\nMAC %s\nDEK %s\n' $enc $dek $mac >other.txt

openssl req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -subj /CN=long -days 9 -outform DER -out cert.der 2>/dev/null

serve()
{
    start "$1" "$bin/a71chd" --sim "$work/chip" --trace "$work/$1.trace" --listen tcp:127.0.0.1:0 --listen "unix:$work/sock" \
        --listen "i2c-unix:$work/bus"
    wait_line "$1" '^ready$' >/dev/null || done_testing
    tcp=$(wait_line "$1" '^listening tcp:' | sed 's/^listening tcp://')
    chip=$tcp
}
serve first

fails "auth before put" 1 "exec failed (1): sw=0x6A88" scp auth -h 01 -k keys.txt
says "names the cure" "it has no keys; put them first"

# key files and options
fails "key file missing" 23 "file open failed (23)" scp put -h 01 -k none.txt
shows "named on stdout" "failed to open none.txt"
printf 'ENC %s\n\nMAC %s\nDEK %s\n' $enc $mac $dek >blank.txt
fails "a blank line in the key file" 29 "file format error (29)" scp put -h 01 -k blank.txt
says "names the line" "blank.txt: line 2 of the key file is empty"
printf 'ENC\t%s\nMAC %s\nDEK %s\n' $enc $mac $dek >tab.txt
fails "a tab in the key file" 29 "file format error (29)" scp put -h 01 -k tab.txt
printf 'ENC %s\nMAC %s\n' $enc $mac >two.txt
fails "a key missing in the key file" 29 "file format error (29)" scp put -h 01 -k two.txt
check_fails 1 "no key is ever printed" grep -qiE "$enc|$mac|$dek" all
fails "no sub-command" 33 "arg count mistake (33)" scp
fails "an unknown sub-command" 21 "check usage (21)" scp get
fails "options in another order" 32 "arg option error (32)" scp put -k keys.txt -h 01
fails "key version of two bytes" 34 "arg value error (34)" scp put -h 0121 -k keys.txt
fails "no key file" 33 "arg count mistake (33)" scp put -h 01
tool info device
shows "none of it reached the chip" "A71CH in Debug Mode Version (SCP03 is not set up)"

does "put the keys" scp put -h 01 -k keys.txt
tool info device
shows "the chip has them" "A71CH in Debug Mode Version (SCP03 keys set)"
fails "a second put" 1 "exec failed (1): sw=0x6985" scp put -h 01 -k other.txt
does "the clear works until the first auth" gen pair -x 0
fails "auth with other keys" 1 "exec failed (1): sw=0x7043" scp auth -h 01 -k other.txt
says "names the cause" "it does not have these keys"
tool info device
shows "and makes nothing mandatory" "A71CH in Debug Mode Version (SCP03 keys set)"
does "clear_host without a channel" scp clear_host
does "auth" scp auth -h 01 -k keys.txt
tool info device
shows "makes SCP03 mandatory" "A71CH in Debug Mode Version (SCP03 is mandatory)"

fails "info wants a channel" 1 "exec failed (1): sw=0x7041" info pair
shows "and says so as the vendor's tool" "info command needs prior setup of SCP03 channel."
fails "so does all that works on keys" 1 "exec failed (1): sw=0x6982" gen pair -x 1

for link in tcp unix i2c; do
    preload=
    case $link in
        tcp) chip=$tcp ;;
        unix) chip=unix:$work/sock ;;
        i2c)
            chip=i2c:/dev/i2c-7
            preload="LD_PRELOAD=${PRELOAD:+$PRELOAD:}$shim A71CH_I2C_BUS=7:$work/bus ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
            ;;
    esac
    script "$link: a script in the channel" 0 <<EOF2
scp auth -h 01 -k keys.txt
set pair -x 1 -h $public -h $private
info pair
set gp -h 0800 -h 00112233445566778899
info gp -h 0800 -n 1
refpem -c 10 -x 1 -r $link.ref
info status
apdu -cmd 8091000300 -sw 9000
info cnt
wcrt -x 2 -c cert.der
rcrt -x 2 -c $link.der
ecrt -x 2
EOF2
    check "$link: commands and answers of full length" cmp cert.der $link.der
    shows "$link: public keys are read" "${tab}idx=0x01 ECC_PUB (LEN=65):"
    shows "$link: storage is written and read" "${tab}0x0800 (LEN=32): 0011223344556677889900000000000000000000000000000000000000000000"
    shows "$link: the state is shown" "SCP03 is Mandatory"
    shows "$link: a raw command goes beside the channel" "rsp (LEN=8):"
    script "$link: SELECT ends the channel in the chip, clear_host here" 0 <<EOF2
scp auth -h 01 -k keys.txt
info cnt
apdu -cmd 00A4040005613731636800 -sw 9000
scp clear_host
info device
EOF2
    script "$link: without clear_host nothing goes in the clear" 1 <<EOF2
scp auth -h 21 -k keys.txt
apdu -cmd 00A4040005613731636800 -sw 9000
gen pair -x 1
EOF2
    shows "$link: and the chip says why" "Command Failed (exec failed (1): sw=0x6982)"
done
preload=
chip=$tcp
check "the reference keys of all links are the same" sh -c 'cmp tcp.ref unix.ref && cmp tcp.ref i2c.ref'
script "a channel may be opened again" 0 <<EOF2
scp auth -h 01 -k keys.txt
scp auth -h 01 -k keys.txt
info cnt
EOF2
script "a wrong one ends the right one" 1 <<EOF2
scp auth -h 01 -k keys.txt
scp auth -h 01 -k other.txt
EOF2

stop first KILL
serve second
tool info device
shows "kill -9 leaves it mandatory" "A71CH in Debug Mode Version (SCP03 is mandatory)"
script "and the keys" 0 <<EOF2
scp auth -h 01 -k keys.txt
gen pair -x 2
info pair
EOF2
shows "and what was written in the channel" "${tab}idx=0x01 ECC_PUB (LEN=65):"
fails "debug reset needs no channel" 1 "exec failed (1): sw=0x6982" set gp -h 0000 -h 00
does "debug reset" debug reset
tool info device
shows "brings back the chip without keys" "A71CH in Debug Mode Version (SCP03 is not set up)"
stop second

# the trace hides what it knows for a secret; storage is none
check "commands went over the wire protected" grep -q '"protected":true,"command":"8472' first.trace
check_fails 1 "what was written to storage is not to be read there" grep -q 00112233445566778899 first.trace
check_fails 1 "nor are keys, in trace or log" grep -qiE "$private|$enc|$mac|$dek" first.trace second.trace first.log second.log
done_testing

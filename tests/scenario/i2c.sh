#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The chip on an I2C bus, as unmodified programs see it through the shim: i2c-tools, and a client in plain i2c-dev calls.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

shim=$lib/a71ch-i2c-shim.so
client=$BUILD/obj/tests/i2c_client
atr=b80411010504b9020101ba0101bb0c413731307843483234325231bc00
select=00a4040005613731636800
info=8091000300
private=c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721
public=0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299
hash=af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf
bytes255=$(printf 'a5%.0s' $(seq 255))

# a foreign program on the bus; a shim built with a sanitizer needs its library first
on_bus()
{
    env LD_PRELOAD="${PRELOAD:+$PRELOAD }$shim" ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
        A71CH_I2C_BUS="7:$work/bus" "$@"
}

bytes()
{
    /usr/bin/python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))' "$1"
}

is()
{
    [ "$1" = "$2" ] || { echo "got $1, wanted $2"; return 1; }
}

start chip "$bin/a71chd" --sim "$work/chip" --listen "i2c-unix:$work/bus" --listen tcp:127.0.0.1:0
wait_line chip '^ready$' >/dev/null || done_testing
check "the bus is announced" grep -qx "listening i2c-unix:$work/bus" chip.log
check "the bus is private" is "$(stat -c %a bus)" 600

# i2c-tools
on_bus i2cdetect -y 7 >grid 2>err
check "i2cdetect finds 0x48" grep -qE '^40: -- -- -- -- -- -- -- -- 48 -- -- -- -- -- -- --' grid
check "and nothing else" is "$(sed '1d; s/^..://' grid | tr -s ' ' '\n' | grep -c '^[0-9a-f][0-9a-f]$')" 1
check_output "i2cdetect by reading finds it, too" '^40: .* 48 ' on_bus i2cdetect -y -r 7
check_output "the adapter can do block reads" '^SMBus Block Read +yes' on_bus i2cdetect -F 7
check_output "and says what it can not do" '^SMBus PEC +no' on_bus i2cdetect -F 7
check_output "i2ctransfer: status is ready" '^0x01 0x07$' on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
check_output "i2ctransfer: the length may come from the chip" '^0x01 0x07$' on_bus i2ctransfer -y 7 w1@0x48 0x07 r?
check_output "i2ctransfer: ATR" '^0x1e 0x2f 0xb8 0x04 .* 0xbc 0x00$' on_bus i2ctransfer -y 7 w1@0x48 0x2f r31
check_fails any "nobody answers at 0x49" on_bus i2ctransfer -y 7 w1@0x49 0x07 r2
cp out said
check "and the cause is an address without answer" grep -q "No such device or address" said
check_fails any "the wake-up byte is not acknowledged" on_bus i2ctransfer -y 7 w1@0x48 0x0f
check_fails any "another bus number is not ours" on_bus i2cdetect -y 93
check "programs that use no bus are left alone" is "$(echo through | on_bus cat)" through

# a Linux host: connect, module info, inject a key, sign: SPEC 5.6, 5.7
connects() # CLAIM OPTION... APDU...: answers in the file `answers`, one a line after the ATR
{
    claim=$1
    shift
    if on_bus "$client" "$@" >"$work/answers" 2>&1; then ok "$claim"; else not_ok "$claim" "$work/answers"; fi
}
line()
{
    sed -n "$1p" "$work/answers"
}

connects "a host connects and asks" /dev/i2c-7 $select $info "8012010061${private}${public}00" "8015010020${hash}00"
check "ATR" is "$(line 1)" "$atr"
check "module info" is "$(line 3)" 0131f32210009000
check "a key pair is set" is "$(line 4)" 9000
check "every wake-up byte was refused, and did no harm" grep -q '^wake-ups refused: 4,' answers
check "a signature comes in three frames of 31 bytes" grep -q 'frames of the last response: 3$' answers
bytes "$(line 5 | sed 's/9000$//')" >signature
bytes $hash >digest
tcp=$(wait_line chip '^listening tcp:' | sed 's/^listening tcp://')
"$bin/a71chConfig" "$tcp" get pub -c 10 -x 1 -k pub.pem >/dev/null
check "which OpenSSL verifies with the key the socket shows" openssl pkeyutl -verify -pubin -inkey pub.pem -in digest -sigfile signature

connects "a second host comes after the first" --big /dev/i2c-7 $select "8015010020${hash}00"
check "with frames of 254 bytes a signature is one" grep -q 'frames of the last response: 1$' answers
connects "a long command goes in two frames" /dev/i2c-7 $select "80720000ff${bytes255}" 807100000200ff00
check "it is stored" is "$(line 3)" 9000
check "and read back in nine frames" is "$(line 4)" "${bytes255}9000"
check "nine" grep -q 'frames of the last response: 9$' answers

# programs that do not behave
check "a host dies between two frames" on_bus "$client" --cut /dev/i2c-7 $info
connects "the next one resets the link and is served" /dev/i2c-7 $select $info
check "with its own answer" is "$(line 3)" 0131f32210009000
connects "a soft reset ends the selection of the applet" /dev/i2c-7 $info
check "so it has to select again" is "$(line 2)" 6985
check_output "a wrong sequence number" '^0x01 0xa7$' sh -c \
    "LD_PRELOAD='${PRELOAD:+$PRELOAD }$shim' ASAN_OPTIONS=detect_leaks=0 A71CH_I2C_BUS='7:$work/bus' i2ctransfer -y 7 w3@0x48 0x70 0x01 0xaa w1@0x48 0x07 r2"
check_output "is told once" '^0x01 0x07$' on_bus i2ctransfer -y 7 w1@0x48 0x07 r2
connects "and forgotten with the next connect" /dev/i2c-7 $select
check "the other clients were not disturbed" "$bin/a71chConfig" "$tcp" info device

# liba71ch and the programs on it
check_output "a71chConfig reaches the chip over I2C" '^uid ' on_bus "$bin/a71chConfig" i2c:/dev/i2c-7 info device
on_bus "$bin/a71chConfig" i2c:/dev/i2c-7:0x48 get pub -c 10 -x 1 -k i2c.pem >said 2>&1
check "and reads the same key" cmp i2c.pem pub.pem
check "a long command in two frames" on_bus "$bin/a71chConfig" i2c:/dev/i2c-7 apdu -cmd "80720200fb$(printf '5a%.0s' $(seq 251))" -sw 9000
on_bus "$bin/a71chConfig" i2c:/dev/i2c-7 info gp -h 0200 -n 8 >i2c.txt 2>&1
"$bin/a71chConfig" "$tcp" info gp -h 0200 -n 8 >tcp.txt 2>&1
check "what it stored is the same for the socket" sh -c "grep -q '(LEN=32): 5A5A5A5A' i2c.txt && tail -n 8 i2c.txt >i2c.8 && tail -n 8 tcp.txt | cmp - i2c.8"
check "a reference key is made over I2C" on_bus "$bin/a71chConfig" i2c:/dev/i2c-7 refpem -c 10 -x 1 -r ref.pem
check "OpenSSL signs with it over I2C" env A71CH_ADDRESS=i2c:/dev/i2c-7 OPENSSL_CONF="$BUILD/openssl-a71ch.cnf" \
    A71CH_I2C_BUS="7:$work/bus" LD_PRELOAD="${PRELOAD:+$PRELOAD }$shim" ASAN_OPTIONS=detect_leaks=0 \
    openssl pkeyutl -sign -inkey ref.pem -in digest -out signature2
check "a signature that verifies" openssl pkeyutl -verify -pubin -inkey pub.pem -in digest -sigfile signature2
check "a host that died in the middle is no trouble" on_bus "$client" --cut /dev/i2c-7 $info
check_output "a71chConfig resets the link" '^uid ' on_bus "$bin/a71chConfig" i2c:/dev/i2c-7 info device
check_fails 12 "nobody at the address" on_bus "$bin/a71chConfig" i2c:/dev/i2c-7:0x49 info device
cp out said
check "is said with the call and its cause" grep -q "nobody answers at address 0x49 of i2c:/dev/i2c-7:0x49 (ioctl I2C_RDWR: No such device or address)" said

stop chip
start chip "$bin/a71chd" --sim "$work/chip" --listen "i2c-unix:$work/bus" --quirk i2c-wake-up=1 --quirk i2c-reset-reply=0 \
    --quirk i2c-parameters=3 --quirk i2c-frame-data=1 --quirk signature-form=2
wait_line chip '^ready$' >/dev/null || done_testing
on_bus "$bin/a71chConfig" i2c:/dev/i2c-7 get pub -c 10 -x 1 -k quirk.pem >said 2>&1
check "a chip with the other guesses is read all the same" cmp quirk.pem pub.pem
check "and signs" env A71CH_ADDRESS=i2c:/dev/i2c-7 OPENSSL_CONF="$BUILD/openssl-a71ch.cnf" \
    A71CH_I2C_BUS="7:$work/bus" LD_PRELOAD="${PRELOAD:+$PRELOAD }$shim" ASAN_OPTIONS=detect_leaks=0 \
    openssl pkeyutl -sign -inkey ref.pem -in digest -out signature3
check "a signature that verifies" openssl pkeyutl -verify -pubin -inkey pub.pem -in digest -sigfile signature3
stop chip
check "a clean end removes the bus" sh -c "! [ -e '$work/bus' ]"
check_fails any "without a daemon there is no such device" on_bus i2cdetect -y 7
cp out said
check "and the shim says why" grep -q "a71ch-i2c-shim: no bus at $work/bus: No such file or directory" said
done_testing

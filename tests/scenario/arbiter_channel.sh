#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One secure channel (SCP03), held by a71chd, shared by those who may use its socket; the chip simulated, and on a bus.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

many="$root/tests/scenario/arbiter.py"
clear=unix:$work/clear.sock
channel=unix:$work/channel.sock
tool=$bin/a71chConfig
umask 077
keys=$work/keys
printf 'ENC %s\nMAC %s\nDEK %s\n' 0102030405060708090a0b0c0d0e0f10 1112131415161718191a1b1c1d1e1f20 2122232425262728292a2b2c2d2e2f30 >"$keys"

# run a71chd as $1 with the chip of its other options
serve()
{
    name=$1
    shift
    start "$name" "$@" --listen "$clear" --channel "$channel" --scp-keys "$keys"
    wait_line "$name" '^ready$' >/dev/null || done_testing
}

check_fails 2 "the channel wants its keys" "$bin/a71chd" --sim "$work/chip" --listen "$clear" --channel "$channel"
check_fails any "a channel over TCP is refused" "$bin/a71chd" --sim "$work/chip" --listen "$clear" --channel tcp:127.0.0.1:0 --scp-keys "$keys"
cp "$keys" "$work/open.keys"
chmod 644 "$work/open.keys"
check_output "keys that others may read are refused" 'chmod 600' \
    sh -c "'$bin/a71chd' --sim '$work/chip' --listen '$clear' --channel '$channel' --scp-keys '$work/open.keys' 2>&1; true"

serve one "$bin/a71chd" --sim "$work/chip" --trace "$work/trace"
check "the socket is private" [ "$(stat -c %a "$work/channel.sock")" = 600 ]
"$tool" "$channel" info device >"$work/said" 2>&1
check "a chip without keys is said to have none" grep -q 'no keys yet' "$work/said"
check "keys are put in the clear" "$tool" "$clear" scp put -h 01 -k "$keys"
check_output "a client without keys is in the channel" 'SCP03 is mandatory' "$tool" "$channel" info device
check_output "in the clear the chip refuses from now on" '^01319000$' "$root/tests/scenario/jrcp.py" "$clear" 00a4040005613731636800
check_output "a key is not told" '^6982$' "$root/tests/scenario/jrcp.py" "$clear" 00a4040005613731636800 8011000000
check "a key is made through the channel" "$tool" "$channel" gen pair -x 0
check_output "24 clients in a storm in one channel: no answer is lost or crossed" '^served 21 died 3$' "$many" storm 24 "$channel"
check_output "clients count under leases: no step is lost" '^100 ' "$many" count 20 "$channel"
check_output "hashes in several commands, under leases" '^12 right$' "$many" hash 12 "$channel"
check_output "a client cannot open a channel of its own in it" '^6985$' "$root/tests/scenario/jrcp.py" "$channel" 80502100080102030405060708
check_output "nor speak in one" '^6e00$' "$root/tests/scenario/jrcp.py" "$channel" 8491000308010203040506070800
check_output "an error keeps its status word" '^6985$' "$root/tests/scenario/jrcp.py" "$channel" 8011020000
check "the tool makes a reference key" "$tool" "$channel" refpem -c 10 -x 0 -r "$work/ref.pem"
echo hello >"$work/data"
sign()
{
    env A71CH_ADDRESS="$channel" OPENSSL_CONF="$BUILD/openssl-a71ch.cnf" \
        ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} openssl dgst -sha256 -sign "$work/ref.pem" -out "$work/sig" "$work/data" &&
        openssl ec -in "$work/ref.pem" -pubout -out "$work/pub.pem" &&
        openssl dgst -sha256 -verify "$work/pub.pem" -signature "$work/sig" "$work/data"
}
check "OpenSSL signs through the channel" sign
head -c 32 /dev/zero >"$work/digest"
token()
{
    env A71CH_ADDRESS="$channel" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
        pkcs11-tool --module "$lib/pkcs11/a71ch-pkcs11.so" --id 00 -m ECDSA -i "$work/digest" "$@"
}
check "a PKCS #11 token signs through it" token --sign -o "$work/raw"
check_output "and verifies" 'Signature is valid' token --verify --signature-file "$work/raw"
grep -E '"name":"pair-(sign|set)"' "$work/trace" >"$work/heard"
check "the chip heard it" grep -q '"name":"pair-sign"' "$work/heard"
check_fails 1 "and nothing of it in the clear" grep -v '"protected":true' "$work/heard"
check "a snapshot is made" "$bin/a71chd" --ctl "$clear" snapshot s
check "and restored, which ends the channel" "$bin/a71chd" --ctl "$clear" restore s
check "the channel is opened again, and the client sees nothing of it" sign
check "SIGTERM ends it" stop one

serve faulty "$bin/a71chd" --sim "$work/chip" --fault bad-rmac:ins=15,count=1 --fault power-before:ins=95,count=1
check_fails any "an answer with a wrong MAC is no answer" sign
check_output "says the log" 'no right MAC' cat "$work/faulty.log"
check "the next one is served" sign
"$root/tests/scenario/jrcp.py" "$channel" 8095001000 >"$work/said" 2>&1
check_output "a chip that lost power is served again" '^[0-9a-f]{32}9000$' "$root/tests/scenario/jrcp.py" "$channel" 8095001000
check "SIGTERM ends it" stop faulty

sed -i 's/^MAC 11/MAC ff/' "$keys"
serve other "$bin/a71chd" --sim "$work/chip"
"$tool" "$channel" info pair >"$work/said" 2>&1
check "a chip with other keys is not believed" grep -q 'other SCP03 keys' "$work/said"
sed -i 's/^MAC ff/MAC 11/' "$keys"
check "SIGTERM ends it" stop other

# a chip on a bus, which has one session for all
start chip "$bin/a71chd" --sim "$work/chip" --listen "i2c-unix:$work/bus"
wait_line chip '^ready$' >/dev/null || done_testing
serve real env LD_PRELOAD="${PRELOAD:+$PRELOAD }$lib/a71ch-i2c-shim.so" A71CH_I2C_BUS="7:$work/bus" \
    ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" "$bin/a71chd" --i2c /dev/i2c-7
check "OpenSSL signs through the channel to a chip on a bus" sign
check_output "a client in the clear selects the applet, which ends the channel" '^01319000$' \
    "$root/tests/scenario/jrcp.py" "$clear" 00a4040005613731636800
check "the channel is opened again" sign
check_output "clients count under leases: no step is lost" '^20 ' "$many" count 4 "$channel"
check "SIGTERM ends it" stop real
done_testing

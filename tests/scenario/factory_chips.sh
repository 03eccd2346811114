#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# birthmark factory: a chip at each kind of address; SCP03 keys and every lock under power cuts; a chip that is lost is written off.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

here=$(cd "$(dirname "$0")" && pwd)
ca=$work/ca/issuing-1.pem
factory() { "$bin/birthmark" factory "$@"; }
refusal() { factory "$@" 2>&1 || :; }
job() # name, count, addresses, more members
{
    printf '{"name":"%s","count":%d,"ca":{"certificate":"ca/issuing-1.pem","key":"ca/issuing-1.key"},"chips":[%s],"subject":"/O=Acme/CN={uid}","days":300%s}\n' \
        "$1" "$2" "$3" "${4:-}" >"$work/$1.json"
}
chips() { start chips "$bin/a71chd" --sim "$work/chips" --chips "$@" --listen "unix-dir:$work/s" && wait_line chips '^ready$' >/dev/null; }

"$bin/birthmark" ca new --dir "$work/ca" --no-passphrase --days 400 >/dev/null || not_ok "a CA is made"

# an address of each kind
start_chip tcp
start unix "$bin/a71chd" --sim "$work/unix.chip" --listen "unix:$work/unix.sock"
start bus "$bin/a71chd" --sim "$work/bus.chip" --listen "i2c-unix:$work/bus"
for name in unix bus; do wait_line $name '^ready$' >/dev/null; done
job each 4 "\"$A71CH_ADDRESS\",\"unix:$work/unix.sock\",\"i2c:/dev/i2c-7\",\"sim:$work/own.chip\""
on_bus() { env LD_PRELOAD="${PRELOAD:+$PRELOAD }$lib/a71ch-i2c-shim.so" A71CH_I2C_BUS="7:$work/bus" ${PRELOAD:+ASAN_OPTIONS=detect_leaks=0} "$@"; }
check_output "a chip over TCP, a socket, I2C and in a folder" '^4 of 4 chips done' on_bus "$bin/birthmark" factory run "$work/each.json" --out "$work/each"
check_output "verifies" '^4 chips, ' factory verify "$work/each" --ca "$ca"
stored() { $1 "$bin/a71chConfig" "$2" rcrt -x 0 -c "$work/leaf.der" >/dev/null && openssl x509 -inform DER -in "$work/leaf.der" | openssl verify -partial_chain -trusted "$ca"; }
check "each has its leaf: TCP" stored '' "$A71CH_ADDRESS"
check "socket" stored '' "unix:$work/unix.sock"
check "I2C" stored on_bus i2c:/dev/i2c-7
check "folder" stored '' "sim:$work/own.chip"
for name in tcp unix bus; do stop $name; done

# SCP03 keys, injected key, every lock; power fails at random commands until all is done
printf 'ENC 00112233445566778899aabbccddeeff\nMAC 102132435465768798a9bacbdcedfe0f\nDEK 2031425364758697a8b9cadbecfd0e1f\n' >"$work/scp.txt"
echo 000102030405060708090a0b0c0d0e0f >"$work/wrap.hex"
job locks 4 "\"unix-dir:$work/s\"" ',"reset":true,"key":"inject","wrapKey":"wrap.hex","scp03":"scp.txt","counter":{"index":1,"value":3},"locks":{"storage":true,"pair":true,"inject":true,"debugOff":true}'
round=0
got=7
while [ $got = 7 ] && [ $round -lt 12 ]; do
    round=$((round + 1))
    fault="power-during:p=0.03,seed=$round,count=12"
    [ $round -lt 4 ] || fault=delay:nth=1,value=0,count=1
    chips 4 --fault "$fault" --fault "$(echo "$fault" | sed 's/power-during/power-after/')"
    factory run "$work/locks.json" --out "$work/locks" --yes >"$work/locks.out" 2>&1
    got=$?
    stop chips
done
cp "$work/locks.out" "$work/out"
if [ $got = 0 ]; then ok "SCP03 keys and locks under power cuts, done in $round rounds"; else not_ok "SCP03 keys and locks under power cuts" "$work/out"; fi
check_output "verifies, too" '^4 chips' factory verify "$work/locks" --ca "$ca"

# a chip that takes no certificate, after its leaf was issued
rm -rf "$work/chips"
start bad "$bin/a71chd" --sim "$work/bad.chip" --listen "unix:$work/bad.sock" --fault status:ins=72,value=6a80
chips 2
wait_line bad '^ready$' >/dev/null
job lost 2 "\"unix:$work/bad.sock\",\"unix:$work/s/0000\",\"unix:$work/s/0001\""
check_output "a chip with a leaf keeps its place, and what to do is told" 'chip [0-9a-f]{36} has a leaf and keeps its place: .*factory scrap' \
    refusal run "$work/lost.json" --out "$work/lost" --yes
uid=$(sed -n 's/.*chip \([0-9a-f]*\) has a leaf.*/\1/p' "$work/out")
check_fails 7 "no other chip gets it" factory run "$work/lost.json" --out "$work/lost" --yes
check_fails 2 "writing off wants a reason" factory scrap "$work/lost.json" "$uid" --out "$work/lost" --yes
check_fails 2 "and agreement" factory scrap "$work/lost.json" "$uid" --out "$work/lost" --reason "fell down"
check_fails 3 "there must be such a chip" factory scrap "$work/lost.json" 00 --out "$work/lost" --reason x --yes
check_fails 3 "and a job" factory scrap "$work/lost.json" "$uid" --out "$work/nowhere" --reason x --yes
check_output "it is written off" 'birthmark ca revoke --certificate [0-9a-f]{64}' factory scrap "$work/lost.json" "$uid" --out "$work/lost" --reason "fell down" --yes
check_fails 4 "once" factory scrap "$work/lost.json" "$uid" --out "$work/lost" --reason "fell down" --yes
check_output "another one takes its place" '^2 of 2 chips done' factory run "$work/lost.json" --out "$work/lost" --yes
check_output "journal, manifest and what was written off agree" '^2 chips, ' factory verify "$work/lost" --ca "$ca"
check_output "for somebody else's program, too" '^2 chips: ' "$here/factory_check.py" "$work/lost" "$work/s" "$ca" 2
job lost 3 "\"unix:$work/bad.sock\""
check_output "found again, it is not taken" 'was written off: fell down' refusal run "$work/lost.json" --out "$work/lost" --yes
sed -i 's/fell down/was sold/' "$work/lost/scrapped.jsonl"
check_output "a changed list is noticed" 'scrapped.jsonl is not what the journal says' refusal verify "$work/lost" --ca "$ca"
done_testing

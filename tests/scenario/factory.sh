#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# birthmark factory: a job over many simulated chips, killed with its chips at random (BIRTHMARK_FACTORY_CHIPS=1000 for the long
# one); jobs that cannot be done; what was tampered with is named.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

here=$(cd "$(dirname "$0")" && pwd)
count=${BIRTHMARK_FACTORY_CHIPS:-40}
seed=${BIRTHMARK_FACTORY_SEED:-7}
ca=$work/ca/issuing-1.pem

chips()
{
    start chips "$bin/a71chd" --sim "$work/chips" --chips $((count + 3)) --listen "unix-dir:$work/s" "$@"
    wait_line chips '^ready$' >/dev/null || done_testing
}

job() # name, members besides the usual
{
    printf '{"name":"%s","count":%d,"ca":{"certificate":"ca/issuing-1.pem","key":"ca/issuing-1.key"},"chips":["unix-dir:%s"],%s}\n' \
        "$1" "${3:-$count}" "$work/s" "\"subject\":\"/O=Acme/CN={uid}\"$2" >"$work/$1.json"
}

factory() { "$bin/birthmark" factory "$@"; }
refusal() { factory "$@" 2>&1 || :; }
lines() { [ ! -e "$work/out1/journal" ] && echo 0 || wc -l <"$work/out1/journal"; }
# roll N: 0 to N-1 in $rolled; not in $(), where the seed would stay as it is
roll() { seed=$(((seed * 1103515245 + 12345) % 2147483648)) && rolled=$((seed / 65536 % $1)); }

"$bin/birthmark" ca new --dir "$work/ca" --no-passphrase --subject "/O=Acme/CN=Acme CA" --permit subject:/O=Acme --days 400 >/dev/null || not_ok "a CA is made"
chips
job bad ',"days":300,"locks":{"inyect":true}'
check_output "a misspelt lock is refused" '"inyect" in "locks"' refusal run "$work/bad.json" --out "$work/bad"
job bad ',"days":500'
check_output "so is a leaf that would outlive its CA" 'cannot be issued: .*dates' refusal run "$work/bad.json" --out "$work/bad"
job bad ',"days":300,"slot":4'
check_output "a slot that no chip has" '"slot" must be a number from 0 to 3' refusal run "$work/bad.json" --out "$work/bad"
sed 's#/O=Acme/#/O=Other/#' "$work/bad.json" | sed 's/"slot":4/"slot":1/' >"$work/other.json"
check_output "a name that the CA must not certify" 'name constraints' refusal run "$work/other.json" --out "$work/bad"
job bad ',"days":300'
sed 's#"unix-dir:[^"]*"#"127.0.0.1"#' "$work/bad.json" >"$work/nowhere.json"
check_output "an address that is none" "'127.0.0.1' is no address of a chip" refusal run "$work/nowhere.json" --out "$work/bad"
check "all before the first chip" [ -z "$(find "$work/chips" -mindepth 1 -type d)" ]
check "and without a trace" [ ! -e "$work/bad" ]

job line ',"days":300,"reset":true,"counter":{"index":0,"value":5},"locks":{"storage":true},"manifest":{"groupId":"g1","manufacturer":{"organizationName":"NXP"}}'
check_output "--plan shows what cannot be undone" '^the certificates in storage are frozen' factory run "$work/line.json" --plan
check_fails 2 "which must be agreed to" factory run "$work/line.json" --out "$work/out1"
check "before anything is done" [ ! -e "$work/out1/journal" ]

# kills at random: the factory, the chips' daemon, power of chips; then once to the end
round=0
while [ $round -lt 6 ]; do
    round=$((round + 1))
    start run "$bin/birthmark" factory run "$work/line.json" --out "$work/out1" --yes --parallel 8 --json
    roll $((count / 2))
    target=$(($(lines) + 4 + rolled))
    grown() { not_running "$(cat "$work/run.pid")" || [ "$(lines)" -ge "$target" ]; }
    wait_for 30 grown
    case $((round % 3)) in
    0) stop chips KILL && stop run && chips ;;
    1) stop run KILL ;;
    2)
        stop run TERM
        stop chips
        chips --fault "power-during:p=0.02,seed=$round,count=20" --fault "power-after:p=0.02,seed=$round,count=20"
        ;;
    esac
    [ $round -lt 6 ] || { stop chips; chips; }
done
factory run "$work/line.json" --out "$work/out1" --yes --json >"$work/last" 2>"$work/last.err"
check "killed in $round rounds, the job comes to its end" [ $? = 0 ]
[ ! -s "$work/last.err" ] || sed 's/^/    /' "$work/last.err"
check_output "exactly $count leaves, and everything agrees" "^$count chips: " "$here/factory_check.py" "$work/out1" "$work/s" "$ca" "$count"
check_output "verify says so" "^$count chips, " factory verify "$work/out1" --ca "$ca"
check_output "a further run has nothing to do" "\"doneNow\":0" factory run "$work/line.json" --out "$work/out1" --yes --json
check "openssl takes a leaf of the bulk lines" sh -c 'head -n 1 "$0/bulk.jsonl" | python3 -c "import json,sys; print(json.loads(sys.stdin.read())[\"CertificatePem\"])" |
    openssl verify -CAfile "$1/root.pem" -untrusted "$1/issuing-1.pem"' "$work/out1" "$work/ca"

check_output "and leaves the report as it was" '"doneNow": [1-9]' cat "$work/out1/report.json"
sed 's/"line"/"other"/' "$work/line.json" >"$work/mixed.json"
check_output "another job's results are not gone on with" 'holds the results of the job line, not of other' refusal run "$work/mixed.json" --out "$work/out1" --yes

# tampering
tamper() # file, sed expression
{
    rm -rf "$work/t" && cp -r "$work/out1" "$work/t" && sed -i "$2" "$work/t/$1"
    refusal verify "$work/t" --ca "$ca"
}
check_output "a changed word in the journal is named" '^birthmark factory: journal: record 9 is bad: ' tamper journal '8s/"time":"20/"time":"19/'
check_output "a record that is missing" 'journal: record 12 is bad: its number' tamper journal 12d
check_output "records moved" 'journal: record 5 is bad' tamper journal '5{h;d};6{G}'
check_output "a changed line of the manifest" 'manifest: line 3 is bad: its signature' tamper manifest.jsonl '3s/"payload":"eyJ/"payload":"eyK/'
check_output "a line of it that is missing" 'manifest: line 2 is bad: it is not what' tamper manifest.jsonl 2d
check_output "the last line of it" "manifest: line $count is bad: it is missing" tamper manifest.jsonl "${count}d"
check_output "another log key" 'says its issuer is' sh -c 'cp "$1/root.pem" "$2/t/log.pem"; "$0" factory verify "$2/t" --ca "$3" 2>&1 || :' "$bin/birthmark" "$work/ca" "$work" "$ca"

# a chip of another job is not taken without leave to reset it
job second ',"days":300' 1
sed 's#unix-dir:[^"]*#unix:'"$work/s/0000"'#' "$work/second.json" >"$work/second2.json"
check_fails 7 "a chip with a key is refused when the job does not reset" factory run "$work/second2.json" --out "$work/out2"
stop chips

# disk full: the journal cannot grow; with room again the job goes on
job full ',"days":300,"reset":true' 6
chips
check_fails 6 "a full disk ends the run" sh -c 'ulimit -f 8; trap "" XFSZ; "$0" factory run "$1/full.json" --out "$1/out3" --yes' "$bin/birthmark" "$work"
cp "$work/out" "$work/said"
check_output "which says so" 'cannot (be )?writ|too large|cannot write' cat "$work/said"
check "with room it goes on" factory run "$work/full.json" --out "$work/out3" --yes
check_output "to exactly 6 leaves" '^6 chips: ' "$here/factory_check.py" "$work/out3" "$work/s" "$ca" 6

# SCP03, an injected key, all locks
printf 'ENC 00112233445566778899aabbccddeeff\nMAC 102132435465768798a9bacbdcedfe0f\nDEK 2031425364758697a8b9cadbecfd0e1f\n' >"$work/scp.txt"
echo 000102030405060708090a0b0c0d0e0f >"$work/wrap.hex"
job locks ',"days":300,"reset":true,"key":"inject","wrapKey":"wrap.hex","scp03":"scp.txt","locks":{"storage":true,"pair":true,"inject":true,"debugOff":true}' 2
stop chips
rm -rf "$work/chips"
chips
check "a job with injected keys, SCP03 and every lock" factory run "$work/locks.json" --out "$work/out4" --yes
check_output "verifies" '^2 chips' factory verify "$work/out4" --ca "$ca"
stop chips
done_testing

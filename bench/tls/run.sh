#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Mutual TLS handshakes per second of one program with its key in different places: a file; a file while our provider is
# loaded; the simulated chip by provider and by engine; SoftHSM2 by Debian's PKCS#11 engine; a software TPM (swtpm) by
# tpm2-openssl. Each round runs all of them, one after another; the best of each and its ratio to the file come last, and
# what our provider costs a key that is in a file, in instructions. The packages of the peers are installed when missing.
# usage: [ROUNDS=9] [COUNT=400] bench/tls/run.sh   (BUILD as for the tests)
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../../tests/scenario/lib.sh"
# shellcheck source=tests/scenario/libopenssl.sh
. "$root/tests/scenario/libopenssl.sh"
ROUNDS=${ROUNDS:-9} COUNT=${COUNT:-400}
load=$BUILD/obj/bench/bench_tls
"$root/scripts/install-deps" softhsm2 libengine-pkcs11-openssl swtpm libtss2-tcti-swtpm0 tpm2-openssl tpm2-abrmd libtss2-tcti-tabrmd0 dbus || exit 1
cd "$work" || exit 1

die()
{
    echo "bench/tls: $*" >&2
    exit 1
}

# certify NAME: NAME.pem from NAME.csr
certify()
{
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out "$1.pem" 2>/dev/null || die "no request of $1"
}

# --- keys -----------------------------------------------------------------------------------------
new_key prime256v1 ca.key
openssl req -x509 -new -key ca.key -subj /CN=Authority -days 30 -out ca.pem
for name in server file; do
    new_key prime256v1 $name.key
    openssl req -new -key $name.key -subj /CN=$name -out $name.csr
    certify $name
done

start a71chd "$bin/a71chd" --sim "$work/chip" --listen "unix:$work/sock"
wait_line a71chd '^ready$' >/dev/null || exit 1
export A71CH_ADDRESS="unix:$work/sock"
"$bin/a71chConfig" "$A71CH_ADDRESS" gen pair -x 0 >/dev/null
"$bin/a71chConfig" "$A71CH_ADDRESS" refpem -c 10 -x 0 -r chip.key >/dev/null
conf=$BUILD/openssl-a71ch.cnf
chip openssl req -new -key chip.key -subj /CN=chip -out chip.csr
certify chip

mkdir tokens
printf 'directories.tokendir = %s/tokens\nlog.level = ERROR\n' "$work" >softhsm2.conf
export SOFTHSM2_CONF="$work/softhsm2.conf" PKCS11_MODULE_PATH=/usr/lib/softhsm/libsofthsm2.so
softhsm2-util --init-token --free --label bench --pin 1234 --so-pin 1234 >/dev/null || die "softhsm2-util"
openssl pkcs8 -topk8 -nocrypt -in file.key -out file.p8
softhsm2-util --import file.p8 --token bench --label key --id 01 --pin 1234 >/dev/null || die "softhsm2-util --import"

mkdir tpm
start swtpm swtpm socket --tpm2 --tpmstate "dir=$work/tpm" --server "type=unixio,path=$work/tpm.sock" \
    --ctrl "type=unixio,path=$work/tpm.sock.ctrl" --flags not-need-init,startup-clear
wait_for 5 test -S tpm.sock.ctrl || die "swtpm: $(cat swtpm.log)"
# tpm2-openssl keeps more objects in the TPM than it has room for: without a resource manager no handshake succeeds
start dbus dbus-daemon --session --nofork --print-address
DBUS_SESSION_BUS_ADDRESS=$(wait_line dbus '^unix:') || exit 1
export DBUS_SESSION_BUS_ADDRESS
start abrmd tpm2-abrmd --session --allow-root "--tcti=swtpm:path=$work/tpm.sock"
export TPM2OPENSSL_TCTI=tabrmd:bus_type=session
cat >tpm.cnf <<END
openssl_conf = init
[init]
providers = list
alg_section = query
[query]
default_properties = ?provider=tpm2,tpm2.digest!=yes
[list]
tpm2 = on
default = on
[on]
activate = 1
END
# As long as tpm2-abrmd is not up, OpenSSL falls back and makes a key in software
tpm_key() { OPENSSL_CONF=$work/tpm.cnf openssl genpkey -algorithm EC -pkeyopt group:P-256 -out tpm.key 2>tpm.err && grep -q TSS2 tpm.key; }
wait_for 5 tpm_key || die "tpm2-openssl makes no key in the TPM: $(cat tpm.err) tpm2-abrmd says: $(cat abrmd.log)"
OPENSSL_CONF=$work/tpm.cnf openssl req -new -key tpm.key -subj /CN=tpm -out tpm.csr 2>tpm.err || die "tpm2-openssl: $(cat tpm.err)"
certify tpm

# --- rounds ----------------------------------------------------------------------------------------
# one NAME CONF KEY CERT [COUNT]: adds "per-second cpu" to NAME.run
one()
{
    OPENSSL_CONF=$2 "$load" "${5:-$COUNT}" "$3" "$4" server.key server.pem ca.pem >>"$1.run" 2>"$1.err" || die "$1: $(cat "$1.err")"
}
round=0
while [ $round -lt "$ROUNDS" ]; do
    one file /dev/null file.key file.pem
    one loaded "$BUILD/openssl-a71ch.cnf" file.key file.pem
    one provider "$BUILD/openssl-a71ch.cnf" chip.key chip.pem
    one engine "$BUILD/openssl-a71ch-engine.cnf" chip.key chip.pem
    one softhsm /dev/null "engine:pkcs11:pkcs11:token=bench;object=key;type=private;pin-value=1234" file.pem
    one tpm "$work/tpm.cnf" tpm.key tpm.pem 20
    round=$((round + 1))
done
# instructions CONF: of one handshake with the key in a file, counted by valgrind, which does not mind who else is at work
instructions()
{
    for count in 1 51; do
        OPENSSL_CONF=$1 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$load" $count file.key file.pem server.key server.pem ca.pem \
            2>&1 >/dev/null | sed -n 's/.*Collected : //p'
    done | awk '{ n[NR] = $1 } END { printf "%d\n", (n[2] - n[1]) / 50 }'
}
best() { sort -rn "$1.run" | head -n 1 | cut -d' ' -f1; }
least() { cut -d' ' -f2 "$1.run" | sort -n | head -n 1; }
file=$(best file) file_cpu=$(least file)
echo "best of $ROUNDS rounds of $COUNT handshakes, $(openssl version | cut -d' ' -f1-2), one core each for program and server:"
while read -r name what; do
    echo "$(best "$name") $file $(least "$name") $file_cpu $what" | awk '{
        what = $5; for (i = 6; i <= NF; i++) what = what " " $i
        printf "%-34s %7.0f handshakes/s, %.2f of the file; %6.0f us CPU in the program, %.3f\n", what, $1, $1 / $2, $3, $3 / $4 }'
done <<END
file key in a file
loaded key in a file, our provider loaded
provider key in the chip, provider
engine key in the chip, engine
softhsm SoftHSM2, PKCS#11 engine
tpm swtpm, tpm2-openssl
END
plain=$(instructions /dev/null) with=$(instructions "$BUILD/openssl-a71ch.cnf")
echo "$plain $with" | awk '{ printf "key in a file: %d instructions for a handshake, %d with our provider loaded, %.3f\n", $1, $2, $2 / $1 }'

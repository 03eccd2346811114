#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The PKCS #11 module with the programs that people use tokens with, each unmodified: OpenSC's pkcs11-tool, GnuTLS, NSS, ssh, OpenSSL and
# curl by libp11's engine, p11-kit, aws-iot-device-sdk-v2. One handshake is one signature in the chip. Then threads and forks, the first
# under ThreadSanitizer where that can be had, and valgrind. Where the module was built with a sanitizer and has its runtime preloaded, some
# programs show defects of their own: those are skipped, and say so.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libopenssl.sh"
. "$(dirname "$0")/libnpm.sh"
conf=$BUILD/openssl-a71ch.cnf
module=$lib/pkcs11/a71ch-pkcs11.so
cd "$work" || exit 1
export A71CH_PKCS11_LOG=1

# a program that loads the module
with() { env ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} timeout 60 "$@"; }
tool() { with pkcs11-tool --module "$module" "$@" 2>&1; }
p11tool() { with p11tool --provider "$module" "$@" 2>&1 </dev/null; }
config() { "$bin/a71chConfig" "$A71CH_ADDRESS" "$@" >/dev/null; }
url() { echo "pkcs11:model=A71CH;object=$1;type=$2"; }

start_chip chip
config gen pair -x 0
echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
echo 'a message' >message
new_key prime256v1 ca.key
openssl req -x509 -new -key ca.key -subj /CN=Authority -days 30 -out ca.pem
new_key prime256v1 server.key
issue server server.key localhost
new_key prime256v1 peer.key
config refpem -c 10 -x 0 -r ref.pem
chip openssl req -new -key ref.pem -subj /CN=device -out device.csr
openssl x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out device.pem 2>/dev/null

# --- pkcs11-tool -----------------------------------------------------------------------------------
check_output "pkcs11-tool shows the token with the chip's serial number" '^ *token label *: A71CH [0-9a-f]{16}$' tool -L
check_output "pkcs11-tool lists the private key, which never was extractable" '^ *Access: *sensitive, always sensitive, never extract' tool -O
check_output "pkcs11-tool --test finds no error" '^No errors$' tool --test
check_output "nor after a login with any PIN" '^No errors$' tool --login --pin 1234 --test
check_output "a key pair is made in the slot that --id names" '^ *label: *pair2$' tool --keypairgen --key-type EC:prime256v1 --id 02
check_output "which is not done twice" 'key pair 2 exists already' sh -c "! LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 \
    pkcs11-tool --module '$module' --keypairgen --key-type EC:prime256v1 --id 02 2>&1"
check_output "a name of one's own is refused with the names that there are" 'id 00 and label pair0 are key pair 0' \
    sh -c "! LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 pkcs11-tool --module '$module' --keypairgen --key-type EC:prime256v1 --label mine 2>&1"
config refpem -c 10 -x 2 -r ref2.pem
chip openssl pkey -in ref2.pem -pubout -out pub.pem
if [ -n "${PRELOAD:-}" ]; then
    echo "skip - pkcs11-tool --read-object: it uses memory that it has freed, which the sanitizer does not let pass"
else
    check "pkcs11-tool reads a public key" tool --read-object --type pubkey --id 02 --output-file pub.der
    check "which is the chip's" sh -c "openssl pkey -pubin -inform DER -in pub.der | cmp - pub.pem"
fi
for hash in SHA1 SHA224 SHA256 SHA384 SHA512; do
    check_signs 1 "pkcs11-tool signs with $hash" tool --sign --id 02 -m ECDSA-$hash -i message -o sig --signature-format openssl
    check "and software verifies it" openssl dgst -$hash -verify pub.pem -signature sig message
done
head -c 100000 "$module" >long
check_signs 1 "a file in many parts is signed" tool --sign --id 02 -m ECDSA-SHA256 -i long -o sig --signature-format openssl
check "and software verifies it" openssl dgst -sha256 -verify pub.pem -signature sig long
openssl dgst -sha256 -binary message >digest
check_signs 1 "a digest is signed as it is" tool --sign --id 02 -m ECDSA -i digest -o raw
check_output "and verified in the chip" 'Signature is valid' tool --verify --id 02 -m ECDSA -i digest --signature-file raw
check_output "not with another key" 'Invalid signature' tool --verify --id 00 -m ECDSA -i digest --signature-file raw
openssl pkey -in peer.key -pubout -outform DER -out peer.der
check "ECDH with the peer's key" tool --derive --id 02 -m ECDH1-DERIVE -i peer.der -o secret.chip
openssl pkeyutl -derive -inkey peer.key -peerkey pub.pem -out secret.soft
check "gives what software gives" cmp secret.chip secret.soft
check_fails any "nothing is deleted" tool --delete-object --type privkey --id 02
cp out deleted
check_output "the cause is told when asked for" 'nothing is erased through PKCS #11; use a71chConfig' cat deleted
check "random bytes" tool --generate-random 64 --output-file random
check_output "as many as were asked for" '^64$' sh -c 'wc -c <random'

# --- GnuTLS ----------------------------------------------------------------------------------------
config wcrt -x 1 -p device.pem
config wcrt -x 2 -p ca.pem
gnutls() # VERSION CERTIFICATE
{
    (echo hello && wait_for 60 grep -q olleh heard) 2>/dev/null | with gnutls-cli --provider "$module" --priority "NORMAL:-VERS-ALL:+VERS-$1" --x509cafile ca.pem \
        --x509certfile "$2" --x509keyfile "$(url pair0 private)" -p "$port" localhost >heard 2>&1
    cat heard
    grep -q olleh heard
}
if [ -n "${PRELOAD:-}" ]; then
    echo "skip - GnuTLS, curl and p11-kit: with the sanitizer's runtime preloaded libp11-kit waits for ever when a program ends"
else
    check_output "p11tool lists the keys by URL" 'token=A71CH%20[0-9a-f]*;id=%02;object=pair2;type=private$' p11tool --list-all pkcs11:model=A71CH
    check_output "p11tool makes a key pair where its label says" 'BEGIN PUBLIC KEY' \
        p11tool --generate-ecc --curve secp256r1 --label pair1 --id 01 pkcs11:model=A71CH
    check "p11tool exports the certificate in storage by its key's label" p11tool --export "$(url pair0 cert)" --outfile read.pem
    check_output "which is that certificate" "$(openssl x509 -in device.pem -noout -fingerprint)" openssl x509 -in read.pem -noout -fingerprint
    printf 'cn = device\n' >template
    check_signs 1 "certtool signs a certificate request with the chip" with certtool --provider "$module" --generate-request \
        --load-privkey "$(url pair0 private)" --load-pubkey "$(url pair0 public)" --template template --outfile request
    check "which verifies" openssl req -in request -verify -noout
    serve far openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error -rev
    check_signs 1 "gnutls-cli, TLS 1.3: one handshake is one signature" gnutls TLS1.3 device.pem
    check_signs 1 "gnutls-cli, TLS 1.2: one handshake is one signature" gnutls TLS1.2 device.pem
    check_signs 1 "its certificate may come from the token, too" gnutls TLS1.3 "$(url pair0 cert)"
fi

# --- NSS -------------------------------------------------------------------------------------------
mkdir nss
certutil -N -d sql:nss --empty-password && certutil -A -d sql:nss -n authority -t CT,, -a -i ca.pem
check "NSS takes the module" with modutil -dbdir sql:nss -add a71ch -libfile "$module" -force
label=$(tool -L | sed -n 's/^ *token label *: //p')
check_output "certutil lists its keys" 'ec +02 +pair2$' with certutil -K -d sql:nss -h "$label"
serve web openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error -WWW
printf 'GET /message HTTP/1.0\r\n\r\n' >get.txt
nss() # VERSION
{
    with tstclnt -4 -V "$1:$1" -h localhost -p "$port" -d sql:nss -n "$label:pair0" -A get.txt </dev/null >heard 2>&1
    cat heard
    grep -q '^a message' heard
}
check_signs 1 "NSS, TLS 1.3, with key and certificate by nickname: one handshake is one signature" nss tls1.3
check_signs 1 "NSS, TLS 1.2: one handshake is one signature" nss tls1.2

# --- OpenSSL and curl by libp11's engine -----------------------------------------------------------
p11() { with env PKCS11_MODULE_PATH="$module" "$@"; }
openssl x509 -in device.pem -pubkey -noout >device.pub
if openssl engine pkcs11 2>/dev/null | grep -q pkcs11; then
    check_signs 1 "openssl dgst by libp11's engine" p11 openssl dgst -engine pkcs11 -keyform engine -sign "$(url pair0 private)" -sha256 -out sig message
    check "and software verifies it" openssl dgst -sha256 -verify device.pub -signature sig message
    [ -n "${PRELOAD:-}" ] || {
        check_signs 1 "curl by libp11's engine: one handshake is one signature" p11 curl -sS --engine pkcs11 --key-type ENG --key "$(url pair0 private)" \
            --cert device.pem --cacert ca.pem "https://localhost:$port/message" -o fetched
        check "it fetched the file" cmp fetched message
    }
else
    skip libengine-pkcs11-openssl "libp11's engine"
fi

# --- ssh -------------------------------------------------------------------------------------------
with ssh-keygen -D "$module" >ssh.keys 2>"$work/ssh.err"
check_output "ssh-keygen -D prints the public keys" '^ecdsa-sha2-nistp256 .* pair0$' cat ssh.keys
grep ' pair0$' ssh.keys >id.pub
cp "$(command -v ssh-agent)" agent # without setgid, which would drop a preload
with_agent()
{
    export SSH_AUTH_SOCK="$work/agent.sock" SSH_ASKPASS=/bin/true SSH_ASKPASS_REQUIRE=force
    ssh-add -s "$module" </dev/null && ssh-keygen -Y sign -f id.pub -n file message && ssh-add -e "$module"
}
start agent env ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} ./agent -D -a "$work/agent.sock" -P "$module"
check "ssh-agent starts" wait_for 60 test -S agent.sock
check_signs 1 "ssh-agent takes the token and signs with it" with_agent
(printf 'device ' && cat id.pub) >allowed
check_output "and ssh-keygen verifies it" '^Good "file" signature' sh -c 'ssh-keygen -Y verify -f allowed -I device -n file -s message.sig <message'
stop agent

# --- p11-kit ---------------------------------------------------------------------------------------
mkdir -p home/.config/pkcs11/modules
cp "$module" here.so
sed "s,^module: .*,module: $work/here.so,; s,^# *x-init-reserved: .*,x-init-reserved: address=$A71CH_ADDRESS," \
    "$BUILD/share/p11-kit/modules/a71ch.module" >home/.config/pkcs11/modules/a71ch.module
as_user= # p11-kit reads no user's configuration when it is root
if [ "$(id -u)" = 0 ]; then
    chmod 711 . && chmod -R a+rX home here.so
    as_user="setpriv --reuid 65534 --regid 65534 --clear-groups"
fi
[ -n "${PRELOAD:-}" ] || check_output "p11-kit lists the token of the .module file, at the address that stands there" '^ *token: A71CH [0-9a-f]{16}$' \
    with env -u A71CH_ADDRESS HOME="$work/home" $as_user p11-kit list-modules

# --- aws-iot-device-sdk-v2 -------------------------------------------------------------------------
cat >mosquitto.conf <<END
listener 0 127.0.0.1
cafile $work/ca.pem
certfile $work/server.pem
keyfile $work/server.key
require_certificate true
allow_anonymous true
END
life() # LEVEL: two connections, as the life of a device has them
{
    start "sdk$1" with env PKCS11_MODULE="$module" PKCS11_LABEL=pair0 node "$root/tests/clients/sdk2.mjs" "$1" "$port" ca.pem device.pem none "sdk$1"
    wait_for 60 grep -q '^received hello 2' "$work/sdk$1.log"
    got=$?
    cat "$work/sdk$1.log"
    stop "sdk$1" KILL
    return $got
}
if npm_install "$root/tests/clients"; then
    port=$(free_port)
    sed -i "s/^listener 0/listener $port/; s,^allow,user $(id -un)\n&," mosquitto.conf
    start broker mosquitto -c mosquitto.conf
    wait_for 60 grep -q 'running$' broker.log
    ln -s "$modules/node_modules" node_modules
    check_signs 2 "aws-iot-device-sdk-v2, MQTT 3.1.1: two connections are two signatures" life 311
    check_signs 2 "aws-iot-device-sdk-v2, MQTT 5: two connections are two signatures" life 5
else
    echo "skip - aws-iot-device-sdk-v2: $why_not"
fi

# --- threads, forks, valgrind ----------------------------------------------------------------------
export TSAN_OPTIONS="exitcode=66 halt_on_error=0"
many() { timeout 120 "$BUILD/obj/tests/p11_many" "$@" >many.log 2>&1; code=$?; cat many.log; return $code; }
check_signs 600 "8 threads and 4 children forked beside them: 600 signatures, each good for its own digest" many 8 4 50
if grep -q __tsan_init "$BUILD/obj/tests/p11_many"; then
    check_fails 1 "ThreadSanitizer has seen no race" grep ThreadSanitizer many.log
else
    echo "skip - ThreadSanitizer: this build has another sanitizer, or the compiler none"
fi
if [ -n "${PRELOAD:-}" ] || ! command -v valgrind >/dev/null; then
    echo "skip - valgrind: not installed, or a sanitizer is at work"
else
    objcopy --strip-debug "$module" stripped.so
    for what in -L "-O --type pubkey" "--sign --id 02 -m ECDSA-SHA256 -i message -o sig"; do
        check "pkcs11-tool $what under valgrind: no error, nothing lost" timeout 120 valgrind -q --leak-check=full --show-leak-kinds=definite \
            --errors-for-leak-kinds=definite --error-exitcode=9 pkcs11-tool --module "$work/stripped.so" $what
    done
fi

# --- no chip ---------------------------------------------------------------------------------------
check "SIGTERM ends the chip" stop chip
check_output "without the chip the slot is empty" '^Slot 0|No slot with a token' sh -c "LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 \
    pkcs11-tool --module '$module' -L 2>&1"
cp out absent
check_output "and A71CH_PKCS11_LOG tells why" "^a71ch-pkcs11: nobody listens at $A71CH_ADDRESS" cat absent
check_output "without it nothing is said" '^0$' sh -c "unset A71CH_PKCS11_LOG; LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 \
    pkcs11-tool --module '$module' -L 2>&1 | grep -c a71ch-pkcs11 || :"
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unmodified programs that also bear a sanitizer, with a reference key (matrix.sh has them all), and what
# they do without the chip, with the wrong key and beside ordinary keys.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libopenssl.sh"
conf=$BUILD/openssl-a71ch.cnf
cd "$work" || exit 1

# --- keys and certificates ---------------------------------------------------------------------
start_chip a71chd
check "a71chConfig makes two key pairs" "$bin/a71chConfig" "$A71CH_ADDRESS" gen pair -x 0
"$bin/a71chConfig" "$A71CH_ADDRESS" gen pair -x 1 >/dev/null
"$bin/a71chConfig" "$A71CH_ADDRESS" refpem -c 10 -x 0 -r ref.pem >/dev/null
"$bin/a71chConfig" "$A71CH_ADDRESS" refpem -c 10 -x 1 -r other.pem >/dev/null
echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
echo 'a message' >message
new_key prime256v1 ca.key
openssl req -x509 -new -key ca.key -subj /CN=Authority -days 30 -out ca.pem
new_key prime256v1 server.key
issue server server.key localhost

# --- openssl -----------------------------------------------------------------------------------
check_signs 0 "the public key is read without the chip" chip openssl pkey -in ref.pem -pubout -out pub.pem
check_signs 1 "a certificate request is signed in the chip" \
    chip openssl req -new -key ref.pem -subj /CN=device -out device.csr
check "and verifies" openssl req -in device.csr -verify -noout
openssl x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out device.pem 2>/dev/null
issue foreign server.key foreign
for digest in sha1 sha224 sha256 sha384 sha512; do
    check_signs 1 "dgst -$digest signs in the chip" chip openssl dgst -$digest -sign ref.pem -out sig message
    check "and software verifies it" openssl dgst -$digest -verify pub.pem -signature sig message
done
check "the provider verifies with the reference key" \
    chip openssl dgst -sha512 -prverify ref.pem -signature sig message
openssl dgst -sha256 -binary -out hash message
check_signs 1 "pkeyutl -sign signs in the chip" \
    chip openssl pkeyutl -sign -inkey ref.pem -in hash -pkeyopt digest:sha256 -out sig
check "and software verifies it" openssl dgst -sha256 -verify pub.pem -signature sig message
new_key prime256v1 peer.key
openssl pkey -in peer.key -pubout -out peer.pub
check "pkeyutl -derive works with the chip" \
    chip openssl pkeyutl -derive -inkey ref.pem -peerkey peer.pub -out secret.chip
openssl pkeyutl -derive -inkey peer.key -peerkey pub.pem -out secret.soft
check "and gives what software gives" cmp secret.chip secret.soft
check_signs 1 "cms -sign signs in the chip" chip openssl cms -sign -in message -signer device.pem \
    -inkey ref.pem -out signed.cms
check "and software verifies it" openssl cms -verify -in signed.cms -CAfile ca.pem -purpose any -out plain.txt
check "cms -encrypt for the device" openssl cms -encrypt -aes256 -in message -out secret.cms device.pem
check "is decrypted with the chip" chip openssl cms -decrypt -in secret.cms -recip device.pem -inkey ref.pem \
    -binary -out plain.txt
check "to what was encrypted" sh -c 'tr -d "\r" <plain.txt | cmp - message'
check_signs 1 "req -x509 makes the chip an authority" \
    chip openssl req -x509 -new -key ref.pem -subj /CN=chip -days 30 -out chipca.pem
check_signs 1 "x509 -req signs a certificate in the chip" chip openssl x509 -req -in server.csr -CA chipca.pem \
    -CAkey ref.pem -CAcreateserial -days 30 -out bychip.pem
check "that verifies" openssl verify -CAfile chipca.pem bychip.pem

if [ -z "${PRELOAD:-}" ] && command -v valgrind >/dev/null; then
    # without debug information, which valgrind does not read in every compiler's form
    objcopy --strip-debug "$lib/ossl-modules/e2a71ch.so" stripped.so
    sed "s,^module = .*,module = $work/stripped.so," "$conf" >stripped.cnf
    check_signs 1 "valgrind finds no error and no leak in openssl with the module" env OPENSSL_CONF="$work/stripped.cnf" valgrind \
        -q --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all --error-exitcode=9 openssl dgst -sha256 -sign ref.pem -out sig message
else
    echo 'skip - valgrind over openssl: not installed, or a sanitizer is at work'
fi

same_key()
{
    openssl ec -in "$1" -outform DER -out a.der 2>/dev/null && openssl ec -in ref.pem -outform DER -out b.der 2>/dev/null &&
        cmp a.der b.der
}
check_output "pkey -text says what the number is" 'reference to key pair 0' chip openssl pkey -in ref.pem -noout -text
check "pkey -check accepts it" chip openssl pkey -in ref.pem -check -noout
check "pkey writes PKCS#8" chip openssl pkey -in ref.pem -out ref8.pem
check "which is the same reference" same_key ref8.pem
check_signs 1 "and signs in the chip" chip openssl dgst -sha256 -sign ref8.pem -out sig message
check "ec writes SEC 1" chip openssl ec -in ref8.pem -out again.pem
check "which is the same reference" same_key again.pem
check "pkey encrypts when it is asked to" chip openssl pkey -in ref.pem -aes256 -passout pass:word -out enc.pem
check "and not in name only" grep -q 'BEGIN ENCRYPTED PRIVATE KEY' enc.pem
check_signs 1 "an encrypted reference signs in the chip" \
    chip openssl dgst -sha256 -sign enc.pem -passin pass:word -out sig message
check "pkcs12 -export takes the reference" chip openssl pkcs12 -export -in device.pem -inkey ref.pem \
    -passout pass:word -out device.p12
check "and gives it back" chip openssl pkcs12 -in device.p12 -passin pass:word -nocerts -noenc -out from12.pem
check "unchanged" same_key from12.pem

# --- TLS ---------------------------------------------------------------------------------------
for version in 1_2 1_3; do
    serve server$version openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 \
        -verify_return_error -rev -tls$version
    check_signs 1 "mutual TLS $version as client: one signature" \
        say chip openssl s_client -cert device.pem -key ref.pem -tls$version
    stop server$version
    # shellcheck disable=SC2086 # OPENSSL_CONF and the runtime for a program in the background
    serve chipserver$version env OPENSSL_CONF="$conf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
        openssl s_server -cert device.pem -key ref.pem -rev -tls$version
    check_signs 1 "TLS $version as server: one signature" say openssl s_client -tls$version
    stop chipserver$version
done
serve www openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error -WWW
if chip timeout 60 curl --version >/dev/null; then
    check_signs 1 "curl fetches with the reference key" chip curl -sS --fail --cacert ca.pem --cert device.pem \
        --key ref.pem "https://127.0.0.1:$port/message" -o fetched
    check "what was there" cmp fetched message
    for version in 1.2 1.3; do
        check_signs 1 "curl with TLS $version" chip curl -sS --fail --tlsv$version --tls-max $version --cacert ca.pem \
            --cert device.pem --key ref.pem "https://127.0.0.1:$port/message"
    done
    check_fails any "the certificate of another key is refused" chip curl -sS --fail --cacert ca.pem --cert foreign.pem \
        --key ref.pem "https://127.0.0.1:$port/message"
else
    echo 'skip - curl: it hangs in setlocale when a sanitizer is preloaded, also without our module'
fi
cat >client.py <<'END'
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile="ca.pem")
context.load_cert_chain("device.pem", "ref.pem")
print(urllib.request.urlopen("https://127.0.0.1:" + sys.argv[1] + "/message", context=context).read())
END
check_signs 1 "python's ssl fetches with the reference key" chip /usr/bin/python3 client.py "$port"
stop www

for version in tlsv1.2 tlsv1.3; do
    # mosquitto_pub's --tls-version is a minimum: the broker says which it is
    broker=$(free_port)
    cat >broker.conf <<END
user root
listener $broker 127.0.0.1
cafile $work/ca.pem
certfile $work/server.pem
keyfile $work/server.key
require_certificate true
allow_anonymous true
tls_version $version
END
    start "mosquitto-$version" mosquitto -c "$work/broker.conf"
    wait_line "mosquitto-$version" ' running$' >/dev/null
    check_signs 1 "mosquitto_pub publishes over $version" chip mosquitto_pub -h 127.0.0.1 -p "$broker" -q 1 \
        --cafile ca.pem --cert device.pem --key ref.pem -t t -m hello
    check_fails any "mosquitto_pub with another key than the certificate's fails" chip mosquitto_pub -h 127.0.0.1 \
        -p "$broker" --cafile ca.pem --cert device.pem --key other.pem -t t -m hello
    stop "mosquitto-$version"
done

if command -v nginx >/dev/null; then
    port=$(free_port)
    cat >nginx.conf <<END
daemon off;
pid $work/nginx.pid.txt;
error_log $work/nginx-error.log;
worker_processes 2;
events { }
http {
    access_log off;
    client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3;
    uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $work/named.pem;
        ssl_certificate_key $work/ref.pem;
        location / { return 200 "from nginx"; }
    }
}
END
    openssl x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out named.pem \
        2>/dev/null
    # shellcheck disable=SC2086
    start nginx env OPENSSL_CONF="$conf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
        nginx -c "$work/nginx.conf" -e "$work/nginx-error.log"
    wait_for 10 curl -sS --cacert ca.pem -o reply "https://127.0.0.1:$port/" || tail -n 3 nginx.log nginx-error.log
    for i in 1 2 3 4; do
        check_signs 1 "nginx serves with the chip's key, handshake $i" curl -sS --fail --cacert ca.pem \
            "https://127.0.0.1:$port/"
    done
    stop nginx
else
    skip nginx "a server key in the chip, signed in its workers"
fi
if command -v node >/dev/null; then
    check_signs 1 "node signs with the reference key" chip node -e '
        const c = require("crypto"), f = require("fs");
        const s = c.sign("sha256", f.readFileSync("message"), f.readFileSync("ref.pem"));
        process.exit(c.verify("sha256", f.readFileSync("message"), f.readFileSync("pub.pem"), s) ? 0 : 1)'
else
    skip node "signing with its own OpenSSL"
fi

# --- names: all that TLS needs comes out of the chip --------------------------------------------
check "the device's certificate goes into the chip" "$bin/a71chConfig" "$A71CH_ADDRESS" wcrt -x 1 -p device.pem -n 1
check "its issuer's too" "$bin/a71chConfig" "$A71CH_ADDRESS" wcrt -x 2 -p ca.pem
check "another one" "$bin/a71chConfig" "$A71CH_ADDRESS" wcrt -x 3 -p server.pem
check "x509 reads the certificate of the key pair" chip openssl x509 -in a71ch:pair=0 -out named.pem
check "which is the device's" sh -c 'openssl x509 -in device.pem | cmp - named.pem'
check_output "storeutl finds the chain" '^Total found: 2' chip openssl storeutl -noout -certs a71ch:pair=0
check_output "and one by its index" 'CN ?= ?localhost' chip openssl x509 -in a71ch:cert=3 -noout -subject
serve names openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error -rev
check_signs 1 "TLS with key, certificate and chain by name" \
    say chip openssl s_client -key a71ch:pair=0 -cert a71ch:pair=0 -cert_chain a71ch:pair=0
stop names

# --- beside ordinary keys ----------------------------------------------------------------------
edwards()
{
    chip openssl pkeyutl -sign -rawin -inkey "$1" -in message -out o.sig &&
        openssl pkeyutl -verify -rawin -inkey "$1" -in message -sigfile o.sig
}
new_key secp384r1 p384.key
openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null
openssl genpkey -algorithm ed25519 -out ed.key
for key in peer p384 rsa; do
    check_signs 0 "an ordinary key is used as ever: $key" ordinary $key.key
done
check_signs 0 "an ordinary key is used as ever: ed25519" edwards ed.key
check_signs 0 "a new key is made as ever" chip openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-521 -out p521.key
serve ordinary openssl s_server -cert server.pem -key server.key -rev
for group in X25519 P-256 P-384 P-521; do
    check "TLS group $group is there" say chip openssl s_client -groups $group
done
stop ordinary

# --- many at once, and the chip gone -----------------------------------------------------------
many()
{
    pids=
    for i in 1 2 3 4 5 6 7 8; do
        chip openssl dgst -sha256 -sign ref.pem -out "many.$i" message &
        pids="$pids $!"
    done
    for pid in $pids; do
        wait "$pid" || return 1
    done
    for i in 1 2 3 4 5 6 7 8; do
        openssl dgst -sha256 -verify pub.pem -signature "many.$i" message || return 1
    done
}
check_signs 8 "eight processes sign at once" many

cat >twice.py <<'END'
import ssl, sys, socket
context = ssl.create_default_context(cafile="ca.pem")
context.load_cert_chain("device.pem", "ref.pem")
for line in sys.stdin:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
        with context.wrap_socket(s, server_hostname="localhost") as t:
            t.sendall(b"hello\nCLOSE\n")
            print("answer", t.recv(100), flush=True)
END
serve again openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error -rev
mkfifo orders
# shellcheck disable=SC2086
start client env OPENSSL_CONF="$conf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
    sh -c 'exec /usr/bin/python3 twice.py "$1" <orders' sh "$port"
exec 9>orders
echo >&9
check "a long-lived client signs" wait_for 10 grep -q olleh client.log
stop a71chd
start a71chd "$bin/a71chd" --sim "$work/a71chd.chip" --listen "tcp:$A71CH_ADDRESS"
wait_line a71chd '^ready$' >/dev/null
echo >&9
check "and again after the chip's server was restarted" wait_for 10 sh -c '[ "$(grep -c olleh client.log)" = 2 ]'
exec 9>&-
stop client
stop again

stop a71chd
check_fails any "without the chip nothing is signed" chip openssl dgst -sha256 -sign ref.pem -out none message
check_output "and the reason is told" "e2a71ch.*cannot be reached.*$A71CH_ADDRESS" \
    sh -c "OPENSSL_CONF='$conf' LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 openssl dgst -sha256 -sign ref.pem message || :"
check_fails any "nor published" chip mosquitto_pub -h 127.0.0.1 -p 1 --cafile ca.pem --cert device.pem --key ref.pem \
    -t t -m hello
done_testing

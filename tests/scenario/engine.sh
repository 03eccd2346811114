#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The ENGINE e2a71ch with unmodified programs: asked for by name, with a reference file or a slot, and as
# the default EC method by configuration, which reaches programs that the provider does not.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libopenssl.sh"
conf=$BUILD/openssl-a71ch-engine.cnf
cd "$work" || exit 1
if [ ! -f "$conf" ]; then
    echo 'skip - the engine: this OpenSSL has no engines'
    done_testing
fi

# a program told of the engine by name only
named()
{
    env OPENSSL_ENGINES="$lib/engines-3" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} "$@"
}

start a71chd "$bin/a71chd" --sim "$work/chip" --listen tcp:127.0.0.1:0 --listen "unix:$work/sock"
wait_line a71chd '^ready$' >/dev/null || exit 1
A71CH_ADDRESS=$(wait_line a71chd '^listening tcp:' | sed 's/^listening tcp://')
export A71CH_ADDRESS
for i in 0 1; do
    "$bin/a71chConfig" "$A71CH_ADDRESS" gen pair -x $i >/dev/null
    "$bin/a71chConfig" "$A71CH_ADDRESS" refpem -c 10 -x $i -r ref$i.pem >/dev/null
done
echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
echo 'a message' >message
new_key prime256v1 ca.key
openssl req -x509 -new -key ca.key -subj /CN=Authority -days 30 -out ca.pem
new_key prime256v1 server.key
issue server server.key localhost
new_key prime256v1 peer.key
openssl pkey -in peer.key -pubout -out peer.pub

# --- asked for by name -------------------------------------------------------------------------
check_output "openssl lists its control commands" 'LOG_LEVEL, SO_PATH, ADDRESS, STRICT_RANDOM, ANSWER_TIMEOUT' \
    named openssl engine -t -v e2a71ch
named openssl engine -v e2a71ch | tail -n +2 | tr -d ' ' | tr , '\n' | sort >commands.engine
sed -n '/^| Control command/,/^$/s/^| `\([A-Z_]*\)`.*/\1/p' "$root/docs/openssl.md" | sort >commands.docs
sed -n '/^\.SH ENGINE/,/^\.SH RANDOM/s/^\.B \([A-Z_]*\)$/\1/p' "$root/man/e2a71ch.7" | sort >commands.man
check "docs/openssl.md has those, and no other" diff commands.engine commands.docs
check "so has the manual page" diff commands.engine commands.man
check_signs 0 "the public key of a slot" named openssl pkey -engine e2a71ch -inform engine -in pair:0 -pubout -out pub.pem
check_signs 1 "dgst signs with a slot" named openssl dgst -sha256 -engine e2a71ch -keyform engine -sign pair:0 -out sig message
check "and software verifies it" openssl dgst -sha256 -verify pub.pem -signature sig message
check_signs 1 "dgst signs with a reference file" \
    named openssl dgst -sha256 -engine e2a71ch -keyform engine -sign ref0.pem -out sig message
check "and software verifies it" openssl dgst -sha256 -verify pub.pem -signature sig message
check_signs 1 "without -keyform, too" named openssl dgst -sha384 -engine e2a71ch -sign ref0.pem -out sig message
check "and software verifies it" openssl dgst -sha384 -verify pub.pem -signature sig message
check_signs 1 "a certificate request" named openssl req -engine e2a71ch -new -keyform engine -key pair:0 \
    -subj /CN=device -out device.csr
check "verifies" openssl req -in device.csr -verify -noout
openssl x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out device.pem 2>/dev/null
check "pkeyutl -derive with a slot" \
    named openssl pkeyutl -engine e2a71ch -derive -keyform engine -inkey pair:0 -peerkey peer.pub -out secret.chip
openssl pkeyutl -derive -inkey peer.key -peerkey pub.pem -out secret.soft
check "gives what software gives" cmp secret.chip secret.soft
before=$(commands)
check_output "rand draws from the chip" '^[0-9a-f]{32}$' sh -c "OPENSSL_ENGINES='$lib/engines-3' LD_PRELOAD='${PRELOAD:-}' \
    ASAN_OPTIONS=detect_leaks=0 openssl rand -engine e2a71ch -hex 16 2>/dev/null"
check "which it answered" test "$(commands)" -gt "$before"
check_fails any "a slot that no chip has is refused" named openssl pkey -engine e2a71ch -inform engine -in pair:7 -pubout
check_fails any "an ordinary key asked of the engine is refused" \
    named openssl dgst -sha256 -engine e2a71ch -keyform engine -sign peer.key message
check_output "SO_PATH is refused, as by NXP's engine" '^\[Failure\]: SO_PATH:/x' \
    sh -c "OPENSSL_ENGINES='$lib/engines-3' LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 openssl engine e2a71ch -pre SO_PATH:/x || :"
check_output "LOG_LEVEL tells of each use of the chip" 'e2a71ch: signed with key pair 1' \
    sh -c "printf 'openssl_conf=i\n[i]\nengines=e\n[e]\ne=s\n[s]\nengine_id=e2a71ch\ndynamic_path=%s\nLOG_LEVEL=1\ndefault_algorithms=EC\n' \
        '$lib/engines-3/e2a71ch.so' >log.cnf; OPENSSL_CONF=log.cnf LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 \
        openssl dgst -sha256 -sign ref1.pem -out sig message 2>&1"

"$bin/a71chConfig" "$A71CH_ADDRESS" set pub -x 1 -k peer.pub >/dev/null
"$bin/a71chConfig" "$A71CH_ADDRESS" refpem -c 20 -x 1 -r public1.pem >/dev/null
openssl dgst -sha256 -sign peer.key -out peer.sig message
check "a reference to a stored public key verifies in the chip" \
    named openssl dgst -sha256 -engine e2a71ch -prverify public1.pem -signature peer.sig message
check_fails any "and refuses another message's signature" \
    named openssl dgst -sha256 -engine e2a71ch -prverify public1.pem -signature peer.sig names
check_fails any "and does not sign" named openssl dgst -sha256 -engine e2a71ch -sign public1.pem message

# --- TLS by programs that know engines ---------------------------------------------------------
for version in 1_2 1_3; do
    serve server$version openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 \
        -verify_return_error -rev -tls$version
    check_signs 1 "s_client -engine, TLS $version: one signature" \
        say named openssl s_client -engine e2a71ch -keyform engine -key pair:0 -cert device.pem -tls$version
    stop server$version
    serve chipserver$version env OPENSSL_ENGINES="$lib/engines-3" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
        openssl s_server -engine e2a71ch -keyform engine -key pair:0 -cert device.pem -rev -tls$version
    check_signs 1 "s_server -engine, TLS $version: one signature" say openssl s_client -tls$version
    stop chipserver$version
done
serve www openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error -WWW
if chip timeout 60 curl --version >/dev/null; then
    for key in ref0.pem pair:0; do
        check_signs 1 "curl --engine with $key" named curl -sS --fail --engine e2a71ch --key-type ENG --key $key \
            --cert device.pem --cacert ca.pem "https://127.0.0.1:$port/message"
    done
    check_signs 1 "curl by configuration" chip curl -sS --fail --key ref0.pem --cert device.pem --cacert ca.pem \
        "https://127.0.0.1:$port/message"
else
    echo 'skip - curl: it hangs in setlocale when a sanitizer is preloaded, also without our module'
fi
cat >client.py <<'END_PY'
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile="ca.pem")
context.load_cert_chain("device.pem", "ref0.pem")
print(urllib.request.urlopen("https://127.0.0.1:" + sys.argv[1] + "/message", context=context).read())
END_PY
check_signs 1 "python's ssl by configuration" chip /usr/bin/python3 client.py "$port"
stop www
broker=$(free_port)
cat >broker.conf <<END_CONF
user root
listener $broker 127.0.0.1
cafile $work/ca.pem
certfile $work/server.pem
keyfile $work/server.key
require_certificate true
allow_anonymous true
END_CONF
start mosquitto mosquitto -c "$work/broker.conf"
wait_line mosquitto ' running$' >/dev/null
check_signs 1 "mosquitto_pub --tls-engine" named mosquitto_pub -h 127.0.0.1 -p "$broker" -q 1 --cafile ca.pem \
    --cert device.pem --key ref0.pem --tls-engine e2a71ch --keyform engine -t t -m hello
check_signs 1 "mosquitto_pub by configuration" chip mosquitto_pub -h 127.0.0.1 -p "$broker" -q 1 --cafile ca.pem \
    --cert device.pem --key ref0.pem -t t -m hello
check_fails any "with another key than the certificate's it fails" chip mosquitto_pub -h 127.0.0.1 -p "$broker" \
    --cafile ca.pem --cert device.pem --key ref1.pem -t t -m hello
stop mosquitto
if command -v nginx >/dev/null; then
    port=$(free_port)
    cat >nginx.conf <<END_CONF
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
        ssl_certificate $work/device.pem;
        ssl_certificate_key engine:e2a71ch:pair:0;
        location / { return 200 "from nginx"; }
    }
}
END_CONF
    start nginx env OPENSSL_CONF="$conf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
        nginx -c "$work/nginx.conf" -e "$work/nginx-error.log"
    wait_for 10 curl -sS --cacert ca.pem -o reply "https://127.0.0.1:$port/" || tail -n 3 nginx.log nginx-error.log
    for i in 1 2 3; do
        check_signs 1 "nginx serves with engine:e2a71ch:pair:0, handshake $i" curl -sS --fail --cacert ca.pem \
            "https://127.0.0.1:$port/"
    done
    stop nginx
else
    skip nginx "a server key named by engine and slot"
fi

# --- the default EC method, by configuration ---------------------------------------------------
check_signs 1 "cms -sign by configuration" chip openssl cms -sign -in message -signer device.pem -inkey ref0.pem -out signed.cms
check "verifies" openssl cms -verify -in signed.cms -CAfile ca.pem -purpose any -out plain.txt
if command -v ssh-keygen >/dev/null; then
    chmod 600 ref0.pem
    check_signs 0 "ssh-keygen reads the reference" sh -c "OPENSSL_CONF='$conf' LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 \
        ssh-keygen -y -f ref0.pem >ref0.pem.pub"
    check_signs 1 "and signs in the chip" chip ssh-keygen -Y sign -f ref0.pem -n test message
    printf 'device %s\n' "$(cat ref0.pem.pub)" >allowed
    check "which it verifies" sh -c 'ssh-keygen -Y verify -f allowed -I device -n test -s message.sig <message'
else
    skip ssh-keygen "a key in OpenSSL's old form"
fi
if /usr/bin/python3 -c 'import cryptography' 2>/dev/null; then
    cat >sign.py <<'END_PY'
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = serialization.load_pem_private_key(open("ref0.pem", "rb").read(), None)
signature = key.sign(open("message", "rb").read(), ec.ECDSA(hashes.SHA256()))
open("sig", "wb").write(signature)
END_PY
    check_signs 1 "python3-cryptography signs in the chip" chip /usr/bin/python3 sign.py
    check "and software verifies it" openssl dgst -sha256 -verify pub.pem -signature sig message
else
    skip python3-cryptography "a key in OpenSSL's old form"
fi
if command -v node >/dev/null; then
    check_signs 1 "node signs with the reference key" chip node -e '
        const c = require("crypto"), f = require("fs");
        const s = c.sign("sha256", f.readFileSync("message"), f.readFileSync("ref0.pem"));
        process.exit(c.verify("sha256", f.readFileSync("message"), f.readFileSync("pub.pem"), s) ? 0 : 1)'
else
    skip node "signing with its own OpenSSL"
fi

# --- beside ordinary keys, and never both ------------------------------------------------------
new_key secp384r1 p384.key
openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null
for key in peer p384 rsa; do
    check_signs 0 "an ordinary key is used as ever: $key" ordinary $key.key
done
check_signs 0 "a new key is made as ever" chip openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-521 -out p521.key
check "and is sound" openssl pkey -in p521.key -check -noout
check_fails 1 "this configuration activates no provider of ours" \
    sh -c "OPENSSL_CONF='$conf' LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 openssl list -providers | grep e2a71ch"
check_fails 1 "and the provider's no engine" grep -i engine "$BUILD/openssl-a71ch.cnf"

# --- the slot filled again, many at once, the chip gone ----------------------------------------
"$bin/a71chConfig" "$A71CH_ADDRESS" gen pair -x 1 >/dev/null
check_fails any "a slot that was filled again gives no signature" chip openssl dgst -sha256 -sign ref1.pem message
many()
{
    pids=
    for i in 1 2 3 4 5 6 7 8; do
        chip openssl dgst -sha256 -sign ref0.pem -out "many.$i" message &
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
for how in threads forks exec mixed; do
    case $how in threads | mixed) count=2 total=32 ;; forks) count=2 total=20 ;; exec) count=2 total=4 ;; esac
    check_signs $total "a program, $how: two signatures for each mutual handshake" env OPENSSL_CONF="$conf" \
        timeout 60 "$BUILD/obj/tests/tls_many" ref0.pem device.pem ca.pem $how $count
done
sed 's/^default_algorithms = EC/&,RAND/' "$conf" >random.cnf
cat >fork.py <<'END_PY'
import os, ssl
drawn = [ssl.RAND_bytes(32)]
for _ in range(3):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, ssl.RAND_bytes(32))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    drawn.append(os.read(reader, 32))
drawn.append(ssl.RAND_bytes(32))
assert len(set(drawn)) == 5 and all(len(d) == 32 for d in drawn)
END_PY
before=$(commands)
check "RAND by configuration, in a process and its children" env OPENSSL_CONF="$work/random.cnf" \
    ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} /usr/bin/python3 fork.py
check "each drew from the chip" test "$(commands)" -ge $((before + 9))
sed 's/^# ANSWER_TIMEOUT = .*/ANSWER_TIMEOUT = 1/' "$conf" >patient.cnf
"$bin/a71chd" --ctl "unix:$work/sock" fault add hang:ins=15,count=1 >/dev/null
check_output "a mute chip is given up after ANSWER_TIMEOUT" 'e2a71ch.*no answer' sh -c "OPENSSL_CONF='$work/patient.cnf' \
    LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 timeout 60 openssl dgst -sha256 -sign ref0.pem message 2>&1 || :"
"$bin/a71chd" --ctl "unix:$work/sock" fault clear >/dev/null
if [ -z "${PRELOAD:-}" ] && command -v valgrind >/dev/null; then
    # without debug information, which valgrind does not read in every compiler's form
    objcopy --strip-debug "$lib/engines-3/e2a71ch.so" stripped.so
    sed "s,^dynamic_path = .*,dynamic_path = $work/stripped.so," "$conf" >stripped.cnf
    check_signs 1 "valgrind finds no error and no leak in openssl with the engine" env OPENSSL_CONF="$work/stripped.cnf" valgrind \
        -q --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all --error-exitcode=9 openssl dgst -sha256 -sign ref0.pem -out sig message
else
    echo 'skip - valgrind over openssl: not installed, or a sanitizer is at work'
fi
stop a71chd
check_fails any "without the chip nothing is signed" chip openssl dgst -sha256 -sign ref0.pem -out none message
check_output "and the reason is told" "e2a71ch.*cannot be reached.*$A71CH_ADDRESS" \
    sh -c "OPENSSL_CONF='$conf' LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 openssl dgst -sha256 -sign ref0.pem message || :"
check "random numbers come from the operating system then" named openssl rand -engine e2a71ch -hex 16
sed 's/^# STRICT_RANDOM/STRICT_RANDOM/; s/^default_algorithms = EC/&,RAND/' "$conf" >strict.cnf
check_fails any "or not at all, when STRICT_RANDOM says so" env OPENSSL_CONF="$work/strict.cnf" \
    ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} openssl rand -hex 16
done_testing

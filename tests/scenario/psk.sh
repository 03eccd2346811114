#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# TLS with a pre-shared key that is in the chip: unmodified programs are given a reference in its place, the
# other side is plain OpenSSL with the real key.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libopenssl.sh"
cd "$work" || exit 1
conf=$work/psk.cnf
sed 's/^# alg_section = /alg_section = /' "$BUILD/openssl-a71ch.cnf" >psk.cnf
key=000102030405060708090a0b0c0d0e0f

start_chip a71chd

# --- provisioning ------------------------------------------------------------------------------
ref=$(reference hmac 0 $key)
check "psk hmac names the slots it filled: three for TLS 1.2, two for 1.3" test "$ref" = a5a6b5b6a5a6b5b64300030302000000
check_output "and prints them without --json" '^PSK reference: a5a6b5b6a5a6b5b64300030302000000$' \
    "$bin/a71chConfig" "$A71CH_ADDRESS" psk hmac -x 0 -h $key
printf '  %s\n' $key >key.hex
check_output "the key may come from a file" '^PSK reference: a5a6b5b6a5a6b5b64300030302000000$' \
    "$bin/a71chConfig" "$A71CH_ADDRESS" psk hmac -x 0 -k key.hex
echo "$key rest" >bad.hex
check_fails 29 "a file with more than the key is refused" "$bin/a71chConfig" "$A71CH_ADDRESS" psk hmac -x 0 -k bad.hex
check_fails 34 "a reference is refused as a key" "$bin/a71chConfig" "$A71CH_ADDRESS" psk hmac -x 0 -h "$ref"
check_fails 34 "for the native command, too" "$bin/a71chConfig" "$A71CH_ADDRESS" psk native -x 0 -h "$ref"
check_fails 30 "slots that the chip has not are refused" "$bin/a71chConfig" "$A71CH_ADDRESS" psk hmac -x 4 -h $key
check_fails 34 "a length that the native command does not take is refused" \
    "$bin/a71chConfig" "$A71CH_ADDRESS" psk native -x 0 -h 0102

# --- the chip as client, then as server; TLS 1.2 with extended master secret and without, and TLS 1.3 ---
serve plain openssl s_server -nocert -psk $key -rev
suite="-cipher PSK-AES128-GCM-SHA256"
# shellcheck disable=SC2086 # a list of options
{
    check_commands 4 "client, TLS 1.2: four HMACs" say_psk "$ref" chip openssl s_client -tls1_2 $suite
    check_output "with extended master secret" 'Extended master secret: yes' sh -c "echo | OPENSSL_CONF='$conf' \
        LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 openssl s_client -tls1_2 $suite -psk $ref -connect 127.0.0.1:$port"
    check_commands 4 "a CBC suite" say_psk "$ref" chip openssl s_client -tls1_2 -cipher PSK-AES128-CBC-SHA256
    sed 's/^providers = /ssl_conf = e2a71ch_ssl\n&/; $a [e2a71ch_ssl]\nsystem_default = e2a71ch_noems\n[e2a71ch_noems]\nOptions = -ExtendedMasterSecret' psk.cnf >noems.cnf
    conf=$work/noems.cnf
    check_commands 4 "without extended master secret" say_psk "$ref" chip openssl s_client -tls1_2 $suite
    conf=$work/psk.cnf
    check_commands 2 "client, TLS 1.3: two HMACs" say_psk "$ref" chip openssl s_client -tls1_3
    check_output "and the key was used, not a certificate" 'Reused, TLSv1.3' sh -c "echo | OPENSSL_CONF='$conf' \
        LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 openssl s_client -tls1_3 -psk $ref -connect 127.0.0.1:$port"
    check_fails any "a SHA-384 suite is refused" say_psk "$ref" chip openssl s_client -tls1_2 -cipher PSK-AES256-GCM-SHA384
    check_output "with the reason" 'derives keys with SHA-256 only' sh -c "echo | OPENSSL_CONF='$conf' LD_PRELOAD='${PRELOAD:-}' \
        ASAN_OPTIONS=detect_leaks=0 openssl s_client -tls1_2 -cipher PSK-AES256-GCM-SHA384 -psk $ref -connect 127.0.0.1:$port 2>&1 || :"
    check_fails any "ECDHE_PSK is refused" say_psk "$ref" chip openssl s_client -tls1_2 -cipher ECDHE-PSK-AES128-CBC-SHA256
    check_fails any "a broken reference is refused" say_psk a5a6b5b6a5a6b5b64300050302000000 chip openssl s_client -tls1_3
    check_fails any "so is an empty slot" say_psk a5a6b5b6a5a6b5b64306020602000000 chip openssl s_client -tls1_3
    check_fails any "without the line alg_section the handshake fails" \
        say_psk "$ref" env OPENSSL_CONF="$BUILD/openssl-a71ch.cnf" openssl s_client -tls1_3
    other=$(reference hmac 0 ffeeddccbbaa99887766554433221100)
    check_fails any "another key in the slots fails, TLS 1.2" say_psk "$other" chip openssl s_client -tls1_2 $suite
    check_fails any "and TLS 1.3" say_psk "$other" chip openssl s_client -tls1_3
    reference hmac 0 $key >/dev/null
    printf 'hello\nCLOSE\n' >hello
    for version in "-tls1_2 $suite" -tls1_3; do
        check_valgrind psk.cnf all "valgrind finds no error and no leak: $version" openssl s_client -quiet $version -psk "$ref" \
            -connect "127.0.0.1:$port" <hello
    done
    stop plain

    serve chipserver env OPENSSL_CONF="$conf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
        openssl s_server -nocert -psk "$ref" -rev
    check_commands 4 "server, TLS 1.2: four HMACs" say_psk $key openssl s_client -tls1_2 $suite
    before=$(commands)
    check "server, TLS 1.3" say_psk $key openssl s_client -tls1_3
    check "two HMACs on the same connection" test "$(commands)" = $((before + 2))
    check_fails any "another key is refused" say_psk ffeeddccbbaa99887766554433221100 openssl s_client -tls1_3
    stop chipserver
}

# --- keys of any length: the longest premaster that fits a block, one more, and much more ------
for digits in 2 60 62 128 512; do
    long=$(head -c "$digits" /dev/zero | tr '\0' a)
    long_ref=$(reference hmac 0 "$long")
    serve "plain$digits" openssl s_server -nocert -psk "$long" -rev
    check "a key of $((digits / 2)) bytes, TLS 1.2" say_psk "$long_ref" chip openssl s_client -tls1_2 -cipher PSK-AES128-GCM-SHA256
    check "and TLS 1.3" say_psk "$long_ref" chip openssl s_client -tls1_3
    stop "plain$digits"
done
reference hmac 0 $key >/dev/null

# --- mosquitto_pub, and ordinary TLS beside it -------------------------------------------------
for version in tlsv1.2 tlsv1.3; do
    broker=$(free_port)
    echo "device:$key" >psk.txt
    cat >broker.conf <<END_CONF
user root
listener $broker 127.0.0.1
psk_hint test
psk_file $work/psk.txt
allow_anonymous true
tls_version $version
ciphers PSK-AES128-GCM-SHA256
END_CONF
    start "mosquitto-$version" mosquitto -c "$work/broker.conf"
    wait_line "mosquitto-$version" ' running$' >/dev/null
    check "mosquitto_pub --psk publishes over $version with the key in the chip" chip timeout 60 mosquitto_pub -h 127.0.0.1 -p "$broker" -q 1 \
        --psk "$ref" --psk-identity device -t t -m hello
    stop "mosquitto-$version"
done
echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
new_key prime256v1 ca.key
openssl req -x509 -new -key ca.key -subj /CN=Authority -days 30 -out ca.pem
new_key prime256v1 server.key
issue server server.key localhost
serve ordinary openssl s_server -cert server.pem -key server.key -rev
before=$(commands)
for option in "-tls1_2" "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384" "-tls1_3" "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384"; do
    # shellcheck disable=SC2086
    check "ordinary TLS under this configuration: $option" say chip openssl s_client $option
done
check "which the chip does not see" test "$(commands)" = "$before"
stop ordinary

# --- the chip gone -----------------------------------------------------------------------------
serve last openssl s_server -nocert -psk $key -rev
stop a71chd
for version in "-tls1_2 $suite" -tls1_3; do
    # shellcheck disable=SC2086
    check_fails any "without the chip there is no handshake: $version" say_psk "$ref" chip openssl s_client $version
done
check_output "and the reason is told" "e2a71ch.*cannot be reached.*$A71CH_ADDRESS" sh -c "echo | OPENSSL_CONF='$conf' \
    LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 openssl s_client -tls1_3 -psk $ref -connect 127.0.0.1:$port 2>&1 || :"
done_testing

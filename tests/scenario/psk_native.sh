#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# TLS 1.2 with PSK and ECDHE_PSK by the chip's own master secret command: unmodified clients, the other side
# is plain OpenSSL with the real key. AN12131 4.3.1.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libopenssl.sh"
cd "$work" || exit 1
native=$BUILD/openssl-a71ch-psk-native.cnf
sed 's/^# psk_pair = /psk_pair = /' "$native" >static.cnf
sed 's/^# psk_pair_renew = /psk_pair_renew = /' static.cnf >renew.cnf
conf=$native
key=000102030405060708090a0b0c0d0e0f
psk_suite="-cipher PSK-AES128-GCM-SHA256"
ecdhe_suite="-cipher ECDHE-PSK-AES128-CBC-SHA256"

# reason CNF OPTION ...: what s_client says
reason()
{
    cnf=$1
    shift
    echo | env OPENSSL_CONF="$cnf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} openssl s_client "$@" \
        -connect "127.0.0.1:$port" 2>&1 || :
}

public_of_pair()
{
    "$bin/a71chConfig" --json "$A71CH_ADDRESS" get pub -c 10 -x 3 -k pair3.pem >/dev/null 2>&1
    openssl pkey -pubin -in pair3.pem -outform DER | sha256sum
}

start_chip a71chd
"$bin/a71chConfig" "$A71CH_ADDRESS" gen pair -x 3 >/dev/null
ref=$(reference native 5 $key)
check "psk native names the slot it filled" test "$ref" = a5a6b5b6a5a6b5b64005010000000000
serve plain openssl s_server -nocert -psk $key -rev
# shellcheck disable=SC2086 # lists of options
{
    check "PSK" say_psk "$ref" chip openssl s_client $psk_suite
    check_output "without extended master secret, which the chip does not know" 'Extended master secret: no' \
        reason "$conf" -psk "$ref" $psk_suite
    check_fails any "ECDHE_PSK wants a key pair of the chip" say_psk "$ref" chip openssl s_client $ecdhe_suite
    check_output "and says so" 'set psk_pair' reason "$conf" -psk "$ref" $ecdhe_suite
    conf=$work/static.cnf
    before=$(public_of_pair)
    check "ECDHE_PSK with a key pair of the chip" say_psk "$ref" chip openssl s_client $ecdhe_suite
    check "the chip did one ECDH" sh -c "'$bin/a71chd' --stats tcp:$A71CH_ADDRESS | grep -q '\"ecdh\":1[,}]'"
    check "which is the same afterwards" test "$(public_of_pair)" = "$before"
    conf=$work/renew.cnf
    check "with psk_pair_renew" say_psk "$ref" chip openssl s_client $ecdhe_suite
    check "it is another one afterwards" test "$(public_of_pair)" != "$before"
    check "and the next handshake goes with that" say_psk "$ref" chip openssl s_client $ecdhe_suite
    check "plain PSK goes under this configuration, too" say_psk "$ref" chip openssl s_client $psk_suite
    # what is "still reachable" is a lock that libcrypto keeps for any configuration with ssl_conf
    printf 'hello\nCLOSE\n' >hello
    check_valgrind renew.cnf definite,possible "valgrind finds no error and no leak" openssl s_client -quiet $ecdhe_suite \
        -psk "$ref" -connect "127.0.0.1:$port" <hello

    # --- what cannot be -----------------------------------------------------------------------
    check_fails any "a SHA-384 suite is refused" say_psk "$ref" chip openssl s_client -cipher PSK-AES256-GCM-SHA384
    check_fails any "DHE_PSK is refused" say_psk "$ref" chip openssl s_client -cipher DHE-PSK-AES128-GCM-SHA256
    sed '/^Options = /d' "$native" >ems.cnf
    check_output "extended master secret is refused with the reason" 'knows no extended master secret' \
        reason "$work/ems.cnf" -psk "$ref" $psk_suite
    sed '/^random = e2a71ch_clientrandom/d' "$native" >norandom.cnf
    check_output "so is a ClientHello random of OpenSSL's own" 'not the last one that the chip made' \
        reason "$work/norandom.cnf" -psk "$ref" $psk_suite
    sed '/^MaxProtocol = /d' "$native" >tls13.cnf
    check_output "and TLS 1.3" 'names no secret for TLS 1.3' reason "$work/tls13.cnf" -psk "$ref" $psk_suite
    other=$(reference native 6 ffeeddccbbaa99887766554433221100)
    check_fails any "another key fails" say_psk "$other" chip openssl s_client $psk_suite
    check_fails any "with ECDHE, too" say_psk "$other" chip openssl s_client $ecdhe_suite
    check_fails any "an empty slot fails" say_psk a5a6b5b6a5a6b5b64007010000000000 chip openssl s_client $psk_suite
    stop plain
    serve chipserver env OPENSSL_CONF="$native" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
        openssl s_server -nocert -psk "$ref" -rev
    check_fails any "a server cannot: its client made the random" say_psk $key openssl s_client -tls1_2 $psk_suite
    stop chipserver

    # --- longer keys --------------------------------------------------------------------------
    conf=$work/static.cnf
    for digits in 64 96 128; do
        long=$(head -c "$digits" /dev/zero | tr '\0' b)
        long_ref=$(reference native 0 "$long")
        serve "plain$digits" openssl s_server -nocert -psk "$long" -rev
        check "a key of $((digits / 2)) bytes, PSK" say_psk "$long_ref" chip openssl s_client $psk_suite
        check "and ECDHE_PSK" say_psk "$long_ref" chip openssl s_client $ecdhe_suite
        stop "plain$digits"
    done
}

# --- certificates under this configuration -----------------------------------------------------
echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
new_key prime256v1 ca.key
openssl req -x509 -new -key ca.key -subj /CN=Authority -days 30 -out ca.pem
new_key prime256v1 server.key
issue server server.key localhost
serve ordinary openssl s_server -cert server.pem -key server.key -rev
conf=$native
check "ordinary TLS goes under this configuration" say chip openssl s_client
conf=$work/static.cnf
check_fails any "but not where psk_pair is set: the pair is no ephemeral key of anything else" say chip openssl s_client
check_output "and the reason is told" 'serves ECDHE_PSK with a reference' reason "$conf"
stop ordinary

# --- mosquitto_pub -----------------------------------------------------------------------------
broker=$(free_port)
echo "device:$key" >psk.txt
cat >broker.conf <<END_CONF
user root
listener $broker 127.0.0.1
psk_hint test
psk_file $work/psk.txt
allow_anonymous true
END_CONF
start mosquitto mosquitto -c "$work/broker.conf"
wait_line mosquitto ' running$' >/dev/null
for suite in PSK-AES128-GCM-SHA256 ECDHE-PSK-AES128-CBC-SHA256; do
    check "mosquitto_pub with $suite" chip timeout 60 mosquitto_pub -h 127.0.0.1 -p "$broker" -q 1 --psk "$ref" \
        --psk-identity device --ciphers $suite -t t -m hello
done
stop mosquitto

# --- the chip gone -----------------------------------------------------------------------------
serve last openssl s_server -nocert -psk $key -rev
stop a71chd
# shellcheck disable=SC2086
check_fails any "without the chip there is no handshake" say_psk "$ref" chip openssl s_client $psk_suite
done_testing

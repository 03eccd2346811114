#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A server certificate of the user's own: served with its chain; one that cannot serve is named before anything starts. And which cipher
# suite is chosen with it, and that TLS 1.1 is not.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

make_ca root
make_device server root
make_device other root
cloud_with() { timeout 60 "$bin/birthmark" cloud --dir "$work/refused" --api 127.0.0.1:0 --mqtt 127.0.0.1:0 "$@" 2>&1; }

check_fails 2 "a certificate without a key is misuse" cloud_with --cert "$work/server.pem"
check_fails 1 "a key of another certificate is refused" cloud_with --cert "$work/server.pem" --key "$work/other.key"
check_output "and both files are named" 'server.pem with key .*other.key: key values mismatch' \
    sh -c '"$@" 2>&1 || true' sh "$bin/birthmark" cloud --dir "$work/refused" --api 127.0.0.1:0 --mqtt 127.0.0.1:0 \
    --cert "$work/server.pem" --key "$work/other.key"
check_fails 1 "a file that is not there is refused" cloud_with --cert "$work/none.pem" --key "$work/server.key"

openssl x509 -req -in "$work/server.csr" -signkey "$work/server.key" -days -1 -out "$work/old.crt" 2>/dev/null
start old "$bin/birthmark" cloud --dir "$work/old" --api 127.0.0.1:0 --mqtt 127.0.0.1:0 --cert "$work/old.crt" --key "$work/server.key"
check_output "of one that has expired the log warns" 'warn.*old.crt has expired' wait_line old 'has expired'
stop old

# a system whose OpenSSL still takes TLS 1.1
cat >"$work/lax.cnf" <<'END'
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
END
CLOUD_AS="env OPENSSL_CONF=$work/lax.cnf"
CLOUD_OPTIONS="--cert $work/server.pem --key $work/server.key"
start_cloud
check_fails 1 "no root-ca line: the user knows who signed it" grep -q '^root-ca' "$work/cloud.log"
check_output "clients that trust the user's root trust the endpoint" 'Verify return code: 0 \(ok\)' sh -c \
    'openssl s_client -connect "$1" -CAfile "$2" -cert "$3" -key "$4" </dev/null 2>&1' sh "127.0.0.1:$port" "$work/root.crt" \
    "$work/other.pem" "$work/other.key"

# chooses PATTERN OPTIONS...: of what s_client offers with these
chooses()
{
    pattern=$1
    shift
    openssl s_client -connect "127.0.0.1:$port" -CAfile "$work/root.crt" -cert "$work/other.pem" -key "$work/other.key" "$@" </dev/null 2>&1 |
        grep -qE "Cipher is $pattern\$"
}
check_output "TLS 1.1 is refused, whatever the system's OpenSSL allows" 'alert protocol version' sh -c \
    'OPENSSL_CONF=$1 openssl s_client -tls1_1 -connect "$2" -CAfile "$3" </dev/null 2>&1 || true' sh "$work/lax.cnf" "127.0.0.1:$port" "$work/root.crt"
check "a client that offers what OpenSSL does gets AES-128-GCM" chooses TLS_AES_128_GCM_SHA256
check "and with TLS 1.2" chooses ECDHE-ECDSA-AES128-GCM-SHA256 -tls1_2
check "one that has no AES in hardware says so and gets ChaCha20" chooses TLS_CHACHA20_POLY1305_SHA256 \
    -ciphersuites TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256
check "one that insists on AES-256 gets it" chooses TLS_AES_256_GCM_SHA384 -ciphersuites TLS_AES_256_GCM_SHA384
check "and with TLS 1.2, CBC too" chooses ECDHE-ECDSA-AES256-SHA384 -tls1_2 -cipher ECDHE-ECDSA-AES256-SHA384
done_testing

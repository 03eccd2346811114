#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How the certificates in this folder were made (OpenSSL 3.0). Not run by the tests: the files are
# kept, so that a test does not depend on today's openssl. usage: make.sh FOLDER
set -eu
cd "$1"

openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -new -x509 -key ca.key -sha256 -subj "/CN=Demo CA NXP" -days 36500 -out ca-p256.pem
openssl ecparam -name prime256v1 -genkey -noout -out twin.key
openssl req -new -x509 -key twin.key -sha256 -subj "/CN=Demo CA NXP" -days 36500 -out ca-same-name-other-key.pem
openssl ecparam -name prime256v1 -genkey -noout -out other.key
openssl req -new -x509 -key other.key -sha256 -subj "/CN=Other CA" -days 36500 -out ca-other-name.pem

# X.509 v1 leaf, as the application note's commands make it
openssl ecparam -name prime256v1 -genkey -noout -out leaf.key
openssl req -new -key leaf.key -sha256 -subj "/CN=IoT device" -out csr-good.pem
openssl x509 -req -in csr-good.pem -CA ca-p256.pem -CAkey ca.key -CAcreateserial -sha256 -days 36500 -out leaf-v1.pem

# good variants
openssl req -new -x509 -newkey rsa:2048 -nodes -keyout k -sha256 -subj "/CN=RSA CA" -days 36500 -out ca-rsa2048.pem
openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout k -sha384 -subj "/CN=P-384" -days 36500 -out ca-p384.pem
openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-521 -nodes -keyout k -sha512 -subj "/CN=P-521" -days 36500 -out ca-p521.pem
openssl x509 -in ca-p256.pem -text -out ca-with-text.pem
sed 's/$/\r/' ca-p256.pem >ca-crlf.pem
openssl req -new -x509 -key ca.key -sha256 -subj "/O=No common name" -days 36500 -out subject-without-cn.pem

# every attribute that a policy can name
cat >attributes.cnf <<'END'
[req]
distinguished_name=dn
prompt=no
x509_extensions=ext
utf8=yes
string_mask=utf8only
[dn]
C=DE
0.O=Acme
1.O=West
ST=Bayern
CN=Lampe Grün
serialNumber=SN-9
title=Dr
SN=Muster
GN=Max
initials=MM
pseudonym=mux
generationQualifier=III
dnQualifier=dq
OU=Lab
[ext]
subjectAltName=email:a@example.com,DNS:one.example,DNS:two.example,URI:urn:x:y,IP:192.0.2.7,IP:2001:db8::1,dirName:dir
[dir]
O=Dir Org
CN=Dir Name
END
openssl req -x509 -new -key ca.key -sha256 -days 36500 -set_serial 4711 -config attributes.cnf -out attributes.pem

# one defect each
openssl req -new -x509 -key ca.key -sha256 -subj "/CN=Not a CA" -days 36500 \
    -addext basicConstraints=critical,CA:FALSE -out not-a-ca.pem
openssl req -new -x509 -newkey rsa:1024 -nodes -keyout k -sha256 -subj "/CN=RSA 1024" -days 36500 -out weak-rsa1024.pem
openssl req -new -x509 -newkey rsa:2048 -nodes -keyout k -sha1 -subj "/CN=SHA-1" -days 36500 -out weak-sha1.pem
openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp256k1 -nodes -keyout k -sha256 -subj "/CN=k1" -days 36500 -out curve-secp256k1.pem
openssl req -new -x509 -newkey ed25519 -nodes -keyout k -subj "/CN=Ed25519" -days 36500 -out key-ed25519.pem
openssl req -new -key ca.key -sha256 -subj "/CN=Expired CA" -out expired.csr
openssl x509 -req -in expired.csr -signkey ca.key -sha256 -days -1 -out expired.pem
cat ca-p256.pem leaf-v1.pem >two-certificates.pem
cat ca-p256.pem leaf.key >certificate-and-key.pem
cp leaf.key key-instead.pem
head -n 5 ca-p256.pem >truncated.pem
sed '3s/^..../!!!!/' ca-p256.pem >bad-base64.pem
{ echo "-----BEGIN CERTIFICATE-----"; head -c 300 /dev/zero | openssl base64; echo "-----END CERTIFICATE-----"; } >not-der.pem
{ echo "-----BEGIN CERTIFICATE-----"; { openssl x509 -in ca-p256.pem -outform der; printf 'more'; } | openssl base64
  echo "-----END CERTIFICATE-----"; } >trailing-bytes.pem
echo "crlf.pem" >path-instead.pem
: >empty.pem
# a CSR with one bit of its signature turned
openssl req -in csr-good.pem -outform der -out d
python3 - <<'PY'
d = bytearray(open("d", "rb").read())
d[-1] ^= 1
open("d", "wb").write(d)
PY
openssl req -inform der -in d -out csr-bad-signature.pem 2>/dev/null || {
    echo "-----BEGIN CERTIFICATE REQUEST-----"; openssl base64 -in d; echo "-----END CERTIFICATE REQUEST-----"; } >csr-bad-signature.pem
openssl req -new -newkey rsa:1024 -nodes -keyout k -sha256 -subj "/CN=weak" -out csr-weak-rsa1024.pem
rm -f ./*.key ./*.srl ./*.csr k d

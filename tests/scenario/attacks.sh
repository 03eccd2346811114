#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Certificates that an attacker, or a factory that errs, may show: real ones through TLS, each with its outcome, and the cause in `birthmark explain`.
# What an attacker may do below and above the certificate (handshakes, alerts, packets) is in tests/unit/test_worker_*.c.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
cd "$work" || exit 1

p256="-pkeyopt ec_paramgen_curve:P-256 -newkey ec"
# leaf NAME ISSUER [openssl x509 options]: signed by it; the key's kind in KIND
leaf()
{
    name=$1 issuer=$2
    shift 2
    # shellcheck disable=SC2086
    openssl req -new ${KIND:-$p256} -nodes -keyout "$name.key" -subj "/CN=$name" -out "$name.csr" 2>leaf.log &&
        openssl x509 -req -in "$name.csr" -CA "$issuer.crt" -CAkey "$issuer.key" -set_serial "${SERIAL:-0x$(openssl rand -hex 15)}" -days 30 -sha256 \
            "$@" -out "$name.crt" 2>leaf.log && cp "$name.crt" "$name.pem"
}

causes() { "$bin/birthmark" explain --dir "$work/cloud" --json "$1" | sed 's/.*"cause": *"\([^"]*\)".*/\1/'; }
has_cause() { causes "$1" | grep -qxF "$2"; }

# outcome "claim" NAME CODE CAUSE [mosquitto_pub options]
outcome()
{
    claim=$1 name=$2 code=$3 cause=$4
    shift 4
    check_fails "$code" "$claim" as "$name" mosquitto_pub -q 1 -t t -m x "$@"
    check "$claim: $cause" wait_for 20 has_cause "$name" "$cause"
}
new=certificate.registered # and dropped: exit code 7

openssl req -x509 $p256 -nodes -keyout twin.key -out twin.crt -subj '/CN=Demo CA factory' -days 30 2>/dev/null
leaf twinned twin
outcome "the issuer's name, another key" twinned 7 connect.signature_wrong

openssl req -x509 $p256 -nodes -keyout alone.key -out alone.pem -subj /CN=alone -days 30 2>/dev/null
outcome "self-signed" alone 7 connect.ca_unknown
openssl req -x509 $p256 -nodes -keyout mask.key -out mask.pem -subj '/CN=Demo CA factory' -days 30 2>/dev/null
outcome "self-signed under the name of the CA" mask 7 connect.signature_wrong

leaf device factory
outcome "a device" device 7 $new
leaf below device
cat device.crt factory.crt >>below.pem
outcome "signed by a device, whose certificate it brings" below 7 connect.ca_unknown

cp factory.crt factory.pem
outcome "the CA itself" factory 7 connect.certificate_unacceptable

openssl x509 -req -in device.csr -CA factory.crt -CAkey factory.key -set_serial 5 -days -1 -out old.pem 2>/dev/null
cp device.key old.key
outcome "expired" old 7 connect.expired
/usr/bin/python3 - factory device <<'PY'
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
ca = x509.load_pem_x509_certificate(open(sys.argv[1] + ".crt", "rb").read())
key = serialization.load_pem_private_key(open(sys.argv[1] + ".key", "rb").read(), None)
of = serialization.load_pem_private_key(open(sys.argv[2] + ".key", "rb").read(), None)
now = datetime.datetime.utcnow()
cert = (x509.CertificateBuilder().subject_name(ca.subject).issuer_name(ca.subject).public_key(of.public_key()).serial_number(6)
        .not_valid_before(now + datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=2)).sign(key, hashes.SHA256()))
open("early.pem", "wb").write(cert.public_bytes(serialization.Encoding.PEM))
PY
cp device.key early.key
outcome "not yet valid" early 7 connect.not_yet_valid

leaf long factory
for n in 1 2 3 4 5 6 7 8 9 10; do cat twin.crt >>long.pem; done
outcome "ten certificates behind the leaf" long 7 $new

leaf sha1 factory -sha1
outcome "signed with SHA-1" sha1 7 connect.certificate_unacceptable --ciphers DEFAULT:@SECLEVEL=0
KIND="-newkey rsa:1024" leaf weak factory
outcome "RSA with 1024 bits" weak 7 connect.certificate_unacceptable --ciphers DEFAULT:@SECLEVEL=0
KIND="-newkey ed25519" leaf edwards factory
outcome "Ed25519" edwards 7 connect.certificate_unacceptable
KIND="-pkeyopt ec_paramgen_curve:P-384 -newkey ec" leaf p384 factory
outcome "P-384" p384 7 $new
KIND="-newkey rsa:4096" leaf rsa factory
outcome "RSA with 4096 bits" rsa 7 $new

SERIAL=77 leaf first factory
SERIAL=77 leaf second factory
outcome "a serial number" first 7 $new
outcome "the same serial number again" second 7 $new
openssl x509 -req -in device.csr -CA factory.crt -CAkey factory.key -set_serial 78 -days 30 -out again.pem 2>/dev/null
cp device.key again.key
outcome "another certificate for the key of a device" again 7 $new

registered() { text iot list-certificates --query 'length(certificates)'; }
is_registered() { [ "$(registered)" = 7 ]; }
check "registered are those seven and nothing else" is_registered
for kind in p384 rsa; do
    iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$kind.pem")"
    iot iot update-certificate --certificate-id "$(id_of "$kind.pem")" --new-status ACTIVE
    check "$kind, activated, is let in" as $kind mosquitto_pub -q 1 -t t -m x
done
done_testing

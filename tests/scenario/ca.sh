#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# birthmark ca: a key ceremony a person would hold, registration at the local cloud, interrupted and run again.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

here=$(cd "$(dirname "$0")" && pwd)
tool="$bin/birthmark ca"
echo "a long passphrase" >"$work/pass"

ca_is() # generation, status, auto-registration
{
    [ "$(text iot describe-ca-certificate --certificate-id "$(id_of "$work/ca/issuing-$1.pem")" \
        --query 'certificateDescription.[status,autoRegistrationStatus]')" = "$2	$3" ]
}
registered() { text iot list-ca-certificates --query 'certificates[].certificateId' | wc -w; }
message() { "$@" 2>&1 || :; }
says() # claim, pattern: what the last check printed
{
    cp "$work/out" "$work/said"
    check_output "$1" "$2" cat "$work/said"
}
mode_of() { [ "$(stat -c %a "$1")" = "$2" ]; }

check_output "help is on stdout" '^usage: birthmark ca new' $tool --help
check_fails 2 "a verb is needed" $tool
check_fails 2 "and no other one" $tool make
check_fails 3 "nothing can be registered where there is no CA" $tool register --dir "$work/ca"
check_output "which is told with its cure" 'birthmark ca new' message $tool register --dir "$work/ca"
check_fails 2 "without terminal a passphrase must be given" setsid $tool new --dir "$work/ca"
check_fails 1 "a subject of another form is refused" $tool new --dir "$work/ca" --subject "CN=x" --no-passphrase
check "before a key is made" [ ! -e "$work/ca/root.key" ]
check_fails 1 "so is an unknown constraint" $tool new --dir "$work/ca" --permit "ip:1.2.3.4" --no-passphrase

check_output "a root and an issuing CA" '^issuing 1 +CN=Acme Device CA,O=Acme' \
    $tool new --dir "$work/ca" --subject "/O=Acme/CN=Acme Device CA" --root-subject "/O=Acme/CN=Acme Root" \
    --permit "subject:/O=Acme" --days 800 --passphrase-file "$work/pass"
check "openssl verifies the chain, strictly" openssl verify -x509_strict -CAfile "$work/ca/root.pem" "$work/ca/issuing-1.pem"
check_output "path length 0" 'CA:TRUE, pathlen:0' openssl x509 -in "$work/ca/issuing-1.pem" -noout -ext basicConstraints
check_output "names are constrained" 'DirName:.*O = Acme' openssl x509 -in "$work/ca/issuing-1.pem" -noout -ext nameConstraints
check_output "keys are encrypted" 'BEGIN ENCRYPTED PRIVATE KEY' cat "$work/ca/issuing-1.key"
check "and private" mode_of "$work/ca/root.key" 600
check "openssl reads them with the passphrase" openssl pkey -in "$work/ca/issuing-1.key" -passin "file:$work/pass" -noout
cp -r "$work/ca" "$work/before"
check_fails 4 "a second new is refused" $tool new --dir "$work/ca" --passphrase-file "$work/pass"
check "and touches nothing" diff -r "$work/before" "$work/ca"
rm "$work/ca/issuing-1.pem"
key=$(sha256sum <"$work/ca/issuing-1.key")
check "cut off before the certificate, new goes on" $tool new --dir "$work/ca" --subject "/O=Acme/CN=Acme Device CA" \
    --permit "subject:/O=Acme" --days 800 --passphrase-file "$work/pass"
check "with the key that was there" [ "$(sha256sum <"$work/ca/issuing-1.key")" = "$key" ]
check_output "asked on the terminal, twice, a passphrase is taken, too" 'issuing 1' \
    "$here/terminal.py" --type "secret word\nsecret word\n" $tool new --dir "$work/typed"
check "by openssl as well" openssl pkey -in "$work/typed/root.key" -passin "pass:secret word" -noout

check_fails 6 "a cloud that is down is told" env AWS_ENDPOINT_URL=http://127.0.0.1:9 $tool register --dir "$work/ca" --passphrase-file "$work/pass"
says "with its address" '127.0.0.1:9'
check_fails 1 "without endpoint and region there is nowhere to go" env -u AWS_DEFAULT_REGION $tool register --dir "$work/ca" --passphrase-file "$work/pass"
says "and how to say where" 'AWS_REGION'
start_cloud
export AWS_ENDPOINT_URL="$api"
echo wrong >"$work/wrong"
check_fails 5 "a wrong passphrase is refused" $tool register --dir "$work/ca" --passphrase-file "$work/wrong"
check_fails 5 "wrong credentials are refused" env AWS_SECRET_ACCESS_KEY=not-the-one $tool register --dir "$work/ca" --passphrase-file "$work/pass"
cp "$work/out" "$work/said"
check_fails 1 "without telling them" grep not-the-one "$work/said"
check "nothing is registered by then" [ "$(registered)" = 0 ]
check_output "status asks the cloud" 'cloud: not registered' $tool status --dir "$work/ca"

# killed at a request, before or after the cloud had it; then it is run again, and the end is the same
id=$(id_of "$work/ca/issuing-1.pem")
for cut in "1 before" "2 after" "3 before" "3 after" "4 after"; do
    "$here/cut_api.py" "$api" $cut $tool register --dir "$work/ca" --passphrase-file "$work/pass" >"$work/cut.out" 2>&1
    check "request ${cut% *}: killed ${cut#* } it" [ $? = 9 ]
    check_output "then register finishes" 'ACTIVE, just-in-time registration on' $tool register --dir "$work/ca" --passphrase-file "$work/pass"
    [ "$cut" = "4 after" ] && continue
    iot iot update-ca-certificate --certificate-id "$id" --new-status INACTIVE
    [ "$cut" = "3 before" ] || iot iot delete-ca-certificate --certificate-id "$id"
done
check "it is registered once" [ "$(registered)" = 1 ]
check "the aws CLI agrees" ca_is 1 ACTIVE ENABLE
check_output "register again has nothing to do" 'nothing to do' $tool register --dir "$work/ca" --passphrase-file "$work/pass"
check_output "as JSON" '"changed":false' $tool register --dir "$work/ca" --passphrase-file "$work/pass" --json
check_output "status says ACTIVE" 'cloud: ACTIVE, just-in-time registration on' $tool status --dir "$work/ca"

# the printed lines do the same with the real CLI
iot iot update-ca-certificate --certificate-id "$id" --new-status INACTIVE
iot iot delete-ca-certificate --certificate-id "$id"
$tool register --dir "$work/ca" --passphrase-file "$work/pass" --print >"$work/lines.sh"
check "--print changes nothing" [ "$(registered)" = 0 ]
check "the printed lines run with openssl and the aws CLI" sh -e "$work/lines.sh"
check "and give the same end state" ca_is 1 ACTIVE ENABLE
check_output "register finds nothing left to do" 'nothing to do' $tool register --dir "$work/ca" --passphrase-file "$work/pass"

# a device of that CA gets in
openssl ecparam -genkey -name prime256v1 -out "$work/d1.key"
openssl req -new -key "$work/d1.key" -subj "/O=Acme/CN=d1" -out "$work/d1.csr"
openssl x509 -req -in "$work/d1.csr" -CA "$work/ca/issuing-1.pem" -CAkey "$work/ca/issuing-1.key" -passin "file:$work/pass" \
    -CAserial "$work/serial" -CAcreateserial -days 30 -out "$work/d1.crt" 2>/dev/null
cat "$work/d1.crt" "$work/ca/issuing-1.pem" >"$work/d1.pem"
check_fails 7 "its device is dropped at the first connection" as d1 mosquitto_pub -t a -m x -q 1
check "and registered just in time" status_is "$(id_of "$work/d1.crt")" PENDING_ACTIVATION
check_fails 2 "revoking asks first" $tool revoke --certificate "$work/d1.crt"
check "a device's certificate is revoked" $tool revoke --certificate "$work/d1.crt" --yes
check "at the cloud" status_is "$(id_of "$work/d1.crt")" REVOKED
check_fails 3 "one that the cloud does not know cannot be" $tool revoke --certificate "$(id_of "$work/ca/root.pem")" --yes

# the next generation
mv "$work/ca/root.key" "$work/offline.key"
check_fails 3 "rotate needs the root's key" $tool rotate --dir "$work/ca" --passphrase-file "$work/pass"
mv "$work/offline.key" "$work/ca/root.key"
"$here/cut_api.py" "$api" 4 before $tool rotate --dir "$work/ca" --passphrase-file "$work/pass" >"$work/cut.out" 2>&1
check "killed, rotate has made the next generation" [ -e "$work/ca/issuing-2.pem" ]
check_output "run again, it registers that one" 'issuing 2 +CN=Acme Device CA G2,O=Acme' $tool rotate --dir "$work/ca" --passphrase-file "$work/pass"
check "and makes no third" [ ! -e "$work/ca/issuing-3.pem" ]
check "generation 2 lets devices in" ca_is 2 ACTIVE ENABLE
check_output "its names are constrained as the first one's" 'DirName:.*O = Acme' openssl x509 -in "$work/ca/issuing-2.pem" -noout -ext nameConstraints
check "generation 1 still does" ca_is 1 ACTIVE ENABLE
check "generation 1 is revoked" $tool revoke --dir "$work/ca" --generation 1 --yes --passphrase-file "$work/pass"
check "at the cloud" ca_is 1 INACTIVE DISABLE
check_fails 2 "and in the revocation list, for openssl" openssl verify -crl_check -CRLfile "$work/ca/crl.pem" -CAfile "$work/ca/root.pem" "$work/ca/issuing-1.pem"
says "which says why" 'certificate revoked'
check "which lets generation 2 pass" openssl verify -crl_check -CRLfile "$work/ca/crl.pem" -CAfile "$work/ca/root.pem" "$work/ca/issuing-2.pem"
check_fails 5 "a revoked one is not registered again" $tool register --dir "$work/ca" --generation 1 --passphrase-file "$work/pass"
check_output "status shows all, as JSON" '"revoked":true.*"generation":2' $tool status --dir "$work/ca" --json

# the issuing key in a chip
start_chip hsm
check "the issuing key is made in a chip" $tool new --dir "$work/chipca" --slot 2 --no-passphrase --subject "/CN=Chip CA"
check_output "the file is a reference to it" 'a5:a6:b5:b6:a5:a6:b5:b6:' openssl ec -in "$work/chipca/issuing-1.key" -noout -text
check "the chain verifies" openssl verify -x509_strict -CAfile "$work/chipca/root.pem" "$work/chipca/issuing-1.pem"
check_fails 4 "a slot with a key in it is not taken" $tool new --dir "$work/chipca2" --slot 2 --no-passphrase
check_output "the chip signs the verification certificate" 'ACTIVE, just-in-time registration on' $tool register --dir "$work/chipca"
check_output "the chip made a signature for it" '"signed":1|"signatures":1' "$bin/a71chd" --stats "tcp:$A71CH_ADDRESS"
stop hsm
check_output "registered once, the chip is asked for nothing more than its key" 'does not answer|cannot connect|nobody|refused' message $tool register --dir "$work/chipca"
done_testing

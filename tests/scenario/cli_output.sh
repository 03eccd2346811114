#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the aws CLI prints for the application note's commands in each of its formats: the members that its reference documents,
# in its layout. The note's own screenshots are the text format. SPEC aws-iot 1.1, 1.5.
AWS_COLD=1
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

start_cloud
make_ca demo 2>/dev/null
ca_id=$(id_of "$work/demo.crt")
as_() { format=$1 && shift && aws --endpoint-url "$api" --output "$format" iot "$@"; }
# Only the names of members, sorted; a check of json's layout is that python reads it.
members() { /usr/bin/python3 -c '
import json, sys
def walk(value, at):
    if isinstance(value, dict):
        for key in value:
            yield from walk(value[key], f"{at}.{key}" if at else key)
        if not value:
            yield at + "{}"
    else:
        yield f"{at}:{type(value).__name__}"
print(" ".join(sorted(walk(json.load(sys.stdin), ""))))'; }
say() { printf '%s\n' "$*"; }

# ---- get-registration-code ----
code=$(as_ text get-registration-code)
check_output "get-registration-code, text: the code alone" '^[0-9a-f]{64}$' say "$code"
as_ json get-registration-code >"$work/json"
check "json: one member, by four blanks" sh -c 'printf "{\n    \"registrationCode\": \"%s\"\n}\n" "$1" | cmp - "$0"' "$work/json" "$code"
as_ table get-registration-code >"$work/table"
check_output "table: the operation is its title" '^\| +GetRegistrationCode +\|$' cat "$work/table"
check_output "and the member a row" "^\|  registrationCode *\|  $code +\|$" cat "$work/table"

# ---- register-ca-certificate, once for each format ----
openssl ecparam -genkey -name prime256v1 -out "$work/v.key"
openssl req -new -key "$work/v.key" -subj "/CN=$code" -out "$work/v.csr"
openssl x509 -req -in "$work/v.csr" -CA "$work/demo.crt" -CAkey "$work/demo.key" -CAcreateserial -out "$work/v.crt" -days 30 2>/dev/null
register() { as_ "$1" register-ca-certificate --ca-certificate "file://$work/demo.crt" --verification-certificate "file://$work/v.crt"; }
again() { aws --endpoint-url "$api" iot delete-ca-certificate --certificate-id "$ca_id"; }
register table >"$work/table"
check_output "register-ca-certificate, table" '^\| +RegisterCACertificate +\|$' cat "$work/table"
check_output "has the ARN" "^\|  certificateArn *\|  $arn:cacert/$ca_id +\|$" cat "$work/table"
check_output "and the id" "^\|  certificateId *\|  $ca_id +\|$" cat "$work/table"
again
register json >"$work/json"
check "json: ARN and id" [ "$(members <"$work/json")" = "certificateArn:str certificateId:str" ]
again
check "text: ARN, tabulator, id" [ "$(register text)" = "$(printf '%s\t%s' "$arn:cacert/$ca_id" "$ca_id")" ]

# ---- describe-ca-certificate ----
about() { as_ "$1" describe-ca-certificate --certificate-id "$ca_id"; }
about json >"$work/json"
documented="certificateDescription.autoRegistrationStatus:str certificateDescription.certificateArn:str \
certificateDescription.certificateId:str certificateDescription.certificateMode:str certificateDescription.certificatePem:str \
certificateDescription.creationDate:str certificateDescription.customerVersion:int certificateDescription.generationId:str \
certificateDescription.lastModifiedDate:str certificateDescription.ownedBy:str certificateDescription.status:str \
certificateDescription.validity.notAfter:str certificateDescription.validity.notBefore:str"
check "describe-ca-certificate, json: the documented members" [ "$(members <"$work/json" | sed 's/ registrationConfig{}$//')" = "$documented" ]
check_output "dates in ISO 8601, UTC" '"creationDate": "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?\+00:00"' cat "$work/json"
about text >"$work/text"
check_output "text: a line of members by the alphabet" "^CERTIFICATEDESCRIPTION	DISABLE	$arn:cacert/$ca_id	$ca_id	DEFAULT	-----BEGIN CERTIFICATE-----$" \
    cat "$work/text"
check_output "that ends in owner and status" "	000000000000	INACTIVE$" cat "$work/text"
check_output "then the dates" '^VALIDITY	[0-9T:+-]+	[0-9T:+-]+$' cat "$work/text"
about table >"$work/table"
check_output "table: the title" '^\| +DescribeCACertificate +\|$' cat "$work/table"
check_output "a table within it" '^\|\| +certificateDescription +\|\|$' cat "$work/table"
check_output "with a row for each member" '^\|\|  autoRegistrationStatus *\|  DISABLE +\|\|$' cat "$work/table"
check_output "and one more for the dates" '^\|\|\| +validity +\|\|\|$' cat "$work/table"

# ---- update-ca-certificate, for both of its uses ----
nothing() { [ -z "$("$@" 2>&1)" ]; }
for format in text json table; do
    check "update-ca-certificate --new-status, $format: nothing is printed" nothing as_ $format update-ca-certificate \
        --certificate-id "$ca_id" --new-status ACTIVE
    check "update-ca-certificate --new-auto-registration-status, $format: nothing" nothing as_ $format update-ca-certificate \
        --certificate-id "$ca_id" --new-auto-registration-status ENABLE
done
about text >"$work/text"
check_output "afterwards it describes both" "^CERTIFICATEDESCRIPTION	ENABLE	" cat "$work/text"
check_output "as the note wants them" "	ACTIVE$" cat "$work/text"
done_testing

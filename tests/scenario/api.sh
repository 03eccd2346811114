#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The control plane with its real clients: every built operation with the aws CLI (loaded once), refusals with their names
# and its exit code, and with boto3 (api_boto3.py) the types of answers and the remaining refusals.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

iot_() { iot iot "$@"; }
lambda() { iot lambda "$@"; }

# check_refused NAME "claim" command ...: the CLI's exit code for a service error, and the error's name; $work/said has
# what it printed
check_refused()
{
    name=$1 claim=$2
    shift 2
    "$@" >"$work/out" 2>&1
    got=$?
    cp "$work/out" "$work/said"
    if [ "$got" -eq 254 ] && grep -q "An error occurred ($name) when calling" "$work/out"; then ok "$claim"; else
        echo "exit code $got; wanted 254 and $name" >>"$work/out"
        not_ok "$claim" "$work/out"
    fi
}

check_silent()
{
    claim=$1
    shift
    if "$@" >"$work/out" 2>&1 && [ ! -s "$work/out" ]; then ok "$claim"; else not_ok "$claim" "$work/out"; fi
}

pem() { echo "$root/tests/vectors/pem/$1.pem"; }

start_cloud

# ---- CA: the application note's chapter 6 ----
check_output "get-registration-code prints 64 hex digits" '^[0-9a-f]{64}$' text iot get-registration-code
code=$(text iot get-registration-code)
make_ca demo 2>/dev/null
make_ca other 2>/dev/null

# verify_for NAME CN: NAME-v.crt, a verification certificate for the CA NAME
verify_for()
{
    openssl ecparam -genkey -name prime256v1 -out "$work/v.key" &&
        openssl req -new -key "$work/v.key" -subj "/CN=$2" -out "$work/v.csr" &&
        openssl x509 -req -in "$work/v.csr" -CA "$work/$1.crt" -CAkey "$work/$1.key" -CAcreateserial \
            -out "$work/$1-v.crt" -days 10 -sha256
}
register() { iot_ register-ca-certificate --ca-certificate "file://$1" --verification-certificate "file://$2"; }
verify_for demo "$code" 2>/dev/null
verify_for other "$code" 2>/dev/null
ca_id=$(id_of "$work/demo.crt")

check_refused CertificateValidationException "a verification certificate of another CA is refused" \
    register "$work/demo.crt" "$work/other-v.crt"
check_output "and the message names both" "CN=Demo CA other.*CN=Demo CA demo" cat "$work/said"
check_refused CertificateValidationException "a CA without CA:TRUE is refused" register "$(pem not-a-ca)" "$work/demo-v.crt"
check_output "in the service's words" "does not have the basicConstraints extension as true" cat "$work/said"
check_refused CertificateValidationException "a path instead of a PEM text is refused" \
    iot_ register-ca-certificate --ca-certificate demo.crt --verification-certificate "file://$work/demo-v.crt"
check_output "and the message shows it" "begin 'demo.crt'" cat "$work/said"
verify_for other "not-the-code" 2>/dev/null
check_refused RegistrationCodeValidationException "a wrong CN is refused" register "$work/other.crt" "$work/other-v.crt"
check_output "and the message has the CN found and the code expected" "not-the-code.*$code" cat "$work/said"
check_output "register-ca-certificate prints ARN and id" "^$arn:cacert/$ca_id	$ca_id\$" \
    text iot register-ca-certificate --ca-certificate "file://$work/demo.crt" --verification-cert "file://$work/demo-v.crt"
check_refused ResourceAlreadyExistsException "the same CA again is refused" register "$work/demo.crt" "$work/demo-v.crt"
check_output "describe-ca-certificate: DISABLE comes first" "^CERTIFICATEDESCRIPTION	DISABLE	$arn:cacert/$ca_id	$ca_id	DEFAULT" \
    text iot describe-ca-certificate --certificate-id "$ca_id"
check_output "and the CA is INACTIVE" "	INACTIVE\$" text iot describe-ca-certificate --certificate-id "$ca_id"
check_silent "update-ca-certificate --new-status ACTIVE prints nothing" \
    iot_ update-ca-certificate --certificate-id "$ca_id" --new-status ACTIVE
check_refused InvalidRequestException "ENABLED is refused" \
    iot_ update-ca-certificate --certificate-id "$ca_id" --new-auto-registration-status ENABLED
check_output "and the message names the value and the allowed ones" "'ENABLED'; want ENABLE or DISABLE" cat "$work/said"
check_silent "ENABLE is taken" iot_ update-ca-certificate --certificate-id "$ca_id" --new-auto-registration-status ENABLE
check_silent "--remove-auto-registration is taken" iot_ update-ca-certificate --certificate-id "$ca_id" \
    --remove-auto-registration --new-auto-registration-status DISABLE
check_output "list-ca-certificates" "$ca_id" text iot list-ca-certificates
check_refused CertificateStateException "an ACTIVE CA is not deleted" iot_ delete-ca-certificate --certificate-id "$ca_id"
verify_for other "$code" 2>/dev/null
check_refused InvalidRequestException "SNI_ONLY takes no verification certificate" \
    iot_ register-ca-certificate --ca-certificate "file://$work/other.crt" --certificate-mode SNI_ONLY \
    --verification-certificate "file://$work/other-v.crt"
check_output "SNI_ONLY needs none" "$arn:cacert/" \
    text iot register-ca-certificate --ca-certificate "file://$work/other.crt" --certificate-mode SNI_ONLY
check_silent "it is deleted, to be registered again" iot_ delete-ca-certificate --certificate-id "$(id_of "$work/other.crt")"
check_output "--set-as-active --allow-auto-registration" "$arn:cacert/" text iot register-ca-certificate --set-as-active \
    --allow-auto-registration --ca-certificate "file://$work/other.crt" --verification-certificate "file://$work/other-v.crt"
check_output "make both so" "ENABLE.ACTIVE" text iot describe-ca-certificate --certificate-id "$(id_of "$work/other.crt")" \
    --query 'certificateDescription.[autoRegistrationStatus,status]'
iot_ update-ca-certificate --certificate-id "$(id_of "$work/other.crt")" --new-status INACTIVE
check_silent "an INACTIVE CA is deleted" iot_ delete-ca-certificate --certificate-id "$(id_of "$work/other.crt")"
check_refused ResourceNotFoundException "and is gone" \
    iot_ describe-ca-certificate --certificate-id "$(id_of "$work/other.crt")"

# ---- certificates ----
make_device dev demo 2>/dev/null
dev_id=$(id_of "$work/dev.crt")
check_output "register-certificate" "$arn:cert/$dev_id" text iot register-certificate \
    --certificate-pem "file://$work/dev.crt" --ca-certificate-pem "file://$work/demo.crt"
make_device stranger other 2>/dev/null
check_refused CertificateValidationException "a certificate of an unknown CA is refused" \
    iot_ register-certificate --certificate-pem "file://$work/stranger.crt"
check_output "describe-certificate" "	INACTIVE\$" text iot describe-certificate --certificate-id "$dev_id"
check_silent "update-certificate" iot_ update-certificate --certificate-id "$dev_id" --new-status ACTIVE
check "made it ACTIVE" status_is "$dev_id" ACTIVE
check_output "create-keys-and-certificate" "^$arn:cert/[0-9a-f]{64}" text iot create-keys-and-certificate --set-as-active \
    --certificate-pem-outfile "$work/made.crt" --private-key-outfile "$work/made.key" --public-key-outfile "$work/made.pub"
same_key() { openssl x509 -in "$work/made.crt" -noout -pubkey | cmp - "$work/made.pub" && openssl rsa -in "$work/made.key" -pubout | cmp - "$work/made.pub"; }
check "its key, public key and certificate belong together" same_key
check_output "it ends in 2049" "^notAfter=Dec 31 23:59:59 2049 GMT" openssl x509 -in "$work/made.crt" -noout -enddate
check_output "create-certificate-from-csr" "^$arn:cert/" text iot create-certificate-from-csr \
    --certificate-signing-request "file://$work/dev.csr"
count() { n=$1; shift; [ "$(text "$@" | wc -w)" -eq "$n" ]; }
check "list-certificates" count 3 iot list-certificates --query 'certificates[].certificateId'
marker=$(text iot list-certificates --page-size 1 --query nextMarker)
check "--page-size and --marker walk through its pages" count 2 iot list-certificates --marker "$marker" --query 'certificates[].certificateId'
check "list-certificates-by-ca" count 1 iot list-certificates-by-ca --ca-certificate-id "$ca_id" --query 'certificates[].certificateId'

# ---- policies ----
check_output "create-policy" "^$arn:policy/open	.*	open	1\$" text iot create-policy --policy-name open --policy-document "$open_policy"
check_output "get-policy" '"Resource\\*":' iot iot get-policy --policy-name open
iot_ create-policy --policy-name two --policy-document "$open_policy" >/dev/null
check "list-policies" count 2 iot list-policies --query 'policies[].policyName'
check_silent "attach-policy" iot_ attach-policy --policy-name open --target "$arn:cert/$dev_id"
check_silent "attach-principal-policy" iot_ attach-principal-policy --policy-name two --principal "$arn:cert/$dev_id"
check "list-attached-policies" count 2 iot list-attached-policies --target "$arn:cert/$dev_id" --query 'policies[].policyName'
check "list-principal-policies" count 2 iot list-principal-policies --principal "$arn:cert/$dev_id" --query 'policies[].policyName'
check_output "list-targets-for-policy" "$arn:cert/$dev_id" text iot list-targets-for-policy --policy-name open
check_refused DeleteConflictException "an attached policy is not deleted" iot_ delete-policy --policy-name open
check_silent "detach-policy" iot_ detach-policy --policy-name open --target "$arn:cert/$dev_id"
check_silent "delete-policy" iot_ delete-policy --policy-name open
iot_ update-certificate --certificate-id "$dev_id" --new-status INACTIVE
check_silent "detach-principal-policy" iot_ detach-principal-policy --policy-name two --principal "$arn:cert/$dev_id"
check_silent "delete-certificate" iot_ delete-certificate --certificate-id "$dev_id"

# ---- functions ----
mkdir "$work/echo"
cat >"$work/echo/lambda_function.py" <<'PY'
def handler(event, context):
    print("seen", event)
    if event.get("fail"):
        raise ValueError("asked to")
    return {"got": event, "name": context.function_name}
PY
package() { (cd "$1" && /usr/bin/python3 -m zipfile -c "$2" "$3"); }
package "$work/echo" "$work/echo.zip" lambda_function.py
check_output "lambda create-function" '"State": "Active"' lambda create-function --function-name echo --runtime python3.11 \
    --handler lambda_function.handler --role arn:aws:iam::000000000000:role/r --zip-file "fileb://$work/echo.zip" --timeout 20
check_output "invoke" '"StatusCode": 200' lambda invoke --function-name echo --cli-binary-format raw-in-base64-out \
    --payload '{"a": 1}' "$work/answer"
check_output "answers with what the function returned" '"got": {"a": 1}, "name": "echo"|"got":{"a":1},"name":"echo"' cat "$work/answer"
log_tail() { text lambda invoke --function-name echo --log-type Tail --query LogResult "$work/answer" | base64 -d; }
check_output "--log-type Tail has its output" "seen [{][}]" log_tail
check_output "a function that fails is told" '"FunctionError": "Unhandled"' lambda invoke --function-name echo \
    --cli-binary-format raw-in-base64-out --payload '{"fail": 1}' "$work/answer"
check_output "with its error" '"errorMessage": ?"asked to"' cat "$work/answer"
check_output "invoke as an event" '"StatusCode": 202' lambda invoke --function-name echo --invocation-type Event "$work/answer"
check_output "invoke as a dry run" '"StatusCode": 204' lambda invoke --function-name echo --invocation-type DryRun "$work/answer"
sed -i 's/"name"/"new"/' "$work/echo/lambda_function.py"
package "$work/echo" "$work/echo2.zip" lambda_function.py
check_output "update-function-code" '"LastUpdateStatus": "Successful"' lambda update-function-code --function-name echo --zip-file "fileb://$work/echo2.zip"
lambda invoke --function-name echo "$work/answer" >/dev/null
check_output "and the new code runs" '"new": ?"echo"' cat "$work/answer"
check_output "update-function-configuration" '"Timeout": 7' lambda update-function-configuration --function-name echo --timeout 7
check_output "get-function-configuration" '"Handler": "lambda_function.handler"' lambda get-function-configuration --function-name echo
check_output "get-function" '"FunctionName": "echo"' lambda get-function --function-name echo
check_output "list-functions" '^echo$' text lambda list-functions --query 'Functions[].FunctionName'
check_output "add-permission" '"Statement": ' lambda add-permission --function-name echo --statement-id iot --principal iot.amazonaws.com \
    --action lambda:InvokeFunction --source-arn "$arn:rule/r" --source-account 000000000000
check_output "get-policy" 'iot.amazonaws.com' lambda get-policy --function-name echo

# ---- rules ----
cat >"$work/rule.json" <<JSON
{"sql": "SELECT * FROM 'api/+'", "description": "d",
 "actions": [{"lambda": {"functionArn": "arn:aws:lambda:us-east-1:000000000000:function:echo"}}]}
JSON
payload=file://$work/rule.json
check_silent "create-topic-rule" iot_ create-topic-rule --rule-name r --topic-rule-payload "$payload"
check_output "get-topic-rule" '"sql": "SELECT \* FROM' iot iot get-topic-rule --rule-name r
check_output "list-topic-rules" 'api/\+' text iot list-topic-rules
check_silent "disable-topic-rule" iot_ disable-topic-rule --rule-name r
check_output "says so" '"ruleDisabled": true' iot iot get-topic-rule --rule-name r
check_silent "enable-topic-rule" iot_ enable-topic-rule --rule-name r
check_silent "replace-topic-rule" iot_ replace-topic-rule --rule-name r --topic-rule-payload "$payload"

# ---- endpoint, Publish, and what else there is ----
check_output "describe-endpoint" '^localhost$' text iot describe-endpoint --endpoint-type iot:Data-ATS
check_silent "iot-data publish" iot iot-data publish --topic 'api/x' --qos 1 --cli-binary-format raw-in-base64-out --payload '{"p":1}'
check_refused ForbiddenException "publishing to \$aws/... is refused" iot iot-data publish --topic "\$aws/events/x" --payload ''
check_silent "delete-topic-rule" iot_ delete-topic-rule --rule-name r
check_silent "remove-permission" lambda remove-permission --function-name echo --statement-id iot
check_silent "delete-function" lambda delete-function --function-name echo
check_silent "delete-registration-code" iot_ delete-registration-code
check_refused NotImplementedException "what is not built says so" iot_ list-jobs
check_output "by its name" "ListJobs \(GET /jobs\) is not built here" cat "$work/said"

# ---- signatures ----
check_refused MissingAuthenticationTokenException "an unsigned request is refused" iot_ get-registration-code --no-sign-request
check_refused UnrecognizedClientException "an unknown access key is refused" \
    env AWS_ACCESS_KEY_ID=AKIDOTHER aws --endpoint-url "$api" iot get-registration-code
check_refused InvalidSignatureException "a wrong secret is refused" \
    env AWS_SECRET_ACCESS_KEY=wrong aws --endpoint-url "$api" iot get-registration-code

check_output "curl signs too" '"registrationCode":' curl -sS --aws-sigv4 aws:amz:us-east-1:iot --user test:test "$api/registrationcode"

# ---- boto3: types of answers, refusals ----
/usr/bin/python3 "$(dirname "$0")/api_boto3.py" "$api" "$work" >"$work/boto3.out" 2>&1 || echo "api_boto3.py exited with $?" >>"$work/boto3.out"
while IFS= read -r line; do
    case $line in "ok - "*) ok "boto3: ${line#ok - }" ;; *) not_ok "boto3: $line" ;; esac
done <"$work/boto3.out"
done_testing

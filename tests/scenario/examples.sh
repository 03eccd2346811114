#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples/jitr-activate in each of its languages, as its README has it: a newcomer becomes ACTIVE and publishes; the same event
# twice at once, late, after what an operator did since, and of a certificate that was deleted, leaves the right state.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libnpm.sh"

rule_arn=$arn:rule/jitr
cp -r "$BUILD/share/birthmark/examples/jitr-activate" "$work/jitr"
zip_of() { (cd "$work/jitr/$1" && zip -qr "$work/$1.zip" .); }

# call KIND EVENT: invoke and print the answer; fails when the function does
call()
{
    ! iot lambda invoke --cli-binary-format raw-in-base64-out --function-name "$1" --payload "$2" "$work/answer.$1" | grep FunctionError &&
        cat "$work/answer.$1"
}

# made KIND RUNTIME HANDLER
made()
{
    kind=$1 runtime=$2 handler=$3
    check "$kind: the function is made" iot lambda create-function --function-name $kind --runtime $runtime --handler $handler --timeout 60 \
        --role arn:aws:iam::000000000000:role/any --zip-file "fileb://$work/$kind.zip"
    iot lambda add-permission --function-name $kind --statement-id jitr --action lambda:InvokeFunction --principal iot.amazonaws.com \
        --source-arn $rule_arn >/dev/null
    iot iot replace-topic-rule --rule-name jitr --topic-rule-payload "$(rule $kind)"
}

rule()
{
    printf '{"sql":"%s","awsIotSqlVersion":"2016-03-23","actions":[{"lambda":{"functionArn":"arn:aws:lambda:us-east-1:000000000000:function:%s"}}]}' \
        "SELECT * FROM '\$aws/events/certificates/registered/+'" "$1"
}

# publishes DEVICE [CLIENT_ID TOPIC]: with the names that the policy allows
publishes() { mosquitto_pub --cafile "$ca" --cert "$work/$1.pem" --key "$work/$1.key" -h 127.0.0.1 -p "$port" -i "$2" -t "$3" -m x -q 1; }

event_of() { printf '{"certificateId":"%s","caCertificateId":"%s","awsAccountId":"000000000000","certificateStatus":"PENDING_ACTIVATION"}' "$1" "$ca_id"; }
attached() { text iot list-attached-policies --target "$arn:cert/$1" --query 'length(policies)'; }
function_ran() { "$bin/birthmark" explain --dir "$work/cloud" --json "$id" | grep function.succeeded | grep -q "function=$kind"; }
no_such() { iot iot describe-certificate --certificate-id "$1" 2>&1 | grep -q ResourceNotFoundException; }

# holds KIND CLIENT TOPIC: the claims for one of the functions; CLIENT and TOPIC may be ID
holds()
{
    kind=$1
    make_device "$kind" factory
    id=$(id_of "$work/$kind.crt")
    client=$(echo "$2" | sed "s/ID/$id/") topic=$(echo "$3" | sed "s/ID/$id/")
    check_fails 7 "$kind: the first connection is dropped" publishes "$kind" "$client" "$topic"
    check "$kind: the function makes the device ACTIVE" wait_for 60 status_is "$id" ACTIVE
    check "$kind: and it publishes" publishes "$kind" "$client" "$topic"
    check "$kind: by the event" wait_for 10 function_ran
    event=$(event_of "$id")

    # late: whatever the certificate became since stands
    for status in ACTIVE INACTIVE REVOKED; do
        iot iot update-certificate --certificate-id "$id" --new-status $status
        check_output "$kind: an event that comes after $status finds it" "\"status\": ?\"$status\"" call "$kind" "$event"
        check "$kind: and leaves it so" status_is "$id" $status
    done

    # the same event twice, at once, of a certificate that is pending
    make_device "$kind-twin" factory
    id=$(id_of "$work/$kind-twin.crt")
    iot iot delete-topic-rule --rule-name jitr
    publishes "$kind-twin" x x 2>/dev/null
    status_is "$id" PENDING_ACTIVATION || not_ok "$kind: a second newcomer is pending"
    event=$(event_of "$id")
    call "$kind" "$event" >"$work/first" 2>&1 &
    call_again=$(call "$kind" "$event" 2>&1)
    wait $!
    check_output "$kind: the same event twice at once ends well" '"status": ?"ACTIVE"' cat "$work/first"
    check_output "$kind: both times" '"status": ?"ACTIVE"' printf '%s\n' "$call_again"
    check "$kind: it is ACTIVE" status_is "$id" ACTIVE
    check "$kind: with one policy" [ "$(attached "$id")" = 1 ]

    # deleted before the event is handled
    iot iot detach-policy --policy-name "$(text iot list-attached-policies --target "$arn:cert/$id" --query 'policies[0].policyName')" --target "$arn:cert/$id"
    iot iot update-certificate --certificate-id "$id" --new-status INACTIVE
    iot iot delete-certificate --certificate-id "$id"
    check_output "$kind: an event of a deleted certificate ends well" '"status": ?"DELETED"' call "$kind" "$event"
    check "$kind: and makes none" no_such "$id"
    iot iot create-topic-rule --rule-name jitr --topic-rule-payload "$(rule "$kind")"
}

start_cloud
make_ca factory
register_ca factory
iot iot create-topic-rule --rule-name jitr --topic-rule-payload "$(rule python)"

zip_of python
made python python3.11 lambda_function.lambda_handler
holds python anyclientID foo/bar

check "c: make zip" make -s -C "$work/jitr/c" zip
mv "$work/jitr/c/jitr.zip" "$work/c.zip"
made c provided.al2023 bootstrap
holds c ID foo/bar/ID/x
check_fails 7 "c: another topic is refused" publishes c anyclientID foo/bar

zip_of shell
made shell provided.al2 bootstrap
holds shell anyclientID foo/bar

if npm_install "$root/tests/npm"; then
    cp -r "$modules/node_modules" "$work/jitr/node/"
    zip_of node
    made node nodejs20.x index.handler
    holds node ID foo/bar/ID/x
else
    echo "skip - node: $why_not"
fi
check_output "nothing was given up" '^none: nothing was given up$' "$bin/birthmark" dead-letters --dir "$work/cloud"
done_testing

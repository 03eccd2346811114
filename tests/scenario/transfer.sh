#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# birthmark export and import: a whole state moves, a bulk import goes on after kill -9, bad lines are named.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
bm() { "$bin/birthmark" "$@"; }

# ---- a state with something of everything ----
start_cloud
make_ca demo 2>/dev/null
make_device dev demo 2>/dev/null
register_ca demo
id=$(id_of "$work/dev.crt")
{
    iot iot register-certificate --certificate-pem "file://$work/dev.crt" --status ACTIVE
    iot iot create-policy --policy-name p --policy-document "$open_policy" --tags Key=k,Value=v
    iot iot create-policy-version --policy-name p --set-as-default \
        --policy-document '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:*","Resource":"*"}]}'
    iot iot create-thing-type --thing-type-name lamp --thing-type-properties searchableAttributes=colour
    iot iot create-thing-group --thing-group-name house
    iot iot create-thing-group --thing-group-name room --parent-group-name house
    iot iot attach-policy --policy-name p --target "$arn:thinggroup/house"
    iot iot create-thing --thing-name t1 --thing-type-name lamp --attribute-payload 'attributes={colour=red}'
    iot iot add-thing-to-thing-group --thing-group-name room --thing-name t1
    iot iot attach-thing-principal --thing-name t1 --principal "$arn:cert/$id"
    iot iot deprecate-thing-type --thing-type-name lamp
    printf '#!/bin/sh\n' >"$work/bootstrap" && chmod 755 "$work/bootstrap" && (cd "$work" && zip -q f.zip bootstrap)
    iot lambda create-function --function-name f --runtime provided --handler h --role arn:aws:iam::000000000000:role/r \
        --zip-file "fileb://$work/f.zip"
    iot iot create-topic-rule --rule-name r --topic-rule-payload \
        '{"sql":"SELECT * FROM '"'a'"'","actions":[{"lambda":{"functionArn":"arn:aws:lambda:us-east-1:000000000000:function:f"}}]}'
    iot iot create-topic-rule-destination --destination-configuration 'httpUrlConfiguration={confirmationUrl=http://127.0.0.1:1/}'
} >"$work/made" 2>&1
unreachable() { text iot list-topic-rule-destinations --query 'destinationSummaries[].[status,statusReason]' | grep -q '^ERROR.*failed: '; }
check "a destination that is not reached says why" wait_for 10 unreachable
check "a state is made" test "$(grep -c 'error occurred' "$work/made")" -eq 0
bm export --dir "$work/cloud" >"$work/beside.jsonl"
check_fails 4 "import beside a running cloud is refused" bm import --dir "$work/cloud" "$work/beside.jsonl"
stop cloud
bm export --dir "$work/cloud" >"$work/a.jsonl"
check "export beside a running cloud has the same lines" cmp "$work/a.jsonl" "$work/beside.jsonl"

# ---- it moves whole ----
check_output "import says how many lines" '^13 lines, 0 of them known' bm import --dir "$work/second" "$work/a.jsonl"
bm export --dir "$work/second" >"$work/b.jsonl"
check "the second cloud exports what the first did" cmp "$work/a.jsonl" "$work/b.jsonl"
check_output "importing again changes nothing" '^13 lines, ' bm import --dir "$work/second" "$work/a.jsonl"
bm export --dir "$work/second" >"$work/c.jsonl"
check "not even the order" cmp "$work/a.jsonl" "$work/c.jsonl"
start_cloud "$work/second"
check "the second cloud knows the certificate" status_is "$id" ACTIVE
check_output "whose thing's group gives it the policy" '^p$' text iot get-effective-policies --principal "$arn:cert/$id" \
    --query 'effectivePolicies[].policyName'
check_output "and its newest version" Deny text iot get-policy --policy-name p --query policyDocument
check "functions run there" iot lambda get-function --function-name f
stop cloud

# ---- a fleet's list, by hand ----
jq_line() { /usr/bin/python3 -c 'import json,sys; print(json.dumps({"kind":"certificate","certificatePem":open(sys.argv[1]).read(),"status":"ACTIVE"}))' "$1"; }
make_device fleet demo 2>/dev/null
jq_line "$work/fleet.crt" >"$work/fleet.jsonl"
check_fails 1 "a certificate whose CA is not registered is refused" bm import --dir "$work/third" "$work/fleet.jsonl"
cp "$work/out" "$work/said"
check_output "with line and cure" "fleet.jsonl:1: no registered CA signed.*CN=Demo CA demo.*SNI_ONLY" cat "$work/said"
check "with its CA it is taken" bm import --dir "$work/second" "$work/fleet.jsonl"
for bad in '{"kind":"nonsense"}' 'no json' '[]' '{"kind":"thing"' '{"kind":"certificate"}' '{"kind":"certificate","certificate":"!"}' \
    '{"kind":"policy","name":"x"}' '{"kind":"thing","name":"x","type":"none"}' '{"kind":"thing","name":"a","name":"b"}'; do
    printf '{"kind":"thing","name":"good"}\n%s\n' "$bad" >"$work/bad.jsonl"
    check_fails 1 "refused by its line: $bad" bm import --dir "$work/second" "$work/bad.jsonl"
    grep -q 'bad.jsonl:2: ' "$work/out" || not_ok "the line is named: $bad" "$work/out"
done

# ---- kill -9 in the middle ----

/usr/bin/python3 -c '
for i in range(60000):
    print("{\"kind\":\"thing\",\"name\":\"thing%d\",\"attributes\":{\"n\":\"%d\"}}" % (i, i))' >"$work/many.jsonl"
start big "$bin/birthmark" import --dir "$work/big" "$work/many.jsonl"
lines_of() { /usr/bin/python3 -c '
import json, sqlite3, sys
row = sqlite3.connect(f"file:{sys.argv[1]}/registry.db?mode=ro", uri=True).execute("SELECT value FROM meta WHERE key = \"import\"").fetchone()
print(json.loads(row[0]).get("lines", 0) if row else 0)' "$1" 2>/dev/null || echo 0; }
some() { [ "$(lines_of "$work/big")" -ge 10000 ]; }
wait_for 30 some
stop big KILL
at=$(lines_of "$work/big")
check "it was killed in the middle, after $at lines" test "$at" -ge 10000 -a "$at" -lt 60000
check_output "the next run takes the rest" '^60000 lines' bm import --dir "$work/big" "$work/many.jsonl"
cp "$work/out" "$work/said"
check_output "and began where the other ended" "going on after line $at\$" cat "$work/said"
check "every line is there once" test "$(bm export --dir "$work/big" | grep -c '"kind":"thing"')" -eq 60000
done_testing

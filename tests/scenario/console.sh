#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The web console in a real browser (tests/npm/browser/console.mjs): each task by clicking as a person would, with a real device.
# Before it, who is not let in. With SCREENSHOTS=FOLDER it leaves pictures there.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libnpm.sh"

# two accounts, each with keys of its own
B=111111111111
"$bin/birthmark" cloud --dir "$work/cloud" --new-credentials >"$work/keys.a"
"$bin/birthmark" cloud --dir "$work/cloud" --new-credentials --account $B >"$work/keys.b"
eval "$(cat "$work/keys.b")"
other=$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY
eval "$(cat "$work/keys.a")"
check_output "beyond loopback it is not opened with test/test, and the cure is said" '0.0.0.0 is not a loopback address.*--new-credentials' \
    sh -c '"$@" 2>&1; [ $? = 1 ]' - "$bin/birthmark" cloud --dir "$work/open" --api 127.0.0.1:0 --mqtt 127.0.0.1:0 --console 0.0.0.0:0
check_output "an address that is none is misuse" "wants IP:PORT or off, not 'here'" \
    sh -c '"$@" 2>&1; [ $? = 2 ]' - "$bin/birthmark" cloud --dir "$work/open" --console here
CLOUD_OPTIONS="--console off"
start_cloud
check "with off there is none" sh -c '! grep -q "^console " "$0"' "$work/cloud.log"
stop cloud
CLOUD_OPTIONS="--console 127.0.0.1:0"
start_cloud
console=$(sed -n 's/^console //p' "$work/cloud.log")
asks() { curl -sS -o /dev/null -w '%{http_code}' -b "$work/jar" "$@"; }
# answers CODE CLAIM curl-arguments...
answers()
{
    code=$1 claim=$2
    shift 2
    got=$(asks "$@")
    [ "$got" = "$code" ] && ok "$claim" || { echo "HTTP $got, wanted $code" >"$work/out"; not_ok "$claim" "$work/out"; }
}
keys="{\"accessKey\":\"$AWS_ACCESS_KEY_ID\",\"secretKey\":\"$AWS_SECRET_ACCESS_KEY\"}"
answers 401 "without a session nothing is told" "$console/view/overview"
answers 401 "nor is an operation run" "$console/api/certificates"
answers 403 "a login without the header of our page is refused" -d "$keys" "$console/session"
answers 401 "wrong keys are refused" -H 'X-Console-Token: login' -d '{"accessKey":"test","secretKey":"test"}' "$console/session"
answers 200 "the right ones open a session" -c "$work/jar" -H 'X-Console-Token: login' -d "$keys" "$console/session"
check_output "whose cookie no script can read" '^#HttpOnly_127.0.0.1.*birthmark_' cat "$work/jar"
answers 200 "with it everything can be read" "$console/view/overview"
answers 421 "but not under a name that was made to point here" -H 'Host: evil.example' "$console/view/overview"
answers 403 "nor for a page of another origin" -H 'Origin: http://127.0.0.1:1' "$console/view/overview"
answers 403 "and nothing is changed without the token" -X DELETE "$console/api/registrationcode"
# each CODE CURL-OPTION...: every endpoint answers with CODE
reads="view/overview view/certificates view/certificate view/cas view/timeline view/rules view/log session events api/certificates"
changes="view/policy-test mqtt api/policies/p api/certificate/register"
each()
{
    want=$1 which=$2
    shift 2
    for path in $which; do
        got=$(curl -sS -m 5 -o /dev/null -w '%{http_code}' "$@" "$console/$path")
        [ "$got" = "$want" ] || { echo "$path: $got, wanted $want" && return 1; }
    done
}
check "no endpoint answers without a session" each 401 "$reads $changes"
check "nor with a cookie of somebody's own" each 401 "$reads $changes" -H "Cookie: $(sed -n 's/.*\t\(birthmark_[0-9]*\)\t.*/\1/p' "$work/jar")=$(printf '%064d' 0)"
check "none of them answers a page of another origin" each 403 "$reads $changes" -b "$work/jar" -H 'Origin: http://127.0.0.1:1'
check "nor another site's" each 403 "$reads $changes" -b "$work/jar" -H 'Sec-Fetch-Site: cross-site'
check "nor under a name that was made to point here" each 421 "$reads $changes" -b "$work/jar" -H 'Host: evil.example'
check "none that changes something is run without the token" each 403 "$changes" -b "$work/jar" -d '{}'
check "nor with a token that is not this session's" each 403 "$changes" -b "$work/jar" -d '{}' -H "X-Console-Token: $(printf '%064d' 0)"

# nothing else happens meanwhile whose commit would carry it along
mkdir "$work/quiet"
printf 'def handler(event, context):\n    return event\n' >"$work/quiet/app.py"
(cd "$work/quiet" && zip -q ../quiet.zip app.py)
start events curl -sSN -b "$work/jar" "$console/events"
wait_line events '^event: hello' >/dev/null
iot lambda create-function --function-name quiet --runtime python3.11 --handler app.handler --role arn:aws:iam::000000000000:role/any \
    --zip-file "fileb://$work/quiet.zip" >/dev/null
iot lambda invoke --function-name quiet --invocation-type Event "$work/answer" >/dev/null
check "a function that ends well is told of by itself" wait_for 20 grep -q '"function.succeeded"' "$work/events.log"
stop events
iot lambda delete-function --function-name quiet
check_output "no page may run script that is not ours" "^Content-Security-Policy: default-src 'none'; script-src 'self';" curl -sSi "$console/"

command -v chromium >/dev/null || { echo "skip - no chromium: apt-get install chromium"; done_testing; }
npm_install "$root/tests/npm/browser" || {
    echo "skip - $why_not"
    done_testing
}
make_ca factory
cp -r "$BUILD/share/birthmark/examples/jitr-activate/python" "$work/jitr"
(cd "$work/jitr" && zip -qr ../jitr.zip .)
# a device whose names are markup
hostile='<img src=x onerror=alert(1)>'
openssl ecparam -genkey -name prime256v1 -out "$work/hostile.key"
openssl req -new -key "$work/hostile.key" -subj "/CN=$hostile" -out "$work/hostile.csr"
openssl x509 -req -days 30 -in "$work/hostile.csr" -CAcreateserial -CA "$work/factory.crt" -CAkey "$work/factory.key" -out "$work/hostile.crt" 2>/dev/null
cat "$work/hostile.crt" "$work/factory.crt" >"$work/hostile.pem"
make_device sensor-7 factory
make_device sensor-8 factory
ln -s "$modules/node_modules" "$work/node_modules"
cp "$root/tests/npm/browser/console.mjs" "$work/"
(cd "$work" && timeout 240 node console.mjs "$console" "$work" "$ca" "$port" "$other" "${SCREENSHOTS:-}") >"$work/browser.out" 2>&1 || echo "console.mjs exited with $?" >>"$work/browser.out"
while IFS= read -r line; do
    case $line in "ok - "*) ok "${line#ok - }" ;; *) not_ok "${line#not ok - }" "$work/cloud.log" ;; esac
done <"$work/browser.out"
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Topic rules with the real aws CLI and unmodified MQTT clients: WHERE and SELECT, republish, http, aws_lambda(), error action.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
active_device a open
role='"roleArn":"arn:aws:iam::000000000000:role/r"'

# NAME SQL ACTION [ERROR-ACTION]
rule()
{
    iot iot create-topic-rule --rule-name "$1" --topic-rule-payload "{\"sql\":\"$2\",\"awsIotSqlVersion\":\"2016-03-23\",\"actions\":[$3]${4:+,\"errorAction\":$4}}"
}
republish() { printf '{"republish":{%s,"topic":"%s","qos":1}}' "$role" "$1"; }
got() { grep -qxF "$2" "$work/$1.log"; }
said() { grep -q "$2" "$work/$1.log"; }

start sub stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" \
    -i sub -q 1 -v -d -t 'hot/#' -t 'errors/#' -t 'answers/#'
wait_for 10 said sub Subscribed

check "a rule with expressions is created" rule hot "SELECT temp * 9 / 5 + 32 AS f, topic(2) AS device, clientid() AS client FROM 'dt/+/temp' WHERE temp > 30" \
    "$(republish 'hot/${topic(2)}')"
as a mosquitto_pub -q 1 -t dt/7/temp -m '{"temp": 20}'
check "a message that passes WHERE is acknowledged" as a mosquitto_pub -q 1 -t dt/8/temp -m '{"temp": 35.5, "more": [1]}'
check "and what SELECT made of it is republished" wait_for 10 got sub 'hot/8 {"f":95.9,"device":"8","client":"a"}'
check_fails 1 "what does not pass WHERE is not" said sub hot/7

# wills: mosquitto_sub with a will that is killed; more options at the end
with_will()
{
    name=$1
    shift
    start "$name" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" -i "$name" -d -t none \
        -V mqttv5 -D connect session-expiry-interval 60 --will-topic "lost/$name" --will-payload '{"gone": true}' --will-qos 1 "$@"
    wait_for 10 said "$name" Subscribed
}
rule wills "SELECT gone, clientid() AS client FROM 'lost/#'" "$(republish 'hot/${topic(2)}')"
with_will sudden
stop sudden KILL
check "the will of a lost device reaches the rules" wait_for 10 got sub 'hot/sudden {"gone":true,"client":"sudden"}'
with_will returns -D will will-delay-interval 5
stop returns KILL
with_will returns
with_will late -D will will-delay-interval 5
stop late KILL
check "a will with a delay reaches them later" wait_for 20 got sub 'hot/late {"gone":true,"client":"late"}'
check_fails 1 "and that of a client that came back before never" said sub hot/returns

check_output "what is no SQL is refused with its place" 'SqlParseException.*character 8: there is no function nosuch' \
    sh -c '"$@" 2>&1 || true' sh aws --endpoint-url "$api" iot create-topic-rule --rule-name bad \
    --topic-rule-payload "{\"sql\":\"SELECT nosuch(a) AS b FROM 'a'\",\"actions\":[]}"

# a server that keeps what it was sent
cat >"$work/server.py" <<'PY'
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print("POST", self.path, self.headers["X-Device"], body, flush=True)
        self.send_response(200 if self.path == "/in" else 404)
        self.end_headers()
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
server.serve_forever()
PY
start server python3 "$work/server.py"
wait_for 10 said server '^port'
url="http://127.0.0.1:$(sed -n 's/^port //p' "$work/server.log")"
check "an http action is created" rule web "SELECT temp FROM 'web/+'" \
    "{\"http\":{\"url\":\"$url/\${topic(2)}\",\"headers\":[{\"key\":\"X-Device\",\"value\":\"\${clientid()}\"}]}}" "$(republish 'errors/${topic(2)}')"
as a mosquitto_pub -q 1 -t web/in -m '{"temp": 1.5}'
check "the server gets result, path and header" wait_for 10 got server 'POST /in a {"temp":1.5}'
as a mosquitto_pub -q 1 -t web/gone -m '{"temp": 2}'
check "an answer that is no success reaches the error action" wait_for 10 said sub 'errors/gone.*answer 404'

# beyond loopback (0.0.0.0 is this machine, by an address that does not say so) the receiver must have agreed
cat >"$work/receiver.py" <<'PY'
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        if self.headers["x-amz-rules-engine-message-type"] != "DestinationConfirmation":
            print("message", self.path, json.dumps(body), flush=True)
            return
        same = self.path == "/base/?confirmationToken=" + body["confirmationToken"] and self.headers["x-amz-rules-engine-destination-arn"] == body["arn"]
        print("asked", body["arn"], body["messageType"], same, flush=True)
        with open(sys.argv[1], "w") as f:
            f.write(body["enableUrl"])
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
server.serve_forever()
PY
start receiver python3 "$work/receiver.py" "$work/enable"
wait_for 10 said receiver '^port'
afar="http://0.0.0.0:$(sed -n 's/^port //p' "$work/receiver.log")/base"
check "a rule for a receiver beyond loopback is created" rule far "SELECT n FROM 'far/+'" \
    "{\"http\":{\"url\":\"$afar/\${topic(2)}\",\"confirmationUrl\":\"$afar\"}}" "$(republish 'errors/far')"
check "and its destination with it, which asks the receiver" wait_for 10 said receiver '^asked arn:aws:iot:us-east-1:000000000000:ruledestination/http/[-0-9a-f]* DestinationConfirmation True$'
destination=$(text iot list-topic-rule-destinations --query 'destinationSummaries[0].arn')
destination_status() { text iot get-topic-rule-destination --arn "$destination" --query topicRuleDestination.status; }
check_output "it is IN_PROGRESS" '^IN_PROGRESS$' destination_status
as a mosquitto_pub -q 1 -t far/early -m '{"n": 1}'
check "a message before the confirmation reaches the error action, with the cause" wait_for 10 said sub 'errors/far.*IN_PROGRESS, not ENABLED'
check_output "it can not be enabled by hand" 'not confirmed yet' \
    sh -c '"$@" 2>&1 || true' sh aws --endpoint-url "$api" iot update-topic-rule-destination --arn "$destination" --status ENABLED
rm "$work/enable"
check "the confirmation is sent again when asked for" iot iot update-topic-rule-destination --arn "$destination" --status IN_PROGRESS
wait_for 10 test -s "$work/enable"
check "the receiver opens the URL that it was sent, without credentials" python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' "$(cat "$work/enable")"
check_output "and the destination is ENABLED" '^ENABLED$' destination_status
as a mosquitto_pub -q 1 -t far/late -m '{"n": 2}'
check "from now on messages arrive" wait_for 10 got receiver 'message /base/late {"n": 2}'
check_fails 1 "that one before did not" said receiver 'early'
rm "$work/enable"
iot iot update-topic-rule-destination --arn "$destination" --status IN_PROGRESS
wait_for 10 test -s "$work/enable"
check "the token confirms with the CLI as well" iot iot confirm-topic-rule-destination --confirmation-token "$(sed 's|.*/||' "$work/enable")"
check "a destination is deleted" iot iot delete-topic-rule-destination --arn "$destination"
check_output "and is not listed any more" '^None$' text iot list-topic-rule-destinations --query 'destinationSummaries[0].arn'

mkdir "$work/f"
cat >"$work/f/app.py" <<'PY'
def handler(event, context):
    return {"twice": event["n"] * 2}
PY
(cd "$work/f" && zip -q "$work/f.zip" app.py)
iot lambda create-function --function-name twice --runtime python3.11 --handler app.handler --role arn:aws:iam::000000000000:role/r \
    --zip-file "fileb://$work/f.zip" >/dev/null
iot lambda add-permission --function-name twice --statement-id iot --action lambda:InvokeFunction --principal iot.amazonaws.com \
    --source-arn "$arn:rule/ask" >/dev/null
rule ask "SELECT aws_lambda('arn:aws:lambda:us-east-1:000000000000:function:twice', {'n': n}).twice AS twice FROM 'ask/+'" "$(republish 'answers/${topic(2)}')"
as a mosquitto_pub -q 1 -t ask/1 -m '{"n": 21}'
check "aws_lambda() in SELECT gets its answer" wait_for 20 got sub 'answers/1 {"twice":42}'
# what nobody takes is kept, shown, and can be sent again with the aws CLI
letters() { "$bin/birthmark" dead-letters --dir "$work/cloud" "$@"; }
check_output "nothing was given up so far: the error action took it" '^none' letters
rule kept "SELECT n FROM 'kept/+'" '{"lambda":{"functionArn":"arn:aws:lambda:us-east-1:000000000000:function:twice"}}'
as a mosquitto_pub -q 1 -t kept/1 -m '{"n": 4, "more": 1}'
kept() { letters | grep -q "function twice"; }
check "an action that may not run leaves a dead letter" wait_for 10 kept
check_output "with its cause and cure" 'no permission.*aws lambda add-permission' letters
letters --json >"$work/letters.json"
check_output "as JSON with the event" '"target":"twice","rule":"kept"' cat "$work/letters.json"
letters --payload "$(sed 's/.*"id":\([0-9]*\).*/\1/' "$work/letters.json")" >"$work/event.json"
check "the event can be had as it was" grep -qxF '{"n":4}' "$work/event.json"
iot lambda invoke --function-name twice --payload "fileb://$work/event.json" "$work/again" >/dev/null
check "and sent again" grep -qxF '{"twice": 8}' "$work/again"
check_fails 3 "a letter that is not there is said to be none" letters --payload 999
check_output "explain shows a rule that failed, with its cause" 'an action failed.*answer 404' "$bin/birthmark" explain --dir "$work/cloud" a
check "basic ingest: a rule that no topic reaches" rule direct "SELECT temp, topic() AS topic FROM 'never/published'" "$(republish hot/direct)"
check "is acknowledged" as a mosquitto_pub -q 1 -t '$aws/rules/direct/dt/cellar' -m '{"temp":1}'
check "and runs, and sees the topic behind its name" wait_for 10 got sub 'hot/direct {"temp":1,"topic":"dt/cellar"}'
check_fails 7 "nobody subscribes to it" as a mosquitto_sub -E -t '$aws/rules/direct/#'
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Lifecycle events with unmodified clients: a subscriber sees who comes, subscribes and leaves and why, and a rule runs on it.
# The same as numbers at /metrics.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

CLOUD_OPTIONS='--metrics 127.0.0.1:0'
start_cloud
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
make_device a factory
id=$(id_of "$work/a.crt")
iot iot register-certificate --certificate-pem "file://$work/a.crt" --ca-certificate-pem "file://$work/factory.crt" --status ACTIVE >/dev/null
iot iot attach-policy --policy-name open --target "$arn:cert/$id"
check "a rule on presence is created" iot iot create-topic-rule --rule-name gone --topic-rule-payload \
    "{\"sql\":\"SELECT clientId, disconnectReason AS why FROM '\$aws/events/presence/disconnected/+'\",\"awsIotSqlVersion\":\"2016-03-23\",
      \"actions\":[{\"republish\":{\"roleArn\":\"arn:aws:iam::000000000000:role/r\",\"topic\":\"gone/now\"}}]}"

said() { grep -qE "$2" "$work/$1.log"; }
# TOPIC PATTERN: an event below $aws/events/ with this in it
event() { grep -F "\$aws/events/$1 " "$work/watch.log" | grep -qE "$2"; }

start watch stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" \
    -i watch -q 1 -v -d -t '$aws/events/#' -t 'gone/#'
wait_for 10 said watch Subscribed

as a mosquitto_pub -q 1 -t t -m x
check "a device that came" wait_for 10 event presence/connected/a \
    "\"clientId\":\"a\".*\"timestamp\":[0-9]{13},\"eventType\":\"connected\",\"sessionIdentifier\":\"[-0-9a-f]{36}\",\"principalIdentifier\":\"$id\",\"ipAddress\":\"127.0.0.1\",\"versionNumber\":[0-9]{13}"
check "left in good order" wait_for 10 event presence/disconnected/a '"clientInitiatedDisconnect":true,"disconnectReason":"CLIENT_INITIATED_DISCONNECT"'
check "and the rule ran on it" wait_for 10 said watch '^gone/now \{"clientId":"a","why":"CLIENT_INITIATED_DISCONNECT"\}'

as a mosquitto_sub -U t/old -E -t t/new -t 't/+' -q 1
check "filters that were asked for" wait_for 10 event subscriptions/subscribed/a '"topics":\["t/new","t/\+"\]'
check "a filter that was given back" wait_for 10 event subscriptions/unsubscribed/a '"topics":\["t/old"\]'

# Two of a name, on whichever worker: five times, so that both ways are met.
for i in 1 2 3 4 5; do
    start "first$i" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" -i "twin$i" -d -t t
    wait_for 10 said "first$i" Subscribed
    mosquitto_pub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" -i "twin$i" -t t -m x
    check "the older of two with one id ($i)" wait_for 10 event "presence/disconnected/twin$i" DUPLICATE_CLIENTID
    stop "first$i"
done

check_fails any "nobody else may publish an event" as a mosquitto_pub -q 1 -t '$aws/events/presence/connected/x' -m '{}'
check "which costs the connection" wait_for 10 event presence/disconnected/a AUTH_ERROR
check_output "explain says the same of it" 'another connection uses the same client id' "$bin/birthmark" explain --dir "$work/cloud" twin1

# A broker that is killed: who was connected hears nothing of it, but a rule does.
cat >"$work/server.py" <<'END'
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
server.serve_forever()
END
start server /usr/bin/python3 "$work/server.py"
wait_line server '^port' >/dev/null
check "a rule tells a server of it" iot iot create-topic-rule --rule-name told --topic-rule-payload \
    "{\"sql\":\"SELECT clientId, disconnectReason AS why FROM '\$aws/events/presence/disconnected/+'\",\"awsIotSqlVersion\":\"2016-03-23\",
      \"actions\":[{\"http\":{\"url\":\"http://127.0.0.1:$(sed -n 's/^port //p' "$work/server.log")\"}}]}"
start bereft stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" -i bereft -d -t t
wait_for 10 said bereft Subscribed
kill -9 "$(pgrep -P "$(cat "$work/cloud.pid")" -x mosquitto)"
check "a device whose broker dies was disconnected by an error of the server" wait_for 20 said server '"clientId":"bereft","why":"SERVER_ERROR"'
start again stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/a.pem" --key "$work/a.key" -h 127.0.0.1 -p "$port" -i again -d -t t
check "the next broker serves" wait_for 20 said again Subscribed

curl -sS "$(sed -n 's/^metrics //p' "$work/cloud.log")/metrics" >"$work/metrics"
metric() { grep -qE "^$1\$" "$work/metrics"; }
check "metrics: open connections of both workers" metric 'birthmark_connections [1-9][0-9]*'
check "metrics: a refusal by its cause" metric 'birthmark_causes_total\{cause="publish.denied"\} 1'
check "metrics: acknowledged publishes as a histogram" metric 'birthmark_publish_seconds_count [1-9][0-9]*'
check "metrics: connects as a histogram" metric 'birthmark_connect_seconds_bucket\{le="\+Inf"\} [1-9][0-9]*'
done_testing

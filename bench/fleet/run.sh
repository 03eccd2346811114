#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# birthmark fleet at full size: DEVICES (2000) that nobody knows join just in time by the example function, the cloud is restarted under them
# (down for DOWN seconds, 5), all come back. Says when, what each process tree needed, and where the plots are (PLOTS, default: nowhere).
#
# SPREAD: how fast they begin (default 100ms for each: AWS registers 15 a second for an account, SPEC aws-iot 4.3). FUNCTION: python (default)
# or shell, of examples/jitr-activate.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
bin=$PWD/${BUILD:-build}/bin
case ${BUILD:-} in /*) bin=$BUILD/bin ;; esac
n=${DEVICES:-2000} down=${DOWN:-5} spread=${SPREAD:-$((n / 10))s}
work=$(mktemp -d)
chmod 711 "$work"
cloud='' fleet=''
trap '[ -z "$fleet$cloud" ] || kill $fleet $cloud 2>/dev/null; wait; rm -rf "$work"' EXIT
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 AWS_PAGER=

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port) api=http://127.0.0.1:$(free_port) metrics=127.0.0.1:$(free_port)
start_cloud()
{
    "$bin/birthmark" cloud --dir "$work/cloud" --api "${api#http://}" --mqtt "127.0.0.1:$port" --metrics "$metrics" --console off --log warn >"$work/cloud.log" 2>&1 &
    cloud=$!
    until grep -qs "^ready$" "$work/cloud.log"; do
        kill -0 $cloud || { cat "$work/cloud.log" >&2; exit 1; }
        sleep 0.1
    done
}
connected() { curl -s "http://$metrics/metrics" | sed -n 's/^birthmark_connections{[^}]*} \([0-9]*\).*/\1/p; s/^birthmark_connections \([0-9]*\).*/\1/p' | awk '{ n += $1 } END { print n + 0 }'; }
wait_connected() # until COUNT are, and say how long it took
{
    began=$(date +%s.%N)
    until [ "$(connected)" -ge "$n" ]; do
        kill -0 "$fleet" || exit 1
        sleep 0.5
    done
    echo "$1: all $n are connected after $(echo "$(date +%s.%N) - $began" | bc | cut -c1-5) s"
}
# CPU seconds (of children that have ended, too) and PSS of a process tree
cost()
{
    python3 - "$1" "$2" <<'PY'
import os, sys
children = {}
for p in filter(str.isdigit, os.listdir("/proc")):
    try:
        f = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
        children.setdefault(int(f[1]), []).append((int(p), sum(map(int, f[11:15]))))
    except OSError:
        pass
todo, cpu, pss, count = [(int(sys.argv[2]), 0)], 0, 0, 0
todo = [x for xs in children.values() for x in xs if x[0] == todo[0][0]]
while todo:
    pid, ticks = todo.pop()
    cpu, count = cpu + ticks, count + 1
    try:
        pss += sum(int(l.split()[1]) for l in open(f"/proc/{pid}/smaps_rollup") if l.startswith("Pss:"))
    except OSError:
        pass
    todo += children.get(pid, [])
print(f"{sys.argv[1]}: {cpu / os.sysconf('SC_CLK_TCK'):.1f} s CPU, {pss / 1024:.0f} MB (PSS) in {count} processes")
PY
}

start_cloud
"$bin/birthmark" ca new --dir "$work/ca" --no-passphrase >/dev/null
AWS_ENDPOINT_URL=$api "$bin/birthmark" ca register --dir "$work/ca" >/dev/null
iot() { aws --endpoint-url "$api" "$@" >/dev/null; }
function=${FUNCTION:-python}
case $function in
python) runtime=python3.11 handler=lambda_function.lambda_handler ;;
*) runtime=provided.al2 handler=bootstrap ;;
esac
(cd "$root/examples/jitr-activate/$function" && zip -qr "$work/function.zip" .)
arn=arn:aws:lambda:us-east-1:000000000000:function:jitr
iot lambda create-function --function-name jitr --runtime $runtime --handler $handler --role arn:aws:iam::000000000000:role/any --timeout 60 --zip-file "fileb://$work/function.zip"
iot lambda add-permission --function-name jitr --statement-id iot --action lambda:InvokeFunction --principal iot.amazonaws.com --source-arn arn:aws:iot:us-east-1:000000000000:rule/jitr
iot iot create-topic-rule --rule-name jitr --topic-rule-payload "{\"sql\":\"SELECT * FROM '\$aws/events/certificates/registered/+'\",\"actions\":[{\"lambda\":{\"functionArn\":\"$arn\"}}]}"

echo "load of the machine before: $(cut -d' ' -f1-3 /proc/loadavg)"
"$bin/birthmark" fleet -p "$port" --cafile "$work/cloud/pki/root-ca.pem" --ca "$work/ca" -n "$n" --spread "$spread" --seed 7 --stay --for 30m \
    ${PLOTS:+--svg "$PLOTS"} >"$work/report" 2>"$work/fleet.log" &
fleet=$!
wait_connected "join by $function"
cost "cloud while they joined" $cloud
echo "certificates that are ACTIVE: $("$bin/birthmark" export --dir "$work/cloud" | grep '"kind": *"certificate"' | grep -c '"status": *"ACTIVE"')"
kill $cloud
wait $cloud || :
sleep "$down"
start_cloud
wait_connected "after $down s without cloud"
cost "cloud since then" $cloud
kill -INT $fleet
code=0
wait $fleet || code=$?
fleet=
cat "$work/fleet.log" "$work/report"
echo "exit status $code; load of the machine at the end: $(cut -d' ' -f1-3 /proc/loadavg)"

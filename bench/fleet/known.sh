#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# birthmark fleet at its largest: DEVICES (10000) whose certificates were imported connect, publish once, are all cut off, and come back.
# Chips and the cloud's state lie in SHM (/dev/shm).
#
# SPREAD: how fast they begin (default 4ms for each). PLOTS: where the plots go.
set -eu
cd "$(dirname "$0")/../.."
bin=$PWD/${BUILD:-build}/bin
case ${BUILD:-} in /*) bin=$BUILD/bin ;; esac
n=${DEVICES:-10000}
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d "${SHM:-/dev/shm}/fleet.XXXXXX")
chmod 711 "$work"
cloud=
trap '[ -z "$cloud" ] || kill $cloud 2>/dev/null; wait; rm -rf "$work"' EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
fleet() { "$bin/birthmark" fleet -p "$port" --cafile "$work/cloud/pki/root-ca.pem" --ca "$work/ca" -n "$n" --state "$work/devices" --seed 7 "$@"; }
start_cloud()
{
    "$bin/birthmark" cloud --dir "$work/cloud" --api 127.0.0.1:0 --mqtt "127.0.0.1:$port" --console off --log warn >"$work/cloud.log" 2>&1 &
    cloud=$!
    until grep -qs "^ready$" "$work/cloud.log"; do
        kill -0 $cloud || { cat "$work/cloud.log" >&2; exit 1; }
        sleep 0.1
    done
}
"$bin/birthmark" ca new --dir "$work/ca" --no-passphrase >/dev/null
start_cloud # makes the root
kill $cloud
wait $cloud || :
cloud=
fleet --for 1s --spread 0s | tail -n 1 || :
python3 - "$work" <<'PY' >"$work/lines"
import glob, json, sys
print(json.dumps({"kind": "ca", "certificatePem": open(f"{sys.argv[1]}/ca/issuing-1.pem").read(), "status": "ACTIVE"}))
policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}
print(json.dumps({"kind": "policy", "name": "open", "versions": [{"document": json.dumps(policy), "default": True}]}))
for path in glob.glob(f"{sys.argv[1]}/devices/*/cert.pem"):
    leaf = open(path).read().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    print(json.dumps({"kind": "certificate", "certificatePem": leaf, "status": "ACTIVE", "policies": ["open"]}))
PY
"$bin/birthmark" import --dir "$work/cloud" "$work/lines" | tail -n 1
start_cloud
echo "load of the machine before: $(cut -d' ' -f1-3 /proc/loadavg)"
code=0
at=$((n * 4 / 1000 + 20))
fleet --spread "${SPREAD:-$((n * 4 / 1000))s}" --storm "${at}s" --for 10m ${PLOTS:+--svg "$PLOTS"} || code=$?
python3 - $cloud <<'PY'
import os, sys
cpu = pss = 0
for p in filter(str.isdigit, os.listdir("/proc")):
    try:
        f = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
        if f[1] == sys.argv[1]:
            cpu += sum(map(int, f[11:15]))
            pss += sum(int(l.split()[1]) for l in open(f"/proc/{p}/smaps_rollup") if l.startswith("Pss:"))
    except OSError:
        pass
print(f"cloud: {cpu / os.sysconf('SC_CLK_TCK'):.1f} s CPU, {pss / 1024:.0f} MB (PSS)")
PY
echo "exit status $code; load of the machine at the end: $(cut -d' ' -f1-3 /proc/loadavg)"
echo "what the cloud says of it:"
"$bin/birthmark" explain --dir "$work/cloud" --json --limit 1000000 | sed -n 's/.*"cause": *"\([a-z_.]*\)".*/\1/p' | sort | uniq -c

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A device gets its next certificate: request signed by the chip, answer of the CA held against it, stored beside the old one; cut
# off anywhere; let in with the old one as long as the new one is not.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libdevice.sh"

state=$work/state
sign="$bin/birthmark ca sign --dir $work/ca"
# shellcheck disable=SC2120
renew() { timeout 60 "$bin/birthmark" device renew --state "$state" --renew-command "$sign --renewals-only --days 60" "$@"; }
leaves() { $tool --json info objects | grep -o '"type":"certificate"' | wc -l; }
leaves_are() { [ "$(leaves)" = "$1" ]; }
ctl() { "$bin/a71chd" --ctl "tcp:$A71CH_ADDRESS" "$@"; }
doctor() { "$bin/birthmark" doctor -h 127.0.0.1 -p "$port" --cafile "$ca" "$@"; }
holds() { $tool rcrt -x 0 -c "$work/held.der" >/dev/null && [ "$(sha256sum <"$work/held.der" | cut -d' ' -f1)" = "$1" ]; }
newest() { doctor "$@" | sed -n 's/^ok *certificate .*id \([0-9a-f]*\)$/\1/p'; }
admitted() { sed -n 's/.*"admitted":"\([0-9a-f]*\)".*/\1/p' "$state/known.json"; }
admitted_is() { [ "$(admitted)" = "$1" ]; }
activate() { iot iot attach-policy --policy-name open --target "$arn:cert/$1" && iot iot update-certificate --certificate-id "$1" --new-status ACTIVE; }

# a device of our own CA, whose leaf ends in ten days
"$bin/birthmark" ca new --dir "$work/ca" --no-passphrase --days 400 >/dev/null
start_cloud
AWS_ENDPOINT_URL=$api "$bin/birthmark" ca register --dir "$work/ca" >/dev/null || not_ok "the CA is registered"
start d1 "$bin/a71chd" --sim "$work/d1.chip" --listen tcp:127.0.0.1:0 --ctl-tcp
wait_line d1 '^ready$' >/dev/null
A71CH_ADDRESS=$(wait_line d1 '^listening tcp:' | sed 's/^listening tcp://')
export A71CH_ADDRESS
tool="$bin/a71chConfig $A71CH_ADDRESS"
$tool gen pair -x 0 >/dev/null && $tool csr -x 0 -s "/O=Acme/CN=d1" -f "$work/d1.csr" >/dev/null
check "the CA signs a first request" sh -c '$0 --csr "$1" --days 10 >"$2"' "$sign" "$work/d1.csr" "$work/d1.pem"
$tool wcrt -x 0 -p "$work/d1.pem" >/dev/null && $tool wcrt -x 1 -p "$work/ca/issuing-1.pem" >/dev/null
old=$(id_of "$work/d1.pem")
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
device publish -t a -m x --once >/dev/null 2>&1
activate "$old"
check "the device is let in" device publish -t a -m x --state "$state"

check_fails 2 "who issues must be said" "$bin/birthmark" device renew --state "$state"
check_output "with ten days left nothing is due a week before" '^not due: CN=d1,O=Acme' renew --renew-before 7

# what is no answer changes nothing
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -out "$work/foreign.pem" -subj /O=Acme/CN=d1 2>/dev/null
$tool csr -x 0 -s "/O=Acme/CN=d2" -f "$work/d2.csr" >/dev/null
says 23 "a command that fails" 'ended with status 3' "$bin/birthmark" device renew --state "$state" --renew-command 'exit 3'
says 23 "no PEM" 'no certificate in PEM' "$bin/birthmark" device renew --state "$state" --renew-command 'echo sorry'
says 23 "another key's certificate" 'for the key of the request' "$bin/birthmark" device renew --state "$state" --renew-command "cat $work/foreign.pem"
says 23 "the old one once more" 'no later than' "$bin/birthmark" device renew --state "$state" --renew-command "cat $work/d1.pem"
says 23 "another device's name" 'is for CN=d2,O=Acme' "$bin/birthmark" device renew --state "$state" --renew-command "$sign --csr $work/d2.csr"
says 23 "one that never ends" 'takes too long' "$bin/birthmark" device renew --state "$state" --renew-command 'sleep 60' --timeout 1
says 10 "no chip" 'nobody listens' "$bin/birthmark" device renew --state "$state" --renew-command true --chip 127.0.0.1:1
check "nothing of it is stored" leaves_are 2
check_fails 5 "the CA renews nothing without the certificate in use" $sign --renewals-only --csr "$work/d1.csr"
check_fails 5 "nor for another subject" sh -c 'cat "$1" "$2" | $0' "$sign" "$work/d2.csr" "$work/d1.pem"
check_fails 5 "nor beside a stranger's" sh -c 'cat "$1" "$2" | $0' "$sign" "$work/d1.csr" "$work/foreign.pem"

# power cuts of the chip and kills of the program at random exchanges, then to the end: one new leaf, the old one untouched
before=$(ctl stats | sed 's/.*"commands":\([0-9]*\).*/\1/')
ctl snapshot begin >/dev/null
renew >/dev/null
span=$(($(ctl stats | sed 's/.*"commands":\([0-9]*\).*/\1/') - before))
ctl restore begin >/dev/null
check "a renewal is some dozens of exchanges" test "$span" -gt 20
seed=5
# roll N: 0 to N-1 in $rolled; not in $(), where the seed would stay as it is
roll() { seed=$(((seed * 1103515245 + 12345) % 2147483648)) && rolled=$((seed / 65536 % $1)); }
lost=0
for round in 1 2 3 4 5 6; do
    roll "$span"
    nth=$((rolled + 1))
    roll 40
    ctl fault add "power-during:nth=$nth,count=1,value=$rolled" >/dev/null
    renew >"$work/cut.out" 2>&1
    ctl fault clear >/dev/null
    doctor >"$work/cut.out" 2>&1 && holds "$old" || lost=$((lost + 1))
done
timeout 60 "$bin/birthmark" device renew --state "$work/killed" --force --renew-command 'kill -9 $PPID' >/dev/null 2>&1
timeout 60 "$bin/birthmark" device renew --state "$work/killed" --force --renew-command "$sign; kill -9 \$PPID" >/dev/null 2>&1
check "cut off at random the device has a certificate that works each time" test $lost = 0
renew >/dev/null
check "then there is one new leaf beside the old one" leaves_are 3
new=$(newest)
check "the newest is another one" test -n "$new" -a "$new" != "$old"

# the new one is a newcomer; until it is ACTIVE the old one serves
check "a message goes through while the new one is not ACTIVE" device publish -t a -m x --state "$state" --timeout 50
check "the new one is registered just in time" wait_for 20 status_is "$new" PENDING_ACTIVATION
check "the old one was used" admitted_is "$old"
activate "$new"
check "once ACTIVE" device publish -t a -m x --state "$state"
check "the new one is used" admitted_is "$new"

# the next one, with a new key in another slot; the leaf before last makes room
check_fails 23 "a new key wants a second slot" renew --force --new-key
check_output "which a CA that wants the old key's proof refuses" 'for another key than the certificate beside it, so it does not prove whose it is' \
    sh -c '! "$@" 2>&1' - timeout 60 "$bin/birthmark" device renew --state "$state" --slot 0,1 --new-key --force --renew-command "$sign --renewals-only"
check "a new key and its certificate" timeout 60 "$bin/birthmark" device renew --state "$state" --slot 0,1 --new-key --force --renew-command "$sign --days 70"
check "the oldest leaf is gone" leaves_are 3
third=$(newest --slot 0,1)
check "the newest is the new key's" test -n "$third" -a "$third" != "$new"
device publish -t a -m x --slot 0,1 --once >/dev/null 2>&1
activate "$third"
check "it is let in with that" device publish -t a -m x --state "$state" --slot 0,1
check "for good" admitted_is "$third"

iot iot update-certificate --certificate-id "$third" --new-status INACTIVE
says 23 "who is shut out is not renewed" 'is INACTIVE at the cloud' timeout 60 "$bin/birthmark" device renew --state "$state" --slot 0,1 --force \
    --renew-command "$sign --active-only --endpoint $api --days 75"
iot iot update-certificate --certificate-id "$third" --new-status ACTIVE

# a web server issues; the chip signs for TLS, so that the server knows whose request it is
cat >"$work/issuer.py" <<'PY'
import http.server, ssl, subprocess, sys
class Issuer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print("from", self.connection.getpeercert()["subject"], flush=True)
        done = subprocess.run(sys.argv[3].split(), input=self.rfile.read(int(self.headers["Content-Length"])), stdout=subprocess.PIPE)
        self.send_response(200 if done.returncode == 0 else 403)
        self.end_headers()
        self.wfile.write(done.stdout)
    def log_message(self, *rest):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Issuer)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[1] + "/server.pem", sys.argv[1] + "/server.key")
tls.load_verify_locations(sys.argv[2])
tls.verify_mode = ssl.CERT_REQUIRED
server.socket = tls.wrap_socket(server.socket, server_side=True)
print("port", server.server_port, flush=True)
server.serve_forever()
PY
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/server.key" -out "$work/server.pem" -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 2>/dev/null
start issuer /usr/bin/python3 "$work/issuer.py" "$work" "$work/ca/root.pem" "$sign --renewals-only --active-only --endpoint $api --days 75"
issuer=$(wait_line issuer '^port')
check "a web server issues the next one" timeout 60 "$bin/birthmark" device renew --state "$work/url" --slot 0,1 --force --cafile "$work/server.pem" \
    --renew-url "https://127.0.0.1:${issuer#port }/"
check "which knew the device by its certificate" wait_line issuer 'from .*d1'
says 23 "one that cannot be trusted gets no request" 'certificate' "$bin/birthmark" device renew --state "$work/url" --slot 0,1 --force --cafile "$ca" \
    --renew-url "https://127.0.0.1:${issuer#port }/"
stop issuer
device publish -t a -m x --slot 0,1 --once >/dev/null 2>&1
url=$(newest --slot 0,1)
activate "$url"
check "the device is let in with it" device publish -t a -m x --state "$state" --slot 0,1

# the CA has answered, and the chip does not store it: the answer is kept, nobody is asked again
ctl fault add "status:ins=72,count=1,value=6a80" >/dev/null
says 23 "a chip that stores nothing" "wrong data" timeout 60 "$bin/birthmark" device renew --state "$state" --slot 0,1 --force --renew-command "$sign --days 76"
check "the answer is kept" test -s "$state/renewal.pem"
check_output "and is stored without the CA" '^renewed: CN=d1' timeout 60 "$bin/birthmark" device renew --state "$state" --slot 0,1 --renew-command 'exit 3'
check "then it is kept no more" test ! -e "$state/renewal.pem"

# the service does it by itself, and reads anew on SIGHUP
start service "$bin/birthmark" device run -h 127.0.0.1 -p "$port" --cafile "$ca" --state "$state" --slot 0,1 --renew-before 80 --renew-command "$sign --days 90"
check "the service renews in time" wait_line service 'renewed: CN=d1'
fourth=$(newest --slot 0,1)
check "it registers the new one" wait_for 20 status_is "$fourth" PENDING_ACTIVATION
activate "$fourth"
kill -HUP "$(cat "$work/service.pid")"
check "on SIGHUP it connects with the newest at once" wait_for 20 admitted_is "$fourth"
stop service

# a certificate in a file; a chip whose storage is locked
"$bin/birthmark" ca sign --dir "$work/ca" --csr "$work/d1.csr" --days 12 >"$work/leaf.pem"
file="--chip $A71CH_ADDRESS --cert $work/leaf.pem"
check "with the certificate in a file" timeout 60 "$bin/birthmark" device renew --state "$work/fstate" $file --renew-command "$sign --days 60"
check "the next one lies beside it" openssl x509 -in "$work/leaf.pem.new" -noout -checkend 4000000
cp "$work/leaf.pem.new" "$work/second.pem"
check "the one after that takes its place" timeout 60 "$bin/birthmark" device renew --state "$work/fstate" $file --force --renew-command "$sign --days 70"
check "and nothing is lost" cmp -s "$work/leaf.pem" "$work/second.pem"
$tool lock gp -h 0fe0 -n 1 --yes >/dev/null 2>&1 || $tool --yes lock gp -h 0fe0 -n 1 >/dev/null 2>&1
says 23 "a locked storage is told before the CA is asked" 'storage is locked; keep certificates in a file' \
    "$bin/birthmark" device renew --state "$state" --slot 0,1 --force --renew-command "touch $work/asked; $sign"
check "which it was not" test ! -e "$work/asked"
done_testing

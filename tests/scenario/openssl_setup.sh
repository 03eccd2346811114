#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# a71chConfig openssl setup and check: configurations that are written in the safe order and never harm the
# system's, every order and name that OpenSSL can be given, and each cause that the self-test names.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libopenssl.sh"
conf=$BUILD/openssl-a71ch.cnf
tool=$bin/a71chConfig
cd "$work" || exit 1

start_chip a71chd
"$tool" "$A71CH_ADDRESS" gen pair -x 0 >/dev/null
"$tool" "$A71CH_ADDRESS" gen pair -x 1 >/dev/null
"$tool" "$A71CH_ADDRESS" refpem -c 10 -x 0 -r ref.pem >/dev/null
"$tool" "$A71CH_ADDRESS" refpem -c 10 -x 1 -r other.pem >/dev/null
echo 'a message' >message
echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
new_key prime256v1 ca.key
new_key prime256v1 peer.key
openssl req -x509 -new -key ca.key -subj /CN=Authority -days 30 -out ca.pem
chip openssl req -new -key ref.pem -subj /CN=device -out device.csr
openssl x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out device.pem 2>/dev/null
chip openssl pkey -in ref.pem -pubout -out pub.pem
issue foreign peer.key foreign

# with_conf FILE command ...
with_conf()
{
    given=$1
    shift
    env OPENSSL_CONF="$given" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} "$@"
}

# --- setup: a file of its own -------------------------------------------------------------------
cp /etc/ssl/openssl.cnf system.cnf 2>/dev/null || printf 'openssl_conf = openssl_init\n[openssl_init]\n' >system.cnf
cp system.cnf system.before
check_output "setup writes a file" "^wrote $work/a71ch.cnf" "$tool" openssl setup --system system.cnf
check "and leaves the system's alone" cmp system.cnf system.before
check_signs 1 "with it openssl signs in the chip" with_conf "$work/a71ch.cnf" openssl req -new -key ref.pem -subj /CN=x -out x.csr
check_output "and the self-test is content" 'name and order are right' with_conf "$work/a71ch.cnf" "$tool" openssl check ref.pem
check "setup again writes the same" sh -c 'cp a71ch.cnf first && "$1" openssl setup --system system.cnf && cmp a71ch.cnf first' - "$tool"
check "the address can stand in it" "$tool" openssl setup --system system.cnf --file my.cnf --address "$A71CH_ADDRESS"
check_signs 1 "a program without our environment then finds the chip" env -u A71CH_ADDRESS OPENSSL_CONF="$work/my.cnf" \
    ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} openssl dgst -sha256 -sign ref.pem -out sig message
if command -v node >/dev/null && [ -z "${PRELOAD:-}" ]; then
    check_signs 1 "node reads its own section of it" with_conf "$work/a71ch.cnf" node -e '
        const c = require("crypto"), f = require("fs");
        const s = c.sign("sha256", f.readFileSync("message"), f.readFileSync("ref.pem"));
        process.exit(c.verify("sha256", f.readFileSync("message"), f.readFileSync("pub.pem"), s) ? 0 : 1)'
else
    echo 'skip - node reads its own section of it: node is not installed, or a sanitizer is preloaded'
fi
check_fails 34 "an address that is none is refused" "$tool" openssl setup --system system.cnf --address 'a b'
echo '# mine' >mine.cnf
check_fails 23 "a file that is not ours is not overwritten" "$tool" openssl setup --system system.cnf --file mine.cnf
check "and is as it was" grep -qx '# mine' mine.cnf
check_fails 21 "misuse is told" "$tool" openssl setup --remove --into
check_fails 21 "an unknown word too" "$tool" openssl frobnicate

# --- setup: one line in the system's file -------------------------------------------------------
check_output "setup --into adds a line" 'every OpenSSL program' "$tool" openssl setup --system system.cnf --into --address "$A71CH_ADDRESS"
check "one only" test "$(diff system.before system.cnf | grep -c '^>')" = 2
check_signs 1 "a program that reads that file signs in the chip" with_conf "$work/system.cnf" openssl dgst -sha256 -sign ref.pem -out sig message
check_output "and the self-test is content" 'name and order are right' with_conf "$work/system.cnf" "$tool" openssl check ref.pem
check "once more changes nothing" sh -c 'cp system.cnf first && "$1" openssl setup --system system.cnf --into && cmp system.cnf first' - "$tool"
check_fails 23 "another file is not included beside it" "$tool" openssl setup --system system.cnf --into --file second.cnf
check "and nothing is left of the attempt" test ! -e second.cnf
check_fails 23 "nor is the file turned round into one that includes the system's" "$tool" openssl setup --system system.cnf
check "--remove takes it out" "$tool" openssl setup --system system.cnf --remove
check "to the byte" cmp system.cnf system.before
check_fails 23 "--remove without a line is told" "$tool" openssl setup --system system.cnf --remove

# what is loaded already stays loaded, under whatever names
cat >busy.cnf <<'END'
openssl_conf = start
[start]
providers = list
ssl_conf = tls
[list]
legacy = old
default = plain
[old]
activate = 1
[plain]
activate = 1
[tls]
system_default = strict
[strict]
MinProtocol = TLSv1.3
END
check "setup builds upon a configuration with providers of its own" "$tool" openssl setup --system busy.cnf --file busy-chip.cnf
check_output "which stay" legacy with_conf "$work/busy-chip.cnf" openssl list -providers
check_signs 1 "beside the chip" with_conf "$work/busy-chip.cnf" openssl dgst -sha256 -sign ref.pem -out sig message
check_output "and its self-test" 'name and order are right' with_conf "$work/busy-chip.cnf" "$tool" openssl check ref.pem

# --- setup: pre-shared keys ---------------------------------------------------------------------
key=000102030405060708090a0b0c0d0e0f
hmac=$(reference hmac 0 $key)
native=$(reference native 5 $key)
serve psk openssl s_server -nocert -psk $key -rev
# setup_psk OPTION ...: psk.cnf
setup_psk()
{
    "$tool" openssl setup --system system.cnf --file psk.cnf "$@"
}
# say_with REFERENCE OPTION ...: a client under psk.cnf
say_with()
{
    secret=$1
    shift
    conf=$work/psk.cnf
    say_psk "$secret" chip openssl s_client "$@"
    status=$?
    conf=$BUILD/openssl-a71ch.cnf
    return $status
}
check "setup without --psk" setup_psk
check_fails any "leaves references to pre-shared keys alone" say_with "$hmac" -tls1_3
check "setup --psk hmac" setup_psk --psk hmac
check "TLS 1.3 goes with a stored key" say_with "$hmac" -tls1_3
check "TLS 1.2, too" say_with "$hmac" -tls1_2 -cipher PSK-AES128-GCM-SHA256
check_output "and the self-test is content" 'name and order are right' with_conf "$work/psk.cnf" "$tool" openssl check ref.pem
check "setup --psk native" setup_psk --psk native
check "TLS 1.2 goes by the chip's own command" say_with "$native" -cipher PSK-AES128-GCM-SHA256
check_fails any "ECDHE_PSK wants a key pair" say_with "$native" -cipher ECDHE-PSK-AES128-CBC-SHA256
"$tool" "$A71CH_ADDRESS" gen pair -x 3 >/dev/null
check "setup --psk native --psk-pair 3" setup_psk --psk native --psk-pair 3
check "names it" say_with "$native" -cipher ECDHE-PSK-AES128-CBC-SHA256
pair_3()
{
    "$tool" "$A71CH_ADDRESS" get pub -c 10 -x 3 -k pair3.pem >/dev/null && cat pair3.pem
}
before=$(pair_3)
check "setup with --psk-pair-renew" setup_psk --psk native --psk-pair 3 --psk-pair-renew --address "$A71CH_ADDRESS"
check "goes, too" say_with "$native" -cipher ECDHE-PSK-AES128-CBC-SHA256
check "and the chip has another pair" test "$before" != "$(pair_3)"
stop psk
for wrong in '--psk none' '--psk native --into' '--psk hmac --engine' '--psk-pair 3' '--psk hmac --psk-pair 3' '--psk native --psk-pair 4' \
    '--psk native --psk-pair-renew' '--psk hmac --remove'; do
    # shellcheck disable=SC2086
    check_fails 21 "$wrong is misuse" "$tool" openssl setup --system system.cnf --file wrong.cnf $wrong
done
check "which writes nothing" test ! -e wrong.cnf
check "setup --psk hmac --into" "$tool" openssl setup --system system.cnf --into --psk hmac
check "a second time, too" "$tool" openssl setup --system system.cnf --into --psk hmac
check "--remove takes it out" "$tool" openssl setup --system system.cnf --remove
check "to the byte" cmp system.cnf system.before
printf 'openssl_conf = i\n[i]\nalg_section = mine\n[mine]\ndefault_properties = ?fips=yes\n' >queries.cnf
check_fails 23 "a system with property queries of its own keeps them" "$tool" openssl setup --system queries.cnf --file wrong.cnf --psk hmac
cp out said
check "and is told why" grep -q 'alg_section of its own' said

# a file that OpenSSL would choke on is never put in place
printf '[broken\n' >broken.cnf
cp broken.cnf broken.before
check_fails 23 "a system file that OpenSSL does not read is told" "$tool" openssl setup --system broken.cnf --into
check "and left alone" cmp broken.cnf broken.before
check "with nothing beside it" sh -c '! ls broken.cnf.* a71ch.cnf.* 2>/dev/null'
printf 'openssl_conf = i\n[i]\nproviders = p\n[p]\nmissing = m\n[m]\nmodule = /nonexistent.so\nactivate = 1\n' >odd.cnf
"$tool" openssl setup --system odd.cnf --file odd-chip.cnf >/dev/null 2>&1
check "what does not load in the system's file is no obstacle" with_conf "$work/odd-chip.cnf" openssl dgst -sha256 -sign ref.pem -out sig message

# the engine, if this OpenSSL has any
if [ -e "$lib/engines-3/e2a71ch.so" ]; then
    check "setup --engine" "$tool" openssl setup --engine --system system.cnf --file engine.cnf
    check_signs 1 "with it openssl signs in the chip" with_conf "$work/engine.cnf" openssl dgst -sha256 -sign ref.pem -out sig message
    check_output "and the self-test knows the engine" '^ok  engine' with_conf "$work/engine.cnf" "$tool" openssl check --cert device.pem ref.pem
    { cat a71ch.cnf && sed -n '/^\[e2a71ch_engines\]/,$p' engine.cnf; } | sed 's/^providers = .*/&\nengines = e2a71ch_engines/' >both.cnf
    check_fails 4 "self-test: provider and engine at once" with_conf "$work/both.cnf" "$tool" openssl check ref.pem
else
    skip "an engine of ours" "setup --engine"
fi

# --- every order: what the self-test calls right is right ------------------------------------------
# all_sign CONF: four ways to sign; each signature must verify with the public key that is in the file
all_sign()
{
    with_conf "$1" openssl dgst -sha256 -sign ref.pem -out o.sig message &&
        openssl dgst -sha256 -verify pub.pem -signature o.sig message &&
        with_conf "$1" openssl req -x509 -new -key ref.pem -subj /CN=o -days 2 -out o.pem && openssl verify -CAfile o.pem o.pem &&
        with_conf "$1" openssl cms -sign -in message -signer device.pem -inkey ref.pem -out o.cms &&
        openssl cms -verify -in o.cms -CAfile ca.pem -purpose any -out o.txt &&
        with_conf "$1" /usr/bin/python3 client.py "$port" | grep -q olleh
}
cat >client.py <<'END'
import socket, ssl, sys
context = ssl.create_default_context(cafile="ca.pem")
context.load_cert_chain("device.pem", "ref.pem")
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s, context.wrap_socket(s, server_hostname="localhost") as t:
    t.sendall(b"hello\nCLOSE\n")
    print(t.recv(100))
END
new_key prime256v1 server.key
issue server server.key localhost
serve far openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error -rev
sed 's/^# address = .*/address = '"$A71CH_ADDRESS/" "$conf" >order0.cnf
right=0
for name in e2a71ch a71ch nxpa71ch; do
    for order in last first; do
        for query in '' '?provider=e2a71ch'; do
            sed "s/^e2a71ch = /$name = /" order0.cnf >order.cnf
            [ $order = last ] || sed -i "/^default = /d; s/^$name = .*/&\ndefault = e2a71ch_default/" order.cnf
            [ -z "$query" ] || sed -i "s/^providers = .*/&\nalg_section = query/; \$a [query]\ndefault_properties = $query" order.cnf
            with_conf "$work/order.cnf" "$tool" openssl check ref.pem >order.out 2>&1
            code=$?
            claim="named $name, listed $order${query:+, with $query}: the self-test says $code"
            if all_sign "$work/order.cnf" >>order.out 2>&1; then
                case $code in 0 | 4 | 11) ok "$claim, and all signatures verify" ;; *) not_ok "$claim, expected 0, 4 or 11" order.out ;; esac
                [ $code -ne 0 ] || right=$((right + 1))
            elif [ $code = 0 ]; then
                not_ok "$claim, but a signature is not the chip's" order.out
            else
                ok "$claim, and a signature is not the chip's"
            fi
        done
    done
done
check "two names and the query make four orders right" test $right = 4
for query in '' '-propquery ?provider=e2a71ch'; do
    # shellcheck disable=SC2086
    check_signs 1 "by command line${query:+ with a query}: default first, then ours" env OPENSSL_MODULES="$lib/ossl-modules" \
        ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
        openssl req -x509 -new -key ref.pem -subj /CN=o -days 2 -provider default -provider e2a71ch $query -out o.pem
    check "and it verifies" openssl verify -CAfile o.pem o.pem
done

# --- check: each cause ------------------------------------------------------------------------------
check_code()
{
    check_fails "$1" "self-test: $2" with_conf "$3" "$tool" openssl check --cert "$4" "$5"
}
check_output "self-test: all is well" 'name and order are right' chip "$tool" openssl check --cert device.pem ref.pem
check_output "self-test: --json is JSON" '"exit": 0' sh -c "OPENSSL_CONF='$conf' '$tool' openssl check --json ref.pem |
    /usr/bin/python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)))'"
check_code 3 "without the configuration" /dev/null device.pem ref.pem
sed 's,^module = .*,module = /nonexistent/e2a71ch.so,' "$conf" >nomodule.cnf
check_code 3 "the module is not there" "$work/nomodule.cnf" device.pem ref.pem
sed '/^default = /d; s/^e2a71ch = .*/&\ndefault = e2a71ch_default/' "$conf" >order.cnf
check_code 4 "default is listed last" "$work/order.cnf" device.pem ref.pem
sed '/^\[e2a71ch_default\]/,/^$/ s/^activate.*//' "$conf" >nodefault.cnf
check_code 4 "default is not activated" "$work/nodefault.cnf" device.pem ref.pem
check_code 5 "an ordinary key" "$conf" device.pem peer.key
check_code 7 "the certificate of another key" "$conf" foreign.pem ref.pem
sed 's/^e2a71ch = /a71ch = /' "$conf" >name.cnf
# the signature itself goes wrong in 3.0; in 3.5 here only in other programs
with_conf "$work/name.cnf" "$tool" openssl check ref.pem >out 2>&1
case $? in 11 | 4) ok "self-test: a name that sorts before default" ;; *) not_ok "self-test: a name that sorts before default" out ;; esac
check_output "and says what to do" 'cure: (load the provider as e2a71ch|.*a71chConfig openssl setup)' sh -c "OPENSSL_CONF='$work/name.cnf' '$tool' openssl check ref.pem 2>&1 || :"
"$tool" "$A71CH_ADDRESS" gen pair -x 1 >/dev/null
check_fails 10 "self-test: the slot holds another key now" chip "$tool" openssl check other.pem
"$tool" "$A71CH_ADDRESS" erase pair -x 1 >/dev/null
check_fails 9 "self-test: the slot is empty" chip "$tool" openssl check other.pem
check_fails 21 "self-test: misuse" "$tool" openssl check
stop a71chd
check_code 8 "the chip is gone" "$conf" device.pem ref.pem
start locked "$bin/a71chd" --sim "$work/a71chd.chip" --listen "unix:$work/sock"
wait_line locked '^ready$' >/dev/null
chmod 000 sock
# root passes every permission: then without the capabilities for it
less="setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all"
[ "$(id -u)" = 0 ] || less=
if $less test -r sock; then
    skip "a way to be refused by a socket" "self-test: no permission"
else
    # shellcheck disable=SC2086
    check_fails 13 "self-test: no permission" $less env A71CH_ADDRESS="unix:$work/sock" OPENSSL_CONF="$conf" "$tool" openssl check ref.pem
fi
done_testing

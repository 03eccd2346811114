#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The matrix: unmodified programs with a key in the chip, by provider with a file, by provider with a name, by engine.
# Each must do what tests/interop/programs.txt says: work with exactly so many operations in the chip, or fail for a
# reason that e2a71ch(7) gives; the table there is compared with the data.
#
#   CELL=ID          that row only
#   OPENSSL_PREFIX   another OpenSSL, installed there, instead of the system's (scripts/matrix)
#   MATRIX_REPORT=1  print what is, judge nothing
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libopenssl.sh"
. "$root/tests/interop/cells.sh"
data=$root/tests/interop/programs.txt
w=$work
cd "$work" || exit 1

check "e2a71ch(7) has this table" "$root/scripts/matrix" --man-check
if [ -n "${PRELOAD:-}" ]; then
    echo 'skip - the programs: a sanitizer is preloaded, which many of them do not bear; openssl.sh has those that do'
    done_testing
fi

# --- what the cells use --------------------------------------------------------------------------
prefix=${OPENSSL_PREFIX:-}
prefix_lib=
for folder in "$prefix/lib64" "$prefix/lib"; do
    [ -z "$prefix" ] || [ ! -e "$folder/libcrypto.so.3" ] || prefix_lib=$folder
done
[ -z "$prefix" ] || [ -n "$prefix_lib" ] || { echo "no libcrypto.so.3 below $prefix" >&2; exit 2; }

with_openssl()
{
    if [ -n "$prefix" ]; then env LD_LIBRARY_PATH="$prefix_lib" PATH="$prefix/bin:$PATH" OPENSSL_CONF="$conf" "$@"
    else env OPENSSL_CONF="$conf" "$@"; fi
}
use() { with_openssl timeout 60 "$@"; }
use_start()
{
    name=$1
    shift
    # env ends in the program, so that its pid is the one to stop
    if [ -n "$prefix" ]; then
        start "$name" env LD_LIBRARY_PATH="$prefix_lib" PATH="$prefix/bin:$PATH" OPENSSL_CONF="$conf" "$@"
    else
        start "$name" env OPENSSL_CONF="$conf" "$@"
    fi
}
has()
{
    missing=$1
    shift
    "$@" >/dev/null 2>&1 && missing=
}
need() { has "$1" command -v "$1"; }

operations()
{
    echo $(($("$bin/a71chd" --stats "tcp:$A71CH_ADDRESS" | sed 's/.*"signatures":\([0-9]*\),"ecdh":\([0-9]*\).*/\1 + \2/')))
}

# --- keys and certificates -----------------------------------------------------------------------
start_chip a71chd
conf=$BUILD/openssl-a71ch.cnf
"$bin/a71chConfig" "$A71CH_ADDRESS" gen pair -x 0 >/dev/null
"$bin/a71chConfig" "$A71CH_ADDRESS" refpem -c 10 -x 0 -r ref.pem >/dev/null
echo 'a message' >message
openssl dgst -sha256 -binary -out hash message
echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
for name in ca server peer; do new_key prime256v1 $name.key; done
new_key secp384r1 p384.key
openssl genpkey -quiet -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null ||
    openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null
openssl genpkey -algorithm ed25519 -out ed.key
openssl req -x509 -new -key ca.key -subj /CN=Authority -days 30 -out ca.pem
issue server server.key localhost
issue foreign peer.key foreign
openssl pkey -in peer.key -pubout -out peer.pub
chip openssl pkey -in ref.pem -pubout -out pub.pem
chip openssl pkey -in ref.pem -out ref8.pem
chip openssl req -new -key ref.pem -subj /CN=localhost -out device.csr
openssl x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out device.pem 2>/dev/null
chip openssl req -x509 -new -key ref.pem -subj /CN=chip -days 30 -out chipca.pem
chmod 755 . && chmod 644 ref.pem
cert=$work/device.pem ca=$work/ca.pem
cat >client.py <<'END'
import socket, ssl, sys
port, ca, cert, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
with socket.create_connection(("127.0.0.1", int(port))) as s, context.wrap_socket(s, server_hostname="localhost") as t:
    t.sendall(b"hello\nCLOSE\n")
    print(t.recv(100))
END
cat >server.py <<'END'
import socket, ssl, sys
port, cert, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
with socket.create_server(("127.0.0.1", int(port))) as l:
    s, _ = l.accept()
    with context.wrap_socket(s, server_side=True) as t:
        t.sendall(t.recv(100).split(b"\n")[0][::-1] + b"\n")
END
printf '#!/usr/bin/python3\nprint(input()[::-1], flush=True)\n' >rev
chmod 755 rev
cat >line.py <<'END'
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
    s.sendall(sys.stdin.buffer.read())
    print(s.recv(100).decode())
END

# --- the table -----------------------------------------------------------------------------------
works=0 all=0
# cell COLUMN ID WHAT WANTED: run one and judge it
cell()
{
    column=$1 id=$2 what=$3 wanted=$4
    [ "$wanted" != - ] || return
    mkdir "$work/$column.$id" && cd "$work/$column.$id" || exit 1
    missing=
    rm -f "$work/near.log" "$work/far.log"
    before=$(operations)
    "cell_$id" >"$work/out" 2>&1
    code=$?
    made=$(($(operations) - before))
    cd "$work" || exit 1
    all=$((all + 1))
    [ $code -ne 0 ] || works=$((works + 1))
    claim="$column: $what"
    if [ -n "$missing" ]; then
        all=$((all - 1))
        echo "skip - $claim: $missing is not installed"
    elif [ -n "${MATRIX_REPORT:-}" ]; then
        [ $code = 0 ] || made="fails ($code)"
        printf 'is - %s: %s, on 3.0 %s\n' "$claim" "$made" "$wanted"
        [ $code = 0 ] || tail -n 3 "$work/out" | sed 's/^/    /'
        passed=$((passed + 1))
    elif [ "${wanted#[0-9]}" = "" ]; then
        if [ $code = 0 ] && [ $made = "$wanted" ]; then ok "$claim"; else
            echo "exit code $code, $made operations in the chip, wanted $wanted" >>"$work/out"
            tail -n 5 near.log far.log 2>/dev/null >>"$work/out"
            not_ok "$claim" "$work/out"
        fi
    elif [ $code -ne 0 ]; then ok "$claim: fails as documented ($wanted)"; else
        not_ok "$claim works now, take it out of the reasons" "$work/out"
    fi
}

column()
{
    name_of_column=$1 place=$2
    works=0 all=0
    while IFS='|' read -r id what by_file by_name by_engine; do
        case $id in '#'* | '') continue ;; esac
        [ -n "$by_engine" ] || continue # a reason
        id=$(echo $id) what=$(echo "$what" | sed 's/^ *//; s/ *$//')
        [ -z "${CELL:-}" ] || [ "$CELL" = "$id" ] || continue
        case $place in 3) wanted=$by_file ;; 4) wanted=$by_name ;; 5) wanted=$by_engine ;; esac
        cell "$name_of_column" "$id" "$what" "$(echo $wanted)" </dev/null
    done <"$data"
    echo "# $name_of_column: $works of $all work"
}

key=$work/ref.pem
column provider 3
key=a71ch:pair=0
column name 4
key=$work/ref.pem conf=$BUILD/openssl-a71ch-engine.cnf
if [ -f "$conf" ]; then column engine 5; else echo 'skip - engine: this OpenSSL has no engines'; fi
done_testing

# SPDX-License-Identifier: Apache-2.0
# For scenarios of `birthmark device` and `birthmark doctor`: sourced after lib.sh and libcloud.sh.
#
#   chip_device NAME CA    a simulated chip with a key pair in slot 0, its leaf (CN=NAME) and CA's certificate in its storage,
#                          issuer first; sets A71CH_ADDRESS; NAME.crt in $work
#   device ACTION ...      birthmark device with this cloud's address and root; the chip of A71CH_ADDRESS
#   let_in CERT            ACTIVE, with a policy that allows everything
#   says CODE "claim" PATTERN command ...   exits with CODE and prints a line matching PATTERN; all of it in $work/said
#   ends_with NAME CODE    a started program ends by itself (60 s) with this exit code
chip_device()
{
    start_chip "$1"
    chip_tool="$bin/a71chConfig $A71CH_ADDRESS"
    $chip_tool gen pair -x 0 >/dev/null &&
        env OPENSSL_CONF="$BUILD/openssl-a71ch.cnf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} openssl req -new -key "$(reference_key "$1")" -subj "/CN=$1" -out "$work/$1.csr" &&
        openssl x509 -req -days 3650 -in "$work/$1.csr" -CAcreateserial -CA "$work/$2.crt" -CAkey "$work/$2.key" -out "$work/$1.crt" 2>/dev/null &&
        $chip_tool wcrt -x 1 -p "$work/$2.crt" >/dev/null &&
        $chip_tool wcrt -x 0 -p "$work/$1.crt" >/dev/null || {
        not_ok "a chip gets key, leaf and issuer"
        done_testing
    }
}

reference_key()
{
    $chip_tool refpem -c 10 -x 0 -r "$work/$1.ref" >/dev/null
    echo "$work/$1.ref"
}

device()
{
    action=$1
    shift
    timeout 60 "$bin/birthmark" device "$action" -h 127.0.0.1 -p "$port" --cafile "$ca" "$@"
}

let_in()
{
    text iot list-policies | grep -q open || iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
    iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$1")" &&
        iot iot update-certificate --certificate-id "$(id_of "$1")" --new-status ACTIVE
}

says()
{
    code=$1 claim=$2 pattern=$3
    shift 3
    "$@" >"$work/out" 2>&1
    got=$?
    cp "$work/out" "$work/said"
    if [ "$got" = "$code" ] && grep -qE -- "$pattern" "$work/out"; then ok "$claim"; else
        echo "exit code $got, wanted $code and $pattern" >>"$work/out"
        not_ok "$claim" "$work/out"
    fi
}

ends_with()
{
    wait_for 60 not_running "$(cat "$work/$1.pid")" || return 1
    wait "$(cat "$work/$1.pid")"
    got=$?
    names=$(printf '%s ' "$names" | sed "s/ $1 / /; s/ \$//")
    cat "$work/$1.log"
    echo "exit code $got, wanted $2"
    [ "$got" = "$2" ]
}

# An HTTP server as of a captive portal; its port in `portal`. It reads all of the ClientHello before it closes: a reset would take its
# answer back.
start_portal()
{
    cat >"$work/portal.py" <<'PY'
import socket
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
while True:
    peer = listener.accept()[0]
    if peer.recv(65536):
        peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/\r\nContent-Length: 0\r\n\r\n")
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass
    peer.close()
PY
    start portal /usr/bin/python3 "$work/portal.py"
    portal=$(wait_line portal '^port') || exit 1
    portal=${portal#port }
}

# SPDX-License-Identifier: Apache-2.0
# What the scenarios about OpenSSL share; sourced after lib.sh. `conf` is the configuration under test.
#
# PRELOAD: path of the sanitizer's runtime when the module was built with one.

# a program with the chip's keys, and one that knows nothing of them
chip()
{
    env OPENSSL_CONF="$conf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} "$@"
}

signatures()
{
    "$bin/a71chd" --stats "tcp:$A71CH_ADDRESS" | sed 's/.*"signatures":\([0-9]*\).*/\1/'
}

# check_signs N "claim" command ...: exits 0, and the chip made exactly N signatures
check_signs()
{
    wanted=$1 claim=$2
    shift 2
    before=$(signatures)
    "$@" >"$work/out" 2>&1
    code=$?
    made=$(($(signatures) - before))
    if [ "$code" = 0 ] && [ "$made" = "$wanted" ]; then ok "$claim"; else
        echo "exit code $code, $made signatures, wanted $wanted" >>"$work/out"
        not_ok "$claim" "$work/out"
    fi
}

skip()
{
    printf 'skip - %s: %s is not installed\n' "$2" "$1"
}

free_port()
{
    /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

new_key()
{
    openssl ecparam -name "$1" -genkey -noout -out "$2"
}

# issue NAME KEY SUBJECT: a certificate of the test authority
issue()
{
    openssl req -new -key "$2" -subj "/CN=$3" -out "$1.csr" &&
        openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names \
            -out "$1.pem" 2>/dev/null
}

# serve NAME command ...: an s_server on a free port; sets port
serve()
{
    name=$1
    shift
    start "$name" "$@" -accept 127.0.0.1:0
    port=$(wait_line "$name" '^ACCEPT' | sed 's/.*://')
}

# say: a line to the server and back, proof that it accepted the client
say()
{
    printf 'hello\nCLOSE\n' | "$@" -quiet -CAfile ca.pem -verify_return_error -connect "127.0.0.1:$port" 2>&1 | grep olleh
}

# ordinary KEY: a key file that is no reference is used as without us
ordinary()
{
    chip openssl pkey -in "$1" -pubout -out o.pub && chip openssl dgst -sha256 -sign "$1" -out o.sig message &&
        chip openssl dgst -sha256 -verify o.pub -signature o.sig message &&
        openssl dgst -sha256 -verify o.pub -signature o.sig message &&
        chip openssl pkey -in "$1" -outform DER -out o1.der && openssl pkey -in "$1" -outform DER -out o2.der && cmp o1.der o2.der
}

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

commands()
{
    "$bin/a71chd" --stats "tcp:$A71CH_ADDRESS" | sed 's/.*"commands":\([0-9]*\).*/\1/'
}

# check_commands N "claim" command ...: exits 0, and the chip was sent N commands besides one SELECT
check_commands()
{
    wanted=$(($1 + 1)) claim=$2
    shift 2
    before=$(commands)
    "$@" >"$work/out" 2>&1
    code=$?
    made=$(($(commands) - before))
    if [ "$code" = 0 ] && [ "$made" = "$wanted" ]; then ok "$claim"; else
        echo "exit code $code, $made commands, wanted $wanted" >>"$work/out"
        not_ok "$claim" "$work/out"
    fi
}

# reference hmac|native SLOT PSK: store it; prints what a program is given
reference()
{
    "$bin/a71chConfig" --json "$A71CH_ADDRESS" psk "$1" -x "$2" -h "$3" 2>/dev/null | sed 's/.*"reference": "\([0-9a-f]*\)".*/\1/'
}

# say_psk PSK command ...: a line to the server and back
say_psk()
{
    psk=$1
    shift
    printf 'hello\nCLOSE\n' | "$@" -quiet -psk "$psk" -connect "127.0.0.1:$port" 2>&1 | grep olleh
}

# check_valgrind CNF LEAKS "claim" command ...: exits 0 under valgrind, with the module without debug information,
# which valgrind does not read in every compiler's form; LEAKS are the kinds that count
check_valgrind()
{
    cnf=$1 leaks=$2 claim=$3
    shift 3
    if [ -n "${PRELOAD:-}" ] || ! command -v valgrind >/dev/null; then
        echo "skip - $claim: not installed, or a sanitizer is at work"
        return
    fi
    objcopy --strip-debug "$lib/ossl-modules/e2a71ch.so" stripped.so
    sed "s,^module = .*,module = $work/stripped.so," "$BUILD/openssl-a71ch.cnf" >stripped-base.cnf
    sed "s,^module = .*,module = $work/stripped.so,; s,^.include .*/openssl-a71ch.cnf,.include $work/stripped-base.cnf," "$cnf" >stripped.cnf
    check "$claim" env OPENSSL_CONF="$work/stripped.cnf" timeout 60 valgrind -q --leak-check=full --show-leak-kinds="$leaks" \
        --errors-for-leak-kinds="$leaks" --error-exitcode=9 "$@"
}

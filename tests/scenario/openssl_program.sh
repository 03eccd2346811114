#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A program with a key in the chip under strain: 8 threads, fork after load, exec, a chip that is slow, locked, mute or
# dies in the middle of a handshake. It gets a right signature or an error that says why; it does not hang, crash, leak
# or race. Run inside openssl and a small C program, the latter also under ThreadSanitizer and valgrind.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libopenssl.sh"
cd "$work" || exit 1
many=$BUILD/obj/tests/tls_many

# chip_daemon: the one chip of this test, at one address
chip_daemon()
{
    start a71chd "$bin/a71chd" --sim "$work/chip" --listen "tcp:${A71CH_ADDRESS:-127.0.0.1:0}" --listen "unix:$work/sock"
    wait_line a71chd '^ready$' >/dev/null || exit 1
    A71CH_ADDRESS=$(wait_line a71chd '^listening tcp:' | sed 's/^listening tcp://')
    export A71CH_ADDRESS
}

chip_daemon
"$bin/a71chConfig" "$A71CH_ADDRESS" gen pair -x 0 >/dev/null
"$bin/a71chConfig" "$A71CH_ADDRESS" refpem -c 10 -x 0 -r ref.pem >/dev/null
sed 's/^# answer_timeout = .*/answer_timeout = 2/' "$BUILD/openssl-a71ch.cnf" >patient.cnf
conf=$work/patient.cnf
echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' >names
echo 'a message' >message
new_key prime256v1 ca.key
openssl req -x509 -new -key ca.key -subj /CN=Authority -days 30 -out ca.pem
chip openssl req -new -key ref.pem -subj /CN=localhost -out device.csr
openssl x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out device.pem 2>/dev/null
chip openssl pkey -in ref.pem -pubout -out pub.pem
new_key prime256v1 server.key
issue server server.key localhost

# --- threads, fork, exec ---------------------------------------------------------------------------
# with a sanitizer the program brings its own runtime: no preload, and leaks count
program()
{
    env OPENSSL_CONF="$conf" timeout 60 "$@" ref.pem device.pem ca.pem "$how" "$count"
}
for how in threads forks exec mixed; do
    case $how in threads | mixed) count=6 total=96 ;; forks) count=6 total=60 ;; exec) count=5 total=10 ;; esac
    check_signs $total "$how: two signatures for each mutual handshake, TLS 1.2 and 1.3" program "$many"
done
engine=$BUILD/openssl-a71ch-engine.cnf # not there where OpenSSL has no engines
[ ! -f "$engine" ] || for how in threads forks exec mixed; do
    case $how in threads | mixed) count=6 total=96 ;; forks) count=6 total=60 ;; exec) count=5 total=10 ;; esac
    conf=$engine
    check_signs $total "the engine, $how: the same" program "$many"
    conf=$work/patient.cnf
done

# under_tsan WHAT CONF MODULE: 8 threads, program and module instrumented
under_tsan()
{
    sed "s,^\(module\|dynamic_path\) = .*,\1 = $BUILD/obj/tests/$3," "$2" >tsan.cnf
    # shellcheck disable=SC2086
    check_signs 64 "threads under ThreadSanitizer, program and $1" env \
        TSAN_OPTIONS="halt_on_error=1:exitcode=66:suppressions=$work/tsan.known" \
        OPENSSL_CONF="$work/tsan.cnf" timeout 60 $still "${many}_tsan" ref.pem device.pem ca.pem threads 4
}
if [ -x "${many}_tsan" ]; then
    still= # its shadow memory does not go with every layout of the address space
    setarch -R true 2>/dev/null && still="setarch -R"
    # libcrypto is not instrumented: what it orders by its own atomics looks like a race where it compares and copies. By library, not by the
    # name of a function, which only llvm-symbolizer knows.
    echo called_from_lib:libcrypto.so >tsan.known
    under_tsan provider patient.cnf e2a71ch_tsan.so
    [ ! -f "$engine" ] || under_tsan engine "$engine" e2a71ch_engine_tsan.so
else
    echo 'skip - ThreadSanitizer: another sanitizer is at work, or the compiler has none'
fi
if [ -z "${PRELOAD:-}" ]; then
    # without debug information, which valgrind does not read in every compiler's form
    objcopy --strip-debug "$lib/ossl-modules/e2a71ch.so" stripped.so
    objcopy --strip-debug "$many" many.stripped
    sed "s,^module = .*,module = $work/stripped.so," patient.cnf >valgrind.cnf
    quiet="valgrind -q --leak-check=full --show-leak-kinds=definite,indirect,possible --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=9"
    # shellcheck disable=SC2086
    check_signs 16 "threads under valgrind" env OPENSSL_CONF="$work/valgrind.cnf" $quiet ./many.stripped ref.pem device.pem ca.pem threads 1
    # shellcheck disable=SC2086
    check_fails 1 "an error leaves no leak either" env OPENSSL_CONF="$work/valgrind.cnf" A71CH_ADDRESS=127.0.0.1:1 $quiet \
        openssl dgst -sha256 -sign ref.pem -out none message
else
    check_signs 1 "inside openssl LeakSanitizer finds nothing" env OPENSSL_CONF="$conf" LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=1 \
        openssl dgst -sha256 -sign ref.pem -out sig message
fi

# --- a chip that is not well -----------------------------------------------------------------------
ctl()
{
    "$bin/a71chd" --ctl "unix:$work/sock" "$@" >/dev/null
}
sign()
{
    rm -f sig
    chip timeout 60 openssl dgst -sha256 -sign ref.pem -out sig message && openssl dgst -sha256 -verify pub.pem -signature sig message
}
# fails_with WORDS "claim" command ...: an error of ours on the queue, no crash, no deadline
fails_with()
{
    words=$1 claim=$2
    shift 2
    "$@" >out 2>&1
    code=$?
    if [ $code -gt 0 ] && [ $code -lt 124 ] && grep -q "e2a71ch.*$words" out; then ok "$claim"; else
        echo "exit code $code, wanted an error of e2a71ch with: $words" >>out
        not_ok "$claim" out
    fi
}
ctl fault add delay:ins=15,count=1,value=1000
check "a slow chip is waited for" sign
ctl fault clear
ctl fault add hang:ins=15,count=1
fails_with 'cannot be reached.*no answer' "a mute chip is given up after answer_timeout" sign
ctl fault clear
check "and the next program is served" sign
for fault in drop reset power-before power-after; do
    ctl fault add $fault:ins=15,count=1
    fails_with 'A71CH' "$fault during the signature is an error" sign
    ctl fault clear
    check "and once: the next signs" sign
done
for fault in truncate:ins=15,count=1,value=20 status:ins=15,count=1,value=6985 flip:ins=15,count=1,value=100 flip-command:ins=15,count=1,value=100; do
    ctl fault add $fault
    fails_with 'A71CH' "${fault%%:*} in the answer never becomes a signature" sign
    check "nothing was written" test ! -s sig
    ctl fault clear
done
ctl fault add status:value=6985
fails_with 'refused' "a chip that refuses everything" sign
ctl fault clear

# dying in the middle of a handshake, client and server
serve far openssl s_server -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error -rev
far=$port
ctl fault add delay:ins=15,count=2,value=5000
start client env OPENSSL_CONF="$conf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
    openssl s_client -connect "127.0.0.1:$far" -cert device.pem -key ref.pem -CAfile ca.pem
check "the client is at its signature" wait_for 5 sh -c "'$bin/a71chd' --ctl 'unix:$work/sock' fault list | grep -q '\"fired\":1'"
stop a71chd KILL
check "a client whose chip dies ends by itself" wait_for 15 not_running "$(cat client.pid)"
check "and says why" grep -q 'e2a71ch.*cannot be reached' client.log
chip_daemon
port=$(free_port)
start near env OPENSSL_CONF="$conf" ${PRELOAD:+LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=detect_leaks=0} \
    openssl s_server -accept "127.0.0.1:$port" -cert device.pem -key ref.pem -rev
wait_line near '^ACCEPT' >/dev/null
check_signs 1 "a server signs" say openssl s_client
ctl fault add drop:ins=15,count=2
check_fails any "when its chip fails one client is turned away" timeout 60 openssl s_client -connect "127.0.0.1:$port" -CAfile ca.pem
ctl fault clear
check "the next is served" say openssl s_client
stop a71chd KILL
check_fails any "without its chip nobody is" timeout 60 openssl s_client -connect "127.0.0.1:$port" -CAfile ca.pem
chip_daemon
check "when it is back, all are" say openssl s_client
check "the server said why each time" sh -c 'grep -c "e2a71ch.*cannot be reached" near.log | grep -q "^[2-9]"'
stop near

# the two locks; there is no way back from them
apdu()
{
    "$bin/a71chConfig" "$A71CH_ADDRESS" apdu -cmd "$1" -sw 9000
}
check "a config key, which the transport lock wants" apdu 803200011000112233445566778899aabbccddeeff
check "inject lock" apdu 80920001
check "does not keep a key from signing" sign
check "transport lock" apdu 80920002
fails_with refused "does, with an error" sign
done_testing

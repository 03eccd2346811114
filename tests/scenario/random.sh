#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# OpenSSL's random numbers seeded from the chip by configuration: unmodified programs, children, threads,
# and the chip gone.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libopenssl.sh"
cd "$work" || exit 1
sed 's/^# random = /random = /' "$BUILD/openssl-a71ch.cnf" >seeded.cnf
sed 's/^# strict_random/strict_random/' seeded.cnf >strict.cnf

# check_seeds N "claim" command ...: exits 0, and N processes took a seed (SELECT and one command each)
check_seeds()
{
    wanted=$1 claim=$2
    shift 2
    before=$(commands)
    "$@" >"$work/out" 2>&1
    code=$?
    made=$(($(commands) - before))
    if [ "$code" = 0 ] && [ "$made" = $((2 * wanted)) ]; then ok "$claim"; else
        echo "exit code $code, $made commands, wanted $((2 * wanted))" >>"$work/out"
        not_ok "$claim" "$work/out"
    fi
}

start_chip a71chd
conf=$BUILD/openssl-a71ch.cnf
check_seeds 0 "the configuration as it is leaves randomness to OpenSSL" chip openssl rand -hex 32
conf=$work/seeded.cnf
check_seeds 1 "with the line random, openssl rand takes one seed from the chip" chip openssl rand -hex 32
check_seeds 1 "for a megabyte, too" chip openssl rand -out many 1000000
check_seeds 1 "genpkey takes one" chip openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out new.key
check_seeds 0 "what needs no randomness takes none" chip openssl pkey -in new.key -noout
cat >fork.py <<'END_PY'
import os, ssl, threading
ssl.RAND_bytes(32)
threads = [threading.Thread(target=ssl.RAND_bytes, args=(32,)) for _ in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        ssl.RAND_bytes(32)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
END_PY
check_seeds 4 "python: one for the process and its threads, one for each of three children" chip /usr/bin/python3 fork.py
stop a71chd
check_output "without the chip the operating system seeds" '^[0-9a-f]{64}$' chip openssl rand -hex 32
conf=$work/strict.cnf
check_fails any "unless strict_random is set" chip openssl rand -hex 32
check_output "and the reason is told" "e2a71ch.*cannot be reached.*$A71CH_ADDRESS" \
    sh -c "OPENSSL_CONF='$conf' LD_PRELOAD='${PRELOAD:-}' ASAN_OPTIONS=detect_leaks=0 openssl rand -hex 32 2>&1 || :"
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docs/tutorial: every shell block of every page runs as it stands, in order, in one shell. Only the ports are others, so that a cloud
# which runs on this machine is in nobody's way, and the programs are those of the build under test.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh" # the aws CLI, loaded once

free_port() { /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
api=$(free_port) mqtt=$(free_port) chip=$(free_port) server=$(free_port)
pages=$(printf '%s\n' "$root"/docs/tutorial/[1-9]-*.md)
check "there is a page for each chapter" [ "$(echo "$pages" | wc -l)" = 8 ]

# one script of all blocks; a line that fails ends it, and says which block that was
cat >"$work/all" <<'SH'
set -eu -o pipefail
trap 'code=$?; [ $code = 0 ] || echo "FAILED in $block with $code" >&2; kill $(jobs -p) 2>/dev/null || :; wait' EXIT
[ -z "${PRELOAD:-}" ] || { # a build with sanitizers: programs that load its provider need the runtime
    openssl() { LD_PRELOAD=$PRELOAD ASAN_OPTIONS=detect_leaks=0 command openssl "$@"; }
    mosquitto_pub() { LD_PRELOAD=$PRELOAD ASAN_OPTIONS=detect_leaks=0 command mosquitto_pub "$@"; }
}
SH
for page in $pages; do
    sed -n '/^```sh$/,/^```$/p' "$page" |
        awk -v page="$(basename "$page")" '/^```sh$/ { n++; printf "block=\"%s block %d\"; echo \"block $block\"\n", page, n; next } /^```$/ { next } { print }'
done | sed "s/127\.0\.0\.1:4566/127.0.0.1:$api/g; s/127\.0\.0\.1:8883/127.0.0.1:$mqtt/g; s/-p 8883/-p $mqtt/g; s/127\.0\.0\.1:8050/127.0.0.1:$chip/g
    s/127\.0\.0\.1:8884/127.0.0.1:$server/g; s|\$B/build/|$BUILD/|g; s|--dir cloud --api|--console 127.0.0.1:0 --dir cloud --api|" >>"$work/all"
sed -i "s|\$B/share/|$root/share/|g" "$work/all"
cd "$work" || exit 1
A71CH_ADDRESS=127.0.0.1:$chip B=$root bash "$work/all" >"$work/out.txt" 2>&1
code=$?
[ $code = 0 ] || tail -n 40 "$work/out.txt"
check "every command on the pages runs" [ $code = 0 ]
blocks=$(grep -c '^block=' "$work/all")
check "all $blocks blocks" [ "$(grep -c '^block ' "$work/out.txt")" = "$blocks" ]
said() { check_output "$1" "$2" cat "$work/out.txt"; }
said "the chip's signature verifies" '^Verified OK'
said "a handshake is one signature" '^the chip signed 1 time'
said "the CA is INACTIVE first, then ACTIVE" '^INACTIVE	DISABLE'
said "and registers devices" '^ACTIVE	ENABLE'
said "the first connection is dropped" '^ended with 7'
said "with the chip, too" 'dropped, and registered: 7'
said "explain tells that it was registered" 'PENDING_ACTIVATION'
said "the factory did its batch" '^3 of 3 chips done'
done_testing

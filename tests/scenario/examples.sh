#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples/jitr-activate in each of its languages, packed as its README has it (examples.py): a newcomer becomes ACTIVE and publishes;
# the same event twice at once, late, after what an operator did since, and of a certificate that was deleted, leaves the right state.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libnpm.sh"

cp -r "$BUILD/share/birthmark/examples/jitr-activate" "$work/jitr"
kinds="python c"
check "python: one file is a package" sh -c 'cd "$0/jitr/python" && zip -q "$0/python.zip" lambda_function.py' "$work"
check "c: make zip" sh -c 'make -s -C "$0/jitr/c" zip && mv "$0/jitr/c/jitr.zip" "$0/c.zip"' "$work"
if npm_install "$root/tests/npm"; then
    cp -r "$modules/node_modules" "$work/jitr/node/"
    check "node: with the SDK from npm" sh -c 'cd "$0/jitr/node" && zip -qr "$0/node.zip" .' "$work"
    kinds="$kinds node"
else
    echo "skip - node: $why_not"
fi

start_cloud
make_ca factory
register_ca factory
for kind in $kinds; do
    for device in "$kind" "$kind-twin" "$kind-all"; do
        make_device "$device" factory
    done
done
timeout 300 /usr/bin/python3 "$(dirname "$0")/examples.py" "$api" "$port" "$ca" "$work" "$bin/birthmark" "$work/cloud" $kinds \
    >"$work/python.out" 2>&1 || echo "not ok - examples.py exited with $?" >>"$work/python.out"
while IFS= read -r line; do
    case $line in
    "ok - "*) ok "${line#ok - }" ;;
    "not ok - "*) not_ok "${line#not ok - }" "$work/python.out" ;;
    esac
done <"$work/python.out"
done_testing

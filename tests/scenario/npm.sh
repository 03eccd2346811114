#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# @aws-sdk/client-iot and @aws-sdk/client-lambda from npm, unmodified, against the control plane (tests/npm/sdk.mjs). The packages are
# those of tests/npm/package-lock.json; they are installed once, into the build folder.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
. "$(dirname "$0")/libnpm.sh"
npm_install "$root/tests/npm" || {
    echo "skip - $why_not"
    exit 0
}

start_cloud
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/dev.key" -subj /CN=dev -out "$work/dev.csr" 2>/dev/null
printf 'def handler(event, context):\n    return event\n' >"$work/code.py"
(cd "$work" && zip -q f.zip code.py)
(cd "$modules" && timeout 120 node "$root/tests/npm/sdk.mjs" "$api" "$work") >"$work/npm.out" 2>&1 || echo "sdk.mjs exited with $?" >>"$work/npm.out"
while IFS= read -r line; do
    case $line in "ok - "*) ok "${line#ok - }" ;; *) not_ok "${line#not ok - }" ;; esac
done <"$work/npm.out"
done_testing

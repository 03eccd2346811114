#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# @aws-sdk/client-iot and @aws-sdk/client-lambda from npm, unmodified, against the control plane (tests/npm/sdk.mjs). The packages are
# those of tests/npm/package-lock.json; they are installed once, into the build folder.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
skip()
{
    echo "skip - $1"
    exit 0
}
# Debian's npm is hundreds of packages, so scripts/install-deps does not bring it
PATH=$PATH:/usr/local/bin
command -v node >/dev/null && command -v npm >/dev/null || skip "no node or npm: apt-get install nodejs npm"
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 18 ? 0 : 1)' || skip "node is older than 18"
modules=$BUILD/npm
mkdir -p "$modules"
(
    flock 9
    if ! cmp -s "$root/tests/npm/package-lock.json" "$modules/installed.json"; then
        cp "$root/tests/npm/package.json" "$root/tests/npm/package-lock.json" "$modules/" &&
            (cd "$modules" && timeout 120 npm ci --ignore-scripts --no-audit --no-fund) >"$modules/npm.log" 2>&1 &&
            cp "$modules/package-lock.json" "$modules/installed.json"
    fi
) 9>"$modules/lock"
[ -e "$modules/installed.json" ] || skip "npm could not install the SDK (no network?): $(grep -m1 'npm error' "$modules/npm.log")"

start_cloud
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/dev.key" -subj /CN=dev -out "$work/dev.csr" 2>/dev/null
printf 'def handler(event, context):\n    return event\n' >"$work/code.py"
(cd "$work" && zip -q f.zip code.py)
(cd "$modules" && timeout 120 node "$root/tests/npm/sdk.mjs" "$api" "$work") >"$work/npm.out" 2>&1 || echo "sdk.mjs exited with $?" >>"$work/npm.out"
while IFS= read -r line; do
    case $line in "ok - "*) ok "${line#ok - }" ;; *) not_ok "${line#not ok - }" ;; esac
done <"$work/npm.out"
done_testing

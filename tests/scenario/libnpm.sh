# SPDX-License-Identifier: Apache-2.0
# For scenarios that use packages from npm; sourced after lib.sh.
#
#   npm_install FOLDER     the packages of FOLDER/package-lock.json, installed once for a build; sets `modules`, the folder to run node in.
#                          Returns 1 with the reason in `why_not` when node or npm is missing, or nothing could be fetched

npm_install()
{
    PATH=$PATH:/usr/local/bin
    command -v node >/dev/null && command -v npm >/dev/null || {
        why_not="no node or npm: apt-get install nodejs npm"
        return 1
    }
    node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 18 ? 0 : 1)' || {
        why_not="node is older than 18"
        return 1
    }
    modules=$BUILD/npm/$(basename "$1")
    mkdir -p "$modules"
    (
        flock 9
        if ! cmp -s "$1/package-lock.json" "$modules/installed.json"; then
            cp "$1/package.json" "$1/package-lock.json" "$modules/" &&
                (cd "$modules" && timeout 240 npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=1) >"$modules/npm.log" 2>&1 &&
                cp "$modules/package-lock.json" "$modules/installed.json"
        fi
    ) 9>"$modules/lock"
    cmp -s "$1/package-lock.json" "$modules/installed.json" || {
        why_not="npm could not install the packages (no network?): $(grep -m1 -iE 'npm (error|err!)' "$modules/npm.log")"
        return 1
    }
}

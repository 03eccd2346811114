#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What each operation of liba71ch costs on its link is counted, and is never more than the vendor's host software needs.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

"$root/bench/link/count.py" "$BUILD" --check >"$work/table" 2>"$work/err"
check "all operations were counted" [ "$(grep -c '^\(not \)\?ok - ' "$work/table")" -eq 9 ]
while read -r line; do
    case $line in
    ok\ -\ *) ok "${line#ok - }" ;;
    *) not_ok "$line" "$work/err" ;;
    esac
done <"$work/table"
done_testing

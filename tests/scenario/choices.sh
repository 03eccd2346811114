#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Choices of the parity ledger (docs/parity.in) that no other scenario shows, asked with boto3 (choices.py).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

start_cloud
/usr/bin/python3 "$(dirname "$0")/choices.py" "$api" "$work" >"$work/python.out" 2>&1 || echo "choices.py exited with $?" >>"$work/python.out"
while read -r line; do
    case $line in "ok - "*) ok "${line#ok - }" ;; *) not_ok "$line" ;; esac
done <"$work/python.out"
mkdir -p "$work/ledger/docs" "$work/ledger/scripts"
cp "$root/scripts/parity" "$work/ledger/scripts"
cp "$root/docs/parity.md" "$work/ledger/docs"
echo "a point | a choice | open | 1.1 | api.sh: no such claim" >"$work/ledger/docs/parity.in"
check_fails 1 "a ledger with a row that no test shows is refused" "$work/ledger/scripts/parity" --check
check_output "by the line of the row" "^docs/parity.in:1: there is no test 'api.sh: no such claim'" sh -c '"$0" --check || true' "$work/ledger/scripts/parity"
check_output "and one whose table was not made again" '^docs/parity.md: not made from' sh -c '"$0" --check || true' "$work/ledger/scripts/parity"
check "that of this source tree is sound" "$root/scripts/parity" --check
done_testing

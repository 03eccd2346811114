#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What no client sends, and too much of it: the control plane answers with the right name or closes, stays small, and goes on
# (bad_input.py).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
start_cloud
control=$(pgrep -P "$(cat "$work/cloud.pid")" -x control)
timeout 240 /usr/bin/python3 "$(dirname "$0")/bad_input.py" "$api" "$control" >"$work/bad.out" 2>&1 ||
    echo "bad_input.py exited with $?" >>"$work/bad.out"
while IFS= read -r line; do
    case $line in "ok - "*) ok "${line#ok - }" ;; *) not_ok "${line#not ok - }" ;; esac
done <"$work/bad.out"
check_output "after all of it the CLI is served" '^[0-9a-f]{64}$' text iot get-registration-code
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Causes provoked end to end, each found by `birthmark explain` or said by `birthmark device`: causes.py. Which test provokes which
# cause is in docs/causes.in; the causes of limits are in limits.sh.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

WORKERS=1 # one that knows the device's policies when control stands still
CLOUD_OPTIONS=--no-limits
start_cloud
mkdir "$work/certificates"
timeout 240 /usr/bin/python3 "$(dirname "$0")/causes.py" "$bin/birthmark" "$work/cloud" "$api" "$port" "$ca" "$(cat "$work/cloud.pid")" \
    "$work/certificates" >"$work/python.out" 2>&1 || echo "not ok - causes.py exited with $?" >>"$work/python.out"
while IFS= read -r line; do
    case $line in
    "ok - "*) ok "${line#ok - }" ;;
    "not ok - "*) not_ok "${line#not ok - }" "$work/python.out" ;;
    esac
done <"$work/python.out"

# what explain says of a cause leads to its page
as_text() { "$bin/birthmark" explain --dir "$work/cloud" bare; }
check_output "explain names the page and the section" '^page +/.*/causes\.md, section connect\.' as_text
as_text >"$work/explained"
page=$(sed -n 's/^page *\(.*\), section .*/\1/p' "$work/explained")
check_output "which is there" "^### $(sed -n 's/^page .*, section //p' "$work/explained")$" cat "$page"
id=$(printf %064d 7)
unknown() { "$bin/birthmark" explain --dir "$work/cloud" "$id" 2>&1; [ $? = 3 ]; }
check_output "an id that nobody knows comes with how to find the right one" "openssl x509 -in device.pem -outform DER" unknown
done_testing

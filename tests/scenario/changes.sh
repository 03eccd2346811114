#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What an operator changes reaches the connections that are open: things and their attributes, policies, certificates and
# CAs. With boto3 and mosquitto's clients (changes.py).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

CLOUD_OPTIONS='--limit connect-rate=0'
start_cloud
make_ca factory
register_ca factory
for name in lamp spare; do
    make_device $name factory
done
/usr/bin/python3 "$(dirname "$0")/changes.py" "$api" "$port" "$ca" "$work" >"$work/python.out" 2>&1 ||
    echo "changes.py exited with $?" >>"$work/python.out"
while read -r line; do
    case $line in "ok - "*) ok "${line#ok - }" ;; *) not_ok "$line" ;; esac
done <"$work/python.out"
explain() { "$bin/birthmark" explain --dir "$work/cloud" "$1"; }
check_output "explain names the statement whose condition asks for the thing" 'client=stranger .*policy=of-things statement=1 effect=Allow condition=false' explain stranger
check_output "and why a connection was ended" 'changed="while connected"' explain lamp
done_testing

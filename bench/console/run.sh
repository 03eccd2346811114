#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The console with ROWS certificates in the registry: how long a page of the list takes, from the start and from the middle, by
# state, by id, by client id and by name, and what a person waits for who searches for a name that nobody has.
# usage: [ROWS="1000 1000000"] bench/console/run.sh   (BUILD as for the tests)
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../../tests/scenario/lib.sh"
# shellcheck source=tests/scenario/libcloud.sh
. "$root/tests/scenario/libcloud.sh"
ROWS=${ROWS:-1000 1000000}

make_ca bench 2>/dev/null
openssl req -new -key "$work/bench.key" -subj "/CN=template" -out "$work/t.csr" &&
    openssl x509 -req -in "$work/t.csr" -CA "$work/bench.crt" -CAkey "$work/bench.key" -set_serial 0x1122334455667788 -days 3650 \
        -outform DER -out "$work/template.der" 2>/dev/null
for rows in $ROWS; do
    rm -rf "$work/state"
    echo "== $rows certificates"
    "$BUILD/obj/bench/bench_api_fill" "$work/state" "$work/template.der" "$rows" 1000 >"$work/ids" || exit 1
    START_S=300 CLOUD_OPTIONS="--console 127.0.0.1:0"
    start_cloud "$work/state"
    /usr/bin/python3 "$root/bench/console/measure.py" "$(sed -n 's/^console http:..//p' "$work/cloud.log")" "$work/ids"
    stop cloud
done

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The control plane against the service models that python3-botocore ships: the operation table is theirs, what is not
# built says so by its name, and of what is built random legal requests are understood, wrong types are
# refused, and every answer and error has the shape the model gives it (model_check.py).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

"$root/scripts/api-model" >"$work/model.inc" 2>"$work/model.err"
check "src/api/model.inc is what scripts/api-model makes of the installed models" cmp "$work/model.inc" "$root/src/api/model.inc"

start_cloud
make_ca demo 2>/dev/null
make_ca spare 2>/dev/null
for ca_name in demo spare; do
    for n in 1 2 3 4 5; do
        make_device "$ca_name-$n" "$ca_name" 2>/dev/null
    done
done
code=$(text iot get-registration-code)
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/v.key" -subj "/CN=$code" -out "$work/v.csr" 2>/dev/null
for ca_name in demo spare; do
    openssl x509 -req -in "$work/v.csr" -CA "$work/$ca_name.crt" -CAkey "$work/$ca_name.key" -CAcreateserial -days 2 \
        -out "$work/$ca_name-v.crt" 2>/dev/null
done
"$bin/birthmark" cloud --coverage >"$work/coverage"
/usr/bin/python3 "$(dirname "$0")/model_check.py" "$api" "$work" "${MODEL_SEED:-1}" >"$work/model.out" 2>&1 ||
    echo "model_check.py exited with $?" >>"$work/model.out"
while IFS= read -r line; do
    case $line in "ok - "*) ok "${line#ok - }" ;; "# "*) printf '%s\n' "$line" ;; *) not_ok "${line#not ok - }" ;; esac
done <"$work/model.out"
done_testing

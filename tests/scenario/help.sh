#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the programs take, what --help lists, what the man pages explain and what completion offers are the same options.
. "$(dirname "$0")/lib.sh"

/usr/bin/python3 "$root/tests/scenario/help.py" "$bin" "$root/man" "$root/src" "$BUILD/share/bash-completion/completions" >"$work/claims" 2>&1 ||
    grep -q '^not ok' "$work/claims" || not_ok "the comparison runs" "$work/claims"
cat "$work/claims"
passed=$((passed + $(grep -c '^ok' "$work/claims")))
failed=$((failed + $(grep -c '^not ok' "$work/claims")))
check "there are claims of every program" [ "$(grep -c '^ok' "$work/claims")" -gt 40 ]
for page in "$root"/man/*.[17]; do
    check "$(basename "$page") is sound" sh -c '[ -z "$(MANWIDTH=160 man -l --warnings -E UTF-8 "$1" 2>&1 >/dev/null)" ]' sh "$page"
done
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `birthmark watch`: on a terminal (watch.py), into a pipe, and beside a cloud that comes, goes and refuses.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"

watch() { timeout 30 "$bin/birthmark" watch "$@"; }

# ---- on a terminal, with a timeline that the test writes ----
: >"$work/nothing"
check "an empty state folder" "$bin/birthmark" import --dir "$work/offline" "$work/nothing"
timeout 120 /usr/bin/python3 "$(dirname "$0")/watch.py" "$bin/birthmark" "$work/offline" >"$work/python.out" 2>&1 ||
    echo "not ok - watch.py exited with $?" >>"$work/python.out"
while IFS= read -r line; do
    case $line in
    "ok - "*) ok "${line#ok - }" ;;
    "not ok - "*) not_ok "${line#not ok - }" "$work/python.out" ;;
    esac
done <"$work/python.out"

# ---- into a pipe ----
lines() { watch --dir "$work/offline" "$@" 2>/dev/null; }
check_output "into a pipe: lines" '^20[0-9-]+T[0-9:.]+Z  connected  ' lines --since 1d --count 1
check "with --count, so many" sh -c '[ "$1" = 3 ]' - "$(lines --since 1d --count 3 | wc -l)"
check "--json: objects as of explain" /usr/bin/python3 -c '
import json, sys
seen = [json.loads(line) for line in sys.argv[1].splitlines()]
assert len(seen) == 3 and all({"time", "cause", "class", "sentence", "peer"} <= o.keys() for o in seen), seen' "$(lines --json --since 2h --count 3)"
check "--refusals: nothing else" sh -c '[ "$1" = refused ]' - "$(lines --since 1d --refusals --count 5 | awk '{ print $2 }' | sort -u)"
check "no byte of a hostile name gets through" sh -c '! LC_ALL=C grep -q "[^[:print:]]"' - <<EOT
$(lines --since 1d --count 12 | grep -v 漢 | LC_ALL=C tr -d '\302-\364\200-\277')
EOT
check_output "--since a time to come: nothing, until --for is over" '^0$' sh -c '"$@" | wc -l' - "$bin/birthmark" watch --dir "$work/offline" \
    --since 2099-01-01T00:00:00Z --for 1
check "when nobody reads any more it ends" sh -c 'timeout 20 "$@" 2>/dev/null | head -n 1 | grep -q connected' - "$bin/birthmark" watch \
    --dir "$work/offline" --since 1d
for wrong in "--since yesterday" "--count 0" "--count x" "--for -1" "--since 10x" "more"; do
    # shellcheck disable=SC2086 # an option and its value
    check_fails 2 "misuse: $wrong" "$bin/birthmark" watch --dir "$work/offline" $wrong
done
check_output "help" '^usage: birthmark watch' "$bin/birthmark" watch --help

# ---- completion, which reads every command's help ----
completes()
{
    bash -c 'PATH=$1:$PATH; . "$2/share/bash-completion/completions/birthmark"; shift 2; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _birthmark
        printf "%s\n" "${COMPREPLY[@]}"' bash "$bin" "$BUILD" "$@"
}
check_output "completion: commands" '^watch$' completes birthmark w
check_output "options" '^--refusals$' completes birthmark watch --re
check_output "sub-commands" '^rotate$' completes birthmark ca ro
check_output "folders after --dir" "^$work/offline$" completes birthmark explain --dir "$work/off"
check_output "nothing is offered for a number" '^$' completes birthmark watch --count ''
for command in $("$bin/birthmark" --help | sed -n 's/^  \([a-z-]\{1,\}\) .*/\1/p'); do
    [ "$command" = version ] || completes birthmark "$command" --h | grep -qx -e --help || echo "$command"
done >"$work/incomplete"
check "every command has options" test ! -s "$work/incomplete"

# ---- beside a cloud ----
start watch "$bin/birthmark" watch --dir "$work/cloud"
check "before the first cloud it says so and waits" wait_for 10 grep -q "no cloud has run in $work/cloud yet; waiting" "$work/watch.log"
WORKERS=1
start_cloud
check "then that one runs" wait_for 10 grep -q "a cloud runs on $work/cloud" "$work/watch.log"
make_ca factory 2>/dev/null
register_ca factory
make_device d1 factory
as d1 mosquitto_pub -t a -m x -q 1 2>/dev/null
check "a newcomer" wait_for 10 grep -qE '  registered  certificate.registered +[0-9a-f]{10}' "$work/watch.log"
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/d1.crt")"
iot iot update-certificate --certificate-id "$(id_of "$work/d1.crt")" --new-status ACTIVE
check "is let in" wait_for 10 as d1 mosquitto_pub -t a -m x -q 1
check "and watched" wait_for 10 grep -qE "  connected   connect.admitted +$(id_of "$work/d1.crt" | cut -c1-10)  peer=127.0.0.1:[0-9]+ client=d1" "$work/watch.log"
check "and leaves" wait_for 10 grep -qE '  ended +disconnect.client .*client=d1' "$work/watch.log"
check "each only once" sh -c '[ "$(grep -c "  registered  " "$1")" = 1 ]' - "$work/watch.log"
stop cloud
check "when the cloud ends it says so" wait_for 10 grep -q "no cloud is running on $work/cloud; waiting" "$work/watch.log"
rm -rf "$work/cloud"
start_cloud
as d1 mosquitto_pub -t a -m x -q 1 2>/dev/null
check "a folder made anew is watched from its begin" wait_for 10 grep -qE '  refused +connect.ca_unknown .*client=d1' "$work/watch.log"
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill -9 of `birthmark dead-letters resend`, alone and beside a cloud, and of the cloud that it asks: no letter is lost, none is sent
# twice by itself, and all are sent in the end. LETTERS_SEED=N: other moments.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
seed=${LETTERS_SEED:-1}
COUNT=300

letters()
{
    what=$1
    shift
    timeout 60 /usr/bin/python3 "$root/tests/scenario/letters.py" "$what" "$work/cloud" "$@"
}
resend_all() { "$bin/birthmark" dead-letters resend --all --dir "$work/cloud"; }

start_cloud
mkdir "$work/sink"
printf 'def handler(event, context):\n    print("seen", event["n"])\n' >"$work/sink/app.py"
(cd "$work/sink" && zip -q ../sink.zip app.py)
iot lambda create-function --function-name sink --runtime python3.11 --handler app.handler --timeout 60 \
    --role arn:aws:iam::000000000000:role/any --zip-file "fileb://$work/sink.zip" >/dev/null
stop cloud
check "there are letters" letters add $COUNT

check "killed without a cloud: what it said to have sent is gone from the list" letters kill "$seed" "$bin/birthmark" 6
check "and each letter is in the list or waits for its function, not both" letters once $COUNT
start_cloud
check "killed beside a cloud: what it said to have sent is gone from the list" letters kill "$((seed + 1))" "$bin/birthmark" 6
check "and no letter is lost" letters once $COUNT
master=$(cat "$work/cloud.pid")
all="$master $(pgrep -P "$master" | tr '\n' ' ')"
check "the cloud is killed that it asks" letters kill "$((seed + 2))" "$bin/birthmark" 1 $all
for p in $all; do
    wait_for 10 not_running "$p"
done
wait "$master" 2>/dev/null
check "and no letter is lost" letters once $COUNT
start_cloud
check_output "the rest is sent by the next command" 'is sent to the function sink again' resend_all
# a cloud that is killed runs again what it had not finished; nothing else runs twice
all_ran() { letters once $COUNT $((COUNT + 20)); }
check "then every letter's event has run, and none waits" wait_for 60 all_ran
check_output "and the list is empty" '^none: ' resend_all
done_testing

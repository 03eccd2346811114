#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a device's first TCP connect until its certificate is ACTIVE, and until it is connected: the functions of share/birthmark/examples/
# jitr-activate in C (provided.al2023), Python and JavaScript. One device at a time. Warm: the function's process waits. Cold: the cloud has just
# started, so the first event starts the process. There is no peer: the service takes seconds.
# usage: [COUNT=100] [COLD=5] [KINDS="c python node"] bench/jitr/run.sh   (BUILD as for the tests; node needs its packages from npm)
CLOUD_OPTIONS=--no-limits
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/scenario/libnpm.sh
. "$root/tests/scenario/libnpm.sh"
[ -z "$QUICK" ] || { COUNT=5 COLD=1; }
COUNT=${COUNT:-100} COLD=${COLD:-5} KINDS=${KINDS:-c python node}

# KIND: its package in $work/KIND.zip; sets runtime, handler; 1: cannot be made, see why_not
package()
{
    case $1 in
    c)
        runtime=provided.al2023 handler=bootstrap
        make -s -C "$work/jitr/c" zip >"$work/out" 2>&1 && mv "$work/jitr/c/jitr.zip" "$work/c.zip" && return
        why_not=$(cat "$work/out")
        return 1
        ;;
    python) runtime=python3.11 handler=lambda_function.lambda_handler ;;
    node)
        runtime=nodejs20.x handler=index.handler
        npm_install "$root/tests/npm" || return 1
        cp -r "$modules/node_modules" "$work/jitr/node/"
        ;;
    esac
    (cd "$work/jitr/$1" && zip -qr "$work/$1.zip" .)
}

made()
{
    iot lambda create-function --function-name "$1" --runtime $runtime --handler $handler --timeout 60 --role arn:aws:iam::000000000000:role/any \
        --zip-file "fileb://$work/$1.zip" >/dev/null &&
        iot lambda add-permission --function-name "$1" --statement-id jitr --action lambda:InvokeFunction --principal iot.amazonaws.com \
            --source-arn "$arn:rule/jitr" >/dev/null &&
        iot iot create-topic-rule --rule-name jitr --topic-rule-payload "{\"awsIotSqlVersion\":\"2016-03-23\",
            \"sql\":\"SELECT * FROM '\$aws/events/certificates/registered/+'\",
            \"actions\":[{\"lambda\":{\"functionArn\":\"arn:aws:lambda:us-east-1:000000000000:function:$1\"}}]}"
}

devices() { "$obj/bench_jitr" --port "$port" --dir "$work/cloud" --ca "$work/factory.crt" --ca-key "$work/factory.key" --count "$1"; }
quantile() { sed -n "s/.*$2=\([0-9.]*\).*/\1/p" "$work/$1.line"; }

start_cloud ""
make_ca factory
register_ca factory || die "the CA was not registered"
cp -r "$BUILD/share/birthmark/examples/jitr-activate" "$work/jitr"
about "$COUNT devices each warm, $COLD cold"
ran=
for kind in $KINDS; do
    package "$kind" || { echo "skip - $kind: $why_not"; continue; }
    made "$kind" || die "$kind: the function was not made"
    ran="$ran $kind"
    for _ in $(seq "$COLD"); do
        restart_cloud
        round "$kind.cold" active_p50_ms devices 1
    done
    devices "$COUNT" >"$work/$kind.line" || die "$kind: $(cat "$work/$kind.line")"
    echo "$kind: $(cat "$work/$kind.line")"
    iot iot delete-topic-rule --rule-name jitr
done
for kind in $ran; do
    echo "first connect to ACTIVE, $kind: warm p50 $(quantile "$kind" active_p50_ms) ms, p99 $(quantile "$kind" active_p99_ms) ms$([ "$kind" = c ] && echo " (figure: p50 < 50)"); connected p50 $(quantile "$kind" connected_p50_ms) ms, p99 $(quantile "$kind" connected_p99_ms) ms; cold, median: ACTIVE $(median "$work/$kind.cold") ms"
done

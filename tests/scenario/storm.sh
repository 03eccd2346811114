#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the endpoint's workers, the broker, the control process, or all of them, at random moments while a fleet that nobody knows connects,
# is registered just in time, activated by a function and publishes (tests/load/storm.c). In the end every device is registered exactly once, every
# event arrived, and no message that was acknowledged is missing: for a kept session or for rules.
#
# STORM_DEVICES, STORM_KILLS, STORM_SEED: how many of each storm, and another sequence of victims; `STORM_DEVICES=5000 STORM_KILLS=60 sh
# tests/scenario/storm.sh` is the full size: three storms of 5,000.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/libcloud.sh"
devices=${STORM_DEVICES:-30} kills=${STORM_KILLS:-3} seed=${STORM_SEED:-7}
# Each connection of a device that is not ACTIVE yet is another event and another run of the function: many devices come again less often.
backoff=1500 in_flight=10 # few at a time, so that some are left when the last victim falls
[ "$devices" -le 100 ] || backoff=10000 in_flight=100

fixed=$(free_port)
# start_cloud with a port that stays the same, because devices come back to it; its functions write to a folder of ours
start_again()
{
    start cloud "$bin/birthmark" cloud --dir "$work/cloud" --api 127.0.0.1:0 --mqtt "127.0.0.1:$fixed" --workers 2 --functions 4 --sandbox none
    wait_for 30 grep -q '^ready$' "$work/cloud.log" || {
        not_ok "the cloud starts again" "$work/cloud.log"
        done_testing
    }
    api=$(sed -n 's/^api //p' "$work/cloud.log")
    port=$fixed
    ca=$(sed -n 's/^root-ca //p' "$work/cloud.log")
}

# roll N: sets rolled to one of 0 .. N-1
roll()
{
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    rolled=$((seed / 65536 % $1))
}

# The cloud as a whole is gone, by its own decision or ours: collect it and start another.
replace_cloud()
{
    master=$(cat "$work/cloud.pid")
    left="$master $(pgrep -P "$master" | tr '\n' ' ')"
    [ "$1" = 0 ] || kill -9 $left 2>/dev/null
    for p in $left; do
        wait_for 20 not_running "$p"
    done
    wait "$master" 2>/dev/null
    cat "$work/cloud.log" >>"$work/clouds.old"
    start_again
}

victim()
{
    master=$(cat "$work/cloud.pid")
    case $1 in
    all) replace_cloud 9 ;;
    control)
        kill -9 "$(pgrep -P "$master" -x control)" 2>/dev/null
        replace_cloud 0
        ;;
    *) kill -9 "$(pgrep -P "$master" -x "$1")" 2>/dev/null ;;
    esac
}

done_by_now() { wc -l <"$work/$1.log"; }

# storm NAME VICTIMS: the whole of it
storm()
{
    what=$1 victims=$2
    : >"$work/$what.log"
    "$BUILD/obj/tests/storm" --port "$fixed" --count "$devices" --in-flight "$in_flight" --ca "$work/factory.crt" --ca-key "$work/factory.key" \
        --backoff "$backoff" --seed "$seed" >"$work/$what.log" 2>"$work/$what.err" &
    storm_pid=$!
    killed=
    n=0
    while [ $n -lt "$kills" ] && kill -0 $storm_pid 2>/dev/null; do
        # the next victim falls when some more devices are through, wherever everything else is at that moment
        due=$(((n + 1) * devices / (kills + 2)))
        while [ "$(done_by_now "$what")" -lt $due ] && kill -0 $storm_pid 2>/dev/null; do
            roll 9
            sleep 0.0$rolled
        done
        # shellcheck disable=SC2086
        set -- $victims
        roll $#
        [ $n -gt 0 ] || rolled=$(($# - 1)) # the one that the storm is named for
        shift $rolled
        killed="$killed $1"
        victim "$1"
        n=$((n + 1))
    done
    if wait $storm_pid; then ok "$what: $devices devices come through although killed were:$killed"; else
        cat "$work/cloud.log" >>"$work/$what.err"
        not_ok "$what: $devices devices come through although killed were:$killed" "$work/$what.err"
    fi
    grep '^storm:' "$work/$what.err"
}

# is everyone of file 1 in file 2?
all_in() { [ -z "$(sort -u "$1" | comm -23 - "$2.sorted")" ]; }
arrived()
{
    sort -u "$2" >"$2.sorted"
    all_in "$1" "$2"
}

start_again
make_ca factory
register_ca factory
iot iot create-policy --policy-name open --policy-document "$open_policy" >/dev/null
# One function for both, so that its few processes need not make place for another's.
mkdir "$work/storm"
cat >"$work/storm/app.py" <<PY
import boto3, os
iot = boto3.client("iot")

def handler(event, context):
    one = event.get("certificateId")
    mark = "$work/active/%s" % one
    if one and not os.path.exists(mark): # each time that a device comes before it is ACTIVE is an event
        iot.attach_policy(policyName="open", target="$arn:cert/" + one)
        iot.update_certificate(certificateId=one, newStatus="ACTIVE")
        open(mark, "w").close()
    with open("$work/events" if one else "$work/messages", "ab", 0) as f:
        f.write(((one or event["from"]) + "\n").encode())
PY
: >"$work/events"
: >"$work/messages"
mkdir "$work/active"
chmod 711 "$work"
chmod 777 "$work/active"
chmod 666 "$work/events" "$work/messages"
function()
{
    (cd "$work/storm" && zip -qr "../storm.zip" .)
    iot lambda create-function --function-name storm --runtime python3.11 --handler app.handler --role arn:aws:iam::000000000000:role/any \
        --timeout 60 --zip-file "fileb://$work/storm.zip" >/dev/null
}
# NAME SQL: a rule of this name that runs the function
rule()
{
    iot lambda add-permission --function-name storm --statement-id "$1" --action lambda:InvokeFunction --principal iot.amazonaws.com \
        --source-arn "$arn:rule/$1" >/dev/null &&
        iot iot create-topic-rule --rule-name "$1" --topic-rule-payload \
            "{\"sql\":\"$2\",\"actions\":[{\"lambda\":{\"functionArn\":\"arn:aws:lambda:us-east-1:000000000000:function:storm\"}}]}"
}
check "a function that activates devices and takes notes of messages" function
check "it runs by the event" rule activate "SELECT * FROM '\$aws/events/certificates/registered/+'"
check "and by each message" rule note "SELECT * FROM 'storm/+'"

# One subscriber with a session that is kept, so that what comes while it or its worker is gone waits for it.
make_device keeper factory
iot iot register-certificate --certificate-pem "file://$work/keeper.crt" --ca-certificate-pem "file://$work/factory.crt" --status ACTIVE >/dev/null
iot iot attach-policy --policy-name open --target "$arn:cert/$(id_of "$work/keeper.crt")"
cat >"$work/keeper.sh" <<'SH'
trap 'kill $pid 2>/dev/null; exit 0' TERM
while :; do
    "$@" &
    pid=$!
    wait $pid
    echo "ended: $? $(date +%T)"
    sleep 0.1
done
SH
start keeper sh "$work/keeper.sh" stdbuf -oL mosquitto_sub --cafile "$ca" --cert "$work/keeper.pem" --key "$work/keeper.key" -h 127.0.0.1 -p "$fixed" \
    -i keeper -c -q 1 -t 'storm/+' -d -k 10
wait_for 20 grep -q Subscribed "$work/keeper.log"
# When the listener of a killed cloud takes a TCP connection with it that it had not accepted, libmosquitto 2.0 writes its ClientHello to the closed
# socket (EPIPE) again and again until its keep-alive is over: hence -k 10 above.
kept() { sed -n 's/.*{"from":"\([0-9a-f]*\)"}.*/\1/p' "$work/keeper.log" >"$work/kept" && { arrived "$1" "$work/kept" || tail_of_keeper; }; }
tail_of_keeper() { date +%T && tail -n 20 "$work/keeper.log" && false; }

storm endpoint "worker0 worker1 control"
check "endpoint: a subscriber whose session is kept has all that was acknowledged" wait_for 60 kept "$work/endpoint.log"
storm broker "worker0 worker1 mosquitto"
check "broker: rules have every message that was acknowledged" wait_for 60 arrived "$work/broker.log" "$work/messages"
check "broker: so has the subscriber" wait_for 60 kept "$work/broker.log"
storm everything "worker0 worker1 mosquitto control all"
cat "$work/endpoint.log" "$work/broker.log" "$work/everything.log" >"$work/acknowledged"
check "rules have every message that was acknowledged, whatever died" wait_for 60 arrived "$work/acknowledged" "$work/messages"
check "and so has the subscriber" wait_for 60 kept "$work/acknowledged"
stop keeper
check "the event of every device was delivered" wait_for 60 arrived "$work/acknowledged" "$work/events"
text iot list-certificates --query 'certificates[].[certificateId,status]' | grep -c ACTIVE >"$work/actives"
check "every device is registered and ACTIVE, and nobody else but the subscriber" [ "$(cat "$work/actives")" = $((3 * devices + 1)) ]
"$bin/birthmark" explain --dir "$work/cloud" --json --limit 1000000 | grep '"cause": *"certificate.registered"' |
    sed 's/.*"certificate[A-Za-z]*": *"\([0-9a-f]*\)".*/\1/' | sort >"$work/registered"
check "exactly once" sh -c '[ "$(wc -l <"$1")" = "$2" ] && [ "$(sort -u "$1" | wc -l)" = "$2" ]' sh "$work/registered" $((3 * devices))
done_testing

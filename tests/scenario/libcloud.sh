# SPDX-License-Identifier: Apache-2.0
# For scenarios that need the cloud: sourced after lib.sh. Sets api (URL), port (MQTT), ca (root CA file of the endpoint).
#
#   start_cloud [DIR]      birthmark cloud on free ports, state in $work/cloud or DIR; log in $work/cloud.log; more options
#                          in CLOUD_OPTIONS, a program to run it with in CLOUD_AS
#   iot ARGS...            the distribution's aws CLI against it
#   text ARGS...           the same with --output text
#   make_ca NAME           demo CA NAME.key, NAME.crt in $work with the note's commands
#   register_ca NAME       verification certificate, registered, ACTIVE, auto-registration ENABLE; sets ca_id
#   make_device NAME CA    NAME.key, NAME.crt (v1 leaf), NAME.pem (leaf and CA)
#   id_of FILE             certificate id of a PEM file
#   free_port              a TCP port that nobody has, for servers that cannot say which they got
#   as DEVICE PROGRAM ...  mosquitto_pub or mosquitto_sub with that device's certificate and client id
#
# The aws CLI is the machine's own; so that it starts four times as fast, one process of it has its modules loaded and forks
# (tests/clients/aws_warm.py). AWS_COLD=1 before sourcing: each command starts by itself.
arn=arn:aws:iot:us-east-1:000000000000

if [ -z "${AWS_COLD:-}" ]; then
    export BIRTHMARK_WARM="$work/aws.sock"
    start aws_warm /usr/bin/python3 "$root/tests/clients/aws_warm.py" "$BIRTHMARK_WARM"
    PATH=$root/tests/clients/path:$PATH
fi

start_cloud()
{
    start cloud ${CLOUD_AS:-} "$bin/birthmark" cloud --dir "${1:-$work/cloud}" --api 127.0.0.1:0 --mqtt "127.0.0.1:${MQTT_PORT:-0}" --workers "${WORKERS:-2}" ${CLOUD_OPTIONS:-}
    wait_for "${START_S:-20}" grep -q '^ready$' "$work/cloud.log" || {
        not_ok "the cloud starts" "$work/cloud.log"
        done_testing
    }
    api=$(sed -n 's/^api //p' "$work/cloud.log")
    port=$(sed -n 's/^mqtt .*://p' "$work/cloud.log")
    ca=$(sed -n 's/^root-ca //p' "$work/cloud.log")
}

iot() { aws --endpoint-url "$api" "$@"; }
text() { iot --output text "$@"; }
free_port() { /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
id_of() { openssl x509 -in "$1" -outform DER | sha256sum | cut -d' ' -f1; }

make_ca()
{
    openssl ecparam -genkey -name prime256v1 -out "$work/$1.key" &&
        openssl req -x509 -new -nodes -key "$work/$1.key" -sha256 -days 3650 -out "$work/$1.crt" -subj "/CN=Demo CA $1"
}

register_ca()
{
    ca_id=$(id_of "$work/$1.crt")
    code=$(text iot get-registration-code) &&
        openssl ecparam -genkey -name prime256v1 -out "$work/verification.key" &&
        openssl req -new -key "$work/verification.key" -subj "/CN=$code" -out "$work/verification.csr" &&
        openssl x509 -req -in "$work/verification.csr" -CA "$work/$1.crt" -CAkey "$work/$1.key" -CAcreateserial \
            -out "$work/verification.crt" -days 3650 -sha256 2>/dev/null &&
        iot iot register-ca-certificate --ca-certificate "file://$work/$1.crt" \
            --verification-certificate "file://$work/verification.crt" --set-as-active --allow-auto-registration >/dev/null
}

make_device()
{
    openssl ecparam -genkey -name prime256v1 -out "$work/$1.key" &&
        openssl req -new -key "$work/$1.key" -out "$work/$1.csr" -subj "/CN=$1" &&
        openssl x509 -req -days 3650 -in "$work/$1.csr" -CAcreateserial -CA "$work/$2.crt" -CAkey "$work/$2.key" \
            -out "$work/$1.crt" 2>/dev/null &&
        cat "$work/$1.crt" "$work/$2.crt" >"$work/$1.pem"
}

# active_device NAME POLICY: of the CA `factory`
active_device()
{
    make_device "$1" factory &&
        iot iot register-certificate --certificate-pem "file://$work/$1.crt" --ca-certificate-pem "file://$work/factory.crt" \
            --status ACTIVE >/dev/null &&
        iot iot attach-policy --policy-name "$2" --target "$arn:cert/$(id_of "$work/$1.crt")"
}

as()
{
    device=$1 program=$2
    shift 2
    "$program" --cafile "$ca" --cert "$work/$device.pem" --key "$work/$device.key" -h 127.0.0.1 -p "$port" -i "$device" "$@"
}

status_is()
{
    [ "$(text iot describe-certificate --certificate-id "$1" --query certificateDescription.status)" = "$2" ]
}

open_policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}'

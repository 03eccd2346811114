#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Server CPU for one connect (full TLS handshake with client certificate, CONNECT, CONNACK, DISCONNECT): the cloud with all its
# processes, broker included, beside mosquitto alone with the same CA, server certificate and OpenSSL. Rounds alternate between
# the two; the medians and their ratio come last. Then the first connect of unknown devices: registration made durable and the
# event published. Before all, the crypto floor: what the public-key operations of one handshake cost by `openssl speed`.
# usage: [ROUNDS=5] [COUNT=1500] [NEW=500] [IN_FLIGHT=16] [WORKERS=1] [CHAIN=known.pem] [TLS=1.3] bench/connect/run.sh   (BUILD as for the tests)
# CHAIN=known.crt: the device sends its leaf alone, not its issuer too.
WORKERS=${WORKERS:-1}
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/../lib.sh"
[ -z "$QUICK" ] || { ROUNDS=1 COUNT=100 NEW=50; }
ROUNDS=${ROUNDS:-5} COUNT=${COUNT:-1500} NEW=${NEW:-500} IN_FLIGHT=${IN_FLIGHT:-16} CHAIN=${CHAIN:-known.pem} TLS=${TLS:-1.3}

# The server's part: a key of its own for the exchange (which costs about a derivation), the derivation, its signature, and the
# check of the device's. The leaf is known, so no certificate is checked.
crypto_floor()
{
    openssl speed -seconds 1 ecdsap256 ecdhx25519 2>/dev/null | awk '
        /nistp256/ { sign = 1e6 / $(NF - 1); verify = 1e6 / $NF }
        /X25519/ { derive = 1e6 / $NF }
        END { printf "%.0f %.0f %.0f %.0f\n", sign, verify, derive, sign + verify + 2 * derive }'
}

connects()
{
    "$obj/bench_connect" --port "$1" --pids "$2" --count "$COUNT" --in-flight "$IN_FLIGHT" --tls "$TLS" --cert "$work/$CHAIN" --key "$work/known.key"
}

prepare
start_peer "tlsv$TLS"
about "$ROUNDS rounds of $COUNT, $IN_FLIGHT in flight, TLS $TLS, $CHAIN, $WORKERS worker(s)"
# shellcheck disable=SC2046
set -- $(crypto_floor)
echo "crypto floor: sign $1 us + verify $2 us + 2 x X25519 $3 us = $4 us"
echo "$4" >"$work/floor"
for _ in $(seq "$ROUNDS"); do
    round mosquitto us_per_connect connects "$peer_port" "$(peer_pids)"
    round birthmark us_per_connect connects "$port" "$(cloud_pids)"
done
leaf_only=
[ "$CHAIN" = known.pem ] || leaf_only=--leaf-only
for _ in 1 2 3; do
    round first us_per_connect "$obj/bench_connect" --unknown $leaf_only --port "$port" --count "$NEW" --in-flight "$IN_FLIGHT" --tls "$TLS" \
        --cert "$work/factory.crt" --key "$work/factory.key" --pids "$(cloud_pids)"
done
echo "server CPU per connect, median: mosquitto $(median "$work/mosquitto") us, birthmark $(median "$work/birthmark") us, ratio $(ratio birthmark mosquitto) (figure: <= 0.55); $(ratio birthmark floor) of the crypto floor, mosquitto $(ratio mosquitto floor)"
echo "first connect of an unknown device: $(median "$work/first") us, $(ratio first birthmark) of a registered one (figure: <= 1.3)"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How long a certificate that is set INACTIVE keeps its connection: 1,000 devices are connected, CERTS certificates are
# deactivated one after the other (from the call and from its answer to the end of the connection, as the client sees it),
# then the one that all the others share (to the first and to the last end). No peer: mosquitto has no such call.
# usage: [CONNECTIONS=1000] [CERTS=100] [WORKERS=1] bench/revoke/run.sh   (BUILD as for the tests)
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../../tests/scenario/lib.sh"
# shellcheck source=tests/scenario/libcloud.sh
. "$root/tests/scenario/libcloud.sh"
WORKERS=${WORKERS:-1}
start_cloud
/usr/bin/python3 "$root/bench/revoke/revoke.py" "$api" "$port" "$ca" "$work" "${CONNECTIONS:-1000}" "${CERTS:-100}"

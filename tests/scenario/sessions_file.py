# SPDX-License-Identifier: Apache-2.0
"""mosquitto's file of sessions: `FILE times ID...` prints when each ends, `FILE set ID SECONDS...` sets it; both from now."""
import struct
import sys
import time

path, what = sys.argv[1:3]
data = bytearray(open(path, "rb").read())
sessions, at = {}, 23
while at < len(data):
    kind, length = struct.unpack_from(">II", data, at)
    at += 8
    if kind == 6:
        (size,) = struct.unpack_from(">H", data, at + 14)
        sessions[data[at + 24 : at + 24 + size].decode()] = at
    at += length
if what == "times":
    for name in sys.argv[3:]:
        end = struct.unpack_from("=q", data, sessions[name])[0] if name in sessions else None
        print("none" if end is None else int(end - time.time()) if end else "connected")
else:
    for name, seconds in zip(sys.argv[3::2], sys.argv[4::2]):
        struct.pack_into("=q", data, sessions[name], int(time.time()) + int(seconds))
    open(path, "wb").write(data)

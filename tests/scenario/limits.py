#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that heed no limit, which real ones do not let themselves be: packets by hand over Python's TLS.

usage: limits.py PORT CA CERT KEY again5|rate5|flight5|flight4|half     exit 0 when the endpoint answered as it should
"""
import socket
import ssl
import sys
import time

port, ca, cert, key, what = sys.argv[1:]
level = 4 if what.endswith("4") else 5
properties = b"\0" if level == 5 else b""


def text(s):
    return len(s).to_bytes(2, "big") + s


def packet(first, body):
    assert len(body) < 128
    return bytes([first, len(body)]) + body


def publish(i):
    return packet(0x32, text(b"t/" + what.encode()) + i.to_bytes(2, "big") + properties + b"x")


def packets(s):
    """Packets of less than 16 KB as they come, (first byte, body), until the end."""
    data = b""
    while True:
        while len(data) > 2 or (len(data) == 2 and data[1] == 0):
            head, size = (2, data[1]) if data[1] < 128 else (3, data[1] - 128 + 128 * data[2])
            if len(data) < head + size:
                break
            yield data[0], data[head:head + size]
            data = data[head + size:]
        more = s.recv(65536)
        if not more:
            return
        data += more


if what == "half":  # three that begin a handshake and do not go on; the endpoint ends the third
    socks = []
    for _ in range(3):
        s = socket.create_connection(("127.0.0.1", int(port)))
        s.sendall(b"\x16\x03\x01")
        socks.append(s)
    print("half", flush=True)
    time.sleep(3600)

context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)


def opened():
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname="localhost")
    s.settimeout(60)
    return s


connect = packet(0x10, text(b"MQTT") + bytes([level, 2, 0, 60]) + properties + text(what.encode()))
if what == "again5":  # with their TLS done, CONNECTs of one client id come in one second on a slow machine, too
    socks = [opened() for _ in range(4)]
    for s in socks:
        s.sendall(connect)
    codes = [next(packets(s), (0, b"??"))[1][1] for s in socks]
    assert 0x97 in codes, codes
    sys.exit()
s = opened()
s.sendall(connect)
answers = packets(s)
first, body = next(answers)
assert first == 0x20 and body[1] == 0, (first, body)
if level == 5:
    assert b"\x21\x00\x02" in body, "no receive maximum of 2 in CONNACK"

if what == "rate5":  # the rate is passed by others of QoS 0; one after another, so that nothing is in flight
    codes = []
    other = packet(0x30, text(b"t/other") + properties + b"x")
    for i in range(1, 11):
        s.sendall(10 * other + publish(i))
        first, body = next(answers)
        assert first == 0x40 and int.from_bytes(body[:2], "big") == i
        codes.append(body[2] if len(body) > 2 else 0)
        assert codes[-1] != 0x97 or b"mqtt.rate: " in body, body
    assert codes[0] in (0, 0x10) and 0x97 in codes, codes
elif what == "flight5":
    s.sendall(b"".join(publish(i) for i in range(1, 6)))
    last = None
    for last in answers:
        pass
    assert last is not None and last[0] == 0xe0 and last[1][0] == 0x93 and b"mqtt.in_flight" in last[1], last
elif what == "flight4":
    s.sendall(b"".join(publish(i) for i in range(1, 16)))
    ids = []
    while len(ids) < 15:
        first, body = next(answers)
        assert first == 0x40
        ids.append(int.from_bytes(body, "big"))
    assert ids == list(range(1, 16)), ids

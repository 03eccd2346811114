#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of a71chd for tests: raw JRCP version 1, on no code of this project.

usage: jrcp.py ADDRESS STEP...     ADDRESS is HOST:PORT, tcp:HOST:PORT or unix:PATH
  HEX         send an APDU, print the response as hex
  atr         reset the card (MTY 00), print the answer to reset
  mtyNN:HEX   send a message of type NN, print the payload of the reply
  raw:HEX     send these bytes, wait for nothing
  closed:S    wait until the server closes, at most S seconds; fail when it does not
  dropped:S   the same, but take nothing that the server has sent
  two         open a second connection; steps that begin with `2:` go there
  split:HEX   send an APDU byte by byte, print the response
  burst:N     send N APDUs (get module info) at once, print how many answers came
  crowd:N     open N connections, send on each, take the answers and close one after the other;
              print how many were served
  flood       send commands without taking answers until the server takes no more
  count:MAX   write 1, 2, 3 ... to GP storage, print each number that was confirmed; ends quietly
              when the server dies
Each reply must arrive in one piece (SPEC a71ch 6.3), else it fails.
"""
import select
import socket
import sys

SELECT = bytes.fromhex("00a4040005613731636800")


def connect(address):
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(address[5:])
        return s
    host, port = address.removeprefix("tcp:").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=20)


def message(mty, payload):
    return bytes([mty, 0]) + len(payload).to_bytes(2, "big") + payload


def reply(s, mty):
    r = s.recv(2000)
    if not r:
        sys.exit("server closed the connection")
    if len(r) < 4 or r[0] != mty or int.from_bytes(r[2:4], "big") != len(r) - 4:
        sys.exit(f"reply is not one message in one piece: {r.hex()}")
    return r[4:]


def exchange(s, mty, payload):
    s.sendall(message(mty, payload))
    return reply(s, mty)


def count(s, most):
    exchange(s, 1, SELECT)
    for i in range(1, most + 1):
        try:
            sw = exchange(s, 1, bytes.fromhex("8072000004") + i.to_bytes(4, "big"))
        except OSError:
            return
        except SystemExit:
            return
        if sw != b"\x90\x00":
            sys.exit(f"write {i} answered {sw.hex()}")
        print(i, flush=True)


def burst(s, n):
    s.sendall(message(1, bytes.fromhex("8091000300")) * n)
    got = b""
    while len(got) < n * 12:
        more = s.recv(65536)
        if not more:
            break
        got += more
    print(got.count(bytes.fromhex("010000080131f32210009000")))


def crowd(address, n):
    all_of_them = [connect(address) for _ in range(n)]
    for s in all_of_them:
        s.sendall(message(1, SELECT))
    served = 0
    for s in all_of_them:
        served += reply(s, 1) == bytes.fromhex("01319000")
        s.close()
    print(served)


def flood(s):
    s.settimeout(0.3)
    try:
        while True:
            s.sendall(message(1, bytes.fromhex("8091000400")) * 64)
    except (socket.timeout, ConnectionError):
        pass


def closed(s, seconds):
    s.settimeout(seconds)
    try:
        while s.recv(2000):
            pass
    except ConnectionError:
        pass
    except socket.timeout:
        sys.exit("server did not close the connection")


def dropped(s, seconds):
    p = select.poll()
    p.register(s, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    if not p.poll(seconds * 1000):
        sys.exit("server did not close the connection")


def step(s, what):
    if what == "atr":
        print(exchange(s, 0, bytes.fromhex("00000100")).hex())
    elif what.startswith("mty"):
        kind, payload = what[3:].split(":", 1)
        print(exchange(s, int(kind, 16), bytes.fromhex(payload)).hex())
    elif what.startswith("raw:"):
        s.sendall(bytes.fromhex(what[4:]))
    elif what.startswith("closed:"):
        closed(s, float(what[7:]))
    elif what.startswith("dropped:"):
        dropped(s, float(what[8:]))
    elif what.startswith("split:"):
        for b in message(1, bytes.fromhex(what[6:])):
            s.sendall(bytes([b]))
        print(reply(s, 1).hex())
    elif what.startswith("burst:"):
        burst(s, int(what[6:]))
    elif what == "flood":
        flood(s)
    elif what.startswith("crowd:"):
        crowd(sys.argv[1], int(what[6:]))
    elif what.startswith("count:"):
        count(s, int(what[6:]))
    else:
        print(exchange(s, 1, bytes.fromhex(what)).hex())


def main():
    connections = [connect(sys.argv[1])]
    for what in sys.argv[2:]:
        if what == "two":
            connections.append(connect(sys.argv[1]))
        elif what.startswith("2:"):
            step(connections[1], what[2:])
        else:
            step(connections[0], what)


main()

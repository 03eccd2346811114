#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many clients of one a71chd at once, on no code of this project: JRCP version 1 and the words of leases.

usage: arbiter.py storm N ADDRESS...      N clients ask at once, some die; every answer must be the right one
       arbiter.py count N ADDRESS...      N clients add to one number in storage under leases; prints the sum
       arbiter.py torn N ADDRESS...       the same without leases; the sum is too low
       arbiter.py hash N ADDRESS...       N clients hash in several commands each, under leases; prints how many came out right
       arbiter.py torn-hash N ADDRESS...  the same without leases
       arbiter.py killed STEP ADDRESS     a client is killed at a step of a lease; the next one must get it
       arbiter.py bytes ADDRESS           what NXP's clients send and read, byte by byte
       arbiter.py expire ADDRESS          a lease that is not released
       arbiter.py notify COMMAND...       runs a service, prints what it tells systemd, ends it
ADDRESS is tcp:HOST:PORT or unix:PATH; clients take them in turn.
"""
import hashlib
import os
import random
import selectors
import signal
import socket
import subprocess
import sys

SELECT = bytes.fromhex("00a4040005613731636800")
ROUNDS = 10
STEPS = ["asked", "granted", "half", "command", "between", "released"]


def connect(address):
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(address[5:])  # with a timeout it would not wait for room in the queue
        s.settimeout(20)
        return s
    host, port = address.removeprefix("tcp:").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=20)


def message(mty, payload=b""):
    return bytes([mty, 0]) + len(payload).to_bytes(2, "big") + payload


def apdu(text, data=b""):
    head = bytes.fromhex(text)
    return message(1, head + (bytes([len(data)]) + data if data else b"") + b"\0")


def words(*all_of_them):
    return message(7, b"".join(w.encode() + b"\0" for w in all_of_them))


def exactly(s, n):
    got = b""
    while len(got) < n:
        more = s.recv(n - len(got))
        if not more:
            sys.exit("the server closed the connection")
        got += more
    return got


def answer(s):
    head = exactly(s, 4)
    return head[0], head[1], exactly(s, int.from_bytes(head[2:4], "big"))


def ask(s, request):
    s.sendall(request)
    return answer(s)


def lease(s, *times):
    mty, nad, text = ask(s, words("lease", *times))
    assert mty == 7 and text, (mty, text)
    return nad == 0, text.decode()


class Client:
    """One client of the storm: a list of requests, each with the answer it must get."""

    def __init__(self, number, address):
        self.s = connect(address)
        self.s.setblocking(False)
        self.steps = [(message(1, SELECT), bytes.fromhex("01319000"))]
        for i in range(ROUNDS):
            data = f"client {number} round {i} ".encode() * random.randrange(1, 8)
            if i % 2:
                self.steps.append((apdu("80960000", data), hashlib.sha256(data).digest() + b"\x90\x00"))
            else:
                self.steps.append((apdu("80fe0000", data), data + b"\x90\x00"))
        self.dies_at = random.randrange(ROUNDS) if number % 8 == 7 else None
        self.at = 0
        self.got = b""

    def send(self):
        request = self.steps[self.at][0]
        if self.at == self.dies_at:  # in the middle of a message, or of an answer
            self.s.send(request[: random.randrange(1, len(request) + 1)])
            return False
        cut = random.randrange(1, len(request))
        self.s.send(request[:cut])
        self.s.send(request[cut:])
        return True

    def receive(self):
        """True while there is more to do."""
        more = self.s.recv(4096)
        if not more:
            sys.exit("the server closed the connection")
        self.got += more
        want = message(1, self.steps[self.at][1])
        if len(self.got) < len(want) and want.startswith(self.got):
            return True
        if self.got != want:
            sys.exit(f"answer {self.got.hex()}\nwanted {want.hex()}")
        self.got = b""
        self.at += 1
        return self.at < len(self.steps) and self.send()


def storm(n, addresses):
    loop = selectors.DefaultSelector()
    clients = [Client(i, addresses[i % len(addresses)]) for i in range(n)]
    served = died = 0
    for c in clients:
        if c.send():
            loop.register(c.s, selectors.EVENT_READ, c)
        else:
            c.s.close()
            died += 1
    while loop.get_map():
        ready = loop.select(20)
        if not ready:
            sys.exit(f"{len(loop.get_map())} clients wait for an answer for 20 s")
        for key, _ in ready:
            c = key.data
            if not c.receive():
                loop.unregister(c.s)
                c.s.close()
                served += c.at == len(c.steps)
                died += c.at < len(c.steps)
    print(f"served {served} died {died}")


def drive(clients):
    """Run clients at once: each is a generator that yields requests and is sent the answers."""
    loop = selectors.DefaultSelector()

    def step(s, c, reply):
        try:
            s.sendall(c.send(reply))
        except StopIteration:
            loop.unregister(s)
            s.close()

    for s, c in clients:
        loop.register(s, selectors.EVENT_READ, c)
        step(s, c, None)
    while loop.get_map():
        ready = loop.select(20)
        if not ready:
            sys.exit("nobody was served for 20 s")
        for key, _ in ready:
            step(key.fileobj, key.data, answer(key.fileobj))


GET = apdu("80710010", b"\0\4")


def add_up(n, addresses, leased):
    """Each of n clients reads a number, adds one, writes it: ten rounds, as one state machine per client."""
    refused = 0

    def client(number):
        nonlocal refused
        yield message(1, SELECT)
        for _ in range(ROUNDS // 2):
            while leased:
                reply = yield words("lease", "20000", "20000")
                if reply[1] == 0:
                    break
                assert b"too many clients wait" in reply[2], reply
                refused += 1
            reply = yield GET
            value = int.from_bytes(reply[2][:4], "big") + 1
            yield apdu("80720010", value.to_bytes(4, "big"))
            if leased:
                yield words("release")

    first = connect(addresses[0])
    assert ask(first, message(1, SELECT))[2] == bytes.fromhex("01319000")
    assert ask(first, apdu("80720010", b"\0\0\0\0"))[2] == b"\x90\x00"
    drive([(connect(addresses[i % len(addresses)]), client(i)) for i in range(n)])
    print(int.from_bytes(ask(first, GET)[2][:4], "big"), "refused" if refused else "")


def hashes(n, addresses, leased):
    """Each of n clients hashes in six commands; on a real chip there is one hash in progress for all."""
    right = 0

    def client(number):
        nonlocal right
        data = [f"client {number} part {i}".encode() for i in range(4)]
        yield message(1, SELECT)
        if leased:
            reply = yield words("lease", "20000", "20000")
            assert reply[1] == 0, reply
        yield apdu("80960001")
        for part in data:
            yield apdu("80960002", part)
        reply = yield apdu("80960003")
        right += reply[2] == hashlib.sha256(b"".join(data)).digest() + b"\x90\x00"
        if leased:
            yield words("release")

    drive([(connect(addresses[i % len(addresses)]), client(i)) for i in range(n)])
    print(right, "right")


def victim(step, address):
    """Goes as far as a step, then kills itself."""
    s = connect(address)
    if step != "asked":
        ask(s, message(1, SELECT))
    s.sendall(words("lease", "20000", "60000"))
    if step != "asked":
        assert answer(s)[1] == 0
    if step == "half":
        s.sendall(GET[:7])
    if step == "command":
        s.sendall(GET)
    if step == "between":
        ask(s, GET)
    if step == "released":
        s.sendall(words("release"))
    os.kill(os.getpid(), signal.SIGKILL)


def killed(step, address):
    holder = connect(address)
    if step == "asked":  # somebody has the lease, so that the victim dies waiting
        assert lease(holder, "1000", "60000")[0]
    pid = os.fork()
    if pid == 0:
        victim(step, address)
    if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
        sys.exit("it did not come as far as that step")
    if step == "asked":
        ask(holder, words("release"))
    granted, text = lease(connect(address), "10000", "1000")
    if not granted:
        sys.exit(text)


def expire(address):
    slow, other = connect(address), connect(address)
    ask(slow, message(1, SELECT))
    assert lease(slow, "1000", "100")[0]
    assert lease(other, "10000", "5000")[0]
    mty, _, text = ask(slow, GET)
    assert mty == 3 and b"begin the sequence again" in text, (mty, text)
    assert text[-2:] != b"\x90\x00"
    granted, text = lease(slow, "50", "50")
    assert not granted and "leased: client" in text, text
    _, nad, text = ask(slow, words("release"))
    assert nad == 2 and b"no lease" in text, text
    ask(other, words("release"))
    assert ask(slow, GET)[2][-2:] == b"\x90\x00"
    for bad in (["lease", "0"], ["lease", "60001"], ["lease", "x"], ["lease", "1", "2", "3"], ["release", "1"]):
        _, nad, text = ask(slow, words(*bad))
        assert nad == 2 and text.startswith(b"want: "), (bad, text)


def in_one_piece(s, request, want_head, n):
    """NXP's 2018 client reads header and payload with one receive (SPEC a71ch 6.3)."""
    s.sendall(request)
    got = s.recv(400)
    if len(got) != n or not got.startswith(bytes.fromhex(want_head)):
        sys.exit(f"{request.hex()} was answered by {got.hex()}")
    return got


def vendor_bytes(address):
    s = connect(address)
    atr = in_one_piece(s, bytes.fromhex("0000000400000100"), "0000001d", 33)
    assert atr[4:6] == bytes.fromhex("b804") and len(atr) <= 64
    in_one_piece(s, bytes.fromhex("0100000500a4040000"), "010000026a82", 6)  # 2022: empty SELECT first
    in_one_piece(s, bytes.fromhex("0100000b00a4040005613731636800"), "0100000401319000", 8)
    in_one_piece(s, bytes.fromhex("010000058091000300"), "010000080131f32210009000", 12)
    longest = bytes([0x80, 0x72, 0, 0, 255]) + bytes(255)
    in_one_piece(s, message(1, longest), "010000029000", 6)
    in_one_piece(s, message(1, bytes.fromhex("8071000002" "00ff00")), "01000101", 4 + 255 + 2)
    for mty in (2, 4, 5, 6, 0x40, 0x41, 0x50):  # unknown types: the same type, empty
        in_one_piece(s, message(mty), f"{mty:02x}000000", 4)
    in_one_piece(s, bytes.fromhex("30000000"), "30000000", 4)  # NXP's access manager: lock
    in_one_piece(s, bytes.fromhex("010000058091000300"), "010000080131f32210009000", 12)
    other = connect(address)
    assert not lease(other, "1", "1")[0]
    in_one_piece(s, bytes.fromhex("31000000"), "31000000", 4)
    in_one_piece(s, bytes.fromhex("31000000"), "31000001", 4)  # nothing locked: the result says so
    assert lease(other)[0]
    in_one_piece(s, bytes.fromhex("03000000"), "03000000", 4)  # serial builds close this way
    s.shutdown(socket.SHUT_WR)  # the client closes first, the server after it
    if s.recv(10):
        sys.exit("something came after the end")


def notify(command):
    """Run a service as systemd does, print what it tells it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind("\0birthmark-test-%d" % os.getpid())
        s.settimeout(20)
        child = subprocess.Popen(command, env=dict(os.environ, NOTIFY_SOCKET=s.getsockname().decode().replace("\0", "@")))
        try:
            print(s.recv(100).decode())
        finally:
            child.terminate()
            child.wait()


def main():
    what, *rest = sys.argv[1:]
    if what == "storm":
        storm(int(rest[0]), rest[1:])
    elif what in ("count", "torn"):
        add_up(int(rest[0]), rest[1:], what == "count")
    elif what in ("hash", "torn-hash"):
        hashes(int(rest[0]), rest[1:], what == "hash")
    elif what == "killed":
        killed(*rest)
    elif what == "bytes":
        vendor_bytes(*rest)
    elif what == "expire":
        expire(*rest)
    elif what == "notify":
        notify(rest)
    elif what == "steps":
        print(*STEPS)


main()

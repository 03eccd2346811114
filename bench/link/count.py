#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an operation of liba71ch costs on its link, counted exactly by a relay before a71chd, beside the table of SPEC a71ch 10.

usage: bench/link/count.py BUILD            prints the table
       bench/link/count.py BUILD --check    prints `ok - ` or `not ok - ` per row: ours is never higher

APDUs and their bytes are counted on the socket link, where nothing else counts (a certificate's lease is no APDU). Bus bytes
are counted on the I2C link through the shim, with one status poll per wait: further polls are the chip's time, not the
host's. What an operation costs is its run without a run that only connects; a channel's own cost likewise.
"""
import os
import socket
import subprocess
import sys
import tempfile
import threading

# SPEC 10.1, 10.2: APDUs, command bytes, response bytes, bytes on the bus, address bytes. None: the table has no figure.
# A certificate of 500 bytes: module info, table, header (1 at least), 3 pieces.
TABLE = {
    "connect": (1, 11, 4, None, None),
    "sign": (1, 38, 74, 127, 10),
    "ecdh": (1, 71, 34, 117, 8),
    "public": (1, 5, 67, None, None),
    "random": (1, 5, 34, None, None),
    "certificate": (6, None, None, None, None),
    "channel": (2, 35, 33, None, None),
    "channel-sign": (1, 62, 90, None, None),
    "channel-ecdh": (1, 94, 58, None, None),
}
BEFORE = {"channel-sign": "channel", "channel-ecdh": "channel", "connect": None}  # what to subtract; "connect" else
WAIT_FOR_CARD, APDU = 0, 1
STATUS, BUSY = 0x07, 0x17


class Relay:
    """Passes on what clients and a71chd say to each other, and counts it."""

    def __init__(self, folder):
        self.folder = folder
        self.clear()
        self.listen("count.sock", socket.SOCK_STREAM, self.serve_stream)
        self.listen("count.bus", socket.SOCK_SEQPACKET, self.serve_bus)

    def clear(self):
        self.commands, self.answers, self.bus, self.addresses = [], [], 0, 0

    def listen(self, name, kind, serve):
        s = socket.socket(socket.AF_UNIX, kind)
        s.bind(os.path.join(self.folder, name))
        s.listen(8)

        def loop():
            while True:
                client = s.accept()[0]
                chip = socket.socket(socket.AF_UNIX, kind)
                chip.connect(os.path.join(self.folder, name.replace("count", "chip")))
                with client, chip:
                    serve(client, chip)

        threading.Thread(target=loop, daemon=True).start()

    @staticmethod
    def message(s):
        def exactly(n):
            got = b""
            while len(got) < n:
                more = s.recv(n - len(got))
                if not more:
                    return None
                got += more
            return got

        head = exactly(4)
        return head and head + exactly(int.from_bytes(head[2:4], "big"))

    def serve_stream(self, client, chip):
        while request := self.message(client):
            chip.sendall(request)
            answer = self.message(chip)
            if request[0] == APDU:
                self.commands.append(len(request) - 4)
                self.answers.append(len(answer) - 4)
            client.sendall(answer)

    def serve_bus(self, client, chip):
        while request := client.recv(16384):
            chip.send(request)
            answer = chip.recv(16384)
            self.count_transaction(request, answer)
            client.send(answer)

    def count_transaction(self, request, answer):
        """Format of both: src/wire/i2cbus.h."""
        total = addresses = 0
        status = busy = False
        read = answer[2:]
        while request:
            flags, length = request[1], int.from_bytes(request[2:4], "big")
            addresses += 1
            if flags == 0:
                total += length
                status = request[4:5] == bytes([STATUS])
                request = request[4 + length :]
            else:
                n = int.from_bytes(read[:2], "big")
                busy = status and read[3:4] == bytes([BUSY])
                total += n
                read = read[2 + n :]
                request = request[4:]
        if not busy:
            self.bus += total
            self.addresses += addresses


def run(build, address, operation, bus=None):
    env = dict(os.environ)
    if bus:
        preload = [env["PRELOAD"]] if env.get("PRELOAD") else []
        env["LD_PRELOAD"] = " ".join(preload + [os.path.join(build, "lib", "a71ch-i2c-shim.so")])
        env["A71CH_I2C_BUS"] = "7:" + bus
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    subprocess.run([os.path.join(build, "obj/bench/bench_link"), address, operation], env=env, check=True)


def once(build, relay, operation):
    """(APDUs, command bytes, response bytes, bytes on the bus, address bytes) of one run over each link."""
    relay.clear()
    run(build, "unix:" + os.path.join(relay.folder, "count.sock"), operation)
    apdus = (len(relay.commands), sum(relay.commands), sum(relay.answers))
    relay.clear()
    run(build, "i2c:/dev/i2c-7", operation, os.path.join(relay.folder, "count.bus"))
    return apdus + (relay.bus, relay.addresses)


def measure(build, relay, operation):
    """The greatest of some runs: signatures have 70 to 72 bytes, and the table is of the longest."""
    rounds = 24 if "sign" in operation else 1
    return tuple(max(column) for column in zip(*(once(build, relay, operation) for _ in range(rounds))))


def costs(build, relay):
    raw = {operation: measure(build, relay, operation) for operation in TABLE}
    for operation in TABLE:
        before = BEFORE.get(operation, "connect")
        yield operation, tuple(a - b for a, b in zip(raw[operation], raw[before])) if before else raw[operation]


def main():
    build = os.path.abspath(sys.argv[1])
    check = "--check" in sys.argv[2:]
    higher = 0
    with tempfile.TemporaryDirectory() as folder:
        chip = subprocess.Popen([os.path.join(build, "bin/a71chd"), "--sim", folder + "/chip", "--listen", f"unix:{folder}/chip.sock",
                                 "--listen", f"i2c-unix:{folder}/chip.bus"], stdout=subprocess.PIPE, text=True)
        try:
            while chip.stdout.readline() not in ("ready\n", ""):
                pass
            relay = Relay(folder)
            run(build, f"unix:{folder}/chip.sock", "prepare")
            if not check:
                print(f"{'operation':14} {'APDUs':>11} {'command':>11} {'response':>11} {'bus':>11} {'addresses':>11}     ours (table)")
            for operation, ours in costs(build, relay):
                good = all(theirs is None or o <= theirs for o, theirs in zip(ours, TABLE[operation]))
                higher += not good
                pairs = [f"{o} ({'-' if theirs is None else theirs})" for o, theirs in zip(ours, TABLE[operation])]
                if check:
                    print(f"{'ok' if good else 'not ok'} - {operation}: {', '.join(pairs)} APDUs, command, response, bus, address bytes")
                else:
                    print(f"{operation:14} " + " ".join(f"{p:>11}" for p in pairs))
        finally:
            chip.terminate()
            chip.wait()
    return higher > 0


sys.exit(main())

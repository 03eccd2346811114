#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`birthmark watch` on a terminal: a pseudo terminal, and a small emulator that says what a person would see.

usage: watch.py BIRTHMARK DIR     DIR: a state folder without cloud, whose timeline this program writes; prints claims

The emulator knows the sequences that the program may write and fails on any other. Every wait is for a condition.
"""
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
import unicodedata

PROGRAM, DIR = sys.argv[1:]
SEQUENCE = re.compile(rb"\x1b(?:\[(\?)?([0-9]*)([A-Za-z])|\\)")
LIMIT_S = 60


def claim(what, holds, seen=""):
    print(f"{'ok' if holds else 'not ok'} - {what}", flush=True)
    if not holds:
        print("    " + str(seen).replace("\n", "\n    "), flush=True)


class Emulator:
    """Lines of text under the cursor sequences that `watch` uses."""

    def __init__(self, lines, columns):
        self.lines, self.columns = lines, columns
        self.alternate = self.hidden = False
        self.wrap = True
        self.colours = set()
        self.strange = []
        self.raw = b""
        self.clear()

    def clear(self):
        self.cells = [[" "] * self.columns for _ in range(self.lines)]
        self.y = self.x = 0

    def size(self, lines, columns):
        self.lines, self.columns = lines, columns
        self.clear()

    def mode(self, number, on):
        if number == 1049:
            self.alternate = on
        elif number == 25:
            self.hidden = not on
        elif number == 7:
            self.wrap = on
        else:
            self.strange.append(f"mode {number}")

    def control(self, private, number, letter):
        n = int(number or 0)
        if private:
            self.mode(n, letter == b"h")
        elif letter == b"H":
            self.y = self.x = 0
        elif letter == b"G":
            self.x = n - 1
        elif letter == b"K":
            self.cells[self.y][self.x:] = [" "] * (self.columns - self.x)
        elif letter == b"J" and n == 2:
            self.clear()
        elif letter == b"J":
            self.cells[self.y][self.x:] = [" "] * (self.columns - self.x)
            for y in range(self.y + 1, self.lines):
                self.cells[y] = [" "] * self.columns
        elif letter == b"m":
            self.colours.add(n)
        else:
            self.strange.append(f"{number}{letter}")

    def put(self, char):
        width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if unicodedata.category(char) in ("Cc", "Cf", "Mn"):
            self.strange.append(f"U+{ord(char):04x}")
        if self.alternate and (self.x + width > self.columns or self.y >= self.lines):
            self.strange.append(f"'{char}' outside the screen at {self.y},{self.x}")
        elif self.alternate:
            self.cells[self.y][self.x:self.x + width] = [char] + [""] * (width - 1)
        self.x += width

    def feed(self, data):
        self.raw += data
        while self.raw:
            m = SEQUENCE.match(self.raw)
            if m:
                if m[3]:
                    self.control(m[1], m[2], m[3])
                self.raw = self.raw[m.end():]
                continue
            if self.raw[0] == 0x1b and len(self.raw) < 10:
                return  # the rest is still to come
            n = 1 if self.raw[0] < 0x80 else 2 if self.raw[0] < 0xe0 else 3 if self.raw[0] < 0xf0 else 4
            if len(self.raw) < n:
                return
            try:
                char = self.raw[:n].decode()
            except UnicodeDecodeError:
                self.strange.append(repr(self.raw[:n]))
                char = "?"
            self.raw = self.raw[n:]
            if char == "\r":
                self.x = 0
            elif char == "\n":
                self.y += 1
            else:
                self.put(char)

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)


class Watch:
    def __init__(self, *options, lines=24, columns=100, env=None):
        self.screen = Emulator(lines, columns)
        self.master, self.slave = pty.openpty()
        self.resize(lines, columns)
        self.before = termios.tcgetattr(self.slave)
        environ = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})}
        environ.pop("NO_COLOR", None) if not env or "NO_COLOR" not in env else None
        # start_new_session and the slave as controlling terminal: keys become signals as at home
        self.child = subprocess.Popen([PROGRAM, "watch", "--dir", DIR, *options], stdin=self.slave, stdout=self.slave,
                                      stderr=self.slave, env=environ, start_new_session=True,
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, lines, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds=0.1):
        if select.select([self.master], [], [], seconds)[0]:
            with contextlib.suppress(OSError):
                self.screen.feed(os.read(self.master, 65536))

    def until(self, condition):
        end = time.monotonic() + LIMIT_S
        while not condition() and time.monotonic() < end:
            self.read()
        return condition()

    def shows(self, pattern):
        return self.until(lambda: re.search(pattern, self.screen.text(), re.M))

    def type(self, keys):
        os.write(self.master, keys)

    def restored(self):
        now = termios.tcgetattr(self.slave)
        return now == self.before and not self.screen.alternate and not self.screen.hidden and self.screen.wrap

    def end(self):
        """Wait for the end; the exit code, negative for a signal."""
        self.until(lambda: self.child.poll() is not None)
        if self.child.poll() is None:
            self.child.kill()
        code = self.child.wait()
        while select.select([self.master], [], [], 0)[0]:
            self.read(0)
        return code

    def claims(self, name, code, wanted):
        claim(f"{name}: the terminal is as it was", self.restored(),
              f"{termios.tcgetattr(self.slave)[3]:x} wanted {self.before[3]:x}, alternate {self.screen.alternate}")
        claim(f"{name}: the exit status tells", code == wanted, code)
        claim(f"{name}: nothing strange was written", not self.screen.strange, self.screen.strange)
        os.close(self.master)
        os.close(self.slave)


def happened(cause, client, cert=1, peer="127.0.0.1:4000", facts="n=1", seconds_ago=0):
    db = sqlite3.connect(os.path.join(DIR, "registry.db"), timeout=10)
    with db:
        # text as a device sent it, not checked for UTF-8
        db.execute("INSERT INTO timeline(time, cause, cert, client, peer, status, facts)"
                   " VALUES(?, ?, ?, CAST(? AS TEXT), ?, '', CAST(? AS TEXT))",
                   (int((time.time() - seconds_ago) * 1000), cause, bytes([cert]) * 32, client.encode() if isinstance(client, str) else client, peer,
                    facts.encode() if isinstance(facts, str) else facts))
    db.close()


def table_lives():
    happened("connect.admitted", "before", seconds_ago=3600)
    w = Watch()
    claim("the first line says that no cloud runs", w.shows(f"^no cloud is running on {DIR}"), w.screen.text())
    claim("single keys are read without echo", not termios.tcgetattr(w.slave)[3] & (termios.ICANON | termios.ECHO))
    happened("connect.admitted", "dev1", 0xa1)
    claim("a connect is a row, as it happens", w.shows(r"dev1 +a1a1a1a1a1 +127\.0\.0\.1 +connect\.admitted +1$"), w.screen.text())
    happened("connect.admitted", "dev1", 0xa1, "127.0.0.1:4001")
    claim("its like is counted in the same row", w.shows(r"dev1 .*connect\.admitted +2$"), w.screen.text())
    happened("connect.no_policy", "dev2", 0xb2)
    claim("a refusal comes with its cause and cure", w.shows(r"^cause +connect\.no_policy: Refused") and w.shows(r"^cure +`aws .*attach-policy"),
          w.screen.text())
    claim("what was before is not shown", "before" not in w.screen.text(), w.screen.text())
    claim("totals", w.shows(r"^connected 2 .*refused 1 "), w.screen.text())
    w.type(b"r")
    claim("r leaves the refusals", w.until(lambda: "dev1" not in w.screen.text()) and "dev2" in w.screen.text(), w.screen.text())
    w.type(b"r\x1b[B\x1b[B")
    claim("the arrows choose a row and tell of it", w.shows(r"^> .*dev1") and w.shows("^cause +connect.admitted"), w.screen.text())
    w.type(b"\x1bp")
    claim("p pauses", w.shows("^PAUSED"), w.screen.text())
    happened("connect.admitted", "dev3")
    w.type(b"p")
    claim("and goes on with what came meanwhile", w.shows("dev3"), w.screen.text())
    claim("refusals are red", 31 in w.screen.colours, w.screen.colours)
    w.resize(12, 60)
    w.screen.size(12, 60)
    claim("a smaller window is filled to its last line", w.until(lambda: re.search("^q quit", w.screen.text().split("\n")[-1])), w.screen.text())
    w.type(b"q")
    code = w.end()
    w.claims("q", code, 0)


def ends():
    for name, act, wanted in [("Ctrl-C", lambda w: w.type(b"\x03"), -signal.SIGINT), ("SIGTERM", lambda w: w.child.terminate(), -signal.SIGTERM),
                              ("SIGHUP", lambda w: w.child.send_signal(signal.SIGHUP), -signal.SIGHUP),
                              ("Ctrl-\\", lambda w: w.type(b"\x1c"), -signal.SIGQUIT), ("--for", None, 0)]:
        w = Watch(*([] if act else ["--for", "1"]))
        w.shows("^q quit")
        if act:
            act(w)
        code = w.end()
        w.claims(name, code, wanted)


def stops():
    w = Watch()
    w.shows("^q quit")
    w.type(b"\x1a")
    stopped = w.until(lambda: open(f"/proc/{w.child.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T")
    while select.select([w.master], [], [], 0)[0]:
        w.read(0)
    claim("Ctrl-Z stops it", stopped)
    claim("with the terminal as it was", w.restored())
    w.screen.clear()
    os.kill(w.child.pid, signal.SIGCONT)
    claim("and it is back after fg", w.shows("^q quit") and w.screen.alternate, w.screen.text())
    w.type(b"q")
    w.claims("after a stop", w.end(), 0)


def hostile():
    names = ["\x1b[2J\x1b]0;owned\x07", b"\xff\xfe\x9b31m", "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字", "\u202eabc\u200b", "e" + "\u0301" * 60,
             "\r\n\x00\x08\x7f", "%s%n\\", "x" * 128]
    w = Watch("--since", "1m", columns=80)
    for name in names:
        happened("connect.ca_unknown", name, facts=b"issuer=CN=" + (name if isinstance(name, bytes) else name.encode()) + b" ")
    claim("hostile names are shown", w.shows(r"\\x1b\[2J") and w.shows(r"\\xff\\xfe") and w.shows("漢字") and w.shows("xxx…"), w.screen.text())
    w.type(b"q")
    w.claims("hostile names", w.end(), 0)
    w = Watch("--since", "1m", env={"LC_ALL": "C", "NO_COLOR": "1"})
    claim("without UTF-8 they are bytes", w.shows(r"\\xe6\\xbc\\xa2"), w.screen.text())
    w.type(b"q")
    code = w.end()
    claim("NO_COLOR: no colours", not w.screen.colours & set(range(30, 50)) and 31 not in w.screen.colours, w.screen.colours)
    w.claims("no UTF-8", code, 0)


def terminal_that_reads_nothing():
    w = Watch("--since", "1d", lines=60, columns=200)
    before = termios.tcgetattr(w.slave)
    w.until(lambda: w.screen.alternate)
    for _ in range(50):  # redrawn over and over: the terminal's buffer is full soon
        w.type(b"p")
        time.sleep(0.01)
    w.child.terminate()
    end = time.monotonic() + LIMIT_S
    while w.child.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    claim("a terminal that takes nothing does not keep it from ending", w.child.poll() == -signal.SIGTERM, w.child.poll())
    claim("and its modes are put back", termios.tcgetattr(w.slave)[3] == w.before[3], before)
    w.child.kill()
    w.child.wait()
    os.close(w.master)
    os.close(w.slave)


def no_table():
    w = Watch("--since", "1d", "--count", "2", env={"TERM": "dumb"})
    code = w.end()
    claim("TERM=dumb: lines, no sequences", code == 0 and not w.screen.alternate and not w.screen.colours and not w.screen.strange, w.screen.strange)


for scene in (table_lives, ends, stops, hostile, terminal_that_reads_nothing, no_table):
    scene()

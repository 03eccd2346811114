# SPDX-License-Identifier: Apache-2.0
"""Part of letters.sh. usage: letters.py add DIR COUNT
       letters.py kill DIR SEED BIRTHMARK ROUNDS [PID...]: kills `dead-letters resend --all` (or the PIDs, while it runs) in each round,
after some letters and at a random moment of the next. Each letter that was said to be sent is gone from the list.
       letters.py once DIR COUNT [RUNS]: each letter is in the list, waits for its function, or was run by it: none of them is lost;
with RUNS all have run, in not more runs"""
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time

what, folder = sys.argv[1:3]
log = f"{folder}/functions/log/sink.log"


def rows(sql):
    with sqlite3.connect(f"file:{folder}/registry.db?mode=ro", uri=True) as db:
        return db.execute(sql).fetchall()


def runs():
    try:
        with open(log, encoding="utf-8", errors="replace") as f:
            return [int(n) for n in re.findall(r"seen (\d+)$", f.read(), re.M)]
    except FileNotFoundError:
        return []


def add(count):
    with sqlite3.connect(f"{folder}/registry.db") as db:
        for n in range(count):
            db.execute("INSERT INTO dead_letters(created, kind, target, rule, request, attempts, cause, detail, payload)"
                       " VALUES(1, 'function', 'sink', '', 'r', 3, 'why', x'', ?)", (json.dumps({"n": n}).encode(),))


def kill(seed, birthmark, rounds, pids):
    rng = random.Random(seed)
    cut = 0
    for _ in range(rounds):
        ours, its = socket.socketpair()
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # it cannot be more than some lines ahead of the reader
        with subprocess.Popen([birthmark, "dead-letters", "resend", "--all", "--dir", folder, "--json"], stdout=its,
                              stderr=subprocess.DEVNULL) as sender, ours, ours.makefile("rb") as lines:
            its.close()
            said = [lines.readline() for _ in range(rng.randrange(1, 8))]
            time.sleep(rng.random() * 0.002)
            for pid in pids or [sender.pid]:
                os.kill(pid, signal.SIGKILL)
            said += lines.readlines()
            cut += sender.wait() != 0
        sent = {json.loads(line)["id"] for line in said if line.endswith(b"\n")}
        there = {row for (row,) in rows("SELECT row FROM dead_letters")}
        if sent & there:
            sys.exit(f"said to be sent, and still there: {sorted(sent & there)}")
    print(f"{cut} of {rounds} cut, {len(rows('SELECT 1 FROM dead_letters'))} letters left")
    if cut == 0:
        sys.exit("nothing was cut; the test shows nothing")


def once():
    both = rows("SELECT 'letter', payload FROM dead_letters UNION ALL SELECT 'waits', payload FROM invocations")
    here = [json.loads(payload)["n"] for _, payload in both]
    ran = runs()  # after that, for what has run meanwhile waits no longer
    lost = set(range(int(sys.argv[3]))) - set(here) - set(ran)
    twice = sorted({n for n in here if here.count(n) > 1})
    print(f"{[kind for kind, _ in both].count('letter')} letters of {len(both)} that are stored, {len(ran)} runs of {len(set(ran))}")
    if lost or twice:
        sys.exit(f"lost: {sorted(lost)}; there twice: {twice}")
    if len(sys.argv) > 4 and (here or len(ran) > int(sys.argv[4])):
        sys.exit(f"not all have run, or more than {sys.argv[4]} times")


if what == "add":
    add(int(sys.argv[3]))
elif what == "kill":
    kill(int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), [int(p) for p in sys.argv[6:]])
else:
    once()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# usage: idle.py COUNT COMMAND...   start the command until it prints `ready`, COUNT times: milliseconds, then the memory of it and all
# processes below it (PSS: what is shared counts in parts) after they came to rest; end it by SIGTERM and wait. One line for each start.
import os
import signal
import subprocess
import sys
import time


def family(pid):
    kids = open(f"/proc/{pid}/task/{pid}/children").read().split()
    return [pid] + [p for kid in kids for p in family(int(kid))]


def cpu_s(pids):
    ticks = 0
    for pid in pids:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def pss_kb(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


for _ in range(int(sys.argv[1])):
    begin = time.monotonic()
    cloud = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in cloud.stdout:
        if line == "ready\n":
            break
    else:
        sys.exit("it ended before it was ready")
    ready_ms = (time.monotonic() - begin) * 1000
    before = -1.0
    for _ in range(50):  # at rest: no tick in 0.2 s, or 10 s have passed
        now = cpu_s(family(cloud.pid))
        if now == before:
            break
        before = now
        time.sleep(0.2)
    each = [(open(f"/proc/{p}/comm").read().strip(), pss_kb(p)) for p in family(cloud.pid)]
    print(f"ready_ms={ready_ms:.0f} pss_mb={sum(kb for _, kb in each) / 1024:.1f}",
          "by_process=" + "+".join(f"{name}:{kb / 1024:.1f}" for name, kb in each), flush=True)
    cloud.send_signal(signal.SIGTERM)
    for line in cloud.stdout:
        pass
    cloud.wait()

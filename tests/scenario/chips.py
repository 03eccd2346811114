#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many chips of one a71chd: the same commands to each of some sockets in a folder (JRCP version 1, no code of this project).

usage: chips.py [--keep] FOLDER FIRST COUNT HEX...
Connects to FOLDER/FIRST ..., selects the applet, sends the commands and prints the last answers that begin differently
as `N answers, N different, N ok`; with --keep all connections stay open until the end.
"""
import socket
import sys


def exchange(s, command):
    s.sendall(b"\x01\x00" + len(command).to_bytes(2, "big") + command)
    return s.recv(1000)[4:]


def main():
    keep = sys.argv[1] == "--keep"
    folder, first, count, *commands = sys.argv[1 + keep:]
    answers, kept = [], []
    for i in range(int(first), int(first) + int(count)):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(f"{folder}/{i:04d}")
        for c in ["00a4040005613731636800", *commands]:
            answer = exchange(s, bytes.fromhex(c))
        answers.append(answer)
        if keep:
            kept.append(s)
        else:
            s.close()
    print(f"{len(answers)} answers, {len(set(answers))} different, {sum(a[-2:] == bytes.fromhex('9000') for a in answers)} ok")


main()

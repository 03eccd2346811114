#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run a command as a shell runs what a person types: in a process group of its own, in front, on a terminal.

usage: terminal.py [--type TEXT] COMMAND ...     \\n in TEXT is the return key; stdout and stderr come out together

With --script, the command's parent is a shell script on that terminal instead, as when a person starts a script.
"""
import os
import pty
import sys


def main():
    words = sys.argv[1:]
    text = ""
    script = False
    while words and words[0].startswith("--"):
        if words[0] == "--type":
            text = words[1].replace("\\n", "\n")
            words = words[2:]
        else:
            script = True
            words = words[1:]
    if script:
        words = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *words]
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(words[0], words)
    os.write(fd, text.encode())
    try:
        while data := os.read(fd, 4096):
            sys.stdout.buffer.write(data.replace(b"\r\n", b"\n"))
    except OSError:
        pass  # the terminal is gone with its last user
    sys.stdout.flush()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Options of our programs: what the source takes, what --help lists, what the man page explains and what completion offers are the same.

usage: help.py BIN MAN SOURCE COMPLETIONS     prints `ok - claim` or `not ok - claim` with what is missing where

a71chConfig's commands have a test of their own (tool_help.sh).
"""
import os
import re
import subprocess
import sys

BIN, MAN, SOURCE, COMPLETIONS = sys.argv[1:]
# taken and not told, each with its reason
SECRET = {"birthmark device": {"seed"}, "birthmark doctor": {"seed"}}  # of the waits, for tests
# where the options of a sub-command are, if not in cmd_NAME.c
TABLE = {"device": "device_options.c", "doctor": "device_options.c", "dead-letters": "cmd_letters.c"}
bad = 0


def claim(text, missing):
    global bad
    bad += bool(missing)
    print(f"{'not ok' if missing else 'ok'} - {text}")
    for m in missing:
        print(f"    {m}")


def run(*args):
    r = subprocess.run(args, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return r.stdout if r.returncode == 0 else ""


def source(command):
    """Long options of the option tables in a file."""
    path = "a71chd/main.c" if command == "a71chd" else "birthmark/" + TABLE.get(command, f"cmd_{command}.c")
    text = open(os.path.join(SOURCE, path), encoding="utf-8").read()
    found = set(re.findall(r'\{\s*"([a-z][a-z0-9-]*)",\s*(?:(?:no|required|optional)_argument|TEXT|FLAG|NUMBER)\b', text))
    return found | ({"dir", "help", "version"} if "CMD_COMMON_OPTIONS" in text else set())


def options(text):
    return set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", text))


def manual(command):
    """The part of the man pages that is about a program or a sub-command, as a person reads it."""
    own = command if command == "a71chd" else f"birthmark-{'device' if command == 'doctor' else command}"
    page = os.path.join(MAN, own + ".1")
    if os.path.exists(page):
        return run("man", "-l", "-E", "ascii", page)
    text = run("man", "-l", "-E", "ascii", os.path.join(MAN, "birthmark.1"))
    parts = re.split(r"(?m)^(?=\S)", text)
    return "".join(p for p in parts if re.match(rf"OPTIONS OF .*birthmark {command}\b", p))


def tags(text, indent):
    """Options that head an entry of a man page or a line of help."""
    heads = "\n".join(line for line in text.splitlines() if re.match(rf" {{{indent}}}-", line))
    return options(re.sub(r"  .*", "", heads.replace("\n", "\n\n")) if indent == 2 else heads)


def offered(program, words):
    script = os.path.join(COMPLETIONS, program)
    r = subprocess.run(["bash", "-c", '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _$1; printf "%s\\n" "${COMPREPLY[@]}"',
                        "bash", script, program, *words], text=True, stdout=subprocess.PIPE, env=dict(os.environ, PATH=BIN + ":" + os.environ["PATH"]))
    return set(re.findall(r"(?m)^--([a-z][a-z0-9-]*)$", r.stdout))


def main():
    os.environ.update(MANWIDTH="200", LC_ALL="C.UTF-8", PAGER="cat", MANPAGER="cat")
    listed = re.findall(r"(?m)^  ([a-z-]+) ", run(f"{BIN}/birthmark", "--help"))
    commands = [("birthmark " + c, c) for c in listed if c != "version"] + [("a71chd", "a71chd")]
    claim("birthmark lists its commands", [] if len(commands) > 12 else [f"{len(commands)} only"])
    synopsis = run("man", "-l", "-E", "ascii", os.path.join(MAN, "birthmark.1"))
    claim("birthmark(1) names each of them", [c for c in listed if not re.search(rf"birthmark[ -]{c}\b", synopsis)])
    for name, command in commands:
        text = run(*name.replace("birthmark", f"{BIN}/birthmark", 1).replace("a71chd", f"{BIN}/a71chd", 1).split(), "--help")
        told, taken, explained = options(text), source(command) - SECRET.get(name, set()), options(manual(command))
        general = set() if command in ("a71chd",) else {"help", "version"}  # told once, in birthmark(1)
        claim(f"{name}: --help lists every option that it takes", sorted(taken - told))
        claim(f"{name}: the man page explains them", sorted(taken - explained - general))
        claim(f"{name}: and both know no other", sorted((tags(text, 2) | tags(manual(command), 7)) - taken))
        words = [command, "--"] if command != "a71chd" else ["--"]
        claim(f"{name}: completion offers them", sorted(taken - offered(name.split()[0], words)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""The aws CLI with its modules and models loaded once: each command runs in a fork, which saves most of its start.

usage: aws_warm.py SOCKET      (path/aws is its client)

It is the machine's own CLI, unchanged; scenarios that are about the CLI itself (cli_output.sh) start it the ordinary way."""
import array
import functools
import os
import selectors
import signal
import socket
import sys

before = dict(os.environ)
import awscli.clidriver  # noqa: E402: it adds to the environment
import botocore.loaders  # noqa: E402

ADDED = {k: v for k, v in os.environ.items() if before.get(k) != v}


def received(connection):
    """The standard files, and the fields of the request."""
    length, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(3 * 4))
    files = array.array("i")
    for level, kind, data in ancillary:
        files.frombytes(data)
    left, data = int.from_bytes(length, "big"), b""
    while len(data) < left:
        more = connection.recv(left - len(data))
        if not more:
            raise EOFError
        data += more
    return files, data.decode("utf-8", "surrogateescape").split("\0")


def run(files, fields):
    """In the fork: be that command. The exit code."""
    for n, fd in enumerate(files):
        os.dup2(fd, n)
        os.close(fd)
    count = int(fields[1])
    os.chdir(fields[0])
    os.environ.clear()
    os.environ.update([f.split("=", 1) for f in fields[2 + count:]] + list(ADDED.items()))
    sys.argv = ["aws", *fields[2:2 + count]]
    try:
        code = awscli.clidriver.main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 1


def load_models():
    """So that a fork finds them read."""
    reader = botocore.loaders.JSONFileLoader
    reader.load_file = staticmethod(functools.cache(reader().load_file))
    loader = awscli.clidriver.create_clidriver().session.get_component("data_loader")
    for service in "iot", "iot-data", "lambda":
        for kind in "service-2", "paginators-1", "endpoint-rule-set-1":
            loader.load_service_model(service, kind)


def main():
    load_models()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(sys.argv[1])
    listener.listen(64)
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    ready.register(woken, selectors.EVENT_READ)
    running = {}  # process -> the connection that wants its exit code

    def take(connection):
        try:
            files, fields = received(connection)
        except EOFError:
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(run(files, fields) & 255)
        for fd in files:
            os.close(fd)
        running[pid] = connection
        ready.register(connection, selectors.EVENT_READ)

    def reap():
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            connection = running.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            try:
                connection.sendall(bytes([code if code >= 0 else 128 - code]))
            except OSError:
                pass
            ready.unregister(connection)
            connection.close()

    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                take(listener.accept()[0])
            elif key.fileobj is woken:
                woken.recv(4096)
                reap()
            else:  # its client was killed, and so is the command
                for pid, connection in running.items():
                    if connection is key.fileobj:
                        os.kill(pid, signal.SIGKILL)


main()

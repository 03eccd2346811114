#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The distribution's aws CLI without its half second of start: loaded once, each command a fork of it.

usage: warm_aws.py SOCKET serve      loads the CLI, prints `ready`, answers until it is ended
       warm_aws.py SOCKET ARGS...    runs `aws ARGS...`, exits as it does

The fork has the caller's arguments, environment, folder and standard streams, and ends when the caller does. Scenarios whose
subject is the CLI itself (cli_output, an12131) start it the ordinary way.
"""
import os
import socket
import sys


def read_all(conn, n):
    data = b""
    while len(data) < n:
        piece = conn.recv(n - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def call(path, args):
    conn = socket.socket(socket.AF_UNIX)
    conn.connect(path)
    fields = [os.getcwd(), *args, "", *(f"{k}={v}" for k, v in os.environ.items())]
    body = b"\0".join(os.fsencode(f) for f in fields)
    socket.send_fds(conn, [len(body).to_bytes(4, "little")], [0, 1, 2])
    conn.sendall(body)
    code = conn.recv(1)
    if not code:
        sys.exit("the warm aws CLI ended without an exit code")
    return code[0]


def run(conn, make_driver, driver, entry, config):
    """In the child: the exit code of one command."""
    import threading
    head, fds, _, _ = socket.recv_fds(conn, 4, 3)
    fields = [os.fsdecode(f) for f in read_all(conn, int.from_bytes(head, "little")).split(b"\0")]
    end = len(fields) - 1 - fields[::-1].index("")
    for i, fd in enumerate(fds):
        os.dup2(fd, i)
        os.close(fd)
    os.chdir(fields[0])
    own = os.environ["AWS_DATA_PATH"]  # which the CLI sets when it is loaded
    os.environ.clear()
    os.environ.update({"AWS_DATA_PATH": own})
    os.environ.update(f.split("=", 1) for f in fields[end + 1:])
    threading.Thread(target=lambda: (conn.recv(1), os._exit(143)), daemon=True).start()
    if config() != driver[0]:
        driver = (None, make_driver())
    sys.argv = ["aws", *fields[1:end]]
    try:
        code = entry(driver[1]).main(sys.argv[1:])
    except SystemExit as e:
        code = e.code
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def serve(path):
    import signal
    import traceback

    import awscli.clidriver as cli

    def config():
        return [os.environ.get(k) for k in ("AWS_CONFIG_FILE", "AWS_PROFILE", "HOME")]

    driver = (config(), cli.create_clidriver())
    loader = driver[1].session.get_component("data_loader")
    for service in ("iot", "iot-data", "lambda"):
        for kind in ("service-2", "paginators-1", "endpoint-rule-set-1"):
            loader.load_service_model(service, kind)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        conn, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            code = 255
            try:
                code = run(conn, cli.create_clidriver, driver, cli.AWSCLIEntryPoint, config)
            except EOFError:
                pass
            except BaseException:
                traceback.print_exc()
            conn.send(bytes([code & 255]))
            os._exit(0)
        conn.close()


if __name__ == "__main__":
    if sys.argv[2:] == ["serve"]:
        serve(sys.argv[1])
    sys.exit(call(sys.argv[1], sys.argv[2:]))

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Part of bench/revoke/run.sh. usage: revoke.py URL PORT CA FOLDER CONNECTIONS CERTS"""
import json
import resource
import select
import socket
import ssl
import subprocess
import sys
import time

import boto3
import botocore.config

url, port, ca, folder = sys.argv[1:5]
connections, certs = int(sys.argv[5]), int(sys.argv[6])
iot = boto3.client("iot", endpoint_url=url, config=botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}))
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{folder}/key.pem",
                "-out", f"{folder}/csr.pem", "-subj", "/CN=x"], check=True, capture_output=True)
with open(f"{folder}/csr.pem", encoding="ascii") as f:
    csr = f.read()
iot.create_policy(policyName="open", policyDocument=json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}}))


def new_certificate():
    """Its id and a TLS context that shows it. Each use of the CSR gives another certificate."""
    made = iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=True)
    iot.attach_policy(policyName="open", target=made["certificateArn"])
    with open(f"{folder}/cert.pem", "w", encoding="ascii") as f:
        f.write(made["certificatePem"])
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    return made["certificateId"], context


def connect(context, client):
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname="localhost")
    name = client.encode()
    body = b"\0\4MQTT\4\2\4\xb0" + len(name).to_bytes(2, "big") + name
    s.sendall(bytes([0x10, len(body)]) + body)
    if s.recv(4) != b"\x20\2\0\0":
        sys.exit(f"bench/revoke: {client} was not admitted")
    s.setblocking(False)
    return s


def ended(s):
    try:
        return s.recv(1) == b""
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True


def ends(sockets):
    """When the first and the last of them were closed."""
    poll = select.poll()
    by_fd = {s.fileno(): s for s in sockets}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    first = None
    while by_fd:
        ready = poll.poll(20000)
        if not ready:
            sys.exit("bench/revoke: a connection is open after 20 s")
        for fd, _ in ready:
            if ended(by_fd[fd]):
                first = first or time.monotonic()
                poll.unregister(fd)
                del by_fd[fd]
    return first, time.monotonic()


def deactivate(certificate, sockets):
    called = time.monotonic()
    iot.update_certificate(certificateId=certificate, newStatus="INACTIVE")
    answered = time.monotonic()
    first, last = ends(sockets)
    return called, answered, first, last


def line(what, values):
    values = sorted(1000 * v for v in values)
    print(f"{what}: p50={values[len(values) // 2]:.2f} ms p99={values[(99 * len(values) - 1) // 100]:.2f} ms max={values[-1]:.2f} ms")


mine = [new_certificate() for _ in range(certs)]
live = [(certificate, connect(context, f"own-{n}")) for n, (certificate, context) in enumerate(mine)]
shared, shared_context = new_certificate()
others = [connect(shared_context, f"shared-{n}") for n in range(connections - certs)]
print(f"{len(live) + len(others)} connections of {certs + 1} certificates", flush=True)
times = [deactivate(certificate, [s]) for certificate, s in live]
line("one connection, from the call to its end", [last - called for called, _, _, last in times])
line("one connection, from the answer to its end", [max(0.0, last - answered) for _, answered, _, last in times])
called, answered, first, last = deactivate(shared, others)
print(f"{len(others)} connections of one certificate, from the answer: first {1000 * max(0.0, first - answered):.2f} ms, "
      f"last {1000 * (last - answered):.2f} ms; from the call: last {1000 * (last - called):.2f} ms")

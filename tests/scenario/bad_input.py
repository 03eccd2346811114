# SPDX-License-Identifier: Apache-2.0
"""Part of badinput.sh. usage: bad_input.py URL CONTROL_PID
Prints `ok - claim` or `not ok - claim: why` per line."""
import json
import socket
import sys
import time

import botocore.auth
import botocore.awsrequest
import botocore.credentials

URL, PID = sys.argv[1], int(sys.argv[2])
HOST, PORT = "127.0.0.1", int(URL.rsplit(":", 1)[1])
CREDENTIALS = botocore.credentials.Credentials("test", "test")


def claim(text, holds, seen=""):
    print(f"ok - {text}" if holds else f"not ok - {text}: {str(seen)[:600]}", flush=True)


def memory_kb():
    with open(f"/proc/{PID}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("VmRSS:")).split()[1])


def signed(method, path, body=b"", service="iot", content_length=None):
    """The bytes of one signed request."""
    request = botocore.awsrequest.AWSRequest(method, URL + path, data=body, headers={"Host": f"{HOST}:{PORT}"})
    botocore.auth.SigV4Auth(CREDENTIALS, service, "us-east-1").add_auth(request)
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in request.headers.items())
    return head.encode() + f"Content-Length: {len(body) if content_length is None else content_length}\r\n\r\n".encode() + body


def connect(timeout=60):
    s = socket.create_connection((HOST, PORT), timeout=timeout)
    return s


def answer(s):
    """Status and body, or (0, b"") when the connection is closed without one."""
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            more = s.recv(65536)
            if not more:
                return 0, data
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        length = next((int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            more = s.recv(65536)
            if not more:
                break
            body += more
        return int(head.split()[1]), body
    except OSError:
        return 0, data


def ask(data):
    with connect() as s:
        try:
            s.sendall(data)
        except OSError:
            pass
        return answer(s)


def refused(text, data, statuses=(400,), name=None):
    status, body = ask(data)
    claim(text, status in statuses and (name is None or name.encode() in body), (status, body))


def alive():
    status, body = ask(signed("GET", "/registrationcode"))
    return status == 200 and b"registrationCode" in body


# ---- JSON that is none, and worse ----
at_start = memory_kb()
POLICY = "/policies/p"
for text, body in (
        ("a body that is no JSON", b"{"), ("a body of zeros", b"\0" * 100), ("an array", b"[]"), ("a number", b"1"),
        ("invalid UTF-8", b'{"policyDocument":"\xff\xfe"}'), ("an escape that is half a character", b'{"policyDocument":"\\ud800"}'),
        ("a zero in a string", b'{"policyDocument":"a\\u0000b"}'),
        ("a million brackets", b'{"policyDocument":' + b"[" * 1000000), ("a million objects", b'{"a":' * 200000),
        ("a number of a thousand digits", b'{"policyDocument":' + b"9" * 1000 + b"}"),
        ("the same member twice", b'{"policyDocument":"a","policyDocument":"b"}'),
        ("a member of another type", b'{"policyDocument":{"a":1}}'), ("null for what is required", b'{"policyDocument":null}'),
        ("data behind the object", b'{"policyDocument":"a"} x')):
    refused(f"{text} is refused", signed("POST", POLICY, body))
refused("and the message says so", signed("POST", POLICY, b'{"policyDocument":"a","policyDocument":"b"}'), (400,), "duplicate")
refused("a policy document that is deep is refused", signed("POST", POLICY, json.dumps(
    {"policyDocument": "[" * 20000}).encode()), (400,), "olicy")
refused("a policy name with a zero byte is refused", signed("GET", "/policies/a%00b"), (400,))
refused("a damaged escape in the path is refused", signed("GET", "/policies/a%zz"), (400,))
refused("a path of 20,000 characters is refused", signed("GET", "/policies/" + "a" * 20000), (400, 414, 431, 0))
refused("a topic that is no UTF-8 is refused", signed("POST", "/topics/%ff", b"x", "iotdata"), (400,))

# ---- too much ----
big = 100 * 1024 * 1024
head = signed("POST", "/certificates", b"", content_length=big)
sent = 0
peak = 0
with connect() as s:
    try:
        s.sendall(head)
        block = b"x" * 262144
        while sent < big:
            s.sendall(block)
            sent += len(block)
            peak = max(peak, memory_kb())
    except OSError:
        pass
    status, body = answer(s)
claim("a body of 100 MB is cut off or refused", status in (0, 413, 400), (status, body))
claim(f"and costs at most 90 MB while it comes ({(peak - at_start) // 1024} MB)", peak - at_start < 90 * 1024, peak - at_start)
refused("a Content-Length of 2^63 is refused", signed("POST", POLICY, b"", content_length=1 << 63), (400, 413, 0))
refused("5 MB of JSON are refused", signed("POST", POLICY, b'{"policyDocument":"' + b"a" * (5 << 20) + b'"}'), (400, 413))
refused("200 query parameters are refused", signed("GET", "/policies?" + "&".join(f"a{i}=1" for i in range(200))), (400, 403))
claim("it is served as before", alive())

# ---- slow, cut, idle ----
request = signed("POST", "/policies/cut", json.dumps({"policyDocument": json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}})}).encode())
odd = []
for cut in range(len(request)):
    with connect() as s:
        s.sendall(request[:cut])
        s.shutdown(socket.SHUT_WR)
        if cut % 16 == 0:  # the answer of every sixteenth is looked at, for a moment; the others are left alone at once
            s.settimeout(0.05)
            status, body = answer(s)
            if status not in (0, 400, 403, 408):
                odd.append((cut, status, body))
claim("a request cut at any byte does nothing", not odd and ask(signed("GET", "/policies/cut"))[0] == 404, odd)
status, body = ask(request)
claim("the same request whole does", status == 200, (status, body))
with connect() as s:
    for i in range(0, len(request), 7):  # a slow writer
        s.sendall(request[i:i + 7])
        time.sleep(0.001)
    claim("a request in pieces of seven bytes is understood", answer(s)[0] == 409)
with connect() as s:
    s.sendall(signed("GET", "/registrationcode") + signed("GET", "/registrationcode"))
    first = answer(s)
    claim("two requests in one packet are not mixed up", first[0] == 200, first)

before = memory_kb()
idle = []
try:
    for _ in range(1000):
        idle.append(connect())
    half = signed("GET", "/registrationcode")[:40]
    for s in idle[:500]:
        s.sendall(half)
    held = memory_kb() - before
    claim(f"1,000 idle connections, half with half a request, are held with {held} KB", held < 64 * 1024)
    began = time.monotonic()
    claim("and others are served beside them", alive() and time.monotonic() - began < 60)
finally:
    for s in idle:
        s.close()
for junk in (b"\0" * 1000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00" * 50, b"GET / HTTP/9.9\r\n\r\n", b"A" * 100000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n"):
    ask(junk)
claim("after bytes that are no HTTP it is served", alive())
claim(f"memory came back ({memory_kb() - at_start} KB above the start)", memory_kb() - at_start < 120 * 1024)

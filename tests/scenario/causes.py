#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Provoke the causes of the one table (src/timeline/cause.c) from outside, end to end, and find each where a person looks.

usage: causes.py BIRTHMARK DIR API PORT CA MASTER WORK     claims `provoked: CAUSE` on standard output

What the cloud says is looked for in `birthmark explain --json`, what a device says in `birthmark device`. Others are provoked
in other scenarios and unit tests: docs/causes.in has them all.
"""
import datetime
import io
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import zipfile

import boto3
import botocore.config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

PROGRAM, DIR, API, PORT, CA, MASTER, WORK = sys.argv[1:]
ARN = "arn:aws:iot:us-east-1:000000000000:"
OPTIONS = {"endpoint_url": API, "config": botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"})}
iot = boto3.client("iot", **OPTIONS)
functions = boto3.client("lambda", **OPTIONS)
NOW = datetime.datetime.utcnow()
DAY = datetime.timedelta(days=1)


def claim(cause, holds, seen=""):
    print(f"{'ok' if holds else 'not ok'} - provoked: {cause}", flush=True)
    if not holds:
        print(f"    {seen}", flush=True)


# ---- certificates ----

def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(*certificates):
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def issue(subject, public, issuer, key, after=-DAY, until=DAY):
    return (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(NOW + after).not_valid_after(NOW + until))\
        .sign(key, hashes.SHA256())


class Authority:
    def __init__(self, subject):
        self.subject, self.key = subject, ec.generate_private_key(ec.SECP256R1())
        self.certificate = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(subject))
                            .public_key(self.key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(NOW - DAY)
                            .not_valid_after(NOW + DAY).add_extension(x509.BasicConstraints(True, None), True)).sign(self.key, hashes.SHA256())
        self.id = self.certificate.fingerprint(hashes.SHA256()).hex()

    def register(self, **options):
        arguments = {"caCertificate": pem(self.certificate).decode(), "setAsActive": True, "allowAutoRegistration": True}
        if options.get("certificateMode") != "SNI_ONLY":
            code = iot.get_registration_code()["registrationCode"]
            arguments["verificationCertificate"] = pem(issue(code, ec.generate_private_key(ec.SECP256R1()).public_key(), self.subject,
                                                             self.key)).decode()
        iot.register_ca_certificate(**{**arguments, **options})
        return self


class Device:
    def __init__(self, subject, authority, key=None, **dates):
        self.name, self.key = subject, key or ec.generate_private_key(ec.SECP256R1())
        self.certificate = issue(subject, self.key.public_key(), authority.subject, authority.key, **dates)
        self.id = self.certificate.fingerprint(hashes.SHA256()).hex()
        self.files = os.path.join(WORK, subject + ".pem"), os.path.join(WORK, subject + ".key")
        with open(self.files[0], "wb") as f:
            f.write(pem(self.certificate, authority.certificate))
        with open(self.files[1], "wb") as f:
            f.write(self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

    def allow(self, policy):
        iot.attach_policy(policyName=policy, target=f"{ARN}cert/{self.id}")
        return self

    def status(self, status):
        iot.update_certificate(certificateId=self.id, newStatus=status)
        return self


# ---- MQTT, by hand where a real client would not do it ----

def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return len(s).to_bytes(2, "big") + s


def packet(first, body):
    size, length = len(body), b""
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (128 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def tls(device=None, sni="localhost", port=None):
    context = ssl.create_default_context(cafile=CA)
    context.check_hostname = False
    if device:
        context.load_cert_chain(*device.files)
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port or PORT))), server_hostname=sni)
    s.settimeout(30)
    return s


def connect(device, client=None, sni="localhost", also=b""):
    """A session at level 4, or None when the endpoint ended it; `also` is sent behind the CONNECT."""
    s = tls(device, sni)
    s.sendall(packet(0x10, text("MQTT") + bytes([4, 2, 0, 60]) + text(client or device.name)) + also)
    try:
        return s if s.recv(4) == b"\x20\x02\0\0" else None
    except OSError:
        return None


def ends(session):
    try:
        while session is not None and session.recv(4096):
            pass
    except OSError:
        pass


def send(device, client, *packets):
    session = connect(device, client)
    session.sendall(b"".join(packets))
    ends(session)


# ---- what explain says ----

def explained(*about):
    out = subprocess.run([PROGRAM, "explain", "--dir", DIR, "--json", "--limit", "10000", *about], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def provoked(cause, *about, fact=""):
    """The cause in the timeline of a client id, a certificate or, without a name, of all."""
    end = time.monotonic() + 60
    while True:
        records = explained(*about)
        if any(r["cause"] == cause and re.search(fact, r.get("facts", "")) for r in records) or time.monotonic() > end:
            break
        time.sleep(0.05)
    claim(cause, any(r["cause"] == cause and re.search(fact, r.get("facts", "")) for r in records),
          [(r["cause"], r.get("facts")) for r in records][-10:])


def policy(title, *statements):
    iot.create_policy(policyName=title, policyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in statements]}))


# ---- the cloud's causes ----

def changes(factory):
    provoked("ca.registered", factory.id)
    other = Authority("other").register()
    iot.update_ca_certificate(certificateId=other.id, newStatus="INACTIVE")
    provoked("ca.changed", other.id)
    iot.delete_ca_certificate(certificateId=other.id)
    provoked("ca.deleted", other.id)
    made = iot.create_keys_and_certificate(setAsActive=False)["certificateId"]
    iot.attach_policy(policyName="open", target=f"{ARN}cert/{made}")
    iot.detach_policy(policyName="open", target=f"{ARN}cert/{made}")
    iot.update_certificate(certificateId=made, newStatus="REVOKED")
    iot.delete_certificate(certificateId=made)
    for cause in ("certificate.created", "policy.attached", "policy.detached", "certificate.status", "certificate.deleted"):
        provoked(cause, made)


# A function that ends as its handler is called: response or error.
BOOTSTRAP = """#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while id=$(curl -sS -D - -o /dev/null $api/next | sed -n 's/^lambda-runtime-aws-request-id: *\\([0-9a-f-]*\\).*/\\1/Ip'); do
    [ -n "$id" ] || exit 1
    curl -sS -o /dev/null -d '{"errorType":"Asked","errorMessage":"to fail"}' $api/$id/$_HANDLER
done
"""


def consequences(factory):
    """Two rules on the event: one function ends well, the other does not; a third rule may not invoke it."""
    code = io.BytesIO()
    bootstrap = zipfile.ZipInfo("bootstrap")
    bootstrap.external_attr = 0o755 << 16
    with zipfile.ZipFile(code, "w") as z:
        z.writestr(bootstrap, BOOTSTRAP)
    for function, handler in (("well", "response"), ("badly", "error")):
        functions.create_function(FunctionName=function, Runtime="provided.al2", Role="arn:aws:iam::000000000000:role/x", Handler=handler,
                                  Code={"ZipFile": code.getvalue()}, Timeout=60)
    for rule, function in (("well", "well"), ("badly", "badly"), ("forbidden", "well")):
        iot.create_topic_rule(ruleName=rule, topicRulePayload={
            "sql": "SELECT * FROM '$aws/events/certificates/registered/+'", "awsIotSqlVersion": "2016-03-23",
            "actions": [{"lambda": {"functionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{function}"}}]})
        if rule != "forbidden":
            functions.add_permission(FunctionName=function, StatementId=rule, Action="lambda:InvokeFunction", Principal="iot.amazonaws.com",
                                     SourceArn=f"{ARN}rule/{rule}", SourceAccount="000000000000")
    newcomer = Device("newcomer", factory)
    ends(connect(newcomer))
    provoked("certificate.registered", "newcomer")
    for cause in ("event.published", "rule.matched", "rule.failed", "function.invoked", "function.succeeded", "function.failed"):
        provoked(cause, newcomer.id)
    for rule in ("well", "badly", "forbidden"):
        iot.delete_topic_rule(ruleName=rule)
    ends(connect(newcomer))
    provoked("connect.pending", "newcomer")


def refusals(factory):
    for cause, options in (("connect.ca_inactive", {"setAsActive": False}), ("connect.ca_no_auto_registration", {"allowAutoRegistration": False}),
                           ("connect.ca_template", {"registrationConfig": {"templateBody": '{"Resources": {"c": {"Type": "AWS::IoT::Certificate"}}}',
                                                                           "roleArn": "arn:aws:iam::000000000000:role/x"}}),
                           ("connect.sni_required", {"certificateMode": "SNI_ONLY"})):
        authority = Authority("CA " + cause).register(**options)
        ends(connect(Device("d-" + cause, authority), sni=None if cause == "connect.sni_required" else "localhost"))
        provoked(cause, "d-" + cause)
    twin = Authority("factory")
    for cause, device in (("connect.ca_unknown", Device("stray", Authority("nobody"))), ("connect.signature_wrong", Device("twin", twin)),
                          ("connect.expired", Device("old", factory, after=-2 * DAY, until=-DAY)),
                          ("connect.not_yet_valid", Device("early", factory, after=DAY, until=2 * DAY)),
                          ("connect.certificate_unacceptable", Device("weak", factory, key=ed25519.Ed25519PrivateKey.generate()))):
        ends(connect(device))
        provoked(cause, device.name)
    device = Device("bare", factory)
    ends(connect(device))
    device.status("ACTIVE")
    ends(connect(device))
    provoked("connect.no_policy", "bare")
    device.status("INACTIVE")
    ends(connect(device, "bare2"))
    provoked("connect.inactive", "bare2")
    device.status("REVOKED")
    ends(connect(device, "bare3"))
    provoked("connect.revoked", "bare3")
    try:
        ends(tls())
    except OSError:
        pass
    provoked("connect.no_certificate")
    s = socket.create_connection(("127.0.0.1", int(PORT)))
    s.sendall(b"GET / HTTP/1.1\r\n\r\n")
    ends(s)
    provoked("tls.failed")


def sessions(device):
    first = connect(device, "one")
    second = connect(device, "one")
    ends(first)
    provoked("disconnect.taken_over", "one")
    second.sendall(packet(0xe0, b""))
    ends(second)
    provoked("disconnect.client", "one")
    provoked("connect.admitted", "one")
    ends(connect(device, "stranger"))
    provoked("connect.denied", "stranger")
    send(device, "mine", packet(0x32, text("theirs") + b"\0\1x"))
    provoked("publish.denied", "mine")
    send(device, "mine", packet(0x82, b"\0\1" + text("theirs") + b"\0"))
    provoked("subscribe.denied", "mine")
    session = connect(device, "mine")
    session.sendall(packet(0x82, b"\0\1" + text("deaf") + b"\0") + packet(0x30, text("deaf") + b"x"))
    provoked("receive.denied", "mine")
    session.close()
    send(device, "mine", packet(0x34, text("mine") + b"\0\1x"))
    provoked("mqtt.qos2", "mine")
    send(device, "mine", packet(0x30, text("mine") + bytes(128 * 1024 + 1)))
    provoked("mqtt.too_large", "mine")
    send(device, "mine", packet(0xf0, b""))
    provoked("mqtt.malformed", "mine")


def process_of(title):
    for pid in subprocess.run(["pgrep", "-P", MASTER, "-x", title], stdout=subprocess.PIPE, text=True).stdout.split():
        return int(pid)
    raise SystemExit(f"no process {title}")


def silence(factory, device):
    """What stands still: a client in the middle of its handshake, the broker, the registry. All three at once."""
    half = socket.create_connection(("127.0.0.1", int(PORT)))
    half.sendall(b"\x16\x03\x01")
    held = [process_of("mosquitto"), process_of("control")]
    newcomer = Device("late", factory)
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    waits = [threading.Thread(target=lambda: ends(connect(device, "mine"))), threading.Thread(target=lambda: ends(connect(newcomer)))]
    try:
        for t in waits:
            t.start()
        ends(half)
        for t in waits:
            t.join()
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)
    provoked("connect.timeout", fact="during=tls")
    provoked("cloud.broker_down", "mine")
    provoked("cloud.control_down", fact="waited_ms=")


# ---- the device's causes: a server that does what real ones do when they fail ----

class Server:
    """One TLS server with a certificate of its own authority; `serve` gets each connection after the handshake."""

    def __init__(self, serve, subject="localhost", dates=None, demand=None, client_hello_only=False):
        authority = Authority("server's CA")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = issue_server(subject, key, authority, **(dates or {}))
        self.root = os.path.join(WORK, f"root{id(self)}.pem")
        with open(self.root, "wb") as f:
            f.write(pem(authority.certificate))
        files = os.path.join(WORK, f"server{id(self)}.pem"), os.path.join(WORK, f"server{id(self)}.key")
        with open(files[0], "wb") as f:
            f.write(pem(builder))
        with open(files[1], "wb") as f:
            f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*files)
        if demand:  # a client certificate of this authority; TLS 1.2 refuses it within the handshake
            self.context.maximum_version = ssl.TLSVersion.TLSv1_2
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(cadata=pem(demand.certificate).decode())
        self.serve, self.raw = serve, client_hello_only
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            peer = self.listener.accept()[0]
            try:
                self.serve(peer if self.raw else self.context.wrap_socket(peer, server_side=True))
            except OSError:
                pass


def issue_server(subject, key, authority, after=-DAY, until=DAY):
    return (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(authority.subject)).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(NOW + after).not_valid_after(NOW + until)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), False)).sign(authority.key, hashes.SHA256())


def connack(code, then=None):
    def serve(s):
        s.recv(4096)
        s.sendall(bytes([0x20, 2, 0, code]))
        if then:
            s.recv(1)
        s.close()
    return serve


def silent(s):
    while s.recv(4096):
        pass


def alert(s):
    s.recv(65536)
    s.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # handshake_failure
    ends(s)


def late():
    """A server that takes its time for the handshake, and closes at CONNECT."""
    def serve(s):
        time.sleep(5.2)
        s = server.context.wrap_socket(s, server_side=True)
        s.recv(4096)
        s.close()
    server = Server(serve, client_hello_only=True)
    return server


def device_says(cause, device, server, *options):
    return cause, subprocess.Popen(
        [PROGRAM, "device", "publish", "-h", "127.0.0.1", "-p", str(server.port), "--server-name", "localhost", "--cafile", server.root, "--cert",
         device.files[0], "--key", device.files[1], "-t", "a", "-m", "x", "--once", "--mqtt", "3.1.1", *options], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)


def devices(factory):
    """Started together; devices() later claims what each said."""
    device = Device("here", factory)
    running = [
        device_says("device.no_connack", device, Server(silent)),
        device_says("device.slow", device, late()),
        device_says("device.refused", device, Server(connack(2))),
        device_says("device.server_busy", device, Server(connack(3))),
        device_says("device.not_allowed", device, Server(connack(5))),
        device_says("device.lost", device, Server(connack(0))),
        device_says("device.server_dates", device, Server(silent, dates={"after": -3 * DAY, "until": -2 * DAY})),
        device_says("device.server_name", device, Server(silent, subject="example.org")),
        device_says("device.tls_refused", device, Server(silent, demand=Authority("another"))),
        device_says("device.tls_failed", device, Server(alert, client_hello_only=True)),
        device_says("device.no_network", device, Server(silent), "-h", "255.255.255.255"),
        # with a clock in 1970 nobody can say whether the server's certificate is valid, and the clock is to blame
        device_says("device.clock", device, Server(silent, dates={"after": -3 * DAY, "until": -2 * DAY}), "--clock", "1970-01-01T00:00:00Z"),
    ]

    def wait():
        for cause, child in running:
            try:
                said = child.communicate(timeout=60)[0]
            except subprocess.TimeoutExpired:
                child.kill()
                said = "nothing for 60 s"
            claim(cause, child.returncode != 0 and re.search(rf"^birthmark device: {re.escape(cause)}: ", said, re.M), said)
    return wait


def main():
    factory = Authority("factory").register()
    policy("open", ("iot:*", "*"))
    wait = devices(factory)
    changes(factory)
    refusals(factory)
    policy("narrow", ("iot:Connect", [ARN + "client/one", ARN + "client/mine"]), ("iot:Publish", [ARN + "topic/mine", ARN + "topic/deaf"]),
           ("iot:Subscribe", ARN + "topicfilter/deaf"))
    device = Device("known", factory)
    ends(connect(device))
    device.allow("narrow").status("ACTIVE")
    sessions(device)
    consequences(factory)
    silence(factory, device)
    wait()


try:
    main()
except ClientError as error:
    print("not ok - provoked: an API call failed")
    print(f"    {error}")
    raise

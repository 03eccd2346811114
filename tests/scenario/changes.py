#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Part of changes.sh: what an operator changes, and what becomes of an open connection. usage: changes.py URL PORT CA FOLDER
Prints `ok - claim` or `not ok - claim: why` per line."""
import json
import socket
import ssl
import subprocess
import sys
import time

import boto3
import botocore.config

url, port, ca, folder = sys.argv[1:5]
iot = boto3.client("iot", endpoint_url=url, config=botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}))
ARN = "arn:aws:iot:us-east-1:000000000000:"
THING = "iot:Connection.Thing."


def claim(text, holds, seen=""):
    print(f"ok - {text}" if holds else f"not ok - {text}: {seen!r}", flush=True)


def policy(name, *statements):
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **s} for s in statements]}
    iot.create_policy(policyName=name, policyDocument=json.dumps(document))


def text(s):
    return len(s).to_bytes(2, "big") + s.encode()


class Connection:
    """A 3.1.1 client that never reconnects by itself, unlike real ones: it has to see its end."""

    def __init__(self, device, client):
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(f"{folder}/{device}.pem", f"{folder}/{device}.key")
        self.s = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname="localhost")
        self.s.settimeout(20)
        body = text("MQTT") + bytes([4, 2, 0, 60]) + text(client)
        self.s.sendall(bytes([0x10, len(body)]) + body)
        assert self.s.recv(4) == b"\x20\x02\0\0", "no CONNACK"

    def is_open(self):
        self.s.sendall(b"\xc0\0")
        try:
            return self.s.recv(2) == b"\xd0\0"
        except OSError:
            return False

    def sees_its_end(self):
        try:
            return self.s.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def published(self, topic):
        body = text(topic) + b"\0\1x"
        self.s.sendall(bytes([0x32, len(body)]) + body)
        try:
            return self.s.recv(4) == b"\x40\2\0\1"
        except OSError:
            return False


def publish(client, topic, device="lamp"):
    return subprocess.run(["mosquitto_pub", "--cafile", ca, "--cert", f"{folder}/{device}.pem", "--key", f"{folder}/{device}.key",
                           "-h", "127.0.0.1", "-p", port, "-i", client, "-q", "1", "-t", topic, "-m", "x"],
                          capture_output=True, text=True)


def within(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


with open(f"{folder}/factory.crt") as f:
    ca_pem = f.read()
certs = {}
for name in ("lamp", "spare"):
    with open(f"{folder}/{name}.crt") as f:
        certs[name] = iot.register_certificate(certificatePem=f.read(), caCertificatePem=ca_pem, status="ACTIVE")
lamp, lamp_id = certs["lamp"]["certificateArn"], certs["lamp"]["certificateId"]

# ---- things ----
iot.create_thing_type(thingTypeName="Lamp")
iot.create_thing(thingName="lamp", thingTypeName="Lamp", attributePayload={"attributes": {"room": "hall"}})
iot.create_thing(thingName="other")
policy("of-things",
       {"Action": "iot:Connect", "Resource": "*", "Condition": {"Bool": {THING + "IsAttached": "true"}}},
       {"Action": "iot:Publish", "Resource": ARN + f"topic/${{{THING}ThingTypeName}}/${{{THING}Attributes[room]}}/${{{THING}ThingName}}"})
iot.attach_policy(policyName="of-things", target=lamp)
said = publish("lamp", "Lamp/hall/lamp")
claim("a policy for attached things keeps out a certificate that is attached to none", said.returncode == 7, said)
iot.attach_thing_principal(thingName="lamp", principal=lamp)
said = publish("lamp", "Lamp/hall/lamp")
claim("once attached it publishes to the topic of its type, attribute and name", said.returncode == 0, said)
said = publish("lamp", "Lamp/cellar/lamp")
claim("and to no other", said.returncode == 7, said)
said = publish("other", "Lamp/hall/other")
claim("nor under the name of a thing that it is not attached to", said.returncode == 7, said)
said = publish("stranger", "Lamp/hall/lamp")
claim("nor under a name that is no thing's", said.returncode == 7, said)


def decision(client, topic):
    return iot.test_authorization(principal=lamp, clientId=client, authInfos=[
        {"actionType": "PUBLISH", "resources": [ARN + "topic/" + topic]}])["authResults"][0]["authDecision"]


claim("TestAuthorization says the same", [decision("lamp", "Lamp/hall/lamp"), decision("lamp", "Lamp/x"), decision("other", "Lamp/hall/other")] ==
      ["ALLOWED", "IMPLICIT_DENY", "IMPLICIT_DENY"])
live = Connection("lamp", "lamp")
claim("an open connection publishes", live.published("Lamp/hall/lamp"))
# the answer to UpdateThing may overtake the news on its way to the worker, and a denial ends the connection
probe = Connection("lamp", "lamp")


def cellar_works():
    global probe
    if probe.published("Lamp/cellar/lamp"):
        return True
    probe = Connection("lamp", "lamp")
    return False


iot.update_thing(thingName="lamp", attributePayload={"attributes": {"room": "cellar"}})
claim("UpdateThing: the new attribute counts for it", within(10, cellar_works))
claim("and the old one does not", not live.published("Lamp/hall/lamp"))
live = Connection("lamp", "lamp")
iot.detach_thing_principal(thingName="lamp", principal=lamp)
claim("DetachThingPrincipal: an open connection may publish no more", within(10, lambda: not live.published("Lamp/cellar/lamp")))
said = publish("lamp", "Lamp/cellar/lamp")
claim("and does not come back", said.returncode == 7, said)

# ---- policies ----
policy("open", {"Action": "iot:*", "Resource": "*"})
iot.detach_policy(policyName="of-things", target=lamp)
iot.attach_policy(policyName="open", target=lamp)
live = Connection("lamp", "lamp")
iot.detach_policy(policyName="open", target=lamp)
claim("DetachPolicy: an open connection may publish no more", within(10, lambda: not live.published("t")))
iot.attach_policy(policyName="open", target=lamp)
iot.attach_policy(policyName="open", target=certs["spare"]["certificateArn"])

# ---- certificates ----
spare = Connection("spare", "spare")
live = Connection("lamp", "lamp")
iot.update_certificate(certificateId=lamp_id, newStatus="INACTIVE")
claim("UpdateCertificate INACTIVE ends the open connection", live.sees_its_end())
iot.update_certificate(certificateId=lamp_id, newStatus="ACTIVE")
two = [Connection("lamp", "lamp"), Connection("lamp", "lamp-2")]
iot.update_certificate(certificateId=lamp_id, newStatus="REVOKED")
claim("REVOKED ends each that the certificate has", all([c.sees_its_end() for c in two]))
said = publish("lamp", "t")
claim("and it does not come back", said.returncode == 7, said)
claim("nobody else is touched", spare.is_open())

# ---- CA: SPEC aws-iot 3.3 ----
caid = iot.list_ca_certificates()["certificates"][0]["certificateId"]
iot.update_ca_certificate(certificateId=caid, newStatus="INACTIVE")
claim("an INACTIVE CA ends no connection of a registered certificate", spare.is_open())
said = publish("spare", "t", "spare")
claim("which connects anew, too", said.returncode == 0, said)

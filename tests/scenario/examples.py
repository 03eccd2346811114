# SPDX-License-Identifier: Apache-2.0
"""What must hold of each example function; part of examples.sh. usage: examples.py API PORT CA FOLDER BIRTHMARK DIR KIND ...

FOLDER has KIND.zip, and keys and certificates KIND.key and .pem, KIND-twin.key and .pem. Prints claims.
"""
import json
import subprocess
import sys
import threading
import time

import boto3
import botocore.config
from cryptography import x509
from cryptography.hazmat.primitives import hashes

API, PORT, CA, FOLDER, PROGRAM, DIR = sys.argv[1:7]
OPTIONS = {"endpoint_url": API, "config": botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}, read_timeout=90)}
iot = boto3.client("iot", **OPTIONS)
functions = boto3.client("lambda", **OPTIONS)
ARN = "arn:aws:iot:us-east-1:000000000000:"
RUNTIMES = {"python": ("python3.11", "lambda_function.lambda_handler"), "c": ("provided.al2023", "bootstrap"), "node": ("nodejs20.x", "index.handler")}


def claim(what, holds, seen=""):
    print(f"{'ok' if holds else 'not ok'} - {what}", flush=True)
    if not holds:
        print(f"    {seen}", flush=True)


def wait_for(condition):
    end = time.monotonic() + 60
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return holds


def id_of(device):
    with open(f"{FOLDER}/{device}.pem", "rb") as f:
        return x509.load_pem_x509_certificate(f.read()).fingerprint(hashes.SHA256()).hex()


def status_of(certificate):
    try:
        return iot.describe_certificate(certificateId=certificate)["certificateDescription"]["status"]
    except iot.exceptions.ResourceNotFoundException:
        return None


def publish(device, client, topic):
    return subprocess.run(["mosquitto_pub", "--cafile", CA, "--cert", f"{FOLDER}/{device}.pem", "--key", f"{FOLDER}/{device}.key", "-h", "127.0.0.1",
                           "-p", PORT, "-i", client, "-t", topic, "-m", "x", "-q", "1"], stderr=subprocess.DEVNULL).returncode


def call(kind, event):
    """What the function answers; None when it fails."""
    answer = functions.invoke(FunctionName=kind, Payload=json.dumps(event).encode())
    body = answer["Payload"].read().decode()
    return json.loads(body).get("status") if "FunctionError" not in answer else f"FAILED: {body}"


def event_of(certificate):
    return {"certificateId": certificate, "caCertificateId": "0" * 64, "awsAccountId": "000000000000", "certificateStatus": "PENDING_ACTIVATION"}


def rule(kind):
    iot.create_topic_rule(ruleName="jitr", topicRulePayload={
        "sql": "SELECT * FROM '$aws/events/certificates/registered/+'", "awsIotSqlVersion": "2016-03-23",
        "actions": [{"lambda": {"functionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{kind}"}}]})


def make(kind):
    runtime, handler = RUNTIMES[kind]
    with open(f"{FOLDER}/{kind}.zip", "rb") as f:
        functions.create_function(FunctionName=kind, Runtime=runtime, Handler=handler, Role="arn:aws:iam::000000000000:role/any", Timeout=60,
                                  Code={"ZipFile": f.read()})
    functions.add_permission(FunctionName=kind, StatementId="jitr", Action="lambda:InvokeFunction", Principal="iot.amazonaws.com",
                             SourceArn=f"{ARN}rule/jitr")
    rule(kind)


def newcomer(kind):
    certificate = id_of(kind)
    client, topic = ("anyclientID", "foo/bar") if kind == "python" else (certificate, f"foo/bar/{certificate}/x")
    claim(f"{kind}: the first connection is dropped", publish(kind, client, topic) != 0)
    claim(f"{kind}: the function makes the device ACTIVE", wait_for(lambda: status_of(certificate) == "ACTIVE"), status_of(certificate))
    claim(f"{kind}: and it publishes", publish(kind, client, topic) == 0)
    claim(f"{kind}: where its policy lets it, and nowhere else", publish(kind, client, "other/topic") != 0)
    iot.delete_topic_rule(ruleName="jitr")
    return certificate


def late(kind, certificate):
    """Whatever the certificate became since stands."""
    for status in ("ACTIVE", "INACTIVE", "REVOKED"):
        iot.update_certificate(certificateId=certificate, newStatus=status)
        answer = call(kind, event_of(certificate))
        claim(f"{kind}: an event that comes after {status} leaves it so", answer == status == status_of(certificate), answer)


def twice(kind):
    certificate = id_of(f"{kind}-twin")
    publish(f"{kind}-twin", "x", "x")
    claim(f"{kind}: without a rule a newcomer stays pending", status_of(certificate) == "PENDING_ACTIVATION", status_of(certificate))
    answers = []
    calls = [threading.Thread(target=lambda: answers.append(call(kind, event_of(certificate)))) for _ in range(2)]
    for c in calls:
        c.start()
    for c in calls:
        c.join()
    claim(f"{kind}: the same event twice at once ends well both times", answers == ["ACTIVE"] * 2, answers)
    policies = iot.list_attached_policies(target=f"{ARN}cert/{certificate}")["policies"]
    claim(f"{kind}: it is ACTIVE, with one policy", status_of(certificate) == "ACTIVE" and len(policies) == 1, policies)
    iot.detach_policy(policyName=policies[0]["policyName"], target=f"{ARN}cert/{certificate}")
    iot.update_certificate(certificateId=certificate, newStatus="INACTIVE")
    iot.delete_certificate(certificateId=certificate)
    answer = call(kind, event_of(certificate))
    claim(f"{kind}: an event of a deleted certificate ends well and makes none", answer == "DELETED" and status_of(certificate) is None, answer)


def one_policy_for_all(kind):
    functions.update_function_configuration(FunctionName=kind, Environment={"Variables": {"POLICY_NAME": "all"}})
    rule(kind)
    publish(f"{kind}-all", "x", "x")
    wait_for(lambda: status_of(id_of(f"{kind}-all")) == "ACTIVE")
    claim(f"{kind}: with POLICY_NAME it is that policy", publish(f"{kind}-all", "any", "other/topic") == 0)
    iot.delete_topic_rule(ruleName="jitr")


iot.create_policy(policyName="all", policyDocument=json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}}))
for name in sys.argv[7:]:
    make(name)
    late(name, newcomer(name))
    twice(name)
    if name != "python":
        one_policy_for_all(name)
letters = subprocess.run([PROGRAM, "dead-letters", "--dir", DIR], stdout=subprocess.PIPE, text=True).stdout
claim("nothing was given up", letters.startswith("none: "), letters)

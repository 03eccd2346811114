# SPDX-License-Identifier: Apache-2.0
"""Part of choices.sh: choices of docs/parity.in. usage: choices.py URL FOLDER
Prints `ok - claim` or `not ok - claim: why` per line."""
import json
import subprocess
import sys

import boto3
import botocore.config
from botocore.exceptions import ClientError

url, folder = sys.argv[1:3]
iot = boto3.client("iot", endpoint_url=url, config=botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}))
ARN = "arn:aws:iot:us-east-1:000000000000:"
OPEN = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:Publish", "Resource": ARN + "topic/yes"}})


def claim(text, holds, seen=""):
    print(f"ok - {text}" if holds else f"not ok - {text}: {seen!r}")


cert = iot.create_keys_and_certificate(setAsActive=True)
arn = cert["certificateArn"]
iot.create_policy(policyName="open", policyDocument=OPEN)
try:
    claim("DetachPolicy of an unknown policy", False, iot.detach_policy(policyName="nobody", target=arn))
except ClientError as error:
    claim("DetachPolicy of an unknown policy is an invalid request", error.response["Error"]["Code"] == "InvalidRequestException", error)

iot.create_thing_type(thingTypeName="lamp")
iot.deprecate_thing_type(thingTypeName="lamp")
iot.delete_thing_type(thingTypeName="lamp")
claim("a thing type goes as soon as it is deprecated", iot.list_thing_types()["thingTypes"] == [])

first = iot.create_thing_group(thingGroupName="room", thingGroupProperties={"thingGroupDescription": "x"})
again = iot.create_thing_group(thingGroupName="room", thingGroupProperties={"thingGroupDescription": "x"})
claim("the same thing group again is the first one", first["thingGroupId"] == again["thingGroupId"], (first, again))
iot.attach_policy(policyName="open", target=first["thingGroupArn"])
iot.delete_thing_group(thingGroupName="room")
claim("a thing group with policies is deleted, and they are detached", iot.list_targets_for_policy(policyName="open")["targets"] == [])

iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
claim("event configurations are given back", iot.describe_event_configurations()["eventConfigurations"]["THING"] == {"Enabled": True})
role = "arn:aws:iam::000000000000:role/logging"
iot.set_v2_logging_options(roleArn=role, defaultLogLevel="WARN")
options = iot.get_v2_logging_options()
claim("logging options are given back", (options["roleArn"], options["defaultLogLevel"]) == (role, "WARN"), options)

iot.attach_policy(policyName="open", target=arn)
results = iot.test_authorization(principal=arn, authInfos=[
    {"actionType": "PUBLISH", "resources": [ARN + "topic/yes", ARN + "topic/no"]},
    {"actionType": "PUBLISH", "resources": [ARN + "topic/yes"]}])["authResults"]
claim("several resources, one result: the worst of them", [r["authDecision"] for r in results] == ["IMPLICIT_DENY", "ALLOWED"], results)


def openssl(*words, stdin=None):
    return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True, input=stdin).stdout


csr = openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{folder}/csr.key", "-subj", "/CN=mine")
pem = iot.create_certificate_from_csr(certificateSigningRequest=csr)["certificatePem"]
subject = openssl("x509", "-noout", "-subject", stdin=pem).strip()
claim("the subject is the service's, not the CSR's", subject.replace(" ", "") == "subject=CN=AWSIoTCertificate", subject)

answers = [iot.update_certificate(certificateId=cert["certificateId"], newStatus="INACTIVE" if n % 2 else "ACTIVE")
           for n in range(40)]
claim("more calls in a second than the service takes are answered",
      {a["ResponseMetadata"]["HTTPStatusCode"] for a in answers} == {200} and all(a["ResponseMetadata"]["RetryAttempts"] == 0 for a in answers))

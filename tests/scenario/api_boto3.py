# SPDX-License-Identifier: Apache-2.0
"""Part of api.sh: what boto3 makes of answers and refusals. usage: api_boto3.py URL FOLDER
Prints `ok - claim` or `not ok - claim: why` per line. FOLDER has demo.crt, a registered ACTIVE CA."""
import base64
import datetime
import hashlib
import io
import json
import ssl
import sys
import urllib.error
import urllib.request
import zipfile

import boto3
import botocore.config
from botocore.exceptions import ClientError

url, folder = sys.argv[1:3]
options = dict(endpoint_url=url, config=botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}))
iot = boto3.client("iot", **options)
data = boto3.client("iot-data", **options)
functions = boto3.client("lambda", **options)
ARN = "arn:aws:iot:us-east-1:000000000000:"
NO_ID = "0" * 64
OPEN = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}})


def claim(text, holds, seen=""):
    print(f"ok - {text}" if holds else f"not ok - {text}: {seen!r}")


def refused(text, name, status, call, **arguments):
    try:
        seen = call(**arguments)
    except ClientError as error:
        seen = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"],
                error.response["Error"]["Message"])
        claim(text, seen[:2] == (name, status) and seen[2] != "", seen)
        return error.response
    claim(text, False, seen)
    return {}


ca_pem = open(f"{folder}/demo.crt").read()
ca_id = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca_pem)).hexdigest()
ca = iot.describe_ca_certificate(certificateId=ca_id)["certificateDescription"]
claim("creationDate is a date", isinstance(ca["creationDate"], datetime.datetime), ca["creationDate"])
claim("and of today", abs(datetime.datetime.now(datetime.timezone.utc) - ca["creationDate"]).total_seconds() < 3600)
claim("validity has two dates", ca["validity"]["notBefore"] < ca["validity"]["notAfter"], ca["validity"])
claim("customerVersion counts the changes", ca["customerVersion"] == 4, ca["customerVersion"])
claim("the PEM text gives the id again",
      hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca["certificatePem"])).hexdigest() == ca_id)

made = iot.create_keys_and_certificate(setAsActive=False)
cert = made["certificateId"]
about = iot.describe_certificate(certificateId=cert)["certificateDescription"]
claim("a made certificate is INACTIVE unless asked", about["status"] == "INACTIVE", about["status"])
claim("transferData is empty", about["transferData"] == {}, about["transferData"])
claim("there is no caCertificateId", "caCertificateId" not in about)
claim("its request id is a UUID", len(made["ResponseMetadata"]["RequestId"]) == 36)

refused("an unknown certificate", "ResourceNotFoundException", 404, iot.describe_certificate, certificateId=NO_ID)
refused("an id of no hex digits", "InvalidRequestException", 400, iot.describe_certificate, certificateId="z" * 64)
refused("a status of no certificate", "InvalidRequestException", 400, iot.update_certificate, certificateId=cert, newStatus="ON")
iot.update_certificate(certificateId=cert, newStatus="ACTIVE")
refused("ACTIVE cannot be deleted", "CertificateStateException", 406, iot.delete_certificate, certificateId=cert)
iot.update_certificate(certificateId=cert, newStatus="REVOKED")
refused("REVOKED is final", "CertificateStateException", 406, iot.update_certificate, certificateId=cert, newStatus="ACTIVE")

iot.create_policy(policyName="b_1.,@=+-", policyDocument=OPEN)
policy = iot.get_policy(policyName="b_1.,@=+-")
claim("a policy comes back as it went", policy["policyDocument"] == OPEN, policy["policyDocument"])
claim("its dates are dates", isinstance(policy["lastModifiedDate"], datetime.datetime))
again = refused("the same policy", "ResourceAlreadyExistsException", 409, iot.create_policy, policyName="b_1.,@=+-",
                policyDocument=OPEN)
claim("with resourceArn", again.get("resourceArn") == ARN + "policy/b_1.,@=+-", again)
refused("a policy of 2049 characters", "MalformedPolicyException", 400, iot.create_policy, policyName="long",
        policyDocument=OPEN.replace("*\"}", "x" * 2049 + "\"}"))
refused("attaching to what is not there", "ResourceNotFoundException", 404, iot.attach_policy, policyName="b_1.,@=+-",
        target=ARN + "cert/" + NO_ID)
refused("attaching to a thing group that is not there", "ResourceNotFoundException", 404, iot.attach_policy,
        policyName="b_1.,@=+-", target=ARN + "thinggroup/g")
refused("attaching to a Cognito identity", "NotImplementedException", 501, iot.attach_policy, policyName="b_1.,@=+-",
        target="arn:aws:cognito-identity:us-east-1:000000000000:identity/x")
for n in range(10):
    iot.create_policy(policyName=f"many{n}", policyDocument=OPEN)
    iot.attach_policy(policyName=f"many{n}", target=ARN + "cert/" + cert)
refused("an eleventh policy on one certificate", "LimitExceededException", 410, iot.attach_policy,
        policyName="b_1.,@=+-", target=ARN + "cert/" + cert)
names = [p["policyName"] for page in iot.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 3})
         for p in page["policies"]]
claim("pages hold each policy once", len(names) == len(set(names)) >= 11, names)
iot.delete_certificate(certificateId=cert, forceDelete=True)
claim("a forced delete takes the attachments along", iot.list_targets_for_policy(policyName="many0")["targets"] == [])

refused("an unknown CA", "ResourceNotFoundException", 404, iot.update_ca_certificate, certificateId=NO_ID, newStatus="ACTIVE")
config = {"templateBody": json.dumps({"Parameters": {}, "Resources": {"certificate": {"Type": "AWS::IoT::Certificate"}}}),
          "roleArn": "arn:aws:iam::000000000000:role/abcdef"}
iot.update_ca_certificate(certificateId=ca_id, registrationConfig=config)
about = iot.describe_ca_certificate(certificateId=ca_id)
claim("a registrationConfig is given back", about["registrationConfig"] == config, about["registrationConfig"])
iot.update_ca_certificate(certificateId=ca_id, newAutoRegistrationStatus="ENABLE")
claim("and kept by another update", iot.describe_ca_certificate(certificateId=ca_id)["registrationConfig"] == config)
claim("a CA has no template by name", iot.list_ca_certificates(templateName="t")["certificates"] == [])
for text_, changed, name, status in (
        ("a template that is no JSON", {"templateBody": "{"}, "InvalidRequestException", 400),
        ("a template without Resources", {"templateBody": "{}"}, "InvalidRequestException", 400),
        ("a role that is no ARN", {"roleArn": "a role of twenty letters"}, "InvalidRequestException", 400),
        ("a long template", {"templateBody": " " * 10241}, "InvalidRequestException", 400),
        ("a template by name", {"templateName": "t"}, "ResourceNotFoundException", 404)):
    refused(text_, name, status, iot.update_ca_certificate, certificateId=ca_id, registrationConfig={**config, **changed})
refused("a role without template", "InvalidRequestException", 400, iot.update_ca_certificate, certificateId=ca_id,
        registrationConfig={"roleArn": config["roleArn"]})
refused("set and removed at once", "InvalidRequestException", 400, iot.update_ca_certificate, certificateId=ca_id,
        registrationConfig=config, removeAutoRegistration=True)
iot.update_ca_certificate(certificateId=ca_id, removeAutoRegistration=True)
claim("removeAutoRegistration removes it", iot.describe_ca_certificate(certificateId=ca_id)["registrationConfig"] == {})
refused("a CSR that is none", "InvalidRequestException", 400, iot.create_certificate_from_csr, certificateSigningRequest="x")
refused("a rule name with a hyphen", "InvalidRequestException", 400, iot.create_topic_rule, ruleName="a-b",
        topicRulePayload={"sql": "SELECT * FROM 'a'", "actions": []})
refused("an action that is not built", "InvalidRequestException", 400, iot.create_topic_rule, ruleName="ab",
        topicRulePayload={"sql": "SELECT * FROM 'a'", "actions": [{"sns": {"targetArn": "a", "roleArn": "b"}}]})

rule = {"sql": "SELECT * FROM 'b'", "actions": [{"lambda": {"functionArn": "arn:aws:lambda:us-east-1:000000000000:function:b"}}]}
iot.create_topic_rule(ruleName="b", topicRulePayload=rule)
refused("the same rule", "ResourceAlreadyExistsException", 409, iot.create_topic_rule, ruleName="b", topicRulePayload=rule)
refused("SQL that is none", "SqlParseException", 400, iot.create_topic_rule, ruleName="c",
        topicRulePayload={"sql": "SELECT", "actions": []})
seen = iot.get_topic_rule(ruleName="b")["rule"]
claim("a rule comes back as it went", seen["sql"] == rule["sql"] and seen["actions"] == rule["actions"], seen)
claim("its createdAt is a date", isinstance(seen["createdAt"], datetime.datetime))
iot.delete_topic_rule(ruleName="b")
refused("a rule that is not there", "UnauthorizedException", 401, iot.get_topic_rule, ruleName="b")
refused("a retired endpoint type", "InvalidRequestException", 400, iot.describe_endpoint, endpointType="iot:Data")

refused("a payload of 128 KB and a byte", "RequestEntityTooLargeException", 413, data.publish, topic="t", payload=b"x" * 131073)
data.publish(topic="t", qos=1, payload=bytes(range(256)))
claim("bytes of every value are published", True)
refused("QoS 2", "InvalidRequestException", 400, data.publish, topic="t", qos=2)

refused("an unknown function", "ResourceNotFoundException", 404, functions.get_function, FunctionName="nobody")
package = io.BytesIO()
with zipfile.ZipFile(package, "w") as z:
    z.writestr("code.py", "def handler(event, context):\n    return event\n")
python = dict(Runtime="python3.11", Role="arn:aws:iam::000000000000:role/r", Code={"ZipFile": package.getvalue()})
made = functions.create_function(FunctionName="b", Handler="code.handler", **python)
claim("CodeSha256 is the package's", base64.b64decode(made["CodeSha256"]) ==
      hashlib.sha256(package.getvalue()).digest() and made["CodeSize"] == len(package.getvalue()), made)
refused("the same function", "ResourceConflictException", 409, functions.create_function, FunctionName="b",
        Handler="code.handler", **python)
refused("a handler that the package has not", "InvalidParameterValueException", 400, functions.create_function,
        FunctionName="c", Handler="other.handler", **python)
refused("an event that is not JSON", "InvalidRequestContentException", 400, functions.invoke, FunctionName="b", Payload=b"no")
answer = functions.invoke(FunctionName="b", Payload=json.dumps({"deep": [1, {"x": None}]}))
claim("an event goes through the function", json.loads(answer["Payload"].read()) == {"deep": [1, {"x": None}]})
claim("ExecutedVersion is $LATEST", answer["ExecutedVersion"] == "$LATEST")
functions.delete_function(FunctionName="b")
refused("a zip of 20 bytes of nonsense", "InvalidParameterValueException", 400, functions.create_function, FunctionName="n",
        Role="arn:aws:iam::000000000000:role/r", Runtime="provided.al2", Handler="h", Code={"ZipFile": b"x" * 20})
refused("a package in S3", "NotImplementedException", 501, functions.create_function, FunctionName="n",
        Role="arn:aws:iam::000000000000:role/r", Runtime="provided.al2", Handler="h", Code={"S3Bucket": "bbb", "S3Key": "k"})
refused("a runtime not built", "InvalidParameterValueException", 400, functions.create_function, FunctionName="n",
        Role="arn:aws:iam::000000000000:role/r", Runtime="java11", Handler="h", Code={"ZipFile": b"x" * 20})

try:
    urllib.request.urlopen(urllib.request.Request(url + "/registrationcode", headers={"Authorization": "Basic dGVzdDp0ZXN0"}))
    claim("another kind of Authorization is refused", False)
except urllib.error.HTTPError as error:
    claim("another kind of Authorization is refused",
          error.code == 403 and error.headers["x-amzn-ErrorType"] == "IncompleteSignatureException", error.headers.items())

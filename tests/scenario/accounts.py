# SPDX-License-Identifier: Apache-2.0
"""Part of accounts.sh: isolation through boto3, and the choice of an account by TLS server name.
usage: accounts.py URL MQTT_PORT FOLDER
Prints `ok - claim` or `not ok - claim: why` per line. FOLDER has keys.ACCOUNT (shell exports), demo.crt and demo.key (a CA
registered in the first account, DEFAULT, ACTIVE). Leaves b.crt and b.key of an ACTIVE device of the second."""
import json
import re
import socket
import ssl
import subprocess
import sys

import boto3
import botocore.config
from botocore.exceptions import ClientError

url, port, folder = sys.argv[1:4]
A, B = "000000000000", "111111111111"
OPEN = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}})
ONLY = json.dumps({"Version": "2012-10-17",
                   "Statement": {"Effect": "Allow", "Action": "iot:Connect",
                                 "Resource": f"arn:aws:iot:us-east-1:{B}:client/only-b"}})


def client(service, account):
    text = open(f"{folder}/keys.{account}").read()
    return boto3.client(service, endpoint_url=url, region_name="us-east-1",
                        aws_access_key_id=re.search(r"ACCESS_KEY_ID=(\S+)", text)[1],
                        aws_secret_access_key=re.search(r"SECRET_ACCESS_KEY=(\S+)", text)[1],
                        config=botocore.config.Config(retries={"max_attempts": 1, "mode": "standard"}))


a, b = client("iot", A), client("iot", B)
lambda_a, lambda_b = client("lambda", A), client("lambda", B)


def claim(text, holds, seen=""):
    print(f"ok - {text}" if holds else f"not ok - {text}: {seen!r}")


def refused(text, name, call, **arguments):
    try:
        seen = call(**arguments)
    except ClientError as error:
        seen = error.response["Error"]["Code"], error.response["Error"]["Message"]
        claim(text, seen[0] == name, seen)
        return seen[1]
    claim(text, False, seen)
    return ""


# ---- the same names in both, each its own ----
demo = open(f"{folder}/demo.crt").read()
made = a.create_keys_and_certificate(setAsActive=True)
theirs = made["certificateId"]
a.create_policy(policyName="open", policyDocument=OPEN)
a.attach_policy(policyName="open", target=made["certificateArn"])
a.create_thing(thingName="lamp", attributePayload={"attributes": {"of": "a"}})
a.create_thing_type(thingTypeName="lamps")
a.create_thing_group(thingGroupName="room")
rule = {"sql": "SELECT * FROM 'x'", "actions": [{"republish": {"roleArn": f"arn:aws:iam::{A}:role/r", "topic": "y"}}]}
a.create_topic_rule(ruleName="copy", topicRulePayload=rule)
a.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})

for what, call, key in (
        ("CAs", b.list_ca_certificates, "certificates"), ("certificates", b.list_certificates, "certificates"),
        ("policies", b.list_policies, "policies"), ("things", b.list_things, "things"),
        ("thing types", b.list_thing_types, "thingTypes"), ("thing groups", b.list_thing_groups, "thingGroups"),
        ("rules", b.list_topic_rules, "rules"), ("functions", lambda_b.list_functions, "Functions")):
    seen = call()[key]
    claim(f"the other account sees none of the {what}", seen == [], seen)
ca_id = a.list_ca_certificates()["certificates"][0]["certificateId"]
for what, call, arguments in (
        ("a certificate", b.describe_certificate, {"certificateId": theirs}),
        ("a CA", b.describe_ca_certificate, {"certificateId": ca_id}),
        ("a policy", b.get_policy, {"policyName": "open"}), ("a thing", b.describe_thing, {"thingName": "lamp"}),
        ("a thing type", b.describe_thing_type, {"thingTypeName": "lamps"}),
        ("a thing group", b.describe_thing_group, {"thingGroupName": "room"}),
        ("and cannot change its certificate", b.update_certificate, {"certificateId": theirs, "newStatus": "REVOKED"}),
        ("or delete it", b.delete_certificate, {"certificateId": theirs, "forceDelete": True}),
        ("or its CA", b.delete_ca_certificate, {"certificateId": ca_id})):
    refused(f"for it there is no such thing: {what}", "ResourceNotFoundException", call, **arguments)
refused("nor such a function", "ResourceNotFoundException", lambda_b.get_function, FunctionName="nobody")
b.create_policy(policyName="open", policyDocument=ONLY)
claim("it makes a policy of the same name", json.loads(b.get_policy(policyName="open")["policyDocument"]) == json.loads(ONLY))
refused("and cannot attach it to the first one's certificate", "InvalidRequestException", b.attach_policy,
        policyName="open", target=made["certificateArn"])
refused("not by naming it as its own either", "ResourceNotFoundException", b.attach_policy, policyName="open",
        target=f"arn:aws:iot:us-east-1:{B}:cert/{theirs}")
b.create_thing(thingName="lamp", attributePayload={"attributes": {"of": "b"}})
claim("and a thing", b.describe_thing(thingName="lamp")["attributes"] == {"of": "b"})
b.delete_thing(thingName="lamp")
claim("which it deletes without the first one's", a.describe_thing(thingName="lamp")["attributes"] == {"of": "a"})
claim("its event configurations are its own",
      not b.describe_event_configurations()["eventConfigurations"]["THING"]["Enabled"])
code_a, code_b = a.get_registration_code()["registrationCode"], b.get_registration_code()["registrationCode"]
claim("each account has a registration code", code_a != code_b and len(code_b) == 64, (code_a, code_b))
claim("and an endpoint address", (a.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"],
                                  b.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"])
      == ("localhost", f"{B}.localhost"))


# ---- one certificate, two accounts ----
def openssl(*words, **options):
    return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True, **options).stdout


def signed_by_demo(name, subject):
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            f"{folder}/{name}.key", "-subj", f"/CN={subject}", "-out", f"{folder}/{name}.csr")
    pem = openssl("x509", "-req", "-in", f"{folder}/{name}.csr", "-CA", f"{folder}/demo.crt", "-CAkey",
                  f"{folder}/demo.key", "-CAcreateserial", "-days", "30")
    with open(f"{folder}/{name}.crt", "w") as out:
        out.write(pem)
    return pem


verification = signed_by_demo("verification", code_b)
said = refused("a CA in mode DEFAULT is in one account only", "InvalidRequestException", b.register_ca_certificate,
               caCertificate=demo, verificationCertificate=verification)
claim("as the service says it", said.startswith("Cannot accept this CACertificate"), said)
refused("the other one's code does not register it", "RegistrationCodeValidationException", a.register_ca_certificate,
        caCertificate=demo, verificationCertificate=verification)
shared = b.register_ca_certificate(caCertificate=demo, certificateMode="SNI_ONLY", setAsActive=True,
                                   allowAutoRegistration=True)
claim("in mode SNI_ONLY it may be in both", shared["certificateId"] == ca_id)

both = signed_by_demo("both", "both")
a.register_certificate_without_ca(certificatePem=both, status="ACTIVE")
id_both = b.register_certificate_without_ca(certificatePem=both, status="ACTIVE")["certificateId"]
a.attach_policy(policyName="open", target=f"arn:aws:iot:us-east-1:{A}:cert/{id_both}")
b.attach_policy(policyName="open", target=f"arn:aws:iot:us-east-1:{B}:cert/{id_both}")
claim("and so may a certificate without CA",
      b.describe_certificate(certificateId=id_both)["certificateDescription"]["ownedBy"] == B)


def connect(name, server_name, client_id):
    """The CONNACK's return code, or None when the endpoint just closed."""
    context = ssl.create_default_context(cafile=f"{folder}/cloud/pki/root-ca.pem")
    context.load_cert_chain(f"{folder}/{name}.crt", f"{folder}/{name}.key")
    context.check_hostname = server_name is not None
    body = b"\0\4MQTT\4\2\0\x3c" + len(client_id).to_bytes(2, "big") + client_id.encode()
    with socket.create_connection(("127.0.0.1", int(port)), 20) as plain:
        with context.wrap_socket(plain, server_hostname=server_name) as tls:
            tls.sendall(bytes([0x10, len(body)]) + body)
            try:
                answer = tls.recv(4)
            except (ConnectionResetError, ssl.SSLError):
                answer = b""
    return answer[3] if len(answer) == 4 else None


claim("its server name chooses the account: the first one's policy allows any client id",
      connect("both", "localhost", "any") == 0)
claim("the second one's policy does not", connect("both", f"{B}.localhost", "any") is None)
claim("but the one it names", connect("both", f"{B}.localhost", "only-b") == 0)
claim("without a server name a certificate of mode SNI_ONLY is refused", connect("both", None, "any") is None)




signed_by_demo("newcomer", "newcomer")
claim("a newcomer that names the second account is dropped", connect("newcomer", f"{B}.localhost", "newcomer") is None)
found = [c for c in b.list_certificates()["certificates"] if c["status"] == "PENDING_ACTIVATION"]
claim("and registered there, in mode SNI_ONLY", [c["certificateMode"] for c in found] == ["SNI_ONLY"], found)
refused("and not in the first", "ResourceNotFoundException", a.describe_certificate,
        certificateId=found[0]["certificateId"] if found else theirs)

mine = b.create_keys_and_certificate(setAsActive=True)
for name, text in (("b.crt", mine["certificatePem"]), ("b.key", mine["keyPair"]["PrivateKey"])):
    with open(f"{folder}/{name}", "w") as out:
        out.write(text)
b.create_policy(policyName="all", policyDocument=OPEN)
b.attach_policy(policyName="all", target=mine["certificateArn"])
claim("a certificate of mode DEFAULT tells its account by itself", connect("b", None, "x") == 0)
claim("a name of another account does not find it", connect("b", f"{B}.localhost", "x") == 0)
claim("ListCertificates of each has its own only",
      {c["certificateId"] for c in a.list_certificates()["certificates"]} == {theirs, id_both})

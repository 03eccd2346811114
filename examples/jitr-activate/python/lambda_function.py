# SPDX-License-Identifier: Apache-2.0
"""Just-in-time registration: let a device in that the cloud has just met.

A topic rule on $aws/events/certificates/registered/<caCertificateId> hands in the event:
    {"certificateId": ..., "caCertificateId": ..., "certificateStatus": "PENDING_ACTIVATION", "awsAccountId": ..., ...}
The same file runs on AWS Lambda. It may run twice for one event, late, and after later ones (delivery is at least once and
in no order), so it looks at the certificate as it is now: one that an operator has deactivated or revoked since stays so, and
one that was deleted needs nothing.
"""
import json
import os

import boto3

POLICY_NAME = "jitr-device"

iot = boto3.client("iot")


def policy_document(region, account):
    """What every device of this CA may do: any client id, topics below foo/.

    That is what application note AN12131 needs for its `-i anyclientID -t foo/bar`. AWS's own sample is stricter: a
    policy for each certificate, with client/<certificateId> and topic/foo/bar/<certificateId>/* as resources, so that a
    device can only use its own client id and its own topics. Do that for a fleet.
    """
    arn = f"arn:aws:iot:{region}:{account}:"
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": arn + "client/*"},
        {"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"], "Resource": arn + "topic/foo/*"},
        {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": arn + "topicfilter/foo/*"},
    ]})


def lambda_handler(event, context):
    region = os.environ["AWS_REGION"]
    account = event["awsAccountId"].strip()
    certificate_id = event["certificateId"].strip()
    certificate_arn = f"arn:aws:iot:{region}:{account}:cert/{certificate_id}"
    try:
        status = iot.describe_certificate(certificateId=certificate_id)["certificateDescription"]["status"]
    except iot.exceptions.ResourceNotFoundException:
        print(f"certificate {certificate_id} is no more")
        return {"certificateId": certificate_id, "status": "DELETED"}
    if status != "PENDING_ACTIVATION":
        print(f"certificate {certificate_id} is {status} already")
        return {"certificateId": certificate_id, "status": status}
    try:
        iot.create_policy(policyName=POLICY_NAME, policyDocument=policy_document(region, account))
        print(f"policy {POLICY_NAME} made")
    except iot.exceptions.ResourceAlreadyExistsException:
        pass  # made for an earlier device
    iot.attach_policy(policyName=POLICY_NAME, target=certificate_arn)  # attaching twice is no error
    # The policy first, the status last: from here on the device gets in.
    iot.update_certificate(certificateId=certificate_id, newStatus="ACTIVE")
    print(f"certificate {certificate_id} is ACTIVE")
    return {"certificateId": certificate_id, "status": "ACTIVE"}

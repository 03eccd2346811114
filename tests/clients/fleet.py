#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Part of tests/scenario/clients.sh: what the operator does to all certificates at once, with boto3.

usage: fleet.py API statuses            how many there are of each status: "PENDING_ACTIVATION 3"
       fleet.py API activate POLICY     attaches the policy to each that is PENDING_ACTIVATION and sets it ACTIVE
       fleet.py API revoke              sets all REVOKED
"""
import collections
import sys

import boto3

iot = boto3.client("iot", endpoint_url=sys.argv[1], region_name="us-east-1")
certificates = [c for page in iot.get_paginator("list_certificates").paginate() for c in page["certificates"]]
if sys.argv[2] == "statuses":
    for status, count in collections.Counter(c["status"] for c in certificates).items():
        print(status, count)
elif sys.argv[2] == "activate":
    for c in certificates:
        if c["status"] == "PENDING_ACTIVATION":
            iot.attach_policy(policyName=sys.argv[3], target=c["certificateArn"])
            iot.update_certificate(certificateId=c["certificateId"], newStatus="ACTIVE")
else:
    for c in certificates:
        iot.update_certificate(certificateId=c["certificateId"], newStatus="REVOKED")

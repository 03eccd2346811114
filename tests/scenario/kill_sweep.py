# SPDX-License-Identifier: Apache-2.0
"""Part of killsweep.sh. usage: kill_sweep.py change|verify URL FILE ROUND
change: asks for changes until the cloud is gone; FILE gets, by thing, the state that was answered and the one under way.
verify: each thing has one of the two; a policy has the versions, a certificate the policies that were answered."""
import json
import random
import sys

import boto3
import botocore.config
from botocore.exceptions import BotoCoreError, ClientError

what, url, path, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
iot = boto3.client("iot", endpoint_url=url, config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=30))
DOCUMENT = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:000000000000:client/%s"}}'
prefix = f"round{number}_"


def state_of(name):
    try:
        thing = iot.describe_thing(thingName=name)
    except iot.exceptions.ResourceNotFoundException:
        return None
    return {"attributes": thing["attributes"], "groups": [
        g["groupName"] for g in iot.list_thing_groups_for_thing(thingName=name)["thingGroups"]]}


def change():
    rng = random.Random(number)
    said, under_way, versions, attached = {}, {}, 0, []
    cert = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
    iot.create_thing_group(thingGroupName=prefix + "group")
    iot.create_policy(policyName=prefix + "policy", policyDocument=DOCUMENT % "0")
    versions = 1
    print("going", flush=True)
    try:
        while True:
            name = f"{prefix}{rng.randrange(40)}"
            now = said.get(name)
            kind = rng.randrange(5)
            if now is None:
                new = {"attributes": {f"a{i}": str(rng.randrange(1000)) for i in range(10)}, "groups": []}
                under_way = {name: new}
                iot.create_thing(thingName=name, attributePayload={"attributes": new["attributes"]})
            elif kind == 0:
                new = None
                under_way = {name: new}
                iot.delete_thing(thingName=name)
            elif kind == 1:
                new = dict(now, groups=[prefix + "group"])
                under_way = {name: new}
                iot.add_thing_to_thing_group(thingGroupName=prefix + "group", thingName=name)
            elif kind == 2 and versions < 5:
                under_way = {"versions": versions + 1}
                iot.create_policy_version(policyName=prefix + "policy", policyDocument=DOCUMENT % versions, setAsDefault=True)
                versions += 1
                continue
            elif kind == 3 and not attached:
                under_way = {"attached": True}
                iot.attach_policy(policyName=prefix + "policy", target=cert)
                attached = [prefix + "policy"]
                continue
            else:
                new = {"attributes": {f"b{i}": str(rng.randrange(1000)) for i in range(8)}, "groups": now["groups"]}
                under_way = {name: new}
                iot.update_thing(thingName=name, attributePayload={"attributes": new["attributes"]})
            said[name] = new
            under_way = {}
    except (BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError):
            raise
    with open(path, "w", encoding="ascii") as f:
        json.dump({"said": said, "under_way": under_way, "versions": versions, "attached": attached, "cert": cert}, f)


def verify():
    with open(path, encoding="ascii") as f:
        told = json.load(f)
    bad = []
    for name in set(told["said"]) | {n for n in told["under_way"] if n.startswith(prefix)}:
        seen = state_of(name)
        allowed = [told["said"].get(name)] + ([told["under_way"][name]] if name in told["under_way"] else [])
        if seen not in allowed:
            bad.append((name, seen, allowed))
    versions = len(iot.list_policy_versions(policyName=prefix + "policy")["policyVersions"])
    default = iot.get_policy(policyName=prefix + "policy")
    if versions not in (told["versions"], told["under_way"].get("versions", told["versions"])):
        bad.append(("versions", versions, told))
    if default["policyDocument"] != DOCUMENT % (versions - 1):
        bad.append(("the default version is not the newest", default, versions))
    attached = [p["policyName"] for p in iot.list_attached_policies(target=told["cert"])["policies"]]
    if attached != told["attached"] and not told["under_way"].get("attached"):
        bad.append(("attached", attached, told["attached"]))
    print(f"{len(told['said'])} things, {versions} versions; under way: {told['under_way']}")
    if bad:
        sys.exit(f"{len(bad)} differ: {bad[:3]}")
    if not told["said"]:
        sys.exit("nothing was asked for before the kill; the test shows nothing")


change() if what == "change" else verify()

# SPDX-License-Identifier: Apache-2.0
"""Part of model.sh. usage: model_check.py URL FOLDER SEED
FOLDER has coverage (of `birthmark cloud --coverage`), CAs demo and spare as NAME.crt with NAME-v.crt, and devices
NAME-1.crt to NAME-5.crt with their CSRs. Prints `ok - claim` or `not ok - claim: why` per line.

A request is made from the input shape of its operation: required members, each other one as a coin falls. A member
that names something (a policy, a thing, an ARN) is drawn from a small pool, so that what was made before is met again.
"""
import base64
import http.server
import io
import json
import random
import re
import string
import sys
import threading
import zipfile

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.httpsession
from botocore.exceptions import ClientError

URL, FOLDER, SEED = sys.argv[1], sys.argv[2], int(sys.argv[3])
ROUNDS, ROUNDS_MAX = 12, 80  # more than the first as long as an operation did not succeed
rng = random.Random(SEED)
config = botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=True, read_timeout=30)
CLIENTS = {"iot": boto3.client("iot", endpoint_url=URL, config=config),
           "iotdata": boto3.client("iot-data", endpoint_url=URL, config=config),
           "lambda": boto3.client("lambda", endpoint_url=URL, config=config)}
ARN = "arn:aws:iot:us-east-1:000000000000:"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:"
# Names that every operation's answer may have beside those of its model. SPEC aws-iot 1.2, 2.5
EVERYWHERE = {"NotImplementedException": 501}
problems = {}


def claim(text, bad):
    print(f"ok - {text}" if not bad else f"not ok - {text}: {bad[0]} ({len(bad)} of them)", flush=True)
    for more in bad[1:6]:
        print(f"#     and: {more}")


def read(name):
    with open(f"{FOLDER}/{name}", encoding="ascii") as f:
        return f.read()


def package():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("code.py", "def handler(event, context):\n    return event\n")
    return out.getvalue()


# ---- the world that requests talk of ----

def policy(*extra):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["iot:*"], "Resource": ["*"]}, *extra]})


DOCUMENTS = [policy(), policy({"Effect": "Deny", "Action": "iot:Publish", "Resource": ARN + "topic/no"})]
ids = {"cert": ["0" * 64], "ca": ["f" * 64], "destination": [ARN + "ruledestination/http/none"]}
NAMES = {n: [f"{n}_{i}" for i in range(4)] for n in ("policy", "thing", "type", "group", "rule", "function")}


def one(what):
    return rng.choice(NAMES[what])


def an_id(what="cert"):
    return rng.choice(ids[what][-4:])


def principal():
    return ARN + "cert/" + an_id()


def target():
    return rng.choice([principal(), principal(), ARN + "thinggroup/" + one("group")])


def resource():
    return ARN + rng.choice(["policy/" + one("policy"), "thing/" + one("thing"), "thingtype/" + one("type"),
                             "thinggroup/" + one("group"), "cacert/" + an_id("ca"), "rule/" + one("rule")])


def ca_registration(parameters):
    """A CA and its verification certificate belong together, and only mode DEFAULT wants the second."""
    name = rng.choice(["demo", "spare"])
    parameters["caCertificate"] = read(name + ".crt")
    if parameters.get("certificateMode") == "SNI_ONLY":
        parameters.pop("verificationCertificate", None)
    else:
        parameters["verificationCertificate"] = read(name + "-v.crt")


def one_of_two(*names):
    def keep(parameters):
        given = [n for n in names if n in parameters]
        for name in given[1:]:
            del parameters[name]
    return keep


def rule_payload(parameters):
    parameters["topicRulePayload"] = {"sql": "SELECT * FROM 'a/b'", "actions": [{"lambda": {"functionArn": FUNCTION + one("function")}}],
                                      "description": text(0, 20), "ruleDisabled": rng.random() < 0.5}


def function_code(parameters):
    parameters.update(Code={"ZipFile": package()}, Runtime="python3.9", Handler="code.handler")


confirmation_tokens = ["0" * 64]


class Receiver(http.server.BaseHTTPRequestHandler):
    """What destinations confirm with: it keeps the tokens that it is sent."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        confirmation_tokens.append(body["confirmationToken"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()


def destination(parameters):
    url = f"http://127.0.0.1:{receiver.server_port}/{rng.randint(1, 4)}"
    parameters["destinationConfiguration"] = {"httpUrlConfiguration": {"confirmationUrl": url}}


def new_code(parameters):
    parameters["ZipFile"] = package()


def members_not_built(*names):
    """Drop them most times: each is refused with NotImplementedException, which proves nothing of the others."""
    def drop(parameters):
        for name in names:
            if rng.random() < 0.9:
                parameters.pop(name, None)
    return drop


def group_and_thing(parameters):
    parameters.setdefault("thingGroupName", one("group"))
    parameters.setdefault("thingName", one("thing"))
    parameters.pop("thingGroupArn", None)
    parameters.pop("thingArn", None)


def update_events(parameters):
    parameters["eventConfigurations"] = {"THING": {"Enabled": True}, "POLICY": {"Enabled": rng.random() < 0.5}}


def test_authorization(parameters):
    parameters.pop("cognitoIdentityPoolId", None)
    parameters["principal"] = principal()
    parameters["authInfos"] = [{"actionType": rng.choice(["PUBLISH", "SUBSCRIBE", "RECEIVE", "CONNECT"]),
                                "resources": [ARN + rng.choice(["topic/a", "client/c", "topicfilter/#"])]}]
    for name in ("policyNamesToAdd", "policyNamesToSkip"):
        if name in parameters:
            parameters[name] = [one("policy")]


def without(*names):
    def drop(parameters):
        for name in names:
            parameters.pop(name, None)
    return drop


def registration_config():
    """A provisioning template as text, with its role: what a random text is not."""
    resource = {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"}}
    return rng.choice([{}, {"templateBody": json.dumps({"Parameters": {}, "Resources": {"certificate": resource}}),
                            "roleArn": "arn:aws:iam::000000000000:role/provision"}])


def update_ca(parameters):
    if parameters.get("removeAutoRegistration"):
        parameters.pop("registrationConfig", None)


FIX = {
    "RegisterCACertificate": ca_registration,
    "UpdateCACertificate": update_ca,
    "CreateTopicRule": rule_payload,
    "ReplaceTopicRule": rule_payload,
    "CreateTopicRuleDestination": destination,
    "CreateFunction": function_code,
    "UpdateFunctionCode": new_code,
    "AddThingToThingGroup": group_and_thing,
    "RemoveThingFromThingGroup": group_and_thing,
    "UpdateEventConfigurations": update_events,
    "TestAuthorization": test_authorization,
    "GetEffectivePolicies": without("cognitoIdentityPoolId"),
}
NOT_BUILT = {
    "CreateFunction": ("Layers", "VpcConfig", "DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs", "ImageConfig", "TracingConfig",
                       "CodeSigningConfigArn", "SnapStart", "EphemeralStorage", "Tags", "Publish", "PackageType", "Architectures"),
    "UpdateFunctionConfiguration": ("Layers", "VpcConfig", "DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs", "ImageConfig",
                                    "TracingConfig", "SnapStart", "EphemeralStorage", "RevisionId"),
    "UpdateFunctionCode": ("S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri", "Publish", "DryRun", "RevisionId", "Architectures"),
    "AddPermission": ("EventSourceToken", "PrincipalOrgID", "FunctionUrlAuthType", "RevisionId"),
    "RemovePermission": ("RevisionId",),
    "Invoke": ("ClientContext",),
    "Publish": ("contentType", "responseTopic", "messageExpiry", "userProperties", "payloadFormatIndicator", "correlationData"),
    "ListFunctions": ("MasterRegion", "FunctionVersion"),
    "CreateThing": ("billingGroupName",),
    "DescribeEndpoint": (),
}
# Values of members by (operation or None, member)
VALUES = {
    "registrationConfig": registration_config,
    "certificateId": an_id, "caCertificateId": lambda: an_id("ca"), "policyName": lambda: one("policy"),
    "policyDocument": lambda: rng.choice(DOCUMENTS), "policyVersionId": lambda: str(rng.randint(1, 5)),
    "thingName": lambda: one("thing"), "thingTypeName": lambda: one("type"), "thingGroupName": lambda: one("group"),
    "parentGroupName": lambda: one("group"), "parentGroup": lambda: one("group"), "ruleName": lambda: one("rule"),
    "arn": lambda: an_id("destination"), "confirmationToken": lambda: rng.choice(confirmation_tokens[-4:]),
    "target": target, "principal": principal, "resourceArn": resource,
    "caCertificatePem": lambda: read(rng.choice(["demo", "spare"]) + ".crt"),
    "certificateSigningRequest": lambda: read(f"demo-{rng.randint(1, 5)}.csr"),
    "expectedVersion": lambda: rng.choice([1, 1, 2, 3]), "newStatus": lambda: rng.choice(["ACTIVE", "INACTIVE", "INACTIVE", "INACTIVE"]),
    "FunctionName": lambda: one("function"), "Handler": lambda: "code.handler", "Runtime": lambda: "python3.9",
    "ZipFile": package, "Role": lambda: "arn:aws:iam::000000000000:role/r", "roleArn": lambda: "arn:aws:iam::000000000000:role/logging",
    "Qualifier": lambda: "$LATEST", "StatementId": lambda: rng.choice(["s1", "s2"]), "Action": lambda: "lambda:InvokeFunction",
    "Principal": lambda: "iot.amazonaws.com", "SourceArn": lambda: ARN + "rule/" + one("rule"), "SourceAccount": lambda: "000000000000",
    "Payload": lambda: b'{"a": 1}', "InvokeArgs": lambda: b'{"a": 1}', "topic": lambda: rng.choice(["a", "a/b", "c d/\u00e9"]), "endpointType": lambda: "iot:Data-ATS",
    "Variables": lambda: {"AB": "b", "C_1": ""}, "tags": None, "Timeout": lambda: rng.randint(1, 900), "MemorySize": lambda: rng.randint(128, 10240),
    "targetName": lambda: one("group"), "thingGroupArn": lambda: ARN + "thinggroup/" + one("group"), "thingArn": lambda: ARN + "thing/" + one("thing"),
}
# What cannot be deleted while it is used: one of each is made and deleted only.
MADE_ALONE = {"policyName": "Policy", "thingName": "Thing", "thingGroupName": "ThingGroup", "thingTypeName": "ThingType"}
TOKENS = {}  # (operation) -> markers the service gave
TOKEN_IN = {"marker": "nextMarker", "nextToken": "nextToken", "Marker": "NextMarker"}


def text(low, high):
    return "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(rng.randint(low, min(max(high, low), low + 12))))


JAVA = {r"\p{Graph}": "!-~", r"\p{Print}": " -~", r"\p{L}": "a-zA-Z", r"\p{N}": "0-9", r"\p{Z}": " ", r"\p{Digit}": "0-9",
        r"\p{Upper}": "A-Z", r"\p{Cntrl}": r"\x00-\x1f\x7f", r"\p{C}": r"\x00-\x1f\x7f"}


def fits(pattern, value):
    for java, python in JAVA.items():
        pattern = pattern.replace(java, python)
    return re.fullmatch(pattern, value) is not None


def string_of(shape):
    if shape.enum:
        return rng.choice(shape.enum)
    # 1: an empty label changes the path into another operation's
    least = 1 if shape.serialization.get("location") == "uri" else 0
    low, high = max(least, shape.metadata.get("min", 0)), shape.metadata.get("max", 40)
    pattern = shape.metadata.get("pattern")
    for _ in range(50):
        value = text(low, high)
        if not pattern or fits(pattern, value):
            return value
    return value


def make(shape, operation, name=None, depth=0):
    if name in TOKEN_IN and shape.type_name == "string":
        return rng.choice(TOKENS[operation]) if TOKENS.get(operation) else None
    if name == "certificateId" and "CACertificate" in operation:
        return an_id("ca")
    if name in MADE_ALONE and operation in ("Create" + MADE_ALONE[name], "Delete" + MADE_ALONE[name]):
        return rng.choice([VALUES[name](), "never_attached"])
    if name == "certificatePem":  # each way of registering has its own, since none is registered twice
        numbers = (4, 5) if operation == "RegisterCertificateWithoutCA" else (1, 2, 3)
        return read(rng.choice(["demo", "spare"]) + f"-{rng.choice(numbers)}.crt")
    if VALUES.get(name):
        return VALUES[name]()
    kind = shape.type_name
    if kind == "structure":
        return structure(shape, operation, depth)
    if kind == "list":
        low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 3)
        items = [make(shape.member, operation, None, depth + 1) for _ in range(rng.randint(low, max(low, min(high, 3))))]
        if items and isinstance(items[0], dict) and "Key" in items[0]:  # tags: a key once
            items = list({i["Key"]: i for i in items}.values())
        return items
    if kind == "map":
        return {make(shape.key, operation): make(shape.value, operation) for _ in range(rng.randint(0, 3))}
    if kind == "string":
        return string_of(shape)
    if kind == "blob":
        return text(0, 20).encode()
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("integer", "long"):
        low = shape.metadata.get("min", 0)
        return rng.randint(low, min(shape.metadata.get("max", low + 100), low + 100))
    if kind in ("float", "double"):
        return rng.random()
    if kind == "timestamp":
        return rng.randint(1_500_000_000, 1_900_000_000)
    raise AssertionError(f"no value for a {kind}")


def structure(shape, operation, depth=0):
    out = {}
    for name, member in shape.members.items():
        if name in shape.required_members or rng.random() < 0.4:
            value = make(member, operation, name, depth + 1)
            if value is not None:
                out[name] = value
    return out


def request_for(operation):
    parameters = structure(operation.input_shape, operation.name) if operation.input_shape else {}
    members_not_built(*NOT_BUILT.get(operation.name, ()))(parameters)
    FIX.get(operation.name, lambda p: None)(parameters)
    return parameters


# ---- answers against their shapes ----

def wrong(shape, value, path):
    """What does not fit the shape, as a list of sentences."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{path} is {value!r}, want an object"]
        known = {m.serialization.get("name", n): (n, m) for n, m in shape.members.items()
                 if m.serialization.get("location") is None}
        bad = [f"{path}.{k} is not in the model" for k in value if k not in known]
        bad += [f"{path}.{n} is missing" for n in shape.required_members
                if shape.members[n].serialization.get("location") is None and shape.members[n].serialization.get("name", n) not in value]
        for k in value:
            if k in known:
                bad += wrong(known[k][1], value[k], f"{path}.{k}")
        return bad
    if kind == "list":
        if not isinstance(value, list):
            return [f"{path} is {value!r}, want an array"]
        return [b for i, v in enumerate(value) for b in wrong(shape.member, v, f"{path}[{i}]")]
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{path} is {value!r}, want an object"]
        return [b for k, v in value.items() for b in wrong(shape.key, k, f"{path} key") + wrong(shape.value, v, f"{path}.{k}")]
    types = {"string": str, "character": str, "blob": str, "boolean": bool, "timestamp": (int, float), "integer": int, "long": int,
             "float": (int, float), "double": (int, float)}[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "boolean"):
        return [f"{path} is {value!r}, want a {kind}"]
    if kind == "timestamp" and not 1e9 < value < 5e9:
        return [f"{path} is {value!r}, want seconds"]
    if kind == "blob":
        try:
            base64.b64decode(value, validate=True)
        except ValueError:
            return [f"{path} is not base64"]
    if kind == "string":
        low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 1 << 40)
        pattern = shape.metadata.get("pattern")
        if not low <= len(value) <= high:
            return [f"{path} has {len(value)} characters, want {low} to {high}"]
        if shape.enum and value not in shape.enum:
            return [f"{path} is {value!r}, none of {shape.enum}"]
        if pattern and not fits(pattern, value):
            return [f"{path} is {value!r}, which does not fit {pattern}"]
    return []


def send(service, operation, parameters):
    """Status, error name or None, headers, body (bytes or None when it streams)."""
    client = CLIENTS[service]
    seen = {}
    handler_id = "model-check"

    def after(http_response, parsed, model, **_):
        seen.update(status=http_response.status_code, headers=http_response.headers,
                    body=None if model.has_streaming_output else http_response.content)

    client.meta.events.register("after-call", after, unique_id=handler_id)
    method = {v: k for k, v in client.meta.method_to_api_mapping.items()}[operation.name]
    try:
        answer = getattr(client, method)(**parameters)
        name = None
    except ClientError as error:
        answer = error.response
        name = error.response["Error"]["Code"]
    finally:
        client.meta.events.unregister("after-call", unique_id=handler_id)
    return seen, name, answer


def judge(service, operation, seen, name, answer):
    if name is None:
        if seen["status"] != operation.http.get("responseCode", 200) and operation.name != "Invoke":
            return [f"status {seen['status']}, the model says {operation.http.get('responseCode', 200)}"]
        shape = operation.output_shape
        if seen["body"] is None or (shape and shape.serialization.get("payload")):
            return []
        if not seen["body"]:
            return [] if shape is None or not shape.members else ["the body is empty"]
        body = json.loads(seen["body"])
        if service == "iotdata" and operation.name == "Publish":
            return []  # SPEC aws-iot 1.3.7: an answer that the model does not have
        return wrong(shape, body, operation.name) if shape else [f"a body where the model has none: {body}"]
    known = {e.name: e for e in operation.error_shapes}
    body = json.loads(seen["body"]) if seen["body"] else {"message": answer["Error"]["Message"]}
    if name in EVERYWHERE:
        return [] if seen["status"] == EVERYWHERE[name] else [f"{name} with status {seen['status']}"]
    if name not in known:
        return [f"{name} is no error of this operation: {body}"]
    want = known[name].metadata.get("error", {}).get("httpStatusCode")
    bad = [] if want is None or want == seen["status"] else [f"{name} with status {seen['status']}, want {want}"]
    message = body.get("message") or body.get("Message")
    if not message:
        bad.append(f"{name} without a message")
    more = {k: v for k, v in body.items() if k not in ("message", "Message", "Type", "traceId")}
    fields = {m.serialization.get("name", n) for n, m in known[name].members.items()}
    return bad + [f"{name} has a member {k}" for k in more if k not in fields]


# What a request of legal members may still be refused for as invalid: facts the model cannot say.
FAIR = [r"is not a marker of", r"^no (policy|thing group|certificate)", r"is none that was given here", r"certificate", r"differs|same", r"thing .* (is attached|has no type)", r"is retired",
        r"Timeout|MemorySize", r"cycle|below itself", r"not deprecated|deprecated|at least 5 minutes", r"CSR", r"have a parent", r"type .* is used",
        r"confirmation token", r"cannot be set", r"not confirmed yet", r"attached to", r"architecture", r"already", r"payload", r"searchable"]


def remember(operation, answer):
    for key, what in (("certificateId", "ca" if operation.name == "RegisterCACertificate" else "cert"),):
        if key in answer and answer[key] not in ids[what]:
            ids[what].append(answer[key])
    if operation.name == "CreateTopicRuleDestination":
        ids["destination"].append(answer["topicRuleDestination"]["arn"])
    for key in ("nextMarker", "nextToken", "NextMarker"):
        if answer.get(key):
            TOKENS.setdefault(operation.name, []).append(answer[key])


# ---- the claims ----

with open(f"{FOLDER}/coverage", encoding="ascii") as f:
    coverage = [line.split() for line in f.read().splitlines()[:-1]]
built = {(service, name) for state, service, name in coverage if state == "built"}
model = {(service, name): client.meta.service_model.operation_model(name) for service, client in CLIENTS.items()
         for name in client.meta.service_model.operation_names}
claim("--coverage lists every operation of the models", [str(k) for k in set(model) ^ {(s, n) for _, s, n in coverage}])

bad = []
for key in sorted(set(model) - built):
    operation = model[key]
    # names and labels only: what is not built is refused before its members are looked at
    parameters = {n: make(m, operation.name, n) for n, m in operation.input_shape.members.items()
                  if n in operation.input_shape.required_members} if operation.input_shape else {}
    client = CLIENTS[key[0]]
    try:
        seen, name, answer = send(key[0], operation, parameters)
    except Exception as error:  # botocore's own validation of what `make` could not know
        parameters = None
        bad.append(f"{key}: {error}") if "Parameter validation" not in str(error) else None
        continue
    message = answer.get("Error", {}).get("Message", "")
    if name != "NotImplementedException" or seen["status"] != 501 or not message.startswith(operation.name + " ("):
        bad.append(f"{key}: {name} {message[:200]}")
claim("every operation that is not built says so by its name, with 501", bad)

successes, refusals, unfit, unfair = {}, {}, [], []
INVALID = ("InvalidRequestException", "InvalidParameterValueException", "InvalidRequestContentException")


def ask(key):
    operation = model[key]
    parameters = request_for(operation)
    seen, name, answer = send(key[0], operation, parameters)
    for problem in judge(key[0], operation, seen, name, answer):
        unfit.append(f"{operation.name}: {problem}: {parameters}"[:900])
    if name is None:
        successes[key] = successes.get(key, 0) + 1
        remember(operation, answer)
        return
    message = answer["Error"]["Message"]
    refusals.setdefault(key, []).append(f"{name}: {message}"[:300])
    if name in INVALID and not any(re.search(p, message) for p in FAIR):
        unfair.append(f"{operation.name}: {message[:300]}: {parameters}"[:900])


def turn(name):
    """What makes things first, what removes them last: so the others meet something."""
    return 0 if re.match(r"Create|Register|Add|Set", name) else 2 if re.match(r"Delete|Remove|Detach", name) else 1


LAST = ("iot", "DeleteRegistrationCode")  # without the code no CA could be registered any more
order = sorted(built - {LAST})
for round_number in range(ROUNDS_MAX):
    if round_number >= ROUNDS and all(key in successes for key in order):
        break
    rng.shuffle(order)
    for key in sorted(order, key=lambda k: turn(k[1])):
        if not key[1].startswith("Delete") or rng.random() < 0.3:
            ask(key)
ask(LAST)
claim("every answer and every error has the shape that the model gives it", unfit)
claim("no legal member is taken for a wrong one", unfair)
claim("every operation that is built succeeded", [f"{k[1]}: {refusals.get(k, ['never asked'])[-1]}" for k in sorted(built) if k not in successes])
print(f"# {sum(successes.values())} successes and {sum(map(len, refusals.values()))} refusals of {len(built)} operations, seed {SEED}")


# ---- wrong types ----

def raw_request(service, request):
    credentials = botocore.credentials.Credentials("test", "test")
    botocore.auth.SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    return botocore.httpsession.URLLib3Session().send(request.prepare())


def spoil(value):
    """The same with one scalar or container of another type."""
    return {"wrong": 1} if isinstance(value, (str, list, bool, int, float)) else "wrong"


bad = []
tried = 0
for key in sorted(built):
    operation = model[key]
    if operation.input_shape is None or operation.input_shape.serialization.get("payload"):
        continue
    client = CLIENTS[key[0]]
    for name, member in operation.input_shape.members.items():
        if member.serialization.get("location"):
            continue
        parameters = request_for(operation)
        if name not in parameters:
            parameters[name] = make(member, operation.name, name)
            if parameters[name] is None:
                continue
        request_dict = client._serializer.serialize_to_request(parameters, operation)
        body = json.loads(request_dict["body"])
        wire = member.serialization.get("name", name)
        body[wire] = spoil(body[wire])
        url = URL + request_dict["url_path"]
        query = request_dict["query_string"]
        request = botocore.awsrequest.AWSRequest(request_dict["method"], url, data=json.dumps(body).encode(), params=query,
                                                 headers={**request_dict["headers"], "Content-Type": "application/json"})
        response = raw_request({"iot": "iot", "iotdata": "iotdata", "lambda": "lambda"}[key[0]], request)
        tried += 1
        if not 400 <= response.status_code < 500:
            bad.append(f"{operation.name}.{name}: {response.status_code} {response.content[:200]}")
claim("a member of another type is refused", bad)
print(f"# {tried} members of another type")

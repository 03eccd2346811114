// SPDX-License-Identifier: Apache-2.0
// Part of tests/scenario/npm.sh: what the AWS SDK for JavaScript makes of answers and refusals.
// usage: node sdk.mjs URL FOLDER    prints `ok - claim` or `not ok - claim: why` per line; FOLDER has dev.crt, dev.csr, f.zip
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.cwd() + "/");
const I = require("@aws-sdk/client-iot");
const L = require("@aws-sdk/client-lambda");
const [url, folder] = process.argv.slice(2);
const options = { endpoint: url, region: "us-east-1", maxAttempts: 1, credentials: { accessKeyId: "test", secretAccessKey: "test" } };
const iot = new I.IoTClient(options);
const functions = new L.LambdaClient(options);
const claim = (text, holds, seen) => console.log(holds ? `ok - ${text}` : `not ok - ${text}: ${JSON.stringify(seen)}`);

async function refused(text, error, status, promise) {
    try {
        claim(text, false, await promise);
    } catch (e) {
        claim(text, e.name === error && e.$metadata.httpStatusCode === status && e.message !== "", [e.name, e.$metadata, e.message]);
        return e;
    }
}

const code = await iot.send(new I.GetRegistrationCodeCommand({}));
claim("GetRegistrationCode", /^[0-9a-f]{64}$/.test(code.registrationCode), code);
claim("its request id is read", code.$metadata.requestId?.length === 36, code.$metadata);

const made = await iot.send(new I.CreateKeysAndCertificateCommand({ setAsActive: true }));
const id = createHash("sha256").update(new X509Certificate(made.certificatePem).raw).digest("hex");
claim("CreateKeysAndCertificate: the id is the SHA-256 of the DER", made.certificateId === id, made.certificateId);
claim("with both keys", /PRIVATE KEY/.test(made.keyPair.PrivateKey) && /PUBLIC KEY/.test(made.keyPair.PublicKey));
const about = (await iot.send(new I.DescribeCertificateCommand({ certificateId: id }))).certificateDescription;
claim("dates are dates", about.creationDate instanceof Date && about.validity.notAfter > about.validity.notBefore, about);
claim("and of today", Math.abs(Date.now() - about.creationDate) < 3600e3, about.creationDate);
await refused("a certificate while ACTIVE", "CertificateStateException", 406, iot.send(new I.DeleteCertificateCommand({ certificateId: id })));
await refused("an unknown certificate", "ResourceNotFoundException", 404,
    iot.send(new I.DescribeCertificateCommand({ certificateId: "0".repeat(64) })));
const csr = await iot.send(new I.CreateCertificateFromCsrCommand({ certificateSigningRequest: readFileSync(`${folder}/dev.csr`, "utf8") }));
claim("CreateCertificateFromCsr", csr.certificateId.length === 64, csr);

const document = JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "iot:*", Resource: "*" }] });
await iot.send(new I.CreatePolicyCommand({ policyName: "js", policyDocument: document, tags: [{ Key: "a", Value: "b" }] }));
const again = await refused("the same policy again", "ResourceAlreadyExistsException", 409,
    iot.send(new I.CreatePolicyCommand({ policyName: "js", policyDocument: document })));
claim("with resourceArn", again?.resourceArn === "arn:aws:iot:us-east-1:000000000000:policy/js", again);
await refused("a document that is none", "MalformedPolicyException", 400,
    iot.send(new I.CreatePolicyCommand({ policyName: "bad", policyDocument: "{}" })));
await iot.send(new I.AttachPolicyCommand({ policyName: "js", target: made.certificateArn }));
const attached = await iot.send(new I.ListAttachedPoliciesCommand({ target: made.certificateArn }));
claim("AttachPolicy, ListAttachedPolicies", attached.policies.length === 1 && attached.policies[0].policyName === "js", attached);
const test = await iot.send(new I.TestAuthorizationCommand({ principal: made.certificateArn, clientId: "c",
    authInfos: [{ actionType: "PUBLISH", resources: ["arn:aws:iot:us-east-1:000000000000:topic/a"] }] }));
claim("TestAuthorization", test.authResults[0].authDecision === "ALLOWED", test.authResults);

for (let n = 0; n < 5; n++)
    await iot.send(new I.CreateThingCommand({ thingName: `js${n}`, attributePayload: { attributes: { n: `${n}` } } }));
const names = [];
for await (const page of I.paginateListThings({ client: iot, pageSize: 2 }, {}))
    names.push(...page.things.map((t) => t.thingName));
claim("the paginator walks through things", names.join() === "js0,js1,js2,js3,js4", names);
const thing = await iot.send(new I.DescribeThingCommand({ thingName: "js3" }));
claim("a thing's attributes and version", thing.attributes.n === "3" && thing.version === 1, thing);
await refused("an unexpected version", "VersionConflictException", 409, iot.send(new I.UpdateThingCommand({ thingName: "js3", expectedVersion: 9 })));
await refused("what is not built", "NotImplementedException", 501, iot.send(new I.ListJobsCommand({})));

const zip = readFileSync(`${folder}/f.zip`);
const f = await functions.send(new L.CreateFunctionCommand({ FunctionName: "js", Runtime: "python3.11", Handler: "code.handler",
    Role: "arn:aws:iam::000000000000:role/r", Code: { ZipFile: zip } }));
claim("CreateFunction", f.CodeSha256 === createHash("sha256").update(zip).digest("base64") && f.State === "Active", f);
await functions.send(new L.AddPermissionCommand({ FunctionName: "js", StatementId: "s", Action: "lambda:InvokeFunction", Principal: "iot.amazonaws.com" }));
const result = await functions.send(new L.InvokeCommand({ FunctionName: "js", Payload: Buffer.from('{"x":[1,null]}'), LogType: "Tail" }));
claim("Invoke", result.StatusCode === 200 && JSON.stringify(JSON.parse(Buffer.from(result.Payload).toString())) === `{"x":[1,null]}` && result.FunctionError === undefined,
    Buffer.from(result.Payload).toString());
await refused("an unknown function", "ResourceNotFoundException", 404, functions.send(new L.GetFunctionCommand({ FunctionName: "nobody" })));
await functions.send(new L.DeleteFunctionCommand({ FunctionName: "js" }));
claim("DeleteFunction", true);

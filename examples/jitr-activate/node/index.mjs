// SPDX-License-Identifier: Apache-2.0
// Just-in-time registration: let a device in that the cloud has just met. Node.js 20 with the AWS SDK v3, which AWS
// Lambda has and a local package must bring along: `npm install` in this folder, then zip it all.
//
// It may run twice for one event, late, and after later ones, so it looks at the certificate as it is now: one that an
// operator has deactivated or revoked since stays so, and one that was deleted needs nothing.
import { AttachPolicyCommand, CreatePolicyCommand, DescribeCertificateCommand, IoTClient, UpdateCertificateCommand } from "@aws-sdk/client-iot";

const iot = new IoTClient({});

// A policy for each certificate: its own client id, its own topics.
function policyDocument(region, account, certificateId) {
  const arn = `arn:aws:iot:${region}:${account}:`;
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: [
      { Effect: "Allow", Action: "iot:Connect", Resource: `${arn}client/${certificateId}` },
      { Effect: "Allow", Action: ["iot:Publish", "iot:Receive"], Resource: `${arn}topic/foo/bar/${certificateId}/*` },
      { Effect: "Allow", Action: "iot:Subscribe", Resource: `${arn}topicfilter/foo/bar/${certificateId}/#` },
    ],
  });
}

async function makePolicy(policyName, document) {
  try {
    await iot.send(new CreatePolicyCommand({ policyName, policyDocument: document }));
  } catch (error) {
    if (error.name !== "ResourceAlreadyExistsException") throw error; // made for the same event before
  }
}

async function statusOf(certificateId) {
  try {
    return (await iot.send(new DescribeCertificateCommand({ certificateId }))).certificateDescription.status;
  } catch (error) {
    if (error.name !== "ResourceNotFoundException") throw error;
    return "DELETED";
  }
}

export async function handler(event) {
  const region = process.env.AWS_REGION;
  const account = event.awsAccountId.trim();
  const certificateId = event.certificateId.trim();
  // With POLICY_NAME in the function's environment it is that policy, which must be there, and none is made.
  const policyName = process.env.POLICY_NAME || `Policy_${certificateId}`;
  const status = await statusOf(certificateId);
  if (status !== "PENDING_ACTIVATION") {
    console.log(`certificate ${certificateId} is ${status} already`);
    return { certificateId, status };
  }
  if (!process.env.POLICY_NAME) await makePolicy(policyName, policyDocument(region, account, certificateId));
  await iot.send(new AttachPolicyCommand({ policyName, target: `arn:aws:iot:${region}:${account}:cert/${certificateId}` }));
  // The policy first, the status last: from here on the device gets in.
  await iot.send(new UpdateCertificateCommand({ certificateId, newStatus: "ACTIVE" }));
  console.log(`certificate ${certificateId} is ACTIVE`);
  return { certificateId, status: "ACTIVE" };
}

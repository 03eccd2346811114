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
  const policyName = `Policy_${certificateId}`;
  const status = await statusOf(certificateId);
  if (status !== "PENDING_ACTIVATION") {
    console.log(`certificate ${certificateId} is ${status} already`);
    return { certificateId, status };
  }
  try {
    await iot.send(new CreatePolicyCommand({ policyName, policyDocument: policyDocument(region, account, certificateId) }));
  } catch (error) {
    if (error.name !== "ResourceAlreadyExistsException") throw error;
  }
  await iot.send(new AttachPolicyCommand({ policyName, target: `arn:aws:iot:${region}:${account}:cert/${certificateId}` }));
  // The policy first, the status last: from here on the device gets in.
  await iot.send(new UpdateCertificateCommand({ certificateId, newStatus: "ACTIVE" }));
  console.log(`certificate ${certificateId} is ACTIVE`);
  return { certificateId, status: "ACTIVE" };
}

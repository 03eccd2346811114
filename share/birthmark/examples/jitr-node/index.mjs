// SPDX-License-Identifier: Apache-2.0
// Just-in-time registration: let a device in that the cloud has just met. Node.js 20 with the AWS SDK v3, which AWS
// Lambda has and a local package must bring along: `npm install @aws-sdk/client-iot` in this folder, then zip it all.
//
// It may run twice for one event, late, and after later ones, so it looks at the certificate as it is now: one that an
// operator has deactivated or revoked since stays so.
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

export async function handler(event) {
  const region = process.env.AWS_REGION;
  const account = event.awsAccountId.trim();
  const certificateId = event.certificateId.trim();
  const policyName = `Policy_${certificateId}`;
  const { certificateDescription } = await iot.send(new DescribeCertificateCommand({ certificateId }));
  if (certificateDescription.status !== "PENDING_ACTIVATION") {
    console.log(`certificate ${certificateId} is ${certificateDescription.status} already`);
    return { certificateId, status: certificateDescription.status };
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

// SPDX-License-Identifier: Apache-2.0
// Part of tests/scenario/reasons.sh: what npm's mqtt, MQTT 5, is told when its policy denies. The package is that of the current folder.
// usage: node reasons.mjs PORT CA CERT KEY ID [PROBLEMS]    prints `puback CODE STRING` and `suback CODES STRING`; PROBLEMS 0: asks for no strings
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.cwd() + "/");
const [port, ca, cert, key, name, problems] = process.argv.slice(2);
const client = require("mqtt").connect({ protocol: "mqtts", host: "127.0.0.1", port, clientId: name, protocolVersion: 5, reconnectPeriod: 0,
    properties: { requestProblemInformation: problems !== "0" }, ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) });
let awaited = 2;

client.on("packetreceive", (p) => {
    if (p.cmd === "puback")
        console.log("puback", p.reasonCode, p.properties?.reasonString);
    else if (p.cmd === "suback")
        console.log("suback", p.granted.join(","), p.properties?.reasonString);
    else
        return;
    if (--awaited === 0)
        client.end();
});
client.on("error", (e) => console.log("error", e.message));
client.on("connect", () => {
    client.publish("other", "x", { qos: 1 }, () => {});
    client.subscribe(["t/a", "other", "another"], { qos: 1 }, () => {});
});

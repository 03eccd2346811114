// SPDX-License-Identifier: Apache-2.0
// Part of tests/scenario/clients.sh: the life of a device with npm's mqtt, or with aws-iot-device-sdk, which is the same with AWS's defaults.
// usage: node events.mjs mqtt|sdk1 311|5 PORT CA CERT KEY ID    prints what life_paho.py prints. The packages are those of the current folder.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.cwd() + "/");
const [library, level, port, ca, cert, key, name] = process.argv.slice(2);
const say = (...words) => console.log(...words);
const topic = `clients/${name}`;

const connect = () => library === "sdk1"
    ? require("aws-iot-device-sdk").device({ host: "127.0.0.1", port, caPath: ca, certPath: cert, keyPath: key, clientId: name })
    : require("mqtt").connect({ protocol: "mqtts", host: "127.0.0.1", port, clientId: name, protocolVersion: level === "5" ? 5 : 4,
        ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) });

function life(round) {
    const client = connect();
    let inside = false, leaving = false;
    client.on("error", (e) => say("error", e.message));
    client.on("connect", () => {
        inside = true;
        say("connected");
        client.subscribe(topic, { qos: 1 }, (e, granted) => {
            if (e)
                return say("error", e.message);
            say("subscribed", granted[0].qos);
            client.publish(topic, `hello ${round}`, { qos: 1 }, (e) => say(e ? `error ${e.message}` : "acknowledged"));
        });
    });
    client.on("message", (_, payload) => {
        say("received", payload.toString());
        if (round > 1)
            return;
        leaving = true;
        client.end(false, () => {
            say("left");
            life(round + 1);
        });
    });
    client.on("close", () => {
        if (!leaving)
            say(inside ? "lost" : "refused");
        inside = false;
    });
}

life(1);

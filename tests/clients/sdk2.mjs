// SPDX-License-Identifier: Apache-2.0
// Part of tests/scenario/clients.sh: the life of a device with aws-iot-device-sdk-v2, whose TLS is its own.
// usage: node sdk2.mjs 311|5 PORT CA CERT KEY ID    prints what life_paho.py prints. The package is that of the current folder.
// With PKCS11_MODULE in the environment the key is that of PKCS11_LABEL in its token, and KEY is not read.
import { createRequire } from "node:module";
import { once } from "node:events";

const require = createRequire(process.cwd() + "/");
const { mqtt, mqtt5, iot, io } = require("aws-iot-device-sdk-v2");
const [level, port, ca, cert, key, name] = process.argv.slice(2);
const say = (...words) => console.log(...words);
const held = []; // what nobody holds is collected and goes silent
const topic = `clients/${name}`;
const token = process.env.PKCS11_MODULE && {
    pkcs11_lib: new io.Pkcs11Lib(process.env.PKCS11_MODULE), user_pin: null,
    private_key_object_label: process.env.PKCS11_LABEL, cert_file_path: cert,
};

// The client of 3.1.1 gives up when the first connect fails: its application begins anew.
async function connect4() {
    const builder = token ? iot.AwsIotMqttConnectionConfigBuilder.new_mtls_pkcs11_builder(token)
        : iot.AwsIotMqttConnectionConfigBuilder.new_mtls_builder_from_path(cert, key);
    const config = builder.with_certificate_authority_from_path(undefined, ca).with_endpoint("127.0.0.1").with_port(Number(port))
        .with_client_id(name).with_clean_session(true).build();
    for (;;) {
        const connection = new mqtt.MqttClient().new_connection(config);
        held.push(connection);
        connection.on("error", (e) => say("error", e.message ?? e));
        connection.on("interrupt", () => say("lost"));
        try {
            await connection.connect();
            return connection;
        } catch (e) {
            say("refused", e.message ?? e);
            await new Promise((again) => setTimeout(again, 500));
        }
    }
}

async function life4(round) {
    const connection = await connect4();
    say("connected");
    const arrived = new Promise((resolve) => connection.on("message", (_, payload) => {
        say("received", Buffer.from(payload).toString());
        resolve();
    }));
    const granted = await connection.subscribe(topic, mqtt.QoS.AtLeastOnce);
    say("subscribed", granted.qos);
    await connection.publish(topic, `hello ${round}`, mqtt.QoS.AtLeastOnce);
    say("acknowledged");
    await arrived;
    if (round > 1)
        return;
    await connection.disconnect();
    say("left");
    return life4(round + 1);
}

async function life5(round) {
    const builder = token ? iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromPkcs11("127.0.0.1", token)
        : iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromPath("127.0.0.1", cert, key);
    const client = new mqtt5.Mqtt5Client(builder.withCertificateAuthorityFromPath(undefined, ca).withPort(Number(port))
        .withConnectProperties({ clientId: name, keepAliveIntervalSeconds: 60 }).build());
    client.on("error", (e) => say("error", e.message ?? e));
    client.on("connectionFailure", (e) => say("refused", e.error.message));
    let leaving = false;
    held.push(client);
    client.on("disconnection", (e) => say(leaving ? "left" : "lost", e.disconnect?.reasonCode ?? ""));
    const inside = once(client, "connectionSuccess");
    const arrived = once(client, "messageReceived");
    client.start();
    await inside;
    say("connected");
    const granted = await client.subscribe({ subscriptions: [{ topicFilter: topic, qos: mqtt5.QoS.AtLeastOnce }] });
    say("subscribed", granted.reasonCodes[0]);
    const ack = await client.publish({ topicName: topic, qos: mqtt5.QoS.AtLeastOnce, payload: `hello ${round}` });
    if (ack.reasonCode === 0)
        say("acknowledged");
    say("received", Buffer.from((await arrived)[0].message.payload).toString());
    if (round > 1)
        return;
    const stopped = once(client, "stopped");
    leaving = true;
    client.stop();
    await stopped;
    return life5(round + 1);
}

setInterval(() => {}, 1000); // until it is ended
await (level === "5" ? life5 : life4)(1);

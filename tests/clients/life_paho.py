#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Part of tests/scenario/clients.sh: the life of a device with paho, as it comes with Debian.

usage: life_paho.py 311|5 PORT CA CERT KEY ID     prints one word per event: refused, connected, subscribed, acknowledged,
`received TEXT`, left, lost. It leaves in good order after the first message and comes back; from then on it stays until it is ended.
"""
import sys

import paho.mqtt.client as mqtt

level, port, ca, cert, key, name = sys.argv[1:]
topic = f"clients/{name}"
state = {"in": False, "round": 1, "leaving": False}


def say(*words):
    print(*words, flush=True)


def on_connect(client, _data, _flags, code, _properties=None):
    if code == 0:
        state["in"] = True
        say("connected")
        client.subscribe(topic, 1)


def on_subscribe(client, _data, _mid, granted, _properties=None):
    say("subscribed", [getattr(g, "value", g) for g in granted])
    client.publish(topic, f"hello {state['round']}", 1)


def on_message(client, _data, message):
    say("received", message.payload.decode())
    if state["round"] == 1:
        state["leaving"] = True
        client.disconnect()


def on_disconnect(_client, _data, _code, _properties=None):
    say("left" if state["leaving"] else "lost" if state["in"] else "refused")
    state["in"] = False


client = mqtt.Client(name, protocol=mqtt.MQTTv5 if level == "5" else mqtt.MQTTv311)
client.tls_set(ca, cert, key)
client.on_connect, client.on_subscribe, client.on_message, client.on_disconnect = on_connect, on_subscribe, on_message, on_disconnect
client.on_publish = lambda *_: say("acknowledged")
while True:
    client.connect("127.0.0.1", int(port))
    client.loop_forever(retry_first_connection=True)
    state.update(round=2, leaving=False)

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Part of tests/scenario/sessions.sh: one connection of paho that resumes a session, subscribes and leaves.

usage: session.py PORT CA CERT KEY ID 311|5 EXPIRY [LEAVES]     prints `present BOOL given EXPIRY`, then what comes on t/session/ID, and
`subscribed` when it has its SUBACK.
EXPIRY: of CONNECT in seconds, - for none; of 3.1.1 it means clean session 0. LEAVES: the expiry of DISCONNECT; `drop`: without one.
"""
import os
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes

port, ca, cert, key, name, level, expiry, *leaves = sys.argv[1:]
topic = f"t/session/{name}"


def expires(packet, seconds):
    properties = mqtt.Properties(packet)
    properties.SessionExpiryInterval = int(seconds)
    return properties


def on_connect(client, _data, flags, _code, properties=None):
    print("present", flags["session present"], "given", getattr(properties, "SessionExpiryInterval", "-"), flush=True)
    client.subscribe(topic, 1)


def on_subscribe(client, *_):
    print("subscribed", flush=True)
    if leaves == ["drop"]:
        os._exit(0)
    client.disconnect(**({"properties": expires(PacketTypes.DISCONNECT, leaves[0])} if leaves else {}))


if level == "5":
    client = mqtt.Client(name, protocol=mqtt.MQTTv5)
else:
    client = mqtt.Client(name, clean_session=False)
client.tls_set(ca, cert, key)
client.on_connect, client.on_subscribe = on_connect, on_subscribe
client.on_message = lambda _c, _d, m: print("received", m.payload.decode(), flush=True)
if level == "5":
    client.connect("127.0.0.1", int(port), clean_start=False, properties=None if expiry == "-" else expires(PacketTypes.CONNECT, expiry))
else:
    client.connect("127.0.0.1", int(port))
client.loop_forever()

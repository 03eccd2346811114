#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Part of tests/scenario/reasons.sh: what paho, MQTT 5, is told when its policy denies a filter, then a message of QoS 0.

usage: reasons_paho.py PORT CA CERT KEY ID     prints `suback CODES STRING` and `disconnect CODE STRING`
"""
import sys

import paho.mqtt.client as mqtt

port, ca, cert, key, name = sys.argv[1:]


def string_of(properties):
    return getattr(properties, "ReasonString", None)


def on_subscribe(client, _data, _mid, codes, properties):
    print("suback", ",".join(str(c.value) for c in codes), string_of(properties), flush=True)
    client.publish("other", "x", 0)


def on_disconnect(client, _data, code, properties=None):
    print("disconnect", getattr(code, "value", code), string_of(properties), flush=True)
    client.disconnect()


client = mqtt.Client(name, protocol=mqtt.MQTTv5)
client.tls_set(ca, cert, key)
client.on_connect = lambda *_: client.subscribe([("t/a", mqtt.SubscribeOptions(1)), ("other", mqtt.SubscribeOptions(1))])
client.on_subscribe, client.on_disconnect = on_subscribe, on_disconnect
client.connect("127.0.0.1", int(port))
client.loop_forever()

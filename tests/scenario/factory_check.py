#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Do journal, chips, manifest, bulk lines and reference files of a job agree? No code of this project: JRCP, SHA-256 and
python3-cryptography. usage: factory_check.py DIR SOCKETS CA COUNT"""
import base64
import hashlib
import json
import os
import socket
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

folder, sockets, ca_path, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
ca = x509.load_pem_x509_certificate(open(ca_path, "rb").read())
log = x509.load_pem_x509_certificate(open(f"{folder}/log.pem", "rb").read())
ca.public_key().verify(log.signature, log.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))


def un64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def ask(s, command):
    s.sendall(b"\x01\x00" + len(command).to_bytes(2, "big") + command)
    head = b""
    while len(head) < 4:
        head += s.recv(4 - len(head))
    want, data = int.from_bytes(head[2:], "big"), b""
    while len(data) < want:
        data += s.recv(want - len(data))
    assert data[-2:] == b"\x90\x00", data.hex()
    return data[:-2]


# the journal: numbers, chain, steps; one leaf a chip, each serial once
leaves, done, scrapped, prev = {}, {}, {}, "0" * 64
for n, line in enumerate(open(f"{folder}/journal", "rb").read().splitlines(), 1):
    r = json.loads(line)
    assert r["n"] == n and r["prev"] == prev, n
    if r["step"] == "seal":
        log.public_key().verify(base64.b64decode(r["signature"]), prev.encode(), ec.ECDSA(hashes.SHA256()))
    prev = hashlib.sha256(line).hexdigest()
    if r["step"] == "leaf":
        assert r["uid"] not in leaves and r["uid"] not in scrapped, "two leaves"
        leaves[r["uid"]] = base64.b64decode(r["leaf"])
    if r["step"] == "done":
        assert r["uid"] not in done, "done twice"
        done[r["uid"]] = r["serial"]
    if r["step"] == "scrap":
        assert r["uid"] not in scrapped, "written off twice"
        scrapped[r["uid"]] = leaves.pop(r["uid"], b"")
        done.pop(r["uid"], None)
assert len(leaves) == len(done) == count and len(set(done.values())) == count, (len(leaves), len(done))
# manifest and bulk
seen = set()
for line in open(f"{folder}/manifest.jsonl", encoding="ascii"):
    j = json.loads(line)
    raw = un64(j["signature"])
    der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    log.public_key().verify(der, f"{j['protected']}.{j['payload']}".encode(), ec.ECDSA(hashes.SHA256()))
    p = json.loads(un64(j["payload"]))
    assert base64.b64decode(p["publicKeySet"]["keys"][0]["x5c"][0]) == leaves[p["uniqueId"]]
    head = json.loads(un64(j["protected"]))
    assert un64(head["x5t#S256"]) == log.fingerprint(hashes.SHA256())
    seen.add(p["uniqueId"])
assert seen == set(done), "the manifest has other chips than the journal"
lost = [json.loads(line) for line in open(f"{folder}/scrapped.jsonl", encoding="ascii")]
assert {c["uniqueId"]: c["certificateId"] for c in lost} == {u: hashlib.sha256(d).hexdigest() for u, d in scrapped.items() if d}
bulk = [json.loads(line) for line in open(f"{folder}/bulk.jsonl", encoding="ascii")]
assert {b["ThingName"] for b in bulk} == seen
assert {f[:-len(".ref.pem")] for f in os.listdir(f"{folder}/keys")} >= seen
# the chips themselves
found = set()
for name in sorted(os.listdir(sockets)):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(f"{sockets}/{name}")
    ask(s, bytes.fromhex("00a4040005613731636800"))
    uid = ask(s, bytes.fromhex("8091000100")).hex()
    if uid in leaves:
        leaf = x509.load_der_x509_certificate(leaves[uid])
        ca.public_key().verify(leaf.signature, leaf.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
        point = leaf.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        assert ask(s, bytes.fromhex("8011000000")) == point, "the chip has another key than its leaf"
        found.add(uid)
    s.close()
assert found == set(done), f"{len(found)} chips found, {len(done)} done"
print(f"{count} chips: journal, manifest, bulk lines, references and chips agree")

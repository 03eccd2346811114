#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes what fuzz_admit.c starts from: the CAs of its registries (admit_cas.inc) and leaves of real chains (corpus/admit).

usage: tests/fuzz/admit_corpus.py     needs python3-cryptography; the keys are thrown away, so each run makes other files
"""
import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

HERE = os.path.dirname(os.path.abspath(__file__))
OLD, LATE = datetime.datetime(2020, 1, 1), datetime.datetime(2100, 1, 1)


def name(cn):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fuzz"), x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def new_ec(curve=ec.SECP256R1):
    return ec.generate_private_key(curve())


def new_rsa(bits=2048):
    return rsa.generate_private_key(65537, bits)


def make(subject, key, issuer=None, issuer_key=None, ca=False, start=OLD, end=LATE, digest=hashes.SHA256, more=()):
    b = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(issuer.subject if issuer else name(subject))
         .public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
         .add_extension(x509.BasicConstraints(ca, None), critical=True))
    for extension in more:
        b = b.add_extension(extension, critical=False)
    signer = issuer_key or key
    return b.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else digest())


def der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


keys = {n: new_ec() for n in ("ec", "root", "inter", "sni", "inactive", "closed", "twin", "template", "stranger", "leaf")}
keys["rsa"] = new_rsa()
cas = {n: make("CA " + n, keys[n], ca=True) for n in ("ec", "rsa", "root", "sni", "inactive", "closed", "template", "stranger")}
cas["twin"] = make("CA ec", keys["twin"], ca=True)
cas["inter"] = make("CA inter", keys["inter"], cas["root"], keys["root"], ca=True)
# name, accounts (bits), ACTIVE, auto-registration, SNI_ONLY, has a template
registered = [("ec", 1, 1, 1, 0, 0), ("rsa", 1, 1, 1, 0, 0), ("inter", 2, 1, 1, 0, 0), ("sni", 3, 1, 1, 1, 0), ("inactive", 1, 0, 1, 0, 0),
              ("closed", 1, 1, 0, 0, 0), ("twin", 2, 1, 1, 0, 0), ("template", 2, 1, 1, 0, 1)]

key = keys["leaf"]
by_ec = (cas["ec"], keys["ec"])
leaf = make("leaf", key, *by_ec)
leaves = {
    "ec": leaf, "rsa": make("leaf", new_rsa(), cas["rsa"], keys["rsa"]), "ec-of-rsa": make("leaf", key, cas["rsa"], keys["rsa"]),
    "chain-of-3": make("leaf", key, cas["inter"], keys["inter"]), "of-root": make("leaf", key, cas["root"], keys["root"]),
    "p384": make("leaf", new_ec(ec.SECP384R1), *by_ec), "p521": make("leaf", new_ec(ec.SECP521R1), *by_ec),
    "secp256k1": make("leaf", new_ec(ec.SECP256K1), *by_ec), "rsa1024": make("leaf", new_rsa(1024), *by_ec),
    "ed25519": make("leaf", ed25519.Ed25519PrivateKey.generate(), *by_ec), "sha1": make("leaf", key, *by_ec, digest=hashes.SHA1),
    "wrong-key": make("leaf", key, cas["ec"], keys["stranger"]), "self-signed": make("leaf", key), "stranger": make("leaf", key, cas["stranger"],
                                                                                                                   keys["stranger"]),
    "of-leaf": make("leaf 2", new_ec(), leaf, key), "ca-itself": cas["ec"], "twin": make("leaf", key, cas["twin"], keys["twin"]),
    "expired": make("leaf", key, *by_ec, end=datetime.datetime(2021, 1, 1)),
    "not-yet": make("leaf", key, *by_ec, start=datetime.datetime(2099, 1, 1)), "inactive": make("leaf", key, cas["inactive"], keys["inactive"]),
    "closed": make("leaf", key, cas["closed"], keys["closed"]), "template": make("leaf", key, cas["template"], keys["template"]),
    "sni": make("leaf", key, cas["sni"], keys["sni"]),
    "long-name": make("L" * 64, key, *by_ec, more=(x509.SubjectAlternativeName([x509.DNSName("d" * 60 + ".example")] * 8),)),
}
for n, cert in leaves.items():  # first byte: server name (none, ours, the other account's), then the leaf
    for sni in (0, 1, 2) if n in ("sni", "chain-of-3", "ec") else (0,):
        with open(os.path.join(HERE, "corpus", "admit", f"{n}-{sni}"), "wb") as f:
            f.write(bytes([sni]) + der(cert))
for n, body in (("empty", b""), ("cut", der(leaf)[:200]), ("two", der(leaf) + der(cas["ec"]))):
    with open(os.path.join(HERE, "corpus", "admit", n), "wb") as f:
        f.write(b"\1" + body)
with open(os.path.join(HERE, "admit_cas.inc"), "w", encoding="ascii") as f:
    f.write("/* SPDX-License-Identifier: Apache-2.0 */\n/* Made by admit_corpus.py. */\n")
    for n, *how in registered:
        body = der(cas[n])
        f.write(f"/* {n} */\n{{ {', '.join(str(h) for h in how)}, {len(body)},\n    {{\n")
        for i in range(0, len(body), 16):
            f.write("        " + ", ".join(f"0x{b:02x}" for b in body[i:i + 16]) + ",\n")
        f.write("    } },\n")

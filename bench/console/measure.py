#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Time what the console's pages ask. usage: measure.py HOST:PORT FILE-OF-IDS"""
import http.client
import json
import statistics
import sys
import time

host, ids = sys.argv[1], open(sys.argv[2]).read().split()
connection = http.client.HTTPConnection(host)
headers = {"X-Console-Token": "login"}


def ask(method, path, body=None):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        sys.exit(f"{method} {path}: {answer.status} {text.decode()}")
    return answer, json.loads(text or "{}")


def measure(what, path, times=200):
    took = []
    found = 0
    for _ in range(times):
        begun = time.monotonic()
        found = len(ask("GET", path)[1].get("certificates", []))
        took.append(1000 * (time.monotonic() - begun))
    took.sort()
    print(f"{what:44} p50 {statistics.median(took):7.1f} ms   p99 {took[int(len(took) * 0.99)]:7.1f} ms   {found} shown")


def search(what, query):
    """As the page does: until there are 25 or no more."""
    marker, requests, shown, longest, begun = "", 0, 0, 0, time.monotonic()
    while shown < 25:
        asked = time.monotonic()
        answer = ask("GET", f"/view/certificates?{query}&limit=25&marker={marker}")[1]
        longest = max(longest, time.monotonic() - asked)
        requests += 1
        shown += len(answer["certificates"])
        marker = answer["nextMarker"]
        if not marker:
            break
    print(f"{what:44} {time.monotonic() - begun:7.1f} s in {requests} requests, the longest {1000 * longest:.1f} ms, {shown} shown")


answer, session = ask("POST", "/session", json.dumps({"accessKey": "test", "secretKey": "test"}))
headers = {"X-Console-Token": session["token"], "Cookie": answer.getheader("Set-Cookie").split(";")[0]}
for one in ids[-1:]:
    ask("PUT", f"/api/certificates/{one}?newStatus=INACTIVE", "{}")
measure("overview", "/view/overview")
measure("first page of the list", "/view/certificates?limit=25")
marker = ""
for _ in range(8):
    marker = ask("GET", f"/view/certificates?limit=100&marker={marker}")[1]["nextMarker"] or marker
measure("a page further on", f"/view/certificates?limit=25&marker={marker}")
measure("search by the beginning of an id", f"/view/certificates?limit=25&search={ids[len(ids) // 2][:12]}", 50)
measure("search by a name that many have", "/view/certificates?limit=25&search=templ")
measure("one certificate", f"/view/certificate?id={ids[len(ids) // 2]}")
search("the only INACTIVE one, the last", "status=INACTIVE")
search("a name that nobody has", "search=nobody")

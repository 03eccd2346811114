#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run a command whose requests to an API pass through here, and kill it (SIGKILL) at the N-th of them.

usage: cut_api.py URL N before|after COMMAND...
before: the request never reaches the API; after: it does, and the answer never reaches the command.
Exit code: 9 killed, else the command's own (there were fewer requests).
"""
import http.client
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlparse

url, cut_at, when, command = urlparse(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
seen = 0


class Handler(BaseHTTPRequestHandler):
    def handle_any(self):
        global seen
        seen += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if seen == cut_at and when == "before":
            os.kill(child.pid, signal.SIGKILL)
            return
        there = http.client.HTTPConnection(url.hostname, url.port)
        there.request(self.command, self.path, body or None, dict(self.headers))
        answer = there.getresponse()
        data = answer.read()
        if seen == cut_at:
            os.kill(child.pid, signal.SIGKILL)
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower().startswith("x-amzn") or name.lower() == "content-type":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
child = subprocess.Popen(command, env=dict(os.environ, AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}"))
code = child.wait()
sys.exit(9 if code == -9 else code)

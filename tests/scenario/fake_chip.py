#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A chip that answers from a list, for states that the simulated chip does not reach.

usage: fake_chip.py [COMMAND=ANSWER ...]     hex APDUs; an empty ANSWER closes the connection

Prints `listening tcp:HOST:PORT`, then serves one client after another until it is ended. What is not in the list
answers 6D00; SELECT answers version 0130 unless the list has it.
"""
import socket
import struct
import sys

SELECT = "00A4040005613731636800"
ATR = "B80411010504B9020101BA0101BB0C41373130784348323432523 1BC00".replace(" ", "")


def read_exactly(client, count):
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data


def serve(client, answers):
    while (header := read_exactly(client, 4)) is not None:
        kind, _, length = struct.unpack(">BBH", header)
        command = read_exactly(client, length).hex().upper()
        answer = ATR if kind == 0 else answers.get(command, "6D00")
        if answer == "":
            return
        data = bytes.fromhex(answer)
        client.sendall(struct.pack(">BBH", kind, 0, len(data)) + data)


def main():
    answers = {SELECT: "01309000"}
    answers.update(a.upper().split("=") for a in sys.argv[1:])
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening tcp:127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            serve(client, answers)


main()

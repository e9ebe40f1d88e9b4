"""Calls as a program's own libraries make them, by HTTP_PROXY where it is set: each argument is a URL, and tcp://HOST:PORT sends
a line. Prints a line of JSON a call."""

import json
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request


def call(url):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "tcp":
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            connection.sendall(b"hello\n")
            connection.shutdown(socket.SHUT_WR)
            return {"body": b"".join(iter(lambda: connection.recv(4096), b"")).decode()}
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return {"status": answer.status, "body": answer.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}


for url in sys.argv[1:]:
    try:
        print(json.dumps({"url": url, **call(url)}))
    except OSError as error:
        print(json.dumps({"url": url, "failure": str(error)}))

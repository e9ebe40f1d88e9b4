"""A steady load, for tests of a mesh: each argument is one client, which asks again and again until SIGTERM.

kept:URL          HTTP, over one connection for as long as the server lets it; each request has a number in X-Load
idle:URL          the same, with a pause of a second before each request
new:URL           HTTP, over a new connection each time
tcp:HOST:PORT     a line and its echo, over a new connection each time
held:HOST:PORT    the same, over one connection

Prints "loading" when each client was answered once, a JSON line for each request that failed, and at the end how often each
client saw what: an HTTP status, "ok" for an echo, or why there was none. "closed" is a connection that had been answered before
and was ended before the first byte of this answer, as a client of HTTP has to expect (RFC 9112, 9.3.1 and 9.6).
"""

import collections
import http.client
import json
import signal
import socket
import sys
import threading
import time
import urllib.parse
import uuid

PAUSE_S = 0.02
TIMEOUT_S = 10
ended = threading.Event()
answered = threading.Semaphore(0)


def reason(error):
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)):
        return "reset"
    if isinstance(error, TimeoutError):
        return "timeout"
    return f"{type(error).__name__}: {error}"


class Http:
    def __init__(self, url, keep, pause_s):
        parts = urllib.parse.urlsplit(url)
        self.address, self.path, self.keep = (parts.hostname, parts.port or 80), parts.path or "/", keep
        self.connection, self.id, self.pause_s = None, None, pause_s

    def ask(self):
        is_used = self.connection is not None
        if not is_used:
            self.connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT_S)
            self.connection.connect()
        self.id = uuid.uuid4().hex
        try:
            self.connection.request("GET", self.path, headers={"x-load": self.id} if self.keep else {"connection": "close"})
            answer = self.connection.getresponse()
        except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
            if not is_used:
                raise
            self.end()
            return "closed"
        body = answer.read().decode()
        # A server that wants to end says so with an answer; the next request is for a new connection.
        if not self.keep or answer.will_close:
            self.end()
        return "200" if answer.status == 200 else f"{answer.status} {body}"

    def end(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Tcp:
    def __init__(self, host, port, keep):
        self.address, self.keep, self.socket = (host, int(port)), keep, None
        self.id, self.pause_s = None, PAUSE_S

    def ask(self):
        if self.socket is None:
            self.socket = socket.create_connection(self.address, timeout=TIMEOUT_S)
        self.socket.sendall(b"hello\n")
        echo = b""
        while not echo.endswith(b"\n"):
            part = self.socket.recv(100)
            if not part:
                raise ConnectionResetError
            echo += part
        if not self.keep:
            self.end()
        return "ok" if echo == b"hello\n" else repr(echo)

    def end(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def client(text):
    kind, _, target = text.partition(":")
    if kind in ("kept", "idle", "new"):
        return Http(target, kind != "new", 1 if kind == "idle" else PAUSE_S)
    return Tcp(*target.rsplit(":", 1), kind == "held")


def load(text, seen):
    one = client(text)
    first = True
    while not ended.is_set():
        began = time.time()
        try:
            outcome = one.ask()
        except (OSError, http.client.HTTPException) as error:
            one.end()
            outcome = reason(error)
        seen[outcome] += 1
        if outcome not in ("200", "ok"):
            line = {"client": text, "failure": outcome, "id": one.id, "began": began, "ended": time.time()}
            print(json.dumps(line), flush=True)
        elif first:
            first = False
            answered.release()
        ended.wait(one.pause_s)
    one.end()


def main(texts):
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    totals = {text: collections.Counter() for text in texts}
    threads = [threading.Thread(target=load, args=pair) for pair in totals.items()]
    for thread in threads:
        thread.start()
    for _ in threads:
        while not answered.acquire(timeout=0.1):
            if ended.is_set():
                break
    print("loading", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps({"totals": totals}), flush=True)


main(sys.argv[1:])

"""A program that ends as a good one does, for tests of a mesh: at SIGTERM it listens no more, answers what it has begun, and
makes calls of its own until it ends.

mesh_server.py HTTP_PORT TCP_PORT [URL]

HTTP: GET /?delay=SECONDS answers when the time is over; GET /sick and /well say what GET /health answers from then on.
TCP: each line comes back. Prints "listening PID", a line for each request that waits ("waiting N", N at once), and as it
ends a JSON line: what the calls to URL gave, by outcome, how many requests were answered, and the X-Load of all that came.
"""

import collections
import http.server
import json
import os
import signal
import socketserver
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

lock = threading.Lock()
working = waiting = answered = 0
ended = threading.Event()
health = 200
loads = []


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer in one packet.
    wbufsize = -1

    def do_GET(self):
        global answered, health, waiting, working
        url = urllib.parse.urlsplit(self.path)
        delay = float(urllib.parse.parse_qs(url.query).get("delay", ["0"])[0])
        with lock:
            if "x-load" in self.headers:
                loads.append(self.headers["x-load"])
            working += 1
            if delay > 0:
                waiting += 1
                print(f"waiting {waiting}", flush=True)
        health = {"/sick": 503, "/well": 200}.get(url.path, health)
        time.sleep(delay)
        body = b"answer\n"
        try:
            self.send_response(health if url.path == "/health" else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        finally:
            with lock:
                working -= 1
                waiting -= delay > 0
                answered += 1

    def log_message(self, *_):
        pass


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)


class HttpServer(http.server.ThreadingHTTPServer):
    request_queue_size = 128


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128


def call(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return str(error)


def main(http_port, tcp_port, url=None):
    servers = [HttpServer(("", int(http_port)), Http), TcpServer(("", int(tcp_port)), Tcp)]
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    print("listening", os.getpid(), flush=True)
    # A signal that comes while another thread runs does not always wake a main thread that waits without an end (Python 3.11:
    # 1 of some 50 stops under load, without krun): the program would be killed when its grace period is over.
    while not ended.wait(0.1):
        pass
    for server in servers:
        # The loop that accepts goes on for a moment: the socket is closed first, as a server does that is in a hurry.
        server.socket.close()
    calls = collections.Counter()
    while True:
        with lock:
            done = working == 0
        if url:
            calls[call(url)] += 1
        if done:
            break
        time.sleep(0.02)
    print(json.dumps({"calls": calls, "answered": answered, "loads": loads}), flush=True)


main(*sys.argv[1:])

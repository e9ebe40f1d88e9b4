"""Servers and a restless client for tests in network namespaces.

serve <protocol>:<address>:<port>:<tag>...
    Answers each connection or datagram with its tag and prints "<tag> <address of the other>". Prints "ready" first.
hammer <protocol>:<address>:<port>:<expected>...
    Asks each in turn, again and again, until standard input ends; then prints how often it was answered right, and what
    else it got.
hold <address> <port>
    Connects, prints "open", and prints what it is sent.

An IPv6 address stands between brackets.
"""
import json
import re
import selectors
import socket
import sys
import threading


def endpoint(text):
    protocol, address, port, tag = re.fullmatch(r"(\w+):\[?([0-9a-f.:]+?)\]?:(\d+):(.+)", text).groups()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    return family, kind, (address, int(port)), tag


def serve(texts):
    waiting = selectors.DefaultSelector()
    for text in texts:
        family, kind, address, tag = endpoint(text)
        server = socket.socket(family, kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        if kind == socket.SOCK_STREAM:
            server.listen(100)
        waiting.register(server, selectors.EVENT_READ, (kind, tag))
    print("ready", flush=True)
    while True:
        for key, _ in waiting.select():
            kind, tag = key.data
            if kind == socket.SOCK_STREAM:
                other, source = key.fileobj.accept()
                other.sendall(tag.encode())
                # "late" stays open, and is spoken to once more when somebody asks for it.
                if tag.startswith("late"):
                    held.append(other)
                else:
                    other.close()
                    if tag == "release":
                        while held:
                            late = held.pop()
                            late.sendall(b"!")
                            late.close()
            else:
                _, source = key.fileobj.recvfrom(2000)
                key.fileobj.sendto(tag.encode(), source)
            print(tag, source[0], flush=True)


held = []


def ask(text):
    family, kind, address, expected = endpoint(text)
    with socket.socket(family, kind) as client:
        client.settimeout(5)
        try:
            client.connect(address)
            if kind == socket.SOCK_DGRAM:
                client.send(b"?")
            answer = client.recv(2000).decode()
        except OSError as error:
            answer = str(error)
    return None if answer == expected else f"{text}: {answer}"


def hammer(texts):
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    right, wrong = 0, []
    print("ready", flush=True)
    while not ended.is_set():
        for text in texts:
            fault = ask(text)
            if fault is None:
                right += 1
            else:
                wrong.append(fault)
    print(json.dumps({"right": right, "wrong": wrong}), flush=True)


def hold(address, port):
    with socket.create_connection((address, int(port))) as client:
        client.settimeout(6)
        print(client.recv(2000).decode(), flush=True)
        try:
            print(client.recv(2000).decode(), flush=True)
        except OSError as error:
            print(error, flush=True)


{"serve": lambda: serve(sys.argv[2:]), "hammer": lambda: hammer(sys.argv[2:]), "hold": lambda: hold(*sys.argv[2:])}[
    sys.argv[1]
]()

"""Echoes on each port that is named, each half ending by itself. At SIGTERM it accepts nobody new, and ends with its last connection."""

import selectors
import signal
import socket
import sys
import threading

stop, stopping = socket.socketpair()
signal.signal(signal.SIGTERM, lambda *_: stopping.send(b"x"))


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


selector = selectors.DefaultSelector()
selector.register(stop, selectors.EVENT_READ)
listeners = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1:]]
for listener in listeners:
    selector.register(listener, selectors.EVENT_READ)
print("ready", flush=True)
threads = []
running = True
while running:
    for key, _ in selector.select():
        if key.fileobj is stop:
            running = False
            break
        connection, _ = key.fileobj.accept()
        threads.append(threading.Thread(target=echo, args=(connection,), daemon=True))
        threads[-1].start()
for listener in listeners:
    listener.close()
print("stopping", flush=True)
for thread in threads:
    thread.join()

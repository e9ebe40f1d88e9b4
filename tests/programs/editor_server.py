"""What an editor's server is on the far side: listens on a free port of loopback, or on a socket, says where, and outlives who started it.
To each connection it says its pid, then echoes."""

import os
import socket
import sys
import threading


def serve(connection):
    with connection:
        connection.sendall(b"%d\n" % os.getpid())
        while data := connection.recv(65536):
            connection.sendall(data)


option, value = sys.argv[1].split("=", 1)
if option == "--socket-path":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(value)
    listener.listen()
    place = value
else:
    listener = socket.create_server(("127.0.0.1", int(value)))
    place = listener.getsockname()[1]
print(f"Extension host agent listening on {place}", flush=True)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()

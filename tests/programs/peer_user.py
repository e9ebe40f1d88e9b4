"""Says as whom somebody connects to a Unix socket. Argument: its path. Prints user and group of one caller."""
import os
import socket
import struct
import sys

with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    os.chmod(sys.argv[1], 0o666)
    server.listen()
    peer, _ = server.accept()
    _, uid, gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    print(uid, gid, flush=True)

"""A thread-per-connection echo server, as anyone would write it."""

import os
import socket
import threading


def echo(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(4096):
        connection.sendall(data)


listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
print(listener.getsockname()[1], os.getpid(), flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=echo, args=(connection,), daemon=True).start()

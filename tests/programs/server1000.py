"""A server with a thread for each connection, and 1,000 connections to it (or as many as the argument says), all open at
once and all from one client thread. Prints "os threads N" to stderr while they are open: how many the kernel knows."""

import resource
import socket
import sys
import threading


def os_threads():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


def serve(connection):
    with connection:
        while data := connection.recv(4096):
            connection.sendall(data.upper())


def accept(listener, count, threads):
    for _ in range(count):
        connection, _ = listener.accept()
        threads.append(threading.Thread(target=serve, args=(connection,)))
        threads[-1].start()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    threads = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=min(count, 4096))
    acceptor = threading.Thread(target=accept, args=(listener, count, threads))
    acceptor.start()
    clients = [socket.create_connection(listener.getsockname()) for _ in range(count)]
    acceptor.join()

    for round_ in range(3):
        for number, client in enumerate(clients):
            client.sendall(b"client %d round %d" % (number, round_))
        for number, client in enumerate(clients):
            assert client.recv(4096) == b"CLIENT %d ROUND %d" % (number, round_)
    assert threading.active_count() == count + 1
    print("os threads", os_threads(), file=sys.stderr)

    for client in clients:
        client.close()
    for thread in threads:
        thread.join()
    print("PASS", count, "connections")


if __name__ == "__main__":
    main()

"""One thread that computes for ever and never waits: a thousand others sleep, talk and end beside it."""

import queue
import socket
import threading
import time

THREADS = 1000


def spins():
    while True:
        pass


def sleeps():
    for _ in range(3):
        time.sleep(0.001)


def together(body, count):
    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def queues():
    there, back = queue.Queue(), queue.Queue()

    def answers():
        while (item := there.get()) is not None:
            back.put(item + 1)

    thread = threading.Thread(target=answers)
    thread.start()
    for number in range(100):
        there.put(number)
        assert back.get() == number + 1
    there.put(None)
    thread.join()


def connections():
    server = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serves(connection):
        with connection:
            while data := connection.recv(4096):
                connection.sendall(data)

    def accepts():
        for _ in range(20):
            connection, _ = server.accept()
            threading.Thread(target=serves, args=(connection,)).start()

    def asks():
        with socket.create_connection(server.getsockname()) as connection:
            connection.sendall(b"treasure")
            received = b""
            while len(received) < 8:
                received += connection.recv(8)
            assert received == b"treasure"

    acceptor = threading.Thread(target=accepts)
    acceptor.start()
    together(asks, 20)
    acceptor.join()
    server.close()


def main():
    threading.Thread(target=spins, daemon=True).start()
    together(sleeps, THREADS)
    print("PASS", THREADS, "threads", flush=True)
    queues()
    print("PASS queues", flush=True)
    connections()
    print("PASS connections", flush=True)


if __name__ == "__main__":
    main()

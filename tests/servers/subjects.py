"""What `reach.py` measures, as anyone would write it in Python: subjects.py NAME [NUMBER…], or gevent NAME [NUMBER…]."""

import sys

if sys.argv[1] == "gevent":
    del sys.argv[1]
    from gevent import monkey

    monkey.patch_all()

import hashlib
import os
import resource
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def tell(**figures):
    print(" ".join(f"{name}={value:.6g}" for name, value in figures.items()), flush=True)


def sockets(port, milliseconds):
    """A thread for each connection; whatever comes is a request."""

    def serve(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while connection.recv(4096):
            if milliseconds:
                time.sleep(milliseconds / 1000)
            connection.sendall(ANSWER)

    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def http(port, milliseconds):
    """The standard library's server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if milliseconds:
                time.sleep(milliseconds / 1000)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 2048
        daemon_threads = True

    Server(("127.0.0.1", port), Handler).serve_forever()


def start_all(count, body):
    threads = [threading.Thread(target=body, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def event(count):
    """Wakes and joins threads that wait for one event: microseconds each; what each takes of memory."""
    gate, ready = threading.Event(), threading.Semaphore(0)

    def wait():
        ready.release()
        gate.wait()

    before = status("VmRSS")
    threads = start_all(count, wait)
    for _ in threads:
        ready.acquire()
    time.sleep(0.2)
    resident = (status("VmRSS") - before) / count
    begin = time.perf_counter()
    gate.set()
    for thread in threads:
        thread.join()
    tell(micros=(time.perf_counter() - begin) / count * 1e6, kib=resident)


def asleep(count):
    """How many threads can be asleep at once."""
    started = 0
    threading.stack_size(0)
    before, begin = status("VmRSS"), time.perf_counter()
    try:
        for started in range(1, count + 1):
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    except (RuntimeError, MemoryError):
        started -= 1
    seconds = time.perf_counter() - begin
    tell(threads=started, seconds=seconds, kib=(status("VmRSS") - before) / max(started, 1), os_threads=status("Threads"))
    os._exit(0)


def sha256(count):
    """Hashes big buffers in two threads: MB a second of both."""
    data = bytes(1 << 20)
    gate = threading.Barrier(3)

    def work():
        gate.wait()
        for _ in range(count):
            hashlib.sha256(data).digest()

    threads = start_all(2, work)
    gate.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    tell(mb=2 * count * len(data) / 1e6 / (time.perf_counter() - begin))


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))

"""Threads that compute, in Python and in C code that lets go of the interpreter's lock, beside children, sockets, signals."""

import bz2
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

stop = threading.Event()
failures = []


def python():
    assert sum(number * number for number in range(2000)) == 2664667000


def compression():
    data = bytes(range(256)) * 400
    assert zlib.decompress(zlib.compress(data)) == data
    assert bz2.decompress(bz2.compress(data[:20000])) == data[:20000]


def digests():
    """On large data the interpreter's lock is let go, and taken again."""
    assert hashlib.sha256(b"x" * 100_000).hexdigest().startswith("d69e689881578332")


def exceptions():
    for number in range(200):
        try:
            try:
                raise KeyError(number)
            except KeyError as error:
                raise ValueError(number) from error
        except ValueError as error:
            assert error.args == (number,) and isinstance(error.__cause__, KeyError)


def texts():
    value = {"numbers": [1.5, 2**70, None], "text": "überfällig" * 20}
    assert json.loads(json.dumps(value)) == value
    assert re.fullmatch(r"(a|b)*c", "ab" * 200 + "c")
    assert sorted(range(2000), key=lambda number: -number)[0] == 1999


HOGS = (python, compression, digests, exceptions, texts)


def hog(body):
    try:
        while not stop.is_set():
            body()
    except BaseException as error:
        failures.append((body.__name__, error))


def children():
    def child(number):
        done = subprocess.run(["sh", "-c", f"cat; exit {number}"], input=b"in", capture_output=True)
        assert (done.returncode, done.stdout) == (number, b"in")
        assert os.waitstatus_to_exitcode(os.system(f"exit {number}")) == number
        pid = os.fork()
        if pid == 0:
            python()
            os._exit(number)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == number

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(child, range(12)))


def sockets():
    ours, theirs = socket.socketpair()

    def echo():
        while data := theirs.recv(4096):
            theirs.sendall(data)
        theirs.close()

    thread = threading.Thread(target=echo)
    thread.start()
    for number in range(200):
        message = number.to_bytes(4, "little")
        ours.sendall(message)
        assert ours.recv(4) == message
    ours.close()
    thread.join()


def sleepers():
    def sleeps(_):
        for _ in range(5):
            time.sleep(0.001)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(sleeps, range(100)))


def handlers():
    """Handlers in Python run in the main thread, each signal's own: SIGURG too."""
    for number in (signal.SIGUSR1, signal.SIGURG):
        calls = []
        before = signal.signal(number, lambda *_: calls.append(1))
        assert before == signal.SIG_DFL
        for sent in range(1, 21):
            os.kill(os.getpid(), number)
            while len(calls) < sent:
                time.sleep(0.001)
            assert len(calls) == sent
        # Long enough for many preemptions, none of which is the program's to see.
        for _ in range(20):
            python()
        assert len(calls) == 20
        signal.signal(number, signal.SIG_DFL)


def main():
    threads = [threading.Thread(target=hog, args=(body,)) for body in HOGS]
    for thread in threads:
        thread.start()
    for body in (sleepers, sockets, handlers, children):
        body()
        print("PASS", body.__name__, flush=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    print("PASS hogs", flush=True)


if __name__ == "__main__":
    main()

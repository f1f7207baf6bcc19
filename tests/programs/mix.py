"""A bit of everything that Python's threads do. Prints a line "PASS theme" for each theme; an assertion ends it."""

import asyncio
import contextlib
import decimal
import hashlib
import json
import os
import queue
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

THEMES = []


def theme(function):
    """Marks a function that `main` calls; its name is what PASS is printed with."""
    THEMES.append(function)
    return function


def run(count, body):
    """Runs body(0) … body(count - 1) in a thread each; returns their results in order. An exception is raised again."""
    results = [None] * count

    def keep(index):
        try:
            results[index] = body(index)
        except BaseException as error:  # handed to the caller whatever it is
            results[index] = error

    threads = [threading.Thread(target=keep, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@theme
def lock():
    guard = threading.Lock()
    count = 0

    def add(_):
        nonlocal count
        for _ in range(200):
            with guard:
                count += 1
            if random.random() < 0.02:
                time.sleep(0)

    run(200, add)
    assert count == 40_000


@theme
def reentrant_lock():
    guard = threading.RLock()
    count = 0

    def add(_):
        nonlocal count
        with guard, guard:
            before = count
            time.sleep(0.0001)
            count = before + 1

    run(50, add)
    assert count == 50


@theme
def queues():
    asked, answered = queue.Queue(), queue.Queue()

    def answer():
        while (number := asked.get()) is not None:
            answered.put(number + 1)

    thread = threading.Thread(target=answer)
    thread.start()
    for number in range(5_000):
        asked.put(number)
        assert answered.get() == number + 1
    asked.put(None)
    thread.join()


@theme
def bounded_queue():
    work = queue.Queue(maxsize=3)
    done = []

    def consume():
        while (item := work.get()) is not None:
            done.append(item)
            work.task_done()

    consumers = [threading.Thread(target=consume) for _ in range(5)]
    for consumer in consumers:
        consumer.start()
    run(10, lambda index: [work.put(index * 100 + number) for number in range(100)])
    work.join()
    for _ in consumers:
        work.put(None)
    for consumer in consumers:
        consumer.join()
    assert sorted(done) == list(range(1_000))


@theme
def time_limits():
    start = time.monotonic()
    assert not threading.Event().wait(0.05)
    assert time.monotonic() - start >= 0.05
    guard = threading.Lock()
    assert guard.acquire() and not guard.acquire(timeout=0.05)
    condition = threading.Condition()
    with condition:
        assert not condition.wait(0.05)
    try:
        queue.Queue().get(timeout=0.05)
        raise AssertionError("nothing was put")
    except queue.Empty:
        pass


@theme
def timers():
    event = threading.Event()
    threading.Timer(0.02, event.set).start()
    assert event.wait(60)


@theme
def semaphore():
    semaphore = threading.BoundedSemaphore(5)
    guard = threading.Lock()
    inside = most = 0

    def enter(_):
        nonlocal inside, most
        with semaphore:
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.001)
            with guard:
                inside -= 1

    run(50, enter)
    assert inside == 0 and 1 <= most <= 5


@theme
def barrier():
    meeting = threading.Barrier(50)
    assert sorted(run(50, lambda _: meeting.wait(60))) == list(range(50))


@theme
def thread_locals_and_identities():
    local = threading.local()
    meeting = threading.Barrier(100)

    def own(index):
        local.index = index
        identity = threading.get_ident(), threading.get_native_id()
        meeting.wait(60)
        assert local.index == index
        assert identity == (threading.get_ident(), threading.get_native_id())
        assert threading.current_thread().is_alive()
        return identity

    identities = run(100, own)
    assert len({ident for ident, _ in identities}) == 100
    assert len({native for _, native in identities}) == 100
    assert not hasattr(local, "index")


@theme
def executor():
    with ThreadPoolExecutor(50) as pool:
        squares = pool.map(lambda number: (time.sleep(0.001), number * number)[1], range(500))
        assert list(squares) == [number * number for number in range(500)]


@theme
def exceptions():
    def fail(index):
        try:
            time.sleep(0.001)
            open("/nothing-is-called-this")
        except OSError as error:
            time.sleep(0.001)
            return error.errno

    assert run(100, fail) == [2] * 100


@theme
def pipes():
    reader, writer = os.pipe()
    read = []
    thread = threading.Thread(target=lambda: read.append(os.read(reader, 10)))
    thread.start()
    os.write(writer, b"hi")
    thread.join()
    assert read == [b"hi"]
    os.close(reader)
    os.close(writer)


@theme
def sockets():
    def echo(connection):
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)

    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept():
        for _ in range(100):
            connection, _ = listener.accept()
            threading.Thread(target=echo, args=(connection,)).start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()

    def ask(index):
        # Every other one with a time limit: Python then makes the socket non-blocking, and polls.
        limit = (None, 60)[index % 2]
        with socket.create_connection(listener.getsockname(), timeout=limit) as connection:
            for number in range(20):
                message = b"%d %d" % (index, number)
                connection.sendall(message)
                assert connection.recv(100) == message

    run(100, ask)
    acceptor.join()
    listener.close()


@theme
def socket_time_limit():
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0.05)
        try:
            here.recv(1)
            raise AssertionError("nothing was sent")
        except socket.timeout:  # TimeoutError since 3.10
            pass


@theme
def subprocesses():
    assert [run_.returncode for run_ in run(10, lambda _: subprocess.run(["true"]))] == [0] * 10
    assert subprocess.check_output("echo hi; cat /dev/null", shell=True) == b"hi\n"


@theme
def fork_in_a_thread():
    def fork(_):
        child = os.fork()
        if child == 0:
            status = 9
            with contextlib.suppress(BaseException):
                thread = threading.Thread(target=time.sleep, args=(0.001,))
                thread.start()
                thread.join()
                status = 7
            os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert run(1, fork) == [7]


@theme
def names():
    assert socket.getaddrinfo("localhost", 80)


@theme
def signals():
    got = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: got.set())
    threading.Timer(0.01, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
    assert got.wait(60)

    # An alarm runs its handler while the main thread waits for a lock.
    rang = []
    guard = threading.Lock()
    guard.acquire()
    signal.signal(signal.SIGALRM, lambda *_: (rang.append(1), guard.release()))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    assert guard.acquire(timeout=60) and rang == [1]


@theme
def event_loops():
    async def gather():
        loop = asyncio.get_running_loop()
        work = [loop.run_in_executor(None, lambda n=n: (time.sleep(0.001), n)[1]) for n in range(20)]
        await asyncio.sleep(0.001)
        return await asyncio.gather(*work)

    assert run(3, lambda _: asyncio.run(gather())) == [list(range(20))] * 3


@theme
def extension_modules():
    def use(index):
        database = sqlite3.connect(":memory:")
        database.execute("create table t (a)")
        database.execute("insert into t values (?)", (index,))
        time.sleep(0.001)
        # The context of decimal is a thread's own.
        decimal.getcontext().prec = 20 + index % 5
        time.sleep(0.001)
        third = decimal.Decimal(1) / 3
        assert len(str(third)) == 22 + index % 5
        assert database.execute("select a from t").fetchone() == (index,)
        assert json.loads(json.dumps({"a": [index]})) == {"a": [index]}
        return hashlib.sha256(b"x" * 5_000).hexdigest()

    assert len(set(run(100, use))) == 1


@theme
def deep_recursion():
    def depth(levels):
        return 0 if levels == 0 else 1 + depth(levels - 1)

    assert run(20, lambda _: depth(900)) == [900] * 20


def main():
    for function in THEMES:
        function()
        print("PASS", function.__name__.replace("_", " "), flush=True)
    # A daemon that still sleeps does not keep the program.
    threading.Thread(target=time.sleep, args=(100_000,), daemon=True).start()


if __name__ == "__main__":
    main()

"""CPython's threads: on_threads.py BENCH key=value…, as lab/subjects/README.md says.

How many cores they have is a matter of pinning; how many of them compute at once, of the GIL."""

import os
import queue
import random
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from common import (
    BODY,
    BUFFER,
    Memory,
    Timed,
    announce,
    call,
    check_rounds,
    fail,
    finish,
    listen,
    note,
    parse,
    rounds,
    share,
)
from window import SLEEP, SLEEPERS, Window


def spawn(task, *arguments):
    thread = threading.Thread(target=task, args=arguments, daemon=True)
    thread.start()
    return thread


def together(tasks):
    """Runs all and waits for all."""
    for thread in [spawn(*task) for task in tasks]:
        thread.join()


def each(run, count):
    run(count // 10)
    start = Timed()
    run(count)
    start.report_each(count)


def nothing():
    pass


def spawn_join(count):
    def run(count):
        for _ in range(count):
            spawn(nothing).join()

    each(run, count)


def spawn_many(count):
    each(lambda count: together([(nothing,)] * count), count)


def yields(count):
    """Gives up the GIL, which does not mean that the other takes it."""

    def task(turns):
        for _ in range(turns):
            time.sleep(0)

    each(lambda count: together((task, share(count, 2, index)) for index in range(2)), count)


def pingpong(count):
    """No more than one message is ever on its way: std's simple queue, which has no bound, is what one takes."""

    def run(count):
        ping, pong = queue.SimpleQueue(), queue.SimpleQueue()

        def answers():
            for _ in range(count):
                pong.put(ping.get())

        def asks():
            for message in range(count):
                ping.put(message)
                if pong.get() != message:
                    fail("another message came back")

        together([(answers,), (asks,)])

    each(run, count)


def ring(tasks, count):
    """The token is how many hops are left. The thread that it leaves none tells which one it is."""
    queues = [queue.SimpleQueue() for _ in range(tasks)]
    arrived = queue.SimpleQueue()

    def hops(index):
        own, following = queues[index], queues[(index + 1) % tasks]
        while True:
            left = own.get()
            if left == 0:
                arrived.put(index)
            else:
                following.put(left - 1)

    for index in range(tasks):
        spawn(hops, index)

    def run(count):
        left = max(count, 1) - 1
        queues[0].put(left)
        if arrived.get() != left % tasks:
            fail("the token is where it should not be")

    each(run, count)


def mpmc(count):
    """Four senders, four receivers."""

    def run(count):
        channel = queue.Queue(1024)
        received = []

        def receives():
            got = 0
            while channel.get() is not None:
                got += 1
            received.append(got)

        def sends(messages):
            for message in range(messages):
                channel.put(message)

        receivers = [spawn(receives) for _ in range(4)]
        together((sends, share(count, 4, index)) for index in range(4))
        for _ in receivers:
            channel.put(None)
        for receiver in receivers:
            receiver.join()
        if sum(received) != count:
            fail("a message was lost")

    each(run, count)


def mutex(count):
    def run(count):
        lock, counter = threading.Lock(), 0

        def increments(turns):
            nonlocal counter
            for _ in range(turns):
                with lock:
                    counter += 1

        together((increments, share(count, 8, index)) for index in range(8))
        if counter != count:
            fail("an increment was lost")

    each(run, count)


def skynet(leaves):
    def node(first, leaves, sums):
        if leaves == 1:
            sums.append(first)
            return
        part, own = leaves // 10, []
        together((node, first + index * part, part, own) for index in range(10))
        sums.append(sum(own))

    start, sums = Timed(), []
    spawn(node, 0, leaves, sums).join()
    if sums != [leaves * (leaves - 1) // 2]:
        fail("the sum is wrong")
    start.report_ms()


def multicore(count):
    def run(count):
        parts, done = [share(count, 2, index) for index in range(2)], [None, None]

        def task(index):
            done[index] = rounds(index, parts[index])

        together((task, index) for index in range(2))
        check_rounds(done, parts)

    run(count // 10)
    start = Timed()
    run(count)
    start.report_ms()
    note("in two threads")


def memory(tasks, wait):
    waiting = threading.Semaphore(0)

    def task():
        waiting.release()
        wait()

    before = Memory()
    for _ in range(tasks):
        spawn(task)
    for _ in range(tasks):
        waiting.acquire()
    # From there to the wait itself.
    time.sleep(0.2)
    before.report_growth(tasks)


def timers(tasks):
    start = Timed()
    together((time.sleep, random.random()) for _ in range(tasks))
    start.report_timers()


def beside(window, path, others):
    def sleeper():
        while due := window.next_due():
            time.sleep(SLEEP)
            window.woke(due)

    def comes(other):
        time.sleep(window.before_begin())
        other()

    together([(sleeper,)] * SLEEPERS + [(comes, other) for other in others])
    window.write(path)


def hog(hogs, secs, late):
    window = Window(secs)
    beside(window, late, [window.hog] * hogs)


def blocked(stuck, secs, late):
    window = Window(secs)
    beside(window, late, window.hold_file(stuck))


def echo():
    """A thread for each connection."""

    def sends_back(connection):
        with connection:
            try:
                while data := connection.recv(BUFFER):
                    connection.sendall(data)
            except OSError:
                # A client that breaks off is no matter of the server's.
                pass

    with listen() as listener:
        announce(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            spawn(sends_back, connection)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Buffered: head and body in one call.
    wbufsize = -1

    def do_GET(self):
        found = self.path == "/"
        body = BODY if found else b"not found\n"
        self.send_response(200 if found else 404)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """As it is, but on a socket that listens already."""

    def __init__(self, listener):
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = listener.getsockname()

    def handle_error(self, *_):
        # A client that breaks off is no matter of the server's.
        pass


def http():
    with Server(listen()) as server:
        announce(server.server_port)
        server.serve_forever()


def generator(count):
    """`next` of a generator, which is no thread: as Python has it."""

    def numbers():
        number = 0
        while True:
            yield number
            number += 1

    def run(count):
        values = numbers()
        for number in range(count):
            if next(values) != number:
                fail("another number was yielded")

    run(count // 10)
    start = Timed()
    run(count)
    start.report_each(count)


def main():
    bench, args = parse(sys.argv[1:])
    workers = args.pop("workers")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:workers])
    runs = {
        "spawn_join": spawn_join,
        "spawn_many": spawn_many,
        "yield": yields,
        "pingpong": pingpong,
        "ring": ring,
        "mpmc": mpmc,
        "mutex": mutex,
        "generator": generator,
        "skynet": skynet,
        "memory_recv": lambda tasks: memory(tasks, queue.SimpleQueue().get),
        "memory_sleep": lambda tasks: memory(tasks, lambda: time.sleep(3600)),
        "timers": timers,
        "multicore": multicore,
        "hog": hog,
        "blocked": blocked,
        "echo": echo,
        "http": http,
    }
    try:
        call(bench, args, runs)
    except (RuntimeError, OSError) as error:
        # "can't start new thread", for one.
        fail(f"{bench}: {error}")
    finish()


if __name__ == "__main__":
    main()

"""gevent: on_gevent.py BENCH key=value…, as lab/subjects/README.md says.

Greenlets of one thread. What is used is gevent's own, and so nothing has to be patched."""

import random
import socket
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pywsgi import WSGIServer
from gevent.queue import Queue
from gevent.server import StreamServer

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
    one_thread,
    parse,
    rounds,
    share,
)
from window import SLEEP, SLEEPERS, Window


def together(tasks):
    """Runs all, waits for all, and fails if one failed."""
    gevent.joinall([gevent.spawn(*task) for task in tasks], raise_error=True)


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
            gevent.spawn(nothing).join()

    each(run, count)


def spawn_many(count):
    each(lambda count: together((nothing,) for _ in range(count)), count)


def yields(count):
    def task(turns):
        for _ in range(turns):
            gevent.sleep(0)

    each(lambda count: together((task, share(count, 2, index)) for index in range(2)), count)


def pingpong(count):
    def run(count):
        ping, pong = Queue(1), Queue(1)

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
    """The token is how many hops are left. The greenlet that it leaves none tells which one it is."""
    queues = [Queue(1) for _ in range(tasks)]
    arrived = Queue(1)

    def hops(index):
        own, following = queues[index], queues[(index + 1) % tasks]
        while True:
            left = own.get()
            if left == 0:
                arrived.put(index)
            else:
                following.put(left - 1)

    for index in range(tasks):
        gevent.spawn(hops, index)

    def run(count):
        left = max(count, 1) - 1
        queues[0].put(left)
        if arrived.get() != left % tasks:
            fail("the token is where it should not be")

    each(run, count)


def mpmc(count):
    """Four senders, four receivers."""

    def run(count):
        channel = Queue(1024)

        def receives():
            # gevent's queues are iterable, until this arrives.
            return sum(1 for _ in channel)

        def sends(messages):
            for message in range(messages):
                channel.put(message)

        receivers = [gevent.spawn(receives) for _ in range(4)]
        together((sends, share(count, 4, index)) for index in range(4))
        for _ in receivers:
            channel.put(StopIteration)
        if sum(receiver.get() for receiver in receivers) != count:
            fail("a message was lost")

    each(run, count)


def mutex(count):
    def run(count):
        lock, counter = BoundedSemaphore(1), 0

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
    def node(first, leaves):
        if leaves == 1:
            return first
        part = leaves // 10
        children = [gevent.spawn(node, first + index * part, part) for index in range(10)]
        return sum(child.get() for child in children)

    start = Timed()
    if gevent.spawn(node, 0, leaves).get() != leaves * (leaves - 1) // 2:
        fail("the sum is wrong")
    start.report_ms()


def multicore(workers, count):
    """On more than one core: processes, which gevent's own threads wait for."""
    if workers > 1:
        processes = ProcessPoolExecutor(2, get_context("spawn"))
        wait = gevent.get_hub().threadpool.apply

        def task(index, part):
            return wait(lambda: processes.submit(rounds, index, part).result())
    else:
        task = rounds

    def run(count):
        parts = [share(count, 2, index) for index in range(2)]
        tasks = [gevent.spawn(task, index, part) for index, part in enumerate(parts)]
        check_rounds([task.get() for task in tasks], parts)

    run(count // 10)
    start = Timed()
    run(count)
    start.report_ms()
    if workers > 1:
        processes.shutdown()
        note("in two processes")


def memory(tasks, wait):
    waiting = 0

    def task():
        nonlocal waiting
        waiting += 1
        wait()

    before = Memory()
    keep = [gevent.spawn(task) for _ in range(tasks)]
    while waiting < len(keep):
        gevent.sleep(0.01)
    before.report_growth(tasks)


def timers(tasks):
    start = Timed()
    together((gevent.sleep, random.random()) for _ in range(tasks))
    start.report_timers()


def beside(window, path, others):
    def sleeper():
        while due := window.next_due():
            gevent.sleep(SLEEP)
            window.woke(due)

    def comes(other):
        gevent.sleep(window.before_begin())
        other()

    together([(sleeper,)] * SLEEPERS + [(comes, other) for other in others])
    window.write(path)


def hog(hogs, secs, late):
    window = Window(secs)
    beside(window, late, [window.hog] * hogs)


def blocked(stuck, secs, late):
    window = Window(secs)
    beside(window, late, window.hold_file(stuck))


def gevent_socket(listener):
    return gevent.socket.socket(listener.family, listener.type, fileno=listener.detach())


def echo():
    """A greenlet for each connection."""

    def sends_back(connection, _):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := connection.recv(BUFFER):
                connection.sendall(data)
        except OSError:
            # A client that breaks off is no matter of the server's.
            pass

    serve(StreamServer(gevent_socket(listen()), sends_back))


def http():
    def app(environ, start_response):
        found = environ["PATH_INFO"] == "/"
        body = BODY if found else b"not found\n"
        headers = [("content-type", "text/plain"), ("content-length", str(len(body)))]
        start_response("200 OK" if found else "404 Not Found", headers)
        return [body]

    serve(WSGIServer(gevent_socket(listen()), app, log=None))


def serve(server):
    server.start()
    announce(server.server_port)
    server.serve_forever()


def main():
    bench, args = parse(sys.argv[1:])
    one_thread(bench, args["workers"], "gevent")
    if bench != "multicore":
        del args["workers"]
    runs = {
        "spawn_join": spawn_join,
        "spawn_many": spawn_many,
        "yield": yields,
        "pingpong": pingpong,
        "ring": ring,
        "mpmc": mpmc,
        "mutex": mutex,
        "skynet": skynet,
        "memory_recv": lambda tasks: memory(tasks, Queue(1).get),
        "memory_sleep": lambda tasks: memory(tasks, lambda: gevent.sleep(3600)),
        "timers": timers,
        "multicore": multicore,
        "hog": hog,
        "blocked": blocked,
        "echo": echo,
        "http": http,
    }
    call(bench, args, runs)
    finish()


if __name__ == "__main__":
    main()

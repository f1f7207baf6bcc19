"""A thousand threads at once, what each of them has to say, and how many OS threads there were."""

import sys
import threading
import time
import traceback

THREADS = 1000


def os_threads():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


def fan_out(body, threads=THREADS):
    """Runs body(number) in as many threads; their results in order. All have begun before one goes on."""
    results = [None] * threads
    gate = threading.Barrier(threads + 1)

    def run(number):
        gate.wait()
        try:
            results[number] = body(number)
        except BaseException:
            results[number] = traceback.format_exc()

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    gate.wait()
    most = 0
    for thread in running:
        while thread.is_alive():
            most = max(most, os_threads())
            thread.join(0.02)
    print(f"os threads: {most}", file=sys.stderr)
    return results


class Pool:
    """Connections that threads queue for."""

    def __init__(self, connect, size):
        self.lock = threading.Condition()
        self.idle = []
        self.left = size
        self.connect = connect

    def __enter__(self):
        with self.lock:
            while not self.idle and not self.left:
                self.lock.wait()
            if self.idle:
                connection = self.idle.pop()
            else:
                self.left -= 1
                connection = None
        if connection is None:
            connection = self.connect()
        self.held().append(connection)
        return connection

    def __exit__(self, *_):
        connection = self.held().pop()
        with self.lock:
            self.idle.append(connection)
            self.lock.notify()

    local = threading.local()

    def held(self):
        if not hasattr(self.local, "held"):
            self.local.held = []
        return self.local.held

    def close(self):
        for connection in self.idle:
            connection.close()


def report(name, version, results):
    """What must be the same on fibers and on threads, whatever the order."""
    wrong = [result for result in results if isinstance(result, str) and "Traceback" in result]
    for text in wrong[:3]:
        print(text, file=sys.stderr)
    print(f"{name} {version}: {len(results)} results, {len(wrong)} errors")
    for result in results:
        print(result)
    sys.stdout.flush()
    if wrong:
        sys.exit(1)


def timed(body):
    begin = time.monotonic()
    result = body()
    print(f"seconds: {time.monotonic() - begin:.2f}", file=sys.stderr)
    return result

"""What the subjects in Python share: how they are called, what they print, what they read of the machine. No concurrency."""

import gc
import os
import re
import resource
import socket
import sys
import time

# What there is, as lab/subjects/README.md has it. A bench has exactly its keys: one that went on with a default would print
# a number that nobody asked for.
BENCHES = {
    "spawn_join": ("workers", "count"),
    "spawn_many": ("workers", "count"),
    "yield": ("workers", "count"),
    "pingpong": ("workers", "count"),
    "ring": ("workers", "tasks", "count"),
    "mpmc": ("workers", "count"),
    "mutex": ("workers", "count"),
    "generator": ("workers", "count"),
    "skynet": ("workers", "leaves"),
    "memory_recv": ("workers", "tasks"),
    "memory_sleep": ("workers", "tasks"),
    "timers": ("workers", "tasks"),
    "multicore": ("workers", "count"),
    "hog": ("workers", "hogs", "secs", "late"),
    "blocked": ("workers", "stuck", "secs", "late"),
    "echo": ("workers",),
    "http": ("workers",),
}

BODY = b"x" * 1024
BUFFER = 512
BACKLOG = 4096


def stop(status, why):
    """Ends the run, from whichever thread."""
    print(why, file=sys.stderr, flush=True)
    os._exit(status)


def fail(why):
    """Ends the run: nobody is to believe it."""
    stop(1, why)


def finish():
    """Ends the run well. Thousands of tasks that still wait are not torn down one by one."""
    sys.stdout.flush()
    os._exit(0)


def parse(arguments):
    """Returns the bench and its parameters by name."""
    if not arguments:
        stop(2, "which bench? BENCH key=value…")
    bench, *rest = arguments
    if bench not in BENCHES:
        stop(2, f"no bench is called {bench}")
    keys, args = BENCHES[bench], {}
    for argument in rest:
        key, equals, text = argument.partition("=")
        if not equals:
            stop(2, f"not key=value: {argument}")
        if key not in keys:
            stop(2, f"{bench} has no key {key}: it has {', '.join(keys)}")
        args[key] = value(key, text)
    for key in keys:
        if key not in args:
            stop(2, f"{bench} needs {key}=…")
    return bench, args


def value(key, text):
    number = int(text) if re.fullmatch(r"[0-9]{1,15}", text) else -1
    match key:
        case "late":
            right, wanted = text != "", "a path"
            number = text
        case "secs":
            right, wanted = re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text) and float(text) > 0, "seconds"
            number = float(text) if right else 0
        case "hogs" | "stuck":
            right, wanted = number >= 0, "a number"
        case "leaves":
            right = re.fullmatch("10*", text)
            wanted = "a power of ten, as each inner task has ten children"
        case _:
            right, wanted = number > 0, "a number above zero"
    if not right:
        stop(2, f"{key}={text}: {key} is {wanted}")
    return number


def call(bench, args, runs):
    """Calls what the subject has by that name."""
    if bench not in runs:
        stop(2, f"this subject has no bench {bench}")
    return runs[bench](**args)


def one_thread(bench, workers, what):
    """For what has one thread, whatever it is given: only `multicore` goes beyond it."""
    if workers > 1 and bench != "multicore":
        fail(f"{what} has one thread: workers=1 is all there is")


def report(**numbers):
    for key, number in numbers.items():
        print(key, f"{number:.3f}")


def note(words):
    """Prints what is to be said of the number where it is shown: that it is not quite what the others did."""
    print("note", words)


class Timed:
    """A moment from which is measured."""

    def __init__(self):
        self.start = time.perf_counter_ns()

    def report_each(self, count):
        report(value=(time.perf_counter_ns() - self.start) / count)

    def report_ms(self):
        report(value=(time.perf_counter_ns() - self.start) / 1e6)

    def report_timers(self):
        """What tasks that slept for a second at most took beyond it, and the memory that they took."""
        beyond = (time.perf_counter_ns() - self.start) / 1e6 - 1e3
        report(value=beyond, rss=field("/proc/self/status", "VmHWM") / 1024 / 1024)


def share(total, tasks, index):
    """The part of one task, of `total` for all: what does not divide goes to the first ones."""
    return total // tasks + (index < total % tasks)


def field(path, name):
    """`name: N kB` of a file in /proc, in bytes."""
    with open(path) as lines:
        for line in lines:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    fail(f"{path} has no {name}")


class Memory:
    """What is used at one moment, in bytes."""

    def __init__(self):
        gc.collect()
        self.rss = field("/proc/self/status", "VmRSS")
        self.page_tables = field("/proc/self/status", "VmPTE")
        self.available = field("/proc/meminfo", "MemAvailable")

    def report_growth(self, tasks):
        now = Memory()
        report(
            value=(now.rss - self.rss) / tasks,
            page_tables=(now.page_tables - self.page_tables) / tasks,
            system=(self.available - now.available) / tasks,
        )


# Knuth's MMIX generator on 64 bits: each round needs the one before.
A, C, MASK = 6364136223846793005, 1442695040888963407, 2**64 - 1


def rounds(x, count):
    for _ in range(count):
        x = (x * A + C) & MASK
    return x


def jump(x, count):
    """Where the rounds lead, by squaring: to check those who went."""
    a, c = A, C
    while count:
        if count & 1:
            x = (x * a + c) & MASK
        c = c * (a + 1) & MASK
        a = a * a & MASK
        count >>= 1
    return x


def check_rounds(done, parts):
    if done != [jump(index, part) for index, part in enumerate(parts)]:
        fail("the result is wrong")


def listen():
    """A socket that listens on a free port, with as many descriptors as the process may have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)


def announce(port):
    print(port, os.getpid(), flush=True)

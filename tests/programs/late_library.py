"""Libraries loaded while threads live: each thread has its own thread-locals, with their initial values."""

import collections
import ctypes
import os
import subprocess
import sys
import tempfile
import threading

SOURCE = """
static __thread long word = 4242;
static __thread char zeroes[64];
static long at_start;
__attribute__((constructor)) static void begin(void) { at_start = word; }
long get(void) { for (int i = 0; i < 64; i++) if (zeroes[i]) return -1; return word; }
void set(long value) { word = value; }
long start(void) { return at_start; }
"""
THREADS = 50

go = threading.Event()
everyone = threading.Barrier(THREADS)
libraries = {}
seen = collections.Counter()


def look(age, index):
    for name, library in libraries.items():
        seen[name, age, library.get()] += 1
        library.set(1000 + index)
    everyone.wait()
    for library in libraries.values():
        assert library.get() == 1000 + index


def old(index):
    go.wait()
    look("old", index)


def run(body):
    threads = [threading.Thread(target=body, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    return threads


def join(threads):
    for thread in threads:
        thread.join()


def load(directory, name, *flags):
    path = os.path.join(directory, name + ".so")
    source = os.path.join(directory, "source.c")
    with open(source, "w") as file:
        file.write(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, source, *flags], check=True)
    library = ctypes.CDLL(path)
    assert library.start() == 4242, library.start()
    return library


with tempfile.TemporaryDirectory() as directory:
    waiting = run(old)
    libraries["ie"] = load(directory, "ie", "-ftls-model=initial-exec")
    libraries["gd"] = load(directory, "gd", "-ftls-model=global-dynamic")
    many = [load(directory, f"gd{index}") for index in range(3)]
    go.set()
    join(waiting)
    join(run(lambda index: look("new", index)))
    # In the child of a fork too: main is its only thread, and then there are more.
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        libraries.clear()
        seen.clear()
        libraries["child"] = load(directory, "child", "-ftls-model=initial-exec")
        join(run(lambda index: look("new", index)))
        waiting = threading.Event()
        found = []

        def late():
            waiting.wait()
            found.append(libraries["later"].get())

        thread = threading.Thread(target=late)
        thread.start()
        libraries["later"] = load(directory, "later", "-ftls-model=initial-exec")
        waiting.set()
        thread.join()
        os._exit(0 if seen == {("child", "new", 4242): THREADS} and found == [4242] else 1)
    assert os.waitpid(child, 0)[1] == 0

expected = {(name, age, 4242): THREADS for name in ("ie", "gd") for age in ("old", "new")}
assert seen == expected, seen
print("PASS")

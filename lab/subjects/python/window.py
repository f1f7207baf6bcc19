"""A hundred tasks that sleep a millisecond again and again, beside others that hold what runs them: how late do the
sleepers wake up in a window of some seconds?"""

import fcntl
import os
import tempfile
import threading
import time

from common import fail, report

SLEEPERS = 100
SLEEP = 0.001
# How long the sleepers are undisturbed, before the window begins and the others with it.
WARM_UP = 0.3


class Window:
    def __init__(self, secs):
        self.begin = time.perf_counter() + WARM_UP
        self.end = self.begin + secs
        self.micros = []

    def before_begin(self):
        return max(0, self.begin - time.perf_counter())

    def next_due(self):
        """When a sleep that begins now is due; none once the window is over."""
        due = time.perf_counter() + SLEEP
        return due if due < self.end else None

    def woke(self, due):
        """To be called right after that sleep. What came after the window's begin counts in full."""
        now = time.perf_counter()
        if now >= self.begin:
            self.micros.append(max(0, round((now - due) * 1e6)))

    def hog(self):
        """Computes until the window is over. The clock is one more place where CPython might change threads, of many."""
        x = 1
        while time.perf_counter() < self.end:
            for _ in range(2000):
                x = (x * 1664525 + 1013904223) & 0xFFFFFFFF

    def hold_file(self, others):
        """Locks a file until the window is over, and returns what blocks until then, `others` times.

        It is an OS thread that lets it go: a task that waited for the end would be one of those that are held up."""
        descriptor, path = tempfile.mkstemp(prefix="lab-held-")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        files = [open(path) for _ in range(others)]
        os.unlink(path)

        def let_go():
            time.sleep(max(0, self.end - time.perf_counter()))
            os.close(descriptor)

        def wait_for(file):
            with file:
                fcntl.flock(file, fcntl.LOCK_EX)

        threading.Thread(target=let_go, daemon=True).start()
        return [lambda file=file: wait_for(file) for file in files]

    def write(self, path):
        try:
            with open(path, "w") as lines:
                lines.writelines(f"{micros}\n" for micros in self.micros)
        except OSError as error:
            fail(f"{path}: {error.strerror}")
        report(value=0)

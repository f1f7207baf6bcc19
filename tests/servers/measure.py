"""A server of somebody else's as a process, what it uses, and load on it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from foreign import TIMESTOP, cpu_seconds, descent, free_port, wait_for  # noqa: E402


class Server:
    """Runs `command`, in which PORT stands for a free port, until it listens there."""

    def __init__(self, command, under_run=False, log=None):
        self.port = free_port()
        command = [str(part).replace("PORT", str(self.port)) for part in command]
        prefix = [str(TIMESTOP), "run", "--strict"] if under_run else []
        self.log = Path(log) if log else None
        output = open(self.log, "wb") if self.log else subprocess.DEVNULL
        self.process = subprocess.Popen(
            prefix + command, stdout=output, stderr=output, cwd=HERE,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        )
        self.pid = self.process.pid
        wait_for(self.port)

    def tree(self):
        """Process ids of the server and of all that descend from it."""
        return descent(self.pid)

    def children(self):
        return sorted(self.tree()[1:])

    def cpu(self):
        """Seconds, user and system, of the tree and of its children that were waited for."""
        return cpu_seconds(self.tree())

    def status(self, field):
        """The sum over the tree of a number in `/proc/PID/status`."""
        total = 0
        for pid in self.tree():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(field + ":"):
                    total += int(line.split()[1])
        return total

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.tree())

    def end(self, number=signal.SIGTERM):
        """Its exit status after a signal."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()
            return "hangs"

    def kill(self):
        for pid in self.tree():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()


def load_program(folder):
    program = Path(folder) / "load"
    subprocess.run(["cc", "-O2", "-o", program, HERE / "load.c"], check=True)
    return program


def put_load(program, server, connections, path, warm_up=0.5, seconds=3):
    """Figures of a window: what `load.c` prints, and what the server has used."""
    command = [program, str(server.port), str(connections), str(warm_up), str(seconds), path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        if load.stdout.readline() != "begin\n":
            raise RuntimeError("the server does not answer")
        before = server.cpu()
        line = load.stdout.readline()
        used = server.cpu() - before
    if not line:
        raise RuntimeError("no answer within the window")
    figures = {key: float(value) for key, value in (field.split("=") for field in line.split())}
    figures["rate"] = figures["requests"] / figures["seconds"]
    figures["cpu"] = used
    figures["cpu_each"] = used / figures["requests"] * 1e6
    figures["rss"] = server.status("VmHWM") / 1024
    figures["os_threads"] = server.status("Threads")
    return figures


def until(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)

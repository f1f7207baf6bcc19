#!/usr/bin/env python3
"""The servers that `timestop lab` measures, and programs that ask one: does each do what `lab/subjects/README.md` says?

    tests/servers/lab.py [--python PYTHON] [NAME…]

Reads `lab/subjects/*/subject.toml`, builds what has to be built, and calls each as the lab would. A server is asked for its
views, and ended by SIGKILL to the one process that was started: no process may stay, whatever else it had. PYTHON is the interpreter of a
virtual environment that has the packages; without it one is made in `target/lab/python`. Needs `cargo build --release`
done.
"""

import argparse
import http.client
import os
import select
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foreign import ROOT, TIMESTOP, cpu_seconds, descent, virtual_environment  # noqa: E402

SUBJECTS = ROOT / "lab/subjects"
TARGET = ROOT / "target/lab"
# In all of which `/` is answered; in those of VIEWS there are three.
SERVERS = {"http", "view", "multicore_http"}
VIEWS = {"view", "multicore_http"}
# These ask a server.
PROGRAMS = {"legacy", "legacy_c"}
SPIN = 300  # milliseconds
SECONDS_TO_START = 60
SECONDS_TO_END = 30


class Subject:
    """One that is a server or asks one, with the folder that has it."""

    def __init__(self, folder, table, python):
        self.folder, self.name, self.run = folder, table["name"], table["run"]
        self.benches = [bench for bench in table["benches"] if bench in SERVERS | PROGRAMS]
        self.python = python

    def command(self, *arguments):
        return expanded(self.run, self.folder, self.python) + list(arguments)


class BuiltIn:
    """The program's own, started as the lab starts it."""

    def __init__(self, name):
        self.name, self.benches = name, sorted(VIEWS)

    def command(self, bench, *_):
        row = {"view": "view/1", "multicore_http": "multicore_http/1"}[bench]
        return [str(TIMESTOP), "lab-subject", row, self.name, "--server"]


def expanded(words, folder, python):
    of = {"here": folder, "build": TARGET / folder.name, "python": python, "timestop": TIMESTOP}
    return [word.format_map(of) for word in words]


def manifests():
    for file in sorted(SUBJECTS.glob("*/subject.toml")):
        with file.open("rb") as opened:
            yield file.parent, tomllib.load(opened)


def subjects(names, python):
    wanted = []
    for folder, manifest in manifests():
        of_folder = [Subject(folder, table, python) for table in manifest["subject"]]
        of_folder = [one for one in of_folder if one.benches and (not names or one.name in names)]
        if of_folder:
            (TARGET / folder.name).mkdir(parents=True, exist_ok=True)
            for build in manifest.get("build", []):
                subprocess.run(expanded(build["command"], folder, python), cwd=folder, check=True)
        wanted += of_folder
    return wanted + [BuiltIn(name) for name in ("timestop", "threads") if not names or name in names]


def read_line(pipe, seconds):
    """All of it within that time, or what there is."""
    line, deadline = b"", time.monotonic() + seconds
    while not line.endswith(b"\n"):
        left = max(0, deadline - time.monotonic())
        if not select.select([pipe], [], [], left)[0] or not (byte := os.read(pipe.fileno(), 1)):
            break
        line += byte
    return line.decode()


@contextmanager
def started(command):
    """Its port, and the process to reckon with."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        port, pid = map(int, read_line(process.stdout, SECONDS_TO_START).split())
        yield process, port, pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def end(process):
    """What is left of a server after SIGKILL to the process that was started."""
    of_server = {pid: os.pidfd_open(pid) for pid in descent(process.pid)}
    process.kill()
    process.wait()
    deadline = time.monotonic() + SECONDS_TO_END
    left = []
    for pid, descriptor in of_server.items():
        if not select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
            left.append(pid)
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
    return left


def get(connection, path):
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer, answer.read()


def check_server(subject, bench):
    """What is wrong, a line each."""
    wrong = []

    def expect(what, good):
        if not good:
            wrong.append(what)

    with started(subject.command(bench, "workers=1")) as (process, port, pid):
        expect("PID is none of its processes", pid in descent(process.pid))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(2):
            answer, body = get(connection, "/")
            expect(f"/: {answer.status}, {len(body)} bytes", (answer.status, len(body)) == (200, 1024))
            expect("/: no content-length", answer.headers["content-length"] == "1024")
            if bench == "http":
                expect("/: closed after the answer", connection.sock is not None)
        if bench in VIEWS:
            answer, body = get(connection, "/wait?ms=20")
            expect(f"/wait: {answer.status}, {body}", (answer.status, body) == (200, b"waited\n"))
            before = cpu_seconds(descent(pid))
            answer, body = get(connection, f"/spin?ms={SPIN}")
            expect(f"/spin: {answer.status}, {body}", (answer.status, body) == (200, b"spun\n"))
            used = (cpu_seconds(descent(pid)) - before) * 1000
            expect(f"/spin?ms={SPIN} took {used:.0f} ms of CPU", SPIN / 3 < used < SPIN * 3)
        connection.close()
        left = end(process)
        expect(f"left behind: {left}", not left)
    return wrong


def check_program(subject, bench):
    """The same of one that asks a server."""
    with started(BuiltIn("timestop").command("view")) as (_, port, _):
        command = subject.command(bench, f"port={port}", "threads=5", "count=2")
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_START)
    if done.returncode:
        return [f"status {done.returncode}: {done.stderr.strip()}"]
    printed = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    # Each thread waits twice for 50 ms.
    return [] if float(printed["value"]) >= 0.1 else [f"printed {printed}"]


def refuses(subject):
    """What it takes that it should not."""
    for arguments in (["no_such_bench"], [subject.benches[0], "no_such_key=1"]):
        try:
            done = subprocess.run(subject.command(*arguments), capture_output=True, timeout=SECONDS_TO_START)
        except subprocess.TimeoutExpired:
            yield f"{arguments} is taken"
            continue
        if done.returncode == 0 or not done.stderr.strip():
            yield f"{arguments}: status {done.returncode}, and says {done.stderr!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path)
    parser.add_argument("names", nargs="*", help="of subjects")
    options = parser.parse_args()
    packages = {package for _, manifest in manifests() for package in manifest.get("python", {}).get("packages", [])}
    python = options.python or virtual_environment("lab/python", sorted(packages))
    good = True
    for subject in subjects(options.names, python):
        wrong = []
        for bench in subject.benches:
            check = check_program if bench in PROGRAMS else check_server
            wrong += [f"{bench}: {line}" for line in check(subject, bench)]
        if isinstance(subject, Subject):
            wrong += refuses(subject)
        good = good and not wrong
        print(f"{'FAILED' if wrong else 'ok    '} {subject.name}: {', '.join(subject.benches)}", flush=True)
        for line in wrong:
            print(f"    {line}", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Whether the subjects keep to README.md: `check.py [--build] [SUBJECT…]`.

Reads every manifest, then calls each bench of each subject with counts so small that it says nothing about speed, and looks
at what it prints, at how it ends, and at what it says to nonsense. Servers are talked to. A subject that is not built is
told as such, and is a failure when it was asked for by name; `--build` builds first.
"""

import argparse
import http.client
import math
import os
import pathlib
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
LAB = HERE.parent.parent / "target" / "lab"
PYTHON = LAB / "python" / "bin" / "python"
# More than the slowest of them takes on a busy machine.
DEADLINE = 60

KEYS = {
    "spawn_join": ("workers", "count"),
    "spawn_many": ("workers", "count"),
    "yield": ("workers", "count"),
    "pingpong": ("workers", "count"),
    "ring": ("workers", "tasks", "count"),
    "mpmc": ("workers", "count"),
    "mutex": ("workers", "count"),
    "select": ("workers", "count"),
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
SERVERS = {"echo", "http"}
# What most systems have not, or have as a library of many: nobody need say why.
OPTIONAL = {"select", "generator"}
# 1,003 divides by none of the numbers of tasks; `ring` goes round more than once.
TINY = {"count": "1003", "tasks": "100", "leaves": "100", "hogs": "2", "stuck": "2", "secs": "0.2"}
PRINTS = {
    "memory_recv": {"value", "page_tables", "system"},
    "memory_sleep": {"value", "page_tables", "system"},
    "timers": {"value", "rss"},
}
# A second less what the last of a hundred random sleeps left of it; and memory that others give back meanwhile.
MAY_BE_NEGATIVE = {
    ("timers", "value"),
    *((bench, key) for bench in ("memory_recv", "memory_sleep") for key in ("value", "system")),
}
ONE_LIMIT = {"value": int, "why": str}


class Wrong(Exception):
    """What a subject did that it should not."""


def expect(holds, why):
    if not holds:
        raise Wrong(why)


class Tally:
    def __init__(self):
        self.passed, self.failed = 0, []

    def check(self, name, function, *arguments):
        try:
            function(*arguments)
        except (Wrong, OSError, http.client.HTTPException, subprocess.TimeoutExpired) as error:
            self.failed.append(name)
            print(f"FAILED {name}: {error}", flush=True)
        else:
            self.passed += 1


# --- Manifests ---


def is_command(words):
    return isinstance(words, list) and words and all(isinstance(word, str) for word in words)


def check_table(table, required, optional, where):
    expect(isinstance(table, dict), f"{where} is no table")
    missing, unknown = required - table.keys(), table.keys() - required - optional
    expect(not missing, f"{where} lacks {', '.join(sorted(missing))}")
    expect(not unknown, f"{where} has {', '.join(sorted(unknown))}")


def check_manifest(manifest):
    check_table(manifest, {"subject"}, {"needs", "build", "python", "shares"}, "it")
    for name in manifest.get("shares", []):
        expect((HERE / name).exists(), f"shares {name}, which is not there")
    for needs in manifest.get("needs", []):
        check_table(needs, {"command", "install"}, {"prefer"}, "[[needs]]")
        expect(re.fullmatch(r"(pip install \S+==\S+)?", needs.get("prefer", "")), "[[needs]] prefer is no pinned package")
        expect(is_command(needs["command"]), "[[needs]] command is a list of words")
    for build in manifest.get("build", []):
        check_table(build, {"command"}, set(), "[[build]]")
        expect(is_command(build["command"]), "[[build]] command is a list of words")
    for package in manifest.get("python", {"packages": []})["packages"]:
        expect(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9.]*", package), f"{package} is not pinned")
    for subject in manifest["subject"]:
        check_subject(subject)


def has_tasks(subject):
    """Of others, such as a web server of its own kind, only the manifest is looked at here."""
    return any(bench in KEYS and bench not in SERVERS for bench in subject["benches"])


def check_subject(subject):
    check_table(subject, {"name", "title", "run", "benches"}, {"unable", "at_most"}, "[[subject]]")
    name, has, unable = subject["name"], subject["benches"], subject.get("unable", {})
    expect(is_command(subject["run"]), f"{name}: run is a list of words")
    expect(len(set(has)) == len(has), f"{name}: a bench is there twice")
    for limited, limit in subject.get("at_most", {}).items():
        benches = [bench for bench in has if bench == limited or bench.startswith(limited + "_")]
        expect(benches or limited == "workers", f"{name}: at most what {limited}?")
        expect({key: type(value) for key, value in limit.items()} == ONE_LIMIT, f"{name}: {limited} = {{ value, why }}")
    if not has_tasks(subject):
        return
    for bench in [*has, *unable]:
        expect(bench in KEYS, f"{name}: there is no bench {bench}")
    for bench in KEYS if "spawn_join" in has else ():
        expect(bench in OPTIONAL or (bench in has) != (bench in unable), f"{name}: {bench} is neither had nor excused, or both")


# --- Runs ---


def fill(word, folder):
    for name, path in (("build", LAB / folder.name), ("here", folder), ("python", PYTHON)):
        word = word.replace(f"{{{name}}}", str(path))
    return word


class Subject:
    def __init__(self, folder, manifest):
        self.name, self.benches = manifest["name"], manifest["benches"]
        self.has_one_thread = manifest.get("at_most", {}).get("workers", {}).get("value") == 1
        self.run = [fill(word, folder) for word in manifest["run"]]

    def is_built(self):
        """Whether all of it is there that is not to be found on PATH."""
        files = [pathlib.Path(word) for word in self.run if word.startswith("/")]
        return all(file.is_dir() and any(file.iterdir()) or file.is_file() for file in files)

    def call(self, *arguments):
        """One run, which is to end: status, what it printed, the last line of its complaint."""
        command = [*self.run, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL)
        complaint = ended.stderr.strip().splitlines()
        return ended.returncode, ended.stdout, complaint[-1] if complaint else ""


def tiny(bench, workers, late):
    return [bench, *(f"{key}={({**TINY, 'workers': workers, 'late': late})[key]}" for key in KEYS[bench])]


def check_run(subject, bench, workers):
    with tempfile.TemporaryDirectory() as folder:
        late = os.path.join(folder, "late")
        status, printed, complaint = subject.call(*tiny(bench, workers, late))
        if workers > 1 and subject.has_one_thread and bench != "multicore":
            expect(status == 1 and "one thread" in complaint and not printed, f"status {status}, {complaint!r}")
            return
        expect(status == 0, f"status {status}, {complaint!r}")
        check_numbers(bench, printed)
        if "late" in KEYS[bench]:
            check_late(late)


def check_numbers(bench, printed):
    numbers = {}
    for line in printed.splitlines():
        key, space, rest = line.partition(" ")
        expect(space and rest and key not in numbers, f"not `key number`: {line!r}")
        if key == "note":
            continue
        expect(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", rest), f"not a number: {line!r}")
        numbers[key] = float(rest)
        expect(math.isfinite(numbers[key]), f"not a finite number: {line!r}")
        expect(numbers[key] >= 0 or (bench, key) in MAY_BE_NEGATIVE, f"below zero: {line!r}")
    expect(numbers.keys() == PRINTS.get(bench, {"value"}), f"it printed {sorted(numbers)}")
    if "late" in KEYS[bench]:
        expect(numbers["value"] == 0, "value is not 0")
    elif bench != "timers" and not bench.startswith("memory"):
        expect(numbers["value"] > 0, "it took no time")


def check_late(path):
    with open(path) as lines:
        late = lines.read().splitlines()
    expect(all(re.fullmatch("[0-9]+", line) for line in late), "a line of `late` is no whole number")
    # Each of a hundred woke up at least once: those that were held up, after the window.
    expect(len(late) >= 100, f"only {len(late)} wake-ups")


def check_nonsense(subject):
    """All that is wrong with a call ends it with 2, a reason, and no number."""
    bench = next(bench for bench in subject.benches if KEYS[bench] == ("workers", "count"))
    calls = [
        [],
        ["nonsense", "workers=1"],
        [bench],
        [bench, "workers=1"],
        [bench, "workers=1", "count"],
        [bench, "workers=1", "count=5", "hogs=1"],
        [bench, "workers=1", "count=0"],
        [bench, "workers=0", "count=5"],
        [bench, "workers=1", "count=-5"],
        [bench, "workers=1", "count=many"],
        ["skynet", "workers=1", "leaves=15"],
        ["hog", "workers=1", "hogs=1", "secs=0", "late=/dev/null"],
        ["hog", "workers=1", "hogs=1", "secs=1", "late="],
        *([bench, "workers=1", "count=5"] for bench in KEYS if bench not in subject.benches),
    ]
    for call in calls:
        status, printed, complaint = subject.call(*call)
        expect(status == 2 and complaint and not printed, f"{call}: status {status}, {printed!r}, {complaint!r}")
    if "hog" not in subject.benches:
        return
    # And what goes wrong later, with 1.
    status, printed, complaint = subject.call("hog", "workers=1", "hogs=0", "secs=0.01", "late=/nonexistent/late")
    expect(status == 1 and complaint and not printed, f"no file: status {status}, {printed!r}, {complaint!r}")


# --- Servers ---


class Server:
    """One that runs, until the end of the block."""

    def __init__(self, subject, bench, workers):
        command = [*subject.run, bench, f"workers={workers}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def __enter__(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(DEADLINE) else b""
        words = re.fullmatch(rb"([0-9]+) ([0-9]+)\n", line)
        if words:
            self.port, self.pid = map(int, words.groups())
            return self
        self.process.kill()
        errors = self.process.communicate()[1].decode().strip().splitlines()
        raise Wrong(f"not PORT PID: {line!r}, {errors[-1:]}")

    def __exit__(self, *_):
        ended = self.process.poll()
        self.process.kill()
        printed, _ = self.process.communicate()
        expect(ended is None, f"it ended by itself, with {ended}")
        expect(not printed, f"it printed more: {printed[:80]!r}")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)


def check_server(subject, bench, workers):
    if workers > 1 and subject.has_one_thread:
        status, printed, complaint = subject.call(bench, f"workers={workers}")
        expect(status == 1 and "one thread" in complaint and not printed, f"status {status}, {complaint!r}")
        return
    with Server(subject, bench, workers) as server:
        check_listener(server)
        TALKS[bench](server)


def check_listener(server):
    """Only on loopback, and the process is the one that was told."""
    with open("/proc/net/tcp") as lines:
        rows = [line.split() for line in lines.readlines()[1:]]
    listening = [row for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == server.port]
    expect(len(listening) == 1, f"{len(listening)} sockets listen on {server.port}")
    expect(listening[0][1].startswith("0100007F:"), "it does not listen on 127.0.0.1 alone")
    inode = f"socket:[{listening[0][9]}]"
    descriptors = pathlib.Path(f"/proc/{server.pid}/fd").iterdir()
    expect(any(os.readlink(descriptor) == inode for descriptor in descriptors), f"{server.pid} does not listen")


def receive(connection, length):
    received = b""
    while len(received) < length:
        piece = connection.recv(length - len(received))
        expect(piece, f"it closed after {len(received)} of {length} bytes")
        received += piece
    return received


def talk_echo(server):
    with server.connect() as first, server.connect() as second:
        for message in (b"a", b"bc" * 20, b"d" * 511, b"e" * 512, b"f" * 513):
            for connection in (first, second):
                connection.sendall(message)
            for connection in (second, first):
                expect(receive(connection, len(message)) == message, "it sent back something else")
        # More than any buffer takes, so that it is read while it is sent.
        much = os.urandom(1 << 20)
        sender = threading.Thread(target=first.sendall, args=(much,))
        sender.start()
        expect(receive(first, len(much)) == much, "it sent back something else")
        sender.join()
        first.shutdown(socket.SHUT_WR)
        expect(first.recv(1) == b"", "it did not close")
        # One that broke off does not end the others.
        second.sendall(b"still")
        expect(receive(second, 5) == b"still", "it sent back something else")


def talk_http(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    connection.connect()
    kept = connection.sock
    for path, status in (("/", 200), ("/", 200), ("/other", 404), ("/", 200)):
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        expect(response.status == status, f"GET {path}: {response.status}")
        expect(connection.sock is kept, f"GET {path}: it closed the connection")
        if status == 200:
            expect(response.version == 11, "it is not HTTP/1.1")
            expect(response.getheader("content-length") == "1024" and len(body) == 1024, "it is not 1,024 bytes")
            expect((response.getheader("content-type") or "").startswith("text/plain"), "it is not text")
            expect(body.isascii() and body.decode().isprintable(), "it is not text")
            expect(response.getheader("date"), "it has no date")
    connection.request("GET", "/", headers={"connection": "close"})
    expect(len(connection.getresponse().read()) == 1024, "it is not 1,024 bytes")
    with server.connect() as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        while raw.recv(4096):
            pass
    # A head that comes piece by piece.
    with server.connect() as raw:
        for piece in (b"GET / HT", b"TP/1.1\r\nhost", b": a\r\n\r", b"\n"):
            raw.sendall(piece)
        expect(receive(raw, 12) == b"HTTP/1.1 200", "it did not answer a slow request")


TALKS = {"echo": talk_echo, "http": talk_http}


# --- All ---


def build(folder, manifest):
    target = LAB / folder.name
    target.mkdir(parents=True, exist_ok=True)
    if packages := manifest.get("python", {}).get("packages"):
        if not PYTHON.exists():
            subprocess.run([sys.executable, "-m", "venv", LAB / "python"], check=True)
        subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *packages], check=True)
    for command in manifest.get("build", []):
        subprocess.run([fill(word, folder) for word in command["command"]], cwd=folder, check=True)


def main():
    parser = argparse.ArgumentParser(description="Whether the subjects keep to README.md.")
    parser.add_argument("--build", action="store_true", help="build them first, under target/lab")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help="these only")
    options = parser.parse_args()
    tally, names = Tally(), []
    for path in sorted(HERE.glob("*/subject.toml")):
        with open(path, "rb") as file:
            manifest = tomllib.load(file)
        tally.check(f"{path.parent.name}/subject.toml", check_manifest, manifest)
        subjects = [Subject(path.parent, one) for one in manifest["subject"] if has_tasks(one)]
        names += [subject.name for subject in subjects]
        wanted = [one for one in subjects if not options.subjects or one.name in options.subjects]
        if wanted and options.build:
            build(path.parent, manifest)
        for subject in wanted:
            if subject.is_built():
                check_all(tally, subject)
            elif options.subjects:
                parser.error(f"{subject.name} is not built: --build, or timestop lab prepare")
            else:
                print(f"{subject.name}: not built, so not checked", flush=True)
    if len(set(names)) != len(names):
        parser.error("two subjects have one name")
    if unknown := set(options.subjects) - set(names):
        parser.error(f"no subject is called {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    print(f"{tally.passed} passed, {len(tally.failed)} failed")
    sys.exit(1 if tally.failed else 0)


def check_all(tally, subject):
    before = len(tally.failed)
    for bench in subject.benches:
        for workers in (1, 2):
            function = check_server if bench in SERVERS else check_run
            tally.check(f"{subject.name} {bench} workers={workers}", function, subject, bench, workers)
    tally.check(f"{subject.name} nonsense", check_nonsense, subject)
    print(f"{subject.name}: {'good' if len(tally.failed) == before else 'not good'}", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Python's web servers, plain and under `timestop run`: the same answers, and what it gains?

    tests/servers/run.py [--python PYTHON] [--check | --measure] [--connections N] [--seconds S]
        [--paths PATH,…] [NAME…]

Starts each server with a small Flask or Django application on a free port of loopback, asks it all that
`checks.py` has, stops it in each way it knows, and compares what came; then puts load on it (`load.c`) and
prints a table in Markdown. PYTHON is the interpreter of a virtual environment that has the servers; without
it one is made in `target/servers`. Needs a C compiler and `cargo build --release` done.
"""

import argparse
import sys
import tempfile
import threading
from pathlib import Path

import checks
from measure import Server, load_program, put_load

from foreign import virtual_environment

PACKAGES = "gunicorn gevent packaging waitress cheroot werkzeug uvicorn django flask".split()
GTHREAD = "gunicorn -k gthread -w 1 -b 127.0.0.1:PORT --backlog 2048 --access-logfile - --threads THREADS --worker-connections 4000"

# Of each: the module (and its arguments) that is run.
SERVERS = {
    "gunicorn gthread, Flask": f"{GTHREAD} flask_app:app",
    "gunicorn gthread, Django": f"{GTHREAD} django_app:app",
    "gunicorn sync, Flask": "gunicorn -k sync -w 2 -b 127.0.0.1:PORT --access-logfile - flask_app:app",
    "gunicorn gevent, Flask": "gunicorn -k gevent -w 1 -b 127.0.0.1:PORT --backlog 2048 --worker-connections 4000 --access-logfile - flask_app:app",
    "waitress, Flask": "waitress --listen 127.0.0.1:PORT --threads THREADS --connection-limit 4000 flask_app:app",
    "waitress, Django": "waitress --listen 127.0.0.1:PORT --threads THREADS --connection-limit 4000 django_app:app",
    "cheroot, Flask": "cheroot --bind 127.0.0.1:PORT --threads THREADS --request-queue-size 2048 flask_app:app",
    "werkzeug, Flask": "flask_app PORT",
    "Django's own": "django_app PORT",
    "uvicorn (asyncio)": "uvicorn --host 127.0.0.1 --port PORT --backlog 2048 asgi_app:app",
}

# Whose backlog is short, or who closes after each answer: of more connections most would wait for the
# kernel to try again.
FEWER = {"gunicorn sync, Flask": 100, "werkzeug, Flask": 100, "Django's own": 10}


def command(python, name, threads, *more):
    words = SERVERS[name].replace("THREADS", str(threads)).split()
    # The application comes last.
    return [python, "-m", *words[:-1], *more, words[-1]]


def behaviour(python, name, under_run, folder):
    """Every check's name and what it found."""
    started = []

    def start(*more):
        log = Path(folder) / f"log-{len(started)}"
        started.append(Server(command(python, name, 100, *more), under_run, log))
        return started[-1]

    found = {}

    def look(check, argument):
        try:
            found[check.__name__] = check(argument)
        except Exception as error:
            found[check.__name__] = f"{type(error).__name__}: {error}"

    try:
        server = start()
        for check in checks.WHILE_RUNNING:
            look(check, server)
        for check in checks.ENDINGS + (checks.GUNICORN if name.startswith("gunicorn") else []):
            look(check, start)
    finally:
        for server in started:
            if server.process.poll() is None:
                server.kill()
    return found


def compare(python, names):
    """Whether all servers behave alike on threads and on fibers."""
    same = True
    for name in names:
        with tempfile.TemporaryDirectory(prefix="timestop-servers-") as folder:
            plain = behaviour(python, name, False, folder)
            fibers = behaviour(python, name, True, folder)
        different = [check for check in plain if plain[check] != fibers[check]]
        print(f"{'FAILED' if different else 'ok    '} {name}: {len(plain)} checks", flush=True)
        for check in different:
            same = False
            print(f"    {check}:\n        plain {plain[check]}\n        run   {fibers[check]}", flush=True)
    return same


HEADINGS = ["server, view, connections", "", "requests/s", "p50 ms", "p99 ms", "CPU µs a request", "peak RSS MiB", "OS threads", "failed"]


def row(name, kind, figures):
    cells = [
        name, kind, f"{figures['rate']:,.0f}", f"{figures['p50']:.1f}", f"{figures['p99']:.1f}",
        f"{figures['cpu_each']:.0f}", f"{figures['rss']:.0f}", f"{figures['os_threads']:.0f}",
        f"{figures['errors'] + figures['stuck']:.0f}",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def load_beside(load, server, connections, path, seconds):
    """Load on `path`; on `/hello+spin`, `/hello` while some other client has a view compute without end."""
    path, _, other = path.partition("+")
    over = threading.Event()

    def ask():
        while other and not over.is_set():
            try:
                checks.get(server.port, f"/{other}")
            except (OSError, checks.http.client.HTTPException):
                return  # the server is gone

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    try:
        return put_load(load, server, connections, path, seconds=seconds)
    finally:
        over.set()


def measure(python, names, paths, connections, seconds, folder):
    load = load_program(folder)
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    for name in names:
        for path in paths:
            for kind, under_run in (("plain", False), ("run", True)):
                count = min(connections, FEWER.get(name, connections))
                server = Server(command(python, name, count), under_run)
                try:
                    figures = load_beside(load, server, count, path, seconds)
                    row(f"{name}, `{path}`, {count:,}", kind, figures)
                except (RuntimeError, ValueError) as error:
                    print(f"| {name}, `{path}` | {kind} | {error} |", flush=True)
                finally:
                    server.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path)
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--measure", action="store_true", help="only measure")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--paths", default="/hello,/wait", help="and /hello+spin")
    parser.add_argument("names", nargs="*", help="words of names above")
    options = parser.parse_args()
    python = options.python or virtual_environment("servers", PACKAGES)
    names = [name for name in SERVERS if not options.names or any(word in name for word in options.names)]
    same = options.measure or compare(python, names)
    if not options.check:
        with tempfile.TemporaryDirectory(prefix="timestop-servers-") as folder:
            measure(python, names, options.paths.split(","), options.connections, options.seconds, folder)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()

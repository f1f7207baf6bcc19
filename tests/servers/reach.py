#!/usr/bin/env python3
"""What Python's threads cost on fibers, beside plain threads and gevent, against the figures aimed at.

    tests/servers/reach.py [--python PYTHON] [--runs N] [--seconds S] [ROW…]

Each run is a process of its own, subjects take turns, and medians are printed, as a table in Markdown. PYTHON
is the interpreter of a virtual environment with gunicorn, gevent and flask; without it one is made in
`target/servers`. Needs a C compiler and `cargo build --release` done. Nothing else should run.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import HERE, Server, load_program, put_load
from run import PACKAGES, command

from foreign import TIMESTOP, virtual_environment

CONNECTIONS = 1000
PREFIXES = {"plain": [], "run": [str(TIMESTOP), "run", "--strict"], "gevent": []}


class Bench:
    def __init__(self, options, folder):
        self.python = options.python or virtual_environment("servers", PACKAGES)
        self.runs = options.runs
        self.seconds = options.seconds
        self.load = load_program(folder)

    def subject(self, kind, *arguments):
        words = ["gevent", *arguments] if kind == "gevent" else arguments
        return [self.python, HERE / "subjects.py", *map(str, words)]

    def medians(self, kinds, one):
        """Of each kind of runs that take turns: the median of each figure."""
        runs = {kind: [] for kind in kinds}
        for _ in range(self.runs):
            for kind in kinds:
                runs[kind].append(one(kind))
        return {
            kind: {key: statistics.median(figures[key] for figures in all_) for key in all_[0]}
            for kind, all_ in runs.items()
        }

    def server(self, kinds, command_of, path="/"):
        def one(kind):
            server = Server(command_of(kind), kind == "run")
            try:
                return put_load(self.load, server, CONNECTIONS, path, 1, self.seconds)
            finally:
                server.kill()

        return self.medians(kinds, one)

    def program(self, kinds, *arguments):
        def one(kind):
            done = subprocess.run(
                PREFIXES[kind] + self.subject(kind, *arguments), stdout=subprocess.PIPE, text=True, timeout=120
            )
            return {key: float(value) for key, value in (field.split("=") for field in done.stdout.split())}

        return self.medians(kinds, one)


def told(what, wanted, good, **figures):
    cells = [what, *(figures.get(kind, "") for kind in ("plain", "gevent", "run")), wanted, "yes" if good else "**no**"]
    print(f"| {' | '.join(cells)} |", flush=True)


def served(figures):
    return {kind: f"{of['rate']:,.0f} ({of['cpu_each']:.1f} µs)" for kind, of in figures.items()}


def sockets(bench):
    kinds = ["plain", "run", "gevent"]
    of = bench.server(kinds, lambda kind: bench.subject(kind, "sockets", "PORT", 0))
    beside = {kind: of["run"]["rate"] / of[kind]["rate"] for kind in kinds}
    told("a thread a connection: requests/s (CPU each)", f"3.5 × plain ({beside['plain']:.2f})",
         beside["plain"] >= 3.5, **served(of))
    told("", f"1.7 × gevent ({beside['gevent']:.2f})", beside["gevent"] >= 1.7)


def waiting(bench):
    of = bench.server(["plain", "run", "gevent"], lambda kind: bench.subject(kind, "sockets", "PORT", 100))
    beside = of["run"]["cpu_each"] / of["plain"]["cpu_each"]
    told("the same, 100 ms each", f"CPU 0.35 × plain ({beside:.2f})", beside <= 0.35, **served(of))


def http(bench):
    of = bench.server(["plain", "run", "gevent"], lambda kind: bench.subject(kind, "http", "PORT", 0))
    beside = of["run"]["rate"] / of["plain"]["rate"]
    told("`ThreadingHTTPServer`", f"1.6 × plain ({beside:.2f})", beside >= 1.6, **served(of))


def gunicorn(bench):
    names = {
        "plain": "gunicorn gthread, Flask",
        "run": "gunicorn gthread, Flask",
        "gevent": "gunicorn gevent, Flask",
    }
    of = bench.server(list(names), lambda kind: command(bench.python, names[kind], CONNECTIONS), "/wait")
    rate, cpu = (of["run"][figure] / of["gevent"][figure] for figure in ("rate", "cpu_each"))
    told("gunicorn gthread, 1,000 threads, 100 ms; gevent: its worker", f"1 × gevent ({rate:.2f})", rate >= 1,
         **served(of))
    told("", f"CPU below gevent's ({cpu:.2f})", cpu < 1)


def event(bench):
    of = bench.program(["plain", "run", "gevent"], "event", 10_000)
    told("10,000 threads on one `Event`: wake and join, each", "20 µs", of["run"]["micros"] <= 20,
         **{kind: f"{one['micros']:.1f} µs" for kind, one in of.items()})
    told("RSS of a thread that is blocked", "18 KiB", of["run"]["kib"] <= 18,
         **{kind: f"{one['kib']:.1f} KiB" for kind, one in of.items()})


def asleep(bench):
    # Plain threads run into the machine's limits, some of which others share: not tried.
    of = bench.program(["run"], "asleep", 200_000)["run"]
    told("threads asleep at once", "200,000", of["threads"] >= 200_000,
         run=f"{of['threads']:,.0f} ({of['kib']:.1f} KiB each, {of['seconds']:.0f} s to start, "
             f"{of['os_threads']:.0f} OS threads)")


def sha256(bench):
    of = bench.program(["plain", "run"], "sha256", 2_000)
    beside = of["run"]["mb"] / of["plain"]["mb"]
    told("sha256 of big buffers in two threads", f"0.9 × plain ({beside:.2f})", beside >= 0.9,
         **{kind: f"{one['mb']:,.0f} MB/s" for kind, one in of.items()})


ROWS = {row.__name__: row for row in (sockets, waiting, http, gunicorn, event, asleep, sha256)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], help=", ".join(ROWS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="timestop-reach-") as folder:
        bench = Bench(options, folder)
        print("| | plain | gevent | `run` | wanted | reached |\n|---|---|---|---|---|---|")
        for name in options.rows or ROWS:
            ROWS[name](bench)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Which fiber was running when perf took each sample: joins `perf script` with a trace of the same run.

    timestop run --trace trace.json PROGRAM &
    perf record -k CLOCK_MONOTONIC -g -p $!            # until the program ends, or ^C
    perf script --ns -F tid,time,ip,sym | fibers.py trace.json

perf knows OS threads, and an OS thread runs many fibers. The trace says from when until when each ran where, by the
same clock. Prints, for each fiber, its samples and the functions they are in most (the innermost one with a
name). Samples of OS threads that run no fiber, or taken between two, are `no fiber`.

    --top N      functions of each fiber, 5 by default
    --by-name    one line for all fibers of a name
"""

import argparse
import bisect
import collections
import json
import re
import sys

SAMPLE = re.compile(r"^\s*(\d+)\s+(\d+)\.(\d+):")
FRAME = re.compile(r"^\s+[0-9a-f]+\s+(.*?)\s*$")


def load(path):
    """Runs by OS thread: starts, and (start, end, fiber, name), nanoseconds."""
    with open(path, encoding="utf-8") as file:
        text = file.read().strip()
    if not text.endswith("]"):  # the program was killed, or still runs
        text = text[: text.rfind("\n")] if not text.endswith(("}", ",")) else text
        text = text.rstrip().rstrip(",") + "]"
    runs = collections.defaultdict(list)
    for event in json.loads(text, parse_float=str, parse_int=str):
        arguments = event.get("args", {})
        if event["ph"] == "X" and "thread" in arguments:
            start = nanoseconds(event["ts"])
            run = (start, start + nanoseconds(event["dur"]), int(arguments["fiber"]), event["name"])
            runs[int(arguments["thread"])].append(run)
    for of_thread in runs.values():
        of_thread.sort()
    return {thread: ([run[0] for run in all], all) for thread, all in runs.items()}


def nanoseconds(microseconds):
    whole, _, rest = microseconds.partition(".")
    return int(whole) * 1000 + int((rest + "000")[:3])


def find(runs, thread, time):
    starts, all = runs.get(thread, ((), ()))
    index = bisect.bisect_right(starts, time) - 1
    if index >= 0 and time < all[index][1]:
        return all[index][2:]
    return None


def samples(lines):
    """(OS thread, nanoseconds, innermost function with a name) of each sample."""
    sample, function = None, None
    for line in lines:
        header = SAMPLE.match(line)
        if header:
            if sample:
                yield (*sample, function or "[unknown]")
            thread, seconds, fraction = header.groups()
            sample = (int(thread), int(seconds) * 10**9 + int((fraction + "0" * 9)[:9]))
            function, line = None, line[header.end() :]
        frame = FRAME.match(line)
        if frame and not function and frame[1] not in ("", "[unknown]"):
            function = frame[1]
    if sample:
        yield (*sample, function or "[unknown]")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--by-name", action="store_true")
    options = parser.parse_args()
    runs = load(options.trace)
    counts = collections.defaultdict(collections.Counter)
    for thread, time, function in samples(sys.stdin):
        fiber = find(runs, thread, time)
        who = "no fiber" if fiber is None else fiber[1]
        if options.by_name and fiber is not None:
            who = who.rsplit(" ", 1)[0]
        counts[who][function] += 1
    total = sum(sum(functions.values()) for functions in counts.values())
    if not total:
        sys.exit("fibers.py: no samples on standard input: perf script --ns -F tid,time,ip,sym")
    for who, functions in sorted(counts.items(), key=lambda item: -sum(item[1].values())):
        own = sum(functions.values())
        print(f"{100 * own / total:6.2f}%  {own:7}  {who}")
        for function, count in functions.most_common(options.top):
            print(f"{'':18} {count:7}  {function}")


if __name__ == "__main__":
    main()

"""What the views of the applications do, whatever the framework."""

import hashlib
import sys
import time

PIECE = bytes(range(256)) * 256


def hello():
    return "hello, world\n"


def wait():
    time.sleep(0.1)
    return "waited\n"


def begun():
    """Tells who waits for it that a view has begun."""
    print("begun", file=sys.stderr, flush=True)


def hold():
    begun()
    time.sleep(1)
    return "held\n"


def spin():
    """A view that computes for two seconds, and never waits."""
    begun()
    end = time.monotonic() + 2
    turns = 0
    while time.monotonic() < end:
        turns += 1
    return "spun\n"


def sum_of(document):
    return {"sum": sum(document["numbers"]), "name": document["name"].upper()}


def digest(stream):
    """Of a body that is read in pieces."""
    total, hashed = 0, hashlib.sha256()
    while piece := stream.read(65536):
        total += len(piece)
        hashed.update(piece)
    return f"{total} {hashed.hexdigest()}\n"


def chunks():
    """16 MiB in 256 pieces."""
    for _ in range(256):
        yield PIECE

"""What the three views do, whatever framework calls them."""

import time

BODY = b"0123456789abcdef" * 64


def count(turns):
    done = 0
    while done < turns:
        done += 1


def turns_a_millisecond():
    """How far `count` gets in a millisecond with a core to itself: the best of short tries, for 0.3 s."""
    turns, best = 20_000, float("inf")
    start = time.perf_counter()
    while (begin := time.perf_counter()) < start + 0.3:
        count(turns)
        best = min(best, time.perf_counter() - begin)
    return turns / best / 1000


TURNS = turns_a_millisecond()


def hello():
    return BODY


def spin(milliseconds):
    """Computes for that much CPU time of its own.

    By counting, since no clock tells it: the OS thread's clock is not a greenlet's or a fiber's, and what the others
    get meanwhile must not make the work less.
    """
    count(round(milliseconds * TURNS))
    return b"spun\n"


def wait(milliseconds):
    time.sleep(milliseconds / 1000)
    return b"waited\n"

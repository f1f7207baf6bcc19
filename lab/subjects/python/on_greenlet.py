"""greenlet: on_greenlet.py BENCH key=value…, as lab/subjects/README.md says.

What a generator does, by switching to a stack and back: unlike a generator, it could yield from any depth of calls."""

import os
import sys

from greenlet import getcurrent, greenlet

from common import Timed, call, fail, finish, one_thread, parse


def generator(count):
    def numbers():
        number = 0
        back = getcurrent().parent.switch
        while True:
            back(number)
            number += 1

    def take(count):
        resume = greenlet(numbers).switch
        for number in range(count):
            if resume() != number:
                fail("another number was yielded")

    take(count // 10)
    start = Timed()
    take(count)
    start.report_each(count)


def main():
    bench, args = parse(sys.argv[1:])
    workers = args.pop("workers")
    one_thread(bench, workers, "greenlet")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:workers])
    call(bench, args, {"generator": generator})
    finish()


if __name__ == "__main__":
    main()

"""greenlet: on_greenlet.py BENCH key=value…, as lab/subjects/README.md says.

What a generator does, by switching to a stack and back: unlike a generator, it could yield from any depth of calls."""

import os
import sys

from greenlet import getcurrent, greenlet

from common import Timed, fail, finish, one_thread, parse


def generator(count):
    def numbers(_):
        number = 0
        back = getcurrent().parent.switch
        while True:
            back(number)
            number += 1

    def run(count):
        resume = greenlet(numbers).switch
        resume_first = resume(None)
        if resume_first != 0:
            fail("another number was yielded")
        for number in range(1, count + 1):
            if resume() != number:
                fail("another number was yielded")

    run(count // 10)
    start = Timed()
    run(count)
    start.report_each(count)


def main():
    bench, args = parse(sys.argv[1:])
    workers = args.pop("workers")
    one_thread(bench, workers, "greenlet")
    if bench != "generator":
        fail(f"greenlet has no bench {bench}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:workers])
    generator(**args)
    finish()


if __name__ == "__main__":
    main()

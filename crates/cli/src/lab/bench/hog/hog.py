"""Threads that compute, and one that sleeps a millisecond again and again: prints how late it was each time, in ns."""

import sys
import threading
import time

HOGS, WARM_UP, WINDOW = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
SLEEP = 0.001
begin = time.perf_counter() + WARM_UP
end = begin + WINDOW


def compute():
    number = 1
    # They look at the clock themselves: one who has to be told would be told by the sleeper, if ever it gets to it.
    while time.perf_counter() < end:
        for _ in range(10_000):
            number = number * 1103515245 + 12345 & 0x7FFFFFFF


for _ in range(HOGS):
    threading.Thread(target=compute).start()
late = []
while (due := time.perf_counter() + SLEEP) < end:
    time.sleep(SLEEP)
    if (now := time.perf_counter()) >= begin:
        late.append(int((now - due) * 1e9))
if not late:
    # It did not get to sleep within the window at all: its first wake-up, due at the begin, comes now.
    late.append(int((time.perf_counter() - begin - SLEEP) * 1e9))
print(*late, sep="\n", flush=True)

"""Threads that compute, and one that sleeps a millisecond again and again: prints how late it was each time, in ns."""

import sys
import threading
import time

HOGS, WARM_UP, WINDOW = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
SLEEP = 0.001
over = False


def compute():
    number = 1
    while not over:
        number = number * 1103515245 + 12345 & 0x7FFFFFFF


for _ in range(HOGS):
    threading.Thread(target=compute, daemon=True).start()
begin = time.perf_counter() + WARM_UP
end = begin + WINDOW
late = []
while (due := time.perf_counter() + SLEEP) < end:
    time.sleep(SLEEP)
    if (now := time.perf_counter()) >= begin:
        late.append(int((now - due) * 1e9))
over = True
print(*late, sep="\n", flush=True)

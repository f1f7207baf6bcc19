"""As many threads as the argument says (10,000 without one), all alive at once. Prints how many OS threads that took."""

import sys
import threading


def os_threads():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    threading.stack_size(256 * 1024)
    gate = threading.Event()
    here = threading.Semaphore(0)
    numbers = []

    def wait(number):
        here.release()
        gate.wait()
        numbers.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for _ in threads:
        here.acquire()
    assert threading.active_count() == count + 1
    print("os threads", os_threads(), file=sys.stderr)
    gate.set()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(count))
    print("PASS", count, "threads")


if __name__ == "__main__":
    main()

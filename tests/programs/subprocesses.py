"""Child processes started, written to, read from, killed and waited for by many threads at once."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

THREADS = 20


def output(number):
    script = f"echo out {number}; echo err {number} >&2; exit {number}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (number, f"out {number}\n", f"err {number}\n")


def conversation(number):
    """More in each direction than a pipe holds."""
    data = bytes([number]) * 500_000
    assert subprocess.run(["cat"], input=data, capture_output=True, check=True).stdout == data


def shell(number):
    assert subprocess.check_output(f"echo {number} | cat | cat", shell=True, text=True) == f"{number}\n"
    assert os.waitstatus_to_exitcode(os.system(f"exit {number}")) == number
    with os.popen(f"echo {number}") as stream:
        assert stream.read() == f"{number}\n"


def killed(_):
    with subprocess.Popen(["sleep", "1000"]) as child:
        assert child.poll() is None
        try:
            child.wait(timeout=0.01)
            raise AssertionError("it sleeps")
        except subprocess.TimeoutExpired:
            pass
        child.send_signal(signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM


def timed_out(_):
    try:
        subprocess.run(["sleep", "1000"], timeout=0.05)
        raise AssertionError("it sleeps")
    except subprocess.TimeoutExpired:
        pass


def missing(_):
    try:
        subprocess.run(["/nothing-is-called-this"])
        raise AssertionError("there is none")
    except FileNotFoundError:
        pass


def python(number):
    """A child of the same kind: under `timestop run` it, too, is run on fibers."""
    code = "import sys, threading; t = threading.Thread(target=print, args=(sys.argv[1],)); t.start(); t.join()"
    done = subprocess.run([sys.executable, "-c", code, str(number)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{number}\n"


def main():
    with ThreadPoolExecutor(THREADS) as pool:
        for kind in (output, conversation, shell, killed, timed_out, missing, python):
            list(pool.map(kind, range(THREADS)))
            print("PASS", kind.__name__, flush=True)


if __name__ == "__main__":
    main()

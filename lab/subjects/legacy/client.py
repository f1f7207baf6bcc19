"""client.py legacy|legacy_c port=P threads=N count=N: a program of threads and blocking calls, as it has been for years.

Tasks wait in a queue. Each thread has a connection to a server on 127.0.0.1, takes a task, asks, waits for the answer,
and puts it into another queue. `legacy` asks by http.client; `legacy_c` by libcurl, through pycurl. Prints `value` with
the seconds that all of it took. Nothing in here knows of gevent or of timestop.
"""

import http.client
import queue
import sys
import threading
import time
from io import BytesIO

TASK = "/wait?ms=50"
ANSWER = b"waited\n"


def with_http_client(port):
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def get(path):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()

    return get


def with_curl(port):
    import pycurl

    curl = pycurl.Curl()
    # Signals are for the main thread.
    curl.setopt(pycurl.NOSIGNAL, 1)

    def get(path):
        body = BytesIO()
        curl.setopt(pycurl.URL, f"http://127.0.0.1:{port}{path}")
        curl.setopt(pycurl.WRITEDATA, body)
        curl.perform()
        return curl.getinfo(pycurl.RESPONSE_CODE), body.getvalue()

    return get


CLIENTS = {"legacy": with_http_client, "legacy_c": with_curl}


def work(tasks, answers, connect, port):
    try:
        get = connect(port)
        while (task := tasks.get()) is not None:
            answers.put(get(task))
    except Exception as error:
        answers.put(error)


def run(connect, port, threads, count):
    tasks, answers = queue.Queue(), queue.Queue()
    for _ in range(threads * count):
        tasks.put(TASK)
    for _ in range(threads):
        tasks.put(None)
    workers = [threading.Thread(target=work, args=(tasks, answers, connect, port)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [answers.get() for _ in range(answers.qsize())]


def main():
    bench, *pairs = sys.argv[1:]
    keys = {key: int(value) for key, value in (pair.split("=", 1) for pair in pairs)}
    if bench not in CLIENTS:
        sys.exit(f"no bench '{bench}'; there are {', '.join(CLIENTS)}")
    if keys.keys() != {"port", "threads", "count"}:
        sys.exit(f"{bench} has the keys port, threads, count")
    if bench == "legacy_c":
        # Once, and not in a race of all threads.
        try:
            import pycurl  # noqa: F401
        except ImportError as error:
            sys.exit(f"{error}: pip install pycurl")
    begin = time.perf_counter()
    answers = run(CLIENTS[bench], **keys)
    seconds = time.perf_counter() - begin
    wrong = [answer for answer in answers if answer != (200, ANSWER)]
    if wrong or len(answers) != keys["threads"] * keys["count"]:
        sys.exit(f"{len(answers)} answers, {len(wrong)} wrong, such as {wrong[:1]}")
    print("value", seconds)


if __name__ == "__main__":
    main()

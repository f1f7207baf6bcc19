"""What a client sees of a server, as lines that must be the same on threads and on fibers."""

import hashlib
import http.client
import json
import re
import signal
import socket
import struct
import threading
import time

from measure import until

LARGE = bytes(range(251)) * 133_700  # 32 MiB and some


def get(port, path, method="GET", body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def said(answer, body):
    """All of an answer but what is never the same twice."""
    headers = sorted(f"{key.lower()}: {value}" for key, value in answer.getheaders() if key.lower() != "date")
    short = body if len(body) < 200 else hashlib.sha256(body).hexdigest().encode()
    return f"{answer.version} {answer.status} {headers} {short!r}"


def broken(error):
    """How a connection ended: a reset may come before or after what was sent last."""
    return "closed" if isinstance(error, (ConnectionError, http.client.HTTPException)) else type(error).__name__


def hello(server):
    return said(*get(server.port, "/hello"))


def posted(server):
    document = json.dumps({"numbers": list(range(100)), "name": "a king"})
    return said(*get(server.port, "/json", "POST", document, {"Content-Type": "application/json"}))


def uploaded(server):
    return said(*get(server.port, "/upload", "POST", LARGE))


def uploaded_in_chunks(server):
    pieces = (LARGE[at : at + 100_000] for at in range(0, len(LARGE) // 4, 100_000))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("POST", "/upload", pieces, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        answer = connection.getresponse()
        return said(answer, answer.read())
    except Exception as error:
        return broken(error)
    finally:
        connection.close()


def downloaded(server):
    return said(*get(server.port, "/download"))


def kept_alive(server):
    """Five requests on one connection, if the server keeps it; then two in one packet."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connections, last, bodies = 0, None, []
    for _ in range(5):
        connection.request("GET", "/hello")
        if connection.sock is not last:
            connections, last = connections + 1, connection.sock
        bodies.append(connection.getresponse().read())
    connection.close()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as one:
        one.sendall(2 * b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        one.shutdown(socket.SHUT_WR)
        both = b""
        while piece := one.recv(65536):
            both += piece
    return f"{len(set(bodies))} bodies over {connections} connections, {both.count(b'hello, world')} in one packet"


def bad_requests(server):
    statuses = []
    for text in [b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /hel"]:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as one:
            one.sendall(text)
            one.shutdown(socket.SHUT_WR)
            try:
                statuses.append(one.recv(64).partition(b"\r\n")[0].decode())
            except ConnectionError:
                statuses.append("")
    return str(statuses)


def abandoned(server):
    """Clients that go away within an answer, some rudely: none of it stays open."""
    before = server.descriptors()
    for number in range(20):
        one = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        one.sendall(b"GET /download HTTP/1.1\r\nHost: x\r\n\r\n")
        one.recv(1000)
        if number % 2:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
    until("connections of clients that are gone are closed", lambda: server.descriptors() <= before)
    return said(*get(server.port, "/hello"))


def together(server, count=50):
    """So many requests at once that each wait for 100 ms."""
    answers = []

    def one():
        try:
            answers.append(get(server.port, "/wait")[1])
        except Exception as error:
            answers.append(broken(error))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return f"{answers.count(answers[0])} times {answers[0]!r}"


def logged(server):
    """The last lines of its access log, without addresses, times and durations."""
    marks = [f"/hello?mark={number}" for number in range(3)]
    for mark in marks:
        get(server.port, mark)

    def lines():
        return [line for line in server.log.read_text(errors="replace").splitlines() if "?mark=" in line]

    try:
        until("access log", lambda: len(lines()) == 3, 3)
    except TimeoutError:
        return f"{len(lines())} lines"  # a server that has none, too
    # Threads that end at once write in any order.
    return str(sorted(re.sub(r"\x1b\[\d+m", "", re.sub(r":\d{3,}|\[[^]]*\]|\d+\.\d+s", "", line)).strip() for line in lines()))


WHILE_RUNNING = [
    hello, posted, uploaded, uploaded_in_chunks, downloaded, kept_alive, bad_requests, abandoned, together, logged,
]


def under_way(server, path="/hold"):
    """A request that is being handled; a function that says how it went."""
    result = []
    before = server.log.read_bytes().count(b"begun")

    def ask():
        try:
            answer, body = get(server.port, path)
            result.append(f"{answer.status} {body!r}")
        except Exception as error:
            result.append(broken(error))

    thread = threading.Thread(target=ask)
    thread.start()
    until("the view begins", lambda: server.log.read_bytes().count(b"begun") > before)

    def outcome():
        thread.join()
        return result[0]

    return outcome


def stopped_by(number):
    def check(start):
        server = start()
        get(server.port, "/hello")
        outcome = under_way(server)
        status = server.end(number)
        return f"request under way: {outcome()}; exit status {status}"

    check.__name__ = f"stopped_by_{signal.Signals(number).name}"
    return check


ENDINGS = [stopped_by(signal.SIGTERM), stopped_by(signal.SIGINT)]


# gunicorn only: its workers are processes.


def reloaded(start):
    """SIGHUP: new workers, and the old ones end what they have begun."""
    server = start()
    get(server.port, "/hello")
    old = server.children()
    outcome = under_way(server)
    server.process.send_signal(signal.SIGHUP)
    until("workers are replaced", lambda: server.children() and not set(old) & set(server.children()))
    after = get(server.port, "/hello")[0].status
    return f"under way: {outcome()}; after: {after}, {len(server.children())} workers; exit status {server.end()}"


def more_and_fewer_workers(start):
    server = start()
    get(server.port, "/hello")
    before = len(server.children())
    server.process.send_signal(signal.SIGTTIN)
    until("one worker more", lambda: len(server.children()) == before + 1)
    server.process.send_signal(signal.SIGTTOU)
    until("one worker less", lambda: len(server.children()) == before)
    return f"{get(server.port, '/hello')[0].status}; exit status {server.end()}"


def worker_killed(start):
    server = start()
    get(server.port, "/hello")
    old = server.children()
    import os

    os.kill(old[0], signal.SIGKILL)
    until("a new worker", lambda: server.children() and old[0] not in server.children())
    until("it answers", lambda: answers(server))
    return f"exit status {server.end()}"


def answers(server):
    try:
        return get(server.port, "/hello")[0].status == 200
    except Exception:
        return False


def worker_timeout(start):
    """A worker that has not told its arbiter for a second that it lives is killed and replaced."""
    server = start("--timeout", "1")
    get(server.port, "/hello")
    old = server.children()
    outcome = under_way(server, "/spin")()
    told = server.log.read_text().count("WORKER TIMEOUT")
    if told:
        until("a new worker", lambda: len(server.children()) == len(old) and old != server.children())
    until("it answers", lambda: answers(server))
    return f"spinning: {outcome}; told {told} times; exit status {server.end()}"


def recycled(start):
    """Workers that end by themselves after so many requests lose none."""
    server = start("--max-requests", "20")
    statuses = {}
    for _ in range(100):
        status = get(server.port, "/hello")[0].status
        statuses[status] = statuses.get(status, 0) + 1
    return f"{statuses}; exit status {server.end()}"


GUNICORN = [reloaded, more_and_fewer_workers, worker_killed, worker_timeout, recycled]

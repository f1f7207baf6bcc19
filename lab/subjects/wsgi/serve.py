"""serve.py SERVER BENCH key=value…: one of Python's web servers with the three views, on a free port of 127.0.0.1.

Prints `PORT PID` once it serves. PID's processor time is that of all that descend from it: a server with worker
processes is their arbiter. Killed, it takes its workers with it, gunicorn's by gunicorn's own doing: a worker ends
when its arbiter is gone.
"""

import ctypes
import os
import resource
import signal
import socket
import sys

BACKLOG = 2048
THREADS = 100
CONNECTIONS = 4000  # more than any bench opens
KEEP_ALIVE = 75  # seconds; a proxy's usual
PR_SET_PDEATHSIG = 1


def announce(port, pid):
    print(port, pid, flush=True)


def listen():
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    return listener, listener.getsockname()[1]


def gunicorn(worker_class, application, workers=1):
    from gunicorn.app.base import BaseApplication
    from gunicorn.util import import_app

    listener, port = listen()
    # Gunicorn closes the descriptor that it is given, once it has copied it.
    descriptor = listener.detach()

    def serving(worker):
        # The first of them: the others are started by then, and connections wait in the backlog.
        if worker.age == 1:
            announce(port, worker.ppid)

    settings = {
        "bind": f"fd://{descriptor}",
        "worker_class": worker_class,
        "workers": workers,
        "backlog": BACKLOG,
        "worker_connections": CONNECTIONS,
        "keepalive": KEEP_ALIVE,
        "post_worker_init": serving,
        "loglevel": "warning",
    }
    if worker_class == "gthread":
        settings["threads"] = THREADS

    class Server(BaseApplication):
        def load_config(self):
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self):
            return import_app(application)

    Server().run()


def waitress():
    import logging

    from flask_app import app
    from waitress import create_server

    # It warns of each request that has to wait for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    listener, port = listen()
    server = create_server(
        app,
        sockets=[listener],
        threads=THREADS,
        connection_limit=CONNECTIONS,
        asyncore_use_poll=True,  # select() takes no descriptor above 1,023
        clear_untrusted_proxy_headers=True,
    )
    announce(port, os.getpid())
    server.run()


def tornado():
    import asyncio

    from tornado.httpserver import HTTPServer
    from tornado_app import app

    async def serve():
        listener, port = listen()
        listener.setblocking(False)
        HTTPServer(app).add_socket(listener)
        announce(port, os.getpid())
        await asyncio.Event().wait()

    asyncio.run(serve())


# One process each, whatever there is to use, but for the one that is for that.
SERVERS = {
    "gthread": lambda workers: gunicorn("gthread", "flask_app:app"),
    "gevent": lambda workers: gunicorn("gevent", "flask_app:app"),
    "sync": lambda workers: gunicorn("sync", "flask_app:app", workers),
    "django": lambda workers: gunicorn("gthread", "django_app:app"),
    "waitress": lambda workers: waitress(),
    "tornado": lambda workers: tornado(),
}

BENCHES = ["http", "view", "multicore_http"]


def end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main():
    server, bench, *pairs = sys.argv[1:]
    keys = dict(pair.split("=", 1) for pair in pairs)
    workers = int(keys.pop("workers", "1"))
    if server not in SERVERS:
        sys.exit(f"no server '{server}'; there are {', '.join(SERVERS)}")
    if bench not in BENCHES:
        sys.exit(f"no bench '{bench}'; there are {', '.join(BENCHES)}")
    if keys:
        sys.exit(f"unknown key '{next(iter(keys))}'; {bench} has workers")
    end_with_parent()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    SERVERS[server](workers)


if __name__ == "__main__":
    main()

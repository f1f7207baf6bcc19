#!/usr/bin/env python3
"""Drivers of databases and other C libraries, plain and under `timestop run`: the same results?

    tests/drivers/run.py [NAME…]

Starts PostgreSQL, MariaDB, Redis and nginx on free ports of loopback, makes a virtual environment with
the drivers, runs each program of this folder twice and compares what it printed. Needs the packages
postgresql mariadb-server libmariadb-dev redis-server nginx-light libcurl4-openssl-dev libssl-dev
pkg-config gcc python3-dev, and `cargo build --release` done.
"""

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from foreign import TIMESTOP, free_port, virtual_environment, wait_for  # noqa: E402

DRIVERS = "psycopg2-binary mysqlclient PyMySQL redis requests httpx pycurl numpy".split()
PROGRAMS = {
    "psycopg2": ["postgres_psycopg2.py"],
    "mysqlclient": ["mysql.py", "c"],
    "pymysql": ["mysql.py", "python"],
    "redis": ["redis_py.py"],
    "requests": ["https.py", "requests"],
    "httpx": ["https.py", "httpx"],
    "pycurl": ["https.py", "pycurl"],
    "sqlite3": ["sqlite.py"],
    "compute": ["compute.py"],
}
NOBODY = 65534


class Servers:
    def __init__(self, folder):
        self.folder = folder
        self.running = []
        self.environment = {}
        # PostgreSQL and MariaDB do not run as root.
        self.as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        os.chmod(folder, 0o755)

    def folder_for(self, name):
        path = self.folder / name
        path.mkdir()
        if self.as_nobody:
            os.chown(path, NOBODY, NOBODY)
        return path

    def start(self, *command, **options):
        log = open(self.folder / f"{Path(command[0]).name}.log", "w")
        self.running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **options))

    def postgres(self):
        tools = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        data, port = self.folder_for("postgres"), free_port()
        subprocess.run(
            [tools / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **self.as_nobody,
        )
        settings = f"port={port} listen_addresses=localhost unix_socket_directories={data} max_connections=300 fsync=off"
        flags = [flag for setting in settings.split() for flag in ("-c", setting)]
        self.start(tools / "postgres", "-D", data, *flags, **self.as_nobody)
        self.environment["PG_PORT"] = port
        return port

    def mariadb(self):
        data, port = self.folder_for("mariadb"), free_port()
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.as_nobody,
        )
        self.start(
            shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", f"--port={port}",
            f"--socket={data}/socket", "--bind-address=127.0.0.1", "--max-connections=1100", "--back-log=1100",
            "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve", "--connect-timeout=120", **self.as_nobody,
        )
        self.environment["MYSQL_PORT"] = port
        return port

    def redis(self):
        port = free_port()
        self.start("redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1", "--tcp-backlog", "1100")
        self.environment["REDIS_PORT"] = port
        return port

    def https(self):
        data, port = self.folder / "nginx", free_port()
        data.mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", data / "key", "-out", data / "certificate"],
            check=True, stderr=subprocess.DEVNULL,
        )
        (data / "large").write_bytes(bytes(range(256)) * 4096)
        (data / "configuration").write_text(f"""
            pid {data}/pid; error_log {data}/errors; daemon off; worker_rlimit_nofile 8192;
            {"user root;" if os.getuid() == 0 else ""}
            events {{ worker_connections 4096; }}
            http {{
                access_log off; keepalive_requests 100000; client_body_temp_path {data}; proxy_temp_path {data};
                server {{
                    listen 127.0.0.1:{port} ssl backlog=1100;
                    ssl_certificate {data}/certificate; ssl_certificate_key {data}/key; ssl_session_tickets off;
                    root {data};
                    location /echo {{ default_type text/plain; return 200 "said $arg_n\\n"; }}
                }}
            }}
        """)
        self.start("nginx", "-e", data / "errors", "-c", data / "configuration")
        self.environment["HTTPS_PORT"] = port
        self.environment["HTTPS_CA"] = data / "certificate"
        return port

    def stop(self):
        for server in self.running:
            # A fast shutdown for PostgreSQL too.
            server.send_signal(signal.SIGINT if "postgres" in str(server.args[0]) else signal.SIGTERM)
        for server in self.running:
            server.wait(60)


def run(command, environment):
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    except subprocess.TimeoutExpired as late:
        return None, "", f"hangs\n{(late.stderr or b'').decode()}"
    return done.returncode, done.stdout, done.stderr


def told(errors, what):
    lines = [line for line in errors.splitlines() if line.startswith(what + ": ")]
    return lines[0].split(": ")[1] if lines else "?"


def main():
    names = sys.argv[1:] or list(PROGRAMS)
    python = virtual_environment("drivers", DRIVERS)
    failed = []
    with tempfile.TemporaryDirectory(prefix="timestop-drivers-") as folder:
        servers = Servers(Path(folder))
        try:
            for port in [servers.postgres(), servers.mariadb(), servers.redis(), servers.https()]:
                wait_for(port)
            environment = os.environ | {key: str(value) for key, value in servers.environment.items()}
            for name in names:
                program = [str(python), str(HERE / PROGRAMS[name][0]), *PROGRAMS[name][1:]]
                plain = run(program, environment)
                fibers = run([str(TIMESTOP), "run", "--strict", *program], environment)
                good = plain[0] == fibers[0] == 0 and plain[1] == fibers[1]
                title = plain[1].split(":")[0] or name
                print(f"{'ok    ' if good else 'FAILED'} {title}: plain {told(plain[2], 'seconds')} s, "
                      f"{told(plain[2], 'os threads')} OS threads; run {told(fibers[2], 'seconds')} s, "
                      f"{told(fibers[2], 'os threads')} OS threads", flush=True)
                if not good:
                    failed.append(name)
                    for kind, (status, out, errors) in (("plain", plain), ("run", fibers)):
                        print(f"--- {kind}: status {status}\n{out[:300]}\n{errors[-3000:]}", flush=True)
        finally:
            servers.stop()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

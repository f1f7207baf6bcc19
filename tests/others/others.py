#!/usr/bin/env python3
"""Servers and programs that are not Python, plain and under `timestop run`: what they do, and what it costs.

    tests/others/others.py [--repeat N] [--seconds N] NAME…

Servers (mariadb puma java rust nginx redis redis_io_threads memcached postgres) get a load of many connections; a row has the median
of N turns, plain and under `run` by turns. `mariadb-behaviour` goes through what a load does not show. `tools` compares
output and status of programs that do one thing and end. `drivers` has C programs of a thousand threads with libpq,
libmariadb, libcurl and OpenSSL. Prints tables of Markdown; fails where `run` does something else than threads.

Needs the packages mariadb-server ruby puma openjdk-17-jdk nginx-light redis-server memcached postgresql gcc libpq-dev
libmariadb-dev libcurl4-openssl-dev libssl-dev, for `tools` also git xz-utils zstd ffmpeg sqlite3 curl gdb make nodejs;
and `cargo build --release` done.
"""

import argparse
import glob
import hashlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests/drivers"))
from run import NOBODY, Servers, free_port, wait_for  # noqa: E402

TIMESTOP = ROOT / "target/release/timestop"
TICK = os.sysconf("SC_CLK_TCK")
LIMIT = 60


def prefix(fibers, *options):
    return [str(TIMESTOP), "run", "--strict", *options] if fibers else []


def build(folder, source, *flags):
    program = folder / Path(source).stem
    if not program.exists():
        subprocess.run(["gcc", "-O2", "-pthread", "-o", program, HERE / source, *flags], check=True)
    return str(program)


def processes_of(session):
    """All processes of a session: a server may be several."""
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            after = Path(path).read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(after[3]) == session:
            yield Path(path).parent, after


def cpu_seconds(session):
    return sum(int(after[11]) + int(after[12]) for _, after in processes_of(session)) / TICK


def memory_and_threads(session):
    memory = threads = 0
    for process, after in processes_of(session):
        threads += int(after[17])
        try:
            found = re.search(r"^Pss:\s+(\d+)", (process / "smaps_rollup").read_text(), re.M)
        except OSError:
            continue
        memory += int(found[1]) if found else 0
    return memory / 1024, threads


class Server:
    """A server of one kind, started for one turn."""

    def __init__(self, folder, fibers, command, port, stop=signal.SIGTERM, **options):
        self.stop_signal = stop
        self.log = folder / "log"
        with open(self.log, "w") as log:
            command = prefix(fibers) + [str(word) for word in command]
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **options
            )
        self.port = port
        try:
            wait_for(port)
        except SystemExit as late:
            self.process.kill()
            raise SystemExit(f"{late}\n{self.log.read_text()[-3000:]}") from None

    def load(self, load, connections, seconds, kind, *argument):
        session = self.process.pid
        before = cpu_seconds(session)
        command = [load, self.port, connections, seconds, kind, *argument]
        if kind == "pgbench":
            tools = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
            command = [tools / "pgbench", "-n", "-S", "-c", connections, "-T", max(1, int(seconds)), "-h", "127.0.0.1",
                       "-p", self.port, "-U", "postgres", "postgres"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=LIMIT)
        if done.returncode != 0:
            raise SystemExit(f"{kind}: {done.stderr}\n{self.log.read_text()[-3000:]}")
        if kind == "pgbench":
            found = re.search(r"tps = ([\d.]+)", done.stdout)
            half = most = float(re.search(r"latency average = ([\d.]+)", done.stdout)[1])
            rate = float(found[1])
        else:
            rate, half, most = map(float, done.stdout.split())
        used = cpu_seconds(session) - before
        memory, threads = memory_and_threads(session)
        return {"rate": rate, "half": half, "most": most, "cpu": 1e6 * used / (rate * seconds), "memory": memory,
                "threads": threads}

    def stop(self):
        self.process.send_signal(self.stop_signal)
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise SystemExit(f"does not end\n{self.log.read_text()[-3000:]}") from None


class Subjects:
    """How each server is started, and what is asked of it: connections, kind and argument of the load."""

    def __init__(self, folder):
        self.folder = folder
        self.as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        folder.chmod(0o755)

    def fresh(self, name):
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        if self.as_nobody:
            os.chown(path, NOBODY, NOBODY)
        return path

    def mariadb(self, fibers, *options):
        data, port = self.folder / "mariadb", free_port()
        if not data.exists():
            self.fresh("mariadb")
            subprocess.run(
                ["mariadb-install-db", "--no-defaults", f"--datadir={data}/data", "--auth-root-authentication-method=normal"],
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.as_nobody,
            )
        command = [
            shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}/data",
            f"--port={port}", f"--socket={data}/socket", f"--pid-file={data}/pid", "--bind-address=127.0.0.1",
            "--max-connections=1100", "--back-log=1100", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve",
            *options,
        ]
        server = Server(self.folder, fibers, command, port, **self.as_nobody)
        self.client(port, """
            CREATE TABLE IF NOT EXISTS test.treasures (id int PRIMARY KEY, text char(100)) ENGINE=InnoDB;
            INSERT IGNORE INTO test.treasures SELECT seq, REPEAT('x', 100) FROM seq_1000_to_1999;
        """)
        return server

    @staticmethod
    def client(port, statement, database="test", **options):
        return subprocess.run(
            ["mariadb", "--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{port}", "-uroot", "-N", "-B", database,
             "-e", statement],
            capture_output=True, text=True, timeout=LIMIT, **({"check": True} | options),
        ).stdout.strip()

    def puma(self, fibers):
        port = free_port()
        command = ["puma", "-q", "-e", "production", "-t", "1:200", "-b", f"tcp://127.0.0.1:{port}", HERE / "config.ru"]
        return Server(self.folder, fibers, command, port)

    def postgres(self, fibers):
        data, port = self.folder / "postgres", free_port()
        tools = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        if not data.exists():
            subprocess.run([tools / "initdb", "-D", self.fresh("postgres"), "-U", "postgres", "-A", "trust", "--no-sync"],
                           check=True, stdout=subprocess.DEVNULL, cwd="/", **self.as_nobody)
        command = [tools / "postgres", "-D", data, "-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c",
                   f"unix_socket_directories={data}", "-c", "max_connections=300", "-c", "fsync=off"]
        server = Server(self.folder, fibers, command, port, signal.SIGINT, cwd="/", **self.as_nobody)
        deadline = time.monotonic() + LIMIT
        bench = [tools / "pgbench", "-q", "-i", "-s", "2", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "postgres"]
        while subprocess.run(bench, capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                raise SystemExit(f"PostgreSQL does not start\n{server.log.read_text()[-3000:]}")
        return server

    def java(self, fibers):
        port = free_port()
        if not (self.folder / "EchoServer.class").exists():
            subprocess.run(["javac", "-d", self.folder, HERE / "EchoServer.java"], check=True)
        return Server(self.folder, fibers, ["java", "-cp", self.folder, "EchoServer", port], port)

    def rust(self, name, fibers):
        port = free_port()
        return Server(self.folder, fibers, [rust_program(name), port], port)

    def nginx(self, fibers):
        data, port = self.fresh("nginx"), free_port()
        (data / "configuration").write_text(f"""
            pid {data}/pid; error_log {data}/errors; daemon off; worker_processes 2; worker_rlimit_nofile 8192;
            {"user root;" if os.getuid() == 0 else ""}
            events {{ worker_connections 4096; }}
            http {{
                access_log off; keepalive_requests 100000000; client_body_temp_path {data}; proxy_temp_path {data};
                server {{
                    listen 127.0.0.1:{port} backlog=1100;
                    location / {{ default_type text/plain; return 200 "hello\\n"; }}
                }}
            }}
        """)
        command = [shutil.which("nginx") or "/usr/sbin/nginx", "-e", data / "errors", "-c", data / "configuration"]
        return Server(self.folder, fibers, command, port)

    def redis(self, fibers, *options):
        port = free_port()
        command = ["redis-server", "--port", port, "--save", "", "--bind", "127.0.0.1", "--tcp-backlog", "1100", *options]
        return Server(self.folder, fibers, command, port)

    def redis_io_threads(self, fibers):
        return self.redis(fibers, "--io-threads", "2")

    def memcached(self, fibers):
        port = free_port()
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        return Server(self.folder, fibers, ["memcached", "-l", "127.0.0.1", "-p", port, "-t", "4", "-c", "4096", *user], port)


def rust_program(name):
    target = ROOT / "target/others"
    manifest = HERE / "rust/Cargo.toml"
    subprocess.run(["cargo", "build", "--quiet", "--release", "--manifest-path", manifest, "--target-dir", target], check=True)
    return target / "release" / name


# What is measured: name, connections, kind of load, argument.
LOADS = {
    "mariadb": [("`SELECT 1`", 1000, "mysql", "SELECT 1"),
                ("by key", 1000, "mysql", "SELECT text FROM treasures WHERE id = ####")],
    "puma": [("hello", 200, "http", "/hello"), ("sleeps 100 ms", 200, "http", "/sleep"), ("computes", 200, "http", "/spin")],
    "java": [("a thread a connection", 1000, "echo")],
    "rust": [("std, a thread a connection", 1000, "echo"), ("tokio", 1000, "echo")],
    "nginx": [("hello", 1000, "http", "/")],
    "redis": [("GET", 1000, "redis")],
    "redis_io_threads": [("GET, --io-threads 2", 1000, "redis")],
    "memcached": [("get", 1000, "memcached")],
    "postgres": [("pgbench -S (average in place of p99)", 100, "pgbench")],
}
RUST = {"std, a thread a connection": "threads", "tokio": "tasks"}


def turn(subjects, name, fibers, seconds, load):
    """Each load of one server, once."""
    rows = {}
    groups = [[one] for one in LOADS[name]] if name == "rust" else [LOADS[name]]
    for group in groups:
        server = subjects.rust(RUST[group[0][0]], fibers) if name == "rust" else getattr(subjects, name)(fibers)
        for title, connections, kind, *argument in group:
            rows[title] = server.load(load, connections, seconds, kind, *argument)
        status = server.stop()
        if name not in ("java", "rust", "memcached") and status not in (0, -signal.SIGTERM, 143):
            raise SystemExit(f"{name} ends with {status}\n{server.log.read_text()[-3000:]}")
    return rows


def measure(subjects, name, repeat, seconds):
    load = build(subjects.folder, "load.c")
    turns = {False: [], True: []}
    for number in range(repeat):
        for fibers in (False, True) if number % 2 == 0 else (True, False):
            turns[fibers].append(turn(subjects, name, fibers, seconds, load))
    for title, connections, *_ in LOADS[name]:
        middle = {
            fibers: {key: statistics.median(one[title][key] for one in all_) for key in all_[0][title]}
            for fibers, all_ in turns.items()
        }
        plain, run = middle[False], middle[True]
        print(f"| {name} | {title}, {connections} connections | {plain['rate']:,.0f} | {run['rate']:,.0f} | "
              f"{run['rate'] / plain['rate']:.2f} | {plain['cpu']:.1f}, {run['cpu']:.1f} | "
              f"{plain['most']:.0f}, {run['most']:.0f} | {plain['memory']:.0f}, {run['memory']:.0f} | "
              f"{plain['threads']:.0f}, {run['threads']:.0f} |", flush=True)


def behaviour_of_mariadb(subjects):
    """KILL, time limits, slow queries beside fast ones, a crash: what happens, on threads and on fibers."""
    import threading

    def one(fibers):
        said = {}
        server = subjects.mariadb(fibers)
        port, client = server.port, subjects.client

        def in_background(statement):
            result = []
            thread = threading.Thread(target=lambda: result.append(client(port, statement, check=False)))
            thread.start()
            return thread, result

        def number_of(statement):
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                found = client(port, "SELECT id FROM information_schema.processlist WHERE info = '" +
                               statement.replace("'", "''") + "'")
                if found:
                    return found
            raise SystemExit(f"{statement} does not run")

        sleep, answer = in_background("SELECT SLEEP(1000)")
        client(port, f"KILL QUERY {number_of('SELECT SLEEP(1000)')}")
        sleep.join()
        said["KILL QUERY of a sleep"] = answer[0]
        spin, answer = in_background("SELECT BENCHMARK(4000000000, MD5('treasure'))")
        begin = time.monotonic()
        fast = [client(port, "SELECT 1 + 1") for _ in range(20)]
        said["queries beside one that computes"] = fast == ["2"] * 20 and time.monotonic() - begin < 10
        client(port, f"KILL {number_of(chr(83) + 'ELECT BENCHMARK(4000000000, MD5(' + chr(39) + 'treasure' + chr(39) + '))')}")
        spin.join()
        said["KILL of one that computes"] = answer[0]
        locks, answer = in_background("SELECT GET_LOCK('treasure', 5); SELECT SLEEP(1)")
        number_of("SELECT SLEEP(1)")
        said["a lock that another holds"] = client(port, "SELECT GET_LOCK('treasure', 0)")
        said["and waiting for it"] = client(port, "SELECT GET_LOCK('treasure', 30)")
        locks.join()
        said["max_statement_time"] = client(port, "SET STATEMENT max_statement_time=0.2 FOR SELECT SLEEP(100)", check=False)
        client(port, "SET GLOBAL wait_timeout = 1")
        idle = subprocess.Popen(
            ["mariadb", "--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{port}", "-uroot", "--skip-reconnect",
             "-N", "-B", "-n", "test"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        idle.stdin.write("SELECT CONNECTION_ID();\n")
        idle.stdin.flush()
        number = idle.stdout.readline().strip()
        deadline = time.monotonic() + 20
        while client(port, f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {number}") != "0":
            if time.monotonic() > deadline:
                raise SystemExit("wait_timeout ends no connection")
        out, errors = idle.communicate("SELECT 'still here';\n")
        said["wait_timeout"] = (out, "gone away" in errors or "4031" in errors or "Lost connection" in errors)
        client(port, "DROP TABLE IF EXISTS kept; CREATE TABLE kept (id int PRIMARY KEY) ENGINE=InnoDB; "
                     "SET GLOBAL innodb_flush_log_at_trx_commit = 1; INSERT INTO kept VALUES (1), (2), (3)")
        server.process.kill()
        server.process.wait()
        server = subjects.mariadb(fibers)
        said["after kill -9"] = client(server.port, "SELECT COUNT(*) FROM kept")
        said["shutdown by SIGTERM"] = server.stop()
        server = subjects.mariadb(fibers)
        client(server.port, "SHUTDOWN")
        said["SHUTDOWN"] = server.process.wait(LIMIT)
        return said

    plain, run = one(False), one(True)
    print("| MariaDB | plain | `run` |\n|---|---|---|")
    for what, answer in plain.items():
        print(f"| {what} | {answer!r} | {'the same' if run[what] == answer else repr(run[what])} |", flush=True)
    return plain == run


NODE = r"""
const fs = require("fs"), crypto = require("crypto"), dns = require("dns"), zlib = require("zlib");
const { Worker } = require("worker_threads");
const all = (count, body) => Promise.all([...Array(count).keys()].map(body));
const hash = (i) => new Promise((done, fail) =>
  crypto.pbkdf2("treasure", "salt" + i, 20000, 32, "sha256", (error, key) => (error ? fail(error) : done(key.toString("hex")))));
const loop = "let s = 0; for (let i = 0; i < 3e7; i++) s += i % 7; require('worker_threads').parentPort.postMessage(s)";
const worker = () => new Promise((done, fail) => new Worker(loop, { eval: true }).on("message", done).on("error", fail));
(async () => {
  console.log((await all(16, hash)).join());
  console.log((await all(50, () => fs.promises.readFile("/etc/passwd"))).length);
  console.log((await all(4, worker)).join());
  console.log((await dns.promises.lookup("localhost", 4)).address);
  console.log((await new Promise((done) => zlib.gzip(Buffer.alloc(5e6), (_, packed) => done(packed)))).length);
  console.log(require("child_process").execSync("echo child").toString());
})();
"""

# Name, what it does, command for a shell. RUN stands for nothing, or for `timestop run`.
TOOLS = [
    ("make -j4", "eight compilers", "cd $TEMP && rm -f o*.o && RUN make -s -j4 -f $MAKEFILE 2>&1 | sort"),
    ("git repack", "four threads", "rm -rf $TEMP/git && git clone -q --bare $ROOT $TEMP/git && cd $TEMP/git && "
     "RUN git repack -q -a -d -f --threads=4 && RUN git fsck --no-dangling && git count-objects -v | grep -E '^(in-pack|packs):'"),
    ("git grep", "four threads", "cd $ROOT && RUN git grep --threads 4 -c fiber"),
    ("xz -T4", "packs", "RUN xz -T4 -1 --block-size=4MiB -c $TEMP/large"),
    ("xz -dT4", "unpacks", "xz -T2 -1 --block-size=4MiB -c $TEMP/large > $TEMP/large.xz; RUN xz -T4 -dc $TEMP/large.xz"),
    ("zstd -T4", "packs", "RUN zstd -T4 -9 -q -c $TEMP/large"),
    ("ffmpeg", "encodes, four threads", "RUN ffmpeg -v error -f lavfi -i testsrc=size=640x480:rate=25 -t 3 -threads 4 -c:v libx264 -f md5 -"),
    ("sqlite3", "a sort in threads", "RUN sqlite3 :memory: 'PRAGMA threads=4; WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
     "SELECT x+1 FROM c WHERE x<300000) SELECT SUM(x*7%13) FROM (SELECT x FROM c ORDER BY x*7919%100003)'"),
    ("curl --parallel", "100 transfers, TLS", "RUN curl -sS --cacert $CA --parallel --parallel-max 50 $(seq -f 'https://localhost:'$PORT'/echo?n=%.0f' 100) | sort"),
    ("node", "libuv's pool, workers, lookups, a child", "RUN node $TEMP/node.js"),
    ("java", "1,000 threads, collections, traps", "RUN java -cp $TEMP Threads"),
    ("gdb", "breakpoint, backtrace, continue", "RUN gdb -q -batch -nx -ex 'set pagination off' -ex 'break puts' -ex run -ex bt "
     "-ex 'info threads' -ex continue --args xz -T2 --version 2>/dev/null | sed -E 's/0x[0-9a-f]+|process [0-9]+|LWP [0-9]+//g'"),
    ("rayon", "sorts and sums", "RUN $RAYON"),
]

MAKEFILE = "all: $(foreach i,1 2 3 4 5 6 7 8,o$(i).o)\no%.o:\n\tgcc -O2 -c -o $@ SOURCE && md5sum $@\n"


def servers_beside(folder):
    """Servers that do not run here, for programs that do."""
    path = folder / "beside"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return Servers(path)


def tools(subjects, wanted):
    folder = subjects.folder
    (folder / "node.js").write_text(NODE)
    (folder / "Makefile").write_text(MAKEFILE.replace("SOURCE", str(HERE / "load.c")))
    with open(folder / "large", "wb") as large:
        for name in ("timestop", "libtimestop_preload.so"):
            large.write((ROOT / "target/release" / name).read_bytes()[:30_000_000])
    subprocess.run(["javac", "-d", folder, HERE / "Threads.java"], check=True)
    server = servers_beside(folder)
    port = server.https()
    wait_for(port)
    environment = os.environ | {
        "TEMP": str(folder), "ROOT": str(ROOT), "PORT": str(port), "CA": str(server.environment["HTTPS_CA"]),
        "MAKEFILE": str(folder / "Makefile"), "RAYON": str(rust_program("parallel")),
    }
    good = True
    print("| program | does | output and status | seconds: plain, `run` | fibers |\n|---|---|---|---|---|")
    for name, does, command in TOOLS:
        if wanted and name.split()[0] not in wanted:
            continue
        results = []
        stats = folder / "stats"
        stats.unlink(missing_ok=True)
        for fibers in (False, True):
            run = f"{TIMESTOP} run --strict --stats-file {stats}" if fibers else ""
            begin = time.monotonic()
            try:
                done = subprocess.run(["bash", "-c", "set -o pipefail; " + command.replace("RUN", run)],
                                      capture_output=True, env=environment, timeout=LIMIT)
                result = done.returncode, hashlib.sha256(done.stdout).hexdigest()
            except subprocess.TimeoutExpired:
                done, result = None, ("hangs", "")
            results.append((result, time.monotonic() - begin, done))
        (plain, plain_seconds, _), (other, run_seconds, done) = results
        same = plain == other and plain[0] == 0
        made = re.findall(r"now, ([\d,]+) in all", stats.read_text()) if stats.exists() else []
        made = max((int(one.replace(",", "")) for one in made), default=0)
        print(f"| {name} | {does} | {'the same' if same else f'{plain[0]}, {other[0]}'} | {plain_seconds:.1f}, {run_seconds:.1f} | "
              f"{made or 'none'} |", flush=True)
        if not same:
            good = False
            if done:
                print(done.stdout[-1000:].decode(errors="replace"), done.stderr[-3000:].decode(errors="replace"), file=sys.stderr)
    server.stop()
    return good


def drivers(subjects):
    folder = subjects.folder
    program = folder / "drivers"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libpq", "libmariadb", "libcurl", "openssl"],
                           check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["gcc", "-O2", "-pthread", "-o", program, HERE / "drivers.c", *flags], check=True)
    servers = servers_beside(folder)
    good = True
    try:
        for port in [servers.postgres(), servers.mariadb(), servers.https()]:
            wait_for(port)
        environment = os.environ | {key: str(value) for key, value in servers.environment.items()}
        print("| library | plain: seconds, OS threads | `run --workers 1`: seconds, OS threads |\n|---|---|---|")
        for name in ("libpq", "libmariadb", "libcurl", "openssl"):
            said = []
            for fibers in (False, True):
                command = prefix(fibers, "--workers", "1") + [str(program), name]
                done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT)
                told = dict(line.split(": ") for line in done.stderr.splitlines() if ": " in line)
                said.append((done.returncode, done.stdout, told, done.stderr))
            (status, output, plain, _), (other, result, run, errors) = said
            same = status == other == 0 and output == result
            print(f"| {output.strip() or name} | {plain.get('seconds')}, {plain.get('OS threads')} | "
                  f"{run.get('seconds')}, {run.get('OS threads')}{'' if same else ' FAILED'} |", flush=True)
            if not same:
                good = False
                print(status, output, other, result, errors, file=sys.stderr)
    finally:
        servers.stop()
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[*LOADS, "mariadb-behaviour", "tools", "drivers"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", action="append", default=[], help="of the tools, those")
    wanted = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="timestop-others-") as folder:
        subjects = Subjects(Path(folder))
        if any(name in LOADS for name in wanted.names):
            print("| server | load | plain: requests/s | `run` | ratio | CPU a request, µs: plain, `run` | "
                  "p99, ms | memory (PSS), MiB | OS threads |\n|---|---|---|---|---|---|---|---|---|", flush=True)
        for name in wanted.names:
            if name in LOADS:
                measure(subjects, name, wanted.repeat, wanted.seconds)
            elif name == "mariadb-behaviour":
                good &= behaviour_of_mariadb(subjects)
            elif name == "tools":
                good &= tools(subjects, wanted.only)
            elif name == "drivers":
                good &= drivers(subjects)
            else:
                parser.error(f"no such name: {name}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

"""serve.py http workers=N: nginx with N worker processes on a free port of 127.0.0.1, until this process is ended.

Prints `PORT PID`, where PID is nginx's master: its workers descend from it. The port is reserved by a socket that is
bound and never listens, since nginx cannot be asked for a free one. What nginx wants to write goes to a folder that is
removed as soon as it serves; it has read its configuration by then.
"""

import ctypes
import getpass
import grp
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS_TO_START = 10
PR_SET_PDEATHSIG = 1

# `user` is for a master that is root, whose workers could not read the file as `nobody`.
CONFIGURATION = """
daemon off;
{user}
worker_processes {workers};
pid {folder}/pid;
error_log stderr error;
worker_rlimit_nofile 16384;

events {{
    worker_connections 8192;
}}

http {{
    access_log off;
    default_type text/plain;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;

    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        root "{root}";
        index body.txt;
    }}
}}
"""


def reserve():
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved, reserved.getsockname()[1]


def configuration(port, workers, folder):
    user = f"user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};" if os.geteuid() == 0 else ""
    return CONFIGURATION.format(user=user, workers=workers, port=port, folder=folder, root=HERE / "www")


def end_with_parent(number):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def serve(port, workers, folder):
    file = Path(folder) / "nginx.conf"
    file.write_text(configuration(port, workers, folder))
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        sys.exit("nginx is not installed: apt-get install nginx-light")
    # Told to end, the master ends its workers.
    return subprocess.Popen(
        [nginx, "-p", folder, "-e", "stderr", "-c", file], preexec_fn=lambda: end_with_parent(signal.SIGTERM)
    )


def wait_until_it_serves(server, port):
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"nginx ended with status {server.returncode}")
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
    server.terminate()
    sys.exit(f"nginx does not listen after {SECONDS_TO_START} s")


def main():
    bench, *pairs = sys.argv[1:]
    keys = dict(pair.split("=", 1) for pair in pairs)
    workers = int(keys.pop("workers", "1"))
    if bench != "http" or keys:
        sys.exit("there is only: http workers=NUMBER")
    end_with_parent(signal.SIGKILL)
    reserved, port = reserve()
    with tempfile.TemporaryDirectory(prefix="timestop-nginx-") as folder, reserved:
        server = serve(port, workers, folder)
        wait_until_it_serves(server, port)
    print(port, server.pid, flush=True)
    sys.exit(server.wait())


if __name__ == "__main__":
    main()

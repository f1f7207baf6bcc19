"""What the drivers of this folder share: programs of others, in a virtual environment, plain and under `timestop run`."""

import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMESTOP = ROOT / "target/release/timestop"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def virtual_environment(name, packages):
    """The interpreter of a virtual environment in `target`, with these packages."""
    folder = ROOT / "target" / name
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    installed = subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", *packages], capture_output=True)
    if installed.returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python

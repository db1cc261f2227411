"""Runs netem/lab-net for tests, and looks for what it may have left behind."""

import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

from udpconf.emulation import namespaces

LAB_NET = Path(__file__).parent.parent.parent / "netem" / "lab-net"
PYTHON = sys.executable
UNAVAILABLE = 4
# The receiving side of every test below: prints what it gets, in order, until SIGTERM.
RECEIVER = """
    import os, signal, socket, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((os.environ["LAB_HERE"], 5000))
    while True:
        data, address = sock.recvfrom(2000)
        print(data.decode(), flush=True)
        sock.sendto(data, address)
"""


def lab(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """`netem/lab-net` with these arguments, to its end; more goes to subprocess.run()."""
    return subprocess.run(
        [PYTHON, str(LAB_NET), *arguments], capture_output=True, text=True, timeout=60, check=False, **more
    )


def python(code: str) -> list[str]:
    return [PYTHON, "-c", textwrap.dedent(code)]


@cache
def lab_works() -> bool:
    """Root on Linux with TUN. Anywhere else the lab must say what is missing and end with its code."""
    done = lab("-q", "--", "true", "--", "true")
    if done.returncode == UNAVAILABLE:
        assert done.stderr.startswith("lab-net: ")
        assert "Traceback" not in done.stderr
        return False
    assert done.returncode == 0, done.stderr
    return True


def names_of(pid: int) -> list[str]:
    """The namespaces of the lab with this process number."""
    if not namespaces.NAMES_SEEN_IN.exists():
        return []
    return [path.name for path in namespaces.NAMES_SEEN_IN.iterdir() if f"-{pid}-" in path.name]


def devices_of(pid: int) -> list[str]:
    """What it has left among this machine's own network devices."""
    return [path.name for path in Path("/sys/class/net").glob(f"lab{pid}*")]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

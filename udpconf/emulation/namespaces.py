"""Two network namespaces with a TUN device in each, made with iproute2 and gone without a trace. Linux, root.

What one namespace sends to the other comes out of a file descriptor here, as a plain IP packet, and nothing else does:
no IPv6, no neighbour discovery, no default route.

    <prefix>-<pid>-a  10.77.0.1 ── TUN ── descriptor        descriptor ── TUN ── 10.77.0.2  <prefix>-<pid>-b
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000

MTU_BYTES = 1500
# Packets that the kernel keeps for us in each direction while this process is not scheduled: 50 ms at 1 Gbit/s.
TUN_QUEUE_PACKETS = 5000
PREFIX = "udpconf-lab"
# A process that cannot be killed (stuck in the kernel) is left to the kernel after a second.
REMOVE_ATTEMPTS = 100
NAMES_SEEN_IN = Path("/run/netns")
TUN_MAKER = Path("/dev/net/tun")

SET_UP = """
ip link set lo up
if [ -e /proc/sys/net/ipv6/conf/{device}/disable_ipv6 ]; then
    echo 1 > /proc/sys/net/ipv6/conf/{device}/disable_ipv6
fi
ip address add {address}/24 dev {device}
ip link set {device} mtu {mtu} txqueuelen {queue} up
"""


class LabUnavailableError(Exception):
    """This machine or user cannot have namespaces or TUN devices; the message says why in a sentence."""


class Namespace(NamedTuple):
    """One end of the path."""

    name: str
    address: str
    tun: int  # non-blocking file descriptor; a read or write is one IP packet


def check_possible() -> None:
    """Raise LabUnavailableError where there is no hope."""
    if not sys.platform.startswith("linux"):
        raise LabUnavailableError("network namespaces exist on Linux only; elsewhere use the UDP proxy")
    if os.geteuid() != 0:
        raise LabUnavailableError(
            "network namespaces and TUN devices need root: run it with sudo, or use the UDP proxy"
        )
    if shutil.which("ip") is None:
        raise LabUnavailableError("the command `ip` is missing: install iproute2")
    if not TUN_MAKER.exists():
        raise LabUnavailableError(f"{TUN_MAKER} is missing: load the kernel's module with `modprobe tun`")


@contextlib.contextmanager
def namespace(side: str, address: str) -> Iterator[Namespace]:
    """A namespace for this process, removed at the end with every process that is still in it.

    Raises:
        LabUnavailableError: the kernel or a container around us forbids it.
    """
    name = f"{PREFIX}-{os.getpid()}-{side}"
    device = f"lab{os.getpid()}{side}"  # at most 15 letters, unique until it has moved into the namespace
    with contextlib.ExitStack() as stack:
        stack.callback(remove, name)  # first: also half a namespace must go
        run_ip("netns", "add", name)
        try:
            tun = os.open(TUN_MAKER, os.O_RDWR | os.O_NONBLOCK)
            stack.callback(os.close, tun)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
        except OSError as error:
            raise LabUnavailableError(f"cannot make a TUN device: {error.strerror}") from error
        run_ip("link", "set", device, "netns", name)
        script = SET_UP.format(device=device, address=address, mtu=MTU_BYTES, queue=TUN_QUEUE_PACKETS)
        run_ip("netns", "exec", name, "sh", "-ec", script)
        yield Namespace(name, address, tun)


def remove(name: str) -> None:
    """Kill what is left in a namespace and take its name away; the kernel frees it with its last process."""
    for _ in range(REMOVE_ATTEMPTS):  # a process may fork while we read the list
        listed = ip("netns", "pids", name)
        if not listed.stdout.split():
            break
        for pid in listed.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.01)  # the killed need a moment to go
    ip("netns", "delete", name)


def clear_stale() -> list[str]:
    """Remove the namespaces of runs that were killed; their names."""
    try:
        present = sorted(path.name for path in NAMES_SEEN_IN.iterdir())
    except FileNotFoundError:
        return []
    stale = [name for name in present if (pid := owner_of(name)) is not None and not is_lab(pid)]
    for name in stale:
        remove(name)
    return stale


def owner_of(name: str) -> int | None:
    match = re.fullmatch(rf"{PREFIX}-(\d+)-[ab]", name)
    return int(match[1]) if match else None


def is_lab(pid: int) -> bool:
    """Another lab runs under this number; our own number in a name is that of a predecessor."""
    if pid == os.getpid():
        return False
    try:
        return b"lab-net" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError as error:
        return error.errno not in {errno.ENOENT, errno.ESRCH}


def run_ip(*arguments: str) -> None:
    done = ip(*arguments)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()
        raise LabUnavailableError(
            f"`ip {' '.join(arguments[:2])}` failed: {reason[-1] if reason else 'no reason given'}"
        )


def ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run iproute2's command in a session of its own: a Ctrl-C in the terminal must not stop it halfway."""
    return subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, check=False, start_new_session=True
    )

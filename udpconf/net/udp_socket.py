"""A UDP socket that never blocks, never fragments and never raises once it is open.

Whatever the kernel says later (a port unreachable, a network that is gone, a datagram too large for the path) is
counted by its name and is not an error of the session: the protocol lives on lost datagrams anyway.
"""

import contextlib
import errno
import functools
import select
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

if sys.platform == "linux":
    import fcntl

from udpconf.errors import ConfigError, PortInUseError
from udpconf.limits import DATAGRAM_MAX_BYTES, MS, RECEIVE_BATCH, SECOND
from udpconf.net.clock import monotonic_us, wall_us
from udpconf.proto.events import Address

Ancillary = list[tuple[int, int, bytes]]

# Above every legal datagram, so that an oversize one shows as such instead of being cut to a legal size.
_RECEIVE_BYTES = 2048
# The default of 208 KiB holds less than one large frame. The kernel gives less than asked when rmem_max is lower.
BUFFER_BYTES = 4 << 20
# How long a full send buffer may hold up the network thread before the datagram is dropped. Chosen, not measured:
# 4 MiB empty at 1 Gbit/s in 34 ms, so some room is there after 2 ms unless the interface is stuck.
_SEND_WAIT_S = 0.002

# From <linux/in.h> and <linux/in6.h>; CPython's socket module lacks the names. PROBE: DF is set, and a path MTU that
# somebody forged in an ICMP message is not believed.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER = 10, 23
_PMTUDISC_PROBE = 3
_SIOCGIFADDR = 0x8915  # <linux/sockios.h>
_SO_MEMINFO = 55  # <asm-generic/socket.h>; nine u32 by <linux/sock_diag.h>
_SK_MEMINFO = struct.Struct("9I")
_SK_MEMINFO_DROPS = 8
# <asm-generic/socket.h>: with each datagram, when it came in, a struct timespec of the wall clock.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
# A stamp older than that is of a wall clock that was set meanwhile, or of a machine that slept.
_STAMP_AGE_MAX_US = 200 * MS
# RFC 8837: AF41 for interactive video, EF for sound. Wi-Fi maps them to its video and voice queues.
_AF41, _EF = 34 << 2, 46 << 2

# On Windows three things would differ: MTU discovery is IP_MTU_DISCOVER 71 with value 3 (IP_PMTUDISC_PROBE), an ICMP
# "port unreachable" makes the next receive fail with WSAECONNRESET unless SIO_UDP_CONNRESET is off (here it is counted
# like any other error), and SO_REUSEADDR would let two programs share a port, so it must stay off.

_V4_MAPPED = "::ffff:"


class UdpSocket:
    """One open socket. Owned by the network thread from the moment it is handed over.

    Attributes:
        port: the local port.
        receive_buffer_bytes, send_buffer_bytes: what the kernel granted.
        stamped: the kernel says when each datagram came in, however late it is read.
        counters: datagrams not received or not sent, by reason: ``empty``, ``oversize``, ``send_buffer_full``, and
            ``receive_``/``send_`` with the name of the errno.
    """

    def __init__(self, bare: socket.socket, *, voice: bool = False) -> None:
        self._socket = bare
        self._six = bare.family == socket.AF_INET6
        self.fd = bare.fileno()
        self.counters: Counter[str] = Counter()
        bare.setblocking(False)
        self.receive_buffer_bytes = _grow_buffer(
            bare, socket.SO_RCVBUF, 33
        )  # SO_RCVBUFFORCE: needs CAP_NET_ADMIN
        self.send_buffer_bytes = _grow_buffer(bare, socket.SO_SNDBUF, 32)  # SO_SNDBUFFORCE
        _set_path_options(bare, _EF if voice else _AF41)
        self.stamped = _ask_for_stamps(bare)
        self._receive = _receiver(bare, stamped=self.stamped)

    @classmethod
    def listen(cls, host: str, port: int, *, voice: bool = False) -> "UdpSocket":
        """Bind to an address of this machine; port 0 takes any free one; ``::`` serves IPv4 as well.

        Raises:
            PortInUseError: another program has the port.
            ConfigError: the host is no address of this machine, or the port may not be had.
        """
        family, address = _local_address(host, port)
        bare = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                bare.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host in {"::", ""} else 1)
            bare.bind(address)
        except OSError as error:
            bare.close()
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(
                    f"UDP port {port} on {host} is in use by another program (perhaps another udpconf serve). "
                    f"Stop that program, or choose another port."
                ) from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConfigError(
                    f"Cannot listen on {host}: that is no address of this machine. Give one that is, or 0.0.0.0 for all "
                    "of them (:: for all with IPv6)."
                ) from error
            advice = " Choose a port above 1023." if error.errno == errno.EACCES else ""
            raise ConfigError(
                f"Cannot listen on {host}, UDP port {port}: {error.strerror}.{advice}"
            ) from error
        return cls(bare, voice=voice)

    @classmethod
    def towards(cls, address: Address, *, voice: bool = False) -> "UdpSocket":
        """Open a socket that can reach the address, on any local port.

        It is not connected: a connected socket keeps the local address it began with, which is the wrong one as soon
        as the machine moves from one network to another.
        """
        bare = socket.socket(socket.AF_INET if len(address) == 2 else socket.AF_INET6, socket.SOCK_DGRAM)
        return cls(bare, voice=voice)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def host(self) -> str:
        """The local address, as numbers."""
        return str(self._socket.getsockname()[0])

    @property
    def kernel_drops(self) -> int:
        """Datagrams that the receive buffer had no room for, since the socket was opened; 0 elsewhere than on Linux."""
        if sys.platform != "linux":
            return 0
        with contextlib.suppress(OSError, struct.error):  # closed meanwhile; a kernel before 4.12
            told = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _SK_MEMINFO.size)
            return int(_SK_MEMINFO.unpack(told)[_SK_MEMINFO_DROPS])
        return 0

    def receive_batch(self, looks: int = RECEIVE_BATCH) -> Iterator[tuple[int, bytes, Address]]:
        """Give the datagrams that wait, at most so many looks; empty, oversize and failed ones count as looks.

        The first of each is when it came in, on the monotonic clock, microseconds: by the kernel where it tells (Linux), else
        when it was read. The difference is 0.8 ms in the middle and 7 ms at p99 on a busy machine of two cores.
        """
        receive = self._receive
        now_us = monotonic_us()
        wall_ahead_us = wall_us() - now_us
        for _ in range(looks):
            try:
                data, ancillary, _, address = receive()
            except BlockingIOError:
                return
            except OSError as error:
                # The kernel hands over a pending ICMP error once; the next look may find a datagram.
                self.counters["receive_" + _errno_name(error)] += 1
                continue
            came_us = _came_us(ancillary, now_us, wall_ahead_us) if ancillary else monotonic_us()
            if not data:
                self.counters["empty"] += 1
            elif len(data) > DATAGRAM_MAX_BYTES:
                self.counters["oversize"] += 1
            elif self._six and address[0].startswith(_V4_MAPPED):
                yield came_us, data, (address[0][len(_V4_MAPPED) :], address[1])
            else:
                yield came_us, data, address

    def send(self, data: bytes, address: Address) -> bool:
        """Send a datagram, or count why not."""
        if self._six and len(address) == 2:
            address = (_V4_MAPPED + address[0], address[1])
        try:
            self._socket.sendto(data, address)
            return True
        except BlockingIOError:
            return self._send_when_writable(data, address)
        except (OSError, OverflowError, UnicodeError) as error:
            self.counters["send_" + _errno_name(error)] += 1
            return False

    def _send_when_writable(self, data: bytes, address: Address) -> bool:
        if self.fd < 1000:  # select's set ends at 1024
            select.select((), (self.fd,), (), _SEND_WAIT_S)
        try:
            self._socket.sendto(data, address)
            return True
        except OSError:
            self.counters["send_buffer_full"] += 1
            return False

    def close(self) -> None:
        self._socket.close()


def outward_host(listening_host: str) -> str:
    """The address under which others reach a server: its own, or for 0.0.0.0 and :: that of the default route.

    Without a default route, as between two machines on a cable, it is the first that the machine has (on Linux), and
    127.0.0.1 if none is found.
    """
    if listening_host not in {"0.0.0.0", "::", ""}:
        return listening_host
    # Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket sends nothing, it only asks the routes.
    families = [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]
    for family, anywhere in families[: 1 if listening_host == "0.0.0.0" else 2]:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((anywhere, 9))
            return str(probe.getsockname()[0])
    return _first_interface_address() or "127.0.0.1"


def _first_interface_address() -> str | None:
    """The first IPv4 address of an interface that is no loopback; None elsewhere than on Linux."""
    if sys.platform != "linux":
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            interface = struct.pack(
                "256s", name.encode()
            )  # struct ifreq; the answer has a sockaddr_in at byte 16
            with contextlib.suppress(OSError):  # this one has no address
                address = socket.inet_ntoa(fcntl.ioctl(probe, _SIOCGIFADDR, interface)[20:24])
                if not address.startswith("127."):
                    return address
    return None


def _local_address(host: str, port: int) -> tuple[socket.AddressFamily, Address]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, OverflowError, UnicodeError) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) else ""
        raise ConfigError(
            f"Cannot listen on {host!r}: no such address{why}. Give an address of this machine, or 0.0.0.0 for all."
        ) from error
    family, _, _, _, address = found[0]
    return family, address


def _grow_buffer(bare: socket.socket, option: int, forced_option: int) -> int:
    """Ask for a large buffer and return what was granted; Linux reports double what it can hold in payload."""
    with contextlib.suppress(OSError):
        bare.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    granted = bare.getsockopt(socket.SOL_SOCKET, option)
    if sys.platform == "linux":
        if granted < 2 * BUFFER_BYTES:
            with contextlib.suppress(OSError):
                bare.setsockopt(socket.SOL_SOCKET, forced_option, BUFFER_BYTES)
            granted = bare.getsockopt(socket.SOL_SOCKET, option)
        return granted // 2
    return granted


def _ask_for_stamps(bare: socket.socket) -> bool:
    """Have the kernel note when datagrams come in; False where it does not."""
    if sys.platform != "linux":
        return False
    try:
        bare.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def _receiver(bare: socket.socket, *, stamped: bool) -> Callable[[], tuple[bytes, Ancillary, int, Any]]:
    """What recvmsg gives. A fresh bytes object is cheaper than recvmsg_into and a copy, and the core wants bytes."""
    if stamped:
        # 1.3 us a datagram; recvfrom and an ioctl (SIOCGSTAMPNS) take 1.9, and one more way into the kernel.
        return functools.partial(bare.recvmsg, _RECEIVE_BYTES, socket.CMSG_SPACE(_TIMESPEC.size))

    def without_stamp() -> tuple[bytes, Ancillary, int, Any]:
        data, address = bare.recvfrom(_RECEIVE_BYTES)
        return data, [], 0, address

    return without_stamp


def _came_us(ancillary: Ancillary, now_us: int, wall_ahead_us: int) -> int:
    """When the datagram beside which this was came in; now_us is when its batch was begun."""
    _, kind, stamp = ancillary[0]
    if kind != _SO_TIMESTAMPNS or len(stamp) != _TIMESPEC.size:
        return monotonic_us()
    seconds, nanoseconds = _TIMESPEC.unpack(stamp)
    came_us: int = seconds * SECOND + nanoseconds // 1000 - wall_ahead_us
    return came_us if abs(came_us - now_us) <= _STAMP_AGE_MAX_US else monotonic_us()


def _set_path_options(bare: socket.socket, traffic_class: int) -> None:
    """No fragments, and a class of service; where the system has no such option, it goes without."""
    options = [(socket.IPPROTO_IP, socket.IP_TOS, traffic_class)]
    if sys.platform == "linux":
        options.append((socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE))
    if bare.family == socket.AF_INET6:  # a dual-stack socket wants both sets
        options.append((socket.IPPROTO_IPV6, socket.IPV6_TCLASS, traffic_class))
        if sys.platform == "linux":
            options.append((socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE))
    for level, name, value in options:
        with contextlib.suppress(OSError):
            bare.setsockopt(level, name, value)


def _errno_name(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno)).lower()
    return type(error).__name__.lower()

"""A UDP proxy that makes a good path bad: sockets and the real clock around the link emulator. No root, every OS.

    client ─► listening port ─► link up   ─► a socket of this client's own ─► target
    client ◄─ listening port ◄─ link down ◄─ the same socket                ◄─ target

The target sees one address a client and listening port, as behind a NAT. All ports and clients share one link in each
direction, as the users of one access line do.

It is a thread, so whatever holds the interpreter's lock holds up the packets too (up to sys.getswitchinterval(), 5 ms).
Give it a process of its own where that matters.
"""

import contextlib
import errno
import select
import socket
import sys
import threading
from collections.abc import Mapping
from typing import NamedTuple, Self, cast

from udpconf.emulation.link import LinkCounters, flip_bit
from udpconf.emulation.real_time import monotonic_us, sharpen_timers
from udpconf.emulation.scenario import Scenario
from udpconf.emulation.scenario_link import ScenarioLink

Address = tuple[str, int] | tuple[str, int, int, int]

# Pairs of client and listening port. select() takes descriptors up to 1023 (512 of them on Windows), and the process
# around may have some of its own. When full, the one that was idle longest makes room.
FLOWS_MAX = 256
SELECT_DESCRIPTORS = 1024  # FD_SETSIZE; Windows counts sockets instead
# Listening ports; with the flows they stay below Windows' 512.
PORTS_MAX = 240
# Datagrams of one socket in a row, before the others and the timers get their turn: some 0.3 ms of work.
RECEIVE_BATCH = 16
DATAGRAM_MAX_BYTES = 65_535
# A burst of a large lossless frame fits; the kernel may grant less.
SOCKET_BUFFER_BYTES = 4 << 20
# A step may be years away; select() cannot wait for longer than a time_t holds.
LONGEST_WAIT_US = 3_600_000_000
# asm-generic/socket.h; absent from Python's socket module.
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
# What a datagram occupies on the wire besides its payload.
HEADER_BYTES = {socket.AF_INET: 20 + 8, socket.AF_INET6: 40 + 8}


class ProxyCounters(NamedTuple):
    """A snapshot; the two links' counters add up."""

    up: LinkCounters  # from the clients to the targets
    down: LinkCounters
    flows: int  # pairs of client and listening port that are open now
    flows_evicted: int  # closed to make room for a new one
    clients: int  # flows of the first listening port: addresses that were seen there
    # Out of a link, but the socket would not take them (buffer full, flow evicted, nobody listening).
    not_sent: int
    not_let_in: (
        int  # no socket could be opened for the client (descriptors used up, no route): they were in no link
    )
    up_queue_us: int  # how long a datagram that came now would wait for its turn at the bottleneck
    down_queue_us: int
    step: int | None  # of the scenario, from 0; None: no datagram has started it yet


class Listener:
    """One listening port and where it leads."""

    def __init__(self, sock: socket.socket, target: Address) -> None:
        self.socket = sock
        self.port = int(sock.getsockname()[1])
        self.target = target
        self.flows: dict[Address, Flow] = {}


class Flow:
    """One client on one listening port."""

    def __init__(self, listener: Listener, client: Address, sock: socket.socket) -> None:
        self.listener = listener
        self.client = client
        self.socket = sock
        self.used_us = 0


class Packet(NamedTuple):
    """What travels through the links."""

    flow: Flow
    data: bytes


def damage(packet: Packet, where: float) -> Packet:
    """The packet with one bit of its payload turned over: the headers' checksums would have it dropped on the way."""
    return packet._replace(data=flip_bit(packet.data, where))


class UdpProxy:
    """Passes datagrams between clients and targets through a bad link in each direction.

    Args:
        listen_host: address to listen on, IPv4 or IPv6.
        targets: listening port -> (host, port) to forward to. Port 0 listens on any free port, see ports.
        scenario: what happens to the datagrams; up is from the clients to the targets. Its schedule starts with the first
            datagram of a client. For conditions that never change: of_conditions().
        seed: one seed, one luck for the n-th datagram of each direction.

    Raises:
        ValueError: more than PORTS_MAX listening ports, or a value of the scenario is out of range.
        OSError: the process has too many files open.

    start() raises OSError, with the address in its message, if a port is in use or an address cannot be resolved; and
    after stop(). stop() may be called from any other thread, any number of times. A proxy runs once.
    """

    def __init__(
        self,
        listen_host: str,
        targets: Mapping[int, tuple[str, int]],
        scenario: Scenario,
        *,
        seed: int | str = 1,
    ) -> None:
        if len(targets) > PORTS_MAX:
            raise ValueError(f"a proxy listens on at most {PORTS_MAX} ports, not {len(targets)}")
        self._listen_host = listen_host
        self._targets = dict(targets)
        self._link: ScenarioLink[Packet] = ScenarioLink(scenario, seed, damage)
        self._listeners: list[Listener] = []
        self._listener_of: dict[int, Listener] = {}  # by file descriptor
        self._flow_of: dict[int, Flow] = {}
        self._flows_evicted = 0
        self._not_sent = 0
        self._not_let_in = 0
        # Held by the thread while it works, not while it waits, so that counters are of one instant.
        self._lock = threading.Lock()
        self._stopping = False
        self._wake_receive, self._wake_send = socket.socketpair()
        check_selectable(self._wake_receive, self._wake_send)
        self._thread = threading.Thread(target=self._run, name="udp-proxy", daemon=True)

    @property
    def ports(self) -> list[int]:
        """The listening ports, in the order of targets; known once started."""
        return [listener.port for listener in self._listeners]

    @property
    def counters(self) -> ProxyCounters:
        with self._lock:
            now_us = monotonic_us()
            return ProxyCounters(
                up=self._link.up.counters,
                down=self._link.down.counters,
                flows=len(self._flow_of),
                flows_evicted=self._flows_evicted,
                clients=len(self._listeners[0].flows) if self._listeners else 0,
                not_sent=self._not_sent,
                not_let_in=self._not_let_in,
                up_queue_us=self._link.up.queue_us(now_us),
                down_queue_us=self._link.down.queue_us(now_us),
                step=self._link.step if self._link.up.counters.sent else None,
            )

    def start(self) -> None:
        if self._stopping:
            raise OSError(errno.ESHUTDOWN, "a proxy runs once; this one was stopped")
        addresses: dict[str, Address] = {}  # a name is looked up once, not for each of a hundred ports
        try:
            for port, (host, target_port) in self._targets.items():
                if host not in addresses:
                    _, addresses[host] = resolve(host, target_port)
                target = cast("Address", (addresses[host][0], target_port, *addresses[host][2:]))
                listener = open_listener(self._listen_host, port, target)
                self._listeners.append(listener)
                self._listener_of[listener.socket.fileno()] = listener
        except OSError:
            self._close_sockets()
            raise
        self._thread.start()

    def stop(self) -> None:
        """Close everything; what is on its way is lost. Counters and ports stay readable, as they were."""
        self._stopping = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._close_sockets()

    def set_scenario(self, scenario: Scenario) -> None:
        """Replace the scenario; the new one's schedule starts at once, or with the first datagram if none has come yet.

        Raises:
            ValueError: a value is out of range; the scenario stays as it was.
        """
        with self._lock:
            self._link.set_scenario(monotonic_us(), scenario)
        self._wake()  # a packet may be due earlier now

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        sharpen_timers()
        wake = self._wake_receive.fileno()
        while not self._stopping:
            due_us = self._link.poll_timeout()
            timeout = None if due_us is None else min(max(0, due_us - monotonic_us()), LONGEST_WAIT_US) / 1e6
            # select, not epoll: epoll rounds to milliseconds. 100 sockets cost it 10 us, 360 cost 27 us.
            readable, _, _ = select.select([wake, *self._listener_of, *self._flow_of], [], [], timeout)
            with self._lock:
                self._deliver()
                for descriptor in readable:
                    if descriptor == wake:
                        self._wake_receive.recv(4096)
                    elif descriptor in self._listener_of:
                        self._receive_from_clients(self._listener_of[descriptor])
                    elif descriptor in self._flow_of:  # else evicted a moment ago
                        self._receive_from_target(self._flow_of[descriptor])
                    self._deliver()

    def _receive_from_clients(self, listener: Listener) -> None:
        overhead_bytes = HEADER_BYTES[listener.socket.family]
        for _ in range(RECEIVE_BATCH):
            try:
                data, client = listener.socket.recvfrom(DATAGRAM_MAX_BYTES)
            except OSError:  # nothing more, or an ICMP error of an earlier datagram (Windows)
                return
            now_us = monotonic_us()
            flow = listener.flows.get(client)
            if flow is None:
                flow = self._open_flow(listener, client)
                if flow is None:
                    continue
            flow.used_us = now_us
            self._link.send("up", now_us, Packet(flow, data), len(data) + overhead_bytes)

    def _receive_from_target(self, flow: Flow) -> None:
        overhead_bytes = HEADER_BYTES[flow.socket.family]
        for _ in range(RECEIVE_BATCH):
            try:
                data = flow.socket.recv(DATAGRAM_MAX_BYTES)
            except OSError:  # nothing more, or nobody listens at the target (yet)
                return
            self._link.send("down", monotonic_us(), Packet(flow, data), len(data) + overhead_bytes)

    def _deliver(self) -> None:
        link = self._link
        while (packet := link.poll_delivery("up", monotonic_us())) is not None:
            try:
                try:
                    packet.flow.socket.send(packet.data)
                except ConnectionRefusedError:  # of an earlier datagram, and this one was not sent
                    packet.flow.socket.send(packet.data)
            except OSError:
                self._not_sent += 1
        while (packet := link.poll_delivery("down", monotonic_us())) is not None:
            try:
                packet.flow.listener.socket.sendto(packet.data, packet.flow.client)
            except OSError:
                self._not_sent += 1

    def _open_flow(self, listener: Listener, client: Address) -> Flow | None:
        if len(self._flow_of) >= FLOWS_MAX:
            idle = min(self._flow_of.values(), key=lambda flow: flow.used_us)
            del self._flow_of[idle.socket.fileno()]
            del idle.listener.flows[idle.client]
            idle.socket.close()
            self._flows_evicted += 1
        family = socket.AF_INET6 if len(listener.target) == 4 else socket.AF_INET
        try:
            sock = new_socket(family)
        except OSError:  # out of descriptors: this client waits, the others go on
            self._not_let_in += 1
            return None
        try:
            sock.connect(listener.target)
        except OSError:  # no route
            self._not_let_in += 1
            sock.close()
            return None
        flow = Flow(listener, client, sock)
        listener.flows[client] = flow
        self._flow_of[sock.fileno()] = flow
        return flow

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # stopped already
            self._wake_send.send(b"\0")

    def _close_sockets(self) -> None:
        for flow in self._flow_of.values():
            flow.socket.close()
        for listener in self._listeners:
            listener.socket.close()
        self._wake_receive.close()
        self._wake_send.close()


def open_listener(host: str, port: int, target: Address) -> Listener:
    """A bound socket and where it leads. Raises OSError with the address in its message."""
    family, address = resolve(host, port)
    sock = new_socket(family)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host} port {port} (UDP): {error.strerror}") from error
    return Listener(sock, target)


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, Address]:
    """The first IPv4 or IPv6 address of a host. Raises socket.gaierror, an OSError, with the host in its message."""
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            if family in HEADER_BYTES:
                return family, cast("Address", address)
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"cannot resolve {host}: {error.strerror}") from error
    except UnicodeError as error:  # longer than a name may be, or two dots in a row
        raise socket.gaierror(socket.EAI_NONAME, f"cannot resolve {host}: it is no name of a host") from error
    raise socket.gaierror(socket.EAI_NONAME, f"{host} has neither an IPv4 nor an IPv6 address")


def check_selectable(*sockets: socket.socket) -> None:
    """Close the sockets and raise OSError if select() cannot wait for them."""
    if sys.platform != "win32" and any(sock.fileno() >= SELECT_DESCRIPTORS for sock in sockets):
        for sock in sockets:
            sock.close()
        raise OSError(
            errno.EMFILE, f"this process has {SELECT_DESCRIPTORS} files open, more than a proxy can bear"
        )


def new_socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    check_selectable(sock)
    sock.setblocking(False)
    # Linux cuts the plain options to its limits (208 KiB by default) and gives root more; macOS refuses too much.
    options = [socket.SO_RCVBUF, socket.SO_SNDBUF]
    if sys.platform == "linux":
        options += [SO_RCVBUFFORCE, SO_SNDBUFFORCE]
    for option in options:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    return sock

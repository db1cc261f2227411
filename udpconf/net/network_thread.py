"""The thread that owns the sockets and the clock, and drives a core that has neither (the shell of quinn-proto's shape).

    wait for a datagram, a posted command or the core's own time, whichever is first
        ─► one input to the core ─► all its events to the handler ─► all its datagrams to the sockets ─► the next input

There is no tick: the core names the time of its next deed. Another thread that has something to say drives the core
itself when it is free, and sends what comes of it: a frame then leaves from the thread that encoded it. On a busy machine
that saves a wake-up of 0.1 to 5 ms (the latter is CPython's switch interval) and the processor time of a thread switch.
Only when the core is busy, or its next deed moved closer, is the network thread woken, once.

Sound comes in small packets, a hundred a second from everybody, and is looked at every 5 to 40 ms. Who looks fetches it (``fetch``),
and the network thread is not woken for each: a wake-up takes as long as five packets.

An error of ours in here is logged once for each place in the code and counted; the session goes on.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from udpconf.limits import RECEIVE_BATCH
from udpconf.net.clock import monotonic_us
from udpconf.net.endpoint import Endpoint
from udpconf.net.own_errors import OwnErrors
from udpconf.net.readable import readable
from udpconf.net.udp_socket import UdpSocket
from udpconf.net.wake import Wake
from udpconf.proto.events import Address

log = logging.getLogger("udpconf.net")

# How long close() waits for the core's farewell to leave; what is lost then, the peer's timeouts make up for.
_FLUSH_US = 300_000
# Two seconds of video and sound: only a machine that stands still gets so far behind.
_COMMANDS_MAX = 256
# An error outside the handling of one input may come again at once; it must not become a busy loop.
_STUMBLE_S = 0.01
# Who fetched so lately will soon fetch again: so long the network thread leaves what waits for it alone.
_FETCH_AGAIN_US = 100_000

CommandResult = TypeVar("CommandResult")
E = TypeVar("E")  # the endpoint's events
P = TypeVar("P", bound=Endpoint[Any])  # the endpoint itself
Command = Callable[[P, int], object]


class NetworkThread(Generic[P, E]):
    """Runs one endpoint on a set of sockets, each under a path number that the endpoint knows.

    Whoever drives the core holds ``_driving``: mostly the network thread, sometimes one that posts or fetches. ``on_event`` is
    called by the driver and must never block. It may call the endpoint (``endpoint`` is its own object), ``add_socket`` and
    ``remove_socket``. All others may only call ``post``, ``call``, ``fetch``, ``stop_fetching`` and ``close``.

    Attributes:
        counters: errors of our own by place, ``no_path`` for datagrams without a socket.
        failure: with UDPCONF_STRICT=1 (tests) the first such error, which then ends the thread.
    """

    def __init__(self, endpoint: P, on_event: Callable[[E], None], name: str) -> None:
        self._endpoint = endpoint
        self._core: Endpoint[E] = endpoint
        self._on_event = on_event
        self._paths: dict[int, UdpSocket] = {}
        self._path_of_fd: dict[int, int] = {}
        self._peers: dict[int, Address] = {}
        self._driving = threading.Lock()
        self._commands: deque[Command[P]] = deque()
        self._waiting_until_us: int | None = (
            None  # what the network thread waits for; None: only for datagrams
        )
        self._sockets_changed = False  # since the network thread began to wait
        self._wake = Wake()  # many commands posted in one go cost one wake-up
        self._fds: list[int] = [self._wake.fd]
        self._fetched_fds: list[int] = []
        self._fetched_until_us = 0  # until then they are left to whoever fetches
        self._closing_until_us: int | None = None
        self._core_us = 0  # the time the core was told last
        self.counters: Counter[str] = Counter()
        self._errors = OwnErrors(log, self.counters)
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # --- from other threads ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Sockets added before need no thread safety, those added later come from ``on_event``."""
        self._thread.start()

    def post(self, command: Command[P]) -> bool:
        """Have ``command(endpoint, now_us)`` called: at once and here if nobody drives the core, else very soon.

        Commands keep their order. False if so many wait that this one is dropped, and counted as ``commands_dropped``.
        """
        if len(self._commands) >= _COMMANDS_MAX:
            self.counters["commands_dropped"] += 1
            return False
        self._commands.append(command)
        if self._thread.is_alive() and self._driving.acquire(blocking=False):
            try:
                self._run_commands()
                moved = self._has_moved()
            except Exception as error:  # noqa: BLE001
                moved = self._survive_elsewhere(error)
            finally:
                self._driving.release()
            # One that was posted while we held the lock found it taken, and rang.
            if not moved and not self._is_over():
                return True
        self._wake.ask()
        return True

    def call(self, command: Callable[[P, int], CommandResult], timeout: float = 1.0) -> CommandResult | None:
        """Run a command and wait for what it returns. None: closed, or no answer in time."""
        answers: list[CommandResult] = []
        done = threading.Event()

        def run(endpoint: P, now_us: int) -> None:
            try:
                answers.append(command(endpoint, now_us))
            finally:
                done.set()

        if not self._thread.is_alive():
            return None
        self.post(run)
        done.wait(timeout)
        return answers[0] if answers else None

    def close(self) -> None:
        """Say goodbye to the peers, close the sockets and end the thread. Takes at most some 300 ms; may be repeated."""
        if self._thread.is_alive():
            self.post(lambda endpoint, now_us: self._begin_close(now_us))
            self._thread.join(timeout=2.0)
        elif self._thread.ident is None:
            self._close_sockets()
        if self._errors.strict and self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def fetch(self, patience_us: int) -> None:
        """Handle here and now what waits on the sockets that were added to be fetched; for a while nobody else does.

        It waits for the core at most so long; what was not fetched then (counted as ``not_fetched``) is the next time.
        """
        if not self._fetched_fds:
            return
        if not self._driving.acquire(timeout=patience_us / 1_000_000):
            self.counters["not_fetched"] += 1
            return
        try:
            self._fetched_until_us = monotonic_us() + _FETCH_AGAIN_US
            self._fetch()
            moved = self._has_moved()
        except Exception as error:  # noqa: BLE001
            moved = self._survive_elsewhere(error)
        finally:
            self._driving.release()
        if moved:
            self._wake.ask()

    def stop_fetching(self) -> None:
        """Leave all sockets to the network thread again."""
        self._fetched_until_us = 0
        self._wake.ask()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    # --- from whoever drives the core, or before the thread runs ------------------------------------------------------------------

    def add_socket(
        self, path: int, udp_socket: UdpSocket, peer: Address | None = None, *, fetched: bool = False
    ) -> None:
        """Listen on a socket; one that has the path number is closed.

        Args:
            path: what the endpoint calls it.
            udp_socket: ours from now on.
            peer: where datagrams without address go.
            fetched: its datagrams wait for ``fetch``, as long as that is called; without stamps they would seem to come late by that.
        """
        self.remove_socket(path)
        self._paths[path] = udp_socket
        self._path_of_fd[udp_socket.fd] = path
        (self._fetched_fds if fetched else self._fds).append(udp_socket.fd)
        self._sockets_changed = True
        if peer is not None:
            self._peers[path] = peer

    def set_peer(self, path: int, peer: Address) -> None:
        self._peers[path] = peer

    def remove_socket(self, path: int) -> None:
        """Close the socket of a path, if there is one."""
        udp_socket = self._paths.pop(path, None)
        self._peers.pop(path, None)
        if udp_socket is not None:
            self.counters.update(udp_socket.counters)
            del self._path_of_fd[udp_socket.fd]
            for fds in (self._fds, self._fetched_fds):
                if udp_socket.fd in fds:
                    fds.remove(udp_socket.fd)
            self._sockets_changed = True  # the kernel keeps a socket for as long as somebody waits on it
            udp_socket.close()

    def socket_counters(self) -> Counter[str]:
        """What the sockets, past ones included, and this loop counted."""
        total = Counter(self.counters)
        for udp_socket in list(self._paths.values()):
            total.update(udp_socket.counters)
        return total

    def kernel_drops(self, path: int) -> int:
        """Datagrams for this path that the kernel had no room for, since its socket was opened."""
        udp_socket = self._paths.get(path)
        return 0 if udp_socket is None else udp_socket.kernel_drops

    # --- the loop ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with self._driving:
                self._drain()
                self._waiting_until_us = self._due_us()
            while not self._is_over() and self.failure is None:
                try:
                    self._turn()
                except Exception as error:  # noqa: BLE001
                    self._survive(error)
                    time.sleep(_STUMBLE_S)
        except BaseException as error:  # noqa: BLE001 - strict mode only; handed to whoever closes
            self.failure = error
        finally:
            with self._driving:
                self._close_sockets()

    def _turn(self) -> None:
        due_us, now_us = self._waiting_until_us, monotonic_us()
        fds, fetched_until_us = self._fds, self._fetched_until_us
        if self._fetched_fds and now_us >= fetched_until_us:
            fds = fds + self._fetched_fds
        elif self._fetched_fds:
            due_us = fetched_until_us if due_us is None else min(due_us, fetched_until_us)
        try:
            ready = readable(fds, None if due_us is None else max(due_us - now_us, 0))
        except (OSError, ValueError):
            ready = ()  # a socket was closed by the one who drove while we waited
        with self._driving:
            if not ready:
                # Woken by the time, perhaps late: what came meanwhile came before what the core does now.
                ready = readable(self._fds, 0)
            self._receive(ready)
            self._handle_time()
            self._sockets_changed = False
            self._waiting_until_us = self._due_us()

    def _receive(self, ready: Sequence[int]) -> None:
        for fd in ready:
            path = self._path_of_fd.get(fd)
            if fd == self._wake.fd:
                self._wake.seen()
            elif path is not None:  # else a handler closed it a moment ago
                for came_us, data, address in self._paths[path].receive_batch():
                    self._handle(path, came_us, data, address)
                    if self._core.has_output:  # most datagrams bring nothing about
                        self._drain()

    def _fetch(self) -> None:
        """A datagram of each of those sockets in turn, then all their events: no handler runs in between, so no socket goes.

        To ask which of them has another one costs less than to look at all in vain.
        """
        for _ in range(RECEIVE_BATCH):
            # Who drove before us, or a handler, may have closed the last of them.
            ready = readable(self._fetched_fds, 0) if self._fetched_fds else ()
            if not ready:
                break
            for fd in ready:
                path = self._path_of_fd[fd]
                for came_us, data, address in self._paths[path].receive_batch(looks=1):
                    self._handle(path, came_us, data, address)
            if self._core.has_output:
                self._drain()

    def _handle(self, path: int, came_us: int, data: bytes, address: Address) -> None:
        # The core learns when it came, not when we got round to it; but for its clocks time never goes back.
        self._core_us = max(self._core_us, came_us)
        try:
            self._core.handle_datagram(self._core_us, path, address, data, came_us)
        except Exception as error:  # noqa: BLE001
            self._survive(error)

    def _handle_time(self) -> None:
        core = self._core
        self._run_commands()
        due_us = core.poll_timeout()
        if due_us is not None:
            now_us = self._core_us = monotonic_us()
            if due_us <= now_us:
                try:
                    core.handle_timeout(now_us)
                except Exception as error:  # noqa: BLE001
                    self._survive(error)
                self._drain()

    def _has_moved(self) -> bool:
        """What the network thread waits for is not what it should wait for any more."""
        due_us, waits_until_us = self._due_us(), self._waiting_until_us
        sooner = due_us is not None and (waits_until_us is None or due_us < waits_until_us)
        return self._sockets_changed or sooner

    def _due_us(self) -> int | None:
        due_us = self._core.poll_timeout()
        if self._closing_until_us is not None:
            due_us = self._closing_until_us if due_us is None else min(due_us, self._closing_until_us)
        return due_us

    def _run_commands(self) -> None:
        while self._commands:
            command = self._commands.popleft()
            self._core_us = monotonic_us()
            try:
                command(self._endpoint, self._core_us)
            except Exception as error:  # noqa: BLE001
                self._survive(error)
            self._drain()

    def _drain(self) -> None:
        """After every input: events first, for a handler may open the socket that a datagram is to leave by."""
        core = self._core
        try:
            while (event := core.poll_event()) is not None:
                try:
                    self._on_event(event)
                except Exception as error:  # noqa: BLE001
                    self._survive(error)
            while (transmit := core.poll_transmit()) is not None:
                path, address, data = transmit
                udp_socket = self._paths.get(path)
                address = address or self._peers.get(path)
                if udp_socket is None or address is None:
                    self.counters["no_path"] += 1
                else:
                    udp_socket.send(data, address)
        except Exception as error:  # noqa: BLE001
            self._survive(error)

    def _survive(self, error: Exception) -> None:
        """Log an error of ours once for each place in the code, count it, go on."""
        self._errors.survive(error, "A packet or command")

    def _survive_elsewhere(self, error: Exception) -> bool:
        """The same in another thread that drives the core; in strict mode the network thread ends by it. It is to look anew."""
        if self._errors.strict:
            self.failure = error
        else:
            self._survive(error)
        return True

    def _begin_close(self, now_us: int) -> None:
        if self._closing_until_us is None:
            self._closing_until_us = now_us + _FLUSH_US
            self._core.close(now_us)

    def _is_over(self) -> bool:
        if self._closing_until_us is None:
            return False
        return self._core.closed or monotonic_us() >= self._closing_until_us

    def _close_sockets(self) -> None:
        for path in list(self._paths):
            self.remove_socket(path)
        self._wake.close()

"""The loop around a small endpoint that echoes: order of outputs, timers, wake-ups, errors, farewell."""

import socket
import threading
from collections import deque
from collections.abc import Callable

import pytest

from udpconf.limits import RECEIVE_BATCH
from udpconf.net import network_thread, readable
from udpconf.net.clock import monotonic_us
from udpconf.net.network_thread import NetworkThread
from udpconf.net.udp_socket import UdpSocket
from udpconf.proto.events import Address, Transmit

# Nobody drives the core for so long.
PATIENCE_US = 5_000_000


class Echo:
    """Sends back what it gets, tells of it, and obeys a few words."""

    def __init__(self) -> None:
        self.transmits: deque[Transmit] = deque()
        self.events: deque[str] = deque()
        self.due_us: int | None = None
        self.closed = False
        self.farewell_us = 0  # how long closing takes; None of our business how a real endpoint decides
        self.peer: Address | None = None
        self.threads: set[int] = set()

    def handle_datagram(self, now_us: int, path: int, address: Address, data: bytes, came_us: int) -> None:
        assert came_us <= now_us
        self.threads.add(threading.get_ident())
        self.peer = address
        if data == b"stumble":
            raise RuntimeError("an error of ours")
        self.events.append(f"{path} {data.decode()}")
        self.transmits.append(Transmit(path, address, data))

    def handle_timeout(self, now_us: int) -> None:
        assert self.due_us is not None
        assert now_us >= self.due_us
        self.due_us = None
        self.events.append("timeout")

    def close(self, now_us: int) -> None:
        if self.peer is not None:
            self.transmits.append(Transmit(0, self.peer, b"bye"))
        if self.farewell_us == 0:
            self.closed = True

    @property
    def has_output(self) -> bool:
        return bool(self.events or self.transmits)

    def poll_event(self) -> str | None:
        return self.events.popleft() if self.events else None

    def poll_transmit(self) -> Transmit | None:
        return self.transmits.popleft() if self.transmits else None

    def poll_timeout(self) -> int | None:
        return self.due_us


class Running:
    """An Echo on a real socket, and a plain socket that talks to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, strict: bool = True) -> None:
        monkeypatch.setenv("UDPCONF_STRICT", "1" if strict else "0")
        self.echo = Echo()
        self.events: list[str] = []
        self.told = threading.Condition()
        self.network: NetworkThread[Echo, str] = NetworkThread(self.echo, self.on_event, "test network")
        main = UdpSocket.listen("127.0.0.1", 0)
        self.address = ("127.0.0.1", main.port)
        self.network.add_socket(0, main)
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind(("127.0.0.1", 0))
        self.peer.settimeout(5)
        self.network.start()

    def on_event(self, event: str) -> None:
        with self.told:
            self.events.append(event)
            self.told.notify_all()

    def ask(self, data: bytes) -> bytes:
        self.peer.sendto(data, self.address)
        return self.peer.recv(2048)

    def fetch_from(self, other: UdpSocket) -> None:
        self.network.call(lambda echo, now_us: self.network.add_socket(other.port, other, fetched=True))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.told:
            assert self.told.wait_for(condition, timeout=5), self.events

    def close(self) -> None:
        self.network.close()
        self.peer.close()


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    return Running(monkeypatch)


def test_a_datagram_goes_in_and_its_events_and_answers_come_out(running: Running) -> None:
    assert running.ask(b"hello") == b"hello"
    assert running.events == ["0 hello"]
    running.close()
    assert running.echo.threads
    assert threading.get_ident() not in running.echo.threads


def test_the_core_is_called_at_the_time_it_names(running: Running) -> None:
    start_us = monotonic_us()

    def arm(echo: Echo, now_us: int) -> None:
        echo.due_us = now_us + 20_000

    running.network.post(arm)
    running.wait_for(lambda: "timeout" in running.events)
    assert monotonic_us() - start_us >= 20_000
    running.close()


def test_posted_commands_keep_their_order_and_wake_a_sleeping_thread(running: Running) -> None:
    done: list[int] = []

    def command(number: int) -> Callable[[Echo, int], None]:
        return lambda echo, now_us: done.append(number)

    for number in range(100):
        running.network.post(command(number))
    assert running.network.call(lambda echo, now_us: list(done)) == list(range(100))
    running.close()


def test_what_a_command_makes_the_core_say_leaves_at_once(running: Running) -> None:
    address = running.peer.getsockname()
    running.network.post(lambda echo, now_us: echo.transmits.append(Transmit(0, address, b"pushed")))
    assert running.peer.recv(2048) == b"pushed"
    running.close()


def test_a_handler_may_add_and_remove_sockets(running: Running) -> None:
    second = UdpSocket.listen("127.0.0.1", 0)
    port = second.port
    running.network.call(lambda echo, now_us: running.network.add_socket(port, second))
    running.peer.sendto(b"on the second", ("127.0.0.1", port))
    data, sender = running.peer.recvfrom(2048)
    assert (data, sender[1]) == (b"on the second", port)
    running.network.call(lambda echo, now_us: running.network.remove_socket(port))
    assert running.ask(b"main still works") == b"main still works"
    again = UdpSocket.listen("127.0.0.1", port)  # free again, now that the network thread has looked
    again.close()
    running.close()


def test_what_is_to_be_fetched_waits_for_who_fetches_and_for_nobody_else(running: Running) -> None:
    second = UdpSocket.listen("127.0.0.1", 0)
    port = second.port
    running.network.call(lambda echo, now_us: running.network.add_socket(port, second, fetched=True))
    running.peer.sendto(b"nobody fetches", ("127.0.0.1", port))
    assert running.peer.recv(2048) == b"nobody fetches"
    running.network.fetch(PATIENCE_US)
    assert running.ask(b"the network thread waits anew") == b"the network thread waits anew"
    running.echo.threads.clear()
    running.peer.sendto(b"here", ("127.0.0.1", port))
    running.network.fetch(PATIENCE_US)
    assert running.events[-1] == f"{port} here"
    assert running.echo.threads == {threading.get_ident()}
    running.network.stop_fetching()
    running.peer.sendto(b"there", ("127.0.0.1", port))
    running.wait_for(lambda: f"{port} there" in running.events)
    running.network.call(lambda echo, now_us: running.network.remove_socket(port))
    running.network.fetch(PATIENCE_US)
    running.close()


def test_who_fetches_gets_all_that_waits_on_each_socket_a_datagram_of_each_in_turn(running: Running) -> None:
    sockets = [UdpSocket.listen("127.0.0.1", 0) for _ in range(2)]
    for one in sockets:
        running.fetch_from(one)
    running.network.fetch(PATIENCE_US)
    running.events.clear()
    first, second = [one.port for one in sockets]
    for port in (first, first, first, second, second):
        running.peer.sendto(b"here", ("127.0.0.1", port))
    running.network.fetch(PATIENCE_US)
    order = [first, second, first, second, first]
    assert list(running.events) == [f"{port} here" for port in order]
    running.close()


def test_a_flood_on_a_fetched_socket_does_not_hold_up_who_fetches(running: Running) -> None:
    second = UdpSocket.listen("127.0.0.1", 0)
    running.fetch_from(second)
    running.network.fetch(PATIENCE_US)
    running.events.clear()
    for _ in range(RECEIVE_BATCH + 3):
        running.peer.sendto(b"again", ("127.0.0.1", second.port))
    running.network.fetch(PATIENCE_US)
    assert len(running.events) == RECEIVE_BATCH
    running.network.fetch(PATIENCE_US)
    assert len(running.events) == RECEIVE_BATCH + 3
    running.close()


def test_who_cannot_fetch_in_time_does_without_and_it_is_counted(running: Running) -> None:
    second = UdpSocket.listen("127.0.0.1", 0)
    running.fetch_from(second)
    running.network.fetch(PATIENCE_US)
    running.events.clear()
    running.peer.sendto(b"later", ("127.0.0.1", second.port))

    def drive(echo: Echo, now_us: int) -> None:
        fetches = threading.Thread(target=running.network.fetch, args=(1_000,))
        fetches.start()
        fetches.join()

    running.network.call(drive)
    assert running.network.counters["not_fetched"] == 1
    assert not running.events
    running.network.fetch(PATIENCE_US)
    assert running.events == [f"{second.port} later"]
    running.close()


def test_the_last_socket_may_go_while_somebody_waits_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(monkeypatch, strict=False)
    second = UdpSocket.listen("127.0.0.1", 0)
    port = second.port
    running.network.call(lambda echo, now_us: running.network.add_socket(port, second, fetched=True))
    fetches = threading.Thread(target=running.network.fetch, args=(PATIENCE_US,))

    def leave(echo: Echo, now_us: int) -> None:
        fetches.start()
        running.network.remove_socket(port)

    running.network.call(leave)
    fetches.join(5)
    assert running.ask(b"still here") == b"still here"
    assert not running.network.counters
    running.close()


def test_an_error_of_ours_in_another_thread_that_drives_does_not_end_the_network_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = Running(monkeypatch, strict=False)
    second = UdpSocket.listen("127.0.0.1", 0)
    running.network.call(lambda echo, now_us: running.network.add_socket(second.port, second, fetched=True))

    def broken(fds: list[int], wait_us: int | None) -> list[int]:
        raise ValueError("an error of ours")

    with monkeypatch.context() as broken_for_now:
        running.network.fetch(PATIENCE_US)
        assert running.ask(b"waits anew") == b"waits anew"
        broken_for_now.setattr(network_thread, "readable", broken)
        running.network.fetch(PATIENCE_US)
    assert running.ask(b"still here") == b"still here"
    assert any("ValueError" in key for key in running.network.counters)
    running.close()


def test_who_no_longer_fetches_is_not_waited_for(running: Running) -> None:
    second = UdpSocket.listen("127.0.0.1", 0)
    running.network.call(lambda echo, now_us: running.network.add_socket(second.port, second, fetched=True))
    running.network.fetch(PATIENCE_US)
    running.peer.sendto(b"left alone", ("127.0.0.1", second.port))
    running.wait_for(lambda: f"{second.port} left alone" in running.events)
    running.close()


def test_a_datagram_without_a_socket_or_address_is_counted(running: Running) -> None:
    running.network.call(lambda echo, now_us: echo.transmits.append(Transmit(77, ("127.0.0.1", 9), b"x")))
    running.network.call(lambda echo, now_us: echo.transmits.append(Transmit(0, None, b"x")))
    assert running.ask(b"on") == b"on"
    assert running.network.socket_counters()["no_path"] == 2
    running.network.call(lambda echo, now_us: running.network.set_peer(0, running.peer.getsockname()))
    running.network.call(lambda echo, now_us: echo.transmits.append(Transmit(0, None, b"to the peer")))
    assert running.peer.recv(2048) == b"to the peer"
    running.close()


def test_an_error_of_ours_is_logged_once_and_the_session_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running = Running(monkeypatch, strict=False)
    for _ in range(3):
        running.peer.sendto(b"stumble", running.address)
    assert running.ask(b"still here") == b"still here"
    running.close()
    (line,) = caplog.records
    assert "RuntimeError" in line.message
    ((place, count),) = running.network.counters.items()
    assert "test_network_thread.py" in place
    assert count == 3


def test_an_error_in_the_timer_itself_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(monkeypatch, strict=False)
    failures = iter([RuntimeError("no idea when")] * 3)

    def poll_timeout() -> int | None:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return None

    running.echo.poll_timeout = poll_timeout  # type: ignore[method-assign]
    assert running.ask(b"still here") == b"still here"
    running.close()


def test_too_many_commands_are_refused_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    network: NetworkThread[Echo, str] = NetworkThread(Echo(), lambda event: None, "never started")
    taken = [network.post(lambda echo, now_us: None) for _ in range(network_thread._COMMANDS_MAX + 2)]
    assert taken == [True] * network_thread._COMMANDS_MAX + [False, False]
    assert network.counters["commands_dropped"] == 2
    network.close()


def test_in_strict_mode_an_error_of_ours_ends_the_thread_and_close_raises_it(running: Running) -> None:
    running.peer.sendto(b"stumble", running.address)
    running.network._thread.join(5)
    with pytest.raises(RuntimeError, match="an error of ours"):
        running.close()
    running.close()


def test_close_sends_the_farewell_and_frees_the_port(running: Running) -> None:
    running.ask(b"hello")
    running.close()
    running.network.close()
    assert not running.network.alive
    UdpSocket.listen(*running.address).close()


def test_a_farewell_that_never_ends_is_cut_off_after_300_ms(running: Running) -> None:
    running.echo.farewell_us = 1_000_000_000
    running.ask(b"hello")
    start_us = monotonic_us()
    running.network.close()
    assert running.peer.recv(2048) == b"bye"
    assert monotonic_us() - start_us >= 300_000
    assert not running.network.alive
    assert running.network.call(lambda echo, now_us: 1) is None
    running.close()


def test_a_thread_that_never_ran_gives_its_port_back(monkeypatch: pytest.MonkeyPatch) -> None:
    network: NetworkThread[Echo, str] = NetworkThread(Echo(), lambda event: None, "never started")
    main = UdpSocket.listen("127.0.0.1", 0)
    port = main.port
    network.add_socket(0, main)
    network.close()
    UdpSocket.listen("127.0.0.1", port).close()


def test_descriptors_beyond_select_are_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readable, "_SELECT_FD_MAX", 0)
    running = Running(monkeypatch)
    assert running.ask(b"hello") == b"hello"
    running.network.post(lambda echo, now_us: setattr(echo, "due_us", now_us + 1500))
    running.wait_for(lambda: "timeout" in running.events)
    running.close()

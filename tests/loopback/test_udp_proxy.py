"""The proxy between real sockets: both ways, many clients and ports, and the same losses as the emulator alone."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.loopback.waiting import wait_until
from udpconf.emulation import proxy as proxy_module
from udpconf.emulation.link import Fate, Link, LinkConditions
from udpconf.emulation.loss import Bernoulli
from udpconf.emulation.proxy import PORTS_MAX, UdpProxy
from udpconf.emulation.scenario import Scenario, Step, of_conditions

MS = 1000
PERFECT = of_conditions(LinkConditions())


def udp_socket(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, port))
    sock.settimeout(10)
    return sock


@contextmanager
def echo_server(host: str = "127.0.0.1", prefix: bytes = b"") -> Iterator[int]:
    """Answers each datagram with itself; its port."""
    sock = udp_socket(host)

    def run() -> None:
        while True:
            data, address = sock.recvfrom(65535)
            if data == b"end":
                return
            sock.sendto(prefix + data, address)

    thread = threading.Thread(target=run)
    thread.start()
    port = sock.getsockname()[1]
    try:
        yield port
    finally:
        with udp_socket(host) as ender:
            ender.sendto(b"end", (host, port))
        thread.join()
        sock.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_pass_both_ways(host: str) -> None:
    with (
        echo_server(host) as port,
        UdpProxy(host, {0: (host, port)}, of_conditions(LinkConditions(delay_us=MS))) as proxy,
        udp_socket(host) as client,
    ):
        for data in (b"", b"x", bytes(1472)):
            client.sendto(data, (host, proxy.ports[0]))
            answer, sender = client.recvfrom(2000)
            assert answer == data
            assert sender[1] == proxy.ports[0]
        counters = proxy.counters
        assert counters.step == 0
        assert counters.up.delivered == counters.down.delivered == 3
        assert counters.up.sent_bytes == 1473 + 3 * (48 if ":" in host else 28)
        assert counters.flows == 1
        assert counters.not_sent == 0


def test_ipv4_clients_reach_an_ipv6_target() -> None:
    with (
        echo_server("::1") as port,
        UdpProxy("127.0.0.1", {0: ("::1", port)}, PERFECT) as proxy,
        udp_socket() as client,
    ):
        client.sendto(b"hello", ("127.0.0.1", proxy.ports[0]))
        assert client.recv(2000) == b"hello"


def test_answers_come_after_the_delay_of_both_directions() -> None:
    up, down = LinkConditions(delay_us=30 * MS), LinkConditions(delay_us=20 * MS)
    with (
        echo_server() as port,
        UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, of_conditions(up, down)) as proxy,
        udp_socket() as client,
    ):
        start = time.monotonic_ns()
        client.sendto(b"hello", ("127.0.0.1", proxy.ports[0]))
        client.recv(2000)
        assert time.monotonic_ns() - start >= 50_000_000


def test_each_client_gets_its_own_answers() -> None:
    with echo_server() as port, UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, PERFECT) as proxy:
        clients = [udp_socket() for _ in range(20)]
        for number, client in enumerate(clients):
            client.sendto(b"%d" % number, ("127.0.0.1", proxy.ports[0]))
        for number, client in enumerate(clients):
            assert client.recv(2000) == b"%d" % number
            client.close()
        assert proxy.counters.flows == proxy.counters.clients == 20


def test_a_hundred_and_one_ports_of_one_host_are_carried_under_the_same_numbers() -> None:
    """As the demo does it: the server on 127.0.0.1 with its main and audio ports, the proxy on 127.0.0.2."""
    servers = [udp_socket() for _ in range(101)]
    ports = [server.getsockname()[1] for server in servers]
    targets = {port: ("127.0.0.1", port) for port in ports}
    with UdpProxy("127.0.0.2", targets, PERFECT) as proxy, udp_socket() as client:
        assert proxy.ports == ports
        for number, port in enumerate(ports):
            client.sendto(b"%d" % number, ("127.0.0.2", port))
        for number, server in enumerate(servers):
            data, address = server.recvfrom(2000)
            assert data == b"%d" % number
            server.sendto(b"answer", address)
        assert {client.recvfrom(2000)[1] for _ in ports} == {("127.0.0.2", port) for port in ports}
    for server in servers:
        server.close()


def test_the_proxy_loses_the_packets_that_the_emulator_loses_with_the_same_seed() -> None:
    conditions = LinkConditions(loss=Bernoulli(0.3))
    packets = 500
    link: Link[int] = Link(conditions, "42/up")
    expected = [n for n in range(packets) if link.send(0, n, 1).fate == Fate.PASSED]
    with udp_socket() as server, udp_socket() as client:
        targets = {0: ("127.0.0.1", server.getsockname()[1])}
        with UdpProxy("127.0.0.1", targets, of_conditions(conditions), seed=42) as proxy:
            received = []
            for first in range(0, packets, 50):  # the kernel's default buffer holds some 270 datagrams
                for number in range(first, first + 50):
                    client.sendto(b"%d" % number, ("127.0.0.1", proxy.ports[0]))
                received += [int(server.recv(100)) for n in expected if first <= n < first + 50]
            assert received == expected
            assert proxy.counters.up.lost == packets - len(expected)


def test_the_scenario_of_a_running_proxy_can_be_changed() -> None:
    with (
        echo_server() as port,
        UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, PERFECT) as proxy,
        udp_socket() as client,
    ):
        proxy.set_scenario(of_conditions(LinkConditions(loss=Bernoulli(1))))
        client.sendto(b"lost", ("127.0.0.1", proxy.ports[0]))
        wait_until(lambda: proxy.counters.up.lost == 1)
        proxy.set_scenario(PERFECT)
        client.sendto(b"passed", ("127.0.0.1", proxy.ports[0]))
        assert client.recv(2000) == b"passed"
        with pytest.raises(ValueError, match="loss"):
            proxy.set_scenario(of_conditions(LinkConditions(loss=Bernoulli(2))))
        client.sendto(b"passed again", ("127.0.0.1", proxy.ports[0]))
        assert client.recv(2000) == b"passed again"


def test_the_schedule_starts_with_the_first_datagram_of_a_client() -> None:
    """Half a second passes before it; the first step, which is perfect, lasts 10 s from then on."""
    perfect, nothing = LinkConditions(), LinkConditions(loss=Bernoulli(1))
    steps = (Step(0, perfect, perfect), Step(10_000_000, nothing, nothing))
    with (
        echo_server() as port,
        UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, Scenario("test", "", "", steps, None)) as proxy,
        udp_socket() as client,
    ):
        time.sleep(0.5)
        assert proxy.counters.step is None
        client.sendto(b"passed", ("127.0.0.1", proxy.ports[0]))
        assert client.recv(2000) == b"passed"
        assert proxy.counters.step == 0


def test_steps_follow_each_other_and_begin_anew() -> None:
    perfect, nothing = LinkConditions(), LinkConditions(loss=Bernoulli(1))
    steps = (Step(0, nothing, nothing), Step(50 * MS, perfect, perfect))
    with (
        echo_server() as port,
        UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, Scenario("test", "", "", steps, 100 * MS)) as proxy,
        udp_socket() as client,
    ):
        seen: set[int | None] = set()

        def enough() -> bool:
            client.sendto(b"again", ("127.0.0.1", proxy.ports[0]))
            counters = proxy.counters
            seen.add(counters.step)
            return counters.up.lost > 10 and counters.up.delivered > 10 and counters.step == 0

        wait_until(enough)
        assert {0, 1} <= seen


def test_a_damaged_datagram_arrives_with_one_bit_turned_over() -> None:
    with (
        echo_server() as port,
        UdpProxy(
            "127.0.0.1",
            {0: ("127.0.0.1", port)},
            of_conditions(LinkConditions(corrupt=1.0), LinkConditions()),
        ) as proxy,
        udp_socket() as client,
    ):
        client.sendto(bytes(1000), ("127.0.0.1", proxy.ports[0]))
        assert sum(byte.bit_count() for byte in client.recv(2000)) == 1
        client.sendto(b"", ("127.0.0.1", proxy.ports[0]))  # has no bit
        assert client.recv(2000) == b""
        assert proxy.counters.up.corrupted == 2
        assert proxy.counters.down.corrupted == 0


def test_a_later_step_that_cannot_be_is_refused_before_its_time_comes() -> None:
    perfect, wrong = LinkConditions(), LinkConditions(loss=Bernoulli(2))
    scenario = Scenario("test", "", "", (Step(0, perfect, perfect), Step(MS, perfect, wrong)), None)
    with pytest.raises(ValueError, match="loss"):
        UdpProxy("127.0.0.1", {0: ("127.0.0.1", 9)}, scenario)


def test_more_ports_than_the_proxy_can_watch_are_refused_with_a_sentence() -> None:
    targets = {port: ("127.0.0.1", port) for port in range(6000, 6000 + PORTS_MAX + 1)}
    with pytest.raises(ValueError, match=f"at most {PORTS_MAX} ports"):
        UdpProxy("127.0.0.2", targets, PERFECT)


def test_a_target_that_is_not_there_yet_costs_nothing_but_what_was_sent_to_it() -> None:
    with udp_socket() as reserved:
        port = reserved.getsockname()[1]
    with UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, PERFECT) as proxy, udp_socket() as client:
        for _ in range(5):
            client.sendto(b"nobody", ("127.0.0.1", proxy.ports[0]))
        wait_until(lambda: proxy.counters.up.delivered == 5)
        with udp_socket(port=port) as server:
            client.sendto(b"somebody", ("127.0.0.1", proxy.ports[0]))
            assert server.recv(2000) == b"somebody"


def test_a_client_for_whom_there_is_no_way_is_counted_and_was_in_no_link() -> None:
    with UdpProxy("127.0.0.1", {0: ("255.255.255.255", 9)}, PERFECT) as proxy, udp_socket() as client:
        client.sendto(b"anybody", ("127.0.0.1", proxy.ports[0]))
        wait_until(lambda: proxy.counters.not_let_in == 1)
        assert (proxy.counters.up.sent, proxy.counters.not_sent) == (0, 0)


def test_files_beyond_those_that_select_can_wait_for_are_refused_and_the_others_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        echo_server() as port,
        UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, PERFECT) as proxy,
        udp_socket() as early,
        udp_socket() as late,
    ):
        address = ("127.0.0.1", proxy.ports[0])
        early.sendto(b"early", address)
        assert early.recv(100) == b"early"
        monkeypatch.setattr(proxy_module, "SELECT_DESCRIPTORS", 0)
        late.sendto(b"late", address)
        wait_until(lambda: proxy.counters.not_let_in == 1)
        early.sendto(b"still here", address)
        assert early.recv(100) == b"still here"
        with pytest.raises(OSError, match="files open"):
            UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, PERFECT)


def test_a_proxy_that_was_stopped_does_not_start() -> None:
    proxy = UdpProxy("127.0.0.1", {0: ("127.0.0.1", 9)}, PERFECT)
    proxy.stop()
    with pytest.raises(OSError, match="runs once"):
        proxy.start()
    assert proxy.ports == []


def test_the_client_that_was_idle_longest_makes_room_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "FLOWS_MAX", 3)
    with echo_server() as port, UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, PERFECT) as proxy:
        clients = [udp_socket() for _ in range(4)]
        for client in [*clients[:3], clients[0], clients[3]]:
            client.sendto(b"hello", ("127.0.0.1", proxy.ports[0]))
            assert client.recv(2000) == b"hello"
        counters = proxy.counters
        assert counters.flows == 3
        assert counters.flows_evicted == 1
        clients[1].sendto(b"again", ("127.0.0.1", proxy.ports[0]))
        assert clients[1].recv(2000) == b"again"
        for client in clients:
            client.close()


def test_a_port_in_use_is_an_error_that_names_it_and_leaves_nothing_open() -> None:
    with udp_socket() as taken, udp_socket() as free:
        taken_port, free_port = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        proxy = UdpProxy("127.0.0.1", {free_port: ("127.0.0.1", 9), taken_port: ("127.0.0.1", 9)}, PERFECT)
        with pytest.raises(OSError, match=rf"127\.0\.0\.1 port {taken_port} \(UDP\): Address already in use"):
            proxy.start()
        udp_socket(port=free_port).close()
        proxy.stop()


def test_a_host_that_does_not_exist_is_an_error_that_names_it() -> None:
    with pytest.raises(OSError, match=r"no-such-host\.invalid"):
        UdpProxy("127.0.0.1", {0: ("no-such-host.invalid", 9)}, PERFECT).start()
    with pytest.raises(OSError, match=r"it is no name"):
        UdpProxy("127.0.0.1", {0: (80 * "x", 9)}, PERFECT).start()


def test_stop_frees_the_ports_ends_the_thread_and_keeps_the_counters() -> None:
    threads = threading.active_count()
    with echo_server() as port, udp_socket() as client:
        with UdpProxy("127.0.0.1", {0: ("127.0.0.1", port)}, PERFECT) as proxy:
            client.sendto(b"hello", ("127.0.0.1", proxy.ports[0]))
            client.recv(2000)
        assert proxy.counters.up.delivered == 1
        udp_socket(port=proxy.ports[0]).close()
        proxy.stop()
    assert threading.active_count() == threads

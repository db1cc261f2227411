"""The socket on the real kernel: batches, both families, and errors that are counted instead of raised."""

import select
import socket
import time
from collections.abc import Iterator

import pytest

from udpconf.errors import ConfigError, PortInUseError
from udpconf.limits import DATAGRAM_MAX_BYTES, MS, RECEIVE_BATCH
from udpconf.net import udp_socket as udp_socket_module
from udpconf.net.clock import monotonic_us
from udpconf.net.udp_socket import UdpSocket
from udpconf.proto.events import Address


@pytest.fixture
def server() -> Iterator[UdpSocket]:
    listening = UdpSocket.listen("127.0.0.1", 0)
    yield listening
    listening.close()


@pytest.fixture
def client() -> Iterator[UdpSocket]:
    opened = UdpSocket.towards(("127.0.0.1", 1))
    yield opened
    opened.close()


def received(udp_socket: UdpSocket) -> list[tuple[bytes, Address]]:
    select.select([udp_socket.fd], [], [], 5)
    return [(data, address) for _, data, address in udp_socket.receive_batch()]


def test_datagrams_arrive_with_their_address_and_can_be_answered(
    server: UdpSocket, client: UdpSocket
) -> None:
    assert client.send(b"question", ("127.0.0.1", server.port))
    ((data, address),) = received(server)
    assert data == b"question"
    assert address == ("127.0.0.1", client.port)
    assert server.send(b"answer", address)
    assert [data for data, _ in received(client)] == [b"answer"]


def test_a_turn_takes_no_more_than_a_batch_and_the_rest_stays(server: UdpSocket, client: UdpSocket) -> None:
    for index in range(RECEIVE_BATCH + 3):
        client.send(b"%d" % index, ("127.0.0.1", server.port))
    assert len(received(server)) == RECEIVE_BATCH
    assert [data for data, _ in received(server)] == [b"%d" % (RECEIVE_BATCH + index) for index in range(3)]


def test_empty_and_oversize_datagrams_count_in_the_batch_and_go_no_further(
    server: UdpSocket, client: UdpSocket
) -> None:
    target = ("127.0.0.1", server.port)
    for _ in range(RECEIVE_BATCH // 2):
        client.send(b"", target)
        client.send(bytes(DATAGRAM_MAX_BYTES + 1), target)
    client.send(bytes(DATAGRAM_MAX_BYTES), target)
    assert received(server) == []
    assert [len(data) for data, _ in received(server)] == [DATAGRAM_MAX_BYTES]
    assert server.counters == {"empty": RECEIVE_BATCH // 2, "oversize": RECEIVE_BATCH // 2}


def test_a_datagram_too_large_to_send_whole_is_counted(client: UdpSocket) -> None:
    assert not client.send(bytes(65508), ("127.0.0.1", 9))
    assert client.counters["send_emsgsize"] == 1


def test_the_kernel_is_told_not_to_fragment_either_family(client: UdpSocket) -> None:
    assert client._socket.getsockopt(socket.IPPROTO_IP, 10) == 3
    server = UdpSocket.listen("::", 0)
    assert server._socket.getsockopt(socket.IPPROTO_IP, 10) == 3
    assert server._socket.getsockopt(socket.IPPROTO_IPV6, 23) == 3
    server.close()


def test_a_send_that_the_kernel_refuses_is_counted(client: UdpSocket) -> None:
    assert not client.send(b"x", ("127.0.0.1", 0))
    assert sum(client.counters.values()) == 1
    assert not client.send(b"x", ("not an address at all.invalid", 70000))
    assert sum(client.counters.values()) == 2


def test_a_port_unreachable_does_not_stop_receiving() -> None:
    """A connected socket is told of ICMP errors by its next receive; the datagram behind the error still arrives."""
    closed = UdpSocket.listen("127.0.0.1", 0)
    port = closed.port
    closed.close()
    bare = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bare.connect(("127.0.0.1", port))
    wrapped = UdpSocket(bare)
    bare.send(b"nobody there")
    assert received(wrapped) == []
    assert wrapped.counters["receive_econnrefused"] == 1
    back = UdpSocket.listen("127.0.0.1", port)
    back.send(b"here now", ("127.0.0.1", wrapped.port))
    assert [data for data, _ in received(wrapped)] == [b"here now"]
    back.close()
    wrapped.close()


def test_ipv6_works_like_ipv4() -> None:
    server = UdpSocket.listen("::1", 0)
    client = UdpSocket.towards(("::1", server.port, 0, 0))
    assert client.send(b"six", ("::1", server.port, 0, 0))
    ((data, address),) = received(server)
    assert (data, address[:2]) == (b"six", ("::1", client.port))
    assert server.send(b"back", address)
    assert [data for data, _ in received(client)] == [b"back"]
    server.close()
    client.close()


def test_the_any_address_of_ipv6_serves_ipv4_under_plain_addresses(client: UdpSocket) -> None:
    server = UdpSocket.listen("::", 0)
    client.send(b"four", ("127.0.0.1", server.port))
    ((data, address),) = received(server)
    assert (data, address) == (b"four", ("127.0.0.1", client.port))
    assert server.send(b"back", address)
    assert [data for data, _ in received(client)] == [b"back"]
    server.close()


def test_a_busy_port_is_named_in_a_sentence(server: UdpSocket) -> None:
    with pytest.raises(PortInUseError, match=f"{server.port}.*in use"):
        UdpSocket.listen("127.0.0.1", server.port)


def test_an_address_of_somebody_else_cannot_be_listened_on() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1: that is no address of this machine") as caught:
        UdpSocket.listen("192.0.2.1", 0)
    assert "port" not in str(caught.value)
    with pytest.raises(ConfigError, match="no such address") as caught:
        UdpSocket.listen("no-such-host.invalid", 0)
    assert "Errno" not in str(caught.value)


def test_the_granted_buffers_are_reported(server: UdpSocket) -> None:
    assert server.receive_buffer_bytes > 0
    assert server.send_buffer_bytes > 0


@pytest.mark.parametrize("stamped", [True, False])
def test_it_is_told_when_each_datagram_came(
    client: UdpSocket, stamped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not stamped:  # a kernel that has no such option
        monkeypatch.setattr(udp_socket_module, "_SO_TIMESTAMPNS", 0xFFFF)
    server = UdpSocket.listen("127.0.0.1", 0)
    sent_us = []
    for number in range(2):
        sent_us.append(monotonic_us())
        client.send(b"%d" % number, ("127.0.0.1", server.port))
        time.sleep(0.05)
    read_us = monotonic_us()
    came_us = [came_us for came_us, _, _ in server.receive_batch()]
    server.close()
    if stamped:
        # The wall clock may be set a little while we look.
        assert sent_us[0] - 10 * MS <= came_us[0] <= read_us - 40 * MS
        assert sent_us[1] - 10 * MS <= came_us[1]
        assert came_us[1] - came_us[0] >= 40 * MS
    else:
        assert read_us <= came_us[0] <= came_us[1]


def test_what_the_kernel_has_no_room_for_is_counted(server: UdpSocket, client: UdpSocket) -> None:
    assert server.kernel_drops == 0
    sent = 0
    while not server.kernel_drops and sent < 100_000:
        sent += client.send(bytes(1200), ("127.0.0.1", server.port))
    taken = 0
    while batch := list(server.receive_batch()):
        taken += len(batch)
    assert server.kernel_drops > 0
    assert taken + server.kernel_drops == sent

"""The bridge between the namespaces' devices: what it carries, what passes beside the link, and what it writes down."""

import errno
import io
import json
import os
import socket

import pytest

from udpconf.emulation.link import LinkConditions
from udpconf.emulation.real_time import monotonic_us
from udpconf.emulation.scenario import of_conditions
from udpconf.emulation.scenario_link import ScenarioLink
from udpconf.emulation.tun_bridge import TunBridge, is_icmp_error

IP_HEADER = bytes([0x45]) + bytes(8) + bytes([17]) + bytes(10)  # IPv4 without options, UDP


def icmp(kind: int, options_bytes: int = 0) -> bytes:
    header = bytearray(IP_HEADER) + bytes(options_bytes)
    header[0] = 0x40 | len(header) // 4
    header[9] = 1
    return bytes(header) + bytes([kind, 3, 0, 0])


def test_complaints_of_a_kernel_are_told_from_echoes_and_from_datagrams() -> None:
    assert is_icmp_error(icmp(3))
    assert is_icmp_error(icmp(11, options_bytes=8))
    assert not is_icmp_error(icmp(0))
    assert not is_icmp_error(icmp(8))
    assert not is_icmp_error(IP_HEADER + b"\x03\x03")
    assert not is_icmp_error(icmp(3)[:20])


def test_a_packet_that_the_device_would_not_take_is_counted_and_not_logged_as_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    (near_a, _far_a), (near_b, far_b) = pairs
    for near in (near_a, near_b):
        near.setblocking(False)
    log = io.StringIO()
    link: ScenarioLink[bytes] = ScenarioLink(of_conditions(LinkConditions()), 1)
    bridge = TunBridge(near_a.fileno(), near_b.fileno(), link, log)

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    far_b.send(IP_HEADER + b"first")
    bridge.run([], until_us=monotonic_us() + 1000)
    monkeypatch.setattr(os, "write", refuse)
    far_b.send(IP_HEADER + b"second")
    bridge.run([], until_us=monotonic_us() + 1000)
    for pair in pairs:
        for end in pair:
            end.close()
    records = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [record["n"] for record in records if "sent_us" in record] == [0, 1]
    assert [record["n"] for record in records if "delivered_us" in record] == [0]
    assert bridge.counters.not_written == 1

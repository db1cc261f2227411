"""Carries IP packets between two TUN devices through the link emulator, on the real clock."""

import errno
import os
import select
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple, TextIO

from udpconf.emulation.link import Delivery, Verdict
from udpconf.emulation.real_time import monotonic_us
from udpconf.emulation.scenario import Scenario
from udpconf.emulation.scenario_link import Direction, ScenarioLink

# The TUN devices' MTU is smaller; segmentation offload is off, so the kernel hands out single packets.
READ_BYTES = 2048
# Packets of one device in a row, before the timers and the other one get their turn: some 0.3 ms of work.
READ_BATCH = 16
# A delivery later than this after its time is counted. What the lab promises at p99.
LATE_US = 1000
# Destination unreachable, source quench, redirect, time exceeded, parameter problem. Echoes are a program's own.
ICMP_ERRORS = (b"\x03", b"\x04", b"\x05", b"\x0b", b"\x0c")
# poll() wakes at full milliseconds, select() does not; but it cannot wait for longer than a time_t holds.
LONGEST_WAIT_US = 3_600_000_000


class BridgeCounters(NamedTuple):
    """How well the bridge kept its own times; what the link did to packets is in the link's counters."""

    late: int  # deliveries more than LATE_US after they were due
    latest_us: int  # the worst of all
    not_written: int  # out of the link, but the device would not take them; the log has no delivery of them


class TunBridge:
    """Up is from B to A (from the client to the server), down is from A to B.

    Args:
        tun_a: file descriptor of A's device, non-blocking.
        tun_b: B's.
        link: what decides. Its scenario starts with the first packet that one of the programs sends.
        log: a line of JSON a packet goes there, see netem/README.md; None: no log.
    """

    def __init__(self, tun_a: int, tun_b: int, link: ScenarioLink[bytes], log: TextIO | None) -> None:
        self._tun_a = tun_a
        self._tun_b = tun_b
        self._ways: tuple[tuple[Direction, int], ...] = (("up", tun_a), ("down", tun_b))
        self._link = link
        self._log = None if log is None else LinkLog(link.scenario, log)
        self._late = 0
        self._latest_us = 0
        self._not_written = 0

    @property
    def counters(self) -> BridgeCounters:
        return BridgeCounters(self._late, self._latest_us, self._not_written)

    def run(self, watched: list[int], until_us: int | None = None) -> list[int]:
        """Carry packets until one of the watched descriptors is readable, or until a time.

        Returns:
            The watched descriptors that are readable; none if the time has come.
        """
        tun_a, tun_b = self._tun_a, self._tun_b
        descriptors = [tun_a, tun_b, *watched]
        while True:
            now_us = monotonic_us()
            if until_us is not None and now_us >= until_us:
                return []
            due_us = self._link.poll_timeout()
            wake_us = min(time for time in (due_us, until_us, now_us + LONGEST_WAIT_US) if time is not None)
            readable, _, _ = select.select(descriptors, [], [], max(0, wake_us - now_us) / 1e6)
            self._deliver()
            if tun_b in readable:
                self._read(tun_b, "up", tun_a)
            if tun_a in readable:
                self._read(tun_a, "down", tun_b)
            self._deliver()
            if self._log is not None:
                self._log.catch_up(monotonic_us())
            if seen := [descriptor for descriptor in watched if descriptor in readable]:
                return seen

    def _read(self, tun: int, direction: Direction, tun_to: int) -> None:
        for _ in range(READ_BATCH):
            try:
                packet = os.read(tun, READ_BYTES)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4:  # IPv6 is off; whatever still comes was not sent by the tested programs
                continue
            now_us = monotonic_us()
            if is_icmp_error(packet):
                self._written(tun_to, packet)
                continue
            verdict = self._link.send(direction, now_us, packet, len(packet))
            if self._log is not None:
                self._log.sent(direction, verdict, len(packet), now_us)

    def _deliver(self) -> None:
        link = self._link
        for direction, tun in self._ways:
            while True:
                now_us = monotonic_us()
                delivery = link.poll_numbered(direction, now_us)  # also when idle: the next step may be due
                if delivery is None:
                    break
                if not self._written(tun, delivery.packet):
                    self._not_written += 1
                    continue
                late_us = now_us - delivery.due_us
                self._latest_us = max(self._latest_us, late_us)
                if late_us > LATE_US:
                    self._late += 1
                if self._log is not None:
                    self._log.delivered(direction, delivery, now_us)

    def _written(self, tun: int, packet: bytes) -> bool:
        try:
            os.write(tun, packet)
            return True
        except OSError as error:
            # The device's queue is full, the namespace goes down, or the flipped bit was in the IP version.
            if error.errno not in {errno.EAGAIN, errno.ENOBUFS, errno.EIO, errno.EINVAL}:
                raise
            return False


class LinkLog:
    """A line of JSON for each step of the schedule, each packet and each delivery, in the order in which they happened."""

    def __init__(self, scenario: Scenario, file: TextIO) -> None:
        self._file = file
        self._steps = step_times(scenario)
        self._next: tuple[int, int] | None = next(self._steps)
        self._start_us: int | None = None

    def sent(self, direction: Direction, verdict: Verdict, size_bytes: int, sent_us: int) -> None:
        """The first one starts the schedule."""
        if self._start_us is None:
            self._start_us = sent_us
        self.catch_up(sent_us)
        self._file.write(
            f'{{"direction": "{direction}", "n": {verdict.number}, "size": {size_bytes}, "sent_us": {sent_us}, '
            f'"fate": "{verdict.fate.value}", "corrupted": {_json(verdict.corrupted)}, '
            f'"duplicated": {_json(verdict.duplicated)}}}\n'
        )

    def delivered(self, direction: Direction, delivery: Delivery[bytes], now_us: int) -> None:
        """When it was due on the link: the time of its verdict, unless the rate changed while it waited."""
        self.catch_up(now_us)
        self._file.write(
            f'{{"direction": "{direction}", "n": {delivery.number}, "copy": {_json(delivery.is_copy)}, '
            f'"due_us": {delivery.due_us}, "delivered_us": {now_us}}}\n'
        )

    def catch_up(self, now_us: int) -> None:
        """Write down the steps up to now."""
        while self._start_us is not None and self._next is not None:
            index, elapsed_us = self._next
            if self._start_us + elapsed_us > now_us:
                return
            self._file.write(f'{{"step": {index}, "at_us": {self._start_us + elapsed_us}}}\n')
            self._next = next(self._steps, None)


def _json(flag: bool) -> str:
    return "true" if flag else "false"


def is_icmp_error(packet: bytes) -> bool:
    """Whether a kernel reports, as "nobody listens on this port", what became of another packet (RFC 792).

    No tested program sent it, and when it comes depends on when the other one began to listen.
    """
    header_bytes = (packet[0] & 0x0F) * 4
    return packet[9:10] == b"\x01" and packet[header_bytes : header_bytes + 1] in ICMP_ERRORS


def step_times(scenario: Scenario) -> Iterator[tuple[int, int]]:
    """Each step's index and its time after the first packet in microseconds; without an end if the schedule repeats."""
    steps, repeat_us = scenario.steps, scenario.repeat_us
    for turn in (0,) if repeat_us is None or len(steps) == 1 else count():
        for index, step in enumerate(steps):
            yield index, turn * (repeat_us or 0) + step.at_us

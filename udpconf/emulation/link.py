"""A one-way link as arithmetic: what a packet sent now will suffer, and when it comes out. No socket, no clock.

    send ─► loss, corruption ─► drop-tail queue, rate ─► delay + jitter, reordering, duplication ─► poll_delivery

The order is that of `tc netem`: a lost packet takes no capacity. Every random decision draws from a stream of its own,
the same number of times for each packet, whether or not its condition is on. So the luck of the n-th packet depends on
the seed and n alone, never on time or on what the other conditions are. (Where neighbours are alike, in bursts of loss or
in correlated jitter, it depends on the packets before, too: on those since the condition is on.)
"""

import random
from collections import deque
from collections.abc import Callable
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Generic, NamedTuple, TypeVar

from udpconf.emulation.bottleneck import BYTE_WORK, Bottleneck, ConstantRate, TracedRate
from udpconf.emulation.jitter import JitterShape, correlated, jitter_us
from udpconf.emulation.loss import LossModel, NoLoss, check_probability
from udpconf.emulation.rate_trace import RateTrace

# With a rate and no limit given the queue holds this much time: a home router's, without active queue management.
# Chosen, not measured.
DEFAULT_QUEUE_US = 300_000

PacketT = TypeVar("PacketT")


class LinkConditions(NamedTuple):
    """What one direction of a path does to packets. The default is a perfect wire."""

    delay_us: int = 0
    jitter_us: int = 0  # in the sense of its shape; uniform: in 0..jitter_us, on top of the delay
    jitter_shape: JitterShape = JitterShape.UNIFORM
    jitter_correlation: float = 0.0  # of a packet's jitter with that of the one before
    # No packet overtakes because of jitter, as on most real paths: it waits for its predecessor. Packets closer together
    # than the jitter are then delayed by more than their own share of it.
    keep_order: bool = True
    loss: LossModel = NoLoss()
    rate_bps: int | None = None  # None: unlimited. Counts the size_bytes given to send()
    burst_bytes: int = 0  # that leave at once after a pause (token bucket)
    rate_trace: RateTrace | None = None  # instead of rate_bps
    queue_bytes: int | None = None  # drop-tail; an idle link takes any packet
    queue_us: int | None = None  # drop-tail by waiting time; both None: DEFAULT_QUEUE_US
    reorder: float = 0.0  # share of packets held back, so that later ones overtake them
    reorder_us: int = 0  # by how much
    duplicate: float = 0.0  # share of packets that arrive twice; the copy up to jitter_us after the first
    corrupt: float = 0.0  # share of packets that arrive with one bit flipped

    def validate(self) -> None:
        """Raise ValueError, with a sentence, if a value is out of range."""
        for name in ("delay_us", "jitter_us", "reorder_us", "queue_bytes", "queue_us", "burst_bytes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} cannot be negative: {value}")
        if self.rate_bps is not None and self.rate_bps <= 0:
            raise ValueError(f"rate_bps is None (unlimited) or positive, not {self.rate_bps}")
        if self.rate_bps is not None and self.rate_trace is not None:
            raise ValueError("a link has a rate or a rate trace, not both")
        if self.rate_trace is not None and not (
            self.rate_trace.opportunities_ms and self.rate_trace.period_ms > 0
        ):
            raise ValueError("a rate trace has at least one opportunity and a length")
        check_probability("jitter_correlation", self.jitter_correlation)
        if self.jitter_correlation == 1:
            raise ValueError("a jitter_correlation of 100% would give all packets the same delay; take less")
        check_probability("reorder", self.reorder)
        check_probability("duplicate", self.duplicate)
        check_probability("corrupt", self.corrupt)
        self.loss.validate()


class Fate(Enum):
    """What became of a packet at the moment it was sent."""

    PASSED = "passed"
    LOST = "lost"
    DROPPED_BY_QUEUE = "dropped_by_queue"


class Verdict(NamedTuple):
    """The answer to send(): the packet's number from 0, its fate and, if it passes, when and how it comes out."""

    number: int
    fate: Fate
    due_us: int | None  # as things stand: a later change of the rate moves what still waits for its turn
    corrupted: bool = False  # it comes out with a flipped bit, and its copy too if it has one
    duplicated: bool = False  # a copy of it comes out too, at the same time or later


class Delivery(NamedTuple, Generic[PacketT]):
    """A packet that is out."""

    number: int  # as in its verdict
    is_copy: bool
    due_us: int  # when it came out, at or before the time of the call that fetched it
    packet: PacketT


class LinkCounters(NamedTuple):
    """sent + duplicated == delivered + lost + dropped_by_queue + in_flight, at any instant."""

    sent: int
    delivered: int  # copies included
    lost: int
    dropped_by_queue: int
    duplicated: int  # copies made
    reordered: int  # delivered after a packet that was sent later
    in_flight: int
    sent_bytes: int
    delivered_bytes: int
    corrupted: int  # that passed with a flipped bit, not counting copies


class InFlight(NamedTuple, Generic[PacketT]):
    """A packet on its way. Heap order is (due_us, order): same instant, same order as sent."""

    due_us: int
    order: int  # twice the packet's number, plus one for a copy; unique, so nothing after it is ever compared
    keeps_order: bool  # never due before one that was sent before it, unless that one is held back
    after_queue_us: int  # delay and jitter, to be added to the end of its transmission
    held_back_us: int  # on top, after those before it are out; a copy: behind its original
    size_bytes: int
    packet: PacketT


class Waiting(NamedTuple):
    """A packet that the bottleneck has not finished sending."""

    end_ns: int
    size_bytes: int
    number: int


class Link(Generic[PacketT]):
    """One direction of a path. Packets may be any object but None.

    Args:
        conditions: what it does to packets.
        seed: one seed, one luck for the n-th packet.
        damage: flips a bit of a packet: at the relative place ``where``, 0 up to but not including 1, of its length. None:
            corruption is decided and counted, and harms nothing.

    Time must not run backwards between calls. After a wait until poll_timeout(), call poll_delivery() until it is None.
    """

    def __init__(
        self,
        conditions: LinkConditions,
        seed: int | str,
        damage: Callable[[PacketT, float], PacketT] | None = None,
    ) -> None:
        conditions.validate()
        self._conditions = conditions
        self._damage = damage
        self._loss_state: int | None = None
        # Strings are hashed with SHA-512 by random.seed, so neighbouring seeds are independent on every Python.
        self._loss_random = random.Random(f"{seed}/loss").random
        self._jitter_random = random.Random(f"{seed}/jitter").random
        self._reorder_random = random.Random(f"{seed}/reorder").random
        self._duplicate_random = random.Random(f"{seed}/duplicate").random
        self._corrupt_random = random.Random(f"{seed}/corrupt").random
        self._jitter_gauss: float | None = None
        self._in_flight: list[InFlight[PacketT]] = []  # heap
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._bottleneck: Bottleneck | None = None
        self._started = False
        self._order_floor_us = 0  # no packet that keeps its order is due before this
        self._highest_delivered = -1
        self._sent = 0
        self._delivered = 0
        self._lost = 0
        self._dropped_by_queue = 0
        self._duplicated = 0
        self._reordered = 0
        self._corrupted = 0
        self._sent_bytes = 0
        self._delivered_bytes = 0

    @property
    def conditions(self) -> LinkConditions:
        return self._conditions

    def start(self, now_us: int) -> None:
        """A recorded rate begins now. Without this call it begins with the first packet; a second one does nothing."""
        if not self._started:
            self._started = True
            self._bottleneck = self._new_bottleneck(now_us * 1000)

    def send(self, now_us: int, packet: PacketT, size_bytes: int) -> Verdict:
        """Put a packet in. Its size is what counts for the rate: on a real path that includes the IP header."""
        if not self._started:
            self.start(now_us)
        c = self._conditions
        number = self._sent
        self._sent += 1
        self._sent_bytes += size_bytes
        # All dice are thrown for every packet, or one packet's fate would shift the luck of the next.
        dice = (self._loss_random(), self._loss_random())
        self._loss_state, lost = c.loss.step(number, self._loss_state, *dice)
        jitter = self._jitter(c)
        held_back = self._reorder_random() < c.reorder
        duplicated = self._duplicate_random() < c.duplicate
        copy_jitter_us = int(self._duplicate_random() * (c.jitter_us + 1))
        corrupted, where = self._corrupt_random() < c.corrupt, self._corrupt_random()
        if lost:
            self._lost += 1
            return Verdict(number, Fate.LOST, None)
        end_us = self._end_of_transmission_us(now_us, size_bytes, number)
        if end_us is None:
            self._dropped_by_queue += 1
            return Verdict(number, Fate.DROPPED_BY_QUEUE, None)

        if corrupted:
            self._corrupted += 1
            if self._damage is not None:
                packet = self._damage(packet, where)
        after_queue_us = max(0, c.delay_us + jitter)
        held_back_us = c.reorder_us if held_back else 0
        due_us = self._due_us(end_us + after_queue_us, held_back_us, keeps_order=c.keep_order)
        # Here and below: as the call of the class, in half its time, which counts where a million packets are judged.
        in_flight = (due_us, 2 * number, c.keep_order, after_queue_us, held_back_us, size_bytes, packet)
        original: InFlight[PacketT] = tuple.__new__(InFlight, in_flight)
        heappush(self._in_flight, original)
        if duplicated:
            self._duplicated += 1
            copy_us = due_us + copy_jitter_us
            copy = original._replace(due_us=copy_us, order=2 * number + 1, held_back_us=copy_jitter_us)
            heappush(self._in_flight, copy)
        return tuple.__new__(Verdict, (number, Fate.PASSED, due_us, corrupted, duplicated))

    def set_conditions(self, now_us: int, conditions: LinkConditions) -> None:
        """Change the link. What waits in the queue leaves at the new rate; what has left it keeps its delay.

        Raises:
            ValueError: a value is out of range; the link stays as it was.
        """
        conditions.validate()
        before, self._conditions = self._conditions, conditions
        if self._started and _bottleneck_changed(before, conditions):
            self._change_rate(now_us)

    def poll_delivery(self, now_us: int) -> PacketT | None:
        """The next packet that is out by now, or None."""
        if not self._in_flight or self._in_flight[0].due_us > now_us:
            return None
        return self._deliver().packet

    def poll_numbered(self, now_us: int) -> Delivery[PacketT] | None:
        """The same, with which packet it is and when it was due."""
        if not self._in_flight or self._in_flight[0].due_us > now_us:
            return None
        item = self._deliver()
        return Delivery(item.order >> 1, bool(item.order & 1), item.due_us, item.packet)

    def poll_timeout(self) -> int | None:
        """When the next packet comes out (absolute, microseconds), or None if nothing is on its way."""
        return self._in_flight[0].due_us if self._in_flight else None

    @property
    def counters(self) -> LinkCounters:
        return LinkCounters(
            self._sent,
            self._delivered,
            self._lost,
            self._dropped_by_queue,
            self._duplicated,
            self._reordered,
            len(self._in_flight),
            self._sent_bytes,
            self._delivered_bytes,
            self._corrupted,
        )

    def queue_us(self, now_us: int) -> int:
        """How long a packet sent now would wait for its turn at the bottleneck."""
        if self._bottleneck is None:
            return 0
        return max(0, -(-(self._bottleneck.free_ns - now_us * 1000) // 1000))

    def _deliver(self) -> InFlight[PacketT]:
        item = heappop(self._in_flight)
        self._delivered += 1
        self._delivered_bytes += item.size_bytes
        number = item.order >> 1
        if number > self._highest_delivered:
            self._highest_delivered = number
        elif not item.order & 1:
            self._reordered += 1
        return item

    def _jitter(self, c: LinkConditions) -> int:
        uniform = self._jitter_random()
        if c.jitter_correlation:
            self._jitter_gauss, uniform = correlated(self._jitter_gauss, uniform, c.jitter_correlation)
        return jitter_us(c.jitter_shape, c.jitter_us, uniform)

    def _end_of_transmission_us(self, now_us: int, size_bytes: int, number: int) -> int | None:
        """When the bottleneck will have sent this packet; None if its queue has no room."""
        c = self._conditions
        now_ns = now_us * 1000
        if self._bottleneck is None:
            return now_us
        waiting = self._waiting
        while waiting and waiting[0].end_ns <= now_ns:
            self._waiting_bytes -= waiting.popleft().size_bytes
        limit_us, limit_bytes = c.queue_us, c.queue_bytes
        if limit_us is None and limit_bytes is None:
            if c.rate_trace is None:
                limit_us = DEFAULT_QUEUE_US
            else:  # a fade that is longer than the queue would otherwise close it to all but one packet
                limit_bytes = int(c.rate_trace.mean_bps * DEFAULT_QUEUE_US / 8_000_000)
        if limit_bytes is not None and waiting and self._waiting_bytes + size_bytes > limit_bytes:
            return None
        if limit_us is not None and self._bottleneck.free_ns - now_ns > limit_us * 1000:
            return None
        end_ns = self._bottleneck.serve(now_ns, size_bytes * BYTE_WORK)
        waiting.append(Waiting(end_ns, size_bytes, number))
        self._waiting_bytes += size_bytes
        return -(-end_ns // 1000)

    def _due_us(self, after_delay_us: int, held_back_us: int, *, keeps_order: bool) -> int:
        """When a packet is out that would be then on its own; those behind it that keep their order come no earlier."""
        due_us = after_delay_us
        if keeps_order:
            due_us = max(due_us, self._order_floor_us)
            if not held_back_us:
                self._order_floor_us = due_us
        return due_us + held_back_us

    def _new_bottleneck(self, now_ns: int) -> Bottleneck | None:
        c = self._conditions
        if c.rate_trace is not None:
            return TracedRate(now_ns, c.rate_trace)
        return None if c.rate_bps is None else ConstantRate(now_ns, c.rate_bps, c.burst_bytes)

    def _change_rate(self, now_us: int) -> None:
        """Send what waits at the new rate; the packet on the wire keeps what a constant rate has sent of it already."""
        now_ns = now_us * 1000
        old, new = self._bottleneck, self._new_bottleneck(now_ns)
        self._bottleneck = new
        if new is not None and old is not None:
            new.take_over(now_ns, old)
        end_us: dict[int, int] = {}
        still_waiting: deque[Waiting] = deque()
        previous_end_ns = now_ns
        for waits in self._waiting:
            if waits.end_ns <= now_ns:
                continue
            work = waits.size_bytes * BYTE_WORK
            if old is not None and old.rate_bps is not None:
                # Exact for the packet on the wire as well: its remaining time scales like a whole packet's.
                work = (waits.end_ns - previous_end_ns) * old.rate_bps
            previous_end_ns = waits.end_ns
            end_ns = now_ns
            if new is not None:
                end_ns = new.serve(now_ns, work)
                still_waiting.append(waits._replace(end_ns=end_ns))
            end_us[waits.number] = -(-end_ns // 1000)
        self._waiting = still_waiting
        self._waiting_bytes = sum(waits.size_bytes for waits in still_waiting)
        # What has left the bottleneck stays as it is, and nobody overtakes it.
        self._order_floor_us = 0
        original_us: dict[int, int] = {}
        for index, item in sorted(enumerate(self._in_flight), key=lambda entry: entry[1].order):
            number, copy = divmod(item.order, 2)
            due_us = item.due_us
            if number in end_us:
                due_us = (
                    original_us[number] + item.held_back_us
                    if copy
                    else self._due_us(
                        end_us[number] + item.after_queue_us, item.held_back_us, keeps_order=item.keeps_order
                    )
                )
            elif item.keeps_order and not copy and not item.held_back_us:
                self._order_floor_us = max(self._order_floor_us, due_us)
            original_us[number] = due_us
            self._in_flight[index] = item._replace(due_us=due_us)
        heapify(self._in_flight)


def _bottleneck_changed(before: LinkConditions, after: LinkConditions) -> bool:
    # The same trace is told by identity: it may have millions of lines, and a schedule's steps share theirs.
    return before.rate_trace is not after.rate_trace or (before.rate_bps, before.burst_bytes) != (
        after.rate_bps,
        after.burst_bytes,
    )


def flip_bit(data: bytes, where: float) -> bytes:
    """The bytes with the bit at this relative place, 0 up to but not including 1, turned over; none if there are none."""
    if not data:
        return data
    bit = int(where * 8 * len(data))
    damaged = bytearray(data)
    damaged[bit // 8] ^= 0x80 >> bit % 8
    return bytes(damaged)

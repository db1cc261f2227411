"""How fast the path is, and how long its queue: what the encoder and the pacer go by.

Each picture leaves in one go, as a train of packets, and the server tells when its first and its last one came
(proto/train_watch.py). A bottleneck lets the packets out one by one, each its size divided by the rate after the one before:

    rate = bytes that came after the first packet / (time of the last - time of the first)

So every picture tells the path's rate, without filling its queue (packet trains; as Salsify, NSDI 2018, and SQP, 2022, use
them). When they say less than before they are believed only where some of them agree, of packets that came at even
distances: jitter spreads a train too, but unevenly, each by another time. What trains cannot see (a token bucket lets one through at once) shows in the queue: when trains find one that
was not there before, the rate goes to 0.85 of what arrives, as in Google Congestion Control (Carlucci et al., 2017). Loss
is a sign of congestion where it is the ends of pictures that are lost (proto/loss_limit.py).

What stands in the queue now is what was sent since the last packet that is known to have come, less what the path has
carried since:

    queue(now) = bytes sent after packet n - rate * (now - sent(n) - delay(n) + least delay)
"""

from collections import deque
from collections.abc import Sequence
from math import log
from typing import NamedTuple

from udpconf.limits import MS, SECOND
from udpconf.proto.loss_limit import LossLimit
from udpconf.proto.sent_packets import Place, SentPackets
from udpconf.wire.frames import Train

# Of the rate that is measured, so much is used: what is left lets a queue drain.
USE = 0.97
# Shorter spreads are the scheduling of two Python programs; a train of 12 kB takes so long at 19 Mbit/s.
SPREAD_MIN_US = 5 * MS
# Of an even train, the longest gap is hardly more than the mean; a lost packet doubles one.
GAP_RATIO_MAX = 3.0
TRAIN_PACKETS_MIN = 3
# So many after the first make a sample; fewer where the path is known to be narrow: a picture of 800 kbit/s at 30 a second has
# three packets, while on a wide path with 40 ms of jitter three of so few may agree by chance.
SAMPLE_PACKETS_MIN = 3
SAMPLE_PACKETS_MIN_NARROW = 2
# Of its packets, so many came and in order; where most are overtaken it is jitter that spreads them.
IN_ORDER_MIN = 2 / 3
# So many that differ by no more than this factor agree.
AGREEING = 3
AGREEMENT = 1.4
# Each moves the rate by so much of the difference: ten until 95 %. Less than this share of it is no noise of one train.
GAIN = 0.25
NOISE = 0.8
# While trains of too few packets find a queue that gets longer by so much and by more than they differ, what comes in so long is
# what the path carries. (With 5 ms, a way that is longer by 60 ms and has 12 ms of jitter took 10 to 17 % of 300 to 500 kbit/s.)
QUEUED_US = 80 * MS
QUEUE_GROWS_US = 10 * MS
# When no train was long enough to tell anything, for so long: pictures grow until one is, or finds a queue.
BLIND_US = SECOND
BLIND_RISE_PER_S = 1.5
# No more than so many times the ceiling: from there, a narrow path is met soon enough.
AMPLE = 10
# A queue that trains find when they come, on two of them: so much delay above the least is no scheduling.
QUEUE_MIN_US = 15 * MS
# No queue is that long: one of the clocks stood still, as they do while a machine sleeps.
QUEUE_IMPOSSIBLE_US = 5 * SECOND
# Nor is so many times what the delays of trains differ by, at the mean of some: 0 to 2.5 times is all that normal jitter
# spans above its mean, and as much below it.
QUEUE_PER_JITTER = 5.0
JITTER_GAIN = 1 / 16
# After a cut, a queue has to be longer by this factor to be one that grows; it is forgotten in some 10 s.
QUEUE_RISE = 1.2
QUEUE_FORGET_US = 10 * SECOND
CUT = 0.85
CUT_AGAIN_US = 200 * MS
CUT_LEAST_BPS = 100_000.0
# What a cut took comes back by so much a second; and where trains say that there is more, twice as much in half a second.
RISE_PER_S = 1.08
DOUBLING_US = SECOND // 2
# Longer than that, and who trusted the trains after the last cut too soon waits twice as long.
TRUST_AGAIN_US = (SECOND // 2, 8 * SECOND)
# Nothing is sent while so much stands in the queue: it would only be late.
HOLD_US = 60 * MS
# How long the least delay is looked for: clocks drift by 1 ms in it, at most.
LEAST_DELAY_US = 10 * SECOND
# What goes beside the pictures: half of its mean is of the last so long.
BESIDE_US = 500 * MS
# For pictures, whatever sound takes: some every few seconds.
LEAST_BPS = 10_000.0
ARRIVED_US = 300 * MS
ARRIVED_MIN_US = 80 * MS
ARRIVALS_MAX = 64


class _Told(NamedTuple):
    """How much of a train has been made samples of."""

    train: int  # its first number
    last: Place
    last_us: int
    packets: int


class _Queued(NamedTuple):
    """A train that found a queue."""

    queue_us: int
    last: Place
    last_us: int


class PathRate:
    """Of one session's way to the server.

    Args:
        max_bitrate_kbps: the user's ceiling; whether the path carries more does not matter.
    """

    def __init__(self, max_bitrate_kbps: float) -> None:
        self._max_bps = max_bitrate_kbps * 1000.0
        self._sent = SentPackets()
        self._reference: int | None = None  # the first delay seen; the clocks' offset is in all of them
        self._least: deque[tuple[int, int]] = deque()  # (when, delay), both growing: the first is the least
        self._last: Place | None = None  # of the newest packet that is known to have come
        self._last_queue_us = 0
        self._told = _Told(-1, Place(-1, 0, 0), 0, 0)
        self._queued: _Queued | None = None  # since then all trains have
        self._arrived: deque[tuple[int, int]] = deque(
            maxlen=ARRIVALS_MAX
        )  # (when it came, on our clock; bytes through it)
        self.carries_bps: float | None = None  # what trains say
        self._samples: deque[float] = deque(maxlen=AGREEING)
        self._sampled_us = 0
        self._through_bytes = 0  # what the server has seen the last of
        self._cut_bps: float | None = None  # after a queue that they did not foresee
        self._cut_us = self._moved_us = 0
        self._trust_after_us = TRUST_AGAIN_US[0]
        self._loss_limit = LossLimit(self._max_bps)
        self._beside_bps, self._beside_us = 0.0, 0
        self._queue_min_us = float(QUEUE_MIN_US)
        self._queued_train: int | None = None  # the train that found a queue
        self._jitter_us = 0.0  # by how much the delays of two trains differ, smoothed
        self._queue_before = (-1, 0)  # train, found by it

    # --- inputs ---

    def handle_sent(
        self,
        now_us: int,
        first_number: int,
        frame_ids: Sequence[int | None],
        size_bytes: int | Sequence[int],
    ) -> None:
        """Packets left in one go: each with this picture or, None, in answer to a request.

        ``size_bytes``, IP headers included: of each, or of all if they are alike.
        """
        self._sent.handle_sent(now_us, first_number, frame_ids, size_bytes)

    def handle_train(self, now_us: int, train: Train) -> None:
        """The server told how a train came. What cannot be, or is old, is ignored."""
        first, last = self._sent.place(train.first_number), self._sent.place(train.last_number)
        if first is None or last is None or last.number < first.number:
            return
        self._look_between(now_us, train)
        if self._last is not None and last.number <= self._last.number:
            return
        spread_us = _low32(train.last_us - train.first_us)
        if spread_us > QUEUE_IMPOSSIBLE_US:
            return
        queue_us = self._queue_found(now_us, _low32(train.first_us - first.sent_us))
        sent_spread_us = last.sent_us - first.sent_us
        self._last = last
        self._last_queue_us = queue_us + spread_us - sent_spread_us
        arrived_us = last.sent_us + self._last_queue_us
        self._arrived.append((arrived_us, last.bytes_through))
        while len(self._arrived) > 2 and self._arrived[1][0] < arrived_us - ARRIVED_US:
            self._arrived.popleft()
        # After an hour without pictures nothing is known any more, but powers of an hour are no numbers either.
        elapsed_us, self._moved_us = min(now_us - self._moved_us, LEAST_DELAY_US), now_us
        self._recover(now_us, elapsed_us)
        if queue_us <= max(QUEUE_MIN_US, QUEUE_PER_JITTER * self._jitter_us):
            self._queued = None
        if self._learn_from_train(train, first, last):
            self._sampled_us = now_us
        elif self.carries_bps is None:
            pass
        elif queue_us > QUEUE_MIN_US and self._learn_from_queue(now_us, train, last, queue_us):
            pass  # to grow would make it longer
        elif now_us - self._sampled_us > BLIND_US:
            risen_bps = self.carries_bps * BLIND_RISE_PER_S ** (elapsed_us / SECOND)
            self.carries_bps = min(risen_bps, AMPLE * self._max_bps)
        self._look_at_queue(now_us, elapsed_us, queue_us, first.number)

    def handle_totals(self, now_us: int, received: int, lost: int) -> None:
        """So many packets of the session have come, and so many not."""
        # The last of them may be a PING, which shows what was lost before it.
        through_bytes = self._sent.bytes_through(_low32(received + lost - 1))
        self._through_bytes = max(self._through_bytes, through_bytes)
        interval_us = self._sent.picture_interval_us
        self._loss_limit.handle_totals(now_us, self._through_bytes, received, lost, interval_us)

    def handle_sent_beside(self, now_us: int, size_bytes: int) -> None:
        """Sound left: what it takes of a narrow path is not there for pictures."""
        faded = 2 ** ((self._beside_us - now_us) / BESIDE_US)
        self._beside_bps = self._beside_bps * faded + size_bytes * 8 * SECOND * log(2) / BESIDE_US
        self._beside_us = now_us

    # --- outputs ---

    def target_bps(self, now_us: int) -> float:
        """What pictures may take from now on, all headers included, bit/s; 0: wait, a queue has to drain first."""
        queue_us = self.queue_us(now_us)
        if queue_us > HOLD_US:
            return 0.0
        faded = 2 ** ((self._beside_us - now_us) / BESIDE_US)
        bps = max(self._limit_bps - self._beside_bps * faded, LEAST_BPS)
        return bps * (1 - 0.75 * queue_us / HOLD_US)

    def queue_us(self, now_us: int) -> int:
        """How long what is sent now would wait in the path's queue, as far as one can tell."""
        bps, last = self.carries_bps, self._last
        if bps is None or last is None:
            return 0
        carried = bps * (now_us - last.sent_us - self._last_queue_us) / (8 * SECOND)
        waiting_bytes = self._sent.total_bytes - max(last.bytes_through + carried, self._through_bytes)
        return int(max(0.0, waiting_bytes) * 8 * SECOND / bps)

    @property
    def open_ceiling_bps(self) -> float:
        """The user's ceiling where it and not the path is what limits, as far as one can tell; else 0."""
        return self._max_bps if self._limit_bps >= self._max_bps else 0.0

    # --- inside ---

    @property
    def _limit_bps(self) -> float:
        # Each is read once: the application's thread asks, and the network's may set it to None meanwhile.
        carries_bps, cut_bps, loss_bps = self.carries_bps, self._cut_bps, self._loss_limit.bps
        bps = self._max_bps
        if carries_bps is not None:
            bps = min(bps, USE * carries_bps)
        if cut_bps is not None:
            bps = min(bps, cut_bps)
        return bps if loss_bps is None else min(bps, loss_bps)

    def _look_between(self, now_us: int, train: Train) -> None:
        """Tell what is missing at the end of this picture and at the beginning of the one that came next."""
        if train.next_number in (train.last_number, train.last_number + 1):
            return
        last, following = self._sent.picture(train.last_number), self._sent.picture(train.next_number)
        if last is None or following is None or max(last.packets, following.packets) < TRAIN_PACKETS_MIN:
            return
        tail = _low32(last.last_number - train.last_number) > 0
        head = _low32(train.next_number - following.first_number) > 0
        if tail or head:
            self._loss_limit.handle_gap(now_us, self._limit_bps, tail=tail, head=head)

    def _queue_found(self, now_us: int, delay_low32: int) -> int:
        """How much longer a packet took than the one that took the least."""
        if self._reference is None:
            self._reference = delay_low32
        delay_us = _low32(delay_low32 - self._reference + 0x80000000) - 0x80000000
        while self._least and self._least[-1][1] >= delay_us:
            self._least.pop()
        self._least.append((now_us, delay_us))
        while now_us - self._least[0][0] > LEAST_DELAY_US:
            self._least.popleft()
        queue_us = delay_us - self._least[0][1]
        if queue_us > QUEUE_IMPOSSIBLE_US:
            self._least = deque([(now_us, delay_us)])
            return 0
        return queue_us

    def _learn_from_train(self, train: Train, first: Place, last: Place) -> bool:
        """Whether enough packets came, of which nothing was said before: those that agree have to be independent."""
        told = self._told
        since = told if told.train == first.number else _Told(first.number, first, train.first_us, 1)
        self._told = since
        packets, sent = train.packets - since.packets, last.number - since.last.number
        least = SAMPLE_PACKETS_MIN if self.carries_bps is None else SAMPLE_PACKETS_MIN_NARROW
        if not least <= packets <= sent:
            return False
        passed = packets / sent
        size_bytes = (last.bytes_through - since.last.bytes_through) * passed
        sample_us = _low32(train.last_us - since.last_us)
        sent_us = last.sent_us - since.last.sent_us
        spread_us = _low32(train.last_us - train.first_us)
        even = train.longest_gap_us * (train.packets - 1) <= GAP_RATIO_MAX * spread_us
        by_path = sample_us >= max(SPREAD_MIN_US, sent_us + SPREAD_MIN_US // 2)
        self._told = _Told(first.number, last, train.last_us, train.packets)
        telling = even and by_path and passed >= IN_ORDER_MIN
        self._learn(size_bytes * 8 * SECOND / max(sample_us, 1), telling=telling)
        return True

    def _learn_from_queue(self, now_us: int, train: Train, last: Place, queue_us: int) -> bool:
        """Whether a queue grows, or may: then what comes is all that the path carries, however few packets a picture has.

        One that does not grow may be a longer way, where only that comes which was sent.
        """
        since, queued = self._queued, _Queued(queue_us, last, train.last_us)
        if since is None:
            self._queued = queued
            return True
        elapsed_us = _low32(train.last_us - since.last_us)
        if elapsed_us < QUEUED_US:
            return True
        self._queued = queued
        if elapsed_us >= BLIND_US or queue_us - since.queue_us <= max(QUEUE_GROWS_US, self._jitter_us):
            return False
        self._sampled_us = now_us
        self._learn((last.bytes_through - since.last.bytes_through) * 8 * SECOND / elapsed_us, telling=True)
        return True

    def _learn(self, bps: float, *, telling: bool) -> None:
        carries_bps, samples = self.carries_bps, self._samples
        if telling:
            samples.append(bps)
        else:
            samples.clear()
        if carries_bps is None or bps < NOISE * carries_bps:
            if len(samples) == AGREEING and max(samples) <= AGREEMENT * min(samples):
                self.carries_bps = sum(samples) / AGREEING
        elif telling or bps > carries_bps:
            carries_bps += GAIN * (min(bps, 2 * carries_bps) - carries_bps)
            self.carries_bps = min(carries_bps, AMPLE * self._max_bps)

    def _look_at_queue(self, now_us: int, elapsed_us: int, queue_us: int, train: int) -> None:
        forgotten = min(1.0, elapsed_us / QUEUE_FORGET_US)
        self._queue_min_us += (QUEUE_MIN_US - self._queue_min_us) * forgotten
        train_before, queue_before_us = self._queue_before
        if train != train_before:
            self._jitter_us += JITTER_GAIN * (abs(queue_us - queue_before_us) - self._jitter_us)
            self._queue_before = (train, queue_us)
        if queue_us <= max(self._queue_min_us, QUEUE_PER_JITTER * self._jitter_us):
            self._queued_train = None
        elif self._queued_train is None:
            self._queued_train = train
        elif train != self._queued_train and now_us - self._cut_us >= CUT_AGAIN_US:
            self._cut(now_us, queue_us)

    def _cut(self, now_us: int, queue_us: int) -> None:
        (since_us, before_bytes), (until_us, through_bytes) = self._arrived[0], self._arrived[-1]
        if until_us - since_us < ARRIVED_MIN_US:
            return
        arrives_bps = (through_bytes - before_bytes) * 8 * SECOND / (until_us - since_us)
        shortest_us, longest_us = TRUST_AGAIN_US
        again = now_us - self._cut_us < longest_us
        self._trust_after_us = min(2 * self._trust_after_us, longest_us) if again else shortest_us
        before_bps = self._limit_bps
        # A stall looks like a queue for a moment; half is enough where it was one.
        self._cut_bps = max(CUT * min(arrives_bps, before_bps), before_bps / 2, CUT_LEAST_BPS)
        if self.carries_bps is None:
            self.carries_bps = self._cut_bps
        self._cut_us = now_us
        self._queued_train = None
        self._queue_min_us = QUEUE_RISE * queue_us

    def _recover(self, now_us: int, elapsed_us: int) -> None:
        if self._cut_bps is None:
            return
        trusted = now_us - self._cut_us >= self._trust_after_us
        if trusted and self.carries_bps is not None and self._cut_bps < USE * self.carries_bps:
            self._cut_bps *= 2 ** (elapsed_us / DOUBLING_US)
        else:
            self._cut_bps *= RISE_PER_S ** (elapsed_us / SECOND)
        if self._cut_bps >= self._max_bps:
            self._cut_bps = None


def _low32(value: int) -> int:
    return value & 0xFFFFFFFF

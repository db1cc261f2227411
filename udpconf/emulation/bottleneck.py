"""The narrowest place of a path: how long a packet takes to leave it, at a constant rate or along a recorded one.

Work is counted in bit-nanoseconds (bits times 10^9), so that what is left of a packet on the wire when the rate changes
is exact.
"""

from bisect import bisect_left
from typing import Protocol

from udpconf.emulation.rate_trace import OPPORTUNITY_BYTES, RateTrace

BYTE_WORK = 8_000_000_000  # one byte, in bit-nanoseconds


class Bottleneck(Protocol):
    """Sends one packet after the other.

    Attributes:
        free_ns: when it has sent all it was given.
        rate_bps: None if it is not constant.
    """

    free_ns: int
    rate_bps: int | None

    def serve(self, now_ns: int, work: int) -> int:
        """Take in a packet of so many bit-nanoseconds; when its last bit has left, in nanoseconds."""
        ...

    def saved_work(self, now_ns: int) -> int:
        """How many bit-nanoseconds would leave at once, because nothing was sent for a while."""
        ...

    def take_over(self, now_ns: int, before: "Bottleneck") -> None:
        """Replace one that has been there until now."""
        ...


class ConstantRate:
    """A token bucket: ``rate_bps``, and after a pause up to ``burst_bytes`` at once."""

    def __init__(self, now_ns: int, rate_bps: int, burst_bytes: int) -> None:
        self.rate_bps: int | None = rate_bps
        self._bps = rate_bps
        self._burst_ns = burst_bytes * BYTE_WORK // rate_bps
        self.free_ns = now_ns - self._burst_ns

    def serve(self, now_ns: int, work: int) -> int:
        self.free_ns = max(now_ns - self._burst_ns, self.free_ns) + work // self._bps
        return max(now_ns, self.free_ns)

    def saved_work(self, now_ns: int) -> int:
        return min(max(0, now_ns - self.free_ns), self._burst_ns) * self._bps

    def take_over(self, now_ns: int, before: Bottleneck) -> None:
        """What was saved up before may still be spent, as far as it fits the bucket."""
        self.free_ns = now_ns - min(before.saved_work(now_ns) // self._bps, self._burst_ns)


class TracedRate:
    """Opportunities to send 1504 bytes, at the times of a trace that begins now."""

    def __init__(self, now_ns: int, trace: RateTrace) -> None:
        self.rate_bps: int | None = None
        self.free_ns = now_ns
        self._start_ns = now_ns
        self._trace = trace
        self._next = 0  # the opportunity in use, counted over all rounds
        self._left_bytes = OPPORTUNITY_BYTES  # of it

    def serve(self, now_ns: int, work: int) -> int:
        if self._time_ns(self._next) < now_ns:  # it passed while nothing waited
            self._next = self._first_from(now_ns)
            self._left_bytes = OPPORTUNITY_BYTES
        left = -(-work // BYTE_WORK)
        while left > self._left_bytes:
            left -= self._left_bytes
            self._next += 1
            self._left_bytes = OPPORTUNITY_BYTES
        self._left_bytes -= left
        self.free_ns = self._time_ns(self._next)
        return self.free_ns

    def saved_work(self, now_ns: int) -> int:
        return 0

    def take_over(self, now_ns: int, before: Bottleneck) -> None:
        """Whatever was before, the trace has its own times."""

    def _time_ns(self, index: int) -> int:
        rounds, place = divmod(index, len(self._trace.opportunities_ms))
        return (
            self._start_ns
            + (rounds * self._trace.period_ms + self._trace.opportunities_ms[place]) * 1_000_000
        )

    def _first_from(self, now_ns: int) -> int:
        now_ms = -(-(now_ns - self._start_ns) // 1_000_000)
        # A round's last opportunity may be at the instant at which the next round begins.
        rounds = max(0, now_ms - 1) // self._trace.period_ms
        times = self._trace.opportunities_ms
        return rounds * len(times) + bisect_left(times, now_ms - rounds * self._trace.period_ms)

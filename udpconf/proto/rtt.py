"""Round-trip time and the peer's clock, from PING and PONG.

The four times of NTP (RFC 5905, section 8): t1 ping sent, t2 ping received, t3 pong sent, t4 pong received, the inner
two on the peer's clock. rtt = (t4 - t1) - (t3 - t2), offset = ((t2 - t1) + (t3 - t4)) / 2. The offset is off by half of
what the two ways differ, so the sample with the smallest round trip, which waited least in any queue, is the one to
believe. Smoothing and timeout are RFC 6298's.
"""

from collections import deque
from typing import NamedTuple

from udpconf.limits import MS, SECOND

# Before any sample (RFC 9002, section 6.2.2).
INITIAL_RTT_US = 333 * MS
# Long enough to meet a quiet moment, short enough that 100 ppm of skew stays below 2 ms.
WINDOW_US = 20 * SECOND
# Two true samples differ by half of their round trips at most, and by what the clocks drift within the window: 500 ppm,
# ten times what a quartz may. Beyond that a clock has stood still, as CLOCK_MONOTONIC does while a machine sleeps.
DRIFT_US = 10 * MS


class _Sample(NamedTuple):
    at_us: int
    rtt_us: int
    offset_us: int


def _rtt_us(sample: _Sample) -> int:
    return sample.rtt_us


class RoundTrip:
    """Smoothed RTT and clock offset of one peer."""

    def __init__(self) -> None:
        self.smoothed_rtt_us = INITIAL_RTT_US
        self.rttvar_us = INITIAL_RTT_US // 2
        self.latest_rtt_us: int | None = None
        self._samples: deque[_Sample] = deque()
        self.offset_us: int | None = None  # peer's clock minus ours

    def guess_offset(self, peer_us: int, now_us: int) -> None:
        """Before the first exchange, a time the peer just sent is the best to be had; it errs by the way here."""
        if self.offset_us is None:
            self.offset_us = peer_us - now_us

    def handle_pong(self, ping_sent_us: int, received_us: int, sent_us: int, now_us: int) -> None:
        """Take one exchange; times that cannot be (a reply before its question) are ignored."""
        rtt_us = (now_us - ping_sent_us) - (sent_us - received_us)
        if rtt_us < 0 or ping_sent_us > now_us or now_us - ping_sent_us > WINDOW_US:
            return
        offset_us = ((received_us - ping_sent_us) + (sent_us - now_us)) // 2
        if self.latest_rtt_us is None:
            self.smoothed_rtt_us, self.rttvar_us = rtt_us, rtt_us // 2
        else:
            self.rttvar_us = (3 * self.rttvar_us + abs(self.smoothed_rtt_us - rtt_us)) // 4
            self.smoothed_rtt_us = (7 * self.smoothed_rtt_us + rtt_us) // 8
        self.latest_rtt_us = rtt_us
        best = min(self._samples, key=_rtt_us, default=None)
        if best is not None and abs(offset_us - best.offset_us) > (rtt_us + best.rtt_us) // 2 + DRIFT_US:
            self._samples.clear()  # what was measured before the sleep is not true any more
        self._samples.append(_Sample(now_us, rtt_us, offset_us))
        while now_us - self._samples[0].at_us > WINDOW_US:
            self._samples.popleft()
        self.offset_us = min(self._samples, key=_rtt_us).offset_us

    @property
    def timeout_us(self) -> int:
        """When an unanswered question may be asked again."""
        return self.smoothed_rtt_us + 4 * self.rttvar_us

    def to_local_us(self, peer_low32: int, now_us: int) -> int:
        """Place the low 32 bits of a peer's time on our clock, as the nearest moment to now (they wrap in 71 minutes)."""
        peer_now_us = now_us + (self.offset_us or 0)
        ahead = (peer_low32 - peer_now_us + 0x80000000) % 0x100000000 - 0x80000000
        return now_us + ahead

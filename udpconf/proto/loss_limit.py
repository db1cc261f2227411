"""Loss that a lower rate takes away is congestion; loss that it does not is the path's own.

Most narrow paths show in a queue first (proto/path_rate.py). One that drops what is too much at once, as a policer does, or
has next to no queue, shows only in loss; and so does a bad radio. The one can be told from the other by sending less:

    much loss ─► a trial at less than came through ─┬─ it went ─────► the limit stays, and rises slowly
                                                    └─ it is there ─► no limit; so much is the path's own from now on
"""

from collections import deque
from typing import NamedTuple

from udpconf.limits import MS, SECOND

WINDOW_US = 1 * SECOND
# Above the path's own: less is met with parity at a smaller price than a trial's.
MUCH = 0.15
# Of what comes through. The first trial goes well below: a policer's bucket may have let more through than its rate.
BELOW_AT_FIRST = 0.75
BELOW = 0.95
# A trial is judged by what was sent after its first part, as soon as so many runs of losses should have been seen if they were
# the path's own: it is then by chance in one of 70 cases that a quarter of them is left.
SETTLE_US = 400 * MS
RUNS = 8
WENT = 0.25  # or less of the loss is left
# A trial begins with what has been seen for so long.
LOOK_US = 400 * MS
# So much more than the path's own is reason for another trial, where one has brought a limit.
TOO_MUCH = 0.05
RISE_PER_S = 1.08
# The path's own loss is believed to be less when less is seen, at this rate.
OWN_FORGET_US = 10 * SECOND
PACKETS_MIN = 20


class _Seen(NamedTuple):
    at_us: int
    bytes_through: int
    received: int
    lost: int
    runs: int


class _Trial(NamedTuple):
    since_us: int
    loss: float  # before
    packets: int  # that it takes to judge


class LossLimit:
    """Watches the server's totals of one session.

    Attributes:
        bps: what may be sent, bit/s; None: loss says nothing about that.
    """

    def __init__(self) -> None:
        self.bps: float | None = None
        self._own = 0.0  # share of packets that are lost whatever the rate
        self._seen: deque[_Seen] = deque()
        self._trial: _Trial | None = None

    def handle_totals(self, now_us: int, bytes_through: int, received: int, lost: int, runs: int) -> None:
        """What the server has seen since the session began: of the bytes sent; packets that came, or did not, in how many runs."""
        seen = self._seen
        elapsed_us = now_us - seen[-1].at_us if seen else 0
        seen.append(_Seen(now_us, bytes_through, received, lost, runs))
        if self._trial is not None:
            self._judge(now_us, self._trial)
            return
        while now_us - seen[0].at_us > WINDOW_US:
            seen.popleft()
        if self.bps is not None:
            self.bps *= RISE_PER_S ** (elapsed_us / SECOND)
        loss = self._loss_since(seen[0])
        if loss is None:
            return
        if loss < self._own:
            self._own += (loss - self._own) * min(1.0, elapsed_us / OWN_FORGET_US)
        much = MUCH if self.bps is None else TOO_MUCH
        if loss > self._own + much and now_us - seen[0].at_us >= LOOK_US:
            self._try(now_us, loss)

    def _judge(self, now_us: int, trial: _Trial) -> None:
        while self._seen[0].at_us < trial.since_us + SETTLE_US:
            if len(self._seen) == 1:
                return
            self._seen.popleft()
        first, newest = self._seen[0], self._seen[-1]
        packets = newest.received + newest.lost - first.received - first.lost
        if packets < trial.packets:
            return
        self._trial = None
        loss = max(0, newest.lost - first.lost) / packets
        left = (loss - self._own) / (trial.loss - self._own)
        if left > WENT:
            # The trial began because the loss was high, so what was seen before it is more than the mean.
            self._own = max(self._own, (loss + trial.loss) / 2)
            self.bps = None
        self._seen = deque([newest])

    def _try(self, now_us: int, loss: float) -> None:
        first, newest = self._seen[0], self._seen[-1]
        through_bps = self._comes_through_bps(loss)
        self.bps = BELOW_AT_FIRST * through_bps if self.bps is None else min(self.bps, BELOW * through_bps)
        run = max(1.0, (newest.lost - first.lost) / max(1, newest.runs - first.runs))
        self._trial = _Trial(now_us, loss, max(PACKETS_MIN, round(RUNS * run / loss)))

    def _loss_since(self, before: _Seen) -> float | None:
        newest = self._seen[-1]
        received, lost = newest.received - before.received, newest.lost - before.lost
        return max(0, lost) / (received + lost) if received + lost >= PACKETS_MIN else None

    def _comes_through_bps(self, loss: float) -> float:
        """Of what was sent in the last moments."""
        newest = self._seen[-1]
        old_enough = (seen for seen in reversed(self._seen) if newest.at_us - seen.at_us >= LOOK_US)
        first = next(old_enough, self._seen[0])
        sent_bps = (newest.bytes_through - first.bytes_through) * 8 * SECOND / (newest.at_us - first.at_us)
        return sent_bps * (1 - loss)

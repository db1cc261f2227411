"""Loss at the ends of pictures is congestion; loss anywhere is the path's own.

Most narrow paths show in a queue first (proto/path_rate.py). One that drops what is too much at once, as a policer does, or
has next to no queue, shows only in loss; and so does a bad radio. But what is too much are the last packets of a picture: the
first ones meet a bucket that has filled since the picture before. A radio loses first and last ones alike. So each time
something is missing between two pictures, that is a vote:

    ... picture n [ last packets missing ] [ first packets missing ] picture n + 1 ...
                     for congestion            against it

(a sign test, which needs no model of the loss; both votes when both are missing).
"""

from collections import deque
from typing import NamedTuple

from udpconf.limits import MS, SECOND

# A radio's loss gives so many votes in a row once in 256 times.
VOTES = 8
# Votes against allowed among as many: where a radio loses now and then as well.
AGAINST_MAX = 1
WINDOW_US = 3 * SECOND
# Of what came through.
BELOW = 0.95
# What is measured over less says more about the pictures than about the path.
LOOK_US = 400 * MS
RISE_PER_S = 1.08


class _Vote(NamedTuple):
    at_us: int
    tail: bool  # the last packets of a picture were missing
    head: bool  # the first ones of the next one


class _Seen(NamedTuple):
    at_us: int
    bytes_through: int
    received: int
    lost: int


class LossLimit:
    """Watches what is missing of one session's packets.

    Attributes:
        bps: what may be sent, bit/s; None: loss says nothing about that.
    """

    def __init__(self) -> None:
        self.bps: float | None = None
        self._votes: deque[_Vote] = deque()
        self._seen: deque[_Seen] = deque()

    def handle_gap(self, now_us: int, *, tail: bool, head: bool) -> None:
        """Something is missing between two pictures: of the earlier one, of the later one, or of both."""
        votes = self._votes
        votes.append(_Vote(now_us, tail, head))
        while now_us - votes[0].at_us > WINDOW_US:
            votes.popleft()
        against = sum(vote.head for vote in votes)
        if sum(vote.tail for vote in votes) < VOTES + VOTES * against or against > AGAINST_MAX:
            return
        through_bps = self._comes_through_bps()
        if through_bps is not None:
            self.bps = BELOW * (through_bps if self.bps is None else min(self.bps, through_bps))
            votes.clear()

    def handle_totals(self, now_us: int, bytes_through: int, received: int, lost: int) -> None:
        """What the server has seen since the session began: of the bytes sent, of packets that came or did not."""
        seen = self._seen
        if self.bps is not None and seen:
            self.bps *= RISE_PER_S ** (min(now_us - seen[-1].at_us, WINDOW_US) / SECOND)
        seen.append(_Seen(now_us, bytes_through, received, lost))
        while len(seen) > 2 and now_us - seen[1].at_us >= LOOK_US:
            seen.popleft()

    def _comes_through_bps(self) -> float | None:
        if len(self._seen) < 2:
            return None
        first, newest = self._seen[0], self._seen[-1]
        received, lost = newest.received - first.received, max(0, newest.lost - first.lost)
        if newest.at_us - first.at_us < LOOK_US or received + lost <= 0:
            return None
        sent_bps = (newest.bytes_through - first.bytes_through) * 8 * SECOND / (newest.at_us - first.at_us)
        return sent_bps * received / (received + lost)

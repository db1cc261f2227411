"""Loss at the ends of pictures is congestion; loss anywhere is the path's own.

Most narrow paths show in a queue first (proto/path_rate.py). One that drops what is too much at once, as a policer does, or
has next to no queue, shows only in loss; and so does a bad radio. But what is too much are the last packets of a picture: the
first ones meet a bucket that has filled since the picture before. A radio loses first and last ones alike. So each time
something is missing between two pictures, that is a vote:

    ... picture n [ last packets missing ] [ first packets missing ] picture n + 1 ...
                     for congestion            against it

    score = max(0, score + 1 if the last ones are missing - 4 if the first ones are)

The score of a radio's votes stays near zero, that of a policer's grows, though the path loses some by itself as well (a
cumulative sum, Page 1954, of a sign test, which needs no model of the loss).
"""

from collections import deque
from typing import NamedTuple

from udpconf.limits import MS, SECOND

# A radio's votes reach it by chance once in 476 (a Markov chain of the scores), a few times an hour at 2 % of loss.
VOTES = 8
# That is enough where there is a limit already, which is met again as it rises, and where a mistake costs little: so much is left of
# what may be sent, and is soon risen again.
LITTLE = 0.8
# Elsewhere so many, which chance reaches once in 92,000 votes; but no more than there are pictures in a second where more than half
# of what may be sent is used. (At 30 pictures a second and 20 % of loss there are eleven votes a second, and 0.95 of what comes
# through is 0.76 of what is sent: with 8 votes, one run of 20 s in twenty lost a quarter of its rate to chance.)
VOTES_DEAR = 16
AGAINST = 4
# Losses so far apart are no congestion, as five pictures a minute are no video.
FORGET_US = 5 * SECOND
# Of what came through.
BELOW = 0.95
# What is measured over less, or over fewer pictures, says more about the pictures than about the path.
LOOK_US = 400 * MS
LOOK_PICTURES = 4
# The limit rises by so much a second; at fewer than 16 pictures a second in the time of 16, as it takes as many to find it again.
RISE = 1.08
RISE_US = SECOND
RISE_PICTURES = 16
# Where more comes through than when the limit was set, and for so many times RISE_US less than half of the votes against it, what
# set it is gone: the limit doubles in half of RISE_US each. A policer that is still there is met before, as a rule.
USED = 1.05
CALM_RISES = 2.0
DOUBLINGS = 2.0
# When it was not gone, twice as long the next time, up to this; after a minute without a limit everything is new.
CALM_RISES_MAX = 16.0
AFRESH_US = 60 * SECOND


class _Seen(NamedTuple):
    at_us: int
    bytes_through: int
    received: int
    lost: int


class LossLimit:
    """Watches what is missing of one session's packets.

    Args:
        max_bps: what is never exceeded anyway.

    Attributes:
        bps: what may be sent, bit/s; None: loss says nothing about that.
    """

    def __init__(self, max_bps: float) -> None:
        self.bps: float | None = None
        self._max_bps = max_bps
        self._score = 0
        self._voted_us = self._suspected_us = self._set_us = 0
        self._set_for_bps = 0.0  # what came through when the limit was set
        self._calm_rises = CALM_RISES
        self._doubled = False  # since it was set
        self._look_us = LOOK_US
        self._pictures_per_s = 0
        self._seen: deque[_Seen] = deque()

    def handle_gap(self, now_us: int, limit_bps: float, *, tail: bool, head: bool) -> None:
        """Something is missing between two pictures: of the earlier one, of the later one, or of both.

        ``limit_bps`` is what may be sent at present, for whatever reason.
        """
        if now_us - self._voted_us > FORGET_US:
            self._score = 0
        self._voted_us = now_us
        self._score = max(0, self._score + tail - AGAINST * head)
        if self._score >= VOTES // 2:
            self._suspected_us = now_us
        sent_bps, through_bps = self._lately()
        if through_bps and self._score >= self._votes_needed(limit_bps, sent_bps, through_bps):
            self._set(now_us, min(limit_bps, through_bps))

    def handle_totals(
        self, now_us: int, bytes_through: int, received: int, lost: int, picture_interval_us: int
    ) -> None:
        """What the server has seen since the session began: of the bytes sent, of packets that came or did not."""
        seen = self._seen
        rise_us = max(RISE_US, RISE_PICTURES * picture_interval_us)
        if seen:
            self._rise(now_us, min(now_us - seen[-1].at_us, rise_us), rise_us)
        seen.append(_Seen(now_us, bytes_through, received, lost))
        self._pictures_per_s = SECOND // max(picture_interval_us, 1)
        self._look_us = max(LOOK_US, LOOK_PICTURES * picture_interval_us)
        while len(seen) > 2 and now_us - seen[1].at_us >= self._look_us:
            seen.popleft()

    def _votes_needed(self, limit_bps: float, sent_bps: float, through_bps: float) -> int:
        if self.bps is not None or BELOW * through_bps > LITTLE * limit_bps:
            return VOTES
        return max(VOTES, min(VOTES_DEAR, self._pictures_per_s)) if sent_bps > limit_bps / 2 else VOTES_DEAR

    def _set(self, now_us: int, through_bps: float) -> None:
        if now_us - self._set_us > AFRESH_US:
            self._calm_rises = CALM_RISES
        elif self._doubled:
            self._calm_rises = min(2 * self._calm_rises, CALM_RISES_MAX)
        self.bps = BELOW * through_bps
        self._set_us, self._set_for_bps, self._doubled = now_us, through_bps, False
        self._score = 0

    def _rise(self, now_us: int, elapsed_us: int, rise_us: int) -> None:
        if self.bps is None:
            return
        exceeded = self._lately()[1] > USED * self._set_for_bps
        if exceeded and now_us - self._suspected_us > self._calm_rises * rise_us:
            self._doubled = True
            bps = self.bps * 2 ** (DOUBLINGS * elapsed_us / rise_us)
        else:
            bps = self.bps * RISE ** (elapsed_us / rise_us)
        self.bps = bps if bps < self._max_bps else None

    def _lately(self) -> tuple[float, float]:
        """What was sent and what of it came through, bit/s; nothing as long as nothing is known."""
        if not self._seen:
            return 0.0, 0.0
        first, newest = self._seen[0], self._seen[-1]
        received, lost = newest.received - first.received, max(0, newest.lost - first.lost)
        elapsed_us = newest.at_us - first.at_us
        if elapsed_us < self._look_us or received + lost <= 0:
            return 0.0, 0.0
        sent_bps = (newest.bytes_through - first.bytes_through) * 8 * SECOND / elapsed_us
        return sent_bps, sent_bps * received / (received + lost)

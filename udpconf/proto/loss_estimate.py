"""What a path loses, from the totals that the other end reports: the share of packets, and in runs of how many."""

from math import sqrt
from typing import NamedTuple

from udpconf.limits import SECOND
from udpconf.proto.stats import RECENT_US, Recent

_NOW_US = SECOND
_NEWS_DEVIATIONS = 3.0  # for parity; sound takes more


class _Losses(NamedTuple):
    packets: float
    share: float
    burst: float


class LossEstimate:
    """Of one direction of one channel.

    Args:
        window_us: how far back what is lost tells of what will be.
        news_deviations: so much further off than chance has it on average, the last second is news.
    """

    def __init__(self, window_us: int = RECENT_US, news_deviations: float = _NEWS_DEVIATIONS) -> None:
        self._news_deviations = news_deviations
        self._told: tuple[int, int, int] | None = None
        self._totals: tuple[int, int, int] | None = None  # without what does not count
        self._queue_stands = self._leaves_out = False
        self._lately, self._now = Recent(window_us), Recent(_NOW_US)

    def handle_report(self, now_us: int, received: int, lost: int, runs: int) -> None:
        """Totals since the session began: packets that came, that did not, and in so many gaps."""
        told = (received, lost, runs)
        if self._told is None or self._totals is None:
            self._totals = told
        elif not self._leaves_out:
            since = zip(told, self._told, self._totals, strict=True)
            received, lost, runs = (before + new - old for new, old, before in since)
            self._totals = (received, lost, runs)
        self._told = told
        self._leaves_out = self._queue_stands
        for window in (self._lately, self._now):
            window.mark(now_us, *self._totals)

    def handle_queue(self, *, stands: bool) -> None:
        """A queue stands on the path, or does not any more: what it has no room for says nothing of what is lost without it.

        The reports from now on do not count, up to the first one after its end, which tells of both.
        """
        self._queue_stands = stands
        self._leaves_out = self._leaves_out or stands

    def share(self, now_us: int) -> float:
        """Of the packets of the window."""
        return self._losses(self._lately, now_us).share

    def expected(self, now_us: int) -> tuple[float, float]:
        """The share of packets that the path loses, and in runs of how many on average; (0, 1) before any report.

        Of the window; or of the last second, if more is lost in it than chance would explain: what has begun a second ago is
        to be met now, but the worst second of it is no news. The losses of n packets of which the share p is lost, in
        runs of b, vary by n p (1 - p) (2 b - 1) or so, and the last second is taken from some times their root on.
        """
        lately, now = self._losses(self._lately, now_us), self._losses(self._now, now_us)
        varies = now.packets * lately.share * (1 - lately.share) * (2 * lately.burst - 1)
        news = now.share * now.packets > lately.share * now.packets + self._news_deviations * sqrt(varies)
        return (now if news else lately)[1:]

    def _losses(self, window: Recent, now_us: int) -> _Losses:
        if self._totals is None:
            return _Losses(0, 0.0, 1.0)
        _, (received, lost, runs) = window.since(now_us, *self._totals)
        if lost <= 0 or received + lost <= 0:  # what was missing has come after all
            return _Losses(max(0, received), 0.0, 1.0)
        share = min(1.0, lost / (received + lost))
        return _Losses(received + lost, share, max(1.0, lost / runs) if runs > 0 else 1.0)

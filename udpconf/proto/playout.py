"""How long after its capture a frame is waited for: the least delay of the path plus a quantile of the rest.

Every frame leaves one sample, the time from its capture to its last datagram, late ones included. The target is a high
quantile of the samples of the last seconds plus a margin. It rises with the first late datagram and falls as the window
moves on, so it is never a ratchet; and it falls at once when the path has calmed, as after a stall of a second: until then
each frame that lost something would hold up those after it for as long.
"""

from bisect import bisect_left, insort
from collections import deque

from udpconf.limits import MS, SECOND

# At 30 frames/s a window of 4 s has 120 samples: the quantile leaves out the worst one.
WINDOW_US = 4 * SECOND
QUANTILE = 0.99
SAMPLES_MAX = 512
# The path has calmed when in so long, and so many frames, none took longer by more than a quarter of what the quantile says. Of
# exponential jitter that is chance once in a hundred thousand seconds at 30 frames/s.
CALM_US = SECOND
CALM_FRAMES = 10
CALM_SHARE = 1 / 4
# What a deadline that is later by less costs is not worth the look.
CALM_MIN_US = 20 * MS
# What our own scheduling adds between a datagram's arrival and its reading (measured on a busy 2-core machine).
MARGIN_US = 5 * MS
# Beyond this the window says that the clocks are wrong, not that the path is slow.
TARGET_MAX_US = 2 * SECOND


class _FrameDelay:
    __slots__ = ("at_us", "delay_us", "frame_id")

    def __init__(self, at_us: int, frame_id: int, delay_us: int) -> None:
        self.at_us = at_us
        self.frame_id = frame_id
        self.delay_us = delay_us


class PlayoutDelay:
    """Watches arrivals, answers with the delay that nearly all datagrams meet."""

    def __init__(self) -> None:
        self._window: deque[_FrameDelay] = deque()
        self._recent: dict[int, _FrameDelay] = {}
        self._delays_us: list[int] = []  # of the window, in order

    def handle_arrival(self, now_us: int, frame_id: int, capture_us: int) -> None:
        """The last datagram of this frame came now; a late one after it may correct that."""
        delay_us = now_us - capture_us
        entry = self._recent.get(frame_id)
        if entry is not None:
            if delay_us > entry.delay_us:
                self._remove(entry.delay_us)
                entry.delay_us = delay_us
                insort(self._delays_us, delay_us)
            return
        while self._window and (
            now_us - self._window[0].at_us > WINDOW_US or len(self._window) == SAMPLES_MAX
        ):
            old = self._window.popleft()
            del self._recent[old.frame_id]
            self._remove(old.delay_us)
        entry = _FrameDelay(now_us, frame_id, delay_us)
        self._window.append(entry)
        self._recent[frame_id] = entry
        insort(self._delays_us, delay_us)

    @property
    def learnt(self) -> bool:
        """There is something to go by."""
        return bool(self._delays_us)

    @property
    def target_us(self) -> int:
        """Capture to deadline, microseconds; 0 before the first frame, and perhaps negative while clocks are learnt."""
        delays = self._delays_us
        if not delays:
            return 0
        slowest_us = delays[int(QUANTILE * len(delays))]
        spread_us = slowest_us - delays[0]
        if spread_us > CALM_MIN_US:
            calm_us = self._slowest_lately_us(delays[0] + CALM_SHARE * spread_us)
            if calm_us is not None:
                slowest_us = calm_us
        return min(slowest_us + MARGIN_US, TARGET_MAX_US)

    @property
    def jitter_us(self) -> int:
        """How much longer the slowest of a hundred frames of the last seconds took than the fastest; 0 before the first."""
        delays = self._delays_us
        return delays[int(QUANTILE * len(delays))] - delays[0] if delays else 0

    @property
    def typical_us(self) -> int:
        """Capture to last datagram of a frame, the median of the last seconds; 0 before the first frame."""
        return self._delays_us[len(self._delays_us) // 2] if self._delays_us else 0

    def _slowest_lately_us(self, limit_us: float) -> int | None:
        """Of the last second's frames, the delay of the slowest; None where one is above the limit, or they are too few."""
        since_us = self._window[-1].at_us - CALM_US
        slowest_us, frames = 0, 0
        for entry in reversed(self._window):
            if entry.at_us < since_us:
                break
            if entry.delay_us > limit_us:
                return None
            slowest_us = max(slowest_us, entry.delay_us)
            frames += 1
        return slowest_us if frames >= CALM_FRAMES else None

    def _remove(self, delay_us: int) -> None:
        del self._delays_us[bisect_left(self._delays_us, delay_us)]

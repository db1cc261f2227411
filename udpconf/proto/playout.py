"""How long after its capture a frame is waited for: the least delay of the path plus a quantile of the rest.

First version: every frame leaves one sample, the time from its capture to its last datagram, late ones included. The
target is a high quantile of the samples of the last seconds plus a margin. It rises with the first late datagram and
falls as the window moves on, so it is never a ratchet.
"""

from collections import deque

from udpconf.limits import MS, SECOND

# At 30 frames/s a window of 4 s has 120 samples: the quantile leaves out the worst one.
WINDOW_US = 4 * SECOND
QUANTILE = 0.99
SAMPLES_MAX = 512
# What our own scheduling adds between a datagram's arrival and its reading (measured on a busy 2-core machine).
MARGIN_US = 3 * MS
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
        self._window: deque[_FrameDelay] = deque(maxlen=SAMPLES_MAX)
        self._recent: dict[int, _FrameDelay] = {}
        self._target_us: int | None = None

    def handle_arrival(self, now_us: int, frame_id: int, capture_us: int) -> None:
        """The last datagram of this frame came now; a late one after it may correct that."""
        delay_us = now_us - capture_us
        entry = self._recent.get(frame_id)
        if entry is not None:
            if delay_us > entry.delay_us:
                entry.delay_us = delay_us
                self._target_us = None
            return
        if len(self._window) == SAMPLES_MAX:
            del self._recent[self._window[0].frame_id]
        while self._window and now_us - self._window[0].at_us > WINDOW_US:
            del self._recent[self._window.popleft().frame_id]
        entry = _FrameDelay(now_us, frame_id, delay_us)
        self._window.append(entry)
        self._recent[frame_id] = entry
        self._target_us = None

    @property
    def learnt(self) -> bool:
        """There is something to go by."""
        return bool(self._window)

    @property
    def target_us(self) -> int:
        """Capture to deadline, microseconds; 0 before the first frame, and perhaps negative while clocks are learnt."""
        if self._target_us is None:
            if not self._window:
                return 0
            delays = sorted(entry.delay_us for entry in self._window)
            target_us = delays[min(len(delays) - 1, int(QUANTILE * len(delays)))] + MARGIN_US
            self._target_us = min(target_us, TARGET_MAX_US)
        return self._target_us

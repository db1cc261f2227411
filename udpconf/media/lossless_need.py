"""Says once that lossless pictures need more than their ceiling: all that would show of it is a frame or two a second."""

import logging
import math

from udpconf.limits import SECOND

log = logging.getLogger(__name__)

# One large picture, as when a window opens on a screen, delays the next ones for less long; whoever waits for the
# stream to move has not yet looked for the reason. Chosen, not measured.
_WINDOW_US = 2 * SECOND
# On what the pictures need, for sound, parity and larger pictures: what is named should do (the test pattern at 640x360
# takes 55.4 Mbit/s with its sound, and has all its frames at 64).
_MARGIN = 1.15


class LosslessNeed:
    """Told of every picture that is offered, and of the size of every one that is packed."""

    def __init__(self) -> None:
        self._said = False
        self._since_us: int | None = None
        self._skipped_before = 0
        self._offered = self._packed = self._packed_bytes = 0

    def offered(self, capture_us: int, skipped: int, fps: float, ceiling_bytes_per_second: float) -> None:
        """Warn if in the last two seconds the ceiling left out more than a quarter of the pictures, and they need more than it.

        Args:
            capture_us: of the picture that is offered.
            skipped: how many the ceiling has left out until now.
            fps: pictures offered a second.
            ceiling_bytes_per_second: for pictures, headers included.
        """
        if self._said:
            return
        if self._since_us is None or capture_us < self._since_us:  # or somebody set the clock back
            self._begin(capture_us, skipped)
        elif capture_us - self._since_us >= _WINDOW_US and self._packed:
            # Not the last one's size: it may be the one large picture that the others waited for.
            frame_bytes = self._packed_bytes / self._packed
            left_out = skipped - self._skipped_before
            if frame_bytes * fps > ceiling_bytes_per_second and 4 * left_out > self._offered:
                self._say(frame_bytes, fps, ceiling_bytes_per_second, left_out)
            self._begin(capture_us, skipped)
        self._offered += 1

    def packed(self, frame_bytes: int) -> None:
        """The picture that was offered took so much, headers included."""
        self._packed += 1
        self._packed_bytes += frame_bytes

    def _begin(self, capture_us: int, skipped: int) -> None:
        self._since_us, self._skipped_before = capture_us, skipped
        self._offered = self._packed = self._packed_bytes = 0

    def _say(self, frame_bytes: float, fps: float, ceiling_bytes_per_second: float, left_out: int) -> None:
        self._said = True
        need_mbps = frame_bytes * fps * 8 / 1_000_000
        log.warning(
            "Lossless pictures of %.0f kB at %.3g frames/s take %.3g Mbit/s, and the ceiling leaves them %.2g: %d of %d were left "
            "out. Where the network carries it, raise the ceiling (--max-bitrate-kbps %d); else choose a smaller width, "
            "fewer frames, or the codec jpeg.",
            frame_bytes / 1000,
            fps,
            need_mbps,
            ceiling_bytes_per_second * 8 / 1_000_000,
            left_out,
            self._offered,
            1000 * math.ceil(need_mbps * _MARGIN),
        )

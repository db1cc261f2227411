"""What of a microphone's silence need not be sent (discontinuous transmission, RFC 7587, section 3.1.3).

A frame is silent if it is hardly louder than the quietest that was heard lately. After 400 ms of such frames nothing is sent
but a mark now and then, and what is louder is sent at once: speech does not wait for anybody to make sure of it.
"""

import math

import numpy as np
from numpy.typing import NDArray

from udpconf.frames import silence_mark
from udpconf.limits import MS, SECOND

Pcm = NDArray[np.int16]

FULL_SCALE = 32_768.0
# Below this nothing is heard in a room with people in it; above the other, noise belongs to what is to be heard. Quiet speech
# before a microphone has -45 dBFS in its vowels. Chosen, not measured.
ALWAYS_SILENT_DB = -60.0
NEVER_SILENT_DB = -45.0
# The noise of a room (a fan, a street) varies by some 3 dB from one 10 ms to the next, and its floor is the least of them.
ABOVE_FLOOR_DB = 6.0
# The floor falls at once and rises so fast: in a sentence without a pause by less than ABOVE_FLOOR_DB.
FLOOR_RISES_DB_PER_S = 2.0
FLOOR_LEAST_DB = -90.0
# Nobody pauses that long within a word, and its weak end has died away.
HANGOVER_US = 400 * MS
# The first ones follow each other at once: that all are lost is rare, and then the receiver takes the silence for loss.
MARKS_AT_FIRST = 3
# Tells who has lost the first ones, and that the sender is still there. A mark is 36 to 48 bytes of UDP payload: 1 kbit/s.
MARK_INTERVAL_US = 400 * MS


class SilenceGate:
    """One stream's, frame by frame.

    Args:
        frame_us: how long each is.

    Attributes:
        silent_us: of silence that was left out, all in all.
    """

    def __init__(self, frame_us: int) -> None:
        self.silent_us = 0
        self._frame_us = frame_us
        self._rise_db = FLOOR_RISES_DB_PER_S * frame_us / SECOND
        self._floor_db: float | None = None
        self._quiet_us = 0  # since there was something to hear
        self._marks = 0  # in this pause
        self._marked_us = 0  # since the last of them

    def sent(self, pcm: Pcm, data: bytes) -> bytes | None:
        """What to send for a frame, int16[n, channels] and the same as Opus: all of it, a mark, or None: nothing."""
        if not self._is_silent(pcm):
            self._quiet_us = 0
            return data
        self._quiet_us += self._frame_us
        if self._quiet_us <= HANGOVER_US:
            self._marks = 0
            return data
        self.silent_us += self._frame_us
        self._marked_us += self._frame_us
        if self._marks >= MARKS_AT_FIRST and self._marked_us < MARK_INTERVAL_US:
            return None
        self._marks += 1
        self._marked_us = 0
        return silence_mark(data)

    def _is_silent(self, pcm: Pcm) -> bool:
        level_db = _level_db(pcm)
        floor_db = level_db if self._floor_db is None else min(level_db, self._floor_db + self._rise_db)
        self._floor_db = max(floor_db, FLOOR_LEAST_DB)
        return level_db < max(ALWAYS_SILENT_DB, min(self._floor_db + ABOVE_FLOOR_DB, NEVER_SILENT_DB))


def _level_db(pcm: Pcm) -> float:
    """Of the louder channel, without what a cheap sound card adds to all samples (a constant)."""
    deviation = float(pcm.std(axis=0).max())
    return 20 * math.log10(max(deviation, 1e-3) / FULL_SCALE)

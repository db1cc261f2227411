"""Sound in one piece that grows at its end: what is to be played next, and some of what was played before it."""

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

# 100 ms at 48 kHz: ten times a second everything that is still of use moves to the beginning of new memory.
ROOM = 4_800


class Tape:
    """What was taken from it shares memory with it, which the tape does not write to again.

    Args:
        kept: so many samples stay at hand that have been taken; at first they are silence.
        channels: 1 or 2.

    Attributes:
        waiting: so many samples have come and were not taken yet.
    """

    def __init__(self, kept: int, channels: int) -> None:
        self.waiting = 0
        self._kept = self._next = kept
        self._pcm: Pcm = np.zeros((kept + ROOM, channels), np.int16)
        self._address: int = self._pcm.ctypes.data

    @property
    def at_hand(self) -> Pcm:
        """int16[kept + waiting, channels]: what was taken last, and what waits."""
        return self._pcm[self._next - self._kept : self._next + self.waiting]

    def append(self, pcm: Pcm) -> None:
        """int16[n, channels] more, which waits."""
        end = self._end_before(len(pcm))
        self._pcm[end : end + len(pcm)] = pcm
        self.waiting += len(pcm)

    def replace(self, pcm: Pcm) -> None:
        """int16[n, channels] in place of all that waits."""
        self.waiting = 0
        self.append(pcm)

    def take(self, samples: int) -> Pcm:
        """The next of those that wait, int16[samples, channels]."""
        first = self._next
        self._next = first + samples
        self.waiting -= samples
        return self._pcm[first : self._next]

    def address_for(self, samples: int) -> int:
        """The memory where somebody else may put so many samples: say so by ``wrote``, if it was done."""
        end = self._end_before(samples)  # the tape may move
        return self._address + end * self._pcm.strides[0]

    def wrote(self, samples: int) -> None:
        """So many wait more."""
        self.waiting += samples

    def _end_before(self, samples: int) -> int:
        """Where the next ones go, with room for so many."""
        end = self._next + self.waiting
        if end + samples > len(self._pcm):
            used = self.at_hand
            self._pcm = np.empty((len(used) + ROOM + samples, used.shape[1]), np.int16)
            self._pcm[: len(used)] = used
            self._address = self._pcm.ctypes.data
            self._next, end = self._kept, len(used)
        return end

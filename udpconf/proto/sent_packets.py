"""What left when: where a packet of a session stands among all that were sent, and of which picture it is.

A picture leaves in one burst or in several (proto/pacer.py), answers to repairs between them; its packets are those from the first
to the last of it that did not answer any.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from udpconf.limits import SECOND

# Nothing is told of a packet that left longer ago: no round trip and no queue is so long (path_rate.QUEUE_IMPOSSIBLE_US).
REMEMBERED_US = 10 * SECOND
# How often pictures leave is the mean of so many.
INTERVALS = 16


class Place(NamedTuple):
    """A packet's."""

    number: int
    sent_us: int
    bytes_through: int  # of all that was sent, this packet included


@dataclass(slots=True)
class Picture:
    """The packets that left with it."""

    frame_id: int
    first_number: int
    last_number: int
    sent_us: int  # the first

    @property
    def packets(self) -> int:
        """Those that repaired another picture meanwhile included."""
        return self.last_number + 1 - self.first_number


class _Burst(NamedTuple):
    first_number: int
    packets: int
    sent_us: int
    ends: tuple[int, ...]  # the bytes through each, of all that was sent


class SentPackets:
    """Of one session's main channel: pictures and what repairs them.

    Attributes:
        total_bytes: of all, IP headers included.
    """

    def __init__(self) -> None:
        self.total_bytes = 0
        self._bursts: deque[_Burst] = deque()
        self._pictures: deque[Picture] = deque()

    def handle_sent(
        self,
        now_us: int,
        first_number: int,
        frame_ids: Sequence[int | None],
        size_bytes: int | Sequence[int],
    ) -> None:
        """Packets left at once, each with a picture or, None, in answer to a request; the size of each, or of all if alike."""
        bursts, pictures = self._bursts, self._pictures
        packets, before = len(frame_ids), self.total_bytes
        if isinstance(size_bytes, int):
            ends = tuple(before + size_bytes * (nth + 1) // packets for nth in range(packets))
        else:
            ends = tuple(accumulate(size_bytes, initial=before))[1:]
        bursts.append(_Burst(first_number, packets, now_us, ends))
        self.total_bytes = ends[-1]
        for number, frame_id in enumerate(frame_ids, first_number):
            if frame_id is None:
                continue
            if not pictures or pictures[-1].frame_id != frame_id:
                pictures.append(Picture(frame_id, number, number, now_us))
            pictures[-1].last_number = number
        while bursts[0].sent_us < now_us - REMEMBERED_US:
            bursts.popleft()
        while pictures and pictures[0].sent_us < now_us - REMEMBERED_US:
            pictures.popleft()

    def place(self, number_low32: int) -> Place | None:
        """None: it was sent for something else, or is not remembered."""
        number = self._number(number_low32)
        for burst in reversed(self._bursts):
            nth = number - burst.first_number
            if nth >= 0:
                if nth >= burst.packets:
                    return None
                return Place(number, burst.sent_us, burst.ends[nth])
        return None

    def bytes_through(self, number_low32: int) -> int:
        """Of all that was sent up to this packet, whatever it was sent for; 0: that is not remembered."""
        number = self._number(number_low32)
        for burst in reversed(self._bursts):
            nth = number - burst.first_number
            if nth >= 0:
                return burst.ends[min(nth, len(burst.ends) - 1)]
        return 0

    def picture(self, number_low32: int) -> Picture | None:
        """With which a packet left; one that left between two of a picture's counts as the picture's."""
        number = self._number(number_low32)
        for picture in reversed(self._pictures):
            if number >= picture.first_number:
                return picture if number <= picture.last_number else None
        return None

    @property
    def picture_interval_us(self) -> int:
        """Between two pictures lately; 0 before there were two."""
        pictures = self._pictures
        intervals = min(len(pictures) - 1, INTERVALS)
        if intervals < 1:
            return 0
        return (pictures[-1].sent_us - pictures[-1 - intervals].sent_us) // intervals

    def _number(self, low32: int) -> int:
        if not self._bursts:
            return -1
        newest = self._bursts[-1].first_number + self._bursts[-1].packets - 1
        return newest + (low32 - newest + 0x80000000 & 0xFFFFFFFF) - 0x80000000

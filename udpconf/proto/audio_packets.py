"""Sound on the wire: each packet carries the newest Opus frame and a copy of the one before (RFC 2198's idea).

The first version repeats one frame; how many and how far apart follows the measured loss later. A copy costs 41 bytes
at 32 kbit/s and mends every single loss without a word to the sender.
"""

from collections import deque
from typing import NamedTuple

from udpconf.limits import AUDIO_BUFFER_US
from udpconf.proto.stats import AudioCounters
from udpconf.wire.frames import OPUS_FRAME_US, AudioBlock, AudioPacket

COPIES = 1
# Sequence numbers are remembered as far back as the jitter buffer may reach, copies included.
REMEMBERED = 2 * AUDIO_BUFFER_US // OPUS_FRAME_US


class AudioPacketizer:
    """Numbers the frames and adds the copies."""

    def __init__(self) -> None:
        self._next_number = 0
        self._earlier: deque[tuple[int, bytes]] = deque(maxlen=COPIES)

    def packetize(self, data: bytes, capture_us: int) -> AudioPacket:
        # After a pause the frame before is not 10 ms older: it would be played at the wrong moment.
        if self._earlier and abs(capture_us - self._earlier[-1][0] - OPUS_FRAME_US) > OPUS_FRAME_US // 2:
            self._earlier.clear()
        copies = tuple(AudioBlock(1 + i, earlier) for i, (_, earlier) in enumerate(reversed(self._earlier)))
        packet = AudioPacket(self._next_number, capture_us, (AudioBlock(0, data), *copies))
        self._next_number += 1
        self._earlier.append((capture_us, data))
        return packet


class NewAudio(NamedTuple):
    sequence_number: int
    capture_us: int
    data: bytes
    copy: bool


class AudioDepacketizer:
    """Unwraps the numbers and tells each frame once, whichever packet brought it first."""

    def __init__(self) -> None:
        self.counters = AudioCounters()
        self._newest: int | None = None
        self._told: set[int] = set()

    def handle_packet(self, packet: AudioPacket, capture_us: int) -> list[NewAudio]:
        """Return the frames that are new; ``capture_us`` is the newest frame's, on our clock."""
        number = packet.sequence_number
        if self._newest is not None:
            # The nearest number with these 16 bits: they wrap every 11 minutes.
            number = self._newest + ((number - self._newest + 0x8000) & 0xFFFF) - 0x8000
        if self._newest is None or number > self._newest:
            self._newest = number
            if len(self._told) > 2 * REMEMBERED:
                self._told = {told for told in self._told if told > number - REMEMBERED}
        fresh: list[NewAudio] = []
        counters = self.counters
        for block in packet.blocks:
            counters.frames_received += 1
            own = number - block.distance
            if own <= self._newest - REMEMBERED:
                counters.frames_refused += 1
            elif own in self._told:
                counters.frames_duplicate += 1
            else:
                self._told.add(own)
                counters.frames_used += 1
                copy = block.distance > 0
                counters.frames_from_copies += copy
                fresh.append(
                    NewAudio(own, capture_us - block.distance * OPUS_FRAME_US, block.data, copy),
                )
        fresh.reverse()
        return fresh

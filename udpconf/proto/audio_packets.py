"""Sound on the wire: each packet carries the newest Opus frame and copies of earlier ones (RFC 2198's idea).

A copy mends a loss without a word to the sender; how many there are and of which frames: proto/sound_redundancy.py.
"""

from collections import deque
from typing import NamedTuple

from udpconf.frames import OPUS_FRAME_US, OPUS_FRAMES_US, opus_duration_us
from udpconf.limits import AUDIO_BUFFER_US
from udpconf.proto.loss_runs import LossRuns
from udpconf.proto.sound_redundancy import WAIT_MAX_US, Redundancy
from udpconf.proto.stats import AudioCounters
from udpconf.wire.frames import AudioBlock, AudioPacket

# No copy is of a frame that is older by more, however short frames are.
DISTANCE_MAX = WAIT_MAX_US // min(OPUS_FRAMES_US)
# Sequence numbers are remembered as far back as the jitter buffer may reach, copies included.
REMEMBERED = 2 * AUDIO_BUFFER_US // min(OPUS_FRAMES_US)


class AudioPacketizer:
    """Numbers the frames, each of ``frame_us``, and adds the copies."""

    def __init__(self, frame_us: int = OPUS_FRAME_US) -> None:
        self._frame_us = frame_us
        self._next_number = 0
        self._captured_us = 0
        self._earlier: deque[bytes] = deque(maxlen=DISTANCE_MAX)  # the newest first

    def packetize(self, data: bytes, capture_us: int, redundancy: Redundancy) -> AudioPacket:
        # After a pause the frame before is not one frame older: it would be played at the wrong moment.
        if abs(capture_us - self._captured_us - self._frame_us) > self._frame_us // 2:
            self._earlier.clear()
        copies = tuple(
            AudioBlock(distance, self._earlier[distance - 1])
            for distance in redundancy.distances
            if distance <= len(self._earlier)
        )
        packet = AudioPacket(self._next_number, capture_us, (AudioBlock(0, data), *copies))
        self._next_number += 1
        self._captured_us = capture_us
        self._earlier.appendleft(data)
        return packet


class NewAudio(NamedTuple):
    sequence_number: int
    capture_us: int
    data: bytes
    copy: bool


class AudioDepacketizer:
    """Unwraps the numbers and tells each frame once, whichever packet brought it first.

    Attributes:
        losses: of packets.
    """

    def __init__(self) -> None:
        self.losses = LossRuns()
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
        self.losses.handle_packet(number)
        frame_us = opus_duration_us(packet.blocks[0].data)
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
                    NewAudio(own, capture_us - block.distance * frame_us, block.data, copy),
                )
        fresh.reverse()
        return fresh

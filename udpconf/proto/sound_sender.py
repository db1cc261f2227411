"""A client's sound on its way out: what each packet repeats, and how many bits a frame may have."""

from udpconf.frames import OPUS_FRAME_US
from udpconf.limits import SECOND
from udpconf.proto.audio_packets import AudioPacketizer
from udpconf.proto.loss_estimate import LossEstimate
from udpconf.proto.sound_redundancy import Redundancy, sound_redundancy
from udpconf.wire.envelope import OVERHEAD_BYTES
from udpconf.wire.frames import (
    AUDIO_BLOCK_BYTES,
    AUDIO_COPIES_MAX,
    AUDIO_HEADER_BYTES,
    Feedback,
    encode_audio,
)

# All of the UDP payload: as much as a telephone call of the last century took, for Opus and its repetitions.
SOUND_MAX_BPS = 120_000
# Of each channel, where there is room beside copies. Speech in frames of 10 ms: PESQ 4.08 with 64 kbit/s, 2.76 with 32.
BITRATE_BPS = 64_000
# Where the path is what limits so much, as pictures need it more; and until so many packets have shown whether it is, as more
# sound would stand in the queue with the first pictures. Under a low ceiling it has that too, or a tenth of it all.
BITRATE_NARROW_BPS = 32_000
WIDE_AFTER_PACKETS = 500
CEILING_SHARE = 0.1
# Below this, speech gets hard to listen to; then there are fewer copies, not fewer bits. In frames of 5 ms there is room for one.
BITRATE_MIN_BPS = 20_000
# A listener hears each change of plan, as the delay follows; runs of five come so seldom that 5 s of them vary by half.
LOSS_WINDOW_US = 20 * SECOND
# So much more lost in the last second than before is news. With 3, where 5 % are lost at random, chance alone brings another copy three
# times in four minutes, for a fifth of a second each, in which Opus has 29 kbit/s instead of 45; with 4 once in ten minutes. Where
# 2 % become 10, two frames more are lost meanwhile.
NEWS_DEVIATIONS = 4.0
# Until it is known what comes, at least this: nearly as good as knowing, on most paths. A loss of 1 % shows in 300 packets.
AT_FIRST = Redundancy((1,))
KNOWN_PACKETS = 300


class SoundSender:
    """Of one session.

    Args:
        channels: 1 or 2.
        frame_us: how long a frame is.
        alone: no pictures are sent beside it.
    """

    def __init__(self, channels: int = 1, frame_us: int = OPUS_FRAME_US, *, alone: bool = False) -> None:
        self._frame_us = frame_us
        # What a packet has for its blocks.
        self._room_bytes = SOUND_MAX_BPS / 8 * frame_us / SECOND - OVERHEAD_BYTES - AUDIO_HEADER_BYTES
        least_bytes = AUDIO_BLOCK_BYTES + BITRATE_MIN_BPS / 8 * frame_us / SECOND
        self._copies_max = min(AUDIO_COPIES_MAX, int(self._room_bytes / least_bytes) - 1)
        self._channels = channels
        self._packetizer = AudioPacketizer(frame_us)
        self._loss = LossEstimate(LOSS_WINDOW_US, NEWS_DEVIATIONS)
        self._redundancy = AT_FIRST
        self._sent_us = 0  # of sound
        self._wide_after = 0 if alone else WIDE_AFTER_PACKETS
        self._told = 0  # packets of which the server has said what became of them

    def handle_feedback(self, feedback: Feedback) -> None:
        """The server says what came of the sound."""
        if feedback.sound_received:
            # A pause tells nothing of the path: what was known before it holds after it, so its time does not count.
            self._loss.handle_report(
                self._sent_us, feedback.sound_received, feedback.sound_lost, feedback.sound_loss_runs
            )
            plan = sound_redundancy(*self._loss.expected(self._sent_us), self._frame_us, self._copies_max)
            self._told = feedback.sound_received + feedback.sound_lost
            unknown = self._told < KNOWN_PACKETS
            self._redundancy = AT_FIRST if unknown and not plan.copies else plan

    def packetize(self, data: bytes, capture_us: int) -> bytes:
        """The plaintext for a frame of Opus."""
        self._sent_us += self._frame_us
        return encode_audio(self._packetizer.packetize(data, capture_us, self._redundancy))

    def packet_bytes(self, frame_bytes: float) -> float:
        """How large datagrams are at present whose Opus frames have so many bytes each; without IP and UDP."""
        blocks = 1 + self._redundancy.copies
        return OVERHEAD_BYTES + AUDIO_HEADER_BYTES + blocks * (AUDIO_BLOCK_BYTES + frame_bytes)

    def bitrate_bps(self, open_ceiling_bps: float) -> int:
        """What the encoder should make from now on, so that all of it fits; any thread may ask.

        Args:
            open_ceiling_bps: the user's ceiling, bit/s; 0 where the path carries less.
        """
        blocks = 1 + self._redundancy.copies
        frame_bytes = self._room_bytes / blocks - AUDIO_BLOCK_BYTES
        bps = int(frame_bytes * 8 * SECOND / self._frame_us)
        narrow_bps = self._channels * BITRATE_NARROW_BPS
        if self._told >= self._wide_after:
            narrow_bps = max(narrow_bps, int(CEILING_SHARE * open_ceiling_bps))
        return max(BITRATE_MIN_BPS, min(bps, self._channels * BITRATE_BPS, narrow_bps))

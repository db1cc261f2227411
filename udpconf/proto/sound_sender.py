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
# Of each channel: more is not heard in speech (RFC 7587, section 3.1.1 has 28 to 40 for its full band).
BITRATE_BPS = 32_000
# Below this, speech gets hard to listen to; then there are fewer copies, not fewer bits. In frames of 5 ms there is room for one.
BITRATE_MIN_BPS = 20_000
# A listener hears each change of plan, as the delay follows; runs of five come so seldom that 5 s of them vary by half.
LOSS_WINDOW_US = 20 * SECOND
# Until it is known what comes, at least this: nearly as good as knowing, on most paths. A loss of 1 % shows in 300 packets.
AT_FIRST = Redundancy(1, 1)
KNOWN_PACKETS = 300


class SoundSender:
    """Of one session.

    Args:
        channels: 1 or 2.
        frame_us: how long a frame is.
    """

    def __init__(self, channels: int = 1, frame_us: int = OPUS_FRAME_US) -> None:
        self._frame_us = frame_us
        # What a packet has for its blocks.
        self._room_bytes = SOUND_MAX_BPS / 8 * frame_us / SECOND - OVERHEAD_BYTES - AUDIO_HEADER_BYTES
        least_bytes = AUDIO_BLOCK_BYTES + BITRATE_MIN_BPS / 8 * frame_us / SECOND
        self._copies_max = min(AUDIO_COPIES_MAX, int(self._room_bytes / least_bytes) - 1)
        self._bitrate_max_bps = channels * BITRATE_BPS
        self._packetizer = AudioPacketizer(frame_us)
        self._loss = LossEstimate(LOSS_WINDOW_US)
        self._redundancy = AT_FIRST
        self._sent_us = 0  # of sound

    def handle_feedback(self, feedback: Feedback) -> None:
        """The server says what came of the sound."""
        if feedback.sound_received:
            # A pause tells nothing of the path: what was known before it holds after it, so its time does not count.
            self._loss.handle_report(
                self._sent_us, feedback.sound_received, feedback.sound_lost, feedback.sound_loss_runs
            )
            plan = sound_redundancy(*self._loss.expected(self._sent_us), self._frame_us, self._copies_max)
            unknown = feedback.sound_received + feedback.sound_lost < KNOWN_PACKETS
            self._redundancy = AT_FIRST if unknown and not plan.copies else plan

    def packetize(self, data: bytes, capture_us: int) -> bytes:
        """The plaintext for a frame of Opus."""
        self._sent_us += self._frame_us
        return encode_audio(self._packetizer.packetize(data, capture_us, self._redundancy))

    def packet_bytes(self, frame_bytes: float) -> float:
        """How large datagrams are at present whose Opus frames have so many bytes each; without IP and UDP."""
        blocks = 1 + self._redundancy.copies
        return OVERHEAD_BYTES + AUDIO_HEADER_BYTES + blocks * (AUDIO_BLOCK_BYTES + frame_bytes)

    @property
    def bitrate_bps(self) -> int:
        """What the encoder should make from now on, so that all of it fits; any thread may read it."""
        blocks = 1 + self._redundancy.copies
        frame_bytes = self._room_bytes / blocks - AUDIO_BLOCK_BYTES
        bps = int(frame_bytes * 8 * SECOND / self._frame_us)
        return max(BITRATE_MIN_BPS, min(bps, self._bitrate_max_bps))

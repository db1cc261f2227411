"""What a packet of sound repeats once the server has said what it loses, and what that leaves for Opus."""

import pytest

from udpconf.frames import OPUS_FRAME_US
from udpconf.limits import MS, SECOND
from udpconf.proto.sound_sender import SOUND_MAX_BPS, SoundSender
from udpconf.wire.envelope import OVERHEAD_BYTES
from udpconf.wire.frames import Feedback


def told(loss: float, burst: float, channels: int = 1, frame_us: int = OPUS_FRAME_US) -> SoundSender:
    """After 30 s of sound."""
    sender = SoundSender(channels, frame_us)
    for second in range(31):
        lost = int(100 * second * loss)
        feedback = Feedback(0, 0, 0, 0, 0, 0, 0, 0, 0, 100 * second - lost, lost, int(lost / burst))
        sender.handle_feedback(feedback)
    return sender


def sizes(sender: SoundSender, frame_us: int = OPUS_FRAME_US) -> list[int]:
    frame = bytes(sender.bitrate_bps * frame_us // (8 * SECOND))
    return [len(sender.packetize(frame, number * frame_us)) + OVERHEAD_BYTES for number in range(20)]


@pytest.mark.parametrize("frame_us", [5 * MS, 10 * MS, 20 * MS])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("loss", "burst"), [(0.0, 1.0), (0.02, 1.0), (0.1, 1.1), (0.2, 1.25), (0.1, 5.0)])
def test_all_of_it_stays_within_its_bytes_and_is_as_large_as_it_says(
    loss: float, burst: float, channels: int, frame_us: int
) -> None:
    sender = told(loss, burst, channels, frame_us)
    largest = max(sizes(sender, frame_us))
    assert largest * 8 * SECOND / frame_us <= SOUND_MAX_BPS
    frame_bytes = sender.bitrate_bps * frame_us // (8 * SECOND)
    assert sender.packet_bytes(frame_bytes) == largest


def test_before_the_server_has_said_anything_one_frame_is_repeated() -> None:
    first, second, *_ = sizes(SoundSender())
    assert second > 1.5 * first - OVERHEAD_BYTES


def test_the_more_copies_the_fewer_bits_has_each() -> None:
    assert told(0.0, 1.0).bitrate_bps == 32_000
    assert told(0.2, 1.25).bitrate_bps < 24_000


def test_stereo_has_twice_the_bits_where_there_is_room() -> None:
    assert told(0.0, 1.0, channels=2).bitrate_bps == 64_000
    assert told(0.2, 1.25, channels=2).bitrate_bps == told(0.2, 1.25).bitrate_bps

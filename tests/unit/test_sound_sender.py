"""What a packet of sound repeats once the server has said what it loses, and what that leaves for Opus."""

import pytest

from udpconf.frames import OPUS_FRAME_US
from udpconf.limits import MS, SECOND
from udpconf.proto.sound_sender import SOUND_MAX_BPS, SoundSender
from udpconf.wire.envelope import OVERHEAD_BYTES
from udpconf.wire.frames import Feedback

WIDE_BPS = 4_000_000


def told(loss: float, burst: float, channels: int = 1, frame_us: int = OPUS_FRAME_US) -> SoundSender:
    """After 30 s of sound."""
    sender = SoundSender(channels, frame_us)
    for second in range(31):
        for _ in range(100 if second else 0):
            sender.packetize(b"opus", 0)
        lost = int(100 * second * loss)
        feedback = Feedback(0, 0, 0, 0, 0, 0, 0, 0, 0, 100 * second - lost, lost, int(lost / burst))
        sender.handle_feedback(feedback)
    return sender


def sizes(sender: SoundSender, frame_us: int = OPUS_FRAME_US) -> list[int]:
    frame = bytes(sender.bitrate_bps(WIDE_BPS) * frame_us // (8 * SECOND))
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
    frame_bytes = sender.bitrate_bps(WIDE_BPS) * frame_us // (8 * SECOND)
    assert sender.packet_bytes(frame_bytes) == largest


def test_before_the_server_has_said_anything_one_frame_is_repeated() -> None:
    first, second, *_ = sizes(SoundSender())
    assert second > 1.5 * first - OVERHEAD_BYTES


def test_what_was_known_of_the_path_before_a_pause_holds_after_it() -> None:
    sender = SoundSender()
    received = lost = 0
    for number in range(2000):
        lost += number % 20 == 0
        received += number % 20 != 0
        sender.packetize(b"opus", number * OPUS_FRAME_US)
        if number % 20 == 19:
            sender.handle_feedback(Feedback(0, 0, 0, 0, 0, 0, 0, 0, 0, received, lost, lost))
    before = sender.packet_bytes(40)
    assert before > SoundSender().packet_bytes(0), "there are copies"
    # A minute of marks, of which by chance none is lost; the server goes on to say what has come.
    for number in range(150):
        received += 1
        sender.packetize(b"\xf0", (2000 + 40 * number) * OPUS_FRAME_US)
        for _ in range(2):
            sender.handle_feedback(Feedback(0, 0, 0, 0, 0, 0, 0, 0, 0, received, lost, lost))
    assert sender.packet_bytes(40) == before


@pytest.mark.parametrize(("lost_at_last", "is_news"), [(12, False), (20, True)])
def test_a_second_in_which_chance_may_lose_so_many_changes_nothing(lost_at_last: int, is_news: bool) -> None:
    """Of a hundred packets five are lost every second, then once so many: 3.2 and 6.9 deviations more."""
    sender = told(0.05, 1.0)
    before = sender.bitrate_bps(WIDE_BPS)
    for _ in range(100):
        sender.packetize(b"opus", 0)
    lost = 150 + lost_at_last
    sender.handle_feedback(Feedback(0, 0, 0, 0, 0, 0, 0, 0, 0, 3100 - lost, lost, lost))
    assert (sender.bitrate_bps(WIDE_BPS) < before) == is_news


def test_the_more_copies_the_fewer_bits_has_each() -> None:
    assert told(0.0, 1.0).bitrate_bps(WIDE_BPS) == 64_000
    assert told(0.2, 1.25).bitrate_bps(WIDE_BPS) < 24_000


def test_stereo_has_twice_the_bits_where_there_is_room() -> None:
    assert told(0.0, 1.0, channels=2).bitrate_bps(600_000) == 64_000
    assert told(0.0, 1.0, channels=2).bitrate_bps(WIDE_BPS) > 90_000
    assert told(0.2, 1.25, channels=2).bitrate_bps(WIDE_BPS) == told(0.2, 1.25).bitrate_bps(WIDE_BPS)


def test_before_the_path_is_known_speech_has_what_it_needs() -> None:
    sender = SoundSender()
    sender.handle_feedback(Feedback(0, 0, 0, 0, 0, 0, 0, 0, 0, 400, 0, 0))
    assert sender.bitrate_bps(WIDE_BPS) == 32_000
    sender.handle_feedback(Feedback(0, 0, 0, 0, 0, 0, 0, 0, 0, 500, 0, 0))
    assert sender.bitrate_bps(WIDE_BPS) == 64_000


def test_under_a_low_ceiling_sound_takes_a_tenth_but_what_speech_needs() -> None:
    sender = told(0.0, 1.0)
    assert [sender.bitrate_bps(bps) for bps in (0, 320_000, 500_000, 640_000)] == [
        32_000,
        32_000,
        50_000,
        64_000,
    ]


def test_without_pictures_sound_need_not_wait_until_the_path_is_known() -> None:
    sender = SoundSender(alone=True)
    assert 40_000 < sender.bitrate_bps(WIDE_BPS) < 64_000, "beside the one copy"
    assert sender.bitrate_bps(0) == 32_000
    sender.handle_feedback(Feedback(0, 0, 0, 0, 0, 0, 0, 0, 0, 300, 0, 0))
    assert sender.bitrate_bps(WIDE_BPS) == 64_000

"""A stream stays under its ceiling by its quality, and by leaving out frames where quality cannot give way."""

import logging
import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from tests.scenes import Picture, desktop, film, noise
from udpconf.frames import Codec, EncodedFrame
from udpconf.limits import FRAME_MAX_BYTES, SHARDS_PER_FRAME_MAX
from udpconf.media.rate import DEFAULT_SEGMENT_BYTES, RateLimitedEncoder
from udpconf.proto.packetizer import packetize
from udpconf.wire.envelope import OVERHEAD_BYTES
from udpconf.wire.frames import SHARD_PAYLOAD_BYTES, encode_video

FRAME_US = 33_333
# Nine tenths of the ceiling at most are for pictures: bytes a frame per kbit/s at 30 frames a second.
SHARE_PER_KBPS = 1000 / 8 * 0.9 / 30


def run(
    encoder: RateLimitedEncoder,
    picture: Callable[[int], Picture],
    frames: int,
    start: int = 0,
    step_us: int = FRAME_US,
) -> list[EncodedFrame | None]:
    return [encoder.encode(picture(number), (start + number) * step_us) for number in range(frames)]


def sizes(frames: list[EncodedFrame | None]) -> list[int]:
    return [frame.coded_size if frame else 0 for frame in frames]


def test_the_default_segment_fits_a_datagram() -> None:
    assert DEFAULT_SEGMENT_BYTES <= SHARD_PAYLOAD_BYTES


def test_with_room_enough_the_quality_is_the_upper_limit() -> None:
    encoder = RateLimitedEncoder(75, 20, 50_000, 30)
    frames = run(encoder, lambda number: film(640, 360, shift=number), 10)
    assert all(frame and frame.description.quality == 75 for frame in frames[3:])
    assert encoder.frames_skipped == 0


def test_every_frame_stays_under_its_share_while_the_scene_moves() -> None:
    for kbps in (4500, 6000, 9000):
        encoder = RateLimitedEncoder(90, 5, kbps, 30)
        frames = run(encoder, lambda number: film(640, 360, shift=2 * number), 40)
        assert max(sizes(frames)) <= kbps * SHARE_PER_KBPS
        assert np.mean(sizes(frames)[10:]) > 0.75 * kbps * SHARE_PER_KBPS  # and uses it
        assert encoder.frames_skipped == 0
        assert encoder.frames_encoded_again <= 4


def test_a_sudden_hard_scene_is_compressed_again_and_fits_at_once() -> None:
    encoder = RateLimitedEncoder(90, 5, 6000, 30)
    run(encoder, lambda number: np.full((360, 640, 3), 90 + number % 3, np.uint8), 10)
    assert encoder.quality == 90
    before = encoder.frames_encoded_again
    frame = encoder.encode(film(640, 360), 10 * FRAME_US)
    assert encoder.frames_encoded_again == before + 1
    assert frame is not None
    assert frame.coded_size <= 6000 * SHARE_PER_KBPS


def test_the_quality_comes_back_when_there_is_room_again() -> None:
    encoder = RateLimitedEncoder(80, 5, 6000, 30)
    run(encoder, lambda number: film(640, 360, shift=number), 10)
    low = encoder.quality
    assert low < 80
    encoder.set_ceiling(60_000)
    frames = run(encoder, lambda number: film(640, 360, shift=number), 8, start=10)
    assert encoder.quality == 80
    encoder.set_ceiling(6000)
    frames = run(encoder, lambda number: film(640, 360, shift=number), 8, start=18)
    assert encoder.quality == pytest.approx(low, abs=6)
    assert max(sizes(frames)[1:]) <= 6000 * SHARE_PER_KBPS


def test_at_the_lower_limit_pictures_are_sent_smaller_and_none_is_left_out() -> None:
    encoder = RateLimitedEncoder(75, 50, 1000, 30)
    frames = run(encoder, lambda number: film(640, 360, shift=number), 60)
    assert encoder.frames_skipped <= 5
    assert encoder.scale < 1
    assert all(frame.description.quality >= 50 for frame in frames if frame)
    assert all(frame.description.coded_width < 640 for frame in frames[2:] if frame)
    assert sum(sizes(frames)) <= 1000 * SHARE_PER_KBPS * 60 + max(sizes(frames))
    assert np.mean(sizes(frames)[30:]) > 0.4 * 1000 * SHARE_PER_KBPS


def test_the_size_comes_back_when_there_is_room_again() -> None:
    encoder = RateLimitedEncoder(75, 50, 600, 30)
    run(encoder, lambda number: film(640, 360, shift=number), 30)
    assert encoder.scale <= 0.375
    encoder.set_ceiling(30_000)
    frames = run(encoder, lambda number: film(640, 360, shift=number), 150, start=30)
    widths = [frame.description.coded_width for frame in frames if frame]
    assert widths == sorted(widths)
    assert (encoder.scale, encoder.quality) == (1, 75)


def test_the_size_does_not_swing_to_and_fro() -> None:
    for kbps in range(500, 2500, 250):
        encoder = RateLimitedEncoder(75, 40, kbps, 30)
        frames = run(encoder, lambda number: film(640, 360, shift=3 * number), 90)
        widths = [frame.description.coded_width for frame in frames[10:] if frame]
        changes = sum(before != after for before, after in pairwise(widths))
        assert changes <= 2, kbps


def test_at_the_smallest_size_frames_are_left_out_so_that_the_average_holds() -> None:
    encoder = RateLimitedEncoder(75, 50, 800, 30)
    frames = run(encoder, lambda number: noise(160, 120, seed=number), 60)
    assert (encoder.quality, encoder.scale) == (50, 1)
    assert sum(sizes(frames)) <= 800 * SHARE_PER_KBPS * 60 + max(sizes(frames))
    assert encoder.frames_skipped == sum(frame is None for frame in frames) > 10
    shown = [number for number, frame in enumerate(frames) if frame]
    assert max(np.diff(shown)) <= 4 + max(sizes(frames)) / (800 * SHARE_PER_KBPS)  # evenly, no long gap


def test_what_the_path_has_counts_from_one_frame_to_the_next() -> None:
    encoder = RateLimitedEncoder(90, 5, 8000, 30)
    run(encoder, lambda number: film(640, 360, shift=2 * number), 30)
    narrow = [
        encoder.encode(film(640, 360, shift=2 * number), number * FRAME_US, path_kbps=1500)
        for number in range(30, 60)
    ]
    assert max(sizes(narrow)) <= 1.06 * 1500 * 1000 / 8 / 30
    assert np.mean(sizes(narrow)[3:]) > 0.75 * 1500 * 1000 / 8 / 30
    assert encoder.frames_skipped == encoder.frames_skipped_path == 0
    assert encoder.encode(film(640, 360), 60 * FRAME_US, path_kbps=0) is None
    assert (encoder.frames_skipped, encoder.frames_skipped_path) == (0, 1)


def test_lossless_frames_are_left_out_so_that_the_average_holds() -> None:
    picture = desktop(640, 360)
    encoder = RateLimitedEncoder(75, 20, 8000, 30, Codec.LZ4)
    frames = run(encoder, lambda number: picture, 90)
    assert all(frame.description.codec == Codec.LZ4 for frame in frames if frame)
    assert frames[0] is not None
    assert sum(sizes(frames)) <= 8000 * SHARE_PER_KBPS * 90 + frames[0].coded_size
    assert sum(sizes(frames)) > 0.8 * 8000 * SHARE_PER_KBPS * 90 - frames[0].coded_size
    assert encoder.frames_skipped == sum(frame is None for frame in frames)
    assert encoder.quality == 0


@pytest.mark.parametrize("jitter_us", [0, 10_000])
@pytest.mark.parametrize(("kbps", "width", "height"), [(200, 320, 180), (300, 320, 180), (1000, 640, 360)])
def test_no_second_holds_more_than_the_ceiling_headers_included(
    kbps: int, width: int, height: int, jitter_us: int
) -> None:
    random = np.random.default_rng(5)
    encoder = RateLimitedEncoder(75, 5, kbps, 30)
    sent: list[tuple[int, int]] = []
    for number in range(120):
        capture_us = number * FRAME_US + int(random.integers(-jitter_us, jitter_us + 1))
        frame = encoder.encode(film(width, height, shift=2 * number), capture_us)
        if frame is not None:
            size = sum(len(encode_video(shard)) + OVERHEAD_BYTES + 48 for shard in packetize(frame, number))
            sent.append((capture_us, size))
    for start_us, _ in sent:
        second = sum(size for at_us, size in sent if start_us <= at_us < start_us + 1_000_000)
        assert second <= kbps * 125
    assert sum(size for _, size in sent) > 0.6 * kbps * 125 * 4  # and uses it


def test_a_frame_larger_than_a_second_is_sent_when_a_second_has_passed_without_any() -> None:
    encoder = RateLimitedEncoder(75, 50, 200, 30, Codec.LZ4)
    frames = run(encoder, lambda number: noise(160, 160, seed=number), 200)
    shown = [number for number, frame in enumerate(frames) if frame]
    assert len(shown) >= 2
    assert min(np.diff(shown)) >= 30


def test_a_clock_that_was_set_back_does_not_hold_the_stream_up() -> None:
    encoder = RateLimitedEncoder(75, 5, 1000, 30)
    run(encoder, lambda number: film(640, 360, shift=number), 30, start=3000)
    after = run(encoder, lambda number: film(640, 360, shift=number), 60)
    assert sum(frame is not None for frame in after) >= 10


def test_the_share_follows_the_frame_rate_that_is_seen() -> None:
    encoder = RateLimitedEncoder(95, 5, 4000, 30)
    frames = run(encoder, lambda number: film(640, 360, shift=number), 25, step_us=100_000)
    assert encoder.fps == pytest.approx(10)
    share = 4000 * SHARE_PER_KBPS * 3
    assert 0.75 * share < np.mean(sizes(frames)[18:]) <= share


def test_a_jittering_camera_neither_loses_frames_nor_confuses_the_rate() -> None:
    random = np.random.default_rng(9)
    encoder = RateLimitedEncoder(90, 5, 6000, 30)
    for number in range(60):
        capture_us = number * FRAME_US + int(random.integers(-12_000, 12_000))
        assert encoder.encode(film(320, 180, shift=number), capture_us + 50_000) is not None
    assert encoder.fps == pytest.approx(30, rel=0.25)


def test_a_pause_does_not_save_up_for_a_burst() -> None:
    encoder = RateLimitedEncoder(75, 50, 1000, 30)
    run(encoder, lambda number: film(640, 360, shift=number), 20)
    after = run(encoder, lambda number: film(640, 360, shift=number), 30, start=20 + 30 * 60)
    assert sum(sizes(after)) <= 1000 * SHARE_PER_KBPS * 30 + 2 * max(sizes(after))


def test_two_pictures_of_one_instant_and_a_clock_that_stands_do_no_harm() -> None:
    encoder = RateLimitedEncoder(75, 20, 4000, 30)
    for _ in range(5):
        encoder.encode(film(160, 120), 1000)
    assert encoder.encode(film(160, 120), 500) is None or encoder.frames_skipped == 0
    assert encoder.encode(film(160, 120), 1_000_000) is not None


def test_the_size_and_kind_of_the_picture_may_change_at_any_time() -> None:
    encoder = RateLimitedEncoder(90, 5, 6000, 30)
    pictures = [film(640, 360), film(64, 48), film(1280, 720), film(640, 360)[:, :, 0], film(321, 241)]
    for number, picture in enumerate(pictures * 3):
        frame = encoder.encode(picture, number * FRAME_US)
        assert frame is not None
        assert frame.coded_size <= 6000 * SHARE_PER_KBPS


def test_a_lossless_frame_beyond_the_largest_is_left_out_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    encoder = RateLimitedEncoder(75, 20, 1e9, 30, Codec.LZ4)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            assert encoder.encode(noise(1920, 1600), number * FRAME_US) is None
    assert encoder.frames_skipped == 3
    assert [record.getMessage() for record in caplog.records] == [
        (
            "a frame of 9.3 MB is over the limit of 8.4 MB and is left out: choose a smaller width, "
            "or the codec jpeg"
        )
    ]
    small = encoder.encode(noise(1280, 720), 3 * FRAME_US)
    assert small is not None


def test_lossless_pictures_that_need_more_than_the_ceiling_are_said_once_with_the_flag_that_helps(
    caplog: pytest.LogCaptureFixture,
) -> None:
    encoder = RateLimitedEncoder(75, 20, 4000, 30, Codec.LZ4)
    with caplog.at_level(logging.WARNING):
        frames = run(encoder, lambda _: noise(320, 240), 10 * 30)
    assert sum(frame is not None for frame in frames) <= 2 * 10
    (said,) = [record.getMessage() for record in caplog.records]
    size = max(sizes(frames)) / 1000
    need = re.match(
        r"Lossless pictures of (\d+) kB at 30 frames/s take (\d+\.?\d*) Mbit/s, .* them 3\.8: ", said
    )
    assert need is not None, said
    assert size <= int(need[1]) <= 1.15 * size  # headers
    assert float(need[2]) == pytest.approx(int(need[1]) * 30 * 8 / 1000, rel=0.02)
    # What it names is enough.
    named = re.search(r"--max-bitrate-kbps (\d+)", said)
    assert named is not None, said
    enough = RateLimitedEncoder(75, 20, int(named[1]), 30, Codec.LZ4)
    assert None not in run(enough, lambda _: noise(320, 240), 10 * 30)


@pytest.mark.parametrize(
    ("codec", "kbps"),
    [(Codec.LZ4, 100_000), (Codec.JPEG, 200)],
)
def test_nothing_is_said_of_pictures_that_fit_or_can_give_way(
    codec: Codec, kbps: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run(RateLimitedEncoder(75, 20, kbps, 30, codec), lambda _: noise(320, 240), 5 * 30)
    assert caplog.records == []


def test_one_large_lossless_picture_among_small_ones_is_no_reason_to_speak(
    caplog: pytest.LogCaptureFixture,
) -> None:
    encoder = RateLimitedEncoder(75, 20, 20_000, 30, Codec.LZ4)
    quiet, busy = np.zeros((120, 160, 3), np.uint8), noise(960, 540)
    with caplog.at_level(logging.WARNING):
        frames = run(encoder, lambda number: busy if number % 90 == 45 else quiet, 300)
    assert encoder.frames_skipped > 3 * 15
    assert frames[45] is not None
    assert caplog.records == []


def test_a_jpeg_never_reaches_the_largest_frame_however_high_the_ceiling() -> None:
    encoder = RateLimitedEncoder(100, 5, 1e9, 30)
    frame = encoder.encode(noise(2560, 1440), 0)
    assert frame is not None
    assert frame.coded_size <= FRAME_MAX_BYTES
    assert frame.coded_size / (0.8 * DEFAULT_SEGMENT_BYTES) <= SHARDS_PER_FRAME_MAX

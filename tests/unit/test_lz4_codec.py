"""Lossless pictures in self-contained segments, and what is not one of them counts as missing."""

import lz4.block
import numpy as np
import pytest

from tests.scenes import Picture, desktop, film, noise
from udpconf.errors import ConfigError, LocalProtocolError
from udpconf.frames import Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.media.lz4_codec import INTERVAL_PIXELS, MIN_SEGMENT_BYTES, Lz4Encoder, unpack_pixels

PAYLOAD = 1139


@pytest.mark.parametrize(
    "image",
    [
        desktop(640, 400),
        film(321, 203),
        noise(200, 100),
        np.full((300, 500, 3), 7, np.uint8),
        film(100, 75)[:, :, 2],
        noise(1, 1),
        noise(5000 // 64, 3)[:, :, 0],
        desktop(320, 200)[::-2, ::3, ::-1],
    ],
)
def test_a_picture_comes_back_to_the_last_bit(image: Picture) -> None:
    for limit in (MIN_SEGMENT_BYTES, PAYLOAD, 1400):
        frame = Lz4Encoder().encode(image, 42, limit)
        assert frame.complete
        assert frame.capture_us == 42
        assert max(len(segment.data) for segment in frame.segments) <= limit
        pixels, good = unpack_pixels(frame)
        assert (pixels == image).all()
        assert good == list(frame.segments)


def test_a_flat_picture_needs_few_segments_and_noise_fills_them() -> None:
    flat = Lz4Encoder().encode(np.full((1080, 1920, 3), 200, np.uint8), 0, PAYLOAD)
    assert len(flat.segments) < 40
    full = Lz4Encoder().encode(noise(640, 360), 0, PAYLOAD)
    assert full.coded_size / (len(full.segments) * PAYLOAD) > 0.8


def test_a_screen_that_stands_still_is_cut_alike_and_packed_once() -> None:
    encoder = Lz4Encoder()
    image = desktop(1280, 720)
    first = encoder.encode(image, 0, PAYLOAD)
    packed = encoder.blocks_packed
    second = encoder.encode(image, 0, PAYLOAD)
    assert second == first
    assert encoder.blocks_packed - packed == len(second.segments)
    changed = image.copy()
    changed[300:400, 200:600] = noise(400, 100)
    third = encoder.encode(changed, 0, PAYLOAD)
    assert (unpack_pixels(third)[0] == changed).all()
    assert max(len(segment.data) for segment in third.segments) <= PAYLOAD


def test_the_picture_size_may_change_between_frames() -> None:
    encoder = Lz4Encoder()
    for image in (
        desktop(640, 360),
        noise(64, 64),
        desktop(800, 600),
        desktop(800, 600)[:, :, 0],
        noise(3, 5),
    ):
        assert (unpack_pixels(encoder.encode(image, 0, PAYLOAD))[0] == image).all()


def test_one_segment_lost_costs_its_pixels_and_no_others() -> None:
    image = desktop(320, 200)
    frame = Lz4Encoder().encode(image, 0, PAYLOAD)
    for lost in range(0, len(frame.segments), 3):
        kept = frame.segments[:lost] + frame.segments[lost + 1 :]
        pixels, good = unpack_pixels(frame._replace(segments=kept))
        start = frame.segments[lost].first_interval * INTERVAL_PIXELS
        end = start + frame.segments[lost].interval_count * INTERVAL_PIXELS
        flat, original = pixels.reshape(-1, 3), image.reshape(-1, 3)
        assert (flat[start:end] == 0).all()
        assert (flat[:start] == original[:start]).all()
        assert (flat[end:] == original[end:]).all()
        assert good == list(kept)


def test_what_does_not_unpack_to_exactly_its_pixels_is_a_hole() -> None:
    frame = Lz4Encoder().encode(desktop(320, 200), 0, PAYLOAD)
    first, count, data = frame.segments[1]

    def packed(raw_bytes: int) -> bytes:
        return lz4.block.compress(bytes(raw_bytes), store_size=False)  # type: ignore[no-any-return]

    raw = count * INTERVAL_PIXELS * 3
    assert unpack_pixels(frame._replace(segments=(Segment(first, count, packed(raw)),)))[1]
    for bad in (
        b"",
        b"\x00",
        data[:-1],
        data + b"\x00",
        packed(raw - 1),
        packed(raw + 1),
        packed(1 << 24),
        b"\xff" * 900,
    ):
        _, good = unpack_pixels(frame._replace(segments=(frame.segments[0], Segment(first, count, bad))))
        assert good == [frame.segments[0]], bad[:20]


def test_a_bomb_is_never_unpacked_beyond_its_declared_pixels() -> None:
    description = FrameDescription(Codec.LZ4, 64, 4, 0, Subsampling.GREY, 64)
    bomb = lz4.block.compress(bytes(200 << 20), store_size=False)
    assert len(bomb) > 800_000
    pixels, good = unpack_pixels(EncodedFrame(description, (Segment(0, 1, bomb), Segment(1, 3, bomb)), 0))
    assert pixels.shape == (4, 64)
    assert good == []


def test_overlapping_disordered_and_outlying_segments_are_holes() -> None:
    frame = Lz4Encoder().encode(noise(64, 64), 0, PAYLOAD)
    one, two, three = frame.segments[:3]
    _, good = unpack_pixels(frame._replace(segments=(one, one, three, two)))
    assert good == [one, three]
    count = frame.description.interval_count
    for first, length in ((-1, 1), (count, 1), (count - 1, 2), (0, 0), (0, -3), (0, 1 << 60), (1 << 60, 1)):
        assert unpack_pixels(frame._replace(segments=(Segment(first, length, one.data),)))[1] == []


def test_segments_too_small_for_one_interval_are_refused_with_a_sentence() -> None:
    Lz4Encoder().encode(noise(64, 8), 0, MIN_SEGMENT_BYTES)
    with pytest.raises(LocalProtocolError, match="at least"):
        Lz4Encoder().encode(noise(64, 8), 0, MIN_SEGMENT_BYTES - 1)


def test_too_large_a_picture_is_refused_with_a_sentence() -> None:
    with pytest.raises(ConfigError, match="3840x2160 at most"):
        Lz4Encoder().encode(np.zeros((2161, 10, 3), np.uint8), 0, PAYLOAD)

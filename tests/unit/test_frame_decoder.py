"""Holes show what was there a frame ago, and no bytes whatsoever bring the decoder down."""

from typing import Any

import numpy as np
import pytest

from tests.scenes import IntervalEncoder, film, noise, psnr
from udpconf.frames import Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.limits import PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH, SECOND
from udpconf.media.decode import FrameDecoder, interval_rectangles
from udpconf.media.lz4_codec import Lz4Encoder
from udpconf.media.rate import RateLimitedEncoder

PAYLOAD = 1148
COLOURS = (Subsampling.S420, Subsampling.S422, Subsampling.S444)


def without(frame: EncodedFrame, *missing: int) -> EncodedFrame:
    return frame._replace(
        segments=tuple(s for number, s in enumerate(frame.segments) if number not in missing)
    )


def test_a_whole_frame_is_all_fresh() -> None:
    image = film(640, 360)
    picture = FrameDecoder().decode(IntervalEncoder().encode(image, 90, 0, PAYLOAD))
    assert picture.fresh_area == 1
    assert picture.image.shape == image.shape
    assert picture.image.dtype == np.uint8
    assert psnr(picture.image, image) > 34


@pytest.mark.parametrize("subsampling", COLOURS)
def test_a_hole_in_a_still_picture_cannot_be_seen(subsampling: Subsampling) -> None:
    for width, height in ((640, 360), (97, 61)):
        frame = IntervalEncoder(subsampling).encode(film(width, height), 60, 0, PAYLOAD)
        decoder = FrameDecoder()
        whole = decoder.decode(frame).image
        for step in (2, 3, 5):
            picture = decoder.decode(without(frame, *range(1, len(frame.segments), step)))
            assert (picture.image == whole).all()
            assert 0 < picture.fresh_area < 1


def test_a_hole_in_a_still_lossless_picture_cannot_be_seen() -> None:
    for image in (film(200, 100), film(200, 100)[:, :, 0]):
        frame = Lz4Encoder().encode(image, 0, PAYLOAD)
        decoder = FrameDecoder()
        whole = decoder.decode(frame).image
        picture = decoder.decode(without(frame, 0, 3, 4, len(frame.segments) - 1))
        assert (picture.image == whole).all()
        assert 0 < picture.fresh_area < 1


def test_borrowed_rectangles_come_from_the_picture_before_and_the_rest_from_this_one() -> None:
    before, now = film(320, 240, seed=1), film(320, 240, seed=2)
    encoder = IntervalEncoder(Subsampling.S444)
    first, second = encoder.encode(before, 80, 0, PAYLOAD), encoder.encode(now, 40, 0, PAYLOAD)
    decoder = FrameDecoder()
    old = decoder.decode(first).image
    new = FrameDecoder().decode(second).image
    mixed = decoder.decode(without(second, 2, 3, 9))
    expected = new.copy()
    for number in (2, 3, 9):
        for left, top, right, bottom in interval_rectangles(second.description, number, number + 1):
            expected[top:bottom, left:right] = old[top:bottom, left:right]
    assert (mixed.image == expected).all()


def test_a_hole_is_borrowed_again_from_what_was_shown_not_from_what_came() -> None:
    frame = IntervalEncoder().encode(film(320, 240), 60, 0, PAYLOAD)
    decoder = FrameDecoder()
    whole = decoder.decode(frame).image
    for _ in range(5):
        picture = decoder.decode(without(frame, 4))
    assert (picture.image == whole).all()


def test_the_fresh_area_is_the_share_of_pixels_that_came() -> None:
    frame = IntervalEncoder().encode(
        film(100, 60), 60, 0, PAYLOAD
    )  # 7 by 4 units, the outer ones cut by the edge
    description = frame.description
    for missing in range(description.interval_count):
        area = sum(
            (r.right - r.left) * (r.bottom - r.top)
            for r in interval_rectangles(description, missing, missing + 1)
        )
        fresh = FrameDecoder().decode(without(frame, missing)).fresh_area
        assert fresh == pytest.approx(1 - area / 6000)


def test_the_rectangles_of_any_run_are_few_and_cover_its_units_once() -> None:
    random = np.random.default_rng(3)
    for _ in range(300):
        codec = Codec(int(random.integers(0, 2)))
        subsampling = Subsampling(int(random.choice([0, 3] if codec == Codec.LZ4 else [0, 1, 2, 3])))
        width, height = (int(value) for value in random.integers(1, 150, 2))
        description = FrameDescription(codec, width, height, 50, subsampling, int(random.integers(1, 200)))
        count = description.interval_count
        start, end = sorted(int(value) for value in random.integers(0, count + 1, 2))
        covered = np.zeros((height, width), np.int32)
        rectangles = list(interval_rectangles(description, start, end))
        assert len(rectangles) <= 3
        for left, top, right, bottom in rectangles:
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            covered[top:bottom, left:right] += 1
        unit_width, unit_height = {0: (8, 8), 1: (16, 16), 2: (16, 8), 3: (8, 8)}[subsampling]
        if codec == Codec.LZ4:
            unit_width = unit_height = 1
        rows, columns = np.mgrid[0:height, 0:width]
        unit = rows // unit_height * -(-width // unit_width) + columns // unit_width
        interval = unit // description.restart_interval
        assert (covered == ((interval >= start) & (interval < end))).all(), (description, start, end)


def test_without_any_picture_before_holes_are_grey() -> None:
    frame = IntervalEncoder().encode(film(320, 240), 60, 0, PAYLOAD)
    picture = FrameDecoder().decode(frame._replace(segments=()))
    assert (picture.image == 128).all()
    assert picture.image.shape == (240, 320, 3)
    assert picture.fresh_area == 0
    half = FrameDecoder().decode(frame._replace(segments=frame.segments[: len(frame.segments) // 2]))
    assert (half.image[-16:] == 128).all()
    assert half.fresh_area == pytest.approx(0.5, abs=0.1)


def test_when_the_size_changes_holes_show_the_last_picture_scaled() -> None:
    decoder = FrameDecoder()
    decoder.decode(IntervalEncoder().encode(film(640, 360), 90, 0, PAYLOAD))
    smaller = IntervalEncoder().encode(film(320, 180), 90, 0, PAYLOAD)
    picture = decoder.decode(smaller._replace(segments=()))
    assert picture.image.shape == (180, 320, 3)
    assert psnr(picture.image, decoder.decode(smaller).image) > 15  # the same scene, not grey
    mixed = decoder.decode(without(IntervalEncoder().encode(film(640, 360), 90, 0, PAYLOAD), 5, 6, 7))
    assert psnr(mixed.image, film(640, 360)) > 20


@pytest.mark.parametrize(("width", "height"), [(640, 360), (641, 363), (320, 181)])
def test_a_picture_that_was_sent_smaller_is_shown_as_large_as_it_was(width: int, height: int) -> None:
    encoder, decoder = RateLimitedEncoder(75, 50, 8000, 30), FrameDecoder()
    image = film(width, height)
    decoder.decode(encoder.encode(image, 0) or pytest.fail("no room"))
    coded_widths = set()
    for number, path_kbps in enumerate([1000, 900, 800, 700, 3000, 8000, 8000], 1):
        frame = encoder.encode(image, number * SECOND // 30, path_kbps=path_kbps)
        assert frame is not None
        coded_widths.add(frame.description.coded_width)
        for came in (frame, without(frame, 0)):
            picture = decoder.decode(came)
            assert picture.image.shape == image.shape
            assert psnr(picture.image, image) > 18
            assert decoder.again().shape == image.shape
            small = decoder.decode_coded(came).image
            assert small.shape == (came.description.coded_height, came.description.coded_width, 3)
    assert min(coded_widths) < width


def test_the_picture_is_the_callers_own() -> None:
    frame = IntervalEncoder().encode(film(320, 240), 60, 0, PAYLOAD)
    decoder = FrameDecoder()
    whole = decoder.decode(frame).image
    kept = whole.copy()
    for encoded in (frame, without(frame, 1), frame._replace(segments=())):
        picture = decoder.decode(encoded)
        assert picture.image.flags.writeable
        assert (picture.image == kept).all()
        picture.image[:] = 0  # the caller paints it black; the next holes must not be black
    grey = decoder.decode(Lz4Encoder().encode(film(32, 32)[:, :, 0], 0, PAYLOAD))
    assert grey.image.flags.writeable
    grey.image[:] = 0
    assert (decoder.decode(frame._replace(segments=())).image > 0).any()


def test_a_grey_frame_becomes_a_colour_picture() -> None:
    image = film(64, 48)[:, :, 1]
    for frame in (IntervalEncoder().encode(image, 95, 0, PAYLOAD), Lz4Encoder().encode(image, 0, PAYLOAD)):
        decoded = FrameDecoder().decode(frame).image
        assert decoded.shape == (48, 64, 3)
        assert (decoded[:, :, 0] == decoded[:, :, 2]).all()
        assert psnr(decoded[:, :, 0], image) > 35


def test_jpeg_and_lossless_frames_borrow_from_each_other() -> None:
    image = film(320, 240)
    decoder = FrameDecoder()
    decoder.decode(Lz4Encoder().encode(image, 0, PAYLOAD))
    picture = decoder.decode(without(IntervalEncoder().encode(image, 90, 0, PAYLOAD), 0, 1, 2))
    assert psnr(picture.image, image) > 34
    again = decoder.decode(without(Lz4Encoder().encode(image, 0, PAYLOAD), 10))
    assert psnr(again.image, image) > 40


def test_a_truncated_or_garbled_frame_shows_no_pixel_of_anothers_picture() -> None:
    # Some releases of OpenCV leave a truncated JPEG's rest as it was in memory: the picture decoded just before.
    secret = np.zeros((240, 320, 3), np.uint8)
    secret[:] = (255, 0, 255)
    secret_frame = IntervalEncoder().encode(secret, 95, 0, PAYLOAD)
    random = np.random.default_rng(11)
    frame = IntervalEncoder().encode(np.full((240, 320, 3), 90, np.uint8), 30, 0, PAYLOAD)
    for trial in range(60):
        segments = list(frame.segments)
        for _ in range(8):
            place = int(random.integers(0, len(segments)))
            data = frame.segments[place].data
            cut = data[: int(random.integers(0, len(data)))] if trial % 2 else b"\x00" * len(data)
            segments[place] = segments[place]._replace(data=cut)
        for _ in range(3):  # so that freed buffers hold it
            shown = FrameDecoder().decode(secret_frame).image
        assert shown[0, 0].tolist() == pytest.approx([255, 0, 255], abs=3)
        del shown
        image = FrameDecoder().decode(frame._replace(segments=tuple(segments))).image.astype(int)
        magenta = (image[:, :, 0] > 200) & (image[:, :, 1] < 60) & (image[:, :, 2] > 200)
        assert not magenta.any(), trial


def test_a_description_that_breaks_the_limits_shows_the_last_picture_again() -> None:
    good = IntervalEncoder().encode(film(64, 48), 60, 0, PAYLOAD)
    decoder = FrameDecoder()
    whole = decoder.decode(good).image
    wrong: list[dict[str, Any]] = [
        {"width": 0},
        {"height": 0},
        {"width": -5},
        {"width": PICTURE_MAX_WIDTH + 1},
        {"height": PICTURE_MAX_HEIGHT + 1},
        {"quality": 0},
        {"quality": 101},
        {"restart_interval": 0},
        {"restart_interval": 0x10000},
        {"codec": 7},
        {"subsampling": 9},
        {"codec": Codec.LZ4, "subsampling": Subsampling.S420},
    ]
    for change in wrong:
        frame = good._replace(description=good.description._replace(**change))
        picture = decoder.decode(frame)
        assert (picture.image == whole).all(), change
        assert picture.fresh_area == 0
        assert FrameDecoder().decode(frame).fresh_area == 0


def test_the_largest_description_with_one_small_segment_is_decoded() -> None:
    for codec, subsampling in ((Codec.JPEG, Subsampling.GREY), (Codec.LZ4, Subsampling.S444)):
        description = FrameDescription(
            codec, PICTURE_MAX_WIDTH, PICTURE_MAX_HEIGHT, 50 * (codec == Codec.JPEG), subsampling, 1
        )
        frame = EncodedFrame(description, (Segment(5, 1, b"\x2b"),), 0)
        assert FrameDecoder().decode(frame).image.shape == (PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH, 3)


def test_noise_in_place_of_compressed_data_gives_a_picture_of_the_right_size() -> None:
    random = np.random.default_rng(17)
    for subsampling in Subsampling:
        image = noise(160, 96)
        source = image[:, :, 0] if subsampling == Subsampling.GREY else image
        encoder = IntervalEncoder() if subsampling == Subsampling.GREY else IntervalEncoder(subsampling)
        frame = encoder.encode(source, 50, 0, PAYLOAD)
        for _ in range(30):
            garbage = tuple(
                segment._replace(
                    data=random.bytes(int(random.integers(1, 900))).replace(b"\xff", b"\xff\x00")
                )
                for segment in frame.segments
            )
            picture = FrameDecoder().decode(frame._replace(segments=garbage))
            assert picture.image.shape == (96, 160, 3)

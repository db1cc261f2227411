"""Pictures become intervals and pictures again, whole or with holes, and bad bytes become holes."""

import itertools
import re

import cv2
import numpy as np
import pytest

from tests.scenes import IntervalEncoder, film, noise, psnr
from udpconf.errors import ConfigError, LocalProtocolError, UdpconfError
from udpconf.frames import MCU_SIZE, EncodedFrame, Segment, Subsampling
from udpconf.limits import PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH
from udpconf.media.jpeg import JpegEncoder, join_jpeg, write_jpeg

PAYLOAD = 1148
RESTART = re.compile(rb"\xff[\xd0-\xd7]")


def decoded(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def joined(frame: EncodedFrame, interval_counts: list[int]) -> EncodedFrame:
    """The same frame with its intervals joined into segments of so many, as a packetizer does."""
    segments = []
    first = 0
    for count in interval_counts:
        data = frame.segments[first].data
        for number in range(first + 1, first + count):
            data += bytes((0xFF, 0xD0 + (number - 1) % 8)) + frame.segments[number].data
        segments.append(Segment(first, count, data))
        first += count
    return frame._replace(segments=tuple(segments))


def test_what_was_cut_is_put_together_again_byte_for_byte() -> None:
    image = film(640, 360)
    for quality in (10, 50, 95):
        frame = IntervalEncoder().encode(image, quality, 7, PAYLOAD)
        parameters = [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_RST_INTERVAL,
            frame.description.restart_interval,
        ]
        assert write_jpeg(frame) == cv2.imencode(".jpg", image, parameters)[1].tobytes()
        assert frame.complete
        assert frame.capture_us == 7
        assert [segment.first_interval for segment in frame.segments] == list(
            range(frame.description.interval_count)
        )


def test_segments_are_whole_intervals_as_few_as_fit_and_about_as_large_as_each_other() -> None:
    image = film(640, 360)
    for limit in (512, 800, PAYLOAD):
        frame = JpegEncoder().encode(image, 50, 0, limit)
        assert frame.complete
        for one, two in itertools.pairwise(frame.segments):
            assert one.first_interval + one.interval_count == two.first_interval
        intervals = [len(data) for segment in frame.segments for data in RESTART.split(segment.data)]

        def fewest(limit: int, sizes: list[int]) -> int:
            count, used = 1, -2
            for size in sizes:
                count, used = (count, used + 2 + size) if used + 2 + size <= limit else (count + 1, size)
            return count

        longest = max(len(segment.data) for segment in frame.segments)
        assert longest <= limit
        assert len(frame.segments) == fewest(limit, intervals)
        # 16 bytes less do not hold them.
        assert longest <= max(intervals) + 16 or fewest(longest - 17, intervals) > len(frame.segments)
        apart = IntervalEncoder().encode(image, 50, 0, limit)
        assert write_jpeg(frame) == write_jpeg(apart)


def test_colour_is_stored_as_420_unless_told_otherwise() -> None:
    image = film(160, 120)
    assert IntervalEncoder().encode(image, 50, 0, PAYLOAD).description.subsampling == Subsampling.S420
    for subsampling in (Subsampling.S422, Subsampling.S444):
        frame = IntervalEncoder(subsampling).encode(image, 90, 0, PAYLOAD)
        assert frame.description.subsampling == subsampling
        assert psnr(decoded(write_jpeg(frame)), image) > 34


def test_a_grey_picture_stays_grey() -> None:
    image = film(160, 120)[:, :, 1]
    for same in (image, image[:, :, np.newaxis]):
        frame = IntervalEncoder().encode(same, 90, 0, PAYLOAD)
        assert frame.description.subsampling == Subsampling.GREY
        assert psnr(decoded(write_jpeg(frame))[:, :, 0], image) > 34


def test_any_strides_will_do() -> None:
    whole = film(400, 300)
    for view in (
        whole[::2, ::-1],
        whole[::-1, 10:201],
        whole[..., ::-1],
        np.asfortranarray(whole),
        whole[5:6, 3:4],
    ):
        direct = IntervalEncoder().encode(np.ascontiguousarray(view), 70, 0, PAYLOAD)
        assert IntervalEncoder().encode(view, 70, 0, PAYLOAD) == direct


def test_every_segment_fits_whatever_the_picture_is() -> None:
    encoder = IntervalEncoder()
    pictures = [film(640, 360), noise(320, 240), film(64, 64), film(1280, 720), noise(33, 17), film(641, 359)]
    for image in pictures:
        for quality in (1, 30, 100, 75):
            for limit in (512, PAYLOAD, 1400):
                frame = encoder.encode(image, quality, 0, limit)
                assert max(len(segment.data) for segment in frame.segments) <= limit
                mcus_in_row = -(-image.shape[1] // MCU_SIZE[frame.description.subsampling][0])
                assert 1 <= frame.description.restart_interval <= mcus_in_row


def test_a_unit_larger_than_a_datagram_is_stored_at_a_lower_quality() -> None:
    image = noise(64, 64)
    frame = IntervalEncoder().encode(image, 100, 0, 512)
    assert frame.description.restart_interval == 1
    assert frame.description.quality < 100
    assert decoded(write_jpeg(frame)).shape == image.shape


def test_an_impossible_segment_size_is_refused_with_a_sentence() -> None:
    with pytest.raises(UdpconfError, match="does not fit into 3 bytes"):
        IntervalEncoder().encode(noise(64, 64), 50, 0, 3)


def test_a_steady_stream_is_compressed_once_a_frame_and_cut_alike() -> None:
    encoder = IntervalEncoder()
    encoder.encode(film(640, 360), 60, 0, PAYLOAD)
    before = encoder.encodes
    frames = [encoder.encode(film(640, 360, shift=step), 60, 0, PAYLOAD) for step in range(12)]
    assert encoder.encodes - before == 12
    assert len({frame.description for frame in frames[1:]}) == 1
    mean = frames[-1].coded_size / len(frames[-1].segments)
    assert PAYLOAD / 8 < mean < PAYLOAD / 3


def test_the_largest_picture_passes_and_one_pixel_more_is_refused_with_a_sentence() -> None:
    largest = np.zeros((PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH, 3), np.uint8)
    frame = IntervalEncoder().encode(largest, 50, 0, PAYLOAD)
    assert decoded(write_jpeg(frame)).shape == largest.shape
    for height, width in ((PICTURE_MAX_HEIGHT + 1, 64), (64, PICTURE_MAX_WIDTH + 1)):
        with pytest.raises(ConfigError, match="3840x2160 at most"):
            IntervalEncoder().encode(np.zeros((height, width, 3), np.uint8), 50, 0, PAYLOAD)
    IntervalEncoder().encode(largest[:-1, :-1], 50, 0, PAYLOAD)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8,), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        [[1, 2], [3, 4]],
    ],
)
def test_what_is_not_a_picture_is_refused_with_a_sentence(wrong: np.ndarray) -> None:
    with pytest.raises(LocalProtocolError, match="A picture must"):
        IntervalEncoder().encode(wrong, 50, 0, PAYLOAD)


def test_missing_intervals_are_grey_and_the_others_are_untouched() -> None:
    image = film(320, 240)
    frame = IntervalEncoder(Subsampling.S444).encode(image, 80, 0, PAYLOAD)
    whole = decoded(write_jpeg(frame))
    interval = frame.description.restart_interval
    kept = tuple(segment for segment in frame.segments if segment.first_interval % 3 != 1)
    with_holes = decoded(write_jpeg(frame._replace(segments=kept)))
    for unit in range(40 * 30):
        row, column = divmod(unit, 40)
        area = (slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
        if unit // interval % 3 == 1:
            assert (with_holes[area] == 128).all()
        else:
            assert (with_holes[area] == whole[area]).all()


def test_joined_segments_give_the_same_file() -> None:
    frame = IntervalEncoder().encode(film(320, 240), 60, 0, PAYLOAD)
    count = len(frame.segments)
    random = np.random.default_rng(5)
    for _ in range(20):
        cuts = sorted({0, count, *random.integers(1, count, 4).tolist()})
        packed = joined(frame, [end - start for start, end in itertools.pairwise(cuts)])
        assert write_jpeg(packed) == write_jpeg(frame)
        assert join_jpeg(packed)[1] == list(packed.segments)


BAD_BYTES = [
    b"",
    b"\xff",
    b"\x00\xff",
    b"\xff\xd0",
    b"\x12\xff\xd9\x34",
    b"\xff\xd8\x00",
    b"\xff\xda\x00\x0c",
    b"\xff\xff\x00",
    b"\xff\x01",
    b"\x12\xff\xd7\x34",
]


@pytest.mark.parametrize("bad", BAD_BYTES)
def test_a_segment_with_a_marker_or_an_open_escape_counts_as_a_hole(bad: bytes) -> None:
    frame = IntervalEncoder().encode(film(320, 240), 60, 0, PAYLOAD)
    for place in (0, 1, 7, 8, len(frame.segments) - 1):
        segments = list(frame.segments)
        segments[place] = segments[place]._replace(data=bad)
        mended = frame._replace(segments=tuple(segments))
        without = frame._replace(segments=frame.segments[:place] + frame.segments[place + 1 :])
        assert write_jpeg(mended) == write_jpeg(without)
        assert join_jpeg(mended)[1] == list(without.segments)


def test_markers_must_be_as_many_as_declared_and_in_order() -> None:
    frame = IntervalEncoder().encode(film(320, 240), 60, 0, PAYLOAD)
    packed = joined(frame, [4, 5, len(frame.segments) - 9])
    first, second, third = packed.segments
    bad = [
        second._replace(interval_count=4),
        second._replace(data=second.data.replace(b"\xff\xd4", b"\xff\xd5")),
        second._replace(data=second.data.replace(b"\xff\xd4", b"")),
        second._replace(data=second.data.replace(b"\xff\xd4", b"\xff\xd4\xff\xd5")),
        second._replace(data=re.sub(rb"\xff[\xd0-\xd7]", b"\xff\xd9", second.data)),
    ]
    for segment in bad:
        assert join_jpeg(packed._replace(segments=(first, segment, third)))[1] == [first, third], segment
    # What one has too many, the next has too few: the sum is right, but neither is what it says.
    swapped = (
        first._replace(data=first.data + b"\xff\xd3" + frame.segments[4].data),
        second._replace(data=joined(frame, [5, 4, len(frame.segments) - 9]).segments[1].data),
        third,
    )
    assert join_jpeg(packed._replace(segments=swapped))[1] == [third]


def test_overlapping_disordered_and_outlying_segments_count_as_holes() -> None:
    frame = IntervalEncoder().encode(film(320, 240), 60, 0, PAYLOAD)
    count = frame.description.interval_count
    good = frame.segments
    outside = (
        Segment(count, 1, good[0].data),
        Segment(-1, 1, good[0].data),
        Segment(0, 0, good[0].data),
        Segment(0, -5, good[0].data),
        Segment(count - 1, 2, good[0].data),
        Segment(1 << 40, 1 << 40, good[0].data),
    )
    for segment in outside:
        assert join_jpeg(frame._replace(segments=(segment,)))[1] == []
    twice = (good[0], good[0], good[2], good[1], good[3])
    assert join_jpeg(frame._replace(segments=twice))[1] == [good[0], good[2], good[3]]
    assert decoded(write_jpeg(frame._replace(segments=()))).shape == (240, 320, 3)

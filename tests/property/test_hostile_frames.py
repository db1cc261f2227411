"""Whatever bytes stand in a frame's segments: a picture of the declared size comes out, and nothing is raised."""

import re

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenes import film
from udpconf.frames import Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.media.decode import FrameDecoder
from udpconf.media.jpeg import JpegEncoder, write_jpeg
from udpconf.media.jpeg_header import jpeg_header
from udpconf.media.lz4_codec import Lz4Encoder

small = st.integers(1, 70)
jpeg_descriptions = st.builds(
    FrameDescription,
    codec=st.just(Codec.JPEG),
    width=small,
    height=small,
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(Subsampling),
    restart_interval=st.integers(1, 12),
    scale_step=st.integers(0, 3),
)
lz4_descriptions = st.builds(
    FrameDescription,
    codec=st.just(Codec.LZ4),
    width=small,
    height=small,
    quality=st.just(0),
    subsampling=st.sampled_from([Subsampling.GREY, Subsampling.S444]),
    restart_interval=st.integers(1, 200),
    scale_step=st.just(0),
)
# Plain bytes, bytes full of markers, and bytes that pass the marker check and reach the Huffman decoder.
hostile_bytes = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from([b"\xff", b"\x00", b"\xff\xd0", b"\xff\xd9", b"\xff\x00", b"\x5a"]), max_size=30
    ).map(b"".join),
    st.binary(min_size=1, max_size=300).map(lambda data: data.replace(b"\xff", b"\xff\x00")),
)
segments = st.lists(
    st.builds(Segment, st.integers(-2, 60), st.integers(-1, 60), hostile_bytes), max_size=12
).map(tuple)


@settings(max_examples=300, deadline=None)
@given(st.one_of(jpeg_descriptions, lz4_descriptions), segments, segments)
def test_any_segments_give_a_picture_of_the_declared_size(
    description: FrameDescription, first: tuple[Segment, ...], second: tuple[Segment, ...]
) -> None:
    decoder = FrameDecoder()
    for received in (first, second):
        picture = decoder.decode(EncodedFrame(description, received, 0))
        assert picture.image.shape == (description.height, description.width, 3)
        assert picture.image.dtype == np.uint8
        assert 0 <= picture.fresh_area <= 1


@settings(max_examples=200, deadline=None)
@given(jpeg_descriptions, segments)
def test_any_segments_give_a_jpeg_with_our_header_and_all_markers(
    description: FrameDescription, received: tuple[Segment, ...]
) -> None:
    jpeg = write_jpeg(EncodedFrame(description, received, 0))
    header = jpeg_header(description)
    assert jpeg.startswith(header)
    markers = re.findall(rb"\xff[^\x00]", jpeg[len(header) :], re.DOTALL)
    restarts = [bytes((0xFF, 0xD0 + number % 8)) for number in range(description.interval_count - 1)]
    assert markers == [*restarts, b"\xff\xd9"]
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (description.coded_height, description.coded_width, 3)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 70),
    st.integers(1, 100),
    st.sampled_from([Subsampling.S420, Subsampling.S422, Subsampling.S444]),
    st.booleans(),
    st.integers(0, 2**32),
    st.integers(512, 1400),
)
def test_any_picture_loses_only_the_intervals_that_were_lost(
    width: int, height: int, quality: int, subsampling: Subsampling, lossless: bool, seed: int, limit: int
) -> None:
    image = film(width, height, seed)
    if lossless:
        frame = Lz4Encoder().encode(image, 0, limit)
    else:
        frame = JpegEncoder(subsampling).encode(image, quality, 0, limit)
    assert frame.complete
    assert all(len(segment.data) <= limit for segment in frame.segments)
    decoder = FrameDecoder()
    whole = decoder.decode(frame)
    assert whole.fresh_area == 1
    if lossless:
        assert (whole.image == image).all()
    kept = np.random.default_rng(seed).random(len(frame.segments)) < 0.7
    survivors = tuple(segment for segment, keep in zip(frame.segments, kept, strict=True) if keep)
    picture = decoder.decode(frame._replace(segments=survivors))
    assert (picture.image == whole.image).all()
    assert (picture.fresh_area == 1) == (len(survivors) == len(frame.segments))

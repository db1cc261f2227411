"""A frame becomes a picture; where intervals are missing, it borrows their rectangles from the picture before.

A hole then shows what was there a frame ago, which on most of a picture is what is there now. It lives for one frame:
the next one carries every interval again. JPEG and lz4 share the mechanism, and neither quality nor codec need stay the
same from frame to frame.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg

from udpconf.frames import MCU_SIZE, SCALES, Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.limits import PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH
from udpconf.media.jpeg import join_jpeg
from udpconf.media.lz4_codec import unpack_pixels
from udpconf.media.native import cv2
from udpconf.media.picture import Picture

# What is shown where there never was a picture; it is also what a flat interval decodes to.
GREY = 128

# A decoder interpolates the colours of subsampled pictures across one pixel of the neighbour, so a flat interval tints
# the rim of the good ones around it. Borrowing one pixel more (right and left, above and below) hides that.
_TINTED_RIM = {
    Subsampling.GREY: (0, 0),
    Subsampling.S420: (1, 1),
    Subsampling.S422: (1, 0),
    Subsampling.S444: (0, 0),
}


class DecodedPicture(NamedTuple):
    """What is to be shown, and how much of it this frame brought."""

    image: Picture  # uint8[h, w, 3] BGR, the caller's own
    fresh_area: float  # 0..1; the rest is borrowed


class Rectangle(NamedTuple):
    """Pixels from ``left`` up to but not including ``right``, and so downwards."""

    left: int
    top: int
    right: int
    bottom: int


class FrameDecoder:
    """Decodes the frames of one stream. Never shared by two streams or two threads: it knows the last picture."""

    def __init__(self) -> None:
        # What was shown last, for the holes of the next frame; the picture that was given away may have been drawn on. A
        # whole frame is kept as it came and decoded again when a hole asks for it. Only one with holes is copied: it
        # cannot be had again, and on a lossy path the next one will want it. (The copy was a seventh of the decoding.)
        self._last: Picture | EncodedFrame | None = None
        self._shown_size: tuple[int, int] | None = None  # width, height

    def decode(self, frame: EncodedFrame) -> DecodedPicture:
        """The picture of a frame, of the size that was submitted, whatever its segments hold.

        The segments may be missing, wrong or hostile; no exception leaves. A frame whose description breaks the limits
        shows the last picture again.
        """
        coded = self.decode_coded(frame)
        return DecodedPicture(self._enlarged(coded.image), coded.fresh_area)

    def decode_coded(self, frame: EncodedFrame) -> DecodedPicture:
        """The same in the size in which it was compressed."""
        description = frame.description
        if not _is_valid(description):
            last = self._last_picture()
            return DecodedPicture(np.full((16, 16, 3), GREY, np.uint8) if last is None else last.copy(), 0.0)
        self._shown_size = description.width, description.height

        image, segments = _decode(frame)
        if image is None:
            image = self._background(description.coded_width, description.coded_height).copy()
            fresh_area = 0.0
        else:
            fresh_area = self._fill_holes(image, description, segments)
        self._last = frame if fresh_area == 1 else image.copy()
        return DecodedPicture(image, fresh_area)

    def again(self) -> Picture:
        """What ``decode`` returned last, once more, for another who wants to draw on it."""
        last = self._last_picture()
        assert last is not None, "decode comes first"
        return self._enlarged(last.copy())

    def _enlarged(self, image: Picture) -> Picture:
        if self._shown_size is None or image.shape[1::-1] == self._shown_size:
            return image
        return np.asarray(cv2.resize(image, self._shown_size, interpolation=cv2.INTER_LINEAR), np.uint8)

    def _fill_holes(self, image: Picture, description: FrameDescription, segments: list[Segment]) -> float:
        """Copy the rectangles of all missing intervals from the last picture; return the share that was not missing."""
        background: Picture | None = None
        rim_x, rim_y = _TINTED_RIM[description.subsampling] if description.codec == Codec.JPEG else (0, 0)
        missing_pixels = 0
        for first, end in _missing_runs(description, segments):
            if background is None:
                background = self._background(description.coded_width, description.coded_height)
            for left, top, right, bottom in interval_rectangles(description, first, end):
                missing_pixels += (right - left) * (bottom - top)
                area = (
                    slice(max(0, top - rim_y), bottom + rim_y),
                    slice(max(0, left - rim_x), right + rim_x),
                )
                image[area] = background[area]
        return 1 - missing_pixels / (description.coded_width * description.coded_height)

    def _background(self, width: int, height: int) -> Picture:
        """The last picture in this size, or grey; to be read only."""
        last = self._last_picture()
        if last is None:
            return np.full((height, width, 3), GREY, np.uint8)
        if last.shape != (height, width, 3):
            return np.asarray(cv2.resize(last, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        return last

    def _last_picture(self) -> Picture | None:
        if isinstance(self._last, EncodedFrame):
            self._last = _decode(self._last)[0]
        return self._last


def interval_rectangles(description: FrameDescription, first: int, end: int) -> Iterator[Rectangle]:
    """The pixels of the intervals from ``first`` up to but not including ``end``: one to three rectangles.

    A run of units in raster order is the rest of a row, some whole rows, and the start of a row.
    """
    width, height = description.coded_width, description.coded_height
    unit_width, unit_height = MCU_SIZE[description.subsampling] if description.codec == Codec.JPEG else (1, 1)
    columns = -(-width // unit_width)
    rows = -(-height // unit_height)
    start = first * description.restart_interval
    stop = min(end * description.restart_interval, columns * rows)
    while start < stop:
        row, column = divmod(start, columns)
        if column == 0 and stop - start >= columns:
            last_row = stop // columns
            next_start = last_row * columns
            right = columns
        else:
            last_row = row + 1
            next_start = min(stop, last_row * columns)
            right = next_start - row * columns
        yield Rectangle(
            column * unit_width,
            row * unit_height,
            min(right * unit_width, width),
            min(last_row * unit_height, height),
        )
        start = next_start


def _missing_runs(description: FrameDescription, segments: list[Segment]) -> Iterator[tuple[int, int]]:
    next_interval = 0
    for segment in segments:
        if segment.first_interval > next_interval:
            yield next_interval, segment.first_interval
        next_interval = segment.first_interval + segment.interval_count
    if next_interval < description.interval_count:
        yield next_interval, description.interval_count


def _decode(frame: EncodedFrame) -> tuple[Picture | None, list[Segment]]:
    """A picture with grey holes, and the segments that were good; None if none was."""
    return _decode_jpeg(frame) if frame.description.codec == Codec.JPEG else _decode_lz4(frame)


def _decode_jpeg(frame: EncodedFrame) -> tuple[Picture | None, list[Segment]]:
    description = frame.description
    jpeg, segments = join_jpeg(frame)
    if not segments:
        return None, segments
    try:
        # The same libjpeg-turbo as OpenCV's and the same pixels, but by its faster interface: 1.1 instead of 1.4 ms at
        # 640x360, 4.4 instead of 7.1 ms at 720p. Not strict: what is wrong inside an interval stays inside its rectangle.
        image = np.asarray(simplejpeg.decode_jpeg(jpeg, "BGR", strict=False), np.uint8)
    except ValueError:
        return None, segments
    if image.shape != (description.coded_height, description.coded_width, 3):
        return None, segments
    return image, segments


def _decode_lz4(frame: EncodedFrame) -> tuple[Picture | None, list[Segment]]:
    image, segments = unpack_pixels(frame)
    if not segments:
        return None, segments
    if image.ndim == 2:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return image, segments


def _is_valid(description: FrameDescription) -> bool:
    """The limits of the wire once more, because a decoder allocates by these numbers."""
    codec, width, height, quality, subsampling, restart_interval, scale_step = description
    return (
        codec in (Codec.JPEG, Codec.LZ4)
        and 1 <= width <= PICTURE_MAX_WIDTH
        and 1 <= height <= PICTURE_MAX_HEIGHT
        and 1 <= restart_interval <= 0xFFFF
        and (1 <= quality <= 100 or codec == Codec.LZ4)
        and subsampling in MCU_SIZE
        and 0 <= scale_step < len(SCALES)
        and (codec == Codec.JPEG or (subsampling in (Subsampling.GREY, Subsampling.S444) and not scale_step))
    )

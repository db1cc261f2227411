"""JPEG cut into restart intervals that decode alone, and put together again around the missing ones.

The encoder is OpenCV's (libjpeg-turbo). An interval takes a row of MCUs, or an equal part of one where rows are large;
DC prediction and bit alignment start anew at each, so it needs no other byte of the frame. The receiver writes its own
header (see jpeg_header.py) and flat grey intervals into the holes: what a decoder sees is always a whole picture.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from math import ceil
from operator import sub
from typing import Final

from udpconf.errors import PIP, MissingDependencyError, UdpconfError
from udpconf.frames import MCU_SIZE, Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.media.jpeg_header import END_OF_IMAGE, flat_interval, jpeg_header
from udpconf.media.native import cv2
from udpconf.media.picture import Picture, checked_picture

_MARKER_BYTES = 2
_MARKERS = tuple(bytes((0xFF, 0xD0 + number)) for number in range(8))

# Intervals are packed whole into datagrams. Measured on a film at 3 Mbit/s: with a mean of at most a third of the payload
# datagrams are 85 % full; rows of half a payload need 15 to 25 % more datagrams. At a quarter the frame needs 1 % fewer
# datagrams but has 40 % more intervals, each of which costs both ends some microseconds.
_MEAN_SHARE = 1 / 3
# The largest interval of the next frame may be larger than that of this one.
_PEAK_SHARE = 0.7
# Segments are made even, as parity is as long as the longest of them: of a film at 3 Mbit/s by 2 %, for 20 us a picture. So many
# bytes more or less are no matter.
_EVEN_BYTES = 16
# Fewer parts only if they would also do for a picture this much larger: equal descriptions from frame to frame are
# worth more than the last byte.
_PARTS_HYSTERESIS = 1.3
# Bytes per MCU before anything was encoded: a film at quality 50 (measured).
_FIRST_GUESS_BYTES = 40.0

_SAMPLING_FACTOR: Final = {
    Subsampling.S420: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    Subsampling.S422: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    Subsampling.S444: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


class JpegEncoder:
    """Compresses the pictures of one stream; learns from each how to cut the next. Not for two threads at once."""

    def __init__(self, subsampling: Subsampling = Subsampling.S420) -> None:
        """Colour pictures are stored with ``subsampling``; grey ones have no colours to store."""
        self._subsampling = subsampling
        self._parts = 1  # of an MCU row that are an interval each
        self._mean_bytes = _FIRST_GUESS_BYTES  # per MCU, over the last frame
        self._peak_bytes = _FIRST_GUESS_BYTES  # per MCU, in its largest interval
        self.encodes = 0  # calls of the compressor, to be compared with the frames

    def encode(self, image: Picture, quality: int, capture_us: int, max_segment_bytes: int) -> EncodedFrame:
        """Compress a picture into segments of whole restart intervals, as many as fit.

        Args:
            image: uint8[h, w, 3] BGR or uint8[h, w] grey, any strides, at most 3840x2160.
            quality: 1..100, libjpeg's scale.
            capture_us: when the picture was taken, CLOCK_MONOTONIC microseconds.
            max_segment_bytes: no segment is larger; at least 512.

        Raises:
            ConfigError: the picture is too large.
            LocalProtocolError: it is not a picture.
            MissingDependencyError: this OpenCV writes JPEGs that the receiver cannot rebuild.
        """
        image = checked_picture(image)
        height, width = image.shape[:2]
        subsampling = Subsampling.GREY if image.ndim == 2 else self._subsampling
        mcus_in_row = -(-width // MCU_SIZE[subsampling][0])

        parts = self._next_parts(mcus_in_row, max_segment_bytes)
        while True:
            interval_mcus = -(-mcus_in_row // parts)
            description = FrameDescription(Codec.JPEG, width, height, quality, subsampling, interval_mcus)
            data, starts = self._encode_scan(image, description)
            largest = max(map(sub, starts[1:], starts)) - _MARKER_BYTES
            if largest <= max_segment_bytes:
                break
            if interval_mcus > 1:
                wanted_mcus = int(interval_mcus * max_segment_bytes * _PEAK_SHARE / largest)
                parts = -(-mcus_in_row // min(max(1, wanted_mcus), interval_mcus - 1))
            elif quality > 1:
                # Noise at the highest qualities: a single MCU has more bytes than a datagram.
                quality = quality * 3 // 4
            else:
                raise UdpconfError(f"A single JPEG unit does not fit into {max_segment_bytes} bytes.")

        self._parts = parts
        self._mean_bytes = len(data) / _mcu_count(description)
        self._peak_bytes = largest / interval_mcus
        segments = tuple(_packed(data, starts, _even_cuts(starts, max_segment_bytes, largest)))
        return EncodedFrame(description, segments, capture_us)

    def _next_parts(self, mcus_in_row: int, max_segment_bytes: int) -> int:
        """Into how many intervals to cut a row of MCUs, if the picture compresses like the last one."""
        parts = mcus_in_row * max(
            self._mean_bytes / (max_segment_bytes * _MEAN_SHARE),
            self._peak_bytes / (max_segment_bytes * _PEAK_SHARE),
        )
        if parts < self._parts:
            parts = min(self._parts, parts * _PARTS_HYSTERESIS)
        return min(max(1, ceil(parts)), mcus_in_row)

    def _encode_scan(self, image: Picture, description: FrameDescription) -> tuple[bytes, list[int]]:
        """The entropy-coded data with its markers, and behind which of them each interval starts, the end of all included."""
        self.encodes += 1
        parameters = [
            cv2.IMWRITE_JPEG_QUALITY,
            description.quality,
            cv2.IMWRITE_JPEG_RST_INTERVAL,
            description.restart_interval,
        ]
        if description.subsampling != Subsampling.GREY:
            parameters += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SAMPLING_FACTOR[description.subsampling]]
        _, encoded = cv2.imencode(".jpg", image, parameters)
        header = jpeg_header(description)
        if encoded[: len(header)].tobytes() != header:
            raise MissingDependencyError(
                f"OpenCV {cv2.__version__} writes JPEG headers that differ from libjpeg's standard ones, so a receiver "
                f"could not rebuild them. Install the wheel from PyPI: {PIP} install --force-reinstall opencv-python"
            )
        scan = encoded[len(header) :].tobytes()
        return scan, [0, *(marker.end() for marker in _MARKER_OR_END.finditer(scan))]


def _cuts(starts: list[int], max_segment_bytes: int) -> list[int]:
    """The intervals with which segments begin that hold as many whole intervals as fit, and the end of all."""
    cuts = [0]
    while cuts[-1] < len(starts) - 1:
        limit = starts[cuts[-1]] + max_segment_bytes + _MARKER_BYTES
        cuts.append(bisect_right(starts, limit, cuts[-1] + 1) - 1)
    return cuts


def _even_cuts(starts: list[int], max_segment_bytes: int, largest_interval_bytes: int) -> list[int]:
    """The same number of segments, but about as large as each other."""
    cuts = _cuts(starts, max_segment_bytes)
    mean_bytes = starts[-1] // (len(cuts) - 1)
    too_small, enough = max(mean_bytes, largest_interval_bytes) - 1, max_segment_bytes
    while enough - too_small > _EVEN_BYTES:
        middle = (too_small + enough + 1) // 2
        evener = _cuts(starts, middle)
        if len(evener) == len(cuts):
            cuts, enough = evener, middle
        else:
            too_small = middle
    return cuts


def _packed(data: bytes, starts: list[int], cuts: list[int]) -> Iterator[Segment]:
    """Slices of whole intervals, the markers between them where the encoder wrote them."""
    for first, end in pairwise(cuts):
        yield Segment(first, end - first, data[starts[first] : starts[end] - _MARKER_BYTES])


def write_jpeg(frame: EncodedFrame) -> bytes:
    """A whole JPEG file for a frame: its segments between our own header and flat intervals where there are none.

    The segments may come from the network: each one that is not a plain row of its intervals counts as missing. The
    description must be a valid one.
    """
    return join_jpeg(frame)[0]


def join_jpeg(frame: EncodedFrame) -> tuple[bytes, list[Segment]]:
    """As ``write_jpeg``, with the segments that were good, in order and without overlap."""
    segments: list[Segment] = []
    next_interval = 0
    interval_count = frame.description.interval_count
    for segment in frame.segments:
        first, count, data = segment
        if data and first >= next_interval and 1 <= count <= interval_count - first:
            segments.append(segment)
            next_interval = first + count

    # One look at the whole scan is much cheaper than one at each segment. It sees all that they would: a marker too
    # many or too few in one of them is followed by one that is out of order.
    scan = _join_scan(frame.description, segments)
    if not _is_entropy_coded(scan, 0, interval_count):
        segments = [segment for segment in segments if _is_entropy_coded(segment.data, *segment[:2])]
        scan = _join_scan(frame.description, segments)
    return b"".join((jpeg_header(frame.description), scan, END_OF_IMAGE)), segments


# RST0 to RST7, and EOI. (NumPy finds them in half the time when it is warm, but after a compression it is not.)
_MARKER_OR_END = re.compile(rb"\xff[\xd0-\xd9]")
# An FF that is not stuffed: a marker, or the beginning of one.
_MARKER = re.compile(rb"\xff[^\x00]")


def _is_entropy_coded(data: bytes, first_interval: int, interval_count: int) -> bool:
    """Each FF is stuffed, but for one restart marker between two intervals, in their cyclic order (T.81, E.1.4)."""
    return data[-1] != 0xFF and b"".join(_MARKER.findall(data)) == _restarts(first_interval, interval_count)


@lru_cache(maxsize=256)
def _restarts(first_interval: int, interval_count: int) -> bytes:
    """The markers inside a row of intervals, one after the other."""
    return b"".join(
        _MARKERS[number & 7] for number in range(first_interval, first_interval + interval_count - 1)
    )


def _join_scan(description: FrameDescription, segments: list[Segment]) -> bytes:
    parts: list[bytes] = []
    next_interval = 0
    for first, count, data in segments:
        if first > next_interval:
            _append_flat(parts, description, next_interval, first)
        next_interval = first + count
        parts += (data, _MARKERS[(next_interval - 1) % 8])
    _append_flat(parts, description, next_interval, description.interval_count)
    parts.pop()  # no marker after the last interval
    return b"".join(parts)


def _append_flat(parts: list[bytes], description: FrameDescription, first: int, end: int) -> None:
    """Mid-grey intervals with their markers, for a hole from ``first`` up to but not including ``end``."""
    for number in range(first, end):
        units = min(
            description.restart_interval, _mcu_count(description) - number * description.restart_interval
        )
        parts += (flat_interval(units, description.subsampling), _MARKERS[number % 8])


def _mcu_count(description: FrameDescription) -> int:
    mcu_width, mcu_height = MCU_SIZE[description.subsampling]
    return -(-description.coded_width // mcu_width) * -(-description.coded_height // mcu_height)

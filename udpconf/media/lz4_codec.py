"""Lossless pictures for screens on a LAN: runs of pixels in raster order, each packed as an lz4 block of its own.

A block fits a datagram and unpacks without any other, so a lost datagram costs a run of pixels. How many bytes it
unpacks to follows from the frame's description and the block's place, and is bounded before anything is unpacked.
"""

from collections.abc import Iterator

import lz4.block
import numpy as np

from udpconf.errors import LocalProtocolError
from udpconf.frames import Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.media.picture import Picture, checked_picture

# The unit in which holes are counted. 192 bytes of BGR: five of them fill a datagram with noise, and even a screen of
# 3840x2160 has only 129600.
INTERVAL_PIXELS = 64
# An lz4 block of n incompressible bytes takes n + n / 255 + 16 at most (LZ4_compressBound).
MIN_SEGMENT_BYTES = INTERVAL_PIXELS * 3 + 17

# Neighbouring runs compress alike, but not equally: aim below the limit, or every second block is packed twice.
_FILL = 0.88
# A run of background right after text compresses a hundred times better; go there in steps.
_GROWTH_MAX = 4
# lz4's own compressor never does better than 255:1; a block much longer than this would only be packed again.
_BLOCK_RAW_MAX_BYTES = 1 << 18


class Lz4Encoder:
    """Packs the pictures of one stream; cuts each like the last, as screens stand still. Not for two threads at once."""

    def __init__(self) -> None:
        self._last_counts: dict[int, int] = {}  # intervals in the last frame's segment that began there
        self.blocks_packed = 0  # calls of the compressor, to be compared with the segments

    def encode(self, image: Picture, capture_us: int, max_segment_bytes: int) -> EncodedFrame:
        """Pack a picture into self-contained segments.

        Args:
            image: uint8[h, w, 3] BGR or uint8[h, w] grey, any strides, at most 3840x2160.
            capture_us: when the picture was taken, CLOCK_MONOTONIC microseconds.
            max_segment_bytes: no segment is larger; at least MIN_SEGMENT_BYTES.

        Raises:
            ConfigError: the picture is too large.
            LocalProtocolError: it is not a picture, or the segments are to be too small.
        """
        if max_segment_bytes < MIN_SEGMENT_BYTES:
            raise LocalProtocolError(
                f"lz4 needs segments of at least {MIN_SEGMENT_BYTES} bytes, not {max_segment_bytes}."
            )
        image = checked_picture(image)
        height, width = image.shape[:2]
        subsampling = Subsampling.GREY if image.ndim == 2 else Subsampling.S444
        description = FrameDescription(Codec.LZ4, width, height, 0, subsampling, INTERVAL_PIXELS)
        segments = tuple(self._pack(image.reshape(-1).data, description, max_segment_bytes))
        self._last_counts = {segment.first_interval: segment.interval_count for segment in segments}
        return EncodedFrame(description, segments, capture_us)

    def _pack(
        self, raw: memoryview, description: FrameDescription, max_segment_bytes: int
    ) -> Iterator[Segment]:
        interval_bytes = description.restart_interval * channels(description)
        longest = max(1, _BLOCK_RAW_MAX_BYTES // interval_bytes)
        end = description.interval_count
        first = 0
        guess = 1.0  # intervals that should fit, from the last segment's ratio
        while first < end:
            count = min(self._last_counts.get(first) or max(1, int(guess)), longest, end - first)
            while True:
                data = lz4.block.compress(
                    raw[first * interval_bytes : (first + count) * interval_bytes], store_size=False
                )
                self.blocks_packed += 1
                fitting = count * max_segment_bytes * _FILL / len(data)
                if len(data) <= max_segment_bytes:
                    break
                count = min(max(1, int(fitting)), count - 1)
            yield Segment(first, count, data)
            first += count
            guess = min(fitting, count * _GROWTH_MAX)


def channels(description: FrameDescription) -> int:
    """Bytes a pixel."""
    return 1 if description.subsampling == Subsampling.GREY else 3


def unpack_pixels(frame: EncodedFrame) -> tuple[Picture, list[Segment]]:
    """The picture with black where nothing came, and the segments that were good.

    The segments may come from the network: one that overlaps, leaves the picture or is not an lz4 block of exactly its
    pixels counts as missing. The description must be a valid one.

    Returns:
        uint8[h, w, 3] BGR or uint8[h, w], and the good segments in order.
    """
    description = frame.description
    interval_bytes = description.restart_interval * channels(description)
    flat = np.zeros(description.width * description.height * channels(description), np.uint8)
    good: list[Segment] = []
    next_interval = 0
    for segment in frame.segments:
        first, count, data = segment
        if first < next_interval or not 1 <= count <= description.interval_count - first:
            continue
        start = first * interval_bytes
        raw_bytes = min(count * interval_bytes, flat.size - start)
        try:
            raw = lz4.block.decompress(data, uncompressed_size=raw_bytes)
        except (lz4.block.LZ4BlockError, ValueError):
            continue
        if len(raw) != raw_bytes:
            continue
        flat[start : start + raw_bytes] = np.frombuffer(raw, np.uint8)
        good.append(segment)
        next_interval = first + count
    shape = (
        (description.height, description.width) if channels(description) == 1 else (description.height, -1, 3)
    )
    return flat.reshape(shape), good

"""The types that media and protocol share: a compressed picture as intervals that each decode alone.

A picture is a row of *intervals* in raster order. For JPEG an interval is one restart interval of the bitstream,
``restart_interval`` MCUs long; for lz4 it is a run of ``restart_interval`` pixels. The last one may be shorter. Whoever
has an interval's bytes can decode it without any other byte of the frame, which is why a lost datagram costs a few
rectangles and never a picture.

media cuts pictures into segments and puts them together again; proto decides which intervals are missing and until when
to wait for them. Neither knows more of the other than this file.
"""

from enum import IntEnum
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple


class Codec(IntEnum):
    """How a picture is compressed. The number is the one on the wire."""

    JPEG = 0
    LZ4 = 1


class Subsampling(IntEnum):
    """How the colours are stored. For lz4, GREY is one byte a pixel and S444 is BGR."""

    GREY = 0
    S420 = 1
    S422 = 2
    S444 = 3


# Width and height of a minimum coded unit in pixels, as JPEG interleaves it (ITU-T T.81, A.2).
MCU_SIZE: dict[Subsampling, tuple[int, int]] = {
    Subsampling.GREY: (8, 8),
    Subsampling.S420: (16, 16),
    Subsampling.S422: (16, 8),
    Subsampling.S444: (8, 8),
}


# Of a picture's width and height, what is sent of it: smaller where the path or the ceiling has no room for more. A step is
# a number of two bits on the wire.
SCALES = (1.0, 0.75, 0.5, 0.25)


class FrameDescription(NamedTuple):
    """All that a decoder must know besides the intervals; the receiver writes the JPEG header from it."""

    codec: Codec
    width: int  # pixels, as submitted and as shown
    height: int  # pixels
    quality: int  # 1..100, libjpeg's scale; 0 for lz4
    subsampling: Subsampling
    restart_interval: int  # MCUs (JPEG) or pixels (lz4) in an interval
    scale_step: int = 0  # index into SCALES; lz4: 0

    @property
    def coded_width(self) -> int:
        """Pixels of a line as they are compressed."""
        return max(1, round(self.width * SCALES[self.scale_step]))

    @property
    def coded_height(self) -> int:
        """Lines as they are compressed."""
        return max(1, round(self.height * SCALES[self.scale_step]))

    @property
    def interval_count(self) -> int:
        """Intervals in the whole picture, the shorter last one included."""
        return _interval_count(self)


@lru_cache(maxsize=256)  # asked for ten times a frame, and a stream repeats few descriptions
def _interval_count(description: FrameDescription) -> int:
    if description.codec == Codec.LZ4:
        units = description.width * description.height
    else:
        mcu_width, mcu_height = MCU_SIZE[description.subsampling]
        units = -(-description.coded_width // mcu_width) * -(-description.coded_height // mcu_height)
    return -(-units // description.restart_interval)


class Segment(NamedTuple):
    """The bytes of some consecutive intervals.

    JPEG: the entropy-coded data with the RST markers *between* its intervals, none before the first or after the last.
    lz4: one block without a header, which unpacks to the pixels of all its intervals.
    """

    first_interval: int
    interval_count: int
    data: bytes


_count_of, _data_of = itemgetter(1), itemgetter(2)  # of a segment


class EncodedFrame(NamedTuple):
    """A compressed picture. Segments are in order and do not overlap; a receiver's may leave holes."""

    description: FrameDescription
    segments: tuple[Segment, ...]
    capture_us: int  # CLOCK_MONOTONIC of whoever holds the frame, microseconds

    @property
    def coded_size(self) -> int:
        """Bytes of compressed picture, without any header."""
        return sum(map(len, map(_data_of, self.segments)))

    @property
    def complete(self) -> bool:
        """No interval is missing."""
        count: int = sum(map(_count_of, self.segments))
        return count == self.description.interval_count


class ReceivedFrame(NamedTuple):
    """A frame that is due: whole, or with holes because its deadline has come."""

    frame_id: int  # the sender's count of accepted pictures, from 0
    encoded: EncodedFrame  # capture_us is on this machine's clock
    capture_wall_us: int  # the sender's wall clock at the capture, microseconds since 1970, UTC
    received_us: int  # arrival of the last datagram used
    playout_us: int  # when it is to be shown, at the latest


# How long the frames of a stream may be, and how long one counts whose first byte says none of these.
OPUS_FRAMES_US = (5_000, 10_000, 20_000)
OPUS_FRAME_US = 10_000


def _opus_duration_us(first_byte: int) -> int:
    if first_byte < 0x80 or first_byte & 3:
        return OPUS_FRAME_US
    duration_us = 2_500 << (first_byte >> 3 & 3)
    return duration_us if duration_us in OPUS_FRAMES_US else OPUS_FRAME_US


_OPUS_DURATIONS_US = tuple(map(_opus_duration_us, range(256)))  # asked for six times a frame


def opus_duration_us(data: bytes) -> int:
    """How long the sound of an Opus packet is, by its first byte (RFC 6716, section 3.1), if it is one CELT frame of our lengths.

    Anything else counts 10 ms, which the decoder finds to be true or puts made-up sound in its place.
    """
    return _OPUS_DURATIONS_US[data[0]] if data else OPUS_FRAME_US


def silence_mark(data: bytes) -> bytes:
    """What stands for silence from this Opus packet on until the next one that is none: its first byte alone.

    For Opus that is a packet without a frame in it (RFC 6716, section 3.2.1), so whoever knows nothing of marks makes
    something up for it, as long as the packet would have been.
    """
    return bytes((data[0] & 0xFC,))


def is_silence_mark(data: bytes) -> bool:
    """The first byte of one CELT frame, as ours are, and no frame."""
    return len(data) == 1 and data[0] & 0x83 == 0x80


# In a recording, sound goes on after a mark at most this long; marks come every 400 ms (media/silence.py), so then four have
# been lost, or the sender has gone. A player rests as long.
SILENCE_MAX_US = 2_000_000


class OpusFrame(NamedTuple):
    """One compressed piece of sound, as it should be played or recorded."""

    capture_us: int  # CLOCK_MONOTONIC of whoever holds the frame, at its first sample
    data: bytes | None  # None: lost, to be concealed

    @property
    def duration_us(self) -> int:
        """Of a frame with data: see ``opus_duration_us``."""
        return opus_duration_us(self.data or b"")

    @property
    def channels(self) -> int:
        """1, or 2 if the first byte says stereo (RFC 6716, section 3.1); 1 without data."""
        return 2 if self.data and self.data[0] & 0x04 else 1


SEPARATOR_BYTES = 2


def separator(codec: Codec, interval: int) -> bytes:
    """Bytes that stand before an interval when it follows another in one segment: JPEG's RSTn, n counting modulo 8."""
    if codec == Codec.LZ4 or interval == 0:
        return b""
    return bytes((0xFF, 0xD0 + (interval - 1) % 8))

"""Pictures for tests of the core, which never looks inside them."""

import random

from udpconf.frames import Codec, EncodedFrame, FrameDescription, Segment, Subsampling


def picture(frame_id: int, capture_us: int, coded_bytes: int = 12_500, *, seed: int = 0) -> EncodedFrame:
    """A 640x360 frame of 23 rows with the sizes of a film's, and bytes that no marker scan would stop at."""
    rng = random.Random(f"{seed}/{frame_id}")
    rows = 23
    weights = [rng.uniform(0.5, 1.5) for _ in range(rows)]
    total = sum(weights)
    segments = tuple(
        Segment(row, 1, rng.randbytes(max(8, int(coded_bytes * weight / total))).replace(b"\xff", b"\xfe"))
        for row, weight in enumerate(weights)
    )
    description = FrameDescription(Codec.JPEG, 640, 360, 50, Subsampling.S420, 40)
    return EncodedFrame(description, segments, capture_us)


def picture_of_rows(frame_id: int, capture_us: int, rows: int) -> EncodedFrame:
    """A large picture, each half row of which fills a datagram."""
    description = FrameDescription(Codec.JPEG, 1280, 8 * rows, 50, Subsampling.S420, 40)
    segments = tuple(Segment(row, 1, bytes([frame_id % 200]) * 1000) for row in range(rows))
    return EncodedFrame(description, segments, capture_us)

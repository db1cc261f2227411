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

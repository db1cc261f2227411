"""A compressed picture becomes shards: datagrams of whole intervals, each decodable without any other.

Small JPEG intervals share a shard, joined by their RST markers. A frame of many shards is dealt to several blocks in
turn, so that the parity of one block (at most 255 shards in GF(2^8)) meets only a part of a burst.
"""

from operator import add

from udpconf.errors import LocalProtocolError
from udpconf.frames import SEPARATOR_BYTES, Codec, EncodedFrame, Segment, separator
from udpconf.limits import FRAME_MAX_BYTES, SHARDS_PER_FRAME_MAX
from udpconf.wire.frames import SHARD_PAYLOAD_BYTES, SHARD_PAYLOAD_MAX_BYTES, VideoShard

# Half of GF(2^8): as much parity as data stays possible in every block.
DATA_SHARDS_PER_BLOCK = 128
INTERVALS_PER_SHARD_MAX = 0xFFFF


def pack_segments(frame: EncodedFrame, payload_bytes: int = SHARD_PAYLOAD_BYTES) -> list[Segment]:
    """Join neighbouring segments while they fit; lz4 blocks stay as they are, each fills its shard by construction.

    A segment that was made for larger datagrams than the path carries by now goes out nevertheless.
    """
    sizes = [len(segment.data) for segment in frame.segments]
    # An encoder that knows the path has joined them itself.
    joined_already = min(map(add, sizes, sizes[1:]), default=0) + SEPARATOR_BYTES > payload_bytes
    if frame.description.codec == Codec.LZ4 or joined_already:
        packed, largest = list(frame.segments), max(sizes, default=0)
    else:
        packed = _joined(frame, payload_bytes)
        largest = max((len(segment.data) for segment in packed), default=0)
    if largest > max(payload_bytes, SHARD_PAYLOAD_MAX_BYTES):
        raise LocalProtocolError(
            f"A segment of {largest} bytes does not fit into a datagram's {SHARD_PAYLOAD_MAX_BYTES}; "
            "the encoder was given another max_segment_bytes."
        )
    return packed


def _joined(frame: EncodedFrame, payload_bytes: int) -> list[Segment]:
    """As many neighbours in each as fit."""
    packed: list[Segment] = []
    parts: list[bytes] = []
    size = first = count = 0
    for segment in frame.segments:
        marker = separator(frame.description.codec, segment.first_interval)
        joined = size + len(marker) + len(segment.data)
        if (
            parts
            and joined <= payload_bytes
            and segment.first_interval == first + count
            and count + segment.interval_count <= INTERVALS_PER_SHARD_MAX
        ):
            parts += (marker, segment.data)
            size = joined
            count += segment.interval_count
        else:
            if parts:
                packed.append(Segment(first, count, b"".join(parts)))
            parts = [segment.data]
            first, count, size = segment.first_interval, segment.interval_count, len(segment.data)
    if parts:
        packed.append(Segment(first, count, b"".join(parts)))
    return packed


def packetize(
    frame: EncodedFrame, frame_id: int, payload_bytes: int = SHARD_PAYLOAD_BYTES, stream: int = 0
) -> list[VideoShard]:
    """Cut a frame into data shards, in the order in which they are sent.

    Raises:
        LocalProtocolError: a segment, or the frame, is larger than limits.py allows.
    """
    segments = pack_segments(frame, payload_bytes)
    if len(segments) > SHARDS_PER_FRAME_MAX or frame.coded_size > FRAME_MAX_BYTES:
        raise LocalProtocolError(
            f"A frame of {frame.coded_size} bytes in {len(segments)} datagrams is over the limit of {FRAME_MAX_BYTES} "
            f"bytes in {SHARDS_PER_FRAME_MAX}; lower the quality or the width."
        )
    blocks = -(-len(segments) // DATA_SHARDS_PER_BLOCK)
    return [
        VideoShard(
            stream,
            frame_id,
            place % blocks,
            blocks,
            place // blocks,
            (len(segments) - place % blocks + blocks - 1) // blocks,
            frame.capture_us,
            frame.description,
            segment.first_interval,
            segment.interval_count,
            segment.data,
        )
        for place, segment in enumerate(segments)
    ]

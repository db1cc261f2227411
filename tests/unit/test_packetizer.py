"""Frames into shards."""

import pytest

from tests.pictures import picture
from udpconf.errors import LocalProtocolError
from udpconf.frames import Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.limits import DATAGRAM_DEFAULT_BYTES, FRAME_MAX_BYTES
from udpconf.proto.packetizer import DATA_SHARDS_PER_BLOCK, pack_segments, packetize
from udpconf.wire.envelope import OVERHEAD_BYTES
from udpconf.wire.frames import SHARD_PAYLOAD_BYTES, SHARD_PAYLOAD_MAX_BYTES, encode_video


def test_shards_hold_whole_intervals_joined_by_their_restart_markers() -> None:
    description = FrameDescription(Codec.JPEG, 32, 48, 50, Subsampling.S420, 2)
    frame = EncodedFrame(
        description, (Segment(0, 1, b"a" * 500), Segment(1, 1, b"b" * 500), Segment(2, 1, b"c" * 500)), 0
    )
    assert pack_segments(frame) == [
        Segment(0, 2, b"a" * 500 + b"\xff\xd0" + b"b" * 500),
        Segment(2, 1, b"c" * 500),
    ]


def test_a_hole_in_the_frame_is_never_bridged() -> None:
    description = FrameDescription(Codec.JPEG, 32, 48, 50, Subsampling.S420, 2)
    frame = EncodedFrame(description, (Segment(0, 1, b"a"), Segment(2, 1, b"c")), 0)
    assert pack_segments(frame) == [Segment(0, 1, b"a"), Segment(2, 1, b"c")]


def test_every_shard_fits_into_a_datagram_of_the_default_size() -> None:
    frame = picture(0, 0)
    shards = packetize(frame, 7)
    assert all(OVERHEAD_BYTES + len(encode_video(shard)) <= DATAGRAM_DEFAULT_BYTES for shard in shards)
    assert sum(shard.interval_count for shard in shards) == frame.description.interval_count
    assert {(shard.frame_id, shard.block, shard.data_shards) for shard in shards} == {(7, 0, len(shards))}
    assert [shard.shard_index for shard in shards] == list(range(len(shards)))


def test_a_large_frame_is_dealt_to_blocks_in_turn() -> None:
    count = 2 * DATA_SHARDS_PER_BLOCK + 5
    description = FrameDescription(Codec.LZ4, 128, count, 0, Subsampling.S444, 128)
    frame = EncodedFrame(description, tuple(Segment(row, 1, b"x") for row in range(count)), 0)
    shards = packetize(frame, 0)
    assert [shard.block for shard in shards[:4]] == [0, 1, 2, 0]
    for block in range(3):
        own = [shard for shard in shards if shard.block == block]
        assert [shard.shard_index for shard in own] == list(range(len(own)))
        assert {shard.data_shards for shard in own} == {len(own)}
        assert len(own) <= DATA_SHARDS_PER_BLOCK


@pytest.mark.parametrize("over", [-1, 0, SHARD_PAYLOAD_MAX_BYTES - SHARD_PAYLOAD_BYTES])
def test_a_segment_up_to_the_largest_payload_is_taken_even_if_the_path_carries_less_by_now(over: int) -> None:
    description = FrameDescription(Codec.JPEG, 16, 16, 50, Subsampling.S420, 1)
    size = SHARD_PAYLOAD_BYTES + over
    assert len(packetize(EncodedFrame(description, (Segment(0, 1, bytes(size)),), 0), 0)) == 1


def test_a_segment_over_the_largest_payload_is_the_encoders_fault() -> None:
    description = FrameDescription(Codec.JPEG, 16, 16, 50, Subsampling.S420, 1)
    frame = EncodedFrame(description, (Segment(0, 1, bytes(SHARD_PAYLOAD_MAX_BYTES + 1)),), 0)
    with pytest.raises(LocalProtocolError, match="max_segment_bytes"):
        packetize(frame, 0)


@pytest.mark.parametrize(("over", "fits"), [(-1, True), (0, True), (1, False)])
def test_a_frame_over_the_limit_of_bytes_is_not_sent(over: int, fits: bool) -> None:
    total = FRAME_MAX_BYTES + over
    sizes = [1140] * (total // 1140) + [total % 1140]
    description = FrameDescription(Codec.LZ4, 3840, 2160, 0, Subsampling.S444, 128)
    frame = EncodedFrame(description, tuple(Segment(i, 1, bytes(n)) for i, n in enumerate(sizes)), 0)
    if fits:
        assert len(packetize(frame, 0)) == len(sizes)
    else:
        with pytest.raises(LocalProtocolError, match="over the limit"):
            packetize(frame, 0)

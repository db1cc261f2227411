"""Shards that nobody received come back from parity, with their places; made-up parity harms nothing."""

import random

import pytest

from tests.pictures import picture, picture_of_rows
from udpconf.emulation.loss import loss_model
from udpconf.frames import Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.proto.erasure_code import ErasureCode
from udpconf.proto.jitter_buffer import JitterBuffer
from udpconf.proto.packetizer import packetize
from udpconf.proto.parity import FrameParity, parity_shards
from udpconf.proto.reassembly import SHARD_OBJECT_BYTES, OpenFrame, ReassemblyBudget, ShardFate, StreamBudget
from udpconf.proto.redundancy import parity_wanted
from udpconf.wire.envelope import MalformedPacket
from udpconf.wire.frames import (
    SHARD_PAYLOAD_BYTES,
    VIDEO_HEADER_BYTES,
    VideoShard,
    decode_frames_untrusted,
    encode_video,
)

CODE = ErasureCode()


def shards_of(frame_id: int = 0) -> list[VideoShard]:
    return packetize(picture(frame_id, 0), frame_id)


def take(shards: list[VideoShard]) -> tuple[OpenFrame, list[ShardFate]]:
    budget = StreamBudget(ReassemblyBudget())
    frame = OpenFrame(CODE, shards[0], 0, 0)
    return frame, [frame.add(shard, 0, budget) for shard in shards]


@pytest.mark.parametrize("seed", range(20))
def test_any_shards_as_many_as_there_is_data_give_the_frame_back(seed: int) -> None:
    data = shards_of()
    k = len(data)
    everything = data + parity_shards(CODE, data, range(k, 2 * k))
    came = random.Random(seed).sample(everything, k)
    frame, fates = take(came)
    assert frame.complete
    assert set(fates) == {ShardFate.USED}
    assert frame.encoded() == take(data)[0].encoded()
    assert frame.shards_recovered == k - sum(shard.shard_index < k for shard in came)


def test_the_last_shard_that_is_needed_may_be_data_or_parity() -> None:
    data = shards_of()
    parity = parity_shards(CODE, data, [len(data)])
    for order in (parity + data[1:], data[1:] + parity):
        frame, _ = take(order)
        assert frame.complete
        assert frame.shards_recovered == 1


def test_parity_that_brings_nothing_new_is_a_duplicate() -> None:
    data = shards_of()
    parity = parity_shards(CODE, data, [len(data)])
    assert take(data + parity)[1][-1] is ShardFate.DUPLICATE
    assert take(data[2:] + parity + parity)[1][-1] is ShardFate.DUPLICATE


def test_a_shard_that_comes_after_it_was_recovered_is_a_duplicate() -> None:
    data = shards_of()
    parity = parity_shards(CODE, data, [len(data)])
    assert take(data[1:] + parity + data[:1])[1][-1] is ShardFate.DUPLICATE


def test_the_longest_parity_fits_the_datagram_of_the_longest_data() -> None:
    data = shards_of()
    full = data[0]._replace(payload=bytes(SHARD_PAYLOAD_BYTES))
    (parity,) = parity_shards(CODE, [full, *data[1:]], [len(data)])
    assert len(encode_video(parity)) == VIDEO_HEADER_BYTES + SHARD_PAYLOAD_BYTES + 7


def test_parity_survives_the_wire() -> None:
    data = shards_of()
    for shard in parity_shards(CODE, data, [len(data), 254]):
        assert decode_frames_untrusted(encode_video(shard)) == [shard]


@pytest.mark.parametrize("seed", range(50))
def test_made_up_parity_costs_its_own_frame_at_most(seed: int) -> None:
    rng = random.Random(seed)
    data = shards_of()
    k = len(data)
    made_up = [
        data[0]._replace(
            shard_index=rng.randint(k, 255), payload=rng.randbytes(rng.choice([0, 6, 7, 40, 1200]))
        )
        for _ in range(3)
    ]
    came = data[2:] + made_up + data[:2]
    frame, fates = take(came)
    assert len(fates) == len(came)
    encoded = frame.encoded()
    covered = [
        n
        for segment in encoded.segments
        for n in range(segment.first_interval, segment.first_interval + segment.interval_count)
    ]
    assert len(covered) == len(set(covered))
    assert set(covered) <= set(range(encoded.description.interval_count))
    assert {segment.data for segment in encoded.segments} >= {shard.payload for shard in data[2:]}, seed


def test_parity_is_held_within_the_streams_share_and_given_back() -> None:
    server = ReassemblyBudget()
    buffer = JitterBuffer(server, None)
    data = shards_of()
    parity = parity_shards(CODE, data, range(len(data), len(data) + 3))
    for shard in data[4:] + parity:
        buffer.handle_shard(0, shard, 0)
    held = [len(shard.payload) + SHARD_OBJECT_BYTES for shard in data[4:] + parity]
    assert server.used_bytes == sum(held)
    buffer.handle_timeout(10**9)
    assert server.used_bytes == 0
    assert buffer.counters.frames_with_holes == 1


def test_parity_that_was_made_up_is_computed_with_once() -> None:
    """Each attempt costs up to a millisecond, and a peer could pay for it with a datagram of 60 bytes."""
    data = shards_of()
    made_up = [data[0]._replace(shard_index=len(data) + n, payload=bytes([n]) * 60) for n in range(3)]
    frame, fates = take(data[1:] + made_up)
    assert not frame.complete
    assert fates[-3:] == [ShardFate.USED, ShardFate.DUPLICATE, ShardFate.DUPLICATE]
    assert frame.held_bytes == frame.coded_bytes + (len(data) - 1) * SHARD_OBJECT_BYTES


def test_parity_without_a_symbol_is_malformed() -> None:
    (parity,) = parity_shards(CODE, shards_of(), [len(shards_of())])
    for size, fits in ((0, False), (7, False), (8, True)):
        encoded = encode_video(parity._replace(payload=parity.payload[:size]))
        if fits:
            assert decode_frames_untrusted(encoded)
        else:
            with pytest.raises(MalformedPacket):
                decode_frames_untrusted(encoded)


def test_parity_behind_a_frame_that_was_whole_is_a_duplicate_and_not_late() -> None:
    buffer = JitterBuffer(ReassemblyBudget(), None)
    data = shards_of()
    for shard in data + parity_shards(CODE, data, [len(data)]):
        buffer.handle_shard(0, shard, 0)
    assert (buffer.counters.shards_duplicate, buffer.counters.shards_late) == (1, 0)


def test_a_frame_as_large_as_they_may_be_recovers_all_that_it_lost() -> None:
    description = FrameDescription(Codec.LZ4, 3840, 2160, 0, Subsampling.S444, 1200)
    segments = tuple(Segment(n, 1, bytes([n % 256]) * 900) for n in range(description.interval_count))
    data = packetize(EncodedFrame(description, segments, 0), 0)
    rng = random.Random(1)
    came = [shard for shard in data + FrameParity(CODE).of_frame(data, 0.2, 1.0) if rng.random() > 0.15]
    frame, fates = take(came)
    assert ShardFate.REFUSED not in fates
    assert frame.complete


def test_the_blocks_of_a_large_frame_share_a_long_run_of_losses_and_have_the_parity_for_it() -> None:
    data = packetize(picture_of_rows(0, 0, 270), 0)
    blocks, loss, burst = data[0].blocks, 0.05, 20.0
    assert blocks == 3
    shards = data + FrameParity(CODE).of_frame(data, loss, burst)
    path = loss_model(loss, burst)
    rng, state = random.Random(1), None
    fresh = 0.0
    for _ in range(300):
        lost = []
        for number in range(len(shards)):
            state, gone = path.step(number, state, rng.random(), rng.random())
            lost.append(gone)
        for block in range(blocks):
            k = data[block].data_shards  # which come before the block's parity
            of_block = [gone for gone, shard in zip(lost, shards, strict=True) if shard.block == block]
            fresh += 1 if sum(of_block) <= len(of_block) - k else 1 - sum(of_block[:k]) / k
    assert fresh / (300 * blocks) > 0.975  # 0.95 without parity


def test_fractions_of_a_shard_add_up_over_frames() -> None:
    data, loss = shards_of(), 0.15
    wanted = parity_wanted(len(data), loss)
    assert 0.1 < wanted % 1 < 0.9
    parity = FrameParity(CODE)
    counts = [len(parity.of_frame(data, loss, 1.0)) for _ in range(50)]
    assert set(counts) == {int(wanted), int(wanted) + 1}
    assert sum(counts) == pytest.approx(50 * wanted, abs=1)


def test_what_is_owed_is_forgotten_where_nothing_is_lost() -> None:
    data = shards_of()
    parity = FrameParity(CODE)
    for _ in range(20):
        parity.of_frame(data, 0.15, 1.0)
        assert not parity.of_frame(data, 0.0, 1.0)
    assert len(parity.of_frame(data, 0.15, 1.0)) == int(parity_wanted(len(data), 0.15))


def test_the_share_of_parity_is_the_mean_and_not_that_of_the_frame_that_gets_one_more() -> None:
    data, loss = shards_of(), 0.15
    parity = FrameParity(CODE)
    sent = [sum(len(shard.payload) for shard in parity.of_frame(data, loss, 1.0)) for _ in range(50)]
    data_bytes = sum(len(shard.payload) for shard in data)
    assert parity.share == pytest.approx(sum(sent) / 50 / data_bytes, rel=0.02)
    parity.of_frame(data, 0.0, 1.0)
    assert parity.share == 0

"""Whatever bytes come out of a packet, decoding them ends in frames or in MalformedPacket."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udpconf.frames import Codec, FrameDescription, Subsampling
from udpconf.limits import PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH
from udpconf.names import clean_name
from udpconf.wire.control import (
    decode_bye_untrusted,
    decode_confirm_untrusted,
    decode_stream_untrusted,
    decode_welcome_untrusted,
)
from udpconf.wire.envelope import MalformedPacket
from udpconf.wire.frames import Repair, VideoShard, decode_frames_untrusted, encode_repair, encode_video

TYPES = [0, 1, 2, 3, 4, 5, 6, 0x10, 0x11, 0x12, 0x13, 0xFF]


@given(st.lists(st.tuples(st.sampled_from(TYPES), st.binary(max_size=40)), max_size=6))
def test_any_bytes_give_frames_or_malformed_packet(parts: list[tuple[int, bytes]]) -> None:
    plaintext = b"".join(bytes([kind]) + rest for kind, rest in parts)
    try:
        for frame in decode_frames_untrusted(plaintext):
            if isinstance(frame, VideoShard):
                assert 0 < frame.description.width <= PICTURE_MAX_WIDTH
                assert 0 < frame.description.height <= PICTURE_MAX_HEIGHT
                last = frame.first_interval + frame.interval_count
                assert frame.shard_index >= frame.data_shards or last <= frame.description.interval_count
            if isinstance(frame, Repair):
                assert frame.missing > 0
    except MalformedPacket:
        pass


@given(st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_a_request_for_nothing_spoils_its_packet(frame_id: int, block: int, time_left_us: int) -> None:
    nothing = encode_repair(Repair(frame_id, block, 0, time_left_us))
    for plaintext in (nothing, encode_repair(Repair(frame_id, block, 1, time_left_us)) + nothing):
        with pytest.raises(MalformedPacket):
            decode_frames_untrusted(plaintext)


@given(st.binary(max_size=200))
def test_any_control_body_is_read_or_malformed(body: bytes) -> None:
    for decode in (
        decode_confirm_untrusted,
        decode_welcome_untrusted,
        decode_stream_untrusted,
        decode_bye_untrusted,
    ):
        with contextlib.suppress(MalformedPacket):
            decode(body)


@given(
    st.sampled_from(
        [(Codec.JPEG, q, s) for q in (1, 50, 100) for s in Subsampling]
        + [(Codec.LZ4, 0, Subsampling.GREY), (Codec.LZ4, 0, Subsampling.S444)]
    ),
    st.integers(1, PICTURE_MAX_WIDTH),
    st.integers(1, PICTURE_MAX_HEIGHT),
    st.integers(1, 0xFFFF),
    st.data(),
)
def test_every_shard_that_can_be_sent_reads_back(
    kind: tuple[Codec, int, Subsampling], width: int, height: int, restart_interval: int, data: st.DataObject
) -> None:
    codec, quality, subsampling = kind
    scale_step = data.draw(st.integers(0, 3 if codec == Codec.JPEG else 0))
    description = FrameDescription(codec, width, height, quality, subsampling, restart_interval, scale_step)
    first = data.draw(st.integers(0, description.interval_count - 1))
    count = data.draw(st.integers(1, min(0xFFFF, description.interval_count - first)))
    shard = VideoShard(
        data.draw(st.integers(0, 255)),
        data.draw(st.integers(0, 2**32 - 1)),
        0,
        1,
        data.draw(st.integers(0, 9)),
        10,
        data.draw(st.integers(0, 2**32 - 1)),
        description,
        first,
        count,
        data.draw(st.binary(min_size=1, max_size=20)),
    )
    assert decode_frames_untrusted(encode_video(shard)) == [shard]


@given(st.text())
def test_any_name_becomes_a_harmless_label(name: str) -> None:
    label = clean_name(name)
    assert 0 < len(label.encode()) <= 64
    assert label.isprintable()
    assert not set(label) & set("/\\:\n\r\t\x1b\u202e")
    assert clean_name(label) == label

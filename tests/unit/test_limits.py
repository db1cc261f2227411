"""Each limit of the wire and of reassembly, at limit - 1, limit and limit + 1."""

import pytest

from tests.pictures import picture
from udpconf.frames import Codec, FrameDescription, Subsampling
from udpconf.limits import (
    CLIENTS_DEFAULT,
    CONTROL_BODY_MAX_BYTES,
    DATAGRAM_MAX_BYTES,
    FRAME_MAX_BYTES,
    OPUS_FRAME_MAX_BYTES,
    PICTURE_MAX_HEIGHT,
    PICTURE_MAX_WIDTH,
    SHARDS_PER_FRAME_MAX,
)
from udpconf.proto.erasure_code import ErasureCode
from udpconf.proto.packetizer import packetize
from udpconf.proto.reassembly import OpenFrame, ReassemblyBudget, ShardFate, StreamBudget
from udpconf.proto.server import ServerEndpoint
from udpconf.proto.server_config import ServerConfig
from udpconf.wire.envelope import MalformedPacket
from udpconf.wire.frames import (
    AudioBlock,
    AudioPacket,
    Control,
    VideoShard,
    decode_frames_untrusted,
    encode_audio,
    encode_control,
    encode_video,
)

AROUND = [(-1, True), (0, True), (1, False)]


def passes(plaintext: bytes) -> bool:
    try:
        decode_frames_untrusted(plaintext)
    except MalformedPacket:
        return False
    return True


@pytest.mark.parametrize(("over", "fits"), AROUND)
def test_a_control_body(over: int, fits: bool) -> None:
    assert passes(encode_control(Control(0, 1, bytes(CONTROL_BODY_MAX_BYTES + over)))) is fits


@pytest.mark.parametrize(("over", "fits"), AROUND)
def test_an_opus_frame(over: int, fits: bool) -> None:
    packet = AudioPacket(0, 0, (AudioBlock(0, bytes(OPUS_FRAME_MAX_BYTES + over)),))
    assert passes(encode_audio(packet)) is fits


@pytest.mark.parametrize(("over", "fits"), AROUND)
def test_the_copies_of_an_opus_frame(over: int, fits: bool) -> None:
    packet = AudioPacket(0, 0, tuple(AudioBlock(n, b"x") for n in range(4 + over)))
    assert passes(encode_audio(packet)) is fits


@pytest.mark.parametrize(("over", "fits"), AROUND)
@pytest.mark.parametrize("side", ["width", "height"])
def test_the_size_of_a_picture(side: str, over: int, fits: bool) -> None:
    width, height = PICTURE_MAX_WIDTH, PICTURE_MAX_HEIGHT
    if side == "width":
        width += over
    else:
        height += over
    description = FrameDescription(Codec.JPEG, width, height, 50, Subsampling.S420, 10)
    assert passes(encode_video(VideoShard(0, 0, 0, 1, 0, 1, 0, description, 0, 1, b"x"))) is fits


@pytest.mark.parametrize(("over", "fits"), AROUND)
def test_the_intervals_of_a_picture(over: int, fits: bool) -> None:
    description = FrameDescription(Codec.JPEG, 640, 360, 50, Subsampling.S420, 40)
    count = description.interval_count - 5 + over
    assert passes(encode_video(VideoShard(0, 0, 0, 1, 0, 1, 0, description, 5, count, b"x"))) is fits


@pytest.mark.parametrize(("over", "fits"), AROUND)
def test_the_bytes_of_an_open_frame(over: int, fits: bool) -> None:
    first, second = packetize(picture(0, 0), 0)[:2]
    frame = OpenFrame(ErasureCode(), first, 0, 0)
    budget = StreamBudget(ReassemblyBudget())
    assert frame.add(first._replace(payload=bytes(FRAME_MAX_BYTES - 10)), 0, budget) is ShardFate.USED
    fate = frame.add(second._replace(payload=bytes(10 + over)), 0, budget)
    assert fate is (ShardFate.USED if fits else ShardFate.REFUSED)


@pytest.mark.parametrize(("over", "fits"), AROUND)
def test_the_shards_of_an_open_frame(over: int, fits: bool) -> None:
    description = FrameDescription(Codec.LZ4, 3840, 2160, 0, Subsampling.S444, 128)
    shard = VideoShard(0, 0, 0, 255, 0, 255, 0, description, 0, 1, b"x")
    frame = OpenFrame(ErasureCode(), shard, 0, 0)
    budget = StreamBudget(ReassemblyBudget())
    fates = [
        frame.add(shard._replace(first_interval=n, block=n // 255, shard_index=n % 255), 0, budget)
        for n in range(SHARDS_PER_FRAME_MAX + over)
    ]
    assert (fates[-1] is ShardFate.USED) is fits
    assert set(fates[:-1]) == {ShardFate.USED}


@pytest.mark.parametrize(("over", "fits"), AROUND)
def test_the_length_of_a_datagram(over: int, fits: bool) -> None:
    server = ServerEndpoint(ServerConfig("k", CLIENTS_DEFAULT, null_cipher=True), 0, 0, bytes)
    server.handle_datagram(1, 0, ("10.0.0.2", 4), b"\x80" + bytes(DATAGRAM_MAX_BYTES - 1 + over))
    assert server.refused == {"unknown session" if fits else "length": 1}

"""Golden frames: the bytes inside a protected packet. docs/protocol.md quotes these tables."""

import pytest

from udpconf.frames import Codec, FrameDescription, Subsampling
from udpconf.limits import BLOCKS_MAX
from udpconf.wire.control import (
    Bye,
    Confirm,
    Offer,
    RosterEntry,
    Stream,
    Welcome,
    decode_bye_untrusted,
    decode_confirm_untrusted,
    decode_stream_untrusted,
    decode_welcome_untrusted,
    encode_bye,
    encode_confirm,
    encode_stream,
    encode_welcome,
)
from udpconf.wire.envelope import MalformedPacket
from udpconf.wire.frames import (
    AudioBind,
    AudioBlock,
    AudioBound,
    AudioPacket,
    Control,
    ControlAck,
    Feedback,
    Frame,
    Ping,
    Pong,
    Repair,
    Train,
    VideoShard,
    decode_frames_untrusted,
    encode_audio,
    encode_audio_bind,
    encode_audio_bound,
    encode_control,
    encode_control_ack,
    encode_feedback,
    encode_ping,
    encode_pong,
    encode_repair,
    encode_train,
    encode_video,
)

PING = Ping(0x0102030405060708, 0x1112131415161718)
PONG = Pong(0x0102030405060708, 0x2122232425262728, 0x3132333435363738)
SHARD = VideoShard(
    stream=0,
    frame_id=0x01020304,
    block=1,
    blocks=2,
    shard_index=3,
    data_shards=9,
    capture_us=0x0A0B0C0D,
    description=FrameDescription(Codec.JPEG, 640, 360, 50, Subsampling.S420, 40),
    first_interval=5,
    interval_count=2,
    payload=b"\x12\x34\xff\xd4\x56",
)
SOUND = AudioPacket(0x0102, 0x0A0B0C0D, (AudioBlock(0, b"new"), AudioBlock(1, b"old!")))

GOLDEN: list[tuple[Frame, bytes, str]] = [
    (PING, encode_ping(PING), "01  0102030405060708  1112131415161718"),
    (PONG, encode_pong(PONG), "02  0102030405060708  2122232425262728  3132333435363738"),
    #                                       type number  kind length body
    (Control(7, 6, b"bye"), encode_control(Control(7, 6, b"bye")), "03 00000007 06 0003 627965"),
    (ControlAck(8), encode_control_ack(ControlAck(8)), "04 00000008"),
    (AudioBind(b"12345678"), encode_audio_bind(AudioBind(b"12345678")), "05 3132333435363738"),
    (AudioBound(b"12345678"), encode_audio_bound(AudioBound(b"12345678")), "06 3132333435363738"),
    (
        SHARD,
        encode_video(SHARD),
        # type stream frame id  block blocks index data shards  capture
        (
            "10    00     01020304  01    02     03    09           0a0b0c0d"
            # codec|subsampling quality width height restart interval   first interval count  payload
            "01                 32      0280  0168   0028               000005         0002   1234ffd456"
        ),
    ),
    (
        SOUND,
        encode_audio(SOUND),
        # type number capture  copies  distance length ...  data
        "11    0102   0a0b0c0d 01      00 0003  01 0004      6e6577 6f6c6421",
    ),
    (
        Feedback(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
        encode_feedback(Feedback(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)),
        (
            "12 00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008 00000009"
            "0000000a 0000000b 0000000c"
        ),
    ),
    (
        Train(0x01020304, 5, 6, 7, 8, 0x090A, 11),
        encode_train(Train(0x01020304, 5, 6, 7, 8, 0x090A, 11)),
        # type first    at       last     at       longest gap  packets next
        "14    01020304 00000005 00000006 00000007 00000008     090a    0000000b",
    ),
    (
        Repair(0x01020304, 5, 6, 0x0708090A),
        encode_repair(Repair(0x01020304, 5, 6, 0x0708090A)),
        # type frame id block missing time left
        "13    01020304 05    06      0708090a",
    ),
]


@pytest.mark.parametrize(("frame", "encoded", "hexadecimal"), GOLDEN, ids=lambda value: type(value).__name__)
def test_a_frame_is_these_bytes_and_reads_back(frame: Frame, encoded: bytes, hexadecimal: str) -> None:
    assert encoded.hex() == hexadecimal.replace(" ", "")
    assert decode_frames_untrusted(encoded) == [frame]


@pytest.mark.parametrize(("frame", "encoded", "hexadecimal"), GOLDEN, ids=lambda value: type(value).__name__)
def test_a_truncated_frame_is_malformed(frame: Frame, encoded: bytes, hexadecimal: str) -> None:
    shortest = 28 if isinstance(frame, VideoShard) else len(encoded)  # a shard runs to the end of its packet
    for length in range(1, shortest):
        with pytest.raises(MalformedPacket):
            decode_frames_untrusted(encoded[:length])


def test_several_frames_share_a_packet_and_padding_ends_it() -> None:
    packet = encode_ping(PING) + encode_control_ack(ControlAck(8)) + encode_audio(SOUND) + bytes(20)
    assert decode_frames_untrusted(packet) == [PING, ControlAck(8), SOUND]


def test_confirm_is_these_bytes() -> None:
    confirm = Confirm(bytes(range(16)), Offer.VIDEO | Offer.AUDIO, 150, 4000, 1, 2, "küche")
    encoded = encode_confirm(confirm)
    # resume secret                       role offer latency ceiling  clock            wall             name
    assert encoded.hex() == (
        "000102030405060708090a0b0c0d0e0f 00   03    0096    00000fa0 0000000000000001 0000000000000002 06 6bc3bc636865"
    ).replace(" ", "")
    assert decode_confirm_untrusted(encoded) == confirm
    assert decode_confirm_untrusted(encoded + b"of a newer version") == confirm


def test_welcome_is_these_bytes() -> None:
    welcome = Welcome(5556, 150, 1, (RosterEntry("0001020304050607", "cam"),))
    encoded = encode_welcome(welcome)
    # audio port  latency  clock            roster  client id        name
    assert (
        encoded.hex()
        == "15b4        0096     0000000000000001 01      0001020304050607 03 63616d".replace(" ", "")
    )
    assert decode_welcome_untrusted(encoded) == welcome


def test_a_long_roster_is_cut_to_what_a_control_frame_holds() -> None:
    roster = tuple(RosterEntry(f"{number:016x}", "n" * 64) for number in range(100))
    decoded = decode_welcome_untrusted(encode_welcome(Welcome(0, 0, 0, roster)))
    assert 0 < len(decoded.roster) < 100
    assert decoded.roster == roster[: len(decoded.roster)]


def test_stream_is_these_bytes() -> None:
    assert encode_stream(Stream(150)).hex() == "0096"
    assert decode_stream_untrusted(b"\x00\x96and what a newer version says") == Stream(150)
    with pytest.raises(MalformedPacket):
        decode_stream_untrusted(b"\x00")


def test_bye_is_these_bytes() -> None:
    assert encode_bye(Bye("done")).hex() == "0004646f6e65"
    assert decode_bye_untrusted(encode_bye(Bye("done"))) == Bye("done")


def test_a_frame_of_more_blocks_than_a_frame_may_have_is_malformed() -> None:
    most = SHARD._replace(block=0, blocks=BLOCKS_MAX)
    assert decode_frames_untrusted(encode_video(most)) == [most]
    with pytest.raises(MalformedPacket):
        decode_frames_untrusted(encode_video(most._replace(blocks=BLOCKS_MAX + 1)))

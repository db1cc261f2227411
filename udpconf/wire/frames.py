"""What travels inside a protected packet: a row of frames, each a type byte and fixed fields (docs/protocol.md).

    0x00 PADDING        the rest of the plaintext is ignored
    0x01 PING           sent_us u64 | wall_us u64
    0x02 PONG           ping_sent_us u64 | received_us u64 | sent_us u64
    0x03 CONTROL        number u32 | kind u8 | length u16 | body
    0x04 CONTROL_ACK    next number expected u32
    0x05 AUDIO_BIND     token 8 bytes
    0x06 AUDIO_BOUND    token 8 bytes
    0x10 VIDEO          one shard, to the end of the plaintext
    0x11 AUDIO          one Opus frame and copies of earlier ones
    0x12 FEEDBACK       what arrived of video and sound
    0x13 REPAIR         frame id u32 | block u8 | missing u8 | time left u32
    0x14 TRAIN          first number u32 | first time u32 | last number u32 | last time u32 |
                        longest gap u32 | packets u16 | next number u32

0x07 and 0x08 (path challenge and response) are reserved. Times are the sender's CLOCK_MONOTONIC in
microseconds unless they say "wall". Every ``decode_*_untrusted`` raises ``MalformedPacket`` and nothing else.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from udpconf.frames import Codec, FrameDescription, Subsampling
from udpconf.limits import (
    BLOCKS_MAX,
    CONTROL_BODY_MAX_BYTES,
    DATAGRAM_DEFAULT_BYTES,
    DATAGRAM_MAX_BYTES,
    OPUS_FRAME_MAX_BYTES,
    PICTURE_MAX_HEIGHT,
    PICTURE_MAX_WIDTH,
)
from udpconf.wire.envelope import OVERHEAD_BYTES, MalformedPacket

PADDING, PING, PONG, CONTROL, CONTROL_ACK, AUDIO_BIND, AUDIO_BOUND = range(7)
VIDEO, AUDIO, FEEDBACK, REPAIR, TRAIN = 0x10, 0x11, 0x12, 0x13, 0x14

TOKEN_BYTES = 8
AUDIO_COPIES_MAX = 3

_PING = struct.Struct(">BQQ")
_PONG = struct.Struct(">BQQQ")
_CONTROL = struct.Struct(">BIBH")
_CONTROL_ACK = struct.Struct(">BI")
_TOKEN = struct.Struct(">B8s")
_DESCRIPTION = struct.Struct(
    ">BBHHH"
)  # codec, scale and subsampling, quality, width, height, restart interval
_VIDEO = struct.Struct(">BBIBBBBI8sBHH")
_AUDIO = struct.Struct(">BHIB")
_AUDIO_BLOCK = struct.Struct(">BH")
_FEEDBACK = struct.Struct(">B12I")
_REPAIR = struct.Struct(">BIBBI")
_TRAIN = struct.Struct(">B5IHI")

VIDEO_HEADER_BYTES = _VIDEO.size
AUDIO_HEADER_BYTES, AUDIO_BLOCK_BYTES = _AUDIO.size, _AUDIO_BLOCK.size
# A parity shard codes its data shards' places as well as their bytes: length u16, first interval u24, count u16.
PARITY_PREFIX_BYTES = 7
# The interval count of a parity shard that answers a REPAIR; one that came with its frame has 0.
ANSWERS_REPAIR = 1
SHARD_PAYLOAD_BYTES = DATAGRAM_DEFAULT_BYTES - OVERHEAD_BYTES - VIDEO_HEADER_BYTES - PARITY_PREFIX_BYTES
SHARD_PAYLOAD_MAX_BYTES = SHARD_PAYLOAD_BYTES + DATAGRAM_MAX_BYTES - DATAGRAM_DEFAULT_BYTES


class Ping(NamedTuple):
    sent_us: int
    wall_us: int  # microseconds since 1970, UTC; for captions only


class Pong(NamedTuple):
    ping_sent_us: int  # echoed
    received_us: int  # replier's clock
    sent_us: int  # replier's clock


class Control(NamedTuple):
    number: int
    kind: int
    body: bytes


class ControlAck(NamedTuple):
    next_number: int


class AudioBind(NamedTuple):
    token: bytes


class AudioBound(NamedTuple):
    token: bytes


class VideoShard(NamedTuple):
    """A datagram's worth of one frame. ``shard_index`` below ``data_shards``: whole intervals; from there on: parity."""

    stream: int
    frame_id: int
    block: int
    blocks: int
    shard_index: int
    data_shards: int  # of this block
    capture_us: int  # low 32 bits
    description: FrameDescription
    first_interval: int
    interval_count: int
    payload: bytes

    @property
    def answers_repair(self) -> bool:
        """It is parity that was asked for."""
        return self.shard_index >= self.data_shards and self.interval_count == ANSWERS_REPAIR


class AudioBlock(NamedTuple):
    """One Opus frame, or a copy of an earlier one, ``distance`` frames before the packet's newest."""

    distance: int
    data: bytes


class AudioPacket(NamedTuple):
    """How long its frames are says the newest one's first byte (``frames.opus_duration_us``); all are as long."""

    sequence_number: int  # 16 bits, wraps; of the newest frame
    capture_us: int  # low 32 bits; of the newest frame
    blocks: tuple[AudioBlock, ...]  # the newest first


class Feedback(NamedTuple):
    """Totals since the session began, modulo 2^32, and two times; of the main channel first."""

    packets_received: int
    packets_lost: int
    loss_runs: int  # gaps in the packet numbers: packets_lost in so many bursts
    shards_late: int
    frames_whole: int
    frames_with_holes: int
    frames_skipped: int
    playout_delay_us: int  # capture to deadline, at this moment
    repair_time_us: int  # of it, what is left when nothing more of a frame is likely to come by itself
    sound_received: int  # packets of the audio channel, and so on
    sound_lost: int
    sound_loss_runs: int


class Repair(NamedTuple):
    """Send more of this block: ``missing`` shards not sent before would make it whole."""

    frame_id: int  # low 32 bits
    block: int
    missing: int  # 1..255
    time_left_us: int  # until the frame is shown, whole or not


class Train(NamedTuple):
    """When the packets of a picture came, those so far or all: they leave in one go, so what spreads them is the path."""

    first_number: int  # low 32 bits of the packet number
    first_us: int  # low 32 bits, the receiver's clock
    last_number: int
    last_us: int
    longest_gap_us: int  # between one of them and the next
    packets: int  # that came, in their order
    next_number: int  # of the first one of the next picture; the last number while none has come


Frame = (
    Ping
    | Pong
    | Control
    | ControlAck
    | AudioBind
    | AudioBound
    | VideoShard
    | AudioPacket
    | Feedback
    | Repair
    | Train
)


def encode_ping(ping: Ping) -> bytes:
    return _PING.pack(PING, *ping)


def encode_pong(pong: Pong) -> bytes:
    return _PONG.pack(PONG, *pong)


def encode_control(control: Control) -> bytes:
    return _CONTROL.pack(CONTROL, control.number, control.kind, len(control.body)) + control.body


def encode_control_ack(ack: ControlAck) -> bytes:
    return _CONTROL_ACK.pack(CONTROL_ACK, ack.next_number)


def encode_audio_bind(bind: AudioBind) -> bytes:
    return _TOKEN.pack(AUDIO_BIND, bind.token)


def encode_audio_bound(bound: AudioBound) -> bytes:
    return _TOKEN.pack(AUDIO_BOUND, bound.token)


def shard_payload_bytes(datagram_bytes: int) -> int:
    """What a datagram of this size leaves for a shard's segment."""
    return SHARD_PAYLOAD_BYTES + datagram_bytes - DATAGRAM_DEFAULT_BYTES


def encode_video(shard: VideoShard) -> bytes:
    first = shard.first_interval
    return (
        _VIDEO.pack(
            VIDEO,
            shard.stream,
            shard.frame_id & 0xFFFFFFFF,
            shard.block,
            shard.blocks,
            shard.shard_index,
            shard.data_shards,
            shard.capture_us & 0xFFFFFFFF,
            _encode_description(shard.description),
            first >> 16,
            first & 0xFFFF,
            shard.interval_count,
        )
        + shard.payload
    )


def encode_audio(packet: AudioPacket) -> bytes:
    copies = len(packet.blocks) - 1
    parts = [_AUDIO.pack(AUDIO, packet.sequence_number & 0xFFFF, packet.capture_us & 0xFFFFFFFF, copies)]
    parts += [_AUDIO_BLOCK.pack(block.distance, len(block.data)) for block in packet.blocks]
    parts += [block.data for block in packet.blocks]
    return b"".join(parts)


def encode_feedback(feedback: Feedback) -> bytes:
    return _FEEDBACK.pack(FEEDBACK, *(value & 0xFFFFFFFF for value in feedback))


def encode_repair(repair: Repair) -> bytes:
    frame_id, block, missing, time_left_us = repair
    return _REPAIR.pack(REPAIR, frame_id & 0xFFFFFFFF, block, missing, min(time_left_us, 0xFFFFFFFF))


def encode_train(train: Train) -> bytes:
    *places, packets, next_number = train
    low32 = (value & 0xFFFFFFFF for value in places)
    return _TRAIN.pack(TRAIN, *low32, min(packets, 0xFFFF), next_number & 0xFFFFFFFF)


def decode_frames_untrusted(plaintext: bytes) -> list[Frame]:
    """All frames of one packet, in order; one bad frame spoils the packet."""
    at, end = 0, len(plaintext)
    try:
        if at < end and plaintext[0] == VIDEO:
            return [_decode_video(plaintext, 0)]  # most packets are nothing else
        frames: list[Frame] = []
        while at < end:
            kind = plaintext[at]
            if kind == VIDEO:
                frames.append(_decode_video(plaintext, at))
                break
            if kind == AUDIO:
                packet, at = _decode_audio(plaintext, at)
                frames.append(packet)
            elif kind == PING:
                frames.append(Ping(*_PING.unpack_from(plaintext, at)[1:]))
                at += _PING.size
            elif kind == PONG:
                frames.append(Pong(*_PONG.unpack_from(plaintext, at)[1:]))
                at += _PONG.size
            elif kind == CONTROL:
                _, number, control_kind, length = _CONTROL.unpack_from(plaintext, at)
                at += _CONTROL.size
                if length > CONTROL_BODY_MAX_BYTES or at + length > end:
                    raise MalformedPacket("control length")
                frames.append(Control(number, control_kind, plaintext[at : at + length]))
                at += length
            elif kind == CONTROL_ACK:
                frames.append(ControlAck(_CONTROL_ACK.unpack_from(plaintext, at)[1]))
                at += _CONTROL_ACK.size
            elif kind == AUDIO_BIND:
                frames.append(AudioBind(_TOKEN.unpack_from(plaintext, at)[1]))
                at += _TOKEN.size
            elif kind == AUDIO_BOUND:
                frames.append(AudioBound(_TOKEN.unpack_from(plaintext, at)[1]))
                at += _TOKEN.size
            elif kind == FEEDBACK:
                frames.append(Feedback(*_FEEDBACK.unpack_from(plaintext, at)[1:]))
                at += _FEEDBACK.size
            elif kind == REPAIR:
                repair = Repair(*_REPAIR.unpack_from(plaintext, at)[1:])
                if not repair.missing:
                    raise MalformedPacket("repair of nothing")
                frames.append(repair)
                at += _REPAIR.size
            elif kind == TRAIN:
                frames.append(Train(*_TRAIN.unpack_from(plaintext, at)[1:]))
                at += _TRAIN.size
            elif kind == PADDING:
                break
            else:
                raise MalformedPacket("unknown frame type")
    except struct.error:
        raise MalformedPacket("truncated frame") from None
    return frames


def _encode_description(description: FrameDescription) -> bytes:
    codec, width, height, quality, subsampling, restart_interval, scale_step = description
    packed = codec << 4 | scale_step << 2 | subsampling
    return _DESCRIPTION.pack(packed, quality, width, height, restart_interval)


@lru_cache(maxsize=1024)  # a stream repeats few of them; quality alone moves it
def _decode_description_untrusted(raw: bytes) -> tuple[FrameDescription, int]:
    """The description and how many intervals it makes."""
    packed, quality, width, height, restart_interval = _DESCRIPTION.unpack(raw)
    try:
        codec, scale_step, subsampling = Codec(packed >> 4), packed >> 2 & 3, Subsampling(packed & 3)
    except ValueError:
        raise MalformedPacket("unknown codec") from None
    if not (0 < width <= PICTURE_MAX_WIDTH and 0 < height <= PICTURE_MAX_HEIGHT):
        raise MalformedPacket("picture size")
    if codec == Codec.LZ4 and scale_step:
        raise MalformedPacket("lossless and smaller")
    if restart_interval == 0 or (quality == 0) != (codec == Codec.LZ4) or quality > 100:
        raise MalformedPacket("picture description")
    description = FrameDescription(codec, width, height, quality, subsampling, restart_interval, scale_step)
    return description, description.interval_count


def _decode_video(plaintext: bytes, at: int) -> VideoShard:
    (
        _,
        stream,
        frame_id,
        block,
        blocks,
        shard_index,
        data_shards,
        capture_us,
        raw,
        high,
        low,
        interval_count,
    ) = _VIDEO.unpack_from(plaintext, at)
    description, intervals = _decode_description_untrusted(raw)
    if not data_shards or block >= blocks or blocks > BLOCKS_MAX:
        raise MalformedPacket("shard place")
    first_interval = high << 16 | low
    payload = plaintext[at + _VIDEO.size :]
    if shard_index < data_shards and (
        not payload or not interval_count or first_interval + interval_count > intervals
    ):
        raise MalformedPacket("intervals outside the picture")
    if shard_index >= data_shards and len(payload) <= PARITY_PREFIX_BYTES:
        raise MalformedPacket("parity of nothing")
    fields = (
        stream,
        frame_id,
        block,
        blocks,
        shard_index,
        data_shards,
        capture_us,
        description,
        first_interval,
        interval_count,
        payload,
    )
    return tuple.__new__(VideoShard, fields)  # as the call of the class, in half its time: one a packet


def _decode_audio(plaintext: bytes, at: int) -> tuple[AudioPacket, int]:
    _, sequence_number, capture_us, audio_format = _AUDIO.unpack_from(plaintext, at)
    if audio_format > AUDIO_COPIES_MAX:
        raise MalformedPacket("audio format")
    places = range(
        at + _AUDIO.size, at + _AUDIO.size + (1 + audio_format) * _AUDIO_BLOCK.size, _AUDIO_BLOCK.size
    )
    at = places.stop
    blocks: list[AudioBlock] = []
    for place in places:
        distance, length = _AUDIO_BLOCK.unpack_from(plaintext, place)
        if not 0 < length <= OPUS_FRAME_MAX_BYTES or at + length > len(plaintext):
            raise MalformedPacket("audio length")
        blocks.append(tuple.__new__(AudioBlock, (distance, plaintext[at : at + length])))
        at += length
    # As the calls of the classes, in half their time.
    return tuple.__new__(AudioPacket, (sequence_number, capture_us, tuple(blocks))), at

"""What CONTROL frames say: CONFIRM, WELCOME, STREAM, ROSTER, CHAT, BYE. Numbered, acknowledged and resent by proto.

Bodies have fixed fields first and length-prefixed text last. A body may grow at its end: decoders ignore what follows
the fields they know, so that an older program understands a newer one.
"""

import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple

from udpconf.limits import CONTROL_BODY_MAX_BYTES, NAME_MAX_BYTES
from udpconf.wire.envelope import MalformedPacket


class ControlKind(IntEnum):
    """ROSTER and CHAT are reserved numbers as yet."""

    CONFIRM = 1
    WELCOME = 2
    STREAM = 3
    ROSTER = 4
    CHAT = 5
    BYE = 6


class Offer(IntFlag):
    """What a client brings, and asks for."""

    VIDEO = 1
    AUDIO = 2
    MUX_AUDIO = 4  # audio on the main port, please


RESUME_SECRET_BYTES = 16
CLIENT_ID_BYTES = 8

# resume secret, role (0: sends; others reserved), offer, latency ms (0: none asked), ceiling kbit/s, clock us, wall us
_CONFIRM = struct.Struct(">16sBBHIQQB")
# audio port (0: muxed), latency ms (0: as early as the path allows), server clock us, roster length
_WELCOME = struct.Struct(">HHQB")
_ROSTER_ENTRY = struct.Struct(">8sB")
_STREAM = struct.Struct(">H")
_BYE = struct.Struct(">BB")
REASON_MAX_BYTES = 120


class Confirm(NamedTuple):
    """The client's first words, which also prove that it has the keys."""

    resume_secret: bytes  # its hash is the client's id; only the owner can come back under it
    offer: Offer
    latency_ms: int
    max_bitrate_kbps: int
    clock_us: int
    wall_us: int
    name: str


class RosterEntry(NamedTuple):
    client_id: str
    name: str


class Welcome(NamedTuple):
    audio_port: int
    latency_ms: int
    clock_us: int
    roster: tuple[RosterEntry, ...]


class Stream(NamedTuple):
    """What a client wants of its stream from now on."""

    latency_ms: int  # 0: as early as the path allows


class Bye(NamedTuple):
    reason: str


def encode_confirm(confirm: Confirm) -> bytes:
    name = confirm.name.encode()[:NAME_MAX_BYTES]
    fixed = _CONFIRM.pack(
        confirm.resume_secret,
        0,
        confirm.offer,
        confirm.latency_ms,
        confirm.max_bitrate_kbps,
        confirm.clock_us,
        confirm.wall_us,
        len(name),
    )
    return fixed + name


def decode_confirm_untrusted(body: bytes) -> Confirm:
    try:
        secret, _, offer, latency_ms, bitrate, clock_us, wall_us, length = _CONFIRM.unpack_from(body)
    except struct.error:
        raise MalformedPacket("truncated CONFIRM") from None
    name = _text(body, _CONFIRM.size, length, NAME_MAX_BYTES)
    return Confirm(secret, Offer(offer & 7), latency_ms, bitrate, clock_us, wall_us, name)


def encode_welcome(welcome: Welcome) -> bytes:
    entries = b""
    count = 0
    for entry in welcome.roster:
        name = entry.name.encode()[:NAME_MAX_BYTES]
        packed = _ROSTER_ENTRY.pack(bytes.fromhex(entry.client_id), len(name)) + name
        if _WELCOME.size + len(entries) + len(packed) > CONTROL_BODY_MAX_BYTES:
            break  # a long roster arrives in ROSTER frames, not in the welcome
        entries += packed
        count += 1
    return _WELCOME.pack(welcome.audio_port, welcome.latency_ms, welcome.clock_us, count) + entries


def decode_welcome_untrusted(body: bytes) -> Welcome:
    try:
        audio_port, latency_ms, clock_us, count = _WELCOME.unpack_from(body)
        at = _WELCOME.size
        roster: list[RosterEntry] = []
        for _ in range(count):
            client_id, length = _ROSTER_ENTRY.unpack_from(body, at)
            at += _ROSTER_ENTRY.size
            roster.append(RosterEntry(client_id.hex(), _text(body, at, length, NAME_MAX_BYTES)))
            at += length
    except struct.error:
        raise MalformedPacket("truncated WELCOME") from None
    return Welcome(audio_port, latency_ms, clock_us, tuple(roster))


def encode_stream(stream: Stream) -> bytes:
    return _STREAM.pack(stream.latency_ms)


def decode_stream_untrusted(body: bytes) -> Stream:
    try:
        (latency_ms,) = _STREAM.unpack_from(body)
    except struct.error:
        raise MalformedPacket("truncated STREAM") from None
    return Stream(latency_ms)


def encode_bye(bye: Bye) -> bytes:
    reason = bye.reason.encode()[:REASON_MAX_BYTES]
    return _BYE.pack(0, len(reason)) + reason


def decode_bye_untrusted(body: bytes) -> Bye:
    try:
        _, length = _BYE.unpack_from(body)
    except struct.error:
        raise MalformedPacket("truncated BYE") from None
    return Bye(_text(body, _BYE.size, length, REASON_MAX_BYTES))


def _text(body: bytes, at: int, length: int, limit: int) -> str:
    if length > limit or at + length > len(body):
        raise MalformedPacket("text length")
    return body[at : at + length].decode(errors="replace")

"""The eight bytes in the clear before every protected packet, which are also its additional data (docs/protocol.md).

    flags u8 | destination id u32 | packet number, low 24 bits | ciphertext | tag, 16 bytes

Flags: bit 7 set; bits 6-5 the key epoch modulo 4; bit 4 the channel; bits 3-0 zero. The idea is QUIC's short header
(RFC 9000 section 17.3) without its header protection, so that a look at the first byte tells handshake from media.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from udpconf.limits import DATAGRAM_MAX_BYTES

HEADER_BYTES = 8
TAG_BYTES = 16
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES

# A first byte below this belongs to a handshake datagram.
PROTECTED_BIT = 0x80
_RESERVED_BITS = 0x0F

# flags, destination id, packet number: its high byte and its two low ones
_HEADER = struct.Struct(">BIBH")


class MalformedPacket(Exception):  # noqa: N818 - it says what is wrong with the packet, not with the program
    """Bytes from the network that are not what they should be; ``reason`` is one of a few fixed words to count by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Channel(IntEnum):
    """Which of a session's two independent packet number spaces. The number is the one on the wire."""

    MAIN = 0
    AUDIO = 1


_CHANNELS = (Channel.MAIN, Channel.AUDIO)


PACKET_NUMBER_BYTES = 3


class Envelope(NamedTuple):
    epoch: int  # 0..3, the key epoch modulo 4
    channel: Channel
    destination_id: int  # 32 bits: the session id, or towards a client the first half of its connection id
    truncated_packet_number: int  # low 24 bits


def encode_envelope(envelope: Envelope) -> bytes:
    epoch, channel, destination_id, number = envelope
    flags = PROTECTED_BIT | epoch << 5 | channel << 4
    return _HEADER.pack(flags, destination_id, number >> 16, number & 0xFFFF)


def encode_envelope_start(epoch: int, channel: Channel, destination_id: int) -> bytes:
    """The header without the packet number: the same for all packets of an epoch and channel."""
    return encode_envelope(Envelope(epoch, channel, destination_id, 0))[:-PACKET_NUMBER_BYTES]


def decode_envelope_untrusted(datagram: bytes) -> Envelope:
    """Split the header off a protected packet. Nothing in it may be believed before the AEAD has passed."""
    if not OVERHEAD_BYTES <= len(datagram) <= DATAGRAM_MAX_BYTES:
        raise MalformedPacket("packet length")
    flags, destination_id, high, low = _HEADER.unpack_from(datagram)
    if not flags & PROTECTED_BIT or flags & _RESERVED_BITS:
        raise MalformedPacket("packet flags")
    # As the call of the class, in half its time: one a packet.
    return tuple.__new__(
        Envelope, (flags >> 5 & 3, _CHANNELS[flags >> 4 & 1], destination_id, high << 16 | low)
    )

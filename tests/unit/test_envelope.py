"""The eight bytes in the clear."""

import pytest

from udpconf.limits import DATAGRAM_MAX_BYTES
from udpconf.wire.envelope import (
    OVERHEAD_BYTES,
    Channel,
    Envelope,
    MalformedPacket,
    decode_envelope_untrusted,
    encode_envelope,
)

ENVELOPE = Envelope(
    epoch=2, channel=Channel.AUDIO, destination_id=0x01020304, truncated_packet_number=0xABCDEF
)
DATAGRAM = encode_envelope(ENVELOPE) + bytes(16)


def test_the_header_is_flags_destination_and_number() -> None:
    assert DATAGRAM[:8] == bytes.fromhex("d0 01020304 abcdef")
    assert decode_envelope_untrusted(DATAGRAM) == ENVELOPE


@pytest.mark.parametrize(
    "length", [OVERHEAD_BYTES, OVERHEAD_BYTES + 1, DATAGRAM_MAX_BYTES - 1, DATAGRAM_MAX_BYTES]
)
def test_lengths_within_the_limits_pass(length: int) -> None:
    assert decode_envelope_untrusted(DATAGRAM.ljust(length, b"x")) == ENVELOPE


@pytest.mark.parametrize("length", [0, 1, OVERHEAD_BYTES - 1, DATAGRAM_MAX_BYTES + 1, 65_507])
def test_lengths_outside_the_limits_are_malformed(length: int) -> None:
    with pytest.raises(MalformedPacket, match="packet length"):
        decode_envelope_untrusted(DATAGRAM.ljust(length, b"x")[:length])


@pytest.mark.parametrize("flags", [0x00, 0x7F, 0x81, 0x82, 0x84, 0x88, 0xF8, 0xFF])
def test_reserved_bits_and_a_missing_top_bit_are_malformed(flags: int) -> None:
    with pytest.raises(MalformedPacket, match="packet flags"):
        decode_envelope_untrusted(bytes((flags,)) + DATAGRAM[1:])


@pytest.mark.parametrize("flags", [0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0])
def test_every_epoch_and_channel_goes_there_and_back(flags: int) -> None:
    envelope = decode_envelope_untrusted(bytes((flags,)) + DATAGRAM[1:])
    assert encode_envelope(envelope) == bytes((flags,)) + DATAGRAM[1:8]

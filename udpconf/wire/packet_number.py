"""Packet numbers: 62 bits in the nonce, 24 on the wire (RFC 9000, section 17.1 and appendix A.3).

24 bits hold twice the packets in flight for 70 minutes at 2000 a second; a session is dropped after 15 s of silence.
"""

_BITS = 24
_WINDOW = 1 << _BITS
_HALF = _WINDOW >> 1
# QUIC's ceiling: no session comes near it, and a nonce never wraps.
PACKET_NUMBER_MAX = (1 << 62) - 1


def truncate(packet_number: int) -> int:
    """Return the part that travels."""
    return packet_number & (_WINDOW - 1)


def expand(largest_seen: int, truncated: int) -> int:
    """Return the number nearest to the one after ``largest_seen`` (-1: nothing seen) that ends in ``truncated``."""
    expected = largest_seen + 1
    candidate = (expected & ~(_WINDOW - 1)) | truncated
    if candidate <= expected - _HALF and candidate + _WINDOW <= PACKET_NUMBER_MAX:
        return candidate + _WINDOW
    if candidate > expected + _HALF and candidate >= _WINDOW:
        return candidate - _WINDOW
    return candidate

"""CPACE-X25519-SHA512 (draft-irtf-cfrg-cpace-21): a shared passphrase, however short, becomes a strong key.

An eavesdropper learns nothing that he could try passphrases against at home, and an active stranger gets one guess an
exchange. The curve arithmetic with secrets that belong to one session is OpenSSL's X25519. Only the generator is
computed with Python's integers, whose time depends on the passphrase: it is computed once, when a program starts, and
not where a network peer could measure it.

Two choices of ours within the draft, said in docs/protocol.md as weakness W1: the session id is empty, so that the
generator depends on the room alone, and what makes an exchange unique enters through the transcript (both connection
ids, cookie, both shares).
"""

import hashlib

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

SCALAR_BYTES = 32

_DOMAIN = b"CPace255"
_PRIME = 2**255 - 19
_MONTGOMERY_A = 486662
# SHA-512 takes its input in blocks of so many bytes; the passphrase is padded to fill the first.
_HASH_BLOCK_BYTES = 128


def length_value(*items: bytes) -> bytes:
    """Join strings unambiguously: before each its length in LEB128 (the draft's lv_cat)."""
    return b"".join(_leb128(len(item)) + item for item in items)


def generator_string(secret: bytes, channel_identifier: bytes, session_id: bytes) -> bytes:
    """What is hashed to the generator; the zeros make the first block's time independent of the secret's length."""
    padding = _HASH_BLOCK_BYTES - 1 - len(length_value(secret)) - len(length_value(_DOMAIN))
    return length_value(_DOMAIN, secret, bytes(max(0, padding)), channel_identifier, session_id)


def generator(secret: bytes, channel_identifier: bytes, session_id: bytes = b"") -> bytes:
    """Map the secret to a point of Curve25519, as 32 bytes. Some 0.2 ms, not in constant time: see the top."""
    digest = hashlib.sha512(generator_string(secret, channel_identifier, session_id)).digest()
    field_element = int.from_bytes(digest[:32], "little") & ((1 << 255) - 1)
    return _elligator2(field_element).to_bytes(32, "little")


def exchange(scalar: bytes, point: bytes) -> bytes | None:
    """Multiply a point by 32 random bytes: a share to send from the generator, the shared point from the peer's share.

    None for a point of low order, which would make the result a constant that anybody knows (RFC 7748, section 6.1):
    the exchange is then dropped without a word.
    """
    private = X25519PrivateKey.from_private_bytes(scalar)
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        return None


def intermediate_session_key(
    session_id: bytes, shared_point: bytes, share_a: bytes, data_a: bytes, share_b: bytes, data_b: bytes
) -> bytes:
    """Hash all that was said: 64 bytes, equal on both sides if the secret and every byte of the transcript are."""
    head = length_value(_DOMAIN + b"_ISK", session_id, shared_point)
    return hashlib.sha512(head + length_value(share_a, data_a) + length_value(share_b, data_b)).digest()


def _leb128(number: int) -> bytes:
    encoded = b""
    while number >= 128:
        encoded += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return encoded + bytes((number,))


def _elligator2(field_element: int) -> int:
    """Return the u coordinate of a curve point (RFC 9380, section 6.7.1; 2 is the smallest non-square)."""
    v = -_MONTGOMERY_A * pow(1 + 2 * field_element * field_element, -1, _PRIME) % _PRIME
    on_curve = pow(v * v * v + _MONTGOMERY_A * v * v + v, (_PRIME - 1) // 2, _PRIME) == 1
    return v if on_curve else (-v - _MONTGOMERY_A) % _PRIME

"""Keys and what they seal: the key schedule from CPace to AEAD, and the AEAD itself (docs/protocol.md, "Keys").

    th          = SHA-256(HELLO[0:109] | ACCEPT[0:48])
    ISK         = CPace over the shares, with HELLO[0:12] | HELLO[44:109] and ACCEPT[0:16] as associated data
    PRK         = HKDF-Extract(salt = th, ISK)
    secret      = HKDF-Expand(PRK, "udpconf1 " direction " " channel, 32)    c2s, s2c; main, audio, hs
    key, iv     = HKDF-Expand(secret, "key", 32), HKDF-Expand(secret, "iv", 12)
    nonce       = iv xor the 64-bit packet number

Every direction of every channel has a key of its own, because each has packet numbers of its own. All that was offered
and chosen is inside th and ISK, so nobody in between can talk two peers down to a weaker suite.
"""

import hashlib
import hmac
from collections.abc import Callable
from enum import Enum, IntEnum
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from udpconf.proto.cpace import intermediate_session_key
from udpconf.wire.envelope import TAG_BYTES, Channel
from udpconf.wire.handshake import ACCEPT_HEADER_BYTES, HELLO_TRANSCRIPT_BYTES

# The only source of randomness in the core: so many bytes, please. A test passes a seeded one.
Entropy = Callable[[int], bytes]

_HASH_BYTES = 32  # SHA-256
_KEY_BYTES = 32
_IV_BYTES = 12


class Suite(IntEnum):
    """The AEADs that every peer knows; the numbers are bits of a HELLO's offer and the choice in an ACCEPT."""

    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


# In order of preference. AES is faster where the CPU has instructions for it (1.6 against 2.4 us to seal 1176 bytes from
# Python); elsewhere the other one is, by far.
SUITES = (Suite.AES_256_GCM, Suite.CHACHA20_POLY1305)


class Direction(Enum):
    """Who speaks; the value is its name in the key schedule."""

    CLIENT_TO_SERVER = b"c2s"
    SERVER_TO_CLIENT = b"s2c"


class PacketKey(Protocol):
    """Seals and opens the packets of one direction, one channel, one epoch."""

    def seal(self, packet_number: int, header: bytes, plaintext: bytes) -> bytes:
        """Return ciphertext and tag. A packet number must never come twice."""
        ...

    def open(self, packet_number: int, header: bytes, ciphertext: bytes) -> bytes | None:
        """Return the plaintext, or None if anything at all is not as it was sealed."""
        ...


class AeadPacketKey:
    """The real one."""

    __slots__ = ("_cipher", "_iv")

    def __init__(self, suite: Suite, secret: bytes) -> None:
        key = hkdf_expand(secret, b"key", _KEY_BYTES)
        self._cipher = AESGCM(key) if suite is Suite.AES_256_GCM else ChaCha20Poly1305(key)
        self._iv = int.from_bytes(hkdf_expand(secret, b"iv", _IV_BYTES), "big")

    def seal(self, packet_number: int, header: bytes, plaintext: bytes) -> bytes:
        return self._cipher.encrypt((self._iv ^ packet_number).to_bytes(_IV_BYTES, "big"), plaintext, header)

    def open(self, packet_number: int, header: bytes, ciphertext: bytes) -> bytes | None:
        nonce = (self._iv ^ packet_number).to_bytes(_IV_BYTES, "big")
        try:
            return self._cipher.decrypt(nonce, ciphertext, header)
        except InvalidTag:
            return None


class NullPacketKey:
    """Protects nothing, for simulations; no byte from the network can choose it."""

    __slots__ = ()

    _TAG = bytes(TAG_BYTES)

    def seal(self, packet_number: int, header: bytes, plaintext: bytes) -> bytes:
        return plaintext + self._TAG

    def open(self, packet_number: int, header: bytes, ciphertext: bytes) -> bytes | None:
        return ciphertext[:-TAG_BYTES] if ciphertext.endswith(self._TAG) else None


class SessionKeys:
    """The four packet keys of a session."""

    __slots__ = ("_keys",)

    def __init__(self, keys: dict[tuple[Direction, Channel], PacketKey]) -> None:
        self._keys = keys

    def key(self, direction: Direction, channel: Channel) -> PacketKey:
        """Look one up; whoever needs it for every packet keeps it."""
        return self._keys[direction, channel]


class Agreement(NamedTuple):
    """What both ends of one handshake compute from the same bytes, if they share the room's secret."""

    keys: SessionKeys
    accept_key: PacketKey  # seals the server's parameters, under packet number 0
    accept_header: bytes  # the additional data of that seal

    def seal_parameters(self, parameters: bytes) -> bytes:
        return self.accept_key.seal(0, self.accept_header, parameters)

    def open_parameters(self, sealed: bytes) -> bytes | None:
        return self.accept_key.open(0, self.accept_header, sealed)


def agree(shared_point: bytes, hello: bytes, accept: bytes, suite: Suite, *, null_cipher: bool) -> Agreement:
    """Run the key schedule over the HELLO (as sent, with its cookie) and the ACCEPT (its header is enough)."""
    hello, accept = hello[:HELLO_TRANSCRIPT_BYTES], accept[:ACCEPT_HEADER_BYTES]
    transcript_hash = hashlib.sha256(hello + accept).digest()
    session_key = intermediate_session_key(
        b"", shared_point, hello[12:44], hello[:12] + hello[44:], accept[16:], accept[:16]
    )
    root = hkdf_extract(transcript_hash, session_key)

    def secret(direction: Direction, purpose: bytes) -> bytes:
        return hkdf_expand(root, b"udpconf1 " + direction.value + b" " + purpose, _HASH_BYTES)

    keys: dict[tuple[Direction, Channel], PacketKey] = {}
    for direction in Direction:
        for channel in Channel:
            keys[direction, channel] = (
                NullPacketKey()
                if null_cipher
                else AeadPacketKey(suite, secret(direction, channel.name.lower().encode()))
            )
    accept_key = AeadPacketKey(suite, secret(Direction.SERVER_TO_CLIENT, b"hs"))
    return Agreement(SessionKeys(keys), accept_key, accept + transcript_hash)


def hkdf_extract(salt: bytes, key_material: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869, section 2.2)."""
    return hmac.digest(salt, key_material, "sha256")


def hkdf_expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869, section 2.3)."""
    output = block = b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(key, block + info + bytes((counter,)), "sha256")
        output += block
        counter += 1
    return output[:length]

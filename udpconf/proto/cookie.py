"""The cookie of a RETRY: proof that a stranger receives at the address he sends from, kept by himself.

    server clock, seconds u32 | secret id 4 | HMAC-SHA256(secret, the 8 bytes before, ip 16, port, connection id, share)

QUIC's Retry token with an HMAC (RFC 9000, section 8.1.2): a check costs 10 us and no memory, a stolen or replayed
cookie works from one address, for one key share, for ten seconds.
"""

import hmac
import ipaddress
import struct
from typing import NamedTuple

from udpconf.limits import COOKIE_LIFE_US, COOKIE_SECRET_ROTATION_US, SECOND
from udpconf.proto.crypto import Entropy
from udpconf.proto.events import Address
from udpconf.wire.handshake import COOKIE_BYTES

_SECRET_BYTES = 32
_SECRET_ID_BYTES = 4
_HEADER = struct.Struct(">I4s")
_IPV4_MAPPED = bytes(10) + b"\xff\xff"


def ip_bytes(address: Address) -> bytes:
    """Return the 16 bytes of an IPv6 address, or of an IPv4 one as mapped into IPv6; without scope."""
    ip = ipaddress.ip_address(address[0])
    return _IPV4_MAPPED + ip.packed if ip.version == 4 else ip.packed


class _Secret(NamedTuple):
    key: bytes
    secret_id: bytes
    made_us: int


class CookieJar:
    """Bakes and tests cookies. Keeps two secrets and nothing about anybody."""

    def __init__(self, now_us: int, entropy: Entropy) -> None:
        self._entropy = entropy
        self._current = self._new_secret(now_us)
        self._previous: _Secret | None = None

    def bake(self, now_us: int, address: Address, connection_id: bytes, key_share: bytes) -> bytes:
        self._rotate(now_us)
        header = _HEADER.pack(now_us // SECOND & 0xFFFFFFFF, self._current.secret_id)
        return header + _tag(self._current.key, header, address, connection_id, key_share)

    def accepts(
        self, now_us: int, cookie: bytes, address: Address, connection_id: bytes, key_share: bytes
    ) -> bool:
        """It is ours, at most ten seconds old, and belongs to this address, connection id and share."""
        self._rotate(now_us)
        if len(cookie) != COOKIE_BYTES:
            return False
        baked_s, secret_id = _HEADER.unpack_from(cookie)
        age_s = (now_us // SECOND - baked_s) & 0xFFFFFFFF
        if age_s * SECOND > COOKIE_LIFE_US:
            return False
        for secret in (self._current, self._previous):
            if secret is not None and secret.secret_id == secret_id:
                tag = _tag(secret.key, cookie[: _HEADER.size], address, connection_id, key_share)
                return hmac.compare_digest(tag, cookie[_HEADER.size :])
        return False

    def _rotate(self, now_us: int) -> None:
        if now_us - self._current.made_us >= COOKIE_SECRET_ROTATION_US:
            # The one before stays for cookies that are still good; their age is in themselves.
            self._previous = self._current
            self._current = self._new_secret(now_us)

    def _new_secret(self, now_us: int) -> _Secret:
        return _Secret(self._entropy(_SECRET_BYTES), self._entropy(_SECRET_ID_BYTES), now_us)


def _tag(key: bytes, header: bytes, address: Address, connection_id: bytes, key_share: bytes) -> bytes:
    port: int = address[1]
    message = header + ip_bytes(address) + port.to_bytes(2, "big") + connection_id + key_share
    return hmac.digest(key, message, "sha256")

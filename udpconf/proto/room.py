"""A room: what a passphrase, or the lack of one, becomes when a program starts."""

import hashlib
import unicodedata

from udpconf.errors import ConfigError
from udpconf.proto.cpace import generator
from udpconf.proto.crypto import hkdf_expand, hkdf_extract
from udpconf.wire.handshake import SELECTOR_BYTES, Mode

# One server has one room as yet. A name would follow in both strings, and so in selector and generator.
_CHANNEL_IDENTIFIER = b"udpconf/1"
_SELECTOR = hashlib.sha256(b"udpconf room").digest()[:SELECTOR_BYTES]


class Room:
    """What the handshake needs of the room's secret; built once, since the generator takes a moment.

    Has no readable ``repr``: whoever sees the generator in a log can try passphrases against it.
    """

    __slots__ = ("generator", "mac1_key", "mode", "selector")

    def __init__(self, mode: Mode, secret: bytes) -> None:
        self.mode = mode
        self.selector = _SELECTOR
        self.generator = generator(secret, _CHANNEL_IDENTIFIER)
        # Public on purpose: see wire/handshake.py. (A room key of 256 bits could key it, and make the server silent.)
        self.mac1_key = hkdf_expand(hkdf_extract(b"udpconf1", b"public" + self.selector), b"mac1", 32)

    @classmethod
    def from_passphrase(cls, passphrase: str) -> "Room":
        """Everybody with this passphrase gets in; two ways to type the same accented letter are the same."""
        if not passphrase:
            raise ConfigError("The passphrase is empty. Give one, or ask for an open room with --open.")
        return cls(Mode.PASSPHRASE, unicodedata.normalize("NFC", passphrase).encode(errors="surrogateescape"))

    @classmethod
    def open(cls) -> "Room":
        """Everybody gets in. Still encrypted: those who only listen hear nothing, those in between hear all."""
        return cls(Mode.OPEN, b"")

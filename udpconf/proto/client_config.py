"""What a client wants of its session, and what it is called by."""

import hashlib
from typing import NamedTuple

from udpconf.wire.control import CLIENT_ID_BYTES, Offer


class ClientConfig(NamedTuple):
    """What a client wants. ``passphrase`` None joins an open room."""

    passphrase: str | None
    name: str
    video: bool = True
    audio: bool = True
    max_bitrate_kbps: int = 4000
    latency_us: int | None = None
    mux_audio: bool = False
    null_cipher: bool = False  # simulations only

    @property
    def offer(self) -> Offer:
        """What CONFIRM says of it."""
        offer = Offer(0)
        offer |= Offer.VIDEO if self.video else Offer(0)
        offer |= Offer.AUDIO if self.audio else Offer(0)
        return offer | (Offer.MUX_AUDIO if self.mux_audio else Offer(0))


def client_id_of(resume_secret: bytes) -> str:
    """The public name of a client, which only the owner of the secret can claim again."""
    return hashlib.sha256(b"udpconf client id" + resume_secret).digest()[:CLIENT_ID_BYTES].hex()

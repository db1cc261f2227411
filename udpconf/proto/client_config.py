"""What a client wants of its session, and what it is called by."""

import hashlib
from typing import NamedTuple

from udpconf.frames import OPUS_FRAME_US
from udpconf.limits import MS
from udpconf.wire.control import CLIENT_ID_BYTES, Confirm, Offer


class ClientConfig(NamedTuple):
    """What a client wants. ``passphrase`` None joins an open room."""

    passphrase: str | None
    name: str
    video: bool = True
    audio: bool = True
    max_bitrate_kbps: int = 4000
    latency_us: int | None = None
    mux_audio: bool = False
    recovery: bool = True  # parity with the pictures, and answers to requests for more
    audio_channels: int = 1  # 2: stereo
    audio_frame_us: int = OPUS_FRAME_US
    null_cipher: bool = False  # simulations only

    def confirm(self, resume_secret: bytes, latency_ms: int, clock_us: int, wall_us: int) -> Confirm:
        """The first words of a session."""
        ceiling_kbps = self.max_bitrate_kbps
        return Confirm(resume_secret, self._offer, latency_ms, ceiling_kbps, clock_us, wall_us, self.name)

    @property
    def _offer(self) -> Offer:
        offer = Offer(0)
        offer |= Offer.VIDEO if self.video else Offer(0)
        offer |= Offer.AUDIO if self.audio else Offer(0)
        return offer | (Offer.MUX_AUDIO if self.mux_audio else Offer(0))


def client_id_of(resume_secret: bytes) -> str:
    """The public name of a client, which only the owner of the secret can claim again."""
    return hashlib.sha256(b"udpconf client id" + resume_secret).digest()[:CLIENT_ID_BYTES].hex()


def latency_milliseconds(latency_us: int | None) -> int:
    """As the wire has it; 0: none is asked for."""
    return min(0xFFFF, (latency_us or 0) // MS)

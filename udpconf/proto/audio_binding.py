"""The client's half of AUDIO_BIND: showing the server, behind the AEAD, which address this client's sound comes from.

AUDIO_BIND is repeated like a HELLO until its AUDIO_BOUND comes. When the audio range is blocked by a firewall while the
main port works, sound moves to the main port rather than being lost in silence.
"""

from udpconf.limits import MS
from udpconf.wire.frames import AudioBind, AudioBound, encode_audio_bind

RETRY_US = 100 * MS
GIVE_UP_US = 1500 * MS


class AudioBinding:
    """One session's audio channel.

    Attributes:
        port: where the server listens for this client's sound; 0: on the main port; None: it has not said yet.
    """

    def __init__(self) -> None:
        self.port: int | None = None
        self._token: bytes | None = None  # until it has come back
        self._ask_at_us = self._give_up_at_us = 0

    def begin(self, now_us: int, port: int, token: bytes) -> None:
        """WELCOME named the port. On the main port there is nothing to bind."""
        self.port = port
        if port:
            self._token = token
            self._ask_at_us = now_us
            self._give_up_at_us = now_us + GIVE_UP_US

    def handle_bound(self, bound: AudioBound) -> None:
        if bound.token == self._token:
            self._token = None

    def handle_timeout(self, now_us: int) -> bytes | None:
        """The AUDIO_BIND that is to be sent now, if any."""
        if self._token is None or now_us < self._ask_at_us:
            return None
        if now_us >= self._give_up_at_us:
            self.port, self._token = 0, None
            return None
        self._ask_at_us = now_us + RETRY_US
        return encode_audio_bind(AudioBind(self._token))

    def poll_timeout(self) -> int | None:
        return None if self._token is None else self._ask_at_us

    @property
    def ready(self) -> bool:
        """Sound may be sent."""
        return self.port is not None and self._token is None

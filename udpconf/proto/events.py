"""What the endpoints have to tell. Whoever drives one drains its events after every input."""

from typing import Any, NamedTuple

from udpconf.errors import ConnectReason
from udpconf.frames import ReceivedFrame
from udpconf.wire.envelope import PROTECTED_BIT

Address = tuple[Any, ...]  # as sockets give it: (host, port) or (host, port, flow, scope)

# Which socket: the main one is 0 on either side. On a client 1 is the audio socket; on a server an audio socket is named
# by its port number.
MAIN_PATH = 0
AUDIO_PATH = 1


class Transmit(NamedTuple):
    """A datagram to send. ``address`` is None on a client: the server's, on that path."""

    path: int
    address: Address | None
    data: bytes

    @property
    def is_handshake(self) -> bool:
        """It asks for a session; else it is one's packet."""
        return self.data[0] < PROTECTED_BIT


class ClientJoined(NamedTuple):
    client_id: str  # 16 hex digits; stable over reconnects and server restarts
    name: str
    address: Address
    video: bool  # what it offered
    audio: bool
    rejoined: bool  # it came back before we missed it
    latency_us: int = (
        0  # after its capture everything is to be shown and heard so late; 0: as early as the path allows
    )


class LatencyChanged(NamedTuple):
    """From now on everything of this client is to be shown and heard so long after its capture; 0: as early as possible."""

    client_id: str
    latency_us: int


class ClientLeft(NamedTuple):
    client_id: str
    reason: str


class ClientRefused(NamedTuple):
    """Somebody asked again and again and never showed that it has the key: most likely it has another one, or none.

    Told once a minute for each source, and six times a minute in all.
    """

    address: tuple[str, int]  # host and UDP port


class AudioPortWanted(NamedTuple):
    """Open a port for this session's sound and call ``audio_port_opened``."""

    session_id: int


class AudioPortReleased(NamedTuple):
    port: int


class VideoFrameDue(NamedTuple):
    client_id: str
    frame: ReceivedFrame


class AudioReceived(NamedTuple):
    """One Opus frame, told once however many copies arrived."""

    client_id: str
    sequence_number: int  # unwrapped
    capture_us: int  # on our clock
    data: bytes
    arrival_us: int
    copy: bool  # it came as a later packet's copy


ServerEvent = (
    ClientJoined
    | LatencyChanged
    | ClientLeft
    | ClientRefused
    | AudioPortWanted
    | AudioPortReleased
    | VideoFrameDue
    | AudioReceived
)


class Connected(NamedTuple):
    """WELCOME arrived. ``audio_port`` 0: sound rides on the main port."""

    audio_port: int
    latency_us: int | None


class Disconnected(NamedTuple):
    """The server is silent or said goodbye; the endpoint goes on trying."""

    reason: str


class Failed(NamedTuple):
    """The handshake ended without a session, and trying again would not help."""

    reason: ConnectReason


ClientEvent = Connected | Disconnected | Failed

"""udpconf: live video and sound over plain UDP that keeps its latency when the network loses packets.

    with udpconf.Server(port=5000) as server:           # print(server.url): what a client needs to join
        for frame in server.frames():
            cv2.imshow(frame.client.name, frame.image)

    with udpconf.Sender(url, name="cam-1") as sender:
        sender.send_video(image)                         # uint8[h, w, 3] BGR
        sender.send_audio(pcm)                           # int16[n] at 48 kHz

What is listed in ``__all__`` stays; everything else may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from udpconf.errors import (
    ConfigError,
    ConnectError,
    DeviceError,
    LocalProtocolError,
    MissingDependencyError,
    PortInUseError,
    UdpconfError,
)

if TYPE_CHECKING:
    from udpconf.app.sender import Sender
    from udpconf.app.server import Server
    from udpconf.app.values import (
        AudioBlock,
        ClientInfo,
        ClientJoined,
        ClientLeft,
        ClientRefused,
        ClientStats,
        Frame,
        RecordingEnded,
        RecordingStarted,
        SenderStats,
        SpeakerInfo,
    )

__version__ = "0.1.0"

__all__ = [
    "AudioBlock",
    "ClientInfo",
    "ClientJoined",
    "ClientLeft",
    "ClientRefused",
    "ClientStats",
    "ConfigError",
    "ConnectError",
    "DeviceError",
    "Frame",
    "LocalProtocolError",
    "MissingDependencyError",
    "PortInUseError",
    "RecordingEnded",
    "RecordingStarted",
    "Sender",
    "SenderStats",
    "Server",
    "SpeakerInfo",
    "UdpconfError",
    "__version__",
]

# Fetched when first asked for: OpenCV, FFmpeg and NumPy take some 300 ms to load, which `udpconf --help` need not wait for.
_HOMES = {"Sender": "udpconf.app.sender", "Server": "udpconf.app.server"}
_VALUES = "udpconf.app.values"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'udpconf' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, _VALUES)), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

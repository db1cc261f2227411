"""What the public API hands out: clients, frames and events. Plain values, times and sizes with their units."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udpconf.proto.events import ClientRefused
from udpconf.proto.stats import ClientStats, SenderStats

__all__ = [
    "AudioBlock",
    "ClientInfo",
    "ClientJoined",
    "ClientLeft",
    "ClientRefused",
    "ClientStats",
    "Frame",
    "RecordingEnded",
    "RecordingStarted",
    "SenderStats",
    "ServerEvent",
    "SpeakerInfo",
]


class ClientInfo(NamedTuple):
    """Somebody who sends to this server."""

    id: str  # 16 hexadecimal digits, the same after a reconnect
    name: str  # a label that the client chose; two may choose the same
    address: tuple[str, int]  # host and UDP port, where it is now


class SpeakerInfo(NamedTuple):
    """What sound is played on."""

    name: str
    latency_ms: float  # of the device, as its driver says: from taking sound to the air


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture that is due for display.

    Attributes:
        image: uint8[height, width, 3], BGR, as OpenCV has it; yours to keep and to draw on. Of the size that was
            submitted; a grey picture comes with three equal channels.
        client: who sent it.
        frame_id: the sender's count of accepted ``send_video`` calls, from 0. Gaps are frames that were dropped.
        capture_us: when it was captured, on this machine's CLOCK_MONOTONIC, offset-corrected, microseconds.
        capture_time: the same moment on the sender's wall clock, seconds since 1970, UTC.
        received_us: arrival of the last datagram used, this machine's CLOCK_MONOTONIC, microseconds.
        complete: no part was lost.
        fresh_area: share 0..1 of the picture that was received; the rest shows the previous picture.
        coded_size: bytes of compressed picture that arrived.
    """

    image: NDArray[np.uint8]
    client: ClientInfo
    frame_id: int
    capture_us: int
    capture_time: float
    received_us: int
    complete: bool
    fresh_area: float
    coded_size: int


@dataclass(frozen=True, slots=True, eq=False)
class AudioBlock:
    """5 ms of sound, as it should be played: lost pieces concealed, in step with the clock.

    Attributes:
        pcm: int16[240, channels] at 48 kHz, yours to keep. Two channels if the client sends stereo, else one; everybody's mixed
            has one until stereo is heard for the first time, and two from then on.
        client: whose sound; None when it is everybody's, mixed.
        capture_us: when its first sample was captured, on this machine's CLOCK_MONOTONIC, microseconds; None when mixed.
    """

    pcm: NDArray[np.int16]
    client: ClientInfo | None
    capture_us: int | None


class ClientJoined(NamedTuple):
    """A client is there. ``rejoined``: it was here before and came back under its old id."""

    client: ClientInfo
    rejoined: bool


class ClientLeft(NamedTuple):
    """A client said goodbye or fell silent, or the server ends; ``reason`` says which, in words."""

    client: ClientInfo
    reason: str


class RecordingStarted(NamedTuple):
    """A file was opened for a client; a long recording is a series of them."""

    client: ClientInfo
    path: Path


class RecordingEnded(NamedTuple):
    """A file was closed; ``reason`` says why, in words, for example because the disk is full."""

    client: ClientInfo
    path: Path
    reason: str


ServerEvent = ClientJoined | ClientLeft | ClientRefused | RecordingStarted | RecordingEnded

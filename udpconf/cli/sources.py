"""Which sources the flags name, opened together: one for pictures, one for sound, often the same."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from udpconf.cli.console import Console
from udpconf.errors import ConfigError, DeviceError, MissingDependencyError, UdpconfError

if TYPE_CHECKING:
    import threading

    import numpy as np
    from numpy.typing import NDArray

    OnPicture = Callable[[NDArray[np.uint8], int], object]
    OnSound = Callable[[NDArray[np.int16], int], object]

DEFAULT_TONE_HZ = 440.0


class Picture(StrEnum):
    """Where pictures come from; the values are the parameters' names in `send`."""

    CAMERA = "camera"
    FILE = "file"
    SCREEN = "screen"
    PATTERN = "test_pattern"
    NONE = "no_video"


class Media(NamedTuple):
    """What the flags said about sources."""

    picture: Picture
    camera: int = 0
    file: Path | None = None
    loop: bool = False
    tone_hz: float = DEFAULT_TONE_HZ
    mic: str | None = None
    width: int = 640
    fps: float = 30
    stereo: bool = False


class Source(Protocol):
    """What media's sources and its microphone have in common."""

    ended: "threading.Event"
    error: UdpconfError | None

    @property
    def description(self) -> str: ...
    def start(self, on_picture: "OnPicture | None", on_sound: "OnSound | None") -> None: ...
    def stop(self) -> None: ...


class Sources:
    """What is sent: a source of pictures or none, and one of sound or none; the two may be one.

    Attributes:
        has_picture, has_sound: what there will be.
        live: devices, which are best opened before a server is looked for: a missing one is told at once, and what they
            give meanwhile is lost either way. A file or a pattern would lose its beginning.
    """

    def __init__(self, picture: Source | None, sound: Source | None, *, live: bool) -> None:
        self.has_picture = picture is not None
        self.has_sound = sound is not None
        self.live = live
        self._picture = picture
        self._sound = sound
        self._started: list[Source] = []

    @property
    def description(self) -> str:
        """For captions and logs."""
        sources = [source for source in (self._picture, self._sound) if source is not None]
        return " and ".join(dict.fromkeys(source.description for source in sources))

    @property
    def ended(self) -> bool:
        """One of them has nothing more to give."""
        return any(source.ended.is_set() for source in self._started)

    @property
    def error(self) -> UdpconfError | None:
        """Why one of them ended, if not because it was done."""
        return next((source.error for source in self._started if source.error is not None), None)

    def start(self, on_picture: "OnPicture", on_sound: "OnSound") -> None:
        """Pictures and sound come from threads of the sources from now on.

        Raises:
            DeviceError: a device is not there or does not open.
        """
        if self._picture is not None:
            self._started.append(self._picture)
            self._picture.start(on_picture, on_sound if self._sound is self._picture else None)
        if self._sound is not None and self._sound is not self._picture:
            self._started.append(self._sound)
            self._sound.start(None, on_sound)

    def stop(self) -> None:
        """No more pictures and sound after this."""
        while self._started:
            self._started.pop().stop()


def open_sources(media: Media, console: Console) -> Sources:
    """Make the sources the flags name; a microphone nobody named may be missing, everything else must be there.

    Raises:
        ConfigError: the file is not there or holds nothing to send.
        DeviceError: the named microphone is not there; a camera and a screen are looked for by ``start``.
        MissingDependencyError: a microphone was named, and PyAudio is not installed.
    """
    picture, sound = _picture_source(media)
    if media.mic is not None:
        sound = None if media.mic.lower() == "none" else _microphone(media.mic, stereo=media.stereo)
    elif media.picture in (Picture.CAMERA, Picture.SCREEN):
        try:
            sound = _microphone(None, stereo=media.stereo)
        except (DeviceError, MissingDependencyError) as error:
            console.say(f"No sound is sent: {error}")
    elif media.picture is Picture.NONE:
        sound = _microphone(None, stereo=media.stereo)
    if picture is None and sound is None:
        raise ConfigError("With --no-video and --mic none there is nothing to send; leave one of them out.")
    live = media.picture in (Picture.CAMERA, Picture.SCREEN, Picture.NONE)
    return Sources(picture, sound, live=live)


def _picture_source(media: Media) -> tuple[Source | None, Source | None]:
    """The source of pictures, and the sound that it brings along."""
    match media.picture:
        case Picture.CAMERA:
            from udpconf.media.sources.camera import CameraSource

            return CameraSource(media.camera, media.width, media.fps), None
        case Picture.SCREEN:
            from udpconf.media.sources.screen import ScreenSource

            return ScreenSource(width=media.width, fps=media.fps), None
        case Picture.FILE:
            from udpconf.media.sources.clip import ClipSource

            assert media.file is not None
            file = ClipSource(media.file, loop=media.loop, width=media.width, fps=media.fps)
            return file if file.has_picture else None, file if file.has_sound else None
        case Picture.PATTERN:
            from udpconf.media.sources.pattern import PatternSource

            tone_hz = media.tone_hz or None
            pattern = PatternSource(media.width, fps=media.fps, tone_hz=tone_hz, stereo=media.stereo)
            return pattern, pattern if pattern.has_sound else None
        case Picture.NONE:
            return None, None


def _microphone(name: str | None, *, stereo: bool) -> Source:
    """The microphone, known to exist; it is opened by ``start``."""
    from udpconf.media.audio_devices import choose, list_microphones
    from udpconf.media.microphone import Microphone

    choose(list_microphones(), name, "microphone")
    return Microphone(name, channels=2 if stereo else 1)

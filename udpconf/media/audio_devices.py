"""Which microphones and speakers there are, and how one is chosen: PortAudio by PyAudio, both optional.

PyAudio has no wheel for Linux and macOS, so it is an extra. Everything that needs it takes it from ``load_pyaudio``,
which names the command to run when it is missing. PortAudio asks every ALSA and JACK device there might be, and their
libraries print a line for each that there is not: ``silence_alsa`` and ``quiet`` keep those off the terminal.
"""

import contextlib
import ctypes
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from udpconf.errors import PIP, DeviceError, MissingDependencyError

log = logging.getLogger(__name__)

# What PyAudio is compiled with on Debian and Ubuntu, where it has no wheel: the library, a compiler, and Python's headers.
APT_PACKAGES = "portaudio19-dev gcc python3-dev"
# PortAudio's own functions for opening, closing and counting devices may not run at the same time.
PORTAUDIO_LOCK = threading.RLock()
STDERR_FD = 2
# Said where there is no device at all: the flag of the verb that would use one of this kind.
_NO_SOUND = {"microphone": "--mic none", "speaker": "--speaker none"}


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """One device as PortAudio lists it."""

    index: int  # changes when devices come and go; the name does not
    name: str
    channels: int
    default_rate_hz: int
    latency_us: int  # the lowest the driver offers
    is_default: bool


def list_microphones() -> list[AudioDevice]:
    """All devices that can record. Raises MissingDependencyError without PyAudio."""
    return _list("Input")


def list_speakers() -> list[AudioDevice]:
    """All devices that can play. Raises MissingDependencyError without PyAudio."""
    return _list("Output")


def choose(devices: list[AudioDevice], wanted: str | int | None, kind: str) -> AudioDevice:
    """The device with that index, or whose name contains ``wanted`` in any case, or the system's default.

    Args:
        devices: what there is.
        wanted: an index (also as digits), a part of the name, or None.
        kind: ``microphone`` or ``speaker``, for the message.

    Raises:
        DeviceError: there is no such device; the message lists what there is.
    """
    if not devices:
        raise DeviceError(
            f"No {kind} was found{f', so there is no {wanted!r} either' if wanted is not None else ''}: this system has "
            f"none, or its sound server does not run. Plug one in, or go on without sound ({_NO_SOUND[kind]})."
        )
    if wanted is None:
        return next((device for device in devices if device.is_default), devices[0])
    if isinstance(wanted, int) or wanted.isdecimal():
        matching = [device for device in devices if device.index == int(wanted)]
    else:
        same = [device for device in devices if device.name.casefold() == wanted.casefold()]
        matching = same or [device for device in devices if wanted.casefold() in device.name.casefold()]
    if not matching:
        listed = ", ".join(f"{device.index} '{device.name}'" for device in devices)
        raise DeviceError(
            f"There is no {kind} '{wanted}'; there are: {listed}. Give a number or a part of a name."
        )
    return matching[0]


def load_pyaudio() -> Any:
    """The ``pyaudio`` module, or MissingDependencyError with the command that installs it."""
    try:
        import pyaudio  # noqa: PLC0415 - optional: only whoever opens a device needs it
    except ImportError as error:
        raise MissingDependencyError(
            f"Live sound needs PyAudio, which cannot be imported ({error}). Install it with `{install_command()}`."
        ) from error
    silence_alsa()
    return pyaudio


def silence_alsa() -> None:
    """Keep ALSA's library from printing, for good: it also reports each underrun, from PortAudio's thread.

    Its error handler becomes a C function without arguments or effect, which needs no interpreter to run in.
    """
    with contextlib.suppress(OSError, AttributeError):  # no ALSA here, or another library of that name
        handler = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(handler)


def install_command(platform: str = sys.platform) -> str:
    """What to type to get PyAudio on this system."""
    pip = f"{PIP} install 'udpconf[audio]'"
    if platform == "darwin":
        return f"brew install portaudio && {pip}"
    if platform.startswith("linux"):
        return f"sudo apt-get install {APT_PACKAGES} && {pip}"
    return pip


@contextlib.contextmanager
def portaudio() -> Iterator[Any]:
    """A freshly initialised PortAudio (a ``pyaudio.PyAudio``), ended on the way out."""
    pyaudio = load_pyaudio()
    with PORTAUDIO_LOCK:
        with quiet():
            instance = pyaudio.PyAudio()
        try:
            yield instance
        finally:
            with quiet():
                instance.terminate()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what C libraries write to stderr to the debug log. Only around short calls: it is the whole process's."""
    with PORTAUDIO_LOCK, tempfile.TemporaryFile() as chatter:
        try:
            saved = os.dup(STDERR_FD)
        except OSError:  # a daemon without stderr has nothing to keep quiet
            yield
            return
        try:
            os.dup2(chatter.fileno(), STDERR_FD)
            yield
        finally:
            os.dup2(saved, STDERR_FD)
            os.close(saved)
            chatter.seek(0)
            for line in chatter.read().decode(errors="replace").splitlines():
                log.debug("%s", line)


def list_with(instance: Any, direction: str) -> list[AudioDevice]:
    """What an open PortAudio lists; direction is ``Input`` or ``Output``."""
    try:
        if direction == "Input":
            default = instance.get_default_input_device_info()["index"]
        else:
            default = instance.get_default_output_device_info()["index"]
    except OSError:
        default = None
    found = []
    for index in range(instance.get_device_count()):
        info = instance.get_device_info_by_index(index)
        if info[f"max{direction}Channels"] > 0:
            found.append(
                AudioDevice(
                    index=index,
                    name=_text(info["name"]),
                    channels=int(info[f"max{direction}Channels"]),
                    default_rate_hz=round(info["defaultSampleRate"]),
                    latency_us=round(info[f"defaultLow{direction}Latency"] * 1_000_000),
                    is_default=index == default,
                )
            )
    return found


def _list(direction: str) -> list[AudioDevice]:
    with portaudio() as instance:
        return list_with(instance, direction)


def _text(name: str | bytes) -> str:
    """PyAudio gives bytes where the name is no UTF-8."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name

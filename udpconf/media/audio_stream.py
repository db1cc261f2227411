"""A PortAudio stream that outlives its device: opened again when an unplugged microphone or speaker comes back.

It has no thread. Its owner calls ``keep`` a few times a second from a thread of its own, since opening and closing a
device can take seconds; PortAudio calls ``on_buffer`` from one of its threads every 10 ms.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from udpconf.errors import DeviceError
from udpconf.limits import SECOND
from udpconf.media.audio_devices import PORTAUDIO_LOCK, AudioDevice, choose, list_with, load_pyaudio, quiet

log = logging.getLogger(__name__)

SAMPLE_RATE = 48_000
BUFFER_FRAMES = (
    240  # 5 ms: half of an Opus frame, so that neither the microphone nor the ring waits for a whole one
)
# No callback for so long: whoever waits for the device goes by the clock instead.
ALIVE_US = 1 * SECOND
# And for so long: the device is gone. PulseAudio was seen to pause for 0.9 s after a stream is opened.
LOST_US = 3 * SECOND
RETRY_US = 2 * SECOND
# A driver that says more than this about the age of a buffer is wrong.
PLAUSIBLE_S = 0.5

# in_data (None when playing), frames, channels, PortAudio's time_info -> what to play (None when recording)
OnBuffer = Callable[[bytes | None, int, int, Mapping[str, float]], bytes | None]


class AudioStream:
    """One direction of one device at 48 kHz, int16, in 5 ms buffers.

    Args:
        direction: ``Input`` (a microphone) or ``Output`` (a speaker).
        wanted: index, part of the name, or None for the default.
        channels_max: how many channels are of use.
        on_buffer: called from PortAudio's thread; must be quick and must not raise.

    Raises:
        DeviceError: there is no such device, or it cannot be opened.
        MissingDependencyError: PyAudio is not installed.

    Attributes:
        device: as it was opened last.
        channels: of the buffers, at most ``channels_max``.
        reopened: how often the device was lost and came back.
    """

    def __init__(
        self,
        direction: Literal["Input", "Output"],
        wanted: str | int | None,
        channels_max: int,
        on_buffer: OnBuffer,
    ) -> None:
        self._direction = direction
        self._kind = "microphone" if direction == "Input" else "speaker"
        self._wanted = wanted
        self._channels_max = channels_max
        self._on_buffer = on_buffer
        self._pyaudio = load_pyaudio()
        self._instance: Any = None
        self._stream: Any = None
        self._called_us = 0
        self._retry_us = 0
        self.device: AudioDevice
        self.channels = 1
        self.reopened = 0
        self._open()

    @property
    def alive(self) -> bool:
        """The device has asked for, or brought, a buffer within the last second."""
        return self._stream is not None and _now_us() - self._called_us < ALIVE_US

    @property
    def latency_us(self) -> int:
        """What PortAudio says lies between a buffer and the air, microseconds; 0 while there is no device."""
        stream = self._stream
        if stream is None:
            return 0
        try:
            seconds: float = (
                stream.get_input_latency() if self._direction == "Input" else stream.get_output_latency()
            )
        except (OSError, ValueError):  # closed just now
            return 0
        return round(seconds * 1_000_000)

    def keep(self) -> None:
        """Notice that the device is gone, say so once, and try it again every 2 s."""
        now_us = _now_us()
        if self._stream is not None:
            if now_us - self._called_us < LOST_US and self._is_active():
                return
            log.warning(
                "the %s '%s' stopped; trying it again every %d s",
                self._kind,
                self.device.name,
                RETRY_US // SECOND,
            )
            self._close()
            self._retry_us = now_us + RETRY_US
        elif now_us >= self._retry_us:
            self._retry_us = now_us + RETRY_US
            try:
                self._open()
            except DeviceError as error:
                log.debug("%s", error)
                return
            self.reopened += 1
            log.warning("the %s '%s' is back", self._kind, self.device.name)

    def close(self) -> None:
        """Let go of the device."""
        self._close()

    def _open(self) -> None:
        with PORTAUDIO_LOCK, quiet():
            # A new instance each time: PortAudio looks for devices only when it is initialised.
            instance = self._pyaudio.PyAudio()
            try:
                self._stream = self._open_with(instance)
            except BaseException:
                instance.terminate()
                raise
            self._instance = instance
        # Asked for is the lowest that the driver offers (PyAudio does so); this is what it gives.
        log.info(
            "the %s '%s' is open, %.0f ms of latency", self._kind, self.device.name, self.latency_us / 1000
        )

    def _open_with(self, instance: Any) -> Any:
        device = choose(list_with(instance, self._direction), self._wanted, self._kind)
        self.device, self.channels = device, min(device.channels, self._channels_max)
        self._called_us = _now_us()
        index = "input_device_index" if self._direction == "Input" else "output_device_index"
        try:
            return instance.open(
                rate=SAMPLE_RATE,
                channels=self.channels,
                format=self._pyaudio.paInt16,
                input=self._direction == "Input",
                output=self._direction == "Output",
                frames_per_buffer=BUFFER_FRAMES,
                stream_callback=self._callback,
                **{index: device.index},
            )
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"The {self._kind} '{device.name}' cannot be opened at 48 kHz ({error}): another program may hold it. "
                "Close that one, or choose another device; `udpconf devices` lists them."
            ) from error

    def _close(self) -> None:
        with PORTAUDIO_LOCK, quiet():
            stream, instance = self._stream, self._instance
            self._stream = self._instance = None
            if stream is not None:
                try:
                    stream.close()
                except OSError as error:
                    log.debug("closing the %s: %s", self._kind, error)
            if instance is not None:
                instance.terminate()

    def _is_active(self) -> bool:
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def _callback(
        self, in_data: bytes | None, frame_count: int, time_info: Mapping[str, float], status: int
    ) -> tuple[bytes | None, int]:
        self._called_us = _now_us()
        return self._on_buffer(in_data, frame_count, self.channels, time_info), self._pyaudio.paContinue


def plausible_us(seconds: float, least_us: int) -> int | None:
    """A time span from PortAudio in microseconds, at least ``least_us``; None when it cannot be true.

    Drivers leave times at zero, or forget the buffer itself.
    """
    if not 0 < seconds < PLAUSIBLE_S:
        return None
    return max(least_us, round(seconds * SECOND))


def _now_us() -> int:
    return time.monotonic_ns() // 1_000

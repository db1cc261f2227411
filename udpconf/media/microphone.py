"""The microphone: 48 kHz with the time at which each block was heard.

PortAudio's thread only puts blocks into a queue; a thread of our own takes them to whoever encodes, so that neither the
encoder nor Python can make the driver lose sound.
"""

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from udpconf.errors import UdpconfError
from udpconf.limits import MS, SECOND
from udpconf.media.audio_stream import SAMPLE_RATE, AudioStream, plausible_us

log = logging.getLogger(__name__)

Pcm = NDArray[np.int16]
OnPicture = Callable[[NDArray[np.uint8], int], object]
OnSound = Callable[[Pcm, int], object]

# Half a second of sound: more than that is not live any longer. The newest is dropped when it is full, and counted.
QUEUE_BLOCKS = 100
# The device is looked after so often, also while it brings nothing.
KEEP_S = 0.5
STOP_S = 1.0
# ALSA's PulseAudio plugin says that sound is 132 ms old in the first second of a stream and 0.2 ms afterwards, where a
# loop through two null sinks showed 11 ms all the time. So on Linux a block is as old as it is long.
DRIVER_KNOWS_AGE = not sys.platform.startswith("linux")
# Blocks come in pairs or late, never early: the earliest say when sound is captured. This much a block is given back
# (2 ms a second), to follow a slow sound card and what else was too early. Chosen, not measured.
CREEP_US = 10
# More than this late, and sound was lost before us.
LOST_US = 100 * MS


class CaptureClock:
    """When each block was heard, from when it was handed over: the lower envelope of the delays."""

    def __init__(self) -> None:
        self._next_us: int | None = None

    def stamp(self, measured_us: int, block_us: int) -> int:
        """Capture time of a block's first sample.

        Args:
            measured_us: the same by this block alone: when it came, less its age.
            block_us: how much sound it is.
        """
        capture_us = measured_us
        if self._next_us is not None and 0 < measured_us - self._next_us < LOST_US:
            capture_us = self._next_us + min(CREEP_US, measured_us - self._next_us)
        self._next_us = capture_us + block_us
        return capture_us


class Microphone:
    """An input device as a source of sound.

    Args:
        device: index, a part of the name, or None for the system's default.
        channels: at most; a device with one gives one.

    Raises:
        DeviceError: from ``start``: there is no such device, or it cannot be opened.
        MissingDependencyError: PyAudio is not installed.

    Attributes:
        ended: never set by itself: a microphone that is unplugged is tried again every 2 s.
        error: always None, for the same reason.
        dropped: blocks that nobody took in time.
    """

    def __init__(self, device: str | int | None = None, channels: int = 1) -> None:
        self.ended = threading.Event()
        self.error: UdpconfError | None = None
        self.dropped = 0
        self._wanted = device
        self._channels = channels
        self._queue: queue.Queue[tuple[bytes, int, int]] = queue.Queue(QUEUE_BLOCKS)
        self._clock = CaptureClock()
        self._closing = threading.Event()
        # Exchanged under the lock; only whoever has taken a stream out of here closes it.
        self._changing = threading.Lock()
        self._stream: AudioStream | None = None
        self._source = object()  # who may bring sound: two streams are open while one takes the other's place
        self._thread: threading.Thread | None = None

    @property
    def description(self) -> str:
        """For captions and logs."""
        return f"microphone '{self._stream.device.name}'" if self._stream else "microphone"

    @property
    def alive(self) -> bool:
        """The device has brought sound within the last second."""
        return self._stream is not None and self._stream.alive

    def start(self, on_picture: OnPicture | None, on_sound: OnSound | None) -> None:
        """Open the device; from now on ``on_sound(int16[n, channels], capture_us)`` is called from a thread of ours.

        A microphone has no pictures: ``on_picture`` is never called.
        """
        # One channel as a rule: the first microphone of an array is sound enough, and no driver averages them the same way.
        self._stream = AudioStream("Input", self._wanted, self._channels, partial(self._take, self._source))
        self._thread = threading.Thread(target=self._run, args=(on_sound,), name="microphone", daemon=True)
        self._thread.start()

    def use(self, device: str | int | None) -> None:
        """Go over to another device without stopping: index, a part of the name, or None for the system's default.

        What was plugged in after the one in use was opened may not be found: PortAudio looks for devices when it
        starts. Takes as long as opening does, up to a second.

        Raises:
            DeviceError: there is no such device, or it cannot be opened; the one before goes on.
        """
        if self._thread is None:
            self._wanted = device
            return
        source = object()
        after: AudioStream | None = AudioStream("Input", device, self._channels, partial(self._take, source))
        with self._changing:
            if not self._closing.is_set():
                self._stream, after = after, self._stream
                self._source, self._clock = source, CaptureClock()
        if after is not None:
            after.close()

    def stop(self) -> None:
        """Let go of the device; returns within a second even if the driver hangs."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _take(
        self,
        source: object,
        in_data: bytes | None,
        frame_count: int,
        channels: int,
        time_info: Mapping[str, float],
    ) -> None:
        """PortAudio's thread has ``frame_count`` samples."""
        if source is not self._source:
            return
        now_us = time.monotonic_ns() // 1_000
        block_us = frame_count * SECOND // SAMPLE_RATE
        age_us = block_us
        if DRIVER_KNOWS_AGE:
            # PortAudio's clock may be another than ours; the difference of two of its times is good in any.
            told_s = time_info["current_time"] - time_info["input_buffer_adc_time"]
            age_us = plausible_us(told_s, block_us) or block_us
        if in_data is None:
            return
        try:
            self._queue.put_nowait((in_data, channels, self._clock.stamp(now_us - age_us, block_us)))
        except queue.Full:
            self.dropped += 1

    def _run(self, on_sound: OnSound | None) -> None:
        looked_us = 0
        while not self._closing.is_set():
            try:
                data, channels, capture_us = self._queue.get(timeout=KEEP_S)
            except queue.Empty:
                pass
            else:
                if on_sound is not None:
                    on_sound(np.frombuffer(data, np.int16).reshape(-1, channels).copy(), capture_us)
            now_us = time.monotonic_ns() // 1_000
            if now_us - looked_us > KEEP_S * SECOND:
                looked_us = now_us
                with self._changing:
                    if self._stream is not None:
                        self._stream.keep()
        with self._changing:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

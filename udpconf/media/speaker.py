"""The loudspeaker: a small ring that an audio thread fills and PortAudio's callback empties, 10 ms at a time."""

import threading
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from udpconf.limits import MS, SECOND
from udpconf.media.audio_stream import SAMPLE_RATE, AudioStream, plausible_us
from udpconf.media.opus import as_channels

Pcm = NDArray[np.int16]

SAMPLE_BYTES = 2
# More than this in the ring is nobody's plan: the oldest goes. Whoever writes aims at 20 to 30 ms.
RING_MAX_US = 100 * MS
# How often the device is looked after.
KEEP_S = 0.5


class Speaker:
    """An open output device.

    ``write`` never blocks and may be called from any one thread. A device that is unplugged is tried again every 2 s;
    meanwhile what is written is dropped.

    Args:
        device: index, a part of the name, or None for the system's default.

    Raises:
        DeviceError: there is no such device, or it cannot be opened.
        MissingDependencyError: PyAudio is not installed.

    Attributes:
        underruns: how often the device wanted sound in the midst of sound and there was none; silence was played.
        dropped: blocks that did not fit into the ring.
        on_taken: called from PortAudio's thread after the device took sound; must be quick.
    """

    def __init__(self, device: str | int | None = None) -> None:
        self.underruns = 0
        self.dropped = 0
        self.on_taken: Callable[[], None] | None = None
        # Bounded by RING_MAX_US in write(): the oldest is dropped and counted.
        self._ring: deque[bytes] = deque()
        self._ring_bytes = 0
        self._sounding = False  # the last buffer was full
        self._lock = (
            threading.Lock()
        )  # the ring: held for microseconds by the writer and by PortAudio's thread
        self._ahead_us: int | None = None  # from the callback to the air, as the driver tells it
        self._stream = AudioStream("Output", device, 2, self._fill)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="speaker", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The device's name."""
        return self._stream.device.name

    @property
    def alive(self) -> bool:
        """The device has asked for sound within the last second."""
        return self._stream.alive

    @property
    def device_latency_us(self) -> int:
        """What the driver gave when it was asked for little, microseconds: without the ring."""
        return self._stream.latency_us

    @property
    def queued_us(self) -> int:
        """Sound that waits in the ring, microseconds."""
        return self._ring_bytes * SECOND // (SAMPLE_RATE * SAMPLE_BYTES * self._stream.channels)

    @property
    def latency_us(self) -> int:
        """From ``write`` to the air, microseconds: the ring, and what the driver says of itself."""
        return self.queued_us + (self._ahead_us or self._stream.latency_us)

    def write(self, block: Pcm) -> None:
        """Append int16[n] or int16[n, channels] at 48 kHz; drops the oldest when there is more than 100 ms."""
        data = as_channels(block, self._stream.channels).tobytes()
        with self._lock:
            if not self._stream.alive:
                self._ring.clear()
                self._ring_bytes = 0
            self._ring.append(data)
            self._ring_bytes += len(data)
            while self.queued_us > RING_MAX_US:
                self._ring_bytes -= len(self._ring.popleft())
                self.dropped += 1

    def close(self) -> None:
        """Let go of the device; returns within a second even if the driver hangs."""
        self._closing.set()
        self._thread.join(1.0)

    def _look_after(self) -> None:
        while not self._closing.wait(KEEP_S):
            self._stream.keep()
        self._stream.close()

    def _fill(
        self, in_data: bytes | None, frame_count: int, channels: int, time_info: Mapping[str, float]
    ) -> bytes:
        """PortAudio's thread wants ``frame_count`` samples now."""
        self._ahead_us = plausible_us(time_info["output_buffer_dac_time"] - time_info["current_time"], 0)
        wanted = frame_count * SAMPLE_BYTES * channels
        out = bytearray()
        with self._lock:
            while self._ring and len(out) < wanted:
                block = self._ring.popleft()
                part = block[: wanted - len(out)]
                out += part
                if len(part) < len(block):
                    self._ring.appendleft(block[len(part) :])
            self._ring_bytes -= len(out)
            if len(out) < wanted and (out or self._sounding):
                self.underruns += 1
            self._sounding = len(out) == wanted
        taken = self.on_taken  # read once: it may be taken away meanwhile
        if taken is not None:
            taken()
        return bytes(out.ljust(wanted, b"\0"))

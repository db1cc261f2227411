"""What all sources share: threads that call back, an orderly stop, and the reason when one ends by itself."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from udpconf.errors import DeviceError, UdpconfError
from udpconf.limits import SECOND
from udpconf.media.native import cv2
from udpconf.media.picture import Picture

log = logging.getLogger(__name__)

Pcm = NDArray[np.int16]
OnPicture = Callable[[Picture, int], object]
OnSound = Callable[[Pcm, int], object]

SAMPLE_RATE = 48_000
# Sound is handed over in pieces of so many samples, 20 ms: two Opus frames.
PIECE_SAMPLES = 960
# A thread that hangs in a driver is left behind; it is a daemon and holds nothing of ours.
STOP_S = 2.0


def monotonic_us() -> int:
    """CLOCK_MONOTONIC in microseconds."""
    return time.monotonic_ns() // 1_000


class Source(ABC):
    """A source of pictures, sound or both. It can be started once.

    Attributes:
        ended: set when nothing more will come: after ``stop``, at the end of a file, after an error.
        error: why it ended by itself, or None.
    """

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.error: UdpconfError | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._running = 0

    @property
    @abstractmethod
    def description(self) -> str:
        """For captions and logs."""

    def start(self, on_picture: OnPicture | None, on_sound: OnSound | None) -> None:
        """Begin. Both are called from threads of the source, each from one of its own; None: not wanted.

        Args:
            on_picture: called with uint8[h, w, 3] BGR, the callee's own, and its capture time (CLOCK_MONOTONIC,
                microseconds).
            on_sound: called with int16[n, channels] at 48 kHz and the capture time of its first sample; a piece comes
                when its last sample is over, as from a microphone.

        Raises:
            DeviceError: there is no such device, or it does not open.
        """
        loops = self._loops(on_picture, on_sound)
        self._running = len(loops)
        if not loops:
            self.ended.set()
        for loop in loops:
            # Not joined for ever, because a driver may hang: hence daemons.
            thread = threading.Thread(
                target=self._run, args=(loop,), name=f"source {self.description}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """No more calls after this, unless a driver hangs for more than two seconds. May be repeated."""
        self._stopping.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(STOP_S)
        self.ended.set()

    @abstractmethod
    def _loops(self, on_picture: OnPicture | None, on_sound: OnSound | None) -> Sequence[Callable[[], None]]:
        """What the source's threads do, each until it is done or ``_stopping`` is set."""

    def _wait_until(self, when_us: int) -> bool:
        """Sleep until then; False when the source is to stop."""
        while (remaining_us := when_us - monotonic_us()) > 0:
            if self._stopping.wait(remaining_us / SECOND):
                return False
        return not self._stopping.is_set()

    def _run(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except UdpconfError as error:
            self._fail(error)
        except Exception as error:
            log.exception("%s ended by an error of ours", self.description)
            self._fail(DeviceError(f"The {self.description} ended: {error or type(error).__name__}."))
        with self._lock:
            self._running -= 1
            done = self._running == 0
        if done:
            self.ended.set()

    def _fail(self, error: UdpconfError) -> None:
        # After stop the callee may be closed; that is no error of the source.
        if not self._stopping.is_set():
            self.error = error
            self._stopping.set()
            self.ended.set()


class SoundPacer:
    """Hands samples over in pieces of 20 ms, each when its last sample is over."""

    def __init__(self, start_us: int, on_sound: OnSound, wait_until: Callable[[int], bool]) -> None:
        """``start_us`` is the capture time of the first sample; ``wait_until`` returns False to stop."""
        self._start_us = start_us
        self._on_sound = on_sound
        self._wait_until = wait_until
        self._given = 0  # samples
        self._rest: list[Pcm] = []
        self._rest_samples = 0

    def push(self, pcm: Pcm) -> bool:
        """Take any number of samples, int16[n, channels]; blocks until they are due. False: stop."""
        self._rest.append(pcm)
        self._rest_samples += len(pcm)
        if self._rest_samples < PIECE_SAMPLES:
            return True
        joined = np.concatenate(self._rest)
        whole = len(joined) - len(joined) % PIECE_SAMPLES
        for start in range(0, whole, PIECE_SAMPLES):
            if not self._give(joined[start : start + PIECE_SAMPLES]):
                return False
        self._rest = [joined[whole:]]
        self._rest_samples = len(joined) - whole
        return True

    def finish(self) -> None:
        """Hand over what is left."""
        if self._rest_samples:
            self._give(np.concatenate(self._rest))
        self._rest = []
        self._rest_samples = 0

    def _give(self, piece: Pcm) -> bool:
        capture_us = self._start_us + self._given * SECOND // SAMPLE_RATE
        self._given += len(piece)
        if not self._wait_until(self._start_us + self._given * SECOND // SAMPLE_RATE):
            return False
        self._on_sound(piece.copy(), capture_us)
        return True


def fitted_size(width: int, height: int, max_width: int | None) -> tuple[int, int]:
    """The size at most ``max_width`` wide with the same aspect, in even numbers; never larger than it was."""
    if max_width is None or width <= max_width:
        return width, height
    fitted_width = max(2, max_width - max_width % 2)
    return fitted_width, max(2, 2 * round(height * fitted_width / width / 2))


def fitted(image: Picture, max_width: int | None) -> Picture:
    """The picture in ``fitted_size``."""
    height, width = image.shape[:2]
    size = fitted_size(width, height, max_width)
    if size == (width, height):
        return image
    # Area averaging keeps text and edges; it is as fast as bilinear when shrinking.
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

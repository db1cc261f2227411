"""Takes what a source brings, and lets a test wait for it."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tests.loopback.waiting import PATIENCE_S
from udpconf.media.sources.source import Source


class Collector:
    """Starts a source in ``with``, and stops it at the end."""

    def __init__(self, source: Source, *, pictures: bool = True, sound: bool = True) -> None:
        self.source = source
        self.pictures: list[tuple[NDArray[np.uint8], int]] = []
        self.pieces: list[tuple[NDArray[np.int16], int]] = []
        self.threads: set[str] = set()
        self._changed = threading.Condition()
        self._want = (pictures, sound)

    def __enter__(self) -> Self:
        self.source.start(
            self.on_picture if self._want[0] else None, self.on_sound if self._want[1] else None
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.stop()

    def on_picture(self, image: NDArray[np.uint8], capture_us: int) -> None:
        with self._changed:
            self.threads.add(threading.current_thread().name)
            self.pictures.append((image, capture_us))
            self._changed.notify_all()

    def on_sound(self, pcm: NDArray[np.int16], capture_us: int) -> None:
        with self._changed:
            self.pieces.append((pcm, capture_us))
            self._changed.notify_all()

    def wait(self, what: Callable[[], bool]) -> None:
        """Until ``what`` is true; looked at after each picture and piece, and every 20 ms."""
        deadline_s = time.monotonic() + PATIENCE_S
        with self._changed:
            while not what():
                assert time.monotonic() < deadline_s, (
                    len(self.pictures),
                    len(self.pieces),
                    self.source.error,
                )
                self._changed.wait(0.02)

    def wait_for_pictures(self, count: int) -> None:
        self.wait(lambda: len(self.pictures) >= count)

    def wait_until_ended(self) -> None:
        assert self.source.ended.wait(PATIENCE_S)

    @property
    def pcm(self) -> NDArray[np.int16]:
        """All sound so far, which must follow without a gap."""
        start_us = self.pieces[0][1]
        samples = 0
        for pcm, capture_us in self.pieces:
            assert abs(capture_us - (start_us + samples * 1_000_000 // 48_000)) <= 1
            samples += len(pcm)
        return np.concatenate([pcm for pcm, _ in self.pieces])

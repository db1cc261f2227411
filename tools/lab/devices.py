"""What the two processes of a run have for a camera and a screen.

They do nothing while a run lasts but what they must: whatever can be found out later is left to the process that started
them. Times are CLOCK_MONOTONIC, one clock for all processes of the machine, microseconds.
"""

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.lab import barcode
from tools.lab.plan import FPS, HEIGHT, WIDTH, Plan
from udpconf.media.native import cv2

Image = NDArray[np.uint8]


class Ended(Exception):  # noqa: N818 - no error
    """The other side has ended and everything under way has arrived."""


def now_us() -> int:
    return time.monotonic_ns() // 1000


def cpu_us() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return round((usage.ru_utime + usage.ru_stime) * 1e6)


class Camera:
    """Takes a picture every 1/30 s whether or not somebody asks; who asks late gets the newest and misses the others."""

    def __init__(self, plan: Plan) -> None:
        # Copies on write: the strips do not go into the file.
        self._pictures: Image = np.load(plan.pictures)
        width = self._pictures.shape[2]
        self._strips = [barcode.row(number, width) for number in range(plan.frames)]
        self.start_us = 0
        self.taken: list[tuple[int, int, int]] = []  # number, when it was handed out, processor time

    def begin(self) -> None:
        self.start_us = now_us() + 100_000

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        """(capture time, picture) until all have been taken."""
        number = -1
        while True:
            number = max(number + 1, (now_us() - self.start_us) * FPS // 1_000_000)
            if number >= len(self._strips):
                return
            capture_us = self.start_us + number * 1_000_000 // FPS
            time.sleep(max(0, capture_us - now_us()) / 1e6)
            image = self._pictures[number % len(self._pictures)]
            barcode.draw(image, self._strips[number])
            self.taken.append((number, now_us(), cpu_us()))
            yield capture_us, image


class Screen:
    """Notes what is shown, and when; keeps every n-th picture to look at later."""

    def __init__(self, plan: Plan) -> None:
        self._every = plan.sample_every
        self._folder = Path(plan.folder)
        self._strips: list[Image] = []
        self._rows: list[tuple[int, int, bool, float, int]] = []
        self._kept: list[Image] = []
        self._sound: list[NDArray[np.int16]] = []
        self._sound_us: list[int] = []

    def show(self, image: Image, complete: bool, fresh_area: float, coded_bytes: int) -> None:
        shown_us = now_us()
        self._strips.append(barcode.sample(image))
        if len(self._rows) % self._every == 0:
            if image.shape[:2] != (
                HEIGHT,
                WIDTH,
            ):  # the path had no room for more; people look at it as large as before
                image = np.asarray(
                    cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR), np.uint8
                )
            self._kept.append(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8))
        self._rows.append((shown_us, cpu_us(), complete, fresh_area, coded_bytes))

    def hear(self, pcm: NDArray[np.int16]) -> None:
        self._sound_us.append(now_us())
        self._sound.append(pcm[:, 0])

    def save(self, counters: dict[str, Any]) -> None:
        rows = self._rows  # the end may have come in the middle of show(), before its last line
        np.savez(
            self._folder / "receive.npz",
            strips=np.array(self._strips[: len(rows)], np.uint8).reshape(-1, 2, 160),
            shown_us=np.array([row[0] for row in rows], np.int64),
            cpu_us=np.array([row[1] for row in rows], np.int64),
            complete=np.array([row[2] for row in rows], bool),
            fresh_area=np.array([row[3] for row in rows], np.float64),
            coded_bytes=np.array([row[4] for row in rows], np.int64),
            kept=np.array(self._kept, np.uint8),
            sound=np.concatenate(self._sound) if self._sound else np.zeros(0, np.int16),
            sound_us=np.array(self._sound_us, np.int64),
        )
        (self._folder / "receive.json").write_text(json.dumps(counters))

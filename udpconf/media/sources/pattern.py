"""A moving test pattern that says which frame it is, to people and to programs, and a tone of exact phase.

The frame number stands in the picture as text and as a row of black and white blocks that survives JPEG, scaling and a
screenshot. So a test can tell at the far end which picture it sees, and a person with a stopwatch what the delay is.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from udpconf.errors import ConfigError
from udpconf.limits import PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH, SECOND
from udpconf.media.native import cv2
from udpconf.media.picture import Picture
from udpconf.media.sources.source import (
    PIECE_SAMPLES,
    SAMPLE_RATE,
    OnPicture,
    OnSound,
    Pcm,
    SoundPacer,
    Source,
    monotonic_us,
)

# The row of blocks, in shares of the picture's height and width. In the middle, away from captions.
_ROW_TOP, _ROW_BOTTOM = 0.62, 0.72
_ROW_LEFT, _ROW_RIGHT = 0.02, 0.98
# White, black, then the number and a checksum, highest bit first, then white, black: 36 cells, 17 pixels wide at 640.
_NUMBER_BITS = 24
_CHECK_BITS = 8
_MARK = (1, 0)
_CELLS = len(_MARK) + _NUMBER_BITS + _CHECK_BITS + len(_MARK)
# Below this width a block is less than four pixels and JPEG smears it.
MIN_WIDTH = 160
MIN_HEIGHT = 90

# -20 dBFS: as loud as speech, and no shock in headphones.
_TONE_AMPLITUDE = 0.1 * 32767
# EBU colour bars of 75 %, in OpenCV's order blue, green, red.
_BARS = (
    (191, 191, 191),
    (0, 191, 191),
    (191, 191, 0),
    (0, 191, 0),
    (191, 0, 191),
    (0, 0, 191),
    (191, 0, 0),
    (30, 30, 30),
)


class PatternSource(Source):
    """The pattern at a steady rate, and a tone. Frame n is taken n / fps after the start, without drift."""

    def __init__(
        self,
        width: int = 640,
        height: int | None = None,
        fps: float = 30,
        tone_hz: float | None = 440,
        *,
        stereo: bool = False,
    ) -> None:
        """Prepare the background.

        Args:
            width: pixels, from 160.
            height: pixels, from 90; None: 9/16 of the width.
            fps: pictures a second.
            tone_hz: of the sine at -20 dBFS; None: no sound.
            stereo: the tone on two channels instead of one.

        Raises:
            ConfigError: there can be no such pattern.
        """
        super().__init__()
        height = 2 * round(width * 9 / 32) if height is None else height
        if not (MIN_WIDTH <= width <= PICTURE_MAX_WIDTH and MIN_HEIGHT <= height <= PICTURE_MAX_HEIGHT):
            raise ConfigError(
                f"The test pattern cannot have {width}x{height} pixels; choose a size from {MIN_WIDTH}x{MIN_HEIGHT} to "
                f"{PICTURE_MAX_WIDTH}x{PICTURE_MAX_HEIGHT}."
            )
        if not 0 < fps <= 1000:
            raise ConfigError(f"The test pattern cannot have {fps} pictures a second; choose 1 to 1000.")
        if tone_hz is not None and not 0 < tone_hz < SAMPLE_RATE / 2:
            raise ConfigError(f"A tone of {tone_hz} Hz cannot be sampled at 48 kHz; choose 20 to 20000.")
        self._fps = fps
        self._tone_hz = tone_hz
        self._channels = 2 if stereo else 1
        self._painter = PatternPainter(width, height)
        self.pictures_skipped = 0  # because the receiver of the last one took too long

    @property
    def description(self) -> str:
        """For captions and logs."""
        return "test pattern"

    @property
    def has_sound(self) -> bool:
        """There is a tone."""
        return self._tone_hz is not None

    def _loops(self, on_picture: OnPicture | None, on_sound: OnSound | None) -> Sequence[Callable[[], None]]:
        start_us = monotonic_us()
        start_wall = datetime.now(UTC)
        loops: list[Callable[[], None]] = []
        if on_picture is not None:
            loops.append(lambda: self._show(on_picture, start_us, start_wall))
        if on_sound is not None and self._tone_hz is not None:
            tone_hz = self._tone_hz
            loops.append(lambda: self._play(on_sound, start_us, tone_hz))
        return loops

    def _show(self, on_picture: OnPicture, start_us: int, start_wall: datetime) -> None:
        number = 0
        while True:
            offset_us = int(number * SECOND / self._fps)
            if not self._wait_until(start_us + offset_us):
                return
            wall = start_wall + timedelta(microseconds=offset_us)
            on_picture(self._painter.paint(number, wall), start_us + offset_us)
            due = int((monotonic_us() - start_us) * self._fps / SECOND)
            self.pictures_skipped += max(0, due - number - 1)
            number = max(number + 1, due)

    def _play(self, on_sound: OnSound, start_us: int, tone_hz: float) -> None:
        pacer = SoundPacer(start_us, on_sound, self._wait_until)
        for first in itertools.count(0, PIECE_SAMPLES):
            if not pacer.push(tone(tone_hz, first, PIECE_SAMPLES, self._channels)):
                return


class PatternPainter:
    """Paints the pattern's frames in any order."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._background = _background(width, height)

    def paint(self, number: int, wall: datetime) -> Picture:
        """Frame ``number``, taken at ``wall``: uint8[height, width, 3] BGR, the caller's own."""
        width, height = self._width, self._height
        scroll = number * max(1, width // 320) % width
        image = self._background[:, scroll : scroll + width].copy()

        # A ball on a path that does not repeat soon, so that every picture differs in more than its numbers.
        centre = (
            int(width * (0.5 + 0.42 * math.sin(number * 0.061))),
            int(height * (0.5 + 0.4 * math.sin(number * 0.083))),
        )
        cv2.circle(image, centre, max(4, height // 12), (60, 220, 255), -1, cv2.LINE_AA)

        text = f"{number}   {wall:%H:%M:%S}.{wall.microsecond // 1000:03d} UTC"
        scale = height / 360
        bottom = int(height * 0.54)
        cv2.rectangle(image, (0, int(height * 0.44)), (width, int(height * 0.58)), (0, 0, 0), -1)
        cv2.putText(
            image,
            text,
            (int(width * 0.03), bottom),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            (255, 255, 255),
            max(1, round(2 * scale)),
            cv2.LINE_AA,
        )
        self._paint_number(image, number)
        return image

    def _paint_number(self, image: Picture, number: int) -> None:
        number %= 1 << _NUMBER_BITS
        word = number << _CHECK_BITS | _checksum(number)
        bits = [word >> place & 1 for place in reversed(range(_NUMBER_BITS + _CHECK_BITS))]
        cells = np.array([*_MARK, *bits, *_MARK], np.uint8) * 255
        columns = np.arange(int(self._width * _ROW_LEFT), int(self._width * _ROW_RIGHT))
        cell = (columns / self._width - _ROW_LEFT) / (_ROW_RIGHT - _ROW_LEFT) * _CELLS
        row = cells[np.clip(cell.astype(int), 0, _CELLS - 1)]
        top, bottom = int(self._height * _ROW_TOP), int(self._height * _ROW_BOTTOM)
        image[top:bottom] = 128
        image[top:bottom, columns] = row[np.newaxis, :, np.newaxis]


def read_frame_number(image: Picture) -> int | None:
    """The number in the row of blocks, or None when there is none that can be read.

    Args:
        image: the pattern's picture, whole, in any size, uint8[h, w, 3] or uint8[h, w], after any codec.

    Returns:
        The frame's number, modulo 2^24. A picture that is none of the pattern's passes for one once in some 4000 times.
    """
    height, width = image.shape[:2]
    middle = (_ROW_TOP + _ROW_BOTTOM) / 2
    rows = slice(int(height * (middle - 0.02)), int(height * (middle + 0.02)) + 1)
    cell_width = (_ROW_RIGHT - _ROW_LEFT) / _CELLS
    bits = []
    for number in range(_CELLS):
        left = width * (_ROW_LEFT + cell_width * (number + 0.3))
        right = width * (_ROW_LEFT + cell_width * (number + 0.7))
        area = image[rows, int(left) : max(int(left) + 1, round(right))]
        bits.append(int(area.size > 0 and float(area.mean()) > 127))
    if tuple(bits[:2]) != _MARK or tuple(bits[-2:]) != _MARK:
        return None
    word = int("".join(map(str, bits[2:-2])), 2)
    number, check = word >> _CHECK_BITS, word & ((1 << _CHECK_BITS) - 1)
    return number if check == _checksum(number) else None


def tone(frequency_hz: float, first_sample: int, samples: int, channels: int = 1) -> Pcm:
    """A sine of -20 dBFS, int16[samples, channels] at 48 kHz; pieces that follow one another fit to the sample."""
    cycles = (np.arange(first_sample, first_sample + samples) * (frequency_hz / SAMPLE_RATE)) % 1.0
    mono = np.rint(_TONE_AMPLITUDE * np.sin(2 * np.pi * cycles)).astype(np.int16)
    return np.repeat(mono[:, np.newaxis], channels, axis=1)


def _checksum(number: int) -> int:
    """Eight bits that change in half their places when one bit of the number does (Knuth's multiplicative hash)."""
    return (number * 0x9E3779B1 & 0xFFFFFFFF) >> 24


def _background(width: int, height: int) -> Picture:
    """Colour bars above, a ramp below; twice as wide as the picture, so that any window of it scrolls round."""
    bars = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate(_BARS):
        bars[:, width * number // len(_BARS) : width * (number + 1) // len(_BARS)] = colour
    ramp = np.abs(np.linspace(-255, 255, width)).astype(np.uint8)
    bars[int(height * 0.58) :] = ramp[np.newaxis, :, np.newaxis] // np.array([3, 2, 1], np.uint8)
    return np.concatenate([bars, bars], axis=1)

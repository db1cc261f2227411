"""Pictures for tests: made from a seed, and like a film in what matters to a codec (edges, flat areas, some grain)."""

import re

import cv2
import numpy as np
from numpy.typing import NDArray

from udpconf.frames import EncodedFrame, Segment
from udpconf.media.jpeg import JpegEncoder

Picture = NDArray[np.uint8]


def film(width: int, height: int, seed: int = 0, shift: int = 0) -> Picture:
    """uint8[height, width, 3]: blurred shapes with edges and grain; ``shift`` moves the scene by so many pixels."""
    random = np.random.default_rng(seed)
    canvas = np.full((height, width, 3), random.integers(60, 200, 3), np.uint8)
    for _ in range(24):
        centre = (int(random.integers(0, width)) + shift, int(random.integers(0, height)))
        radius = int(random.integers(2, max(3, height // 4)))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        cv2.circle(canvas, centre, radius, colour, -1)
    blurred = cv2.GaussianBlur(canvas, (0, 0), 1.2).astype(np.int16)
    grain = random.integers(-6, 7, (height, width, 1))
    return np.asarray(np.clip(blurred + grain, 0, 255), np.uint8)


def noise(width: int, height: int, seed: int = 0) -> Picture:
    """uint8[height, width, 3] of random bytes: what no codec can compress."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def desktop(width: int, height: int, seed: int = 0) -> Picture:
    """uint8[height, width, 3]: windows, lines of text and a photo in a corner, as on a screen."""
    random = np.random.default_rng(seed)
    canvas = np.full((height, width, 3), (90, 60, 30), np.uint8)
    for number in range(3):
        left, top = width * number // 4 + 10, height * number // 6 + 10
        right, bottom = min(width, left + width // 2), min(height, top + height * 2 // 3)
        canvas[top:bottom, left:right] = 250 - 10 * number
        for line in range(top + 20, bottom, 18):
            words = "".join(chr(value) for value in random.integers(97, 123, 200))
            cv2.putText(
                canvas[:, :right], words, (left + 4, line), cv2.FONT_HERSHEY_PLAIN, 0.9, (20, 20, 20), 1
            )
    canvas[-height // 4 :, -width // 5 :] = film(width, height, seed)[-height // 4 :, -width // 5 :]
    return canvas


def psnr(a: Picture, b: Picture) -> float:
    """Decibels; infinity for equal pictures."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255 * 255 / error))


class IntervalEncoder(JpegEncoder):
    """Gives each restart interval as a segment of its own, for tests that lose them one by one."""

    def encode(self, image: Picture, quality: int, capture_us: int, max_segment_bytes: int) -> EncodedFrame:
        frame = super().encode(image, quality, capture_us, max_segment_bytes)
        segments: list[Segment] = []
        for packed in frame.segments:
            for data in re.split(rb"\xff[\xd0-\xd7]", packed.data):
                segments.append(Segment(len(segments), 1, data))
        return frame._replace(segments=tuple(segments))

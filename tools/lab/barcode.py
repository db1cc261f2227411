"""A frame's number, written into the picture so that any codec and any scale leaves it readable.

Two strips of 16 lines (in a picture of 360), one at the top and one at the bottom, each 40 black or white blocks wide:
four to tell black from white, 20 bits of number, 12 bits of checksum, four again. The strips travel in different packets,
so a picture with holes has one of them as a rule. Where a hole shows the picture before, its strip shows the number
before: so the newer of the two strips counts.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from udpconf.media.native import cv2

BLOCKS = 40
NUMBER_BITS = 20  # 9 hours at 30 frames/s
CHECK_BITS = 12  # a mixture of two numbers passes for a third once in 4096 times
_EDGE = (1, 0, 0, 1)
# A strip's height as a share of the picture's: 16 of 360 lines.
STRIP_SHARE = 16 / 360
# Black and white nearer to each other than this are no strip (8-bit steps).
_CONTRAST_MIN = 60


def strip_lines(height: int) -> int:
    """Lines of one strip in a picture of this height."""
    return max(4, round(height * STRIP_SHARE))


def row(number: int, width: int) -> NDArray[np.uint8]:
    """uint8[width, 3]: one line of the strip. Takes 0.1 ms, so a sender makes them before it starts."""
    blocks = np.arange(width) * BLOCKS // width
    return np.repeat((_bits(number) * np.uint8(255))[blocks][:, np.newaxis], 3, axis=1)


def draw(image: NDArray[np.uint8], line: NDArray[np.uint8]) -> None:
    """Put both strips into uint8[h, w, 3]; what was there is lost."""
    lines = strip_lines(image.shape[0])
    image[:lines] = line
    image[-lines:] = line


def sample(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8[2, 160]: what is needed of a picture to read it later. Takes 30 us, so it hardly shows in a measurement."""
    lines = strip_lines(image.shape[0])
    margin = lines // 4  # what a codec smears from the picture into the strip
    strips = image[margin : lines - margin], image[image.shape[0] - lines + margin : -margin]
    rows = [_shrunk(strip) for strip in strips]
    return np.concatenate(rows)


def decode(samples: NDArray[np.uint8]) -> int | None:
    """The number in what ``sample`` took; None if neither strip can be read."""
    numbers = [number for line in samples if (number := _decode(line)) is not None]
    return max(numbers, default=None)


def content(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without the strips."""
    lines = strip_lines(image.shape[0])
    return image[lines:-lines]


def _checksum(number: int) -> int:
    return zlib.crc32(number.to_bytes(4, "big")) & ((1 << CHECK_BITS) - 1)


def _bits(number: int) -> NDArray[np.uint8]:
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"{number} does not fit into the {NUMBER_BITS} bits of a barcode")
    word = number << CHECK_BITS | _checksum(number)
    code = [word >> place & 1 for place in reversed(range(NUMBER_BITS + CHECK_BITS))]
    return np.array([*_EDGE, *code, *_EDGE], np.uint8)


def _shrunk(strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8[1, 160] of uint8[h, w] or uint8[h, w, 3]: four columns a block, all lines averaged."""
    green = strip if strip.ndim == 2 else strip[:, :, 1]
    return np.asarray(cv2.resize(green, (4 * BLOCKS, 1), interpolation=cv2.INTER_AREA), np.uint8)


def _decode(line: NDArray[np.uint8]) -> int | None:
    # Of the four columns the inner two count: a scaler mixes the outer ones with their neighbours.
    grey = line.reshape(BLOCKS, 4)[:, 1:3].mean(axis=1)
    edges = np.concatenate((grey[: len(_EDGE)], grey[-len(_EDGE) :]))
    pattern = np.array(_EDGE * 2, bool)
    white, black = float(edges[pattern].min()), float(edges[~pattern].max())
    if white - black < _CONTRAST_MIN:
        return None
    word = 0
    for bit in (grey[len(_EDGE) : -len(_EDGE)] > (white + black) / 2).tolist():
        word = word << 1 | bit
    number = word >> CHECK_BITS
    return number if word & ((1 << CHECK_BITS) - 1) == _checksum(number) else None

"""How large a picture is sent: smaller when even the lowest quality does not fit, and back when there is room again."""

import numpy as np

from udpconf.frames import SCALES, EncodedFrame
from udpconf.limits import SECOND
from udpconf.media.native import cv2
from udpconf.media.picture import Picture

# Below that nobody is recognised any more; then the frame rate gives way.
SMALLEST = (160, 90)
# Smaller pictures have more to tell in each pixel: bytes ~ scale ** 1.6, a pixel's ~ scale ** -0.4 (four clips at quality 10
# to 75: -0.1 to -0.6).
EXPONENT = 0.4
# A picture would have to be coarser than allowed by this factor before it shrinks. It grows when it would just fit.
SHRINK_AT = 1.2
GROW_AT = 1.0
# What grew and had to shrink again, which people see, waits twice as long the next time; but where it is plain that it shrank
# too far, it grows at once.
GROW_AFTER_US = (1 * SECOND, 16 * SECOND)
GROW_AT_ONCE_AT = 0.35


class PictureScale:
    """The scale of one stream's pictures.

    Attributes:
        step: index into SCALES.
    """

    def __init__(self) -> None:
        self.step = 0
        self._changed_us = self._grew_us = 0
        self._grow_after_us = GROW_AFTER_US[0]

    @property
    def scale(self) -> float:
        return SCALES[self.step]

    def choose(self, image: Picture, coarseness: float, exponent: float, now_us: int) -> float:
        """Pick the scale of the next picture.

        Args:
            image: as captured.
            coarseness: the quantisation that fits at the present scale, as a multiple of the coarsest allowed.
            exponent: a picture's bytes ~ quantisation ** -exponent.
            now_us: of the capture.

        Returns:
            By what factor a pixel's bytes grow with the change; 1 if there is none.
        """
        before = self.step
        if coarseness > SHRINK_AT:
            while self.step + 1 < len(SCALES) and self._at(self.step, before, coarseness, exponent) > 1:
                if not _large_enough(image, SCALES[self.step + 1]):
                    break
                self.step += 1
            if self.step != before and self._grew_us:
                soon = now_us - self._grew_us < GROW_AFTER_US[0]
                self._grow_after_us = (
                    min(2 * self._grow_after_us, GROW_AFTER_US[1]) if soon else GROW_AFTER_US[0]
                )
        elif self.step:
            coarser = self._at(self.step - 1, before, coarseness, exponent)
            settled = now_us - self._changed_us >= self._grow_after_us
            if coarser < (GROW_AT if settled else GROW_AT_ONCE_AT):
                self.step -= 1
                self._grew_us = now_us
        if self.step == before:
            return 1.0
        self._changed_us = now_us
        return float((SCALES[before] / SCALES[self.step]) ** EXPONENT)

    def shrink(self, image: Picture) -> Picture:
        """The picture at the chosen scale; the picture itself when that is 1."""
        if self.step == 0:
            return image
        height, width = image.shape[:2]
        size = max(1, round(width * self.scale)), max(1, round(height * self.scale))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

    def describe(self, frame: EncodedFrame, image: Picture) -> EncodedFrame:
        """A frame that was compressed from the shrunk picture, as one of the picture itself."""
        height, width = image.shape[:2]
        as_submitted = frame.description._replace(width=width, height=height, scale_step=self.step)
        return frame._replace(description=as_submitted)

    @staticmethod
    def _at(step: int, present: int, coarseness: float, exponent: float) -> float:
        """The coarseness that would fit at another step."""
        return float(coarseness * (SCALES[step] / SCALES[present]) ** ((2 - EXPONENT) / exponent))


def _large_enough(image: Picture, scale: float) -> bool:
    height, width = image.shape[:2]
    return bool(width * scale >= SMALLEST[0] and height * scale >= SMALLEST[1])

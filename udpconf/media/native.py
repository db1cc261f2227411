"""OpenCV and FFmpeg, imported in the one order that works, with their chatter kept off the terminal.

``import av`` before ``import cv2`` makes ``cv2.imshow`` hang for ever (seen with opencv-python 5.0.0.93 and av 18.1; both
bring an FFmpeg of their own). So everybody takes both from here.
"""

import os

# Both are read once, when the library is loaded: no picture larger than limits.py allows is ever decoded, and Qt's font
# and plugin notes stay off the user's terminal.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(3840 * 2176))
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("QT_LOGGING_RULES", "*=false")

import cv2
import numpy as np

import av  # isort: skip
import av.logging  # isort: skip

av.logging.set_level(av.logging.PANIC)

# glibc returns freed memory to the system above a threshold that it learns from the largest block freed so far. With
# pictures of 640x360 that meant 220 page faults for each (0.25 of 2.4 ms of decoding). Freeing one block of this size,
# untouched, teaches it to keep what 1080p needs, as one larger picture would have done anyway.
_LESSON_BYTES = 8 << 20
np.empty(_LESSON_BYTES, np.uint8)

__all__ = ["av", "cv2"]

"""Clips for tests: the test pattern and its tone, written by FFmpeg, so that every picture and sample is known."""

import math
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import cv2  # noqa: F401 - before av
import numpy as np

from udpconf.media.sources.pattern import PatternPainter, tone

CLOCK = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def write_clip(
    path: Path,
    seconds: float = 1.0,
    *,
    fps: int = 25,
    size: tuple[int, int] = (320, 180),
    tone_hz: float | None = 440,
    channels: int = 1,
    sample_rate: int = 48_000,
    sound_delay_s: float = 0,
    pictures: bool = True,
    gop: int = 10,
) -> Path:
    """A file with MPEG-4 pictures numbered from 0 and uncompressed sound; the suffix of ``path`` chooses the container.

    The tone is what ``pattern.tone`` makes at 48 kHz; at other rates it is a sine of the same level.
    """
    with av.open(str(path), "w") as container:
        if pictures:
            video = container.add_stream("mpeg4", rate=fps)
            video.width, video.height = size
            video.pix_fmt = "yuv420p"
            video.bit_rate = 4_000_000
            video.codec_context.gop_size = gop
        if tone_hz is not None:
            audio = container.add_stream("pcm_s16le", rate=sample_rate)
            audio.layout = "mono" if channels == 1 else "stereo"
        if pictures:
            painter = PatternPainter(*size)
            for number in range(math.ceil(seconds * fps)):
                frame = av.VideoFrame.from_ndarray(painter.paint(number, CLOCK), format="bgr24")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if tone_hz is not None:
            samples = round(seconds * sample_rate)
            if sample_rate == 48_000:
                pcm = tone(tone_hz, 0, samples, channels)
            else:
                wave = 3276.7 * np.sin(2 * np.pi * tone_hz * np.arange(samples) / sample_rate)
                pcm = np.repeat(np.rint(wave).astype(np.int16)[:, np.newaxis], channels, axis=1)
            for first in range(0, samples, 1024):
                block = np.ascontiguousarray(pcm[first : first + 1024]).reshape(1, -1)
                sound = av.AudioFrame.from_ndarray(block, "s16", "mono" if channels == 1 else "stereo")
                sound.sample_rate = sample_rate
                sound.pts = first + round(sound_delay_s * sample_rate)
                sound.time_base = Fraction(1, sample_rate)
                container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path

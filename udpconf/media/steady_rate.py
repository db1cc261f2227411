"""A microphone's sound at the rate of the computer's clock: 480 samples are 10 ms, whatever the sound card thinks.

A sound card's crystal differs from the computer's by up to some 100 millionths, 360 ms in an hour. Counting samples and
asking the clock then say different things, and everybody who plays or records the sound would have to choose. So it is
mended here, once, where both are known: the sound is resampled by what they are found to differ by.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from udpconf.limits import SECOND
from udpconf.media.resampler import Resampler

Pcm = NDArray[np.int16]

SAMPLE_RATE = 48_000
# The controller is asked once for every 10 ms of sound.
CONTROL_SAMPLES = 480
# Callbacks wobble by some ms. Where count and clock agree is taken from the mean of so much sound, in which the worst
# sound card moves by 0.2 ms.
BEGINNING_SAMPLES = SAMPLE_RATE


class RateControl(Protocol):
    """What is needed of proto.drift.DriftControl: exactly 1 until count and clock are found to disagree."""

    def update(self, astray_us: float) -> float:
        """By how much there is more sound than time in; samples out for each sample in."""


class SteadyRate:
    """One stream's. Until the controller gives a ratio other than 1, sound passes bit for bit.

    Attributes:
        astray_us: by how much the sound that was given out is longer than the time in which it was captured.
    """

    def __init__(self, control: RateControl, channels: int) -> None:
        self._control = control
        self._resampler = Resampler(channels)
        self.restart()

    def restart(self) -> None:
        """Sound is missing: count and clock are compared anew. What was learned of the clocks stays."""
        self.astray_us = 0.0
        self._out_samples = 0
        self._beginning: list[float] = []
        self._beginning_samples = 0
        self._began_us: float | None = None  # on the clock, when no sample was counted
        self._controlled_samples = 0

    def follow(self, block: Pcm, capture_us: int) -> Pcm:
        """int16[n, channels], whose first sample was captured at ``capture_us``; as many samples as its time is long."""
        counted_us = self._out_samples * SECOND / SAMPLE_RATE
        if self._began_us is None:
            self._beginning.append(capture_us - counted_us)
            self._beginning_samples += len(block)
            if self._beginning_samples >= BEGINNING_SAMPLES:
                self._began_us = float(np.mean(self._beginning))
        else:
            self.astray_us = counted_us - (capture_us - self._began_us)
            self._controlled_samples += len(block)
            while self._controlled_samples >= CONTROL_SAMPLES:
                self._controlled_samples -= CONTROL_SAMPLES
                self._resampler.wanted = self._control.update(self.astray_us)
        followed = self._resampler.resample(block)
        self._out_samples += len(followed)
        return followed

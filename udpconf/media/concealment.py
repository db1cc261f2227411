"""What is heard in place of a lost frame: the last pitch period again and again, fading (after ITU-T G.711 Appendix I).

Speech is nearly periodic for some 20 ms, so its last period continues it without a break. PyAV's decoder gives nothing
for a lost packet; this is the fallback that works wherever NumPy does.
"""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

# Voices lie between 70 and 400 Hz; a period is looked for up to 15 ms.
PITCH_MIN_S = 0.0025
PITCH_MAX_S = 0.015
# This much of the latest sound is compared with earlier sound to find the period.
MATCH_S = 0.010
# Past this the repetition hums like a machine: silence is better.
FADE_S = 0.050
# The step where repetition begins is taken out over the first, the way back to real sound takes the second.
STEP_S = 0.0025
RETURN_S = 0.005


class Concealment:
    """One stream's memory of what it last played. Blocks are int16[n], or int16[n, channels] with more than one."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._pitch_min = round(PITCH_MIN_S * sample_rate)
        self._pitch_max = round(PITCH_MAX_S * sample_rate)
        self._match = round(MATCH_S * sample_rate)
        self._fade = round(FADE_S * sample_rate)
        self._step = round(STEP_S * sample_rate)
        self._return = round(RETURN_S * sample_rate)
        self._shape = (-1,) if channels == 1 else (-1, channels)
        # Blocks, not one array: they are put together only when something is lost. A second of silence to begin with.
        self._blocks: deque[Pcm] = deque([np.zeros((sample_rate, channels), np.int16)])
        self._kept = sample_rate
        self._period: NDArray[np.float32] | None = None  # while concealing: the period that repeats
        self._step_height = np.zeros(channels, np.float32)
        self._concealed = 0  # samples since the last real one

    def received(self, block: Pcm) -> Pcm:
        """Remember a real block; straight after a concealed one, return it with its beginning blended in."""
        samples = block.reshape(len(block), -1)
        if self._period is not None:
            samples = self._blend(samples)
            self._period = None
            self._concealed = 0
        self._blocks.append(samples)
        self._kept += len(samples)
        while self._kept - len(self._blocks[0]) >= self._pitch_max + self._match:
            self._kept -= len(self._blocks.popleft())
        return samples.reshape(self._shape)

    def conceal(self, count: int) -> Pcm:
        """``count`` samples that continue what was last heard."""
        samples = _to_int16(self._continue(count))
        self._concealed += count
        return samples.reshape(self._shape)

    def _blend(self, samples: Pcm) -> Pcm:
        """From where the repetition would have gone over to the real sound, without a step."""
        count = min(self._return, len(samples))
        weight = ((np.arange(count, dtype=np.float32) + 1) / (count + 1))[:, np.newaxis]
        head = self._continue(count) * (1 - weight) + samples[:count] * weight
        return np.concatenate((_to_int16(head), samples[count:]))

    def _continue(self, count: int) -> NDArray[np.float32]:
        if self._period is None:
            self._start()
        assert self._period is not None
        position = self._concealed + np.arange(count)
        gain = np.clip(1 - position / self._fade, 0, 1).astype(np.float32)[:, np.newaxis]
        step = np.clip(1 - position / self._step, 0, 1).astype(np.float32)[:, np.newaxis]
        return self._period[position % len(self._period)] * gain + self._step_height * step

    def _start(self) -> None:
        heard = np.concatenate(self._blocks)[-self._pitch_max - self._match :].astype(np.float32)
        lag = self._pitch(heard.mean(axis=1))
        period = heard[-lag:].copy()
        # Where the period meets itself, its end goes over to what came before its beginning.
        join = min(self._step, lag // 2)
        weight = ((np.arange(join, dtype=np.float32) + 1) / join)[:, np.newaxis]
        period[-join:] = period[-join:] * (1 - weight) + heard[-lag - join : -lag] * weight
        # At first it follows on the real last sample instead, which may be off from there by a step.
        self._step_height = heard[-1] - heard[-lag - 1]
        self._period = period

    def _pitch(self, mono: NDArray[np.float32]) -> int:
        """The lag, in samples, at which the latest sound is most like earlier sound."""
        latest = mono[-self._match :]
        earlier = mono[: -self._pitch_min]
        likeness = np.correlate(earlier, latest, "valid")
        energy = np.convolve(earlier * earlier, np.ones(self._match, np.float32), "valid")
        best = int(np.argmax(likeness / np.sqrt(energy + self._match)))
        return len(mono) - self._match - best


def _to_int16(samples: NDArray[np.floating[Any]]) -> Pcm:
    rounded: Pcm = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
    return rounded

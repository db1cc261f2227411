"""All clients' sound in one: summed, and turned down instead of wrapped or clipped when it gets too loud."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
Samples = NDArray[np.float32]

# Up to here (-1 dB of full scale) nothing is changed: one client alone comes out bit for bit.
CEILING = 29_205.0
FULL_SCALE = 32_767.0
# Gain goes down within a millisecond and comes back by 6 dB in a third of a second: no click, no pumping. What is
# still too loud in that first millisecond is bent, not cut. Chosen by ear's rule of thumb, not measured.
ATTACK_SAMPLES = 48
RELEASE_PER_5_MS, SAMPLES_OF_5_MS = 1.01, 240


class Mixer:
    """Mixes one block after the other; remembers how far it had to turn down.

    Attributes:
        channels: of what comes out: 1, and 2 from the first block of two channels on. It never goes back, so that whoever
            stores or plays what comes has to follow one change at most; blocks of one channel are doubled.
    """

    def __init__(self) -> None:
        self.channels = 1
        self._gain = 1.0

    def mix(self, blocks: Sequence[Pcm | Samples]) -> Pcm:
        """The sum of [n, 1 or 2] blocks of one length (at least one), int16 or float32 of the same scale, never beyond int16."""
        widths = {block.shape[1] for block in blocks}
        self.channels = max(self.channels, *widths)
        if widths != {self.channels}:
            blocks = [_widened(block, self.channels) for block in blocks]
        together = np.stack(blocks)
        exact = together.dtype == np.int16
        total = np.add.reduce(together, axis=0, dtype=np.int32 if exact else np.float32)
        peak = peak_of(total)
        before = self._gain
        release = RELEASE_PER_5_MS ** (len(total) / SAMPLES_OF_5_MS)
        self._gain = min(1.0, before * release, CEILING / peak if peak else 1.0)
        if before != 1.0 or self._gain != 1.0:
            gain: Samples = np.full((len(total), 1), self._gain, np.float32)
            ramp = min(ATTACK_SAMPLES, len(total))
            gain[:ramp, 0] = np.linspace(before, self._gain, ramp, dtype=np.float32)
            total = _bend(total * gain)
        elif exact:  # nothing is too loud
            return np.asarray(total, np.int16)
        mixed: Pcm = np.rint(total).astype(np.int16)
        return mixed


class Mute:
    """Silences sound and brings it back over one block, without a click."""

    def __init__(self) -> None:
        self._open = 1.0

    def apply(self, block: Pcm, *, muted: bool) -> Pcm:
        """The block, int16[n, channels], as it is, silent, or on its way from one to the other."""
        wanted = 0.0 if muted else 1.0
        if wanted == self._open:
            return np.zeros_like(block) if muted else block
        self._open = wanted
        silence = np.zeros_like(block)
        return crossfade(block, silence) if muted else crossfade(silence, block)


def doubled(block: Pcm) -> Pcm:
    """int16[n, 1] as int16[n, 2]."""
    return np.repeat(block, 2, axis=1)


def crossfade(before: Pcm, after: Pcm) -> Pcm:
    """From one int16[n, channels] block evenly over to another of the same shape."""
    weight = np.linspace(0, 1, len(before), dtype=np.float32)[:, np.newaxis]
    joined: Pcm = np.rint(before * (1 - weight) + after * weight).astype(np.int16)
    return joined


def _widened(block: Pcm | Samples, channels: int) -> Pcm | Samples:
    if block.shape[1] == channels:
        return block
    wider: NDArray[Any] = np.repeat(block, channels, axis=1)
    return wider


def _bend(samples: Samples) -> Samples:
    """Above the ceiling, ever less: continuous with its slope, never past full scale."""
    room = FULL_SCALE - CEILING
    over = np.maximum(np.abs(samples) - CEILING, 0.0)
    if not over.any():
        return samples
    bent: Samples = np.where(
        over > 0, np.sign(samples) * (CEILING + room * np.tanh(over / room)), samples
    ).astype(np.float32)
    return bent


def peaks_of(blocks: Sequence[Pcm]) -> list[float]:
    """The largest magnitude in each of [n, channels] blocks; of one length and width, as nearly always, in one look at all."""
    if len({block.shape for block in blocks}) != 1:
        return [peak_of(block) for block in blocks]
    together = np.stack(blocks).reshape(len(blocks), -1)
    highest, lowest = together.max(axis=1).tolist(), together.min(axis=1).tolist()
    return [float(max(high, -low)) for high, low in zip(highest, lowest, strict=True)]


def peak_of(block: Pcm | Samples) -> float:
    """The largest magnitude of [n, channels] with at least one sample."""
    # Not abs(): the absolute value of -32768 does not fit into int16. And max() takes twice as long as argmax() for 10 ms.
    flat = block.ravel()
    return max(float(flat[flat.argmax()]), -float(flat[flat.argmin()]))

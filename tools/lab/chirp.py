"""A chirp every second in the sender's sound, and when each was heard, by a matched filter.

Even seconds sweep upwards, odd ones downwards, so that a chirp that is heard more than a second late is not taken for
the next one. Between them there is a faint noise, because a sender with true silence is a rare thing.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
BLOCK = 480
INTERVAL_S = 1.0
# Within what speech codecs carry at any rate; long enough that the filter gains 20 dB, short enough to be one event.
LOW_HZ, HIGH_HZ = 500.0, 3500.0
LENGTH = RATE // 20
AMPLITUDE = 12_000
NOISE_AMPLITUDE = 30
# The chirps start here in their second, so that the first is whole.
OFFSET = RATE // 5
# Of the loudest match; a chirp mended from half its packets still has it. Noise stays below a twentieth.
THRESHOLD = 0.35
# No later than this is a chirp still taken for its own; they repeat themselves after 2 s.
LATEST_S = 1.9

Pcm = NDArray[np.int16]


def waveform(odd: bool) -> NDArray[np.float64]:
    """One chirp, -1..1, 50 ms, faded in and out."""
    time = np.arange(LENGTH) / RATE
    slope = (HIGH_HZ - LOW_HZ) / (LENGTH / RATE)
    sweep = np.sin(2 * np.pi * (LOW_HZ * time + slope / 2 * time**2)) * np.hanning(LENGTH)
    return sweep[::-1].copy() if odd else sweep


def two_seconds() -> Pcm:
    """int16[96000]: the sound that the sender repeats."""
    noise = np.random.default_rng(1).normal(0, NOISE_AMPLITUDE, 2 * RATE)
    for odd in (False, True):
        start = OFFSET + odd * RATE
        noise[start : start + LENGTH] += AMPLITUDE * waveform(odd)
    return noise.astype(np.int16)


class Heard(NamedTuple):
    """A chirp and its fate."""

    number: int  # counted from 0, one a second
    mouth_us: int  # when its first sample was spoken
    ear_us: int | None  # when that was heard; None: it was not


def heard(pcm: Pcm, block_us: NDArray[np.int64], first_mouth_us: int, count: int) -> list[Heard]:
    """Find each chirp of a run in what was heard.

    Args:
        pcm: int16[n * k], all blocks of k samples that were handed out, in their order.
        block_us: int64[n], when each of them was: its first sample was heard then, the others follow at 48 kHz.
        first_mouth_us: when the sender's sound began.
        count: how many chirps it held.

    A chirp that a gap in the sound cuts is found where its larger part is.
    """
    mouths = [first_mouth_us + round((OFFSET / RATE + n * INTERVAL_S) * 1e6) for n in range(count)]
    if len(pcm) < LENGTH:
        return [Heard(n, mouth_us, None) for n, mouth_us in enumerate(mouths)]
    block = len(pcm) // len(block_us)
    matches = [_matched(pcm, waveform(odd)) for odd in (False, True)]
    threshold = THRESHOLD * max(float(match.max()) for match in matches)
    result = []
    for number, mouth_us in enumerate(mouths):
        first = int(np.searchsorted(block_us, mouth_us - 10_000)) * block
        last = int(np.searchsorted(block_us, mouth_us + round(LATEST_S * 1e6))) * block
        window = matches[number % 2][first:last]
        # Where nothing but noise is left, a maximum means nothing.
        if window.size == 0 or float(window.max()) < max(threshold, 1.0):
            result.append(Heard(number, mouth_us, None))
            continue
        sample = first + int(window.argmax())
        ear_us = int(block_us[sample // block]) + sample % block * 1_000_000 // RATE
        result.append(Heard(number, mouth_us, ear_us))
    return result


def _matched(pcm: Pcm, template: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation at each start; its absolute value, because a codec may turn the phase."""
    size = 1 << (len(pcm) + len(template) - 1).bit_length()
    spectrum = np.fft.rfft(pcm, size) * np.conj(np.fft.rfft(template, size))
    return np.asarray(np.abs(np.fft.irfft(spectrum, size)[: len(pcm)]))

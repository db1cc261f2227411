"""What belongs into a hole in sound: an earlier piece, stretched so that both of its ends meet their neighbours.

What sounds just before the hole is looked for in what sounded earlier, and so is what comes just after it, at nearly the same
lag. The piece between the two places is as long as the hole, or a little longer or shorter where the pitch rises or falls; it is
resampled to fit. So a voice keeps its pitch, a glide its course, and both ends come out in phase.

Where nothing is known of what comes after, the pitch goes on to change as it did before.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

# At 48 kHz. 5 ms on either side are compared, as in media/time_stretch.py.
MATCH = 240
# 15 ms of lags: a whole number of periods of any voice above 67 Hz is among them.
LAGS = 720
# How a pitch changes is seen over 13 ms, about the length of a hole.
BACK = 640
# 53 ms: the largest lag, with what is compared around it. An FFT of 2560 is a fast one.
BEFORE = 2_560
# So many places that fit the left end best are tried with the other. Chosen, not measured.
TOPS = 24
# A pitch changes by less than this share in 13 ms.
PITCH_CHANGE = 0.05
# Of pieces that fit equally well the one that is stretched least is taken; at the most allowed it has to fit better by so much.
# Chosen, not measured.
STRETCH_PRICE = 0.02
# Below -60 dB of full scale whatever differs is not heard.
QUIET_POWER = 33.0**2
# Loudness follows the neighbours within these.
GAIN_MIN, GAIN_MAX = 0.5, 1.5


class Filled(NamedTuple):
    """Sound for a hole."""

    sound: Samples  # [gap, channels]
    likeness: float  # of what was compared, the worse of both ends: -1 to 1


class _Course(NamedTuple):
    begin: float  # where the sound is like that just before the hole
    step: float  # samples to go on by for each one of the hole
    likeness: float


def fill(before: Samples, after: Samples, gap: int) -> Filled:
    """Sound for ``gap`` samples between two pieces.

    Args:
        before: [BEFORE, channels] at 48 kHz.
        after: [MATCH or more, channels].
        gap: at most 760.
    """
    left, right = _likenesses(before, before[-MATCH:]), _likenesses(before, after[:MATCH])
    course = _course(left, right, gap, gap + MATCH)
    end = round(course.begin + course.step * (gap + MATCH))
    gains = _gain(before[-MATCH:], before, round(course.begin)), _gain(after[:MATCH], before, end)
    return _filled(before, course, gap, gains)


def extend(before: Samples, gap: int) -> Filled:
    """The same where nothing is known of what comes after."""
    left, earlier = _likenesses(before, before[-MATCH:]), _likenesses(before, before[-MATCH - BACK : -BACK])
    course = _course(left, earlier, gap, -BACK)
    gain = _gain(before[-MATCH:], before, round(course.begin))
    return _filled(before, course, gap, (gain, gain))


def _likenesses(sound: Samples, part: Samples) -> Samples:
    """How like each place of ``sound`` is to ``part``, -1 to 1: their correlation, but what is quiet is like all else."""
    rows, wanted = sound.T, part.T
    count = len(sound)
    # Round a circle; places from which the part fits into the sound do not reach round its end.
    spectra = np.conj(np.fft.rfft(wanted, count)) * np.fft.rfft(rows)
    products = np.fft.irfft(spectra.sum(axis=0), count)[: count - MATCH + 1]
    summed = np.zeros(count + 1)
    np.cumsum(np.einsum("ij,ij->j", rows, rows), out=summed[1:])
    energy = summed[MATCH:] - summed[:-MATCH]
    quiet = MATCH * len(rows) * QUIET_POWER
    likeness: Samples = (products + quiet) / np.sqrt((energy + quiet) * (np.vdot(wanted, wanted) + quiet))
    return likeness


def _course(left: Samples, other: Samples, gap: int, distance: int) -> _Course:
    """From where the left end fits best, so that about ``distance`` further on (or back) the other place fits as well."""
    most = round(abs(distance) * PITCH_CHANGE)
    stretch = np.arange(-most, most + 1)
    end = BEFORE - 2 * MATCH - round(gap * (1 + PITCH_CHANGE)) - round(MATCH * PITCH_CHANGE)
    begins = np.arange(end - LAGS, end)
    tops = (left[begins] >= left[begins - 1]) & (left[begins] >= left[begins + 1])
    begins = begins[tops] if tops.any() else begins
    # The best few are enough, and a high tone has a hundred.
    begins = begins[np.argsort(left[begins])[-TOPS:]]
    others = begins[:, np.newaxis] + distance + stretch
    both = np.minimum(left[begins][:, np.newaxis], other[others])
    best = int(np.argmax(both - STRETCH_PRICE * np.abs(stretch) / most))
    begin, there = int(begins[best // len(stretch)]), int(others.flat[best])
    exact = begin + _top(left, begin)
    return _Course(exact, (there + _top(other, there) - exact) / distance, float(both.flat[best]))


def _top(values: Samples, index: int) -> float:
    """By how much the top of the parabola through a value and its neighbours is off from it: half a sample at most."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, here, after = values[index - 1 : index + 2]
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def _gain(wanted: Samples, sound: Samples, begin: int) -> float:
    """What makes the sound from there on as loud as the wanted one."""
    piece = sound[begin : begin + MATCH]
    gain = np.sqrt((np.mean(wanted**2) + QUIET_POWER) / (np.mean(piece**2) + QUIET_POWER))
    return float(np.clip(gain, GAIN_MIN, GAIN_MAX))


def _filled(before: Samples, course: _Course, gap: int, gains: tuple[float, float]) -> Filled:
    # A lag is that of the middle of what was compared, where the pitch changes.
    position = course.begin + MATCH / 2 + course.step * (MATCH / 2 + np.arange(gap))
    gain = np.linspace(*gains, gap)[:, np.newaxis]
    return Filled(_between(before, np.clip(position, 1, len(before) - 3)) * gain, course.likeness)


def _between(sound: Samples, position: Samples) -> Samples:
    """Each value on the cubic through the four samples around it: -55 dB off at 4 kHz."""
    whole = position.astype(np.int64)
    x = (position - whole)[:, np.newaxis]
    a, b, c, d = (sound[whole + offset] for offset in (-1, 0, 1, 2))
    outer = x * (x - 1) * (d * (x + 1) - a * (x - 2)) / 6
    inner = (x + 1) * (x - 2) * (b * (x - 1) - c * x) / 2
    cubic: Samples = outer + inner
    return cubic

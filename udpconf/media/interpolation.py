"""What belongs into a hole in sound: an earlier piece, stretched so that both of its ends meet their neighbours.

What sounds just before the hole is looked for in what sounded earlier, and so is what comes just after it, at nearly the same
lag. The piece between the two places is as long as the hole, or a little longer or shorter where the pitch rises or falls; it is
resampled to fit. So a voice keeps its pitch, a glide its course, and both ends come out in phase.

Where nothing is known of what comes after, the pitch goes on to change as it did before: of the courses that may be meant, the
one is taken that would have led to what is heard just before the hole.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
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
# Where a high tone fits so many periods further on as well as so many, a few courses are as likely. Chosen, not measured.
COURSES = 4
# A pitch changes by less than this share in 13 ms.
PITCH_CHANGE = 0.05
# Of pieces that fit equally well the one that is stretched least is taken; at the most allowed it has to fit better by so much.
# Chosen, not measured.
STRETCH_PRICE = 0.02
# A place beside a top, where the piece would be out of phase, has to fit better by so much than a top. Chosen, not measured.
NO_TOP_PRICE = 0.02
# A sample between others is made of so many on either side; that many places between two are told apart. Both as coarse as
# -60 dB at 4 kHz allow; the cubic through four samples is -55 dB off there, and -30 at 8 kHz.
SIDE, PHASES = 4, 1024
# If what the decoder plays differs from what was made up by so small a share of the energy, 30 dB less, it is as good, and goes
# over into what follows.
ALIKE = 0.001
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
    latest = BEFORE - 2 * MATCH - round(gap * (1 + PITCH_CHANGE)) - round(MATCH * PITCH_CHANGE)
    (course,) = _courses(left, right, latest, gap + MATCH, 1)
    end = round(course.begin + course.step * (gap + MATCH))
    gains = _gain(before[-MATCH:], before, round(course.begin)), _gain(after[:MATCH], before, end)
    return _filled(before, course, gap, gains)


def extend(before: Samples, gap: int) -> Filled:
    """The same where nothing is known of what comes after."""
    left, earlier = _likenesses(before, before[-MATCH:]), _likenesses(before, before[-MATCH - BACK : -BACK])
    latest = BEFORE - MATCH - round(gap * (1 + PITCH_CHANGE)) - SIDE
    course = _most_alike(before, _courses(left, earlier, latest, -BACK, COURSES))
    gain = _gain(before[-MATCH:], before, round(course.begin))
    return _filled(before, course, gap, (gain, gain))


def lead_over(made_up: Samples, block: Pcm) -> Pcm:
    """``block`` with what was made up in place of its beginning, of which the last third goes over to it. Both are [n, channels]."""
    count = min(len(made_up), len(block))
    share = 1 if are_alike(made_up[: count // 2], block[: count // 2]) else 1 / 3
    weight = np.clip((np.arange(count) / count - 1) / share + 1, 0, 1)[:, np.newaxis]
    beginning = made_up[:count] * (1 - weight) + block[:count] * weight
    return np.concatenate((as_pcm(beginning), block[count:]))


def are_alike(made_up: Samples, block: Pcm) -> bool:
    """Whether what the decoder plays is about what was made up."""
    lacks = made_up - block
    return bool(np.vdot(lacks, lacks) <= ALIKE * np.vdot(made_up, made_up))


def as_pcm(sound: Samples) -> Pcm:
    """Rounded."""
    rounded: Pcm = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
    return rounded


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


def _courses(left: Samples, other: Samples, latest: int, distance: int, count: int) -> list[_Course]:
    """The likeliest: from where the left end fits best, so that about ``distance`` further on (or back) the other place fits."""
    most = round(abs(distance) * PITCH_CHANGE)
    stretch = np.arange(-most, most + 1)
    begins = np.arange(latest - LAGS, latest)
    heights, offs = _tops(left, begins)
    # The best few are enough, and a high tone has a hundred.
    best = np.argsort(heights)[-TOPS:]
    begins, heights, exact = begins[best], heights[best], begins[best] + offs[best]
    places = np.arange(begins.min() + distance - most, begins.max() + distance + most + 1)
    other_heights, other_offs = _tops(other, places)
    others = begins[:, np.newaxis] + distance + stretch - places[0]
    both = np.minimum(heights[:, np.newaxis], other_heights[others])
    priced = (both - STRETCH_PRICE * np.abs(stretch) / most).ravel()
    courses = []
    for likely in np.argpartition(priced, -count)[-count:]:
        begin, there = exact[likely // len(stretch)], others.flat[likely]
        step = (places[there] + other_offs[there] - begin) / distance
        courses.append(_Course(float(begin), float(step), float(both.flat[likely])))
    return courses


def _tops(values: Samples, places: NDArray[np.int64]) -> tuple[Samples, Samples]:
    """How high a top is within half a sample of each place, and how far off; where there is none, less than the place, and 0.

    A top is taken for one of a cosine: that is exact for a high tone, of which a period has few samples.
    """
    before, here, after = values[places - 1], values[places], values[places + 1]
    heights, offs = here - NO_TOP_PRICE, np.zeros(len(places))
    (tops,) = ((here >= before) & (here >= after) & (here > 0)).nonzero()
    before, here, after = before[tops], here[tops], after[tops]
    radians = np.arccos(np.clip((before + after) / (2 * here), -0.9, 1 - 1e-9))  # from sample to sample
    offs[tops] = np.clip(np.arctan((after - before) / (2 * here * np.sin(radians))) / radians, -0.5, 0.5)
    heights[tops] = np.minimum(here / np.cos(offs[tops] * radians), 1)
    return heights, offs


def _most_alike(before: Samples, courses: list[_Course]) -> _Course:
    """The one by which the last 10 ms come out most like what they are, and how like. Every other sample tells as well as all."""
    wanted = before[-2 * MATCH :: 2]
    made = np.stack(
        [_between(before, _positions(course, np.arange(-2.0 * MATCH, 0, 2))) for course in courses]
    )
    quiet = wanted.size * QUIET_POWER
    energies = (np.einsum("ijk,ijk->i", made, made) + quiet) * (np.vdot(wanted, wanted) + quiet)
    likeness = (np.einsum("ijk,jk->i", made, wanted) + quiet) / np.sqrt(energies)
    best = int(np.argmax(likeness))
    return courses[best]._replace(likeness=float(likeness[best]))


def _gain(wanted: Samples, sound: Samples, begin: int) -> float:
    """What makes the sound from there on as loud as the wanted one."""
    piece = sound[begin : begin + MATCH]
    gain = np.sqrt((np.mean(wanted**2) + QUIET_POWER) / (np.mean(piece**2) + QUIET_POWER))
    return float(np.clip(gain, GAIN_MIN, GAIN_MAX))


def _filled(before: Samples, course: _Course, gap: int, gains: tuple[float, float]) -> Filled:
    gain = np.linspace(*gains, gap)[:, np.newaxis]
    return Filled(_between(before, _positions(course, np.arange(float(gap)))) * gain, course.likeness)


def _positions(course: _Course, samples: Samples) -> Samples:
    """Where those are taken from, 0 being the first one of the hole. A lag is that of the middle of what was compared."""
    return course.begin + MATCH / 2 + course.step * (MATCH / 2 + samples)


def _sinc_weights() -> Samples:
    """Of the samples around each place between two: a sinc under a raised cosine."""
    away = np.linspace(0, 1, PHASES + 1)[:, np.newaxis] - _AROUND
    weights: Samples = np.sinc(away) * np.cos(np.pi / 2 * away / SIDE) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


_AROUND = np.arange(1 - SIDE, SIDE + 1)
_WEIGHTS = _sinc_weights()


def _between(sound: Samples, position: Samples) -> Samples:
    """Each value from the samples around it."""
    position = np.clip(position, SIDE - 1, len(sound) - SIDE - 1)
    whole = position.astype(np.int64)
    weights = _WEIGHTS[np.rint((position - whole) * PHASES).astype(np.int64)]
    between: Samples = np.einsum("ij,ijk->ik", weights, sound[whole[:, np.newaxis] + _AROUND])
    return between

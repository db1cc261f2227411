"""Sound made a little shorter or longer at the same pitch: one period left out or repeated (WSOLA, as NetEQ does it).

The sound leaves its course at one place and enters it again a lag further on (shorter) or further back (longer), going
over from one to the other in 5 ms. Where the two places are alike nobody hears it. Voices are alike after one period
of their pitch; tones after any whole number of periods, of which one falls on whole samples. Every lag is tried at the
full rate, for all places at once, so there is no coarse search to be led astray by.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
Samples = NDArray[np.float64]

# At 48 kHz. What is left out or repeated is 2.5 to 15 ms: a period of any voice from 70 to 400 Hz. Longer than one
# period of a high tone is welcome: of 1.1 kHz 43.6 samples are one period, but 480 are eleven.
LAG_MIN = 120
LAG_MAX = 720
# 5 ms, as NetEQ's correlation: where the two places are compared is where one goes over into the other.
FADE = 240
# Up to three places to leave from are tried, 5 ms apart: in 30 ms of speech one is steadier than the others.
PLACE_STEP = 240
PLACES_MAX = 3
# Below -60 dB of full scale whatever differs is not heard: the quieter, the more alike all is.
QUIET_RMS = 33.0
# Mismatches up to -50 dB of the sound are as good as none; of those the lag is taken that is next to what is wanted.
ALIKE = 1e-5
# FFTs are as long as a multiple of this, so none has a large prime factor: 240 is 2^4 3 5, and there are ten of it at most.
AROUND_STEP = 240
# What callers may ask for: NetEQ's threshold for shortening speech, and its lower one for when there is no time.
GOOD_LIKENESS = 0.9
HURRIED_LIKENESS = 0.5


class Stretched(NamedTuple):
    """Sound after a change of its length."""

    pcm: Pcm  # int16[n, channels]: what is to be played, without what had been played
    added: int  # samples that it has more than before; negative: fewer; 0: there was too little sound, or nothing alike enough
    likeness: float  # of the two places, -1 to 1: see GOOD_LIKENESS


class _Splice(NamedTuple):
    leave: int
    resume: int
    mismatch: float  # energy of the difference by the energy of both: 0 alike, 1 unrelated, 2 opposite


def shorten(
    pcm: Pcm, played: int = 0, wanted: int = LAG_MAX, at_least: float = -1.0, *, beyond: int = 0
) -> Stretched:
    """Leave out a period where it is heard least.

    Args:
        pcm: int16[n, channels] at 48 kHz. 20 ms are enough for any period; with 30 ms there is a choice of places.
        played: so many samples at its beginning have been heard and stay as they are.
        wanted: samples to leave out, or fewer.
        at_least: how alike the two places have to be; otherwise nothing is changed.
        beyond: so many more than wanted will do if the places are more alike.
    """
    pcm = pcm[played:]
    leaves = range(0, len(pcm) - FADE - LAG_MIN + 1, PLACE_STEP)[:PLACES_MAX]
    return _spliced(pcm, 0, _best_splice(pcm, leaves, 1, wanted, beyond), at_least)


def lengthen(
    pcm: Pcm, played: int = 0, wanted: int = LAG_MAX, at_least: float = -1.0, *, beyond: int = 0
) -> Stretched:
    """Repeat a period where it is heard least.

    Args:
        pcm: int16[n, channels] at 48 kHz: what was played last, 15 ms if there is as much, and what comes next.
        played: so many samples at its beginning have been heard: they may be repeated, but not changed.
        wanted: samples to add, or fewer.
        at_least: how alike the two places have to be; otherwise nothing is changed.
        beyond: so many more than wanted will do if the places are more alike.
    """
    leaves = range(max(played, LAG_MIN), len(pcm) - FADE + 1, PLACE_STEP)[:PLACES_MAX]
    return _spliced(pcm, played, _best_splice(pcm, leaves, -1, wanted, beyond), at_least)


def enter(block: Pcm, before: Pcm, playing: Pcm) -> Pcm:
    """Go over from what is playing into sound that came late, at the place where it is most alike.

    Args:
        block: int16[n, channels] at 48 kHz, 5 ms or more.
        before: [FADE or less, channels], what came before it.
        playing: [FADE, channels], how what is playing would go on: made up, mostly.

    Returns:
        What is to be played next: from up to 5 ms before the block's beginning on, of which the end of ``before`` is heard again, or
        from up to 5 ms into it on.
    """
    assert len(playing) == FADE
    pcm = np.concatenate((before, block, playing))
    first, leave = len(before), len(before) + len(block)
    mismatch = _mismatches(pcm, np.array([leave]))[0, : min(leave - FADE, first + FADE) + 1]
    place = int(np.argmin(mismatch))
    if mismatch[place] <= ALIKE:
        place = int(np.argmin(np.where(mismatch <= ALIKE, np.abs(np.arange(len(mismatch)) - first), leave)))
    return _spliced(pcm, leave, _Splice(leave, place, float(mismatch[place])), -1.0).pcm[:-FADE]


def _best_splice(pcm: Pcm, leaves: Sequence[int], direction: int, wanted: int, beyond: int) -> _Splice | None:
    """From one of ``leaves`` to wherever it is most alike, further on (1) or further back (-1)."""
    at_most = min(wanted + beyond, LAG_MAX)
    if not leaves or at_most < LAG_MIN:
        return None
    places = np.array(leaves)
    mismatch = _mismatches(pcm, places)
    positions = mismatch.shape[1]
    lags = direction * (np.arange(positions) - places[:, np.newaxis])
    mismatch[(lags < LAG_MIN) | (lags > at_most)] = np.inf
    index = int(np.argmin(mismatch))
    if mismatch.flat[index] == np.inf:
        return None
    if mismatch.flat[index] <= ALIKE:
        index = int(np.argmin(np.where(mismatch <= ALIKE, np.abs(lags - wanted), np.inf)))
    place, position = divmod(index, positions)
    return _Splice(leaves[place], position, float(mismatch.flat[index]))


def _mismatches(pcm: Pcm, places: NDArray[np.int_]) -> Samples:
    """[place, position]: of the 5 ms at each place and the 5 ms at every position, see ``_Splice``."""
    # A row for each channel.
    samples = pcm.T.astype(np.float64, order="C")
    # Energies of every 5 ms that can be entered. All channels count, and get one lag.
    summed = np.zeros(len(pcm) + 1)
    np.cumsum(np.einsum("ij,ij->j", samples, samples), out=summed[1:])
    energy = summed[FADE:] - summed[:-FADE]
    both = energy[places][:, np.newaxis] + energy
    unlike = np.maximum(both - 2 * _likenesses(samples, places), 0)
    mismatch: Samples = unlike / (both + 2 * pcm.shape[1] * FADE * QUIET_RMS**2)
    return mismatch


def _likenesses(samples: Samples, places: NDArray[np.int_]) -> Samples:
    """[place, position]: the product of the 5 ms at each place with the 5 ms at every position."""
    count = samples.shape[1]
    at_places = samples[:, places[:, np.newaxis] + np.arange(FADE)]
    # Round a circle, by FFT; positions from which 5 ms fit into the sound do not reach round its end. Sound that was made longer
    # or shorter has any length, also a prime one, for which an FFT takes three times as long.
    around = -(-count // AROUND_STEP) * AROUND_STEP
    spectra = np.conj(np.fft.rfft(at_places, around)) * np.fft.rfft(samples, around)[:, np.newaxis]
    products: Samples = np.fft.irfft(spectra.sum(axis=0), around)
    return products[:, : count - FADE + 1]


def _spliced(pcm: Pcm, played: int, splice: _Splice | None, at_least: float) -> Stretched:
    if splice is None:
        return Stretched(pcm[played:], 0, 0.0)
    leave, resume, mismatch = splice
    if 1 - mismatch < at_least:
        return Stretched(pcm[played:], 0, 1 - mismatch)
    weight = ((np.arange(FADE) + 1) / (FADE + 1))[:, np.newaxis]
    faded = pcm[leave : leave + FADE] * (1 - weight) + pcm[resume : resume + FADE] * weight
    # Sounds that are alike keep their loudness when their gains add up to one, others when their powers do.
    faded /= np.sqrt(1 - 2 * min(mismatch, 1.0) * weight * (1 - weight))
    rounded = np.clip(np.rint(faded), -32768, 32767).astype(np.int16)
    joined = np.concatenate((pcm[played:leave], rounded, pcm[resume + FADE :]))
    return Stretched(joined, leave - resume, 1 - mismatch)

"""How well speech is understood (STOI) and how good it sounds (PESQ) beside what was said, and how late it is heard.

STOI (Taal et al. 2011, pystoi): 0 to 1; 0.75 is about where listeners get nine words in ten. PESQ wide band (ITU-T P.862.2,
pesq): 1 bad to 4.64 the same. Both want the two sounds side by side, so each utterance is moved to where it fits best first.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import samplerate
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

RATE = 48_000
SCORED_RATE = 16_000  # both measures' own
# How late anything may be heard.
LATEST = RATE
# Delay is looked at in pieces of so much speech, a phoneme or three: short enough to see it move.
PIECE = RATE // 4
# A piece that is quieter than the mean of speech by 20 dB is a pause.
PAUSE_SHARE = 0.01
# Below this likeness the piece was not heard well enough to say when.
LIKENESS = 0.5


class Scores(NamedTuple):
    """Of one run."""

    stoi: float  # mean over the utterances
    stoi_worst: float
    pesq: float | None  # None: pesq found no speech in one
    delay_ms: list[float]  # of each piece of speech that was recognised


def scores(
    said: Pcm, heard: Pcm, heard_us: NDArray[np.int64], start_us: int, parts: Sequence[tuple[int, int]]
) -> Scores:
    """Compare.

    Args:
        said: int16[n], all that was said, from ``start_us`` on.
        heard: int16[m], all that was heard, in its order.
        heard_us: int64[m], when each sample of it was.
        start_us: when the first sample was said.
        parts: first sample and end in ``said`` of what is compared.
    """
    from pesq import NoUtterancesError, pesq
    from pystoi import stoi

    ever_later = np.maximum.accumulate(heard_us)
    understood, quality, delays = [], [], []
    for first, end in parts:
        begin = int(np.searchsorted(ever_later, start_us + first * 1_000_000 // RATE))
        original, window = said[first:end], heard[begin : begin + end - first + LATEST]
        window = np.pad(window, (0, end - first + LATEST - len(window)))
        lag, _ = best_lag(original, window)
        reference, degraded = _at_scored_rate(original), _at_scored_rate(window[lag : lag + len(original)])
        understood.append(float(stoi(reference, degraded, SCORED_RATE)))
        try:
            quality.append(float(pesq(SCORED_RATE, reference, degraded, "wb")))
        except NoUtterancesError:
            quality.append(float("nan"))
        loud = float(np.mean(original.astype(float) ** 2)) * PAUSE_SHARE
        for place in range(0, len(original) - PIECE, PIECE):
            piece = original[place : place + PIECE]
            if float(np.mean(piece.astype(float) ** 2)) < loud:
                continue
            piece_lag, likeness = best_lag(piece, window[place : place + PIECE + LATEST // 2])
            sample = begin + place + piece_lag
            if likeness >= LIKENESS and sample < len(heard_us):
                delays.append((int(heard_us[sample]) - start_us) / 1000 - (first + place) / RATE * 1000)
    mean_quality = float(np.mean(quality))
    return Scores(
        float(np.mean(understood)),
        min(understood),
        None if np.isnan(mean_quality) else mean_quality,
        delays,
    )


def best_lag(piece: Pcm, window: Pcm) -> tuple[int, float]:
    """Where in the window the piece fits best, and how well: 1 the same, 0 unlike."""
    size = 1 << (len(window) + len(piece) - 1).bit_length()
    samples, wanted = window.astype(float), piece.astype(float)
    spectrum = np.fft.rfft(samples, size) * np.conj(np.fft.rfft(wanted, size))
    products = np.fft.irfft(spectrum, size)[: len(window) - len(piece) + 1]
    summed = np.concatenate(([0.0], np.cumsum(samples**2)))
    energy = (summed[len(piece) :] - summed[: -len(piece)]) * float(np.sum(wanted**2))
    # One is added: silence is like nothing.
    likeness = products / np.sqrt(energy + 1.0)
    lag = int(np.argmax(likeness))
    return lag, float(likeness[lag])


def _at_scored_rate(pcm: Pcm) -> NDArray[np.float32]:
    resampled: NDArray[np.float32] = samplerate.resample(
        pcm.astype(np.float32) / 32_768, SCORED_RATE / RATE, "sinc_best"
    )
    return resampled

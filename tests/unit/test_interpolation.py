"""What is put into a hole continues what is on both its sides: tones and glides in phase, voices in pitch, stereo in place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from udpconf.media.interpolation import BEFORE, MATCH, Filled, extend, fill

Samples = NDArray[np.float64]
RATE = 48_000
GAP = 600
LOUD = 8_230  # -12 dB of full scale


def filled(sound: Samples, at: int, *, both: bool) -> Filled:
    before, after = sound[at - BEFORE : at], sound[at + GAP :][:MATCH]
    return fill(before, after, GAP) if both else extend(before, GAP)


def worst_decibels(rest: Samples) -> float:
    """The loudest 5 ms, in dB of a full-scale sine's power."""
    loudest = max(float(np.mean(rest[i : i + 240] ** 2)) for i in range(0, len(rest) - 239, 60))
    return float(10 * np.log10(2 * loudest / 32_767**2 + 1e-12))


@pytest.mark.parametrize(("both", "bound"), [(True, -40.0), (False, -30.0)], ids=["two sides", "one side"])
def test_a_sweep_keeps_its_course_through_the_hole(both: bool, bound: float) -> None:
    """200 Hz to 4 kHz in 10 s. By what came before alone, the course at the lowest tones is less well known."""
    time = np.arange(10 * RATE) / RATE
    sweep = np.rint(LOUD * np.sin(2 * np.pi * (200 * time + 190 * time**2)))[:, np.newaxis]
    for at in range(4_800, len(sweep) - 4_800, 4_001):
        made_up = filled(sweep, at, both=both)
        assert made_up.likeness > 0.98
        rest = worst_decibels((made_up.sound - sweep[at : at + GAP])[:, 0])
        assert rest < bound, f"at {200 + 380 * at / RATE:.0f} Hz"


@pytest.mark.parametrize("hertz", [80, 120, 250, 400])
def test_a_voice_whose_pitch_falls_goes_on_falling(hertz: int) -> None:
    """A buzz of twenty harmonics that falls by 15 % a second."""
    time = np.arange(9_600) / RATE
    turns = hertz * (time - 0.075 * time**2)
    buzz = sum((900 * np.cos(2 * np.pi * k * turns + k * k) for k in range(1, 21)), np.zeros(9_600))
    buzz = buzz[:, np.newaxis]
    made_up = filled(buzz, 4_000, both=True)
    lost = buzz[4_000 : 4_000 + GAP]
    assert np.sum(lost**2) > 100 * np.sum((made_up.sound - lost) ** 2)


@given(hertz=st.floats(150, 3_000), radians=st.floats(0, 6.28), share=st.floats(0.1, 1))
def test_two_channels_keep_their_difference_in_phase_and_loudness(
    hertz: float, radians: float, share: float
) -> None:
    angle = 2 * np.pi * hertz * np.arange(4_800) / RATE
    sound = np.stack((LOUD * np.sin(angle), LOUD * share * np.sin(angle + radians)), axis=1)
    made_up = filled(sound, 3_000, both=True)
    assert made_up.sound.shape == (GAP, 2)
    base = np.exp(-1j * angle[3_000 : 3_000 + GAP])[:, np.newaxis] * np.hanning(GAP)[:, np.newaxis]
    one, other = (made_up.sound * base).sum(axis=0)
    assert abs(other / one / (share * np.exp(1j * radians)) - 1) < 0.1


@given(seed=st.integers(0, 10_000), both=st.booleans())
def test_hiss_is_told_from_what_goes_on_and_is_no_louder(seed: int, both: bool) -> None:
    hiss = np.random.default_rng(seed).normal(0, 3_000, (4_800, 1))
    made_up = filled(hiss, 3_000, both=both)
    assert made_up.likeness < 0.8
    assert 0.5 * 3_000 < np.sqrt(np.mean(made_up.sound**2)) < 1.7 * 3_000


@pytest.mark.parametrize("both", [True, False])
def test_silence_stays_silent(both: bool) -> None:
    made_up = filled(np.zeros((4_800, 1)), 3_000, both=both)
    assert not made_up.sound.any()
    assert made_up.likeness > 0.98

"""Sound gets shorter or longer by what is said, at the same pitch, and nobody hears where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from udpconf.media.time_stretch import (
    FADE,
    GOOD_LIKENESS,
    HURRIED_LIKENESS,
    LAG_MAX,
    LAG_MIN,
    Stretched,
    lengthen,
    shorten,
)

Pcm = NDArray[np.int16]
Samples = NDArray[np.float64]
RATE = 48_000
# 30 ms that are still to be played; the last 15 ms that were, with the next 10.
AHEAD = 1_440
HEARD = 720
LOUD = 8_230  # -12 dB of full scale
BAR_DB = -40.0
BOTH = pytest.mark.parametrize("change", ["shorten", "lengthen"])


def changed(pcm: Pcm, change: str, at: int) -> tuple[Pcm, Stretched]:
    """The whole of ``pcm`` with the 30 or 10 ms after ``at`` made shorter or longer."""
    if change == "shorten":
        result = shorten(pcm[at : at + AHEAD])
        return np.concatenate((pcm[:at], result.pcm, pcm[at + AHEAD :])), result
    result = lengthen(pcm[at - HEARD : at + 480], HEARD)
    return np.concatenate((pcm[:at], result.pcm, pcm[at + 480 :])), result


def tone(hertz: float, samples: int = 4_800, amplitude: float = LOUD) -> Pcm:
    return int16(amplitude * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE))


def noise(seed: int, samples: int = 4_800, amplitude: float = 3_000, channels: int = 1) -> Pcm:
    wave = np.random.default_rng(seed).normal(0, amplitude, (samples, channels))
    return np.clip(np.rint(wave), -32_768, 32_767).astype(np.int16)


def int16(wave: Samples) -> Pcm:
    return np.rint(wave).astype(np.int16)[:, np.newaxis]


def largest_step(pcm: Pcm) -> int:
    return int(np.abs(np.diff(pcm.astype(int), axis=0)).max())


def what_is_no_sine(part: Samples, hertz: float, slope: float) -> float:
    """What remains after the best sine whose frequency rises by ``slope`` Hz/s: dB of a full-scale sine's power."""
    time = (np.arange(len(part)) - len(part) / 2) / RATE
    least = np.inf
    for off in np.linspace(-6, 6, 49):
        phase = 2 * np.pi * ((hertz + off) * time + slope / 2 * time**2)
        base = np.stack((np.cos(phase), np.sin(phase)), axis=1)
        rest = part - base @ np.linalg.lstsq(base, part, rcond=None)[0]
        # The worst 5 ms of it.
        least = min(least, max(float(np.mean(rest[i : i + 240] ** 2)) for i in range(0, len(rest) - 239, 60)))
    return float(10 * np.log10(2 * least / 32_767**2))


@BOTH
@given(seed=st.integers(0, 10_000), hertz=st.floats(60, 12_000), noisy=st.booleans())
def test_the_length_changes_by_exactly_what_is_said(
    change: str, seed: int, hertz: float, noisy: bool
) -> None:
    pcm = noise(seed) if noisy else tone(hertz)
    after, result = changed(pcm, change, 1_000)
    assert len(after) == len(pcm) + result.added
    assert LAG_MIN <= abs(result.added) <= LAG_MAX
    assert (result.added < 0) == (change == "shorten")
    assert -1 <= result.likeness <= 1


@BOTH
@pytest.mark.parametrize("hertz", [100, 200, 313, 440, 691, 1_000, 1_733, 2_718, 3_196, 4_000, 7_919, 11_000])
def test_a_tone_goes_on_as_if_nothing_had_happened(change: str, hertz: int) -> None:
    after, result = changed(tone(hertz), change, 1_000)
    assert result.likeness > 0.998
    assert what_is_no_sine(after[700:2_900, 0].astype(float), hertz, 0) < BAR_DB


@BOTH
def test_a_sweep_goes_on_with_nothing_but_its_course_shifted(change: str) -> None:
    """200 Hz to 4 kHz in 10 s; a sine is fitted on either side, as leaving out 10 ms of a sweep is a jump of 4 Hz."""
    seconds = np.arange(10 * RATE) / RATE
    slope = 380.0
    sweep = int16(LOUD * np.sin(2 * np.pi * (200 * seconds + slope / 2 * seconds**2)))
    for at in range(2_400, len(sweep) - 4_800, 24_000):
        after, result = changed(sweep, change, at)
        same = min(len(after), len(sweep))
        middle = int(np.flatnonzero(after[:same, 0] != sweep[:same, 0])[0]) + FADE // 2
        assert result.likeness > 0.99
        for start in (middle - 600, middle):
            hertz = 200 + slope * (start + 300) / RATE
            residual = what_is_no_sine(after[start : start + 600, 0].astype(float), hertz, slope)
            assert residual < BAR_DB - 10, f"at {hertz:.0f} Hz"


@BOTH
@pytest.mark.parametrize("hertz", [70, 120, 250, 400])
def test_a_voice_loses_or_repeats_whole_periods(change: str, hertz: int) -> None:
    """A buzz with thirty harmonics has one pitch, and nothing else fits."""
    phases = np.random.default_rng(hertz).uniform(0, 6.28, 31)
    time = np.arange(4_800) / RATE
    buzz = int16(
        sum((900 * np.cos(2 * np.pi * hertz * k * time + phases[k]) for k in range(1, 31)), np.zeros(4_800))
    )
    _, result = changed(buzz, change, 1_000)
    periods = abs(result.added) * hertz / RATE
    assert abs(periods - round(periods)) < 0.01
    assert result.likeness > GOOD_LIKENESS


@BOTH
@given(amplitude=st.integers(0, 10), seed=st.integers(0, 1_000))
def test_silence_stays_silent_and_quiet_may_be_cut_anywhere(change: str, amplitude: int, seed: int) -> None:
    pcm = noise(seed, amplitude=amplitude)
    after, result = changed(pcm, change, 1_000)
    assert np.abs(after).max() <= np.abs(pcm).max() * 2**0.5 + 1
    assert result.likeness > 0.85
    if not pcm.any():
        assert (abs(result.added), result.likeness) == (LAG_MAX, 1)


@BOTH
@given(seed=st.integers(0, 10_000))
def test_loud_hiss_is_told_from_a_good_match(change: str, seed: int) -> None:
    _, result = changed(noise(seed), change, 1_000)
    assert result.likeness < HURRIED_LIKENESS


@BOTH
@given(seed=st.integers(0, 10_000))
def test_hiss_that_is_cut_in_a_hurry_is_as_loud_as_before(change: str, seed: int) -> None:
    pcm = noise(seed)
    after, _ = changed(pcm, change, 1_000)
    same = min(len(after), len(pcm))
    first = int(np.flatnonzero(after[:same, 0] != pcm[:same, 0])[0])
    loudness = float(np.sqrt(np.mean(after[first + 60 : first + 180].astype(float) ** 2)))
    assert 0.7 * 3_000 < loudness < 1.4 * 3_000


@BOTH
@given(hertz=st.floats(60, 4_000), seed=st.integers(0, 1_000), hiss=st.integers(0, 1_000))
def test_no_step_is_larger_than_in_the_sound_itself(change: str, hertz: float, seed: int, hiss: int) -> None:
    pcm = tone(hertz) + noise(seed, amplitude=hiss)
    after, _ = changed(pcm, change, 1_000)
    # Two sounds that differ by all they have go over into each other within a fade.
    allowed = largest_step(pcm) * 2**0.5 + 2 * float(np.abs(pcm.astype(int)).max()) / FADE + 1
    assert largest_step(after) <= allowed


@BOTH
@given(hertz=st.floats(150, 3_000), radians=st.floats(0, 6.28), share=st.floats(0.1, 1))
def test_two_channels_keep_their_difference_in_phase_and_loudness(
    change: str, hertz: float, radians: float, share: float
) -> None:
    angle = 2 * np.pi * hertz * np.arange(4_800) / RATE
    left, right = LOUD * np.sin(angle), LOUD * share * np.sin(angle + radians)
    pcm = np.rint(np.stack((left, right), axis=1)).astype(np.int16)
    after, _ = changed(pcm, change, 1_000)
    base = np.exp(-1j * angle[: len(after)])[700:2_900, np.newaxis] * np.hanning(2_200)[:, np.newaxis]
    one, other = (after[700:2_900] * base).sum(axis=0)
    relation = (other / one) / (share * np.exp(1j * radians))
    assert abs(relation - 1) < 0.02


@given(played=st.integers(0, 1_000), ahead=st.integers(0, 2_000), seed=st.integers(0, 100))
def test_what_has_been_heard_is_not_changed_and_the_end_joins_what_follows(
    played: int, ahead: int, seed: int
) -> None:
    pcm = noise(seed, played + ahead)
    for result in (shorten(pcm, played), lengthen(pcm, played)):
        assert len(result.pcm) == ahead + result.added
        if result.added:
            # The last sample may be the end of the fade, which is nearly there.
            assert abs(int(result.pcm[-1, 0]) - int(pcm[-1, 0])) <= 2 * 32_768 // FADE + 1
        else:
            assert np.array_equal(result.pcm, pcm[played:])
            assert result.likeness == 0


@BOTH
@pytest.mark.parametrize("hertz", [240.0, 260.0, 310.0, 395.0, 1_234.0])
def test_a_little_more_than_was_asked_for_will_do_where_a_period_is_longer(change: str, hertz: float) -> None:
    """Without it a tone of 260 Hz is not changed at all by 3 ms, or by 3 ms that are no period."""
    pcm, wanted, beyond = tone(hertz), 144, 72
    of_it = {"shorten": shorten, "lengthen": lengthen}[change]
    result = of_it(pcm[:AHEAD], HEARD, wanted, GOOD_LIKENESS, beyond=beyond)
    assert LAG_MIN <= abs(result.added) <= wanted + beyond
    assert result.likeness > 0.997


@BOTH
def test_of_lags_that_are_as_good_the_one_next_to_what_is_wanted_is_taken(change: str) -> None:
    """Of 1 kHz every 48 samples are one."""
    of_it = {"shorten": shorten, "lengthen": lengthen}[change]
    added = [abs(of_it(tone(1_000.0)[:AHEAD], HEARD, wanted, beyond=72).added) for wanted in (150, 300, 500)]
    assert added == [144, 288, 480]


@pytest.mark.parametrize("wanted", [LAG_MIN - 1, LAG_MIN, 300])
def test_no_more_is_changed_than_was_asked_for(wanted: int) -> None:
    pcm = noise(1)
    results = shorten(pcm[:AHEAD], wanted=wanted), lengthen(pcm[:AHEAD], HEARD, wanted)
    for result in results:
        assert abs(result.added) <= wanted
        assert bool(result.added) == (wanted >= LAG_MIN)


@given(seed=st.integers(0, 1_000), at_least=st.floats(-1, 1))
def test_nothing_is_changed_where_it_would_be_less_alike_than_asked_for(seed: int, at_least: float) -> None:
    pcm = noise(seed)[: HEARD + AHEAD]
    for change in (shorten, lengthen):
        free, bound = change(pcm, HEARD), change(pcm, HEARD, at_least=at_least)
        assert bound.likeness == free.likeness
        if free.likeness >= at_least:
            assert bound.added == free.added
        else:
            assert bound.added == 0
            assert np.array_equal(bound.pcm, pcm[HEARD:])


def test_full_scale_does_not_wrap() -> None:
    pcm = noise(1, amplitude=60_000)
    for change in ("shorten", "lengthen"):
        after, _ = changed(pcm, change, 1_000)
        assert np.corrcoef(after[:1_000, 0], pcm[:1_000, 0])[0, 1] > 0.999
        assert after.min() >= -32_768


def test_the_same_sound_gives_the_same_result() -> None:
    one, other = shorten(noise(5)[:AHEAD]), shorten(noise(5)[:AHEAD])
    assert np.array_equal(one.pcm, other.pcm)
    assert one[1:] == other[1:]

"""Sound at another rate: as many samples as the ratio says, no click when it changes, and untouched until then."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from udpconf.media.resampler import SLEW_PER_BLOCK, Resampler

Pcm = NDArray[np.int16]
RATE = 48_000
LOUD = 8_230  # -12 dB of full scale
# What libsamplerate holds back, all its delay.
HELD = 20


def tone(hertz: float, seconds: float = 2.0) -> Pcm:
    wave = LOUD * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    rounded: Pcm = np.rint(wave).astype(np.int16)[:, np.newaxis]
    return rounded


def in_blocks(resampler: Resampler, pcm: Pcm, block: int = 480) -> Pcm:
    return np.concatenate(
        [resampler.resample(pcm[start : start + block]) for start in range(0, len(pcm), block)]
    )


def settled(ratio: float, channels: int = 1) -> Resampler:
    """A resampler that has reached its ratio."""
    resampler = Resampler(channels)
    resampler.wanted = ratio
    while resampler.ratio != ratio:
        resampler.resample(np.zeros((480, channels), np.int16))
    return resampler


def noise_below_tone_db(pcm: Pcm, hertz: float) -> float:
    part = pcm[2_400:, 0].astype(float)
    angle = 2 * np.pi * hertz * np.arange(len(part)) / RATE
    base = np.stack((np.sin(angle), np.cos(angle)), axis=1)
    sine = base @ np.linalg.lstsq(base, part, rcond=None)[0]
    return float(10 * np.log10(np.mean(sine**2) / np.mean((part - sine) ** 2)))


@given(lengths=st.lists(st.integers(0, 1_000), max_size=20))
def test_at_one_it_gives_back_what_it_got(lengths: list[int]) -> None:
    resampler = Resampler(1)
    for length in lengths:
        block = tone(440, 0.1)[:length]
        assert resampler.resample(block) is block


@pytest.mark.parametrize("hertz", [200, 1_000, 8_000, 15_000])
@pytest.mark.parametrize("ratio", [0.995, 0.9998, 1.0002, 1.005])
def test_a_tone_is_the_same_tone_at_its_new_rate(hertz: int, ratio: float) -> None:
    after = in_blocks(settled(ratio), tone(hertz))
    assert noise_below_tone_db(after, hertz / ratio) > 75


@pytest.mark.parametrize("block", [1, 37, 120, 480, 960, 4_801])
@pytest.mark.parametrize("ratio", [0.98, 0.9998, 1.0, 1.000_001, 1.02])
def test_samples_add_up_exactly_however_they_come(block: int, ratio: float) -> None:
    pcm = tone(440, 0.1 if block == 1 else 5.0)
    resampler = settled(ratio)
    after = in_blocks(resampler, pcm, block)
    assert abs(len(after) - len(pcm) * ratio) <= 1.5


def test_minutes_of_samples_add_up_exactly() -> None:
    resampler = settled(1.0002)
    silence = np.zeros((48_000, 1), np.int16)
    given_out = sum(len(resampler.resample(silence)) for _ in range(120))
    assert abs(given_out - 120 * 48_000 * 1.0002) <= 1


def test_its_beginning_is_not_heard_and_costs_twenty_samples() -> None:
    sound = tone(1_000)
    resampler = Resampler(1)
    before = in_blocks(resampler, sound[:48_000])
    resampler.wanted = 1 + 1e-9
    blocks = [resampler.resample(sound[start : start + 480]) for start in range(48_000, 57_600, 480)]
    assert {len(block) for block in blocks[1:]} == {480}
    assert 480 - len(blocks[0]) in {HELD - 1, HELD}
    after = np.concatenate((before, *blocks))
    assert np.abs(after - sound[: len(after)].astype(int)).max() <= 1


@given(seed=st.integers(0, 1_000_000), hertz=st.sampled_from([200, 1_000, 4_000]))
def test_no_change_of_ratio_is_heard(seed: int, hertz: int) -> None:
    """A sine is twice its neighbours' mean times a number that only its frequency knows; a click is far from that."""
    resampler = Resampler(1)
    parts = []
    sound = tone(hertz, 0.6)
    for index, ratio in enumerate(np.random.default_rng(seed).uniform(0.98, 1.02, 60)):
        resampler.wanted = float(ratio)
        parts.append(resampler.resample(sound[index * 480 :][:480]))
        assert abs(resampler.ratio - 1) <= SLEW_PER_BLOCK * (index + 1)
    # Not its beginning: a sine that starts all at once is a click of its own.
    after = np.concatenate(parts)[100:, 0].astype(float)
    outside = after[:-2] + after[2:] - 2 * np.cos(2 * np.pi * hertz / RATE) * after[1:-1]
    # Rounding of three samples, before and after, and a frequency that is off by 1 % at the most.
    allowed = 6 + 2 * LOUD * abs(np.cos(2 * np.pi * hertz / RATE) - np.cos(2 * np.pi * hertz / RATE * 1.011))
    assert np.abs(outside).max() < allowed


def test_channels_stay_together() -> None:
    left, right = tone(1_000), tone(1_000)[::-1]
    after = in_blocks(settled(1.0002, 2), np.concatenate((left, right), axis=1))
    for channel, alone in enumerate((left, right)):
        assert np.array_equal(after[:, channel : channel + 1], in_blocks(settled(1.0002), alone))


def test_full_scale_does_not_wrap() -> None:
    square = np.where(np.arange(48_000) % 96 < 48, 32_767, -32_768).astype(np.int16)[:, np.newaxis]
    after = in_blocks(settled(1.0002), square)[480:]
    assert np.abs(np.diff(np.sign(after[:, 0]))).sum() // 2 == pytest.approx(1_000 * 0.99, abs=20)


def test_silence_stays_silent() -> None:
    assert not in_blocks(settled(0.995), np.zeros((48_000, 2), np.int16)[:, :1]).any()

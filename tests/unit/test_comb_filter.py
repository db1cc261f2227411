"""A packet's comb filter is read as libopus writes it, and made stronger or weaker as libopus' decoder hears it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from udpconf.media.comb_filter import allowing_for, comb_filter, with_strength
from udpconf.media.opus import FRAME_SAMPLES, OpusEncoder
from udpconf.media.opus_decoder import OpusDecoder

RATE = 48_000
LOUD = 8_230  # -12 dB of full scale


def tone(hertz: float) -> NDArray[np.float64]:
    return LOUD * np.sin(2 * np.pi * hertz * np.arange(RATE // 2) / RATE)


def packets(wave: NDArray[np.float64]) -> list[bytes]:
    encoder = OpusEncoder(128_000)
    pcm = np.rint(wave).astype(np.int16)
    return [encoder.encode(pcm[i : i + FRAME_SAMPLES]) for i in range(0, len(pcm), FRAME_SAMPLES)]


@pytest.mark.parametrize("period", [20, 37, 60, 100, 200, 400, 700])
def test_of_a_tone_the_period_is_its_own(period: int) -> None:
    comb = comb_filter(packets(tone(RATE / period))[-1])
    assert comb is not None
    assert comb.period == period
    assert comb.strength >= 5


def test_it_is_off_in_hiss_and_in_silence() -> None:
    seed = 3
    for wave in (np.random.default_rng(seed).normal(0, 3_000, RATE // 2), np.zeros(RATE // 2)):
        assert {comb_filter(data) for data in packets(wave)[10:]} == {None}, f"seed {seed}"


@given(st.binary(max_size=60))
def test_any_bytes_can_be_asked(data: bytes) -> None:
    comb = comb_filter(data)
    if comb is not None:
        assert comb_filter(with_strength(data, 5)) == comb._replace(strength=5)
        assert with_strength(data, comb.strength) == data


@pytest.mark.parametrize("strength", [2, 5])
def test_what_allows_for_another_strength_comes_out_as_it_was_meant(strength: int) -> None:
    """All of a stream is made weaker, so that nothing else differs."""
    wave = tone(RATE / 60.4)
    own = comb_filter(packets(wave)[-1])
    assert own is not None
    assert own.strength != strength
    meant, plain = OpusDecoder(), OpusDecoder()
    allowed = packets(allowing_for(wave[:, np.newaxis], own, strength)[:, 0])
    weaker = [with_strength(data, strength) if comb_filter(data) else data for data in allowed]
    played = np.concatenate([meant.decode(data) for data in weaker])[RATE // 4 :].astype(float)
    wanted = np.concatenate([plain.decode(data) for data in packets(wave)])[RATE // 4 :].astype(float)
    assert np.sum((played - wanted) ** 2) < 0.001 * np.sum(wanted**2)

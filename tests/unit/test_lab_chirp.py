"""The matched filter finds each chirp to the sample, also in noise, and says so when one is not there."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.lab import chirp

START_US = 5_000_000
SECONDS = 6


def spoken() -> NDArray[np.int16]:
    return np.tile(chirp.two_seconds(), SECONDS // 2)


def clock(blocks: int, delay_us: int) -> NDArray[np.int64]:
    """When each block of 10 ms is heard, if all is late by as much."""
    return START_US + delay_us + np.arange(blocks, dtype=np.int64) * 10_000


@pytest.mark.parametrize("delay_us", [0, 3_333, 64_000, 999_000, 1_500_000])
def test_the_delay_of_each_chirp_is_found_to_a_tenth_of_a_millisecond(delay_us: int) -> None:
    pcm = spoken()
    found = chirp.heard(pcm, clock(len(pcm) // 480, delay_us), START_US, SECONDS - 2)
    assert [one.number for one in found] == [0, 1, 2, 3]
    for one in found:
        assert one.ear_us is not None
        assert abs(one.ear_us - one.mouth_us - delay_us) <= 100


def test_noise_and_half_the_loudness_do_not_hide_it() -> None:
    pcm = (spoken() // 2 + np.random.default_rng(3).normal(0, 1000, SECONDS * chirp.RATE)).astype(np.int16)
    found = chirp.heard(pcm, clock(len(pcm) // 480, 40_000), START_US, SECONDS - 1)
    assert all(one.ear_us is not None and abs(one.ear_us - one.mouth_us - 40_000) < 200 for one in found)


def test_a_lost_chirp_is_not_heard_and_the_others_are() -> None:
    pcm = spoken()
    pcm[2 * chirp.RATE : 3 * chirp.RATE] = 0
    found = chirp.heard(pcm, clock(len(pcm) // 480, 30_000), START_US, SECONDS - 1)
    assert [one.number for one in found if one.ear_us is None] == [2]


def test_blocks_that_are_missing_do_not_shift_what_comes_after() -> None:
    pcm, times = spoken().reshape(-1, 480), clock(SECONDS * 100, 30_000)
    kept = [n for n in range(len(pcm)) if not 130 <= n < 170]  # 400 ms between two chirps
    found = chirp.heard(pcm[kept].ravel(), times[kept], START_US, SECONDS - 1)
    assert all(one.ear_us is not None and abs(one.ear_us - one.mouth_us - 30_000) < 200 for one in found)


def test_silence_and_nothing_at_all_hold_no_chirp() -> None:
    silence = np.zeros(480 * 200, np.int16)
    assert all(one.ear_us is None for one in chirp.heard(silence, clock(200, 0), START_US, 2))
    nothing = np.zeros(0, np.int16)
    assert all(one.ear_us is None for one in chirp.heard(nothing, clock(0, 0), START_US, 2))

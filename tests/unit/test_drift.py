"""Two clocks that differ are found out, and the delay rests; nobody hears the pitch change."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drifting import Switched, play
from udpconf.limits import MS
from udpconf.proto.drift import CHANGE_MAX, LEARNED_MAX, START_US, DriftControl

HOUR_S = 3_600


@pytest.mark.parametrize("jitter_us", [0, 30 * MS])
@pytest.mark.parametrize("skew_ppm", [-200, 200])
def test_for_an_hour_clocks_that_differ_move_the_delay_by_less_than_five_ms(
    skew_ppm: int, jitter_us: int
) -> None:
    control = DriftControl()
    # A whole hour for the hardest; the others show in ten minutes whether they hold.
    seconds = HOUR_S if (skew_ppm, jitter_us) == (200, 30 * MS) else 600
    course = play(control.update, seconds, skew_ppm=skew_ppm, jitter_us=jitter_us)
    assert course.underruns == 0
    assert course.wander_us < 3 * MS, "most of it before the difference is known"
    assert max(course.most_faster, course.most_slower) < 0.0005
    assert control.learned_ppm == pytest.approx(skew_ppm, abs=10)


@pytest.mark.parametrize("skew_ppm", [-200, 200])
def test_once_the_difference_is_known_the_delay_rests(skew_ppm: int) -> None:
    control = DriftControl()
    play(control.update, 300, skew_ppm=skew_ppm)
    course = play(control.update, 600, skew_ppm=skew_ppm, seed=2)
    assert course.wander_us < 1 * MS
    # 40 millionths are less than a thousandth of a semitone.
    assert max(course.most_faster, course.most_slower) < 240e-6


def test_a_controller_without_memory_swings_further() -> None:
    course = play(Switched().update, 600, skew_ppm=200)
    assert course.wander_us > 4 * MS
    assert course.most_faster > 0.001


def test_clocks_that_agree_are_left_alone() -> None:
    control = DriftControl()
    course = play(control.update, 600, skew_ppm=0)
    assert control.ratio == 1.0
    assert (course.most_faster, course.most_slower) == (0, 0)


@pytest.mark.parametrize("astray_us", [-5 * MS, 2.5 * MS, 5 * MS])
def test_a_delay_that_the_clocks_did_not_carry_away_is_left_alone(astray_us: float) -> None:
    control = DriftControl()
    for block in range(6_000):
        assert control.update(astray_us, 0.3 * MS * (-1) ** block) == 1.0


@pytest.mark.parametrize("ppm", [-200, -40, 40, 200])
def test_what_the_clocks_carry_away_in_minutes_is_followed(ppm: int) -> None:
    control = DriftControl()
    ratio = 1.0
    for block in range(12_000):
        carried_us = block * ppm / 100
        # At 2 ms, or 2.5, sound is made longer or shorter, so that it is right again.
        ratio = control.update(math.fmod(carried_us, 2_000 if ppm < 0 else 2_500), carried_us)
    assert (ratio - 1) * ppm < 0


def test_a_target_that_jumps_is_followed_and_not_taken_for_a_clock() -> None:
    control = DriftControl()
    astray_us = 30.0 * MS
    greatest = 0.0
    for _ in range(12_000):
        ratio = control.update(astray_us)
        assert ratio <= 1, "no swinging back"
        greatest = max(greatest, 1 - ratio, control.learned_ppm * 1e-6)
        astray_us += (ratio - 1) * 10 * MS
        if astray_us < 1 * MS:
            break
    assert astray_us < 1 * MS, "in two minutes"
    assert greatest < 0.003


@given(astrays_us=st.lists(st.floats(-1e9, 1e9), max_size=200))
def test_whatever_is_measured_the_pitch_changes_by_half_a_percent_at_most(astrays_us: list[float]) -> None:
    control = DriftControl()
    for astray_us in astrays_us:
        assert abs(control.update(astray_us) - 1) <= CHANGE_MAX + 1e-12
        assert abs(control.learned_ppm) <= LEARNED_MAX * 1e6


@given(astray_us=st.floats(START_US * 1.1, 1e6))
def test_too_long_a_delay_is_played_faster_and_too_short_a_one_slower(astray_us: float) -> None:
    for sign in (1, -1):
        control = DriftControl()
        for _ in range(1_000):
            control.update(sign * astray_us)
        assert (control.ratio - 1) * sign < 0

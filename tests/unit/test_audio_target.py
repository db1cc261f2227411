"""The delay that sound is played at: the least bad, kept while another is hardly better, given up when the path is calm."""

import random
from itertools import pairwise

import pytest

from udpconf.limits import AUDIO_BUFFER_US, MS
from udpconf.proto import audio_target
from udpconf.proto.audio_target import CALM_US, STAY_US, WINDOW_US, AudioTarget
from udpconf.proto.sound_redundancy import DELAY_OF_ALL_US

FRAME_US = 10 * MS
FRAMES_IN_WINDOW = WINDOW_US // FRAME_US
FRAMES_IN_CALM = CALM_US // FRAME_US


def arrive(target: AudioTarget, *delays_us: int) -> int:
    for delay_us in delays_us:
        target.handle_arrival(delay_us, FRAME_US)
    assert target.target_us is not None
    return target.target_us


def test_a_steady_path_is_waited_for_and_a_margin() -> None:
    assert 30 * MS < arrive(AudioTarget(), *[30 * MS] * FRAMES_IN_WINDOW) <= 40 * MS


def test_a_few_late_frames_in_the_window_are_not_worth_their_delay() -> None:
    target = AudioTarget()
    calm_us = arrive(target, *[30 * MS] * FRAMES_IN_WINDOW)
    assert arrive(target, *([150 * MS] + [30 * MS] * 199) * 5) <= calm_us + STAY_US


def test_many_late_frames_are() -> None:
    target = AudioTarget()
    arrive(target, *[30 * MS] * FRAMES_IN_WINDOW)
    assert arrive(target, *([90 * MS] + [30 * MS] * 19) * 50) >= 90 * MS


def changes_near_the_balance() -> int:
    """Of the delay, where a share of the frames comes so late that waiting for them is worth just as much as not to."""
    target, rng, seen = AudioTarget(), random.Random(1), []
    for _ in range(10 * FRAMES_IN_WINDOW):
        late = rng.random() < 60 * MS / DELAY_OF_ALL_US
        seen.append(arrive(target, 90 * MS if late else 30 * MS))
    return sum(abs(after - before) >= 30 * MS for before, after in pairwise(seen[FRAMES_IN_WINDOW:]))


def test_it_stays_while_another_delay_is_hardly_better(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = changes_near_the_balance()
    monkeypatch.setattr(audio_target, "STAY_US", 0)
    assert 3 * changes <= changes_near_the_balance()


def test_five_seconds_after_the_path_has_calmed_the_delay_is_what_it_was() -> None:
    target = AudioTarget()
    before_us = arrive(target, *[30 * MS] * FRAMES_IN_WINDOW)
    rng = random.Random(1)
    assert arrive(target, *(30 * MS + rng.randrange(100 * MS) for _ in range(FRAMES_IN_WINDOW))) > 100 * MS
    assert arrive(target, *[30 * MS] * (FRAMES_IN_CALM - 1)) > before_us + 5 * MS
    assert arrive(target, *[30 * MS] * 11) == before_us


def test_who_wants_more_gets_more_and_never_more_than_the_buffer_holds() -> None:
    target = AudioTarget()
    target.least_us = 80 * MS
    assert arrive(target, *[30 * MS] * FRAMES_IN_WINDOW) == 80 * MS
    target.least_us = 0
    assert arrive(target, 900 * MS, *[30 * MS] * 20) <= 30 * MS + AUDIO_BUFFER_US


@pytest.mark.parametrize("ahead_us", [0, 3 * MS, 7 * MS, 20 * MS])
def test_who_takes_frames_further_ahead_has_them_sooner(ahead_us: int) -> None:
    near, far = AudioTarget(), AudioTarget()
    far.handle_pop(ahead_us)
    further_us = arrive(far, *[30 * MS] * 200) - arrive(near, *[30 * MS] * 200)
    assert further_us == max(0, -(-ahead_us // (5 * MS)) * 5 * MS - 5 * MS)


def test_a_clock_that_is_set_makes_it_begin_anew() -> None:
    target = AudioTarget()
    before_us = arrive(target, *[30 * MS] * FRAMES_IN_WINDOW)
    assert arrive(target, *[3_030 * MS] * 20) == before_us + 3_000 * MS

"""The replay window at its edges."""

import pytest

from udpconf.limits import REPLAY_WINDOW
from udpconf.proto.replay_window import ReplayWindow


def test_a_number_is_seen_after_it_was_marked_and_looking_changes_nothing() -> None:
    window = ReplayWindow()
    for _ in range(3):
        assert not window.seen(5)
    window.mark(5)
    assert window.seen(5)
    assert not window.seen(4)
    assert not window.seen(6)


@pytest.mark.parametrize("start", [0, 1, REPLAY_WINDOW - 1, REPLAY_WINDOW, 12_345, 1 << 40])
def test_the_window_is_8192_numbers_wide(start: int) -> None:
    for behind, too_old in ((8191, False), (8192, True), (8193, True)):
        window = ReplayWindow()
        window.mark(start)
        window.mark(start + REPLAY_WINDOW + 1)
        assert window.seen(start + REPLAY_WINDOW + 1 - behind) is too_old


def test_a_number_that_was_jumped_over_is_unseen_though_its_place_was_used_before() -> None:
    window = ReplayWindow()
    for number in range(REPLAY_WINDOW):
        window.mark(number)
    window.mark(REPLAY_WINDOW + 10)
    assert [window.seen(REPLAY_WINDOW + n) for n in range(11)] == [False] * 10 + [True]
    assert window.seen(REPLAY_WINDOW - 1)


def test_a_jump_of_more_than_the_window_forgets_all_of_it() -> None:
    window = ReplayWindow()
    for number in range(100):
        window.mark(number)
    window.mark(10 * REPLAY_WINDOW)
    fresh = range(9 * REPLAY_WINDOW + 1, 10 * REPLAY_WINDOW)
    assert not any(window.seen(number) for number in fresh)
    assert all(window.seen(number) for number in range(100))


def test_marking_what_is_too_old_spoils_no_other_number() -> None:
    window = ReplayWindow()
    window.mark(3 * REPLAY_WINDOW)
    window.mark(5)
    assert not window.seen(2 * REPLAY_WINDOW + 5)

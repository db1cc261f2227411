"""Packet numbers and the replay window against models that need no cleverness."""

from hypothesis import example, given
from hypothesis import strategies as st

from udpconf.limits import REPLAY_WINDOW
from udpconf.proto.replay_window import ReplayWindow
from udpconf.wire.packet_number import PACKET_NUMBER_MAX, expand, truncate

HALF = 1 << 23


@example(largest=(1 << 30) - 1, distance=HALF)
@example(largest=(1 << 30) - 1, distance=-HALF + 1)
@example(largest=(1 << 30) + HALF - 1, distance=HALF)
@example(largest=(1 << 30) + HALF - 1, distance=-HALF + 1)
@given(largest=st.integers(0, PACKET_NUMBER_MAX - HALF - 1), distance=st.integers(-HALF + 1, HALF))
def test_a_number_within_half_the_range_of_the_expected_one_is_rebuilt(largest: int, distance: int) -> None:
    number = max(0, largest + 1 + distance)
    assert expand(largest, truncate(number)) == number


@given(st.integers(0, (1 << 24) - 1))
def test_the_first_number_is_what_it_says(number: int) -> None:
    assert expand(-1, number) == number


@given(st.integers(-1, PACKET_NUMBER_MAX - 1), st.integers(0, (1 << 24) - 1))
def test_a_rebuilt_number_always_ends_in_what_travelled_and_stays_in_range(
    largest: int, truncated: int
) -> None:
    number = expand(largest, truncated)
    assert truncate(number) == truncated
    assert 0 <= number <= PACKET_NUMBER_MAX


# Steps as a real path makes them, and a few that only a fault would.
STEPS = st.lists(
    st.one_of(
        st.integers(-5, 5),
        st.integers(-REPLAY_WINDOW - 3, REPLAY_WINDOW + 3),
        st.sampled_from(
            (-REPLAY_WINDOW, 1 - REPLAY_WINDOW, REPLAY_WINDOW - 1, REPLAY_WINDOW, REPLAY_WINDOW + 1)
        ),
        st.integers(0, 1 << 40),
    ),
    max_size=200,
)


@given(start=st.integers(0, 1 << 50), steps=STEPS)
def test_the_replay_window_agrees_with_a_set(start: int, steps: list[int]) -> None:
    window, model, highest = ReplayWindow(), set[int](), -1
    number = start
    for step in steps:
        number = max(0, number + step)
        for probe in (number - 1, number, number + 1, number - REPLAY_WINDOW, number + REPLAY_WINDOW):
            expected = probe <= highest - REPLAY_WINDOW or probe in model
            assert window.seen(probe) == expected, (probe, highest)
        if not window.seen(number):
            window.mark(number)
            model.add(number)
            highest = max(highest, number)
        assert window.seen(number)

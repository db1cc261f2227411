"""How much of the sound is sent more than once: by the loss, and by how it comes."""

import random

import pytest

from udpconf.limits import MS
from udpconf.proto.sound_redundancy import WAIT_MAX_US, Redundancy, lost_share, sound_redundancy


def test_where_nothing_is_lost_nothing_is_repeated() -> None:
    assert sound_redundancy(0.0, 1.0).copies == 0


@pytest.mark.parametrize(("loss", "copies"), [(0.02, 1), (0.05, 1), (0.1, 2), (0.2, 3), (0.5, 3)])
def test_the_more_is_lost_the_more_often_it_is_sent(loss: float, copies: int) -> None:
    assert sound_redundancy(loss, 1 / (1 - loss)) == Redundancy(tuple(range(1, copies + 1)))


def test_where_losses_come_in_runs_copies_keep_apart() -> None:
    plan = sound_redundancy(0.1, 5)
    assert plan.distances == (2, 5)
    # 60 ms of waiting in place of 50 would bring it below 3 %, and be heard 10 ms later; close together 6 % are lost.
    assert lost_share(plan, 0.1, 5) < 0.034 < lost_share(Redundancy((1, 2)), 0.1, 5) / 1.5


@pytest.mark.parametrize(
    "plan", [Redundancy((1,)), Redundancy((1, 2, 3)), Redundancy((2, 5)), Redundancy((1, 3, 6))]
)
@pytest.mark.parametrize(("loss", "burst"), [(0.2, 1.25), (0.1, 5.0)])
def test_what_is_lost_all_the_same_is_as_the_model_counts_it(
    plan: Redundancy, loss: float, burst: float
) -> None:
    rng = random.Random(1)
    to_good, to_bad = 1 / burst, loss / (1 - loss) / burst
    lost, packets = False, []
    for _ in range(400_000):
        lost = rng.random() >= to_good if lost else rng.random() < to_bad
        packets.append(lost)
    gone = sum(
        all(packets[at + distance] for distance in (0, *plan.distances)) for at in range(len(packets) - 10)
    )
    assert gone / len(packets) == pytest.approx(lost_share(plan, loss, burst), rel=0.1, abs=0.0003)


def test_a_path_that_loses_everything_is_no_error() -> None:
    assert lost_share(Redundancy((3, 6, 9)), 1.0, 100.0) == 1
    assert sound_redundancy(1.0, 500.0).copies == 0


@pytest.mark.parametrize("frame_us", [5 * MS, 10 * MS, 20 * MS])
@pytest.mark.parametrize("copies_max", [1, 3])
def test_it_keeps_to_the_wait_and_to_the_bytes_whatever_the_length_of_a_frame(
    frame_us: int, copies_max: int
) -> None:
    for loss, burst in ((0.01, 1.0), (0.1, 5.0), (0.3, 5.0)):
        plan = sound_redundancy(loss, burst, frame_us, copies_max)
        assert plan.copies <= copies_max
        assert max(plan.distances, default=0) * frame_us <= 60 * MS
        assert max(plan.distances, default=0) * frame_us < WAIT_MAX_US + frame_us
    assert sound_redundancy(0.3, 1.4, frame_us, copies_max).copies == copies_max

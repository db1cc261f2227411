"""A train of packets is told of: at once when the path spread it, else with the next feedback."""

from itertools import pairwise

from udpconf.limits import MS
from udpconf.proto.train_watch import REPORT_INTERVAL_US, SPREAD_US, TrainWatch
from udpconf.wire.frames import Train


def come(watch: TrainWatch, first: int, frame_id: int, start_us: int, gap_us: int, packets: int = 10) -> int:
    """Packets of one frame; returns when the last one came."""
    for nth in range(packets):
        watch.handle_packet(start_us + nth * gap_us, first + nth, frame_id)
    return start_us + (packets - 1) * gap_us


def test_a_train_in_one_go_is_told_of_when_it_is_over_and_somebody_asks() -> None:
    watch = TrainWatch()
    come(watch, 5, 1, 1000, 100)
    assert watch.take() is None
    come(watch, 15, 2, 40_000, 100)
    assert watch.take_urgent() is None
    assert watch.take() == Train(5, 1000, 14, 1900, 100, 10, 15)
    assert watch.take() is None


def test_one_that_the_path_spread_is_told_of_as_soon_as_it_is_over() -> None:
    watch = TrainWatch()
    last_us = come(watch, 5, 1, 1000, SPREAD_US // 9 + 1)
    assert watch.take_urgent() is None
    watch.handle_packet(50_000, 15, 2)
    assert watch.take_urgent() == Train(5, 1000, 14, last_us, SPREAD_US // 9 + 1, 10, 15)
    assert watch.take_urgent() is None
    assert watch.take() is None


def test_one_that_comes_slowly_is_told_of_while_it_comes() -> None:
    watch = TrainWatch()
    told = []
    for nth in range(20):
        watch.handle_packet(nth * 7 * MS, nth, 0)
        if (train := watch.take_urgent()) is not None:
            told.append(train)
    assert [train.last_us for train in told] == [21 * MS, 42 * MS, 63 * MS, 84 * MS, 105 * MS, 126 * MS]
    assert all(train.first_us == 0 and train.longest_gap_us == 7 * MS for train in told)
    assert told[0].packets == 4
    assert min(b.last_us - a.last_us for a, b in pairwise(told)) >= REPORT_INTERVAL_US


def test_what_is_missing_between_two_pictures_is_told_at_once_but_not_each_time() -> None:
    watch = TrainWatch()
    told = []
    for frame_id in range(30):
        come(watch, frame_id * 10, frame_id, frame_id * 33 * MS, 100, packets=8)  # the last two are missing
        if (train := watch.take_urgent()) is not None:
            told.append(train)
            assert train.next_number - train.last_number == 3
    assert 10 <= len(told) <= 15


def test_lost_packets_are_not_counted_and_late_ones_are_ignored() -> None:
    watch = TrainWatch()
    for at_us, number, frame_id in [(0, 5, 1), (100, 8, 1), (200, 7, 1), (300, 8, 0), (400, 9, 1)]:
        watch.handle_packet(at_us, number, frame_id)
    watch.handle_packet(50_000, 10, 2)
    assert watch.take() == Train(5, 0, 9, 400, 300, 3, 10)

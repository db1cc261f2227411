"""Losses and their runs, whatever the order in which the rest comes."""

import random

from udpconf.proto.loss_runs import JUMP_MAX, REORDERED_MAX, LossRuns


def test_what_is_missing_is_counted_in_runs() -> None:
    runs = LossRuns()
    for number in range(200):
        if number not in {20, 50, 51, 52, 90}:
            runs.handle_packet(number)
    assert (runs.lost, runs.runs) == (5, 3)
    assert runs.received == 200 - REORDERED_MAX - 5


def test_packets_that_overtake_each_other_are_not_lost() -> None:
    rng = random.Random(1)
    runs = LossRuns()
    for number in sorted(range(5000), key=lambda number: number + rng.uniform(0, REORDERED_MAX - 2)):
        runs.handle_packet(number)
    assert runs.lost == runs.runs == 0


def test_one_that_comes_too_late_stays_lost_and_none_counts_twice() -> None:
    runs = LossRuns()
    for number in [*range(1, 100), 0, 5, 5, 98]:
        runs.handle_packet(number)
    assert (runs.received, runs.lost) == (99 - REORDERED_MAX, 0)


def test_a_jump_is_no_loss() -> None:
    runs = LossRuns()
    for number in [*range(50), *range(50 + 2 * JUMP_MAX, 100 + 2 * JUMP_MAX)]:
        runs.handle_packet(number)
    assert runs.lost == 0

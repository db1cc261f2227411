"""The loss that parity is bought for: of the last seconds, unless the last one brings news."""

import random

from udpconf.limits import SECOND
from udpconf.proto.loss_estimate import LossEstimate

FEEDBACK_US = SECOND // 10
PACKETS = 30  # between two reports


class Reported:
    """A server's feedback, ten times a second."""

    def __init__(self) -> None:
        self.loss = LossEstimate()
        self.now_us = 0
        self._received = self._lost = self._runs = 0

    def report(self, lost: int, runs: int | None = None, packets: int = PACKETS) -> tuple[float, float]:
        self.now_us += FEEDBACK_US
        self._received += packets - lost
        self._lost += lost
        self._runs += lost if runs is None else runs
        self.loss.handle_report(self.now_us, self._received, self._lost, self._runs)
        return self.loss.expected(self.now_us)


def test_before_anything_was_told_nothing_is_expected() -> None:
    assert LossEstimate().expected(0) == (0.0, 1.0)


def test_loss_that_begins_is_met_within_a_second() -> None:
    reported = Reported()
    for _ in range(100):
        assert reported.report(lost=0)[0] == 0
    for _ in range(10):
        share, _ = reported.report(lost=3)
    assert share > 0.08


def test_an_unlucky_second_is_no_news() -> None:
    rng = random.Random(3)
    reported = Reported()
    shares = [reported.report(sum(rng.random() < 0.05 for _ in range(PACKETS)))[0] for _ in range(600)]
    settled = shares[60:]
    assert 0.047 < sum(settled) / len(settled) < 0.055  # the worse of the two windows is 0.058 on average


def test_bursts_vary_more_and_are_not_news_either() -> None:
    rng = random.Random(4)
    reported = Reported()
    shares = []
    for _ in range(600):
        burst = rng.random() < 0.3
        shares.append(reported.report(lost=10 if burst else 0, runs=2 if burst else 0)[0])
    settled = shares[60:]
    assert 0.09 < sum(settled) / len(settled) < 0.115


def test_the_mean_run_is_told_with_it() -> None:
    reported = Reported()
    for _ in range(60):
        expected = reported.report(lost=6, runs=2)
    assert abs(expected[0] - 0.2) < 0.01
    assert expected[1] == 3


def test_what_is_lost_while_a_queue_stands_does_not_count_and_what_was_lost_before_still_does() -> None:
    reported = Reported()
    for _ in range(60):
        before = reported.report(lost=3)
    for _ in range(5):  # as at 100 frames/s, where it stands now and then
        reported.loss.handle_queue(stands=True)
        assert reported.report(lost=15) == before
        reported.loss.handle_queue(stands=False)
        assert reported.report(lost=15) == before  # it tells of the queue's end as well
        assert reported.report(lost=3) == before


def test_a_queue_between_two_reports_counts_as_one_of_a_whole_report() -> None:
    reported = Reported()
    reported.report(lost=0)
    reported.loss.handle_queue(stands=True)
    reported.loss.handle_queue(stands=False)
    assert reported.report(lost=15)[0] == 0
    assert reported.report(lost=15)[0] == 0.5


def test_a_queue_that_stands_from_the_first_report_on_leaves_nothing_expected() -> None:
    reported = Reported()
    reported.loss.handle_queue(stands=True)
    for _ in range(100):
        assert reported.report(lost=15) == (0.0, 1.0)

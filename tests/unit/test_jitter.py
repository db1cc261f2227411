"""Jitter: the quantiles of each shape, with and without a memory."""

from itertools import pairwise
from math import log
from statistics import NormalDist

import pytest

from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import Link, LinkConditions
from udpconf.limits import MS, SECOND

COUNT = 20_000
SCALE_US = 10 * MS


def delays_us(shape: JitterShape, correlation: float) -> list[int]:
    conditions = LinkConditions(
        delay_us=SECOND,
        jitter_us=SCALE_US,
        jitter_shape=shape,
        jitter_correlation=correlation,
        keep_order=False,
    )
    link: Link[int] = Link(conditions, 3)
    found: list[int] = []
    for number in range(COUNT):
        due_us = link.send(number, 0, 100).due_us
        assert due_us is not None
        found.append(due_us - number - SECOND)
    return found


def expected_us(shape: JitterShape, share: float) -> float:
    match shape:
        case JitterShape.UNIFORM:
            return share * SCALE_US
        case JitterShape.NORMAL:
            return SCALE_US * NormalDist().inv_cdf(share)
        case JitterShape.EXPONENTIAL:
            return -SCALE_US * log(1 - share)
        case JitterShape.PARETO:
            tail: float = (1 - share) ** (-1 / 3) - 1
            return 2 * SCALE_US * tail


@pytest.mark.parametrize("correlation", [0.0, 0.8])
@pytest.mark.parametrize("shape", JitterShape)
def test_each_shape_has_its_quantiles_whatever_the_correlation(
    shape: JitterShape, correlation: float
) -> None:
    found = sorted(delays_us(shape, correlation))
    # Neighbours that resemble each other are worth fewer samples: (1 - r) / (1 + r) of them.
    worth = COUNT * (1 - correlation) / (1 + correlation)
    for share in (0.1, 0.5, 0.9, 0.99):
        error = (share * (1 - share) / worth) ** 0.5
        low, high = expected_us(shape, share - 3 * error), expected_us(shape, min(0.9999, share + 3 * error))
        assert low - 1 <= found[int(share * COUNT)] <= high + 1, share


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
def test_neighbours_resemble_each_other_as_much_as_asked(correlation: float) -> None:
    found = delays_us(JitterShape.NORMAL, correlation)
    mean = sum(found) / COUNT
    variance = sum((one - mean) ** 2 for one in found) / COUNT
    covariance = sum((a - mean) * (b - mean) for a, b in pairwise(found)) / (COUNT - 1)
    assert covariance / variance == pytest.approx(correlation, abs=3 / COUNT**0.5)


def test_a_packet_never_arrives_before_it_was_sent() -> None:
    conditions = LinkConditions(delay_us=5 * MS, jitter_us=20 * MS, jitter_shape=JitterShape.NORMAL)
    link: Link[int] = Link(conditions, 1)
    for number in range(1000):
        due_us = link.send(number * SECOND, 0, 100).due_us
        assert due_us is not None
        assert due_us >= number * SECOND

"""Loss that goes when less is sent was congestion; loss that stays is the path's own."""

import random
from collections.abc import Callable

import pytest

from udpconf.limits import MS, SECOND
from udpconf.proto.loss_limit import LossLimit

PACKET_BYTES = 1200
INTERVAL_US = 200 * MS


class Stream:
    """Packets at a rate that the limit may lower, and the server's totals of them five times a second."""

    def __init__(self, lost_share: Callable[[float], float], want_bps: float = 6e6) -> None:
        self.limit = LossLimit()
        self.lost_share, self.want_bps = lost_share, want_bps
        self.now_us = 0
        self.sent = self.lost = 0.0
        self.burst = 1.0

    def run(self, seconds: float) -> list[float]:
        """The rates at which was sent, each interval's."""
        rates = []
        for _ in range(round(seconds * SECOND / INTERVAL_US)):
            bps = min(self.want_bps, self.limit.bps or self.want_bps)
            packets = bps * INTERVAL_US / SECOND / 8 / PACKET_BYTES
            self.sent += packets
            self.lost += packets * self.lost_share(bps)
            self.now_us += INTERVAL_US
            received, lost = round(self.sent - self.lost), round(self.lost)
            runs = round(lost / self.burst)
            self.limit.handle_totals(self.now_us, round(self.sent) * PACKET_BYTES, received, lost, runs)
            rates.append(bps)
        return rates


def policer(bps: float) -> Callable[[float], float]:
    return lambda rate: max(0.0, 1 - bps / rate)


@pytest.mark.parametrize("bps", [1e6, 3e6, 4.5e6])
def test_a_policer_s_rate_is_found_and_kept(bps: float) -> None:
    stream = Stream(policer(bps))
    stream.run(4)
    rates = stream.run(20)
    assert 0.85 * bps < sum(rates) / len(rates) < 1.05 * bps
    assert max(rates) < 1.12 * bps


def test_when_the_policer_goes_the_limit_goes() -> None:
    stream = Stream(policer(3e6))
    stream.run(5)
    assert stream.limit.bps is not None
    stream.lost_share = lambda _: 0.0
    assert stream.run(20)[-1] == stream.want_bps


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.4])
def test_the_path_s_own_loss_is_tried_once_at_most(share: float) -> None:
    rng = random.Random(7)
    stream = Stream(lambda _: min(1.0, max(0.0, rng.gauss(share, share / 10))))
    stream.run(3)
    assert stream.run(30) == [stream.want_bps] * 150


def test_a_trial_takes_a_second_of_somewhat_less() -> None:
    stream = Stream(lambda _: 0.2)
    rates = stream.run(5)
    less = [rate for rate in rates if rate < stream.want_bps]
    assert 0 < len(less) * INTERVAL_US <= SECOND
    assert min(less) >= 0.7 * 0.8 * stream.want_bps


@pytest.mark.parametrize("seed", range(10))
def test_bursts_are_not_taken_for_congestion_because_none_came_for_a_while(seed: int) -> None:
    rng = random.Random(seed)
    in_burst = False

    def is_lost() -> bool:
        nonlocal in_burst
        in_burst = rng.random() < (0.8 if in_burst else 0.2 * 0.1 / 0.9)  # bursts of 5, a tenth of all
        return in_burst

    stream = Stream(lambda _: 0.0, want_bps=3e6)
    stream.burst = 5.0
    rates = []
    for _ in range(150):
        bps = min(stream.want_bps, stream.limit.bps or stream.want_bps)
        packets = round(bps * INTERVAL_US / SECOND / 8 / PACKET_BYTES)
        share = sum(is_lost() for _ in range(packets)) / packets
        stream.lost_share = lambda _, share=share: share  # type: ignore[misc]
        rates += stream.run(INTERVAL_US / SECOND)
    assert sum(rates) / len(rates) > 0.85 * stream.want_bps
    assert min(rates) > 0.4 * stream.want_bps


def test_congestion_on_a_path_that_loses_by_itself_is_found_as_well() -> None:
    stream = Stream(lambda _: 0.2)
    stream.run(5)
    stream.lost_share = lambda bps: 1 - 0.8 * min(1.0, 2e6 / bps)
    stream.run(5)
    rates = stream.run(10)
    assert sum(rates) / len(rates) < 2.6e6


def test_nothing_sent_tells_nothing() -> None:
    stream = Stream(policer(3e6), want_bps=1.0)
    stream.run(5)
    assert stream.limit.bps is None

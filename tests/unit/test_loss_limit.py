"""Where the last packets of pictures are lost it is congestion; where any are, it is the path's own loss."""

import random

import pytest

from tests.road import CEILING_KBPS, PACKET_BYTES, Road
from udpconf.limits import MS, SECOND
from udpconf.proto.loss_limit import VOTES, LossLimit

WANT_BPS = 6e6


def bps_of(packets: list[int], seconds: float) -> float:
    return sum(packets) * PACKET_BYTES * 8 / seconds


@pytest.mark.parametrize("bps", [1e6, 3e6, 5e6])
def test_a_policer_s_rate_is_found_within_two_seconds_and_kept(bps: float) -> None:
    road = Road(100e6)
    road.policer_bps = bps
    road.frames(2, WANT_BPS)
    sent = road.frames(10, WANT_BPS)
    assert 0.8 * bps < bps_of(sent, 10) < 1.05 * bps


def test_whatever_answers_requests_between_the_pictures() -> None:
    road = Road(100e6)
    road.answers = 3
    road.policer_bps = 3e6
    road.frames(2, WANT_BPS)
    sent, received = road.number, road.received
    road.frames(10, WANT_BPS)
    assert road.received - received > 0.85 * (road.number - sent)


@pytest.mark.parametrize(("bps", "bucket_bytes"), [(10e6, 60_000), (30e6, 125_000)])
def test_when_pictures_leave_in_several_bursts(bps: float, bucket_bytes: float) -> None:
    road = Road(1e9, ceiling_kbps=int(4 * bps / 1000))
    road.policer_bps, road.bucket_bytes = bps, bucket_bytes
    road.frames(2, 3 * bps)
    sent, received = road.number, road.received
    road.frames(10, 3 * bps)
    assert 0.9 * bps < (road.number - sent) * PACKET_BYTES * 8 / 10 < 1.1 * bps
    assert road.received - received > 0.95 * (road.number - sent)


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_on_a_path_that_loses_by_itself_as_well(share: float) -> None:
    rng = random.Random(3)
    road = Road(100e6)
    road.policer_bps = 2e6
    road.loss = lambda: rng.random() < share
    road.frames(4, WANT_BPS)
    assert bps_of(road.frames(10, WANT_BPS), 10) < 2.4e6


@pytest.mark.parametrize(("fps", "seconds"), [(1, 10), (2, 6), (5, 3)])
def test_of_few_pictures_a_second(fps: int, seconds: int) -> None:
    road = Road(100e6)
    road.policer_bps, road.bucket_bytes = 2e6, 120_000
    road.frames(seconds, 5.5e6, fps)
    sent, received = road.number, road.received
    road.frames(30, 5.5e6, fps)
    assert road.received - received > 0.95 * (road.number - sent)


def test_when_the_policer_goes_the_limit_goes() -> None:
    road = Road(100e6)
    road.policer_bps = 3e6
    road.frames(10, WANT_BPS)
    assert road.path.target_bps(road.now_us) < 3.5e6
    road.policer_bps = None
    road.frames(4, WANT_BPS)
    assert bps_of(road.frames(1, WANT_BPS), 1) > 0.9 * WANT_BPS
    road.frames(2, WANT_BPS)
    assert road.path.target_bps(road.now_us) == CEILING_KBPS * 1000


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.4])
def test_loss_anywhere_limits_nothing(share: float, seed: int) -> None:
    rng = random.Random(seed)
    road = Road(100e6)
    road.loss = lambda: rng.random() < share
    sent = road.frames(20, 3e6)
    assert bps_of(sent, 20) > 0.95 * 10 * 30 * PACKET_BYTES * 8  # 10 packets a picture


@pytest.mark.parametrize("seed", range(5))
def test_nor_do_bursts(seed: int) -> None:
    rng = random.Random(seed)
    in_burst = False

    def is_lost() -> bool:
        nonlocal in_burst
        in_burst = rng.random() < (0.8 if in_burst else 0.2 * 0.1 / 0.9)  # of 5 packets, a tenth of all
        return in_burst

    road = Road(100e6)
    road.loss = is_lost
    sent = road.frames(20, 3e6)
    assert bps_of(sent, 20) > 0.95 * 10 * 30 * PACKET_BYTES * 8


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_radio_s_loss_does_not_starve_who_uses_all_that_may_be_sent(share: float, seed: int) -> None:
    rng = random.Random(seed)
    road = Road(100e6)
    road.loss = lambda: rng.random() < share
    sent = road.frames(30)
    assert bps_of(sent, 30) > 0.85 * CEILING_KBPS * 1000
    assert min(bps_of(sent[start : start + 30], 1) for start in range(0, 900, 30)) > 0.5 * CEILING_KBPS * 1000


@pytest.mark.parametrize("seed", range(5))
def test_who_sends_little_is_not_taken_at_his_word_by_chance(seed: int) -> None:
    rng = random.Random(seed)
    limit = LossLimit(8e6)
    for nth in range(5000):  # a quiet scene of 1.2 Mbit/s, 5 % of it lost: 28 minutes of votes
        now_us = nth * SECOND // 3
        limit.handle_totals(now_us, 50_000 * nth, 43 * nth, 2 * nth, 33 * MS)
        tail = rng.random() < 0.5
        limit.handle_gap(now_us, 8e6, tail=tail, head=not tail)
        assert limit.bps is None


@pytest.mark.parametrize("seed", range(5))
def test_nor_who_loses_so_much_that_the_limit_would_be_far_below_what_is_sent(seed: int) -> None:
    rng = random.Random(seed)
    limit = LossLimit(8e6)
    for nth in range(6600):  # 4.6 Mbit/s, a fifth of it lost: ten minutes of votes
        now_us = nth * SECOND // 11
        limit.handle_totals(now_us, 52_000 * nth, 36 * nth, 9 * nth, 33 * MS)
        head = rng.random() < 0.5 / 0.9
        limit.handle_gap(now_us, 8e6, tail=not head or rng.random() < 0.2, head=head)
        assert limit.bps is None


def test_losses_that_are_far_apart_are_no_congestion() -> None:
    limit = LossLimit(8e6)
    for nth in range(100):
        limit.handle_totals(nth * 6 * SECOND, 6_000_000 * nth, 5000 * nth, nth, 33 * MS)
        limit.handle_gap(nth * 6 * SECOND, 8e6, tail=True, head=False)
    assert limit.bps is None


def test_votes_that_nothing_is_known_of_yet_limit_nothing() -> None:
    limit = LossLimit(8e6)
    for nth in range(2 * VOTES):
        limit.handle_gap(nth * 50 * MS, 8e6, tail=True, head=False)
    assert limit.bps is None
    for nth in range(5):
        limit.handle_totals(SECOND + nth * 200 * MS, 100_000 * nth, 100 * nth, 0, 33 * MS)
    limit.handle_gap(2 * SECOND, 8e6, tail=True, head=False)
    assert limit.bps is not None

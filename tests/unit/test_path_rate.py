"""Each picture is a train of packets; how it comes tells what the path carries and what stands in its queue."""

import random

import pytest

from tests.road import CEILING_KBPS, FRAME_US, PACKET_BYTES, Road
from udpconf.limits import MS, SECOND
from udpconf.proto.path_rate import AMPLE, HOLD_US, QUEUE_MIN_US, USE, PathRate
from udpconf.proto.train_watch import TrainWatch
from udpconf.wire.frames import Train


@pytest.mark.parametrize("bps", [1e6, 3e6, 6e6])
def test_the_rate_is_known_after_a_few_pictures(bps: float) -> None:
    road = Road(bps)
    road.frames(1.5)
    assert road.path.carries_bps == pytest.approx(bps, rel=0.03)
    assert road.path.target_bps(road.now_us) <= USE * 1.03 * bps
    sent = road.frames(3)
    assert sum(sent) * PACKET_BYTES * 8 / 3 > 0.85 * bps  # and it is used
    assert road.queue_left_us() < FRAME_US


def test_a_path_that_is_wide_enough_limits_nothing() -> None:
    road = Road(200e6)
    road.frames(2)
    assert road.path.target_bps(road.now_us) == CEILING_KBPS * 1000
    assert road.path.queue_us(road.now_us) == 0


def test_a_drop_is_met_within_a_fraction_of_a_second_and_its_queue_drains() -> None:
    road = Road(6e6)
    road.frames(2)
    road.bps = 1.5e6
    sent = road.frames(0.5)
    assert 0 in sent  # nothing leaves while the queue drains
    road.frames(0.5)
    assert road.path.carries_bps == pytest.approx(1.5e6, rel=0.05)
    assert road.queue_left_us() < 50 * MS
    assert all(road.frames(3))
    assert road.queue_left_us() < 50 * MS


def test_what_is_there_again_is_used_again_within_two_seconds() -> None:
    road = Road(1.5e6)
    road.frames(3)
    road.bps = 6e6
    road.frames(2)
    assert sum(road.frames(1)) * PACKET_BYTES * 8 > 0.85 * 6e6


def test_what_waits_in_the_queue_is_known() -> None:
    road = Road(3e6)
    road.frames(2)
    for _ in range(5):  # a picture that is far too large, and does not wait for the pacer
        road.path.handle_sent(road.now_us, road.number, [-1] * 10, 10 * PACKET_BYTES)
        road.number += 10
        road.free_us = max(road.free_us, road.now_us) + 10 * PACKET_BYTES * 8 * SECOND // 3_000_000
    assert road.path.queue_us(road.now_us) == pytest.approx(road.queue_left_us(), abs=25 * MS)
    assert road.path.queue_us(road.now_us) > HOLD_US
    assert road.path.target_bps(road.now_us) == 0
    assert road.path.queue_us(road.now_us + SECOND) == 0


@pytest.mark.parametrize("seed", range(5))
def test_jitter_is_no_bottleneck(seed: int) -> None:
    rng = random.Random(seed)
    road = Road(100e6)
    road.jitter = lambda: rng.randrange(10 * MS)
    road.frames(5, want_bps=3e6)
    assert road.path.target_bps(road.now_us) >= 3e6
    # Of ten times that it may be mistaken for one, but not for long.
    road.jitter = lambda: rng.randrange(100 * MS)
    sent = road.frames(10, want_bps=3e6)
    assert sum(sent) * PACKET_BYTES * 8 / 10 > 1e6
    road.jitter = lambda: 0
    road.frames(5, want_bps=3e6)
    assert road.path.target_bps(road.now_us) >= 2.5e6


@pytest.mark.parametrize("seed", range(5))
def test_the_jitter_of_a_mobile_network_is_no_queue(seed: int) -> None:
    rng = random.Random(seed)
    road = Road(12e6, delay_us=60 * MS)
    shift = 0.0

    def wander() -> int:
        nonlocal shift
        shift = 0.8 * shift + 0.6 * rng.gauss(0, 8 * MS)
        return int(shift)

    road.jitter = wander
    road.frames(2, want_bps=6e6)
    assert min(road.frames(10, want_bps=6e6)) * PACKET_BYTES * 8 * 30 > 5.5e6


@pytest.mark.parametrize("seed", range(5))
def test_packets_that_overtake_each_other_tell_no_rate(seed: int) -> None:
    rng = random.Random(seed)
    road = Road(100e6)
    road.keep_order = False
    road.jitter = lambda: rng.randrange(100 * MS)
    assert sum(road.frames(10, want_bps=3e6)) * PACKET_BYTES * 8 / 10 > 2.7e6


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_loss_is_no_bottleneck(share: float) -> None:
    rng = random.Random(1)
    road = Road(20e6)
    road.loss = lambda: rng.random() < share
    road.frames(10, want_bps=3e6)
    assert road.path.target_bps(road.now_us) == CEILING_KBPS * 1000


def test_a_queue_that_trains_did_not_foresee_cuts_the_rate_and_it_comes_back() -> None:
    road = Road(100e6)
    road.frames(2, want_bps=3e6)
    road.delay_us += QUEUE_MIN_US + 5 * MS  # somebody else's packets
    road.frames(0.5, want_bps=3e6)
    assert road.path.target_bps(road.now_us) < CEILING_KBPS * 1000
    road.delay_us -= QUEUE_MIN_US + 5 * MS
    road.frames(8, want_bps=3e6)
    assert road.path.target_bps(road.now_us) == CEILING_KBPS * 1000


def test_one_that_stays_is_the_path_s_own() -> None:
    road = Road(100e6)
    road.frames(2, want_bps=3e6)
    road.delay_us += 60 * MS  # another way, which is longer
    road.frames(20, want_bps=3e6)
    assert road.path.target_bps(road.now_us) > 3e6


def test_a_picture_too_small_to_tell_anything_does_not_stay_so_small() -> None:
    road = Road(1e6)
    road.frames(2)
    road.path.carries_bps = 100_000.0  # whatever brought that about
    road.bps = 6e6
    road.frames(12)
    assert road.path.target_bps(road.now_us) > 4e6


def test_what_is_believed_stays_within_reason() -> None:
    road = Road(1e6)
    road.frames(1)
    road.bps = 1e12
    road.frames(20)
    assert road.path.carries_bps is not None
    assert road.path.carries_bps <= AMPLE * CEILING_KBPS * 1000


def test_what_cannot_be_is_ignored() -> None:
    road = Road(3e6)
    road.frames(1)
    before = road.path.carries_bps
    newest = road.number - 1
    nonsense = [
        Train(newest, 0, newest - 1, 0, 0, 5, 0),
        Train(newest + 1, 0, newest + 9, 1, 0, 9, newest),
        Train(0, 0, 1 << 31, 0, 0, 3, 1 << 31),
        Train(newest - 1, 5, newest, 5, 0, 60_000, newest + 5),
        Train(newest, 0, newest, 0, 0, 0, newest - 40),
    ]
    for train in nonsense:
        road.path.handle_train(road.now_us, train)
    assert road.path.carries_bps == before
    assert PathRate(CEILING_KBPS).target_bps(0) == CEILING_KBPS * 1000
    PathRate(CEILING_KBPS).handle_train(0, nonsense[0])
    PathRate(CEILING_KBPS).handle_totals(0, 0, 0)


@pytest.mark.parametrize("later_us", [60 * MS, 300 * MS, SECOND])
def test_a_longer_way_is_not_taken_for_a_queue_for_long(later_us: int) -> None:
    road = Road(100e6)
    road.frames(2, want_bps=3e6)
    road.delay_us += later_us
    road.frames(3, want_bps=3e6)
    assert road.path.target_bps(road.now_us) > 1e6
    road.frames(20, want_bps=3e6)
    assert road.path.target_bps(road.now_us) > 3e6


def test_a_clock_that_stood_still_and_an_hour_without_pictures_change_nothing() -> None:
    road = Road(3e6)
    road.frames(2)
    for pause_us in (3600 * SECOND, 100_000 * SECOND):
        road.now_us += pause_us
        road.watch = TrainWatch()  # as the clock of the other end says something else, so may its packets
        road.frames(3)
        assert sum(road.frames(2)) * PACKET_BYTES * 8 / 2 > 0.7 * 3e6


def test_a_train_that_took_an_hour_holds_nothing_up() -> None:
    road = Road(3e6)
    road.frames(2)
    newest = road.number - 1
    road.path.handle_train(road.now_us, Train(newest - 5, 0, newest, 3600 * SECOND, 10, 6, newest))
    assert road.path.target_bps(road.now_us) > 1e6


def test_what_a_queue_dropped_is_not_waited_for_once_a_later_packet_shows_it() -> None:
    path = PathRate(CEILING_KBPS)
    path.handle_sent(0, 0, [1] * 70, 70 * PACKET_BYTES)  # as a picture that is far too large
    path.carries_bps = 500_000.0
    path.handle_train(300 * MS, Train(0, 0, 9, 9 * 19_200, 19_200, 10, 9))
    assert path.queue_us(300 * MS) > SECOND
    path.handle_totals(400 * MS, 11, 60)  # the packet that came last is no picture's
    assert path.queue_us(400 * MS) == 0

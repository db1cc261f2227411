"""The search for the largest datagram, against paths that carry so much and no more."""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from udpconf.limits import DATAGRAM_DEFAULT_BYTES, DATAGRAM_MAX_BYTES, MS, SECOND
from udpconf.proto.path_mtu import (
    CONFIRM_INTERVAL_US,
    CONFIRM_RETRY_US,
    PROBE_SIZES,
    PROBES_MAX,
    SEARCH_RETRY_US,
    PathMtu,
)

RTT_US = 40 * MS
TIMEOUT_US = 100 * MS
START_US = 5 * SECOND


@dataclass
class Path:
    """Carries up to ``carries_bytes``; answers a round trip later."""

    carries_bytes: int
    loss: float = 0.0
    now_us: int = START_US
    probes: list[tuple[int, int]] = field(default_factory=list)  # when, how large

    def __post_init__(self) -> None:
        self.mtu = PathMtu(self.now_us)
        self.rng = random.Random(7)
        self.pongs: list[tuple[int, int]] = []

    def run(self, duration_us: int) -> None:
        until_us = self.now_us + duration_us
        while (next_us := min([self.mtu.poll_timeout(), *(at for at, _ in self.pongs)])) <= until_us:
            self.now_us = next_us
            while self.pongs and self.pongs[0][0] <= self.now_us:
                self.mtu.handle_pong(self.pongs.pop(0)[1], self.now_us)
            size = self.mtu.poll_probe(self.now_us, TIMEOUT_US)
            if size is not None:
                self.probes.append((self.now_us, size))
                self.mtu.handle_sent(self.now_us)
                if size <= self.carries_bytes and self.rng.random() >= self.loss:
                    self.pongs.append((self.now_us + RTT_US, self.now_us))
        self.now_us = until_us


@pytest.mark.parametrize(
    ("carries_bytes", "found_bytes"),
    [
        (1200, 1200),
        (1231, 1200),
        (1232, 1232),
        (1351, 1232),
        (1352, 1352),
        (1451, 1352),
        (1452, 1452),
        (9000, 1452),
    ],
)
def test_the_largest_size_that_passes_is_found_within_a_second_and_kept(
    carries_bytes: int, found_bytes: int
) -> None:
    path = Path(carries_bytes)
    path.run(1 * SECOND)
    assert path.mtu.datagram_bytes == found_bytes


def test_on_a_good_path_the_search_takes_one_round_trip_for_each_size() -> None:
    path = Path(DATAGRAM_MAX_BYTES)
    path.run(len(PROBE_SIZES) * RTT_US)
    assert path.mtu.datagram_bytes == DATAGRAM_MAX_BYTES
    assert [size for _, size in path.probes] == list(PROBE_SIZES)


def test_no_larger_size_is_used_before_its_pong_has_come() -> None:
    path = Path(DATAGRAM_MAX_BYTES)
    path.run(RTT_US - 1)
    assert path.mtu.datagram_bytes == DATAGRAM_DEFAULT_BYTES
    path.run(1)
    assert path.mtu.datagram_bytes == PROBE_SIZES[0]


def test_the_size_in_use_is_asked_for_again_every_few_seconds() -> None:
    path = Path(DATAGRAM_MAX_BYTES)
    path.run(1 * SECOND)
    del path.probes[:]
    path.run(10 * CONFIRM_INTERVAL_US)
    assert {size for _, size in path.probes} == {DATAGRAM_MAX_BYTES}
    assert len(path.probes) in (9, 10)


def test_a_route_that_changes_to_a_smaller_one_swallows_datagrams_for_some_seconds_at_most() -> None:
    path = Path(DATAGRAM_MAX_BYTES)
    path.run(1 * SECOND)
    path.carries_bytes = 1300
    path.run(CONFIRM_INTERVAL_US + PROBES_MAX * CONFIRM_RETRY_US)
    assert path.mtu.datagram_bytes == DATAGRAM_DEFAULT_BYTES


def test_after_a_black_hole_the_search_begins_anew_and_finds_what_the_new_route_carries() -> None:
    path = Path(DATAGRAM_MAX_BYTES)
    path.run(1 * SECOND)
    path.carries_bytes = 1300
    path.run(CONFIRM_INTERVAL_US + PROBES_MAX * CONFIRM_RETRY_US + 3 * SECOND)
    assert path.mtu.datagram_bytes == 1232


def test_a_path_that_carries_no_more_is_asked_soon_again_then_once_a_minute() -> None:
    path = Path(DATAGRAM_DEFAULT_BYTES)
    path.run(600 * SECOND)
    first_us = [at - START_US for at, _ in path.probes[::PROBES_MAX]]
    asking_us = PROBES_MAX * SEARCH_RETRY_US
    gaps_s = [(after - before - asking_us) // SECOND for before, after in pairwise(first_us)]
    assert gaps_s[:6] == [2, 4, 8, 16, 32, 60]
    assert set(gaps_s[6:]) == {60}


def test_no_second_of_a_failing_search_has_more_than_one_probe() -> None:
    path = Path(DATAGRAM_DEFAULT_BYTES)
    path.run(60 * SECOND)
    assert all(after - before >= SECOND for (before, _), (after, _) in pairwise(path.probes))


@pytest.mark.parametrize("outage_s", [1, 3, 10])
def test_after_an_outage_the_size_is_back_within_ten_seconds(outage_s: int) -> None:
    path = Path(DATAGRAM_MAX_BYTES)
    path.run(1 * SECOND)
    path.carries_bytes = 0
    path.run(outage_s * SECOND)
    path.carries_bytes = DATAGRAM_MAX_BYTES
    path.run(10 * SECOND)
    assert path.mtu.datagram_bytes == DATAGRAM_MAX_BYTES


def test_a_pong_that_comes_after_the_next_probe_is_proof_enough() -> None:
    mtu = PathMtu(START_US)
    for attempt in range(2):
        now_us = mtu.poll_timeout()
        assert mtu.poll_probe(now_us, TIMEOUT_US) == PROBE_SIZES[0], attempt
        mtu.handle_sent(now_us)
    mtu.handle_pong(START_US, now_us + 10)
    assert mtu.datagram_bytes == PROBE_SIZES[0]


def test_a_tenth_of_loss_seldom_costs_the_size() -> None:
    path = Path(DATAGRAM_MAX_BYTES, loss=0.1)
    large_us = 0
    for _ in range(600):
        path.run(SECOND)
        large_us += SECOND * (path.mtu.datagram_bytes == DATAGRAM_MAX_BYTES)
    assert large_us >= 0.95 * 600 * SECOND


def test_a_pong_to_another_ping_proves_nothing() -> None:
    mtu = PathMtu(START_US)
    assert mtu.poll_probe(START_US, TIMEOUT_US) == PROBE_SIZES[0]
    mtu.handle_sent(START_US)
    mtu.handle_pong(START_US - 1, START_US + RTT_US)
    assert mtu.datagram_bytes == DATAGRAM_DEFAULT_BYTES
    mtu.handle_pong(START_US, START_US + RTT_US)
    mtu.handle_pong(START_US, START_US + RTT_US)  # a duplicate
    assert mtu.datagram_bytes == PROBE_SIZES[0]

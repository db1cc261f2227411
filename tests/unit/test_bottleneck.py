"""Rates: constant with a token bucket, and recorded in mahimahi's format."""

import pytest

from udpconf.emulation.link import Link, LinkConditions
from udpconf.emulation.rate_trace import OPPORTUNITY_BYTES, RateTrace, parse_rate_trace, synthetic_cellular
from udpconf.limits import MS, SECOND

START_US = 5_000_000


def due_ms(link: Link[int], at_ms: float, size_bytes: int) -> float | None:
    due_us = link.send(START_US + int(at_ms * MS), 0, size_bytes).due_us
    return None if due_us is None else (due_us - START_US) / MS


def test_after_a_pause_a_token_bucket_lets_its_burst_pass_at_once_and_then_its_rate() -> None:
    link: Link[int] = Link(LinkConditions(rate_bps=8_000_000, burst_bytes=3000), 1)
    assert [due_ms(link, 0, 1000) for _ in range(6)] == [0, 0, 0, 1, 2, 3]
    assert due_ms(link, 4, 1000) == 4  # one millisecond earned, one packet
    assert [due_ms(link, 100, 1000) for _ in range(4)] == [100, 100, 100, 101]


def test_a_trace_gives_one_packet_a_line_and_begins_anew_after_the_last() -> None:
    link: Link[int] = Link(LinkConditions(rate_trace=parse_rate_trace("2\n2\n5\n10\n"), queue_us=SECOND), 1)
    assert [due_ms(link, 0, OPPORTUNITY_BYTES) for _ in range(7)] == [2, 2, 5, 10, 12, 12, 15]


def test_small_packets_share_an_opportunity_and_large_ones_take_several() -> None:
    link: Link[int] = Link(LinkConditions(rate_trace=RateTrace((1, 2, 3), 3)), 1)
    assert [due_ms(link, 0, 752) for _ in range(3)] == [1, 1, 2]
    assert due_ms(link, 0, 752 + OPPORTUNITY_BYTES) == 3


def test_an_opportunity_that_finds_nothing_waiting_is_lost() -> None:
    link: Link[int] = Link(LinkConditions(rate_trace=RateTrace((1, 2, 7), 10)), 1)
    assert due_ms(link, 0, 100) == 1
    assert due_ms(link, 1.5, 100) == 2
    assert due_ms(link, 2.001, 100) == 7
    assert due_ms(link, 7.5, 100) == 11
    assert due_ms(link, 1000, 100) == 1001


def test_a_queue_before_a_traced_rate_drops_what_would_wait_too_long() -> None:
    link: Link[int] = Link(LinkConditions(rate_trace=RateTrace((10,), 10), queue_us=25 * MS), 1)
    assert [due_ms(link, 0, OPPORTUNITY_BYTES) for _ in range(5)] == [10, 20, 30, None, None]


def test_what_a_token_bucket_has_saved_up_survives_a_change_of_the_rate() -> None:
    bucket = LinkConditions(rate_bps=8_000_000, burst_bytes=3000)
    link: Link[int] = Link(bucket, 1)
    assert [due_ms(link, 0, 1000) for _ in range(3)] == [0, 0, 0]
    link.set_conditions(START_US + 2 * MS, bucket._replace(rate_bps=800_000))  # 2000 bytes are in it
    assert [due_ms(link, 2, 1000) for _ in range(4)] == [2, 2, 12, 22]
    link.set_conditions(START_US + 12 * MS, bucket)  # one packet waits, so nothing is
    assert [due_ms(link, 12, 1000) for _ in range(2)] == [14, 15]


def test_a_link_without_a_bucket_has_saved_nothing_for_one() -> None:
    link: Link[int] = Link(LinkConditions(rate_bps=8_000_000), 1)
    assert due_ms(link, 0, 1000) == 1
    link.set_conditions(START_US + 100 * MS, LinkConditions(rate_bps=8_000_000, burst_bytes=30_000))
    assert [due_ms(link, 100, 1000) for _ in range(2)] == [101, 102]


def test_a_long_fade_of_a_recorded_link_fills_its_queue_up_to_three_tenths_of_a_second_of_its_mean_rate() -> (
    None
):
    fading = RateTrace(
        (*range(1, 1001), 3000), 3000
    )  # 2 s of silence; 4 Mbit/s on average: 150 kB, 100 packets
    link: Link[int] = Link(LinkConditions(rate_trace=fading), 1)
    link.start(START_US)
    due = [due_ms(link, 1100, OPPORTUNITY_BYTES) for _ in range(120)]
    assert sum(at is not None for at in due) == 100
    assert due[0] == 3000
    assert due[1] == 3001


def test_a_recorded_rate_begins_with_the_schedule_and_not_with_its_first_packet() -> None:
    link: Link[int] = Link(LinkConditions(rate_trace=RateTrace((5, 10), 10)), 1)
    link.start(START_US)
    assert due_ms(link, 3, OPPORTUNITY_BYTES) == 5


@pytest.mark.parametrize("mean_bps", [500_000, 6_000_000])
def test_a_synthetic_trace_has_the_asked_mean_fades_and_comes_from_its_seed(mean_bps: int) -> None:
    trace = synthetic_cellular(7, 60, mean_bps)
    assert trace.mean_bps == pytest.approx(mean_bps, rel=0.01)
    assert list(trace.opportunities_ms) == sorted(trace.opportunities_ms)
    assert trace.opportunities_ms[-1] <= trace.period_ms
    gaps = [b - a for a, b in zip(trace.opportunities_ms, trace.opportunities_ms[1:], strict=False)]
    assert max(gaps) > 100
    assert trace == synthetic_cellular(7, 60, mean_bps)
    assert trace != synthetic_cellular(8, 60, mean_bps)

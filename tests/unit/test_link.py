"""The link emulator does what its conditions say, and the same for the same seed."""

import math

import pytest

from udpconf.emulation.link import (
    DEFAULT_QUEUE_US,
    Fate,
    Link,
    LinkConditions,
    LinkCounters,
)
from udpconf.emulation.loss import Bernoulli, GilbertElliott, TraceLoss, loss_model

MS = 1000
SECOND = 1_000_000


def drain(link: Link[int]) -> list[tuple[int, int]]:
    """(time, packet) of everything that is still on its way, delivered at its own time."""
    out = []
    while (due_us := link.poll_timeout()) is not None:
        while (packet := link.poll_delivery(due_us)) is not None:
            out.append((due_us, packet))
    return out


def run(
    conditions: LinkConditions,
    packets: int,
    interval_us: int = 1000,
    size_bytes: int = 1200,
    seed: int | str = 1,
) -> tuple[Link[int], list[tuple[int, int]]]:
    """Send packets 0, 1, … at a steady pace; (time, packet) of all deliveries."""
    link: Link[int] = Link(conditions, seed)
    out: list[tuple[int, int]] = []
    for number in range(packets):
        now_us = number * interval_us
        while (due_us := link.poll_timeout()) is not None and due_us <= now_us:
            while (packet := link.poll_delivery(due_us)) is not None:
                out.append((due_us, packet))
        link.send(now_us, number, size_bytes)
    return link, out + drain(link)


def conserved(counters: LinkCounters) -> bool:
    gone = counters.delivered + counters.lost + counters.dropped_by_queue + counters.in_flight
    return counters.sent + counters.duplicated == gone


def test_a_perfect_wire_delivers_at_once_and_in_order() -> None:
    link, out = run(LinkConditions(), 100)
    assert out == [(number * 1000, number) for number in range(100)]
    assert link.counters == LinkCounters(100, 100, 0, 0, 0, 0, 0, 120_000, 120_000, 0)


def test_a_packet_comes_out_at_its_time_and_not_before() -> None:
    link: Link[str] = Link(LinkConditions(delay_us=25 * MS), 1)
    assert link.send(5, "a", 100).due_us == 25 * MS + 5
    assert link.poll_timeout() == 25 * MS + 5
    assert link.poll_delivery(25 * MS + 4) is None
    assert link.poll_delivery(25 * MS + 5) == "a"
    assert link.poll_delivery(SECOND) is None
    assert link.poll_timeout() is None


def test_packets_due_at_the_same_instant_leave_in_the_order_they_came() -> None:
    link: Link[int] = Link(LinkConditions(delay_us=10, keep_order=False), 1)
    for number in range(1000):
        link.send(0, number, 1200)
    assert drain(link) == [(10, number) for number in range(1000)]


def test_packets_are_never_compared_with_each_other() -> None:
    link: Link[object] = Link(LinkConditions(duplicate=1.0), 1)
    for _ in range(10):
        link.send(0, object(), 1)
    assert len([link.poll_delivery(0) for _ in range(20)]) == 20


def test_jitter_is_uniform_and_its_mean_within_three_standard_errors() -> None:
    packets, jitter_us = 100_000, 20 * MS
    _, out = run(
        LinkConditions(delay_us=5 * MS, jitter_us=jitter_us, keep_order=False), packets, seed="jitter"
    )
    delays = sorted(due_us - packet * 1000 for due_us, packet in out)
    assert delays[0] >= 5 * MS
    assert delays[-1] <= 25 * MS
    mean = sum(delays) / packets
    assert abs(mean - 15 * MS) < 3 * jitter_us / math.sqrt(12 * packets), "seed 'jitter'"
    for quantile in (0.01, 0.25, 0.5, 0.75, 0.99):
        error = jitter_us * math.sqrt(quantile * (1 - quantile) / packets)
        assert abs(delays[int(quantile * packets)] - 5 * MS - quantile * jitter_us) < 3 * error + 1, quantile


def test_jitter_keeps_the_order_by_waiting_for_the_predecessor() -> None:
    link, out = run(LinkConditions(jitter_us=50 * MS), 5000)
    assert [packet for _, packet in out] == list(range(5000))
    assert all(0 <= due_us - packet * 1000 <= 50 * MS for due_us, packet in out)
    assert link.counters.reordered == 0


def test_jitter_that_need_not_keep_the_order_reorders() -> None:
    link, out = run(LinkConditions(jitter_us=50 * MS, keep_order=False), 5000)
    assert sorted(packet for _, packet in out) == list(range(5000))
    assert link.counters.reordered > 1000


def test_the_link_loses_its_share_within_three_standard_errors() -> None:
    packets, share = 100_000, 0.03
    link, _ = run(LinkConditions(loss=Bernoulli(share)), packets, seed="share")
    error = math.sqrt(share * (1 - share) / packets)
    assert abs(link.counters.lost / packets - share) < 3 * error, "seed 'share'"


def test_a_lost_packet_takes_no_capacity() -> None:
    _, all_of_it = run(LinkConditions(rate_bps=8_000_000), 100, interval_us=100, size_bytes=1000)
    _, half = run(
        LinkConditions(rate_bps=8_000_000, loss=Bernoulli(0.5)), 100, interval_us=100, size_bytes=1000
    )
    assert all_of_it[-1][0] == 100 * MS
    assert half[-1][0] == len(half) * MS


@pytest.mark.parametrize("rate_bps", [100_000, 6_000_000, 1_000_000_000])
@pytest.mark.parametrize("size_bytes", [41, 1200])
def test_the_rate_is_exact_even_where_a_packet_takes_less_than_a_microsecond(
    rate_bps: int, size_bytes: int
) -> None:
    conditions = LinkConditions(rate_bps=rate_bps, queue_us=10_000 * SECOND)
    _, out = run(conditions, 1001, interval_us=0, size_bytes=size_bytes)
    expected_us = 1001 * size_bytes * 8 * SECOND / rate_bps
    assert abs(out[-1][0] - expected_us) <= 2


def test_the_queue_is_limited_in_bytes() -> None:
    link: Link[int] = Link(LinkConditions(rate_bps=8_000_000, queue_bytes=10_000), 1)
    fates = [link.send(0, number, 1000).fate for number in range(12)]
    assert fates == [Fate.PASSED] * 10 + [Fate.DROPPED_BY_QUEUE] * 2
    assert link.send(999, 12, 1000).fate == Fate.DROPPED_BY_QUEUE  # the first is still on the wire
    assert link.send(1000, 13, 1000).fate == Fate.PASSED  # it has left
    assert link.send(1000, 14, 1).fate == Fate.DROPPED_BY_QUEUE


def test_the_queue_is_limited_in_time() -> None:
    link: Link[int] = Link(LinkConditions(rate_bps=8_000_000, queue_us=3 * MS), 1)
    fates = [link.send(0, number, 1000).fate for number in range(6)]
    assert fates == [Fate.PASSED] * 4 + [Fate.DROPPED_BY_QUEUE] * 2  # waits of 0, 1, 2, 3 ms
    assert link.queue_us(0) == 4 * MS
    assert link.queue_us(1500) == 2500
    assert link.queue_us(SECOND) == 0


def test_a_rate_always_has_a_bounded_queue() -> None:
    link: Link[int] = Link(LinkConditions(rate_bps=8_000_000), 1)
    for number in range(10_000):
        link.send(0, number, 1000)
    assert link.counters.in_flight == DEFAULT_QUEUE_US // 1000 + 1


@pytest.mark.parametrize(
    "conditions",
    [LinkConditions(rate_bps=8_000_000, queue_bytes=0), LinkConditions(rate_bps=8_000_000, queue_us=0)],
)
def test_a_link_without_a_queue_still_takes_a_packet_when_it_is_idle(conditions: LinkConditions) -> None:
    link: Link[int] = Link(conditions, 1)
    assert link.send(0, 0, 1000).fate == Fate.PASSED
    assert link.send(999, 1, 1000).fate == Fate.DROPPED_BY_QUEUE
    assert link.send(1000, 2, 1000).fate == Fate.PASSED


def test_packets_held_back_are_overtaken() -> None:
    conditions = LinkConditions(delay_us=5 * MS, reorder=0.1, reorder_us=2500)
    link, out = run(conditions, 20_000, seed="reorder")
    late = [packet for due_us, packet in out if due_us - packet * 1000 == 7500]
    assert len(late) + len([1 for due_us, packet in out if due_us - packet * 1000 == 5000]) == 20_000
    assert abs(len(late) / 20_000 - 0.1) < 3 * math.sqrt(0.1 * 0.9 / 20_000), "seed 'reorder'"
    assert 0 < link.counters.reordered <= len(late)  # where all successors were late as well nobody overtook


def test_a_duplicate_follows_its_original_and_counts_as_delivered() -> None:
    link, out = run(LinkConditions(delay_us=MS, jitter_us=5 * MS, duplicate=0.2), 10_000, seed="twice")
    assert abs(link.counters.duplicated / 10_000 - 0.2) < 3 * math.sqrt(0.2 * 0.8 / 10_000), "seed 'twice'"
    assert len(out) == link.counters.delivered == 10_000 + link.counters.duplicated
    first_seen = list(dict.fromkeys(packet for _, packet in out))
    assert first_seen == list(range(10_000))
    assert link.counters.reordered == 0


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    conditions = LinkConditions(
        delay_us=10 * MS,
        jitter_us=8 * MS,
        loss=loss_model(0.05, 3),
        rate_bps=8_000_000,
        reorder=0.02,
        reorder_us=5 * MS,
        duplicate=0.01,
    )
    assert run(conditions, 3000)[1] == run(conditions, 3000)[1]
    assert run(conditions, 3000, seed=1)[1] != run(conditions, 3000, seed=2)[1]


def test_the_fate_of_the_nth_packet_depends_on_neither_time_nor_size_nor_the_other_conditions() -> None:
    loss = GilbertElliott.from_share_and_burst(0.1, 4)

    def lost(conditions: LinkConditions, interval_us: int, size_bytes: int) -> set[int]:
        link: Link[int] = Link(conditions, 7)
        return {n for n in range(5000) if link.send(n * interval_us, n, size_bytes).fate == Fate.LOST}

    reference = lost(LinkConditions(loss=loss), 1000, 1200)
    everything = LinkConditions(
        delay_us=5, jitter_us=9, loss=loss, rate_bps=50_000, reorder=0.5, reorder_us=5, duplicate=0.5
    )
    assert 0 < len(reference) < 1000
    assert lost(LinkConditions(loss=loss), 17, 40) == reference
    assert lost(everything, 333, 1200) == reference


def test_loss_can_be_switched_on_and_off_while_it_runs() -> None:
    link: Link[int] = Link(LinkConditions(), 1)
    assert link.send(0, 0, 1).fate == Fate.PASSED
    link.set_conditions(1, LinkConditions(loss=Bernoulli(1)))
    assert link.send(1, 1, 1).fate == Fate.LOST
    link.set_conditions(2, LinkConditions())
    assert link.send(2, 2, 1).fate == Fate.PASSED


def test_a_shorter_delay_does_not_make_packets_overtake() -> None:
    link: Link[int] = Link(LinkConditions(delay_us=100 * MS), 1)
    link.send(0, 0, 1)
    link.set_conditions(1, LinkConditions(delay_us=MS))
    link.send(1, 1, 1)
    assert drain(link) == [(100 * MS, 0), (100 * MS, 1)]


def test_a_packet_held_back_is_not_overtaken_by_those_it_waited_for() -> None:
    """It is held back from the moment at which it would have kept its order: behind what was sent before it."""
    link: Link[int] = Link(LinkConditions(delay_us=100 * MS), 1)
    link.send(0, 0, 1)
    link.set_conditions(1, LinkConditions(delay_us=MS, reorder=1.0, reorder_us=5 * MS))
    link.send(1, 1, 1)
    link.set_conditions(2, LinkConditions(delay_us=MS))
    link.send(2, 2, 1)
    assert drain(link) == [(100 * MS, 0), (100 * MS, 2), (105 * MS, 1)]


def test_a_packet_held_back_keeps_its_distance_when_the_rate_changes() -> None:
    slow = LinkConditions(rate_bps=800_000, queue_us=SECOND, reorder=1.0, reorder_us=5 * MS)
    link: Link[int] = Link(slow, 1)
    link.send(0, 0, 1000)  # 10 ms to send
    link.set_conditions(0, slow._replace(reorder=0.0))
    link.send(0, 1, 1000)
    link.set_conditions(0, slow._replace(reorder=0.0, rate_bps=8_000_000))
    assert drain(link) == [(2 * MS, 1), (6 * MS, 0)]


def test_a_delivery_says_which_packet_it_is_and_when_the_link_let_it_out() -> None:
    slow = LinkConditions(rate_bps=800_000, queue_us=SECOND, duplicate=1.0)
    link: Link[str] = Link(slow, 1)
    assert link.send(0, "a", 1000).due_us == 10 * MS
    second = link.send(0, "b", 1000)
    assert (second.due_us, second.duplicated) == (20 * MS, True)
    link.set_conditions(10 * MS, slow._replace(rate_bps=8_000_000))
    out = [link.poll_numbered(SECOND) for _ in range(5)]
    assert out == [
        (0, False, 10 * MS, "a"),
        (0, True, 10 * MS, "a"),
        (1, False, 11 * MS, "b"),
        (1, True, 11 * MS, "b"),
        None,
    ]


def test_a_packet_may_be_both_corrupted_and_duplicated() -> None:
    link: Link[int] = Link(LinkConditions(corrupt=1.0, duplicate=1.0), 1)
    verdict = link.send(0, 0, 1)
    assert verdict.corrupted
    assert verdict.duplicated


def test_a_loss_trace_goes_on_by_the_packets_number_after_an_outage() -> None:
    traced = LinkConditions(loss=TraceLoss((False, True, False, False)))
    link: Link[int] = Link(traced, 1)
    fates = [link.send(n, n, 1).fate for n in range(2)]
    link.set_conditions(2, LinkConditions(loss=Bernoulli(1)))
    fates += [link.send(n, n, 1).fate for n in range(2, 5)]
    link.set_conditions(5, traced)
    fates += [link.send(n, n, 1).fate for n in range(5, 8)]
    assert [fate is Fate.LOST for fate in fates] == [False, True, True, True, True, True, False, False]


def test_what_waits_in_the_queue_leaves_at_the_new_rate() -> None:
    link: Link[int] = Link(LinkConditions(delay_us=MS, rate_bps=8_000_000, queue_us=SECOND), 1)
    for number in range(4):
        link.send(0, number, 1000)  # 1 ms each
    assert link.poll_delivery(2000) == 0
    link.set_conditions(2500, LinkConditions(delay_us=MS, rate_bps=2_000_000, queue_us=SECOND))
    assert link.queue_us(2500) == 6000
    link.send(2500, 4, 1000)
    # Packet 1 had left the queue. Packet 2 has half of its bytes to go, at a quarter of the rate.
    assert drain(link) == [(3000, 1), (5500, 2), (9500, 3), (13_500, 4)]


def test_a_link_that_becomes_wide_sends_its_queue_at_once() -> None:
    link: Link[int] = Link(LinkConditions(rate_bps=8_000, duplicate=1), 1)
    link.send(0, 0, 1000)
    link.set_conditions(500, LinkConditions())
    link.send(500, 1, 1000)
    assert drain(link) == [(500, 0), (500, 0), (500, 1)]
    assert link.queue_us(500) == 0


@pytest.mark.parametrize(
    ("conditions", "word"),
    [
        (LinkConditions(delay_us=-1), "delay_us"),
        (LinkConditions(queue_us=-1), "queue_us"),
        (LinkConditions(rate_bps=0), "rate_bps"),
        (LinkConditions(reorder=1.5), "reorder"),
        (LinkConditions(duplicate=-0.5), "duplicate"),
        (LinkConditions(loss=Bernoulli(2)), "loss"),
    ],
)
def test_impossible_conditions_are_refused_and_change_nothing(conditions: LinkConditions, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Link(conditions, 1)
    link: Link[int] = Link(LinkConditions(), 1)
    with pytest.raises(ValueError, match=word):
        link.set_conditions(0, conditions)
    assert link.conditions == LinkConditions()


def test_every_packet_is_counted_once() -> None:
    link, _ = run(
        LinkConditions(
            jitter_us=30 * MS, loss=loss_model(0.1, 2), rate_bps=5_000_000, duplicate=0.1, keep_order=False
        ),
        5000,
    )
    counters = link.counters
    assert conserved(counters)
    assert counters.in_flight == 0
    assert min(counters.lost, counters.dropped_by_queue, counters.duplicated, counters.reordered) > 0


def test_jitter_that_never_changes_is_refused() -> None:
    with pytest.raises(ValueError, match="same delay"):
        Link(LinkConditions(jitter_us=5, jitter_correlation=1.0), 1)

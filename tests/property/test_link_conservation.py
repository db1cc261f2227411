"""Whatever is done to a link, each packet is counted once and none comes out before its time or out of turn."""

from hypothesis import given, settings
from hypothesis import strategies as st

from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import Fate, Link, LinkConditions
from udpconf.emulation.loss import TraceLoss, loss_model
from udpconf.emulation.rate_trace import RateTrace

shares = st.sampled_from([0.0, 0.02, 0.3, 1.0])
traces = st.lists(st.integers(0, 40), min_size=1, max_size=20).map(
    lambda times: RateTrace(tuple(sorted(times)), max(times) + 1)
)
bottlenecks = st.tuples(st.none() | st.integers(8_000, 100_000_000), st.none()) | st.tuples(st.none(), traces)
conditions = st.builds(
    lambda bottleneck, **others: LinkConditions(rate_bps=bottleneck[0], rate_trace=bottleneck[1], **others),
    bottleneck=bottlenecks,
    delay_us=st.integers(0, 50_000),
    jitter_us=st.integers(0, 30_000),
    jitter_shape=st.sampled_from(JitterShape),
    jitter_correlation=st.floats(0, 1, exclude_max=True),
    keep_order=st.booleans(),
    loss=st.builds(loss_model, shares) | st.just(TraceLoss((True, False, False))),
    burst_bytes=st.sampled_from([0, 3000]),
    queue_bytes=st.none() | st.integers(0, 20_000),
    queue_us=st.none() | st.integers(0, 100_000),
    reorder=shares,
    reorder_us=st.integers(0, 20_000),
    duplicate=shares,
    corrupt=shares,
)
steps = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(1, 1500), st.none() | conditions), min_size=1, max_size=60
)


@settings(max_examples=150, deadline=None)
@given(first=conditions, steps=steps, seed=st.integers(0, 1000))
def test_packets_are_conserved_at_every_instant(
    first: LinkConditions, steps: list[tuple[int, int, LinkConditions | None]], seed: int
) -> None:
    link: Link[int] = Link(first, seed)
    now_us = 0
    copies: dict[int, int] = {}
    out: list[int] = []

    def check() -> None:
        c = link.counters
        assert c.sent + c.duplicated == c.delivered + c.lost + c.dropped_by_queue + c.in_flight
        assert c.delivered == len(out)

    for wait_us, size_bytes, change in steps:
        now_us += wait_us
        while (due_us := link.poll_timeout()) is not None and due_us <= now_us:
            packet = link.poll_delivery(now_us)
            assert packet is not None
            out.append(packet)
            check()
        if change is not None:
            link.set_conditions(now_us, change)
        before = link.counters.in_flight
        verdict = link.send(now_us, len(copies), size_bytes)
        assert verdict.number == len(copies)
        assert (verdict.due_us is not None) == (verdict.fate not in {Fate.LOST, Fate.DROPPED_BY_QUEUE})
        assert verdict.due_us is None or verdict.due_us >= now_us
        copies[verdict.number] = link.counters.in_flight - before
        check()
    last_us = now_us
    while (due_us := link.poll_timeout()) is not None:
        assert due_us >= last_us
        last_us = due_us
        packet = link.poll_delivery(due_us)
        assert packet is not None
        out.append(packet)
        check()
    assert link.counters.in_flight == 0
    assert {number: out.count(number) for number in copies} == copies


@settings(max_examples=100, deadline=None)
@given(
    first=conditions.map(lambda c: c._replace(keep_order=True, reorder=0.0)),
    steps=st.lists(
        st.tuples(
            st.integers(0, 5_000),
            st.integers(1, 1500),
            st.none() | conditions.map(lambda c: c._replace(keep_order=True, reorder=0.0)),
        ),
        min_size=1,
        max_size=60,
    ),
    seed=st.integers(0, 1000),
)
def test_a_link_that_keeps_the_order_keeps_it_through_every_change(
    first: LinkConditions, steps: list[tuple[int, int, LinkConditions | None]], seed: int
) -> None:
    link: Link[int] = Link(first, seed)
    now_us = 0
    out: list[int] = []
    for number, (wait_us, size_bytes, change) in enumerate(steps):
        now_us += wait_us
        while (packet := link.poll_delivery(now_us)) is not None:
            out.append(packet)
        if change is not None:
            link.set_conditions(now_us, change)
        link.send(now_us, number, size_bytes)
    while (packet := link.poll_delivery(1 << 60)) is not None:
        out.append(packet)
    first_copies = list(dict.fromkeys(out))
    assert first_copies == sorted(first_copies), f"seed {seed}"
    assert link.counters.reordered == 0

"""What the link emulator does to packets, measured in virtual time and compared with what its conditions ask for.

Two passes over a scenario, each step and direction for itself. Sparse: single bytes, too far apart to meet each other,
show loss, bursts, delay, duplicates, what is held back and corrupted. Flood: twice the link's rate shows the rate and the
queue; without jitter, which would only blur the edges. A value within three standard errors is right. One of hundreds is
outside by chance, so what is outside is measured once more with other luck, and wrong if it is outside again.
"""

from bisect import bisect_right
from collections.abc import Iterator
from math import inf, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np

from tools.link_expectations import (
    SECOND,
    STANDARD_ERRORS,
    asked_bytes,
    chance_of_another,
    correlated_variance,
    delay_quantile_us,
    delay_share,
    loss_error,
    loss_share,
    peak_bps,
    until_opportunity_us,
)
from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import DEFAULT_QUEUE_US, LinkConditions
from udpconf.emulation.loss import TraceLoss
from udpconf.emulation.scenario import Scenario
from udpconf.emulation.scenario_link import ScenarioLink

Way = Literal["up", "down"]
WAYS: tuple[Way, Way] = ("up", "down")
# No whole number of these is a millisecond or a second, so the packets meet all phases of traces and schedules.
SPARSE_SPACING_US = 9_973
FLOOD_BYTES = 1500
FLOOD_FACTOR = 2
# A schedule that ends is played anew, with so much of its last step. Chosen.
LAST_STEP_US = 10 * SECOND
# Steps that are shorter, or lose everything, have no rate to speak of.
FLOOD_STEP_MIN_US = SECOND


class Row(NamedTuple):
    """One figure of one step and direction."""

    step: int
    way: Way
    what: str
    asked: float
    measured: float
    z: float  # by how many standard errors it is off; exact figures: 0, or infinite

    @property
    def right(self) -> bool:
        return abs(self.z) <= STANDARD_ERRORS


class Sample:
    """What happened to the packets of one step and direction, sparsely sent."""

    def __init__(self) -> None:
        self.sent = 0
        self.lost = 0
        self.lost_again = 0  # right after a lost one
        self.after_lost = 0  # packets after a lost one
        self.duplicated = 0
        self.corrupted = 0
        self.runs = 0
        self.delays_us: list[int] = []
        self.sent_at_us: list[int] = []  # of those, while there is a rate trace


def check(scenario: Scenario, packets: int, seed: int | str) -> list[Row]:
    """All figures of a scenario; those that were off by more than chance as they were the second time."""

    def measure(seed: int | str) -> list[Row]:
        rows = list(judge(scenario, sample(scenario, packets, seed)))
        return [*rows, *flood(scenario, packets // 20, seed)]

    rows = measure(seed)
    if all(row.right for row in rows):
        return rows
    again = {row[:3]: row for row in measure(f"{seed}/again")}
    return [row if row.right else again.get(row[:3], row) for row in rows]


# --- sparse: loss, delay and the rest ---


def _step_at(scenario: Scenario, elapsed_us: int) -> int:
    if scenario.repeat_us is not None:
        elapsed_us %= scenario.repeat_us
    return bisect_right([step.at_us for step in scenario.steps], elapsed_us) - 1


def _round_us(scenario: Scenario) -> int | None:
    """How long one link is used; None: for all packets."""
    if scenario.repeat_us is not None or len(scenario.steps) == 1:
        return None
    return scenario.steps[-1].at_us + LAST_STEP_US


def _changed(scenario: Scenario, **changes: Any) -> Scenario:
    """The scenario with some conditions set to other values throughout."""
    steps = [
        step._replace(up=step.up._replace(**changes), down=step.down._replace(**changes))
        for step in scenario.steps
    ]
    return scenario._replace(steps=tuple(steps))


def sample(scenario: Scenario, packets: int, seed: int | str) -> dict[tuple[int, Way], Sample]:
    """Send so many single bytes, half of them each way.

    Packets may overtake here: who keeps the order waits for a predecessor's jitter, and a sample of delays would be one of
    waiting. That the order is kept is a test of its own.
    """
    scenario = _changed(scenario, keep_order=False)
    samples = {(step, way): Sample() for step in range(len(scenario.steps)) for way in WAYS}
    per_round = max(1, (_round_us(scenario) or packets * SPARSE_SPACING_US) // SPARSE_SPACING_US)
    left, rounds = packets // 2, 0
    while left > 0:
        link: ScenarioLink[int] = ScenarioLink(scenario, f"{seed}/{scenario.name}/sparse/{rounds}")
        _sample_round(scenario, link, min(left, per_round), samples)
        left -= per_round
        rounds += 1
    return samples


def _sample_round(
    scenario: Scenario, link: ScenarioLink[int], packets: int, samples: dict[tuple[int, Way], Sample]
) -> None:
    before: dict[Way, tuple[int, bool]] = {}  # step, and whether it was lost
    for number in range(packets):
        now_us = number * SPARSE_SPACING_US
        step = _step_at(scenario, now_us)
        for way in WAYS:
            while link.poll_delivery(way, now_us) is not None:
                pass
            verdict = link.send(way, now_us, number, 1)
            s = samples[step, way]
            s.sent += 1
            lost = verdict.due_us is None
            if before.get(way) == (step, True):
                s.after_lost += 1
                s.lost_again += lost
            elif lost:
                s.runs += 1
            before[way] = (step, lost)
            if verdict.due_us is None:
                s.lost += 1
                continue
            s.duplicated += verdict.duplicated
            s.corrupted += verdict.corrupted
            s.delays_us.append(verdict.due_us - now_us)
            s.sent_at_us.append(now_us)


def judge(asked: Scenario, samples: dict[tuple[int, Way], Sample]) -> Iterator[Row]:
    """Compare what happened with what was asked for."""
    for (step, way), s in samples.items():
        if s.sent == 0:
            continue
        c: LinkConditions = getattr(asked.steps[step], way)
        share = loss_share(c.loss)
        yield _row(step, way, "loss %", share, s.lost / s.sent, loss_error(c.loss, s.sent), scale=100)
        again = chance_of_another(c.loss)
        if again is not None and 0 < share < 1 and s.after_lost:
            measured = s.lost_again / s.after_lost
            error = sqrt(again * (1 - again) / s.after_lost)
            z = _z(again, measured, error)
            yield Row(step, way, "burst", 1 / (1 - again), 1 / (1 - measured) if measured < 1 else inf, z)
        if isinstance(c.loss, TraceLoss) and s.runs:
            yield _trace_runs(step, way, c.loss, s)
        passed = len(s.delays_us)
        if not passed:
            continue
        for what, wanted, came in (
            ("duplicates %", c.duplicate * (1 - c.corrupt), s.duplicated),
            ("corrupted %", c.corrupt, s.corrupted),
        ):
            if wanted or came:
                error = sqrt(wanted * (1 - wanted) / passed)
                yield _row(step, way, what, wanted, came / passed, error, scale=100)
        yield from _judge_delays(asked, step, way, s)


def _trace_runs(step: int, way: Way, loss: TraceLoss, s: Sample) -> Row:
    pattern = loss.pattern
    runs = sum(here and not before for before, here in zip((pattern[-1], *pattern), pattern, strict=False))
    asked = sum(pattern) / runs if runs else inf
    error = asked * len(pattern) / s.sent / STANDARD_ERRORS * 2
    return _row(step, way, "burst", asked, s.lost / s.runs, error)


def _judge_delays(asked: Scenario, step: int, way: Way, s: Sample) -> Iterator[Row]:
    c: LinkConditions = getattr(asked.steps[step], way)
    delays = np.array(s.delays_us)
    if c.rate_trace is not None:
        if len(asked.steps) > 1:
            return
        delays -= np.array([until_opportunity_us(c.rate_trace, at_us) for at_us in s.sent_at_us])
    elif c.rate_bps is not None and c.burst_bytes == 0:
        delays -= -(-8_000_000 // c.rate_bps)  # a byte's transmission
    for quantile in (0.5, 0.95):
        wanted = delay_quantile_us(c, quantile)
        share = delay_share(c, wanted)
        below = int(np.count_nonzero(delays <= wanted)) / len(delays)
        error = sqrt(
            max(0.0, share * (1 - share)) * correlated_variance(share, c.jitter_correlation) / len(delays)
        )
        measured = float(np.quantile(delays, quantile, method="inverted_cdf"))
        # The fewer are below, the longer the delay.
        z = _z(below, share, error) if error else _z(wanted, measured, 0)
        yield Row(step, way, f"p{quantile * 100:.0f} ms", wanted / 1000, measured / 1000, z)
    # Visible one by one where the jitter is shorter than the holding back.
    if c.reorder and (
        c.jitter_us == 0 or (c.jitter_shape is JitterShape.UNIFORM and c.jitter_us < c.reorder_us)
    ):
        held = int(np.count_nonzero(delays >= c.delay_us + c.reorder_us)) / len(delays)
        error = sqrt(c.reorder * (1 - c.reorder) / len(delays))
        yield _row(step, way, "held back %", c.reorder, held, error, scale=100)


def _z(asked: float, measured: float, error: float) -> float:
    if error == 0:
        return 0.0 if measured == asked else inf
    return (measured - asked) / error


def _row(
    step: int, way: Way, what: str, asked: float, measured: float, error: float, *, scale: float = 1
) -> Row:
    return Row(step, way, what, asked * scale, measured * scale, _z(asked, measured, error))


# --- flood: rate and queue ---


def flood(
    scenario: Scenario, packets: int, seed: int | str, *, asked: Scenario | None = None
) -> Iterator[Row]:
    """Offer more than the link can carry. So many packets, or more if its queue or its schedule takes longer.

    ``asked``: what to compare with, of the same schedule, if it is something else.
    """
    quiet = _changed(scenario, jitter_us=0, reorder=0.0, duplicate=0.0)
    for way in WAYS:
        conditions: list[LinkConditions] = [getattr(step, way) for step in quiet.steps]
        rates = [
            rate / (1 - share)
            for c in conditions
            if (rate := peak_bps(c)) is not None and (share := loss_share(c.loss)) < 1
        ]
        if not rates:
            continue
        spacing_ns = round(FLOOD_BYTES * 8e9 / (FLOOD_FACTOR * max(rates)))
        # Long enough for a queue to fill at the rate that is too much.
        end_us = max([packets * spacing_ns // 1000, *(2 * (_queue_us(c) or 0) for c in conditions)])
        if len(quiet.steps) > 1:
            end_us = quiet.repeat_us or quiet.steps[-1].at_us + LAST_STEP_US
        yield from _flood_way(quiet, asked or quiet, way, spacing_ns, end_us, seed)


def _flood_way(
    scenario: Scenario, asked: Scenario, way: Way, spacing_ns: int, end_us: int, seed: int | str
) -> Iterator[Row]:
    link: ScenarioLink[int] = ScenarioLink(scenario, f"{seed}/{scenario.name}/flood")
    one_way = getattr(link, way)
    ends = [*(step.at_us for step in scenario.steps[1:]), end_us]
    conditions: list[LinkConditions] = [getattr(step, way) for step in asked.steps]
    shortest, longest = min(c.delay_us for c in conditions), max(c.delay_us for c in conditions)
    delivered: list[int] = []
    fullest_us = [0] * len(ends)
    for number in range(end_us * 1000 // spacing_ns + 1):
        now_us = number * spacing_ns // 1000
        while (due_us := link.due_us(way)) is not None and due_us <= now_us:
            if link.poll_delivery(way, now_us) is not None:
                delivered.append(due_us)
        link.send(way, now_us, number, FLOOD_BYTES)
        step = _step_at(scenario, now_us)
        begun_us = scenario.steps[step].at_us
        if now_us - begun_us > 0.8 * (ends[step] - begun_us):
            fullest_us[step] = max(fullest_us[step], one_way.queue_us(now_us))
    for step, (c, to_us) in enumerate(zip(conditions, ends, strict=True)):
        from_us = scenario.steps[step].at_us
        few = to_us - from_us < FLOOD_STEP_MIN_US and len(ends) > 1
        if few or loss_share(c.loss) == 1 or peak_bps(c) is None:
            continue
        # What comes out in this window has left the bottleneck in this step, whichever step's delay it bears. Without
        # chance: off by a packet at either end, and by what the delays differ in.
        first_us, last_us = from_us + longest, to_us + shortest
        came = bisect_right(delivered, last_us) - bisect_right(delivered, first_us)
        # The loop ended at end_us: what is delivered later is not seen.
        if step == len(ends) - 1:
            last_us = min(last_us, delivered[-1] if delivered else last_us)
        seconds = (last_us - first_us) / SECOND
        wanted_bytes = asked_bytes(c, first_us - shortest, last_us - shortest)
        bound_bytes = (
            3 * FLOOD_BYTES + c.burst_bytes + wanted_bytes / (last_us - first_us) * (longest - shortest)
        )
        scale = 8 / SECOND / seconds
        error = bound_bytes / STANDARD_ERRORS
        yield _row(step, way, "Mbit/s", wanted_bytes, came * FLOOD_BYTES, error, scale=scale)
        if (limit_us := _queue_us(c)) is not None and c.rate_bps is not None:
            error = 2 * FLOOD_BYTES * 8 * SECOND / c.rate_bps / STANDARD_ERRORS
            yield _row(step, way, "queue ms", limit_us, fullest_us[step], error, scale=1e-3)


def _queue_us(c: LinkConditions) -> int | None:
    """How long the last packet that the queue takes waits, at a constant rate."""
    if c.rate_bps is None:
        return None
    limits = [] if c.queue_us is None else [c.queue_us]
    if c.queue_bytes is not None:
        limits.append(c.queue_bytes * 8 * SECOND // c.rate_bps)
    return min(limits, default=DEFAULT_QUEUE_US)

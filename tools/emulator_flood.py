"""More sent over an emulated link than it can carry: its rate, and its queue.

Without jitter, which would only blur the edges, and without loss, a burst of which can leave the link idle: so there is no
chance in it, and the errors are bounds. A packet that came out left the bottleneck its delay before, so what waits is
counted from what comes out.
"""

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from tools.emulator_figures import (
    LAST_STEP_US,
    WAYS,
    Finding,
    Gap,
    Way,
    deliveries,
    figure,
    step_at,
)
from tools.link_expectations import (
    SECOND,
    STANDARD_ERRORS,
    asked_bytes,
    loss_share,
    peak_bps,
    queue_bytes,
    trace_begins_us,
)
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import NoLoss
from udpconf.emulation.scenario import Scenario
from udpconf.emulation.scenario_link import ScenarioLink

FLOOD_BYTES = 1500
FLOOD_FACTOR = 2
# Shorter steps have no rate to speak of.
STEP_MIN_US = SECOND
# Of a step: when its queue is as full as it gets, if it gets there.
SETTLED = 0.8


def flood(
    scenario: Scenario, packets: int, seed: int | str, *, asked: Scenario | None = None
) -> Iterator[Finding]:
    """Offer more than the link can carry. So many packets, or more if its queue or its schedule takes longer.

    ``asked``: what to compare with, of the same schedule, if it is something else.
    """
    steps = [step._replace(up=_quiet(step.up), down=_quiet(step.down)) for step in scenario.steps]
    quiet = scenario._replace(steps=tuple(steps))
    for way in WAYS:
        conditions: list[LinkConditions] = [getattr(step, way) for step in quiet.steps]
        rates = [rate for c in conditions if (rate := peak_bps(c)) is not None and loss_share(c.loss) < 1]
        if not rates:
            continue
        offered_bps = FLOOD_FACTOR * max(rates)
        spacing_ns = round(FLOOD_BYTES * 8e9 / offered_bps)
        # Long enough for a queue to fill at the rate that is too much.
        filled_us = max(
            (queue_bytes(c) or 0) * 8 * SECOND * FLOOD_FACTOR**2 / offered_bps for c in conditions
        )
        end_us = max(packets * spacing_ns // 1000, int(filled_us))
        if len(quiet.steps) > 1:
            end_us = quiet.repeat_us or quiet.steps[-1].at_us + LAST_STEP_US
        yield from _flood_way(quiet, asked or quiet, way, spacing_ns, end_us, seed)


def _quiet(c: LinkConditions) -> LinkConditions:
    """Without all that has chance in it; an outage stays one."""
    outage = loss_share(c.loss) == 1
    return c._replace(jitter_us=0, reorder=0.0, duplicate=0.0, loss=c.loss if outage else NoLoss())


def _flood_way(
    scenario: Scenario, asked: Scenario, way: Way, spacing_ns: int, end_us: int, seed: int | str
) -> Iterator[Finding]:
    link: ScenarioLink[int] = ScenarioLink(scenario, f"{seed}/{scenario.name}/flood")
    conditions: list[LinkConditions] = [getattr(step, way) for step in asked.steps]
    came_us: dict[int, int] = {}
    times_us = [number * spacing_ns // 1000 for number in range(end_us * 1000 // spacing_ns + 1)]
    for number, now_us in enumerate(times_us):
        came_us.update((delivery.packet, at_us) for _, at_us, delivery in deliveries(link, now_us))
        link.send(way, now_us, number, FLOOD_BYTES)
    came_us.update((delivery.packet, at_us) for _, at_us, delivery in deliveries(link, None))

    delivered_us = sorted(came_us.values())
    sent_us = np.array([times_us[number] for number in sorted(came_us)])
    delays_us = np.array([conditions[step_at(asked, int(at_us))].delay_us for at_us in sent_us])
    left_us = np.array([came_us[number] for number in sorted(came_us)]) - delays_us
    waiting = np.arange(1, len(sent_us) + 1) - np.searchsorted(np.sort(left_us), sent_us, side="right")

    shortest_us, longest_us = min(c.delay_us for c in conditions), max(c.delay_us for c in conditions)
    ends = [*(step.at_us for step in scenario.steps[1:]), end_us]
    for step, (c, to_us) in enumerate(zip(conditions, ends, strict=True)):
        from_us = scenario.steps[step].at_us
        if loss_share(c.loss) == 1 or peak_bps(c) is None:
            continue
        if to_us - from_us < STEP_MIN_US and len(ends) > 1:
            yield Gap(step, way, "rate and queue", "the step is shorter than a second")
            continue
        # What comes out in this window has left the bottleneck in this step, whichever step's delay it bears. Off
        # by a packet at either end, and by what the delays differ in.
        first_us, last_us = from_us + longest_us, to_us + shortest_us
        came = bisect_right(delivered_us, last_us) - bisect_right(delivered_us, first_us)
        begun_us = trace_begins_us(asked.steps, way, step)
        window = (first_us - shortest_us - begun_us, last_us - shortest_us - begun_us)
        wanted = asked_bytes(c, *window)
        differ_bytes = wanted / (last_us - first_us) * (longest_us - shortest_us)
        error = (3 * FLOOD_BYTES + c.burst_bytes + differ_bytes) / STANDARD_ERRORS
        scale = 8 / (last_us - first_us)
        yield figure(step, way, "Mbit/s", wanted, came * FLOOD_BYTES, error, scale=scale)

        limit_bytes = queue_bytes(c)
        if limit_bytes is None:
            yield Gap(step, way, "queue", "it is one of time at a recorded rate")
            continue
        before_bytes = (queue_bytes(conditions[step - 1]) if step else None) or 0
        settled_us = from_us + SETTLED * (to_us - from_us)
        offered_bps = FLOOD_BYTES * 8e9 / spacing_ns
        rate_bps = c.rate_bps if c.rate_trace is None else c.rate_trace.mean_bps
        assert rate_bps is not None
        if _settling_us(before_bytes, limit_bytes, rate_bps, offered_bps) > settled_us - from_us:
            yield Gap(step, way, "queue", "the step is over before the queue is as full as it gets")
            continue
        settled = waiting[np.searchsorted(sent_us, settled_us) : np.searchsorted(sent_us, to_us)]
        fullest_bytes = float(max(settled, default=0)) * FLOOD_BYTES
        # One packet is on the wire, and one does not fit.
        error = (2 * FLOOD_BYTES + differ_bytes) / STANDARD_ERRORS
        what, scale = ("queue kB", 1e-3) if c.rate_bps is None else ("queue ms", 8000 / c.rate_bps)
        yield figure(step, way, what, limit_bytes, fullest_bytes, error, scale=scale)


def _settling_us(before_bytes: float, limit_bytes: float, rate_bps: float, offered_bps: float) -> float:
    """Until what waits is as much as the queue holds: what it held before drains, or it fills from nothing."""
    drains_us = (before_bytes - limit_bytes) * 8 * SECOND / rate_bps
    return max(drains_us, limit_bytes * 8 * SECOND / (offered_bps - rate_bps))

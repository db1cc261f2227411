"""Pairs of packets sent over an emulated link at the same instant: whether one overtakes the other because of jitter."""

from collections.abc import Iterator

from tools.emulator_figures import WAYS, Finding, Gap, Way, deliveries, figure, round_us, step_at
from tools.emulator_sparse import SPARSE_SPACING_US
from tools.link_expectations import loss_share
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.scenario import Scenario
from udpconf.emulation.scenario_link import ScenarioLink

# In a step that lets packets overtake, so many pairs without any are no chance: it is one in two that does.
PAIRS_MIN = 30


def order(scenario: Scenario, packets: int, seed: int | str) -> Iterator[Finding]:
    """So many packets, both ways together, or one round of the schedule."""
    link: ScenarioLink[int] = ScenarioLink(scenario, f"{seed}/{scenario.name}/order")
    length_us = scenario.repeat_us or round_us(scenario) or packets // 4 * SPARSE_SPACING_US
    highest = dict.fromkeys(WAYS, -1)
    overtaken = {(step, way): 0 for step in range(len(scenario.steps)) for way in WAYS}
    pairs = dict.fromkeys(overtaken, 0)

    def watch(until_us: int | None) -> None:
        for way, _, delivery in deliveries(link, until_us):
            sent_us = delivery.packet
            if not delivery.is_copy:
                overtaken[step_at(scenario, sent_us), way] += delivery.number < highest[way]
                highest[way] = max(highest[way], delivery.number)

    for now_us in range(0, length_us, SPARSE_SPACING_US):
        watch(now_us)
        for way in WAYS:
            pairs[step_at(scenario, now_us), way] += 1
            for _ in range(2):
                link.send(way, now_us, now_us, 1)
    watch(None)
    for (step, way), number in overtaken.items():
        if finding := _judge(scenario, step, way, number, pairs[step, way]):
            yield finding


def _judge(scenario: Scenario, step: int, way: Way, overtaken: int, pairs: int) -> Finding | None:
    c: LinkConditions = getattr(scenario.steps[step], way)
    if loss_share(c.loss) == 1:
        return None
    if pairs == 0:
        return Gap(step, way, "overtaking", "no packet was sent in so short a step")
    conditions: list[LinkConditions] = [getattr(other, way) for other in scenario.steps]
    if any(other.reorder for other in conditions):
        return Gap(step, way, "overtaking", "some are held back on purpose")
    if all(other.keep_order for other in conditions):
        return figure(step, way, "overtaking", 0, overtaken, 0)
    if c.keep_order or not c.jitter_us or pairs < PAIRS_MIN:
        return Gap(step, way, "overtaking", "there is no jitter, or not in all steps leave to overtake")
    return figure(step, way, "overtaking", 1, min(1, overtaken), 0)

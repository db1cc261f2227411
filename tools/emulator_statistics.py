"""What the link emulator does to packets, measured in virtual time and compared with what its scenarios ask for.

Three passes over a scenario, each step and direction for itself, of which only counts what comes out of the link and
when: single bytes, too far apart to meet each other (emulator_sparse.py), more than the link carries (emulator_flood.py),
and pairs that might overtake each other (emulator_order.py). What is asked for is in link_expectations.py, by formula.

Chance. A figure is right within three standard errors, and 1 in 370 is outside by chance (with fifteen seeds it was 5 of some
1900). So if one is outside, all is measured once more with other luck, and it is wrong if it is outside again: of the 200 or
so figures with chance in them that the shipped scenarios have, one is outside in every second run, and called wrong in one of
500. What has no chance in it (rate, queue, order, the books) is wrong at once, or has a bound in place of three errors.

Not checked: how the file is read, beyond its words for loss (scenario_words.py). "Asked for" is what the emulator's own
reader made of delays, rates, queues and times; tests of units and of scenario files look at that, with examples. Nor the
longest hundredth of the delays, nor whether one condition depends on another, nor that a lost packet takes no capacity,
which is a test of the link. A figure of a step that cannot be judged is a gap, which says why.
"""

from math import isinf
from typing import NamedTuple

from tools.emulator_figures import Finding, Gap, Row
from tools.emulator_flood import flood
from tools.emulator_order import order
from tools.emulator_sparse import judge, sample
from udpconf.emulation.scenario import Scenario


class Report(NamedTuple):
    """All about one scenario."""

    rows: list[Row]
    gaps: list[Gap]


def check(scenario: Scenario, packets: int, seed: int | str) -> Report:
    """All figures of a scenario; those that were off by more than chance as they were the second time."""
    findings = measure(scenario, packets, seed)
    rows = [finding for finding in findings if isinstance(finding, Row)]
    gaps = [finding for finding in findings if isinstance(finding, Gap)]
    if not all(row.right or isinf(row.z) for row in rows):
        others = measure(scenario, packets, f"{seed}/again")
        again = {row[:3]: row for row in others if isinstance(row, Row)}
        rows = [row if row.right or isinf(row.z) else again.get(row[:3], row) for row in rows]
    return Report(rows, gaps)


def measure(scenario: Scenario, packets: int, seed: int | str) -> list[Finding]:
    """All findings of a scenario, once."""
    return [
        *judge(scenario, sample(scenario, packets, seed)),
        *flood(scenario, packets // 20, seed),
        *order(scenario, packets // 20, seed),
    ]

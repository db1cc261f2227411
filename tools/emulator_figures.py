"""What the checks of the link emulator share: a figure beside what was asked for, and what comes out of a link when."""

from bisect import bisect_right
from collections.abc import Iterator
from math import inf, isclose, sqrt
from typing import Any, Literal, NamedTuple, TypeVar

from tools.link_expectations import SECOND, STANDARD_ERRORS
from udpconf.emulation.link import Delivery
from udpconf.emulation.scenario import Scenario
from udpconf.emulation.scenario_link import ScenarioLink

Way = Literal["up", "down"]
WAYS: tuple[Way, Way] = ("up", "down")
# A schedule that ends is played anew, with so much of its last step. Chosen.
LAST_STEP_US = 10 * SECOND

PacketT = TypeVar("PacketT")


class Row(NamedTuple):
    """One figure of one step and direction."""

    step: int
    way: Way
    what: str
    asked: float
    measured: float
    z: float  # by how many standard errors it is off; what has no chance in it: 0, or infinite

    @property
    def right(self) -> bool:
        return abs(self.z) <= STANDARD_ERRORS


class Gap(NamedTuple):
    """A figure that could not be judged."""

    step: int
    way: Way
    what: str
    why: str


Finding = Row | Gap


def figure(
    step: int, way: Way, what: str, asked: float, measured: float, error: float, *, scale: float = 1
) -> Row:
    """A row of something with this standard error; 0: it is exact."""
    exact = 0.0 if isclose(measured, asked, rel_tol=1e-9) else inf
    z = (measured - asked) / error if error else exact
    return Row(step, way, what, asked * scale, measured * scale, z)


def share_error(share: float, of: int) -> float:
    """Standard error of a share counted among so many independent ones; where few are expected one of them is the unit."""
    return max(sqrt(share * (1 - share) / of), 1 / of) if 0 < share < 1 else 0.0


def step_at(scenario: Scenario, elapsed_us: int) -> int:
    """The number of the step that holds then."""
    if scenario.repeat_us is not None:
        elapsed_us %= scenario.repeat_us
    return bisect_right([step.at_us for step in scenario.steps], elapsed_us) - 1


def round_us(scenario: Scenario) -> int | None:
    """How long one link is used; None: for all packets."""
    if scenario.repeat_us is not None or len(scenario.steps) == 1:
        return None
    return scenario.steps[-1].at_us + LAST_STEP_US


def changed(scenario: Scenario, **changes: Any) -> Scenario:
    """The scenario with some conditions set to other values throughout."""
    steps = [
        step._replace(up=step.up._replace(**changes), down=step.down._replace(**changes))
        for step in scenario.steps
    ]
    return scenario._replace(steps=tuple(steps))


def deliveries(
    link: ScenarioLink[PacketT], until_us: int | None
) -> Iterator[tuple[Way, int, Delivery[PacketT]]]:
    """What comes out until then, and when, fetched as its users do: whenever it wants to be called. None: all there is."""
    called_us = None
    while (at_us := link.poll_timeout()) is not None and at_us != called_us:
        nothing = link.up.poll_timeout() is None and link.down.poll_timeout() is None
        if nothing if until_us is None else at_us > until_us:
            break
        called_us = at_us
        for way in WAYS:
            while (delivery := link.poll_numbered(way, at_us)) is not None:
                yield way, at_us, delivery

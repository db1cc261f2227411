"""A path in both directions that changes as its scenario says. Sans-IO like the link: it is told the time.

The schedule starts with the first packet, so whatever a lab does before its programs speak costs nothing of it.
"""

from collections.abc import Callable
from typing import Generic, Literal, TypeVar

from udpconf.emulation.link import Delivery, Link, LinkConditions, Verdict
from udpconf.emulation.scenario import Scenario, step_at

PacketT = TypeVar("PacketT")
Direction = Literal["up", "down"]


class ScenarioLink(Generic[PacketT]):
    """Both directions, with independent luck from one seed.

    Attributes:
        up: from the client to the server, or from B to A; for its counters and its queue.
        down: back.
        step: the number of the scenario's step that holds now.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int | str,
        damage: Callable[[PacketT, float], PacketT] | None = None,
    ) -> None:
        _validate(scenario)
        first = scenario.steps[0]
        self.up: Link[PacketT] = Link(first.up, f"{seed}/up", damage)
        self.down: Link[PacketT] = Link(first.down, f"{seed}/down", damage)
        self.step = 0
        self._scenario = scenario
        self._started_us: int | None = None
        self._next_us: int | None = None  # when the next step begins

    @property
    def scenario(self) -> Scenario:
        return self._scenario

    def send(self, direction: Direction, now_us: int, packet: PacketT, size_bytes: int) -> Verdict:
        """Put a packet in; see ``Link.send``."""
        if self._started_us is None:
            self._start(now_us)
        self.advance(now_us)
        link = self.up if direction == "up" else self.down
        return link.send(now_us, packet, size_bytes)

    def poll_delivery(self, direction: Direction, now_us: int) -> PacketT | None:
        """The direction's next packet that is out by now, or None."""
        self.advance(now_us)
        return (self.up if direction == "up" else self.down).poll_delivery(now_us)

    def poll_numbered(self, direction: Direction, now_us: int) -> Delivery[PacketT] | None:
        """The same, with which packet it is and when it was due."""
        self.advance(now_us)
        return (self.up if direction == "up" else self.down).poll_numbered(now_us)

    def poll_timeout(self) -> int | None:
        """When the next packet comes out of either direction or the next step begins, or None."""
        soonest_us, up_us, down_us = self._next_us, self.up.poll_timeout(), self.down.poll_timeout()
        if up_us is not None and (soonest_us is None or up_us < soonest_us):
            soonest_us = up_us
        return down_us if down_us is not None and (soonest_us is None or down_us < soonest_us) else soonest_us

    def advance(self, now_us: int) -> None:
        """Begin every step whose time has come, each at its own time."""
        while self._next_us is not None and self._next_us <= now_us:
            self._take_step(self._next_us)

    def set_scenario(self, now_us: int, scenario: Scenario) -> None:
        """Exchange the scenario; the new one starts at once if the old one had, else with the first packet.

        Raises:
            ValueError: a value of any step is out of range; everything stays as it was.
        """
        _validate(scenario)
        self.advance(now_us)
        self._scenario = scenario
        first = scenario.steps[0]
        self._set(now_us, 0, first.up, first.down)
        if self._started_us is not None:
            self._start(now_us)

    def _start(self, now_us: int) -> None:
        self._started_us = now_us
        self.up.start(now_us)
        self.down.start(now_us)
        self._next_us = self._next_change_us(now_us)

    def _take_step(self, at_us: int) -> None:
        assert self._started_us is not None
        number = step_at(self._scenario, at_us - self._started_us)
        step = self._scenario.steps[number]
        self._set(at_us, number, step.up, step.down)
        self._next_us = self._next_change_us(at_us)

    def _set(self, now_us: int, number: int, up: LinkConditions, down: LinkConditions) -> None:
        self.step = number
        self.up.set_conditions(now_us, up)
        self.down.set_conditions(now_us, down)

    def _next_change_us(self, now_us: int) -> int | None:
        """The first moment after now at which a step begins."""
        assert self._started_us is not None
        scenario, started_us = self._scenario, self._started_us
        round_us = 0
        if scenario.repeat_us is not None:
            if len(scenario.steps) == 1:
                return None
            round_us = (now_us - started_us) // scenario.repeat_us * scenario.repeat_us
        for step in scenario.steps:
            if started_us + round_us + step.at_us > now_us:
                return started_us + round_us + step.at_us
        return None if scenario.repeat_us is None else started_us + round_us + scenario.repeat_us


def _validate(scenario: Scenario) -> None:
    for step in scenario.steps:
        step.up.validate()
        step.down.validate()

"""An emulator that is broken on purpose, one way at a time, is called wrong, and for the right figure (tools/check_emulator.py)."""

from collections.abc import Callable
from heapq import heappush
from typing import Any

import pytest

from tools import emulator_sparse
from tools.check_emulator import SHIPPED
from tools.emulator_figures import Row, deliveries
from tools.emulator_statistics import check
from tools.scenario_words import compare_loss
from udpconf.emulation import link
from udpconf.emulation.jitter import JitterShape, jitter_us
from udpconf.emulation.link import InFlight, Link, LinkConditions, Verdict
from udpconf.emulation.loss import GilbertElliott
from udpconf.emulation.scenario import Scenario, load_scenario, of_conditions
from udpconf.emulation.scenario_link import ScenarioLink
from udpconf.limits import MS

PACKETS = 10_000
TAIL_PACKETS = 30_000  # one in a hundred is in the tail, and neighbours are there together
SEED = 1
LET_OVERTAKE = of_conditions(LinkConditions(delay_us=20 * MS, jitter_us=5 * MS, keep_order=False))

Break = Callable[[pytest.MonkeyPatch], None]


def late_by(us: int) -> Break:
    def push(heap: list[InFlight[Any]], item: InFlight[Any]) -> None:
        heappush(heap, item._replace(due_us=item.due_us + us))

    return lambda patch: patch.setattr(link, "heappush", push)


def without_copies(patch: pytest.MonkeyPatch) -> None:
    def push(heap: list[InFlight[Any]], item: InFlight[Any]) -> None:
        if item.order % 2 == 0:
            heappush(heap, item)

    patch.setattr(link, "heappush", push)


def copies_late(patch: pytest.MonkeyPatch) -> None:
    def push(heap: list[InFlight[Any]], item: InFlight[Any]) -> None:
        heappush(heap, item._replace(due_us=item.due_us + item.order % 2 * 100 * MS))

    patch.setattr(link, "heappush", push)


def without_correlation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(link, "correlated", lambda before, uniform, correlation: (None, uniform))


def without_tail(patch: pytest.MonkeyPatch) -> None:
    def cut(shape: JitterShape, scale_us: int, uniform: float) -> int:
        return jitter_us(shape, scale_us, min(uniform, 0.955))

    patch.setattr(link, "jitter_us", cut)


def without_queue_limit(patch: pytest.MonkeyPatch) -> None:
    usual = Link._end_of_transmission_us

    def endless(self: Link[Any], now_us: int, size_bytes: int, number: int) -> int | None:
        self._conditions = self._conditions._replace(queue_us=None, queue_bytes=1 << 60)
        return usual(self, now_us, size_bytes, number)

    patch.setattr(Link, "_end_of_transmission_us", endless)


def without_order(patch: pytest.MonkeyPatch) -> None:
    def due_us(self: Link[Any], after_delay_us: int, held_back_us: int, *, keeps_order: bool) -> int:
        return after_delay_us + held_back_us

    patch.setattr(Link, "_due_us", due_us)


def always_in_order(patch: pytest.MonkeyPatch) -> None:
    usual = Link._due_us

    def due_us(self: Link[Any], after_delay_us: int, held_back_us: int, *, keeps_order: bool) -> int:
        return usual(self, after_delay_us, held_back_us, keeps_order=True)

    patch.setattr(Link, "_due_us", due_us)


def without_wrong_bits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(emulator_sparse, "flip_bit", lambda data, where: data)


def with_false_verdicts(patch: pytest.MonkeyPatch) -> None:
    usual = Link.send

    def send(self: Link[Any], now_us: int, packet: Any, size_bytes: int) -> Verdict:
        return usual(self, now_us, packet, size_bytes)._replace(corrupted=False)

    patch.setattr(Link, "send", send)


def without_counting(patch: pytest.MonkeyPatch) -> None:
    usual: Any = Link.counters
    patch.setattr(Link, "counters", property(lambda self: usual.fget(self)._replace(duplicated=0)))


@pytest.mark.parametrize(
    ("break_it", "scenario", "what"),
    [
        (late_by(500 * MS), load_scenario("loss-5"), "p50 ms"),
        (late_by(-1 * MS), load_scenario("reordering"), "p50 ms"),
        (without_copies, load_scenario("reordering"), "duplicates %"),
        (copies_late, load_scenario("reordering"), "stray copies"),
        (without_correlation, load_scenario("busy-wifi"), "neighbours"),
        (without_correlation, load_scenario("4g-moving"), "neighbours"),
        (without_tail, load_scenario("busy-wifi"), "p99 ms"),
        (without_queue_limit, load_scenario("cellular-trace"), "queue kB"),
        (without_queue_limit, load_scenario("wifi-bursts"), "queue ms"),
        (without_order, load_scenario("wifi-bursts"), "overtaking"),
        (always_in_order, LET_OVERTAKE, "overtaking"),
        (without_wrong_bits, load_scenario("corruption"), "corrupted %"),
        (with_false_verdicts, load_scenario("corruption"), "miscounted"),
        (without_counting, load_scenario("reordering"), "miscounted"),
    ],
    ids=lambda value: getattr(value, "__name__", getattr(value, "name", value)),
)
def test_a_broken_emulator_is_called_wrong(
    break_it: Break, scenario: Scenario, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_it(patch)
        rows = check(scenario, TAIL_PACKETS if what == "p99 ms" else PACKETS, SEED).rows
    assert what in {row.what for row in rows if not row.right}


def test_nothing_is_wrong_with_a_link_that_may_overtake() -> None:
    """The one of the above that is not shipped, when it is not broken."""
    assert all(row.right for row in check(LET_OVERTAKE, PACKETS, SEED).rows)


def test_a_loss_that_is_read_as_half_of_what_is_written_is_called_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = GilbertElliott.from_share_and_burst

    def half(share: float, mean_burst: float) -> GilbertElliott:
        return usual(share / 2, mean_burst)

    monkeypatch.setattr(GilbertElliott, "from_share_and_burst", half)
    rows = list(compare_loss(SHIPPED / "wifi-bursts.toml", load_scenario("wifi-bursts")))
    wrong = [row for row in rows if not row.right]
    assert [(row.way, row.what) for row in wrong] == [
        ("up", "loss % as written"),
        ("down", "loss % as written"),
    ]
    assert [row.measured for row in wrong] == pytest.approx([1.5, 1.5])


def test_what_has_no_chance_in_it_gets_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int | str] = []

    def measure(scenario: Scenario, packets: int, seed: int | str) -> list[Row]:
        calls.append(seed)
        first = len(calls) == 1
        exact = Row(0, "up", "overtaking", 0, int(first), float("inf") if first else 0)
        return [exact, Row(0, "up", "loss %", 1, 2, 4 if first else 1)]

    monkeypatch.setattr("tools.emulator_statistics.measure", measure)
    rows = check(load_scenario("loss-2"), PACKETS, SEED).rows
    assert [row.what for row in rows if not row.right] == ["overtaking"]
    assert len(calls) == 2


def test_a_link_that_never_lets_go_does_not_hold_up_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck: ScenarioLink[int] = ScenarioLink(load_scenario("loss-2"), SEED)
    stuck.send("up", 0, 1, 1)
    monkeypatch.setattr(Link, "poll_numbered", lambda self, now_us: None)
    assert list(deliveries(stuck, None)) == []

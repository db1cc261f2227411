"""Single bytes sent over an emulated link, too far apart to meet each other: loss, bursts, delay, copies, wrong bits.

What counts is what comes out of the link and when; its own verdicts and counters are only compared with that.
"""

from collections.abc import Iterator
from math import inf, sqrt

import numpy as np
import numpy.typing as npt

from tools.emulator_figures import (
    WAYS,
    Finding,
    Gap,
    Row,
    Way,
    changed,
    deliveries,
    figure,
    round_us,
    share_error,
    step_at,
)
from tools.link_expectations import (
    STANDARD_ERRORS,
    chance_of_another,
    correlated_variance,
    delay_quantile_us,
    delay_share,
    loss_error,
    loss_share,
    normal_score,
    until_opportunity_us,
)
from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import Delivery, Fate, LinkConditions, LinkCounters, flip_bit
from udpconf.emulation.loss import TraceLoss
from udpconf.emulation.scenario import Scenario
from udpconf.emulation.scenario_link import ScenarioLink

# No whole number of these is a millisecond or a second, so the packets meet all phases of traces and schedules.
SPARSE_SPACING_US = 9_973
NUMBER_BYTES = 8
QUANTILES = (0.5, 0.95, 0.99)
# Of the packets beyond a quantile, as if they were independent: fewer are no bell curve. The rule of thumb for a binomial.
BEYOND_MIN = 5
PAIRS_MIN = 30  # the same for a correlation
# Rounding to microseconds makes ties, which hide some of a correlation: at this jitter a ten thousandth.
CORRELATED_JITTER_MIN_US = 1000
# With more than this share of delays cut off at nothing their correlation is another one.
CUT_MAX = 1e-3


class Sample:
    """What happened to the packets of one step and direction."""

    def __init__(self) -> None:
        self.sent = 0
        self.lost = 0
        self.lost_again = 0  # right after a lost one
        self.after_lost = 0  # packets after a lost one
        self.runs = 0  # of losses
        self.duplicated = 0
        self.stray_copies = 0  # out before the original, or by more than the jitter after it
        self.corrupted = 0
        self.miscounted = 0  # verdicts and counters that are not what came out
        self.delays_us: list[int] = []  # of those that came out, like the next two
        self.sent_at_us: list[int] = []
        self.follows: list[bool] = []  # the packet before came out as well, and was sent in the same step


class Arrivals:
    """All that came out of one direction."""

    def __init__(self) -> None:
        self.originals_us: dict[int, int] = {}  # by number
        self.copies_us: dict[int, int] = {}
        self.damaged: set[tuple[int, bool]] = set()  # number, and whether it is the copy: one bit is wrong
        self.strange = (
            0  # more bits are wrong, the same packet came again, or its time of delivery is another one
        )
        self.reordered = 0
        self._highest = -1

    def add(self, at_us: int, delivery: Delivery[bytes]) -> None:
        number, is_copy = delivery.number, delivery.is_copy
        came_us = self.copies_us if is_copy else self.originals_us
        wrong_bits = (int.from_bytes(delivery.packet, "big") ^ number).bit_count()
        self.strange += number in came_us or wrong_bits > 1 or delivery.due_us != at_us
        came_us[number] = at_us
        if wrong_bits:
            self.damaged.add((number, is_copy))
        self.reordered += number < self._highest and not is_copy
        self._highest = max(self._highest, number)


def sample(scenario: Scenario, packets: int, seed: int | str) -> dict[tuple[int, Way], Sample]:
    """Send so many single bytes, half of them each way.

    Packets may overtake here: who keeps the order waits for a predecessor's jitter, and a sample of delays would be one of
    waiting. And the queue takes them all: in a fade of a recorded rate they do meet. Order and queue are looked at apart.
    """
    scenario = changed(scenario, keep_order=False, queue_us=None, queue_bytes=packets)
    samples = {(step, way): Sample() for step in range(len(scenario.steps)) for way in WAYS}
    per_round = max(1, (round_us(scenario) or packets * SPARSE_SPACING_US) // SPARSE_SPACING_US)
    left, rounds = packets // 2, 0
    while left > 0:
        name = f"{seed}/{scenario.name}/sparse/{rounds}"
        link: ScenarioLink[bytes] = ScenarioLink(scenario, name, flip_bit)
        _sample_round(scenario, link, min(left, per_round), samples)
        left -= per_round
        rounds += 1
    return samples


def _sample_round(
    scenario: Scenario, link: ScenarioLink[bytes], packets: int, samples: dict[tuple[int, Way], Sample]
) -> None:
    told = {way: bytearray() for way in WAYS}
    arrivals = {way: Arrivals() for way in WAYS}
    for number in range(packets):
        now_us = number * SPARSE_SPACING_US
        for way, at_us, delivery in deliveries(link, now_us):
            arrivals[way].add(at_us, delivery)
        packet = number.to_bytes(NUMBER_BYTES, "big")
        for way in WAYS:
            verdict = link.send(way, now_us, packet, 1)
            told[way].append(_fate(verdict.fate is Fate.PASSED, verdict.corrupted, verdict.duplicated))
    for way, at_us, delivery in deliveries(link, None):
        arrivals[way].add(at_us, delivery)
    for way in WAYS:
        came = arrivals[way]
        delivered = len(came.originals_us) + len(came.copies_us)
        counted = LinkCounters(
            sent=packets,
            delivered=delivered,
            lost=packets - len(came.originals_us),
            dropped_by_queue=0,
            duplicated=len(came.copies_us),
            reordered=came.reordered,
            in_flight=0,
            sent_bytes=packets,
            delivered_bytes=delivered,
            corrupted=sum(not is_copy for _, is_copy in came.damaged),
        )
        counters = getattr(link, way).counters
        first = samples[0, way]
        first.miscounted += came.strange
        first.miscounted += sum(one != other for one, other in zip(counters, counted, strict=True))
        _book(scenario, way, told[way], came, samples)


def _fate(passed: bool, corrupted: bool, duplicated: bool) -> int:
    """In a byte: there are a million of them."""
    return passed | corrupted << 1 | duplicated << 2


def _book(
    scenario: Scenario,
    way: Way,
    told: bytearray,
    came: Arrivals,
    samples: dict[tuple[int, Way], Sample],
) -> None:
    """Count every packet under the step in which it was sent."""
    before: tuple[int, bool] | None = None  # step, and whether it was lost
    for number, fate in enumerate(told):
        now_us = number * SPARSE_SPACING_US
        step = step_at(scenario, now_us)
        s = samples[step, way]
        s.sent += 1
        due_us = came.originals_us.get(number)
        copy_us = came.copies_us.get(number)
        damaged = (number, False) in came.damaged
        s.miscounted += fate != _fate(due_us is not None, damaged, copy_us is not None)
        lost = due_us is None
        if before == (step, True):
            s.after_lost += 1
            s.lost_again += lost
        elif lost:
            s.runs += 1
        follows = before == (step, False)
        before = (step, lost)
        if due_us is None:
            s.lost += 1
            continue
        s.corrupted += damaged
        if copy_us is not None:
            s.duplicated += 1
            s.miscounted += damaged != ((number, True) in came.damaged)
            jitter_us = getattr(scenario.steps[step], way).jitter_us
            s.stray_copies += not 0 <= copy_us - due_us <= jitter_us
        s.delays_us.append(due_us - now_us)
        s.sent_at_us.append(now_us)
        s.follows.append(follows)


def judge(asked: Scenario, samples: dict[tuple[int, Way], Sample]) -> Iterator[Finding]:
    """Compare what happened with what was asked for."""
    for (step, way), s in samples.items():
        if s.sent == 0:
            yield Gap(step, way, "all but rate and queue", "no packet was sent in so short a step")
            continue
        c: LinkConditions = getattr(asked.steps[step], way)
        yield figure(step, way, "miscounted", 0, s.miscounted, 0)
        yield from _judge_loss(step, way, c, s)
        passed = len(s.delays_us)
        if not passed:
            if loss_share(c.loss) < 1:
                yield Gap(step, way, "delay and the like", "none of the few packets passed")
            continue
        for what, wanted, came in (
            ("duplicates %", c.duplicate, s.duplicated),
            ("corrupted %", c.corrupt, s.corrupted),
        ):
            if wanted or came:
                yield figure(step, way, what, wanted, came / passed, share_error(wanted, passed), scale=100)
        if s.duplicated:
            yield figure(step, way, "stray copies", 0, s.stray_copies, 0)
        yield from _judge_delays(asked, step, way, s)


def _judge_loss(step: int, way: Way, c: LinkConditions, s: Sample) -> Iterator[Finding]:
    share = loss_share(c.loss)
    error = loss_error(c.loss, s.sent)
    yield figure(
        step, way, "loss %", share, s.lost / s.sent, max(error, 1 / s.sent) if error else 0, scale=100
    )
    if isinstance(c.loss, TraceLoss):
        if s.runs:
            yield _trace_runs(step, way, c.loss, s)
        return
    if not 0 < share < 1:
        return
    again = chance_of_another(c.loss)
    if again is None or not s.after_lost:
        why = "nothing was lost" if again is not None else "this model has no single number for it"
        yield Gap(step, way, "burst", why)
        return
    measured = s.lost_again / s.after_lost
    z = figure(step, way, "", again, measured, share_error(again, s.after_lost)).z
    yield Row(step, way, "burst", 1 / (1 - again), 1 / (1 - measured) if measured < 1 else inf, z)


def _trace_runs(step: int, way: Way, loss: TraceLoss, s: Sample) -> Row:
    pattern = loss.pattern
    runs = sum(here and not before for before, here in zip((pattern[-1], *pattern), pattern, strict=False))
    asked = sum(pattern) / runs if runs else inf
    error = asked * len(pattern) / s.sent / STANDARD_ERRORS * 2
    return figure(step, way, "burst", asked, s.lost / s.runs, error)


def _judge_delays(asked: Scenario, step: int, way: Way, s: Sample) -> Iterator[Finding]:
    c: LinkConditions = getattr(asked.steps[step], way)
    delays = np.array(s.delays_us)
    traced = any(getattr(other, way).rate_trace is not None for other in asked.steps)
    if traced and len(asked.steps) > 1:
        yield Gap(
            step, way, "delay", "a recorded rate in a schedule: packets wait from one step into the next"
        )
        return
    if c.rate_trace is not None:
        delays -= np.array([until_opportunity_us(c.rate_trace, at_us) for at_us in s.sent_at_us])
    elif c.rate_bps is not None and c.burst_bytes == 0:
        byte_us = -(-8_000_000 // c.rate_bps)
        if byte_us >= SPARSE_SPACING_US:
            yield Gap(step, way, "delay", "the rate is so low that single bytes wait for each other")
            return
        delays -= byte_us
    for quantile in QUANTILES:
        yield _quantile(step, way, c, delays, quantile)
    if c.jitter_us:
        yield _neighbours(step, way, c, delays, np.array(s.follows))
    if c.reorder:
        # Visible one by one where the jitter is shorter than the holding back.
        if c.jitter_us and (c.jitter_shape is not JitterShape.UNIFORM or c.jitter_us >= c.reorder_us):
            yield Gap(step, way, "held back %", "the jitter hides who was held back")
            return
        held = int(np.count_nonzero(delays >= c.delay_us + c.reorder_us)) / len(delays)
        yield figure(
            step, way, "held back %", c.reorder, held, share_error(c.reorder, len(delays)), scale=100
        )


def _quantile(
    step: int, way: Way, c: LinkConditions, delays: npt.NDArray[np.int64], quantile: float
) -> Finding:
    """Count the packets up to and those below the delay that was asked for: where all have the same one, both matter."""
    what = f"p{quantile * 100:.0f} ms"
    wanted = delay_quantile_us(c, quantile)
    worst = 0.0
    for at_us in (wanted, wanted - 1):
        share = delay_share(c, at_us)
        grown = correlated_variance(share, c.jitter_correlation)
        if at_us == wanted and 0 < len(delays) * (1 - share) / grown < BEYOND_MIN:
            return Gap(step, way, what, "too few packets are beyond it")
        below = int(np.count_nonzero(delays <= at_us)) / len(delays)
        error = sqrt(max(0.0, share * (1 - share)) * grown / len(delays))
        # Never exact: one on the wire when the rate changes may be off by a microsecond. The fewer are below, the longer
        # the delay.
        z = (share - below) / max(error, 1 / len(delays))
        worst = max(worst, z, key=abs)
    measured = float(np.quantile(delays, quantile, method="inverted_cdf"))
    return Row(step, way, what, wanted / 1000, measured / 1000, worst)


def _neighbours(
    step: int, way: Way, c: LinkConditions, delays: npt.NDArray[np.int64], follows: npt.NDArray[np.bool_]
) -> Finding:
    """The correlation of a packet's delay with that of the one before, both taken as the Gaussian numbers behind them."""
    what = "neighbours"
    r = c.jitter_correlation
    pairs = int(np.count_nonzero(follows))
    if c.reorder:
        return Gap(step, way, what, "who is held back differs from his neighbours")
    if pairs < PAIRS_MIN:
        return Gap(step, way, what, "too few packets came one after the other")
    if r and (c.jitter_us < CORRELATED_JITTER_MIN_US or delay_share(c, 0) > CUT_MAX):
        return Gap(step, way, what, "the jitter is too small, or cut off at no delay")
    different, places = np.unique(delays, return_inverse=True)
    scores = np.array([normal_score(c, int(delay_us)) for delay_us in different])[places]
    here, before = scores[1:][follows[1:]], scores[:-1][follows[1:]]
    measured = float(2 * np.sum(here * before) / np.sum(here**2 + before**2))
    # Bartlett's formula for an AR(1) process; of pairs that are independent of each other it would be less.
    return figure(step, way, what, r, measured, sqrt((1 - r**2) / pairs))

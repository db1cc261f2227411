"""A scenario in the words of `tc netem`, for netem/apply; what the kernel does otherwise is said, not hidden.

netem(8), tc-netem(8) and net/sched/sch_netem.c (Linux 6.12) are the sources. A changed netem keeps the rate, the
corruption, the correlation and the distribution that the new command does not mention, so each step of a schedule
mentions all that any of them uses.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import DEFAULT_QUEUE_US, LinkConditions
from udpconf.emulation.loss import Bernoulli, GilbertElliott, LossModel, NoLoss, TraceLoss
from udpconf.emulation.scenario import Scenario, ScenarioError, load_scenario

EXIT_CONFIGURATION = 3

# netem's queue holds packets, not bytes; the media's packets are about as large as the path carries.
PACKET_BYTES = 1500
# Where nothing but delay fills the queue: one second at 100 000 packets a second.
LIMIT_WITHOUT_RATE = 100_000
# tc takes the number as 32 bits.
LIMIT_MAX = 2**32 - 1
# netem keeps packets in order only where it has a rate. At this one a packet takes about a microsecond.
RATE_TO_KEEP_ORDER = "10gbit"
# The kernel counts Ethernet's header as well, udpconf's links begin with IP's.
ETHERNET_HEADER_BYTES = 14
# The table of iproute2 scales a Pareto distribution of shape 3 by 4/3 of the jitter about its mean. Ours has its minimum
# at the delay: twice the mean jitter is its scale, 2 J (P - 1) = J + 4/3 (3/2 J) (P - 3/2).
PARETO_SIGMA = 1.5


class NetemStep(NamedTuple):
    """What follows `tc qdisc change dev DEVICE root handle HANDLE`, and when, microseconds from the start."""

    at_us: int
    arguments: str


class NetemPlan(NamedTuple):
    """One direction of a scenario."""

    steps: tuple[NetemStep, ...]  # neighbours differ
    repeat_us: int | None
    notes: tuple[str, ...]  # sentences: what netem does otherwise than udpconf's own links


def netem_plan(scenario: Scenario, direction: str) -> NetemPlan:
    """What to tell `tc` for the "up" or the "down" half of a scenario.

    Raises:
        ScenarioError: it has something that netem cannot do; a sentence.
    """
    halves = [step.up if direction == "up" else step.down for step in scenario.steps]
    for half in halves:
        refuse_impossible(scenario.name, half)
    jittery = {half.jitter_shape for half in halves if half.jitter_us > 0}
    if JitterShape.UNIFORM in jittery and len(jittery) > 1:
        raise ScenarioError(
            f"{scenario.name} changes its jitter from or to uniform on the way, which tc netem cannot do; "
            "netem/lab-net and the UDP proxy can"
        )
    steps: list[NetemStep] = []
    for step, half in zip(scenario.steps, halves, strict=True):
        arguments = netem_arguments(half, halves)
        if not steps or steps[-1].arguments != arguments:
            steps.append(NetemStep(step.at_us, arguments))
    notes = dict.fromkeys(note for half in halves for note in differences(half))
    return NetemPlan(tuple(steps), scenario.repeat_us if len(steps) > 1 else None, tuple(notes))


def refuse_impossible(name: str, half: LinkConditions) -> None:
    impossible = (
        "a trace of rates"
        if half.rate_trace is not None
        else "a trace of losses"
        if isinstance(half.loss, TraceLoss)
        else "exponential jitter"
        if half.jitter_us > 0 and half.jitter_shape is JitterShape.EXPONENTIAL
        else None
    )
    if impossible is not None:
        raise ScenarioError(
            f"{name} has {impossible}, which tc netem cannot do; netem/lab-net and the UDP proxy can"
        )


def netem_arguments(half: LinkConditions, all_halves: Sequence[LinkConditions]) -> str:
    """One netem command line; all_halves are the steps it is one of."""
    words = ["netem", f"limit {limit_packets(half)}"]
    words += delay_words(half, any(other.jitter_correlation for other in all_halves))
    words += loss_words(half.loss)
    if half.duplicate > 0:
        words.append(f"duplicate {percent(half.duplicate)}")
    if any(other.corrupt for other in all_halves):
        words.append(f"corrupt {percent(half.corrupt)}")
    if half.rate_bps is not None:
        words.append(f"rate {rate(half.rate_bps)} -{ETHERNET_HEADER_BYTES}")
    elif half.jitter_us > 0 and half.keep_order:
        words.append(f"rate {RATE_TO_KEEP_ORDER}")
    elif any(
        other.rate_bps is not None or (other.jitter_us > 0 and other.keep_order) for other in all_halves
    ):
        words.append("rate 0bit")
    return " ".join(words)


def limit_packets(half: LinkConditions) -> int:
    """The queue, and with it what is on its way, because netem keeps both in one place."""
    if half.rate_bps is None:
        return LIMIT_WITHOUT_RATE
    underway_us = half.delay_us + 2 * half.jitter_us
    if half.queue_bytes is None and half.queue_us is None:
        underway_us += DEFAULT_QUEUE_US
    underway_us += half.queue_us or 0
    size_bytes = underway_us * half.rate_bps // 8_000_000 + (half.queue_bytes or 0)
    return min(max(2, -(-size_bytes // PACKET_BYTES)), LIMIT_MAX)


def delay_words(half: LinkConditions, correlated: bool) -> list[str]:
    delay_us, jitter_us, distribution = half.delay_us, half.jitter_us, ""
    if half.jitter_us > 0:
        if half.jitter_shape is JitterShape.UNIFORM:  # netem's is plus or minus
            delay_us, jitter_us = delay_us + -(-jitter_us // 2), -(-jitter_us // 2)
        elif half.jitter_shape is JitterShape.NORMAL:
            delay_us = max(delay_us, 1)  # tc wants some delay with a distribution
            distribution = " distribution normal"
        else:
            delay_us, jitter_us = delay_us + jitter_us, round(PARETO_SIGMA * jitter_us)
            distribution = " distribution pareto"
    overtaking = half.reorder
    if half.reorder > 0 and delay_us == 0:
        delay_us, overtaking = half.reorder_us, 1 - half.reorder  # who is not held back is sent at once
    if delay_us == 0 and not correlated:
        return []
    words = [f"delay {duration(delay_us)}"]
    if jitter_us > 0 or correlated:
        words[0] += f" {duration(jitter_us)}"
    if correlated:
        words[0] += f" {percent(half.jitter_correlation)}"
    words[0] += distribution
    if half.reorder > 0 and delay_us > 0:
        words.append(f"reorder {percent(overtaking)}")
    return words


def loss_words(loss: LossModel) -> list[str]:
    if isinstance(loss, NoLoss):
        return []
    if isinstance(loss, Bernoulli):
        return [f"loss random {percent(loss.share)}"]
    if isinstance(loss, GilbertElliott):
        if loss.loss_good == loss.loss_bad:  # an outage; the kernel keeps no memory over a change anyway
            return [f"loss random {percent(loss.loss_good)}"]
        chances = (loss.p_good_to_bad, loss.p_bad_to_good, loss.loss_bad, loss.loss_good)
        return [f"loss gemodel {' '.join(percent(chance) for chance in chances)}"]
    raise ScenarioError(f"tc netem cannot lose packets as {type(loss).__name__} does")


def differences(half: LinkConditions) -> Iterator[str]:
    """What netem does otherwise than udpconf's own links."""
    if half.rate_bps is not None:
        yield f"netem's queue is counted in packets; the limit is meant for packets of {PACKET_BYTES} bytes"
        if half.burst_bytes > 0:
            yield "netem has no token bucket; the rate is constant"
        if half.jitter_us > 0 and not half.keep_order:
            yield "netem keeps the order wherever there is a rate; jitter makes nobody overtake"
    if half.jitter_us > 0 and half.jitter_correlation > 0:
        yield "netem's correlation makes the jitter smaller than it is asked for"
    if half.jitter_us > 0 and half.jitter_shape is JitterShape.PARETO:
        yield "netem's Pareto jitter ends at 7 times its mean"
    if half.reorder > 0 and half.delay_us + half.jitter_us > 0:
        yield "netem reorders by sending that share of packets without any delay, instead of holding it back"
    if half.corrupt > 0:
        yield "netem flips bits in headers too, and the receiver's kernel discards packets with a wrong UDP checksum"


def duration(value_us: int) -> str:
    return f"{value_us // 1000}ms" if value_us % 1000 == 0 else f"{value_us}us"


def percent(share: float) -> str:
    return f"{100 * share:.6f}".rstrip("0").rstrip(".") + "%"


def rate(value_bps: int) -> str:
    for unit, size in (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3)):
        if value_bps % size == 0:
            return f"{value_bps // size}{unit}"
    return f"{value_bps}bit"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what netem/apply plays: lines `note TEXT`, `step MICROSECONDS ARGUMENTS`, `repeat MICROSECONDS`."""
    parser = argparse.ArgumentParser("apply", allow_abbrev=False)
    parser.add_argument("--direction", choices=("up", "down"), default="up")
    parser.add_argument("scenario")
    options = parser.parse_args(arguments)
    try:
        plan = netem_plan(load_scenario(options.scenario), options.direction)
    except ScenarioError as error:
        print(f"apply: {error}", file=sys.stderr)
        return EXIT_CONFIGURATION
    for note in plan.notes:
        print("note", note)
    for step in plan.steps:
        print("step", step.at_us, step.arguments)
    if plan.repeat_us is not None:
        print("repeat", plan.repeat_us)
    return 0

"""A link's conditions as options of a command line: a scenario's name, or single conditions in the words of `tc`."""

import argparse
import textwrap
from collections.abc import Callable
from typing import Any

from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import loss_model
from udpconf.emulation.scenario import Scenario, load_scenario, of_conditions, scenario_names
from udpconf.emulation.units import parse_duration_us, parse_rate_bps, parse_share, parse_size_bytes

DEFAULT_REORDER_US = 10_000
SHAPES = ", ".join(shape.value for shape in JitterShape)
WIDTH = 110


def add_link_options(parser: argparse.ArgumentParser) -> None:
    """The positional SCENARIO, an option for each condition, and for each the same with ``-back``."""

    def condition(name: str, kind: Callable[[str], Any], metavar: str, words: str) -> None:
        def convert(text: str) -> Any:
            try:
                return kind(text)
            except ValueError as error:
                raise argparse.ArgumentTypeError(str(error)) from error

        for option in (f"--{name}", f"--{name}-back"):
            shown = words if option == f"--{name}" else argparse.SUPPRESS
            action = parser.add_argument(option, type=convert, metavar=metavar, help=shown)
            conditions.append((option, action.dest))

    conditions: list[tuple[str, str]] = []
    parser.add_argument("scenario", nargs="?", help="one of those below, or a path to a file such as these")
    condition("delay", parse_duration_us, "25ms", "one way")
    condition("jitter", parse_duration_us, "10ms", "on top of the delay, 0 to this; packets keep their order")
    condition("jitter-shape", parse_shape, "normal", f"what --jitter means: {SHAPES} (uniform)")
    condition("jitter-correlation", parse_share, "25%", "of a packet's jitter with that of the one before")
    condition("loss", parse_share, "2%", "share of packets lost")
    condition(
        "burst",
        positive_number,
        "5",
        "mean length of a run of losses, in packets (Gilbert); without: independent",
    )
    condition("rate", parse_rate_bps, "6mbit", "IP headers included")
    condition("rate-burst", parse_size_bytes, "15kB", "leaves at once after a pause (token bucket)")
    condition("queue", parse_queue, "300ms", "before the rate, drop-tail, as a time or a size (64kB)")
    condition("reorder", parse_share, "1%", "share of packets held back by --reorder-delay")
    condition("reorder-delay", parse_duration_us, "10ms", "by how much (10ms)")
    condition("duplicate", parse_share, "1%", "share of packets that arrive twice")
    condition("corrupt", parse_share, "0.1%", "share of packets that arrive with one bit flipped")
    parser.set_defaults(link_options=conditions)


def scenario_list() -> str:
    """The shipped scenarios, for the end of a help text."""
    return textwrap.fill(f"Scenarios: {', '.join(scenario_names())}.", WIDTH, break_on_hyphens=False)


def scenario_of(options: argparse.Namespace) -> Scenario:
    """What a command line with these options asks for.

    Raises:
        ValueError: with a sentence: no such scenario, nonsense in its file, or conditions that cannot go together.
    """
    if options.scenario is None:
        return of_conditions(conditions_of(options, ""), conditions_of(options, "_back"))
    for option, name in options.link_options:
        if getattr(options, name) is not None:
            raise ValueError(
                f"the scenario {options.scenario} says all about the link: leave out either it or {option}"
            )
    return load_scenario(options.scenario)


def conditions_of(options: argparse.Namespace, suffix: str) -> LinkConditions:
    """The conditions of one direction: suffix "" there, "_back" back. Raises ValueError if they cannot go together."""

    def of(name: str, default: Any) -> Any:
        for key in (name + suffix, name):
            if (value := getattr(options, key)) is not None:
                return value
        return default

    share = of("loss", 0.0)
    queue_bytes, queue_us = of("queue", (None, None))
    return LinkConditions(
        delay_us=of("delay", 0),
        jitter_us=of("jitter", 0),
        jitter_shape=of("jitter_shape", JitterShape.UNIFORM),
        jitter_correlation=of("jitter_correlation", 0.0),
        loss=loss_model(share, of("burst", None) if share > 0 else None),
        rate_bps=of("rate", None),
        burst_bytes=of("rate_burst", 0),
        queue_bytes=queue_bytes,
        queue_us=queue_us,
        reorder=of("reorder", 0.0),
        reorder_us=of("reorder_delay", DEFAULT_REORDER_US),
        duplicate=of("duplicate", 0.0),
        corrupt=of("corrupt", 0.0),
    )


def parse_shape(text: str) -> JitterShape:
    try:
        return JitterShape(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a shape of jitter: {SHAPES}") from None


def positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise ValueError(f"{text!r} is not a number of packets, 1 or more")
    return value


def parse_queue(text: str) -> tuple[int | None, int | None]:
    """(bytes, microseconds), one of them None."""
    try:
        return None, parse_duration_us(text)
    except ValueError:
        try:
            return parse_size_bytes(text), None
        except ValueError:
            raise ValueError(f"{text!r} is neither a time such as 300ms nor a size such as 64kB") from None

"""A link's conditions as options of a command line: a scenario's name, or single conditions in the words of `tc`."""

import argparse
import textwrap
from typing import Any

from udpconf.emulation.condition_words import (
    SHAPES,
    WORDS,
    Description,
    Said,
    conditions_of,
    idle_words,
    over,
)
from udpconf.emulation.scenario import Scenario, load_scenario, of_conditions, scenario_names

WIDTH = 110
# Word: what stands for its value in the help, and what the help says.
OPTIONS = {
    "delay": ("25ms", "one way"),
    "jitter": ("10ms", "on top of the delay, 0 to this; packets keep their order"),
    "jitter_shape": ("normal", f"what --jitter means: {SHAPES} (uniform)"),
    "jitter_correlation": ("25%", "of a packet's jitter with that of the one before"),
    "loss": ("2%", "share of packets lost"),
    "burst": ("5", "mean length of a run of losses, in packets (Gilbert); without: independent"),
    "rate": ("6mbit", "IP headers included"),
    "rate_burst": ("15kB", "leaves at once after a pause (token bucket)"),
    "queue": ("300ms", "before the rate, drop-tail, as a time or a size (64kB)"),
    "reorder": ("1%", "share of packets held back by --reorder-delay"),
    "reorder_delay": ("10ms", "by how much (10ms)"),
    "duplicate": ("1%", "share of packets that arrive twice"),
    "corrupt": ("0.1%", "share of packets that arrive with one bit flipped"),
}
BACK = "_back"


def add_link_options(parser: argparse.ArgumentParser) -> None:
    """The positional SCENARIO, an option for each condition, and for each the same with ``-back``."""
    parser.add_argument("scenario", nargs="?", help="one of those below, or a path to a file such as these")
    for word, (metavar, what) in OPTIONS.items():

        def convert(text: str, word: str = word) -> Any:
            try:
                return WORDS[word].parse(text)
            except ValueError as error:
                raise argparse.ArgumentTypeError(str(error)) from error

        for suffix, shown in (("", what), (BACK, argparse.SUPPRESS)):
            parser.add_argument(option_of(word, suffix), type=convert, metavar=metavar, help=shown)


def option_of(word: str, suffix: str = "") -> str:
    return "--" + (word + suffix).replace("_", "-")


def scenario_list() -> str:
    """The shipped scenarios, for the end of a help text."""
    return textwrap.fill(f"Scenarios: {', '.join(scenario_names())}.", WIDTH, break_on_hyphens=False)


def scenario_of(options: argparse.Namespace) -> Scenario:
    """What a command line with these options asks for.

    Raises:
        ValueError: with a sentence: no such scenario, nonsense in its file, or conditions that cannot go together.
    """
    general, back = said(options, ""), said(options, BACK)
    if options.scenario is not None:
        for found in (*general.values(), *back.values()):
            raise ValueError(
                f"the scenario {options.scenario} says all about the link: leave out either it or {found.where}"
            )
        return load_scenario(options.scenario)
    up, down = general, over(general, back)
    for where, word in idle_words([up, down]):
        partners = " or ".join(option_of(other) for other in WORDS[word].needs if other in OPTIONS)
        raise ValueError(f"{where} does nothing without {partners}; add it, or leave it out")
    return of_conditions(conditions_of(up), conditions_of(down))


def said(options: argparse.Namespace, suffix: str) -> Description:
    """What the options with this suffix say."""
    values = {word: vars(options)[word + suffix] for word in OPTIONS}
    return {word: Said(option_of(word, suffix), value) for word, value in values.items() if value is not None}

"""The bad network that flags ask for: a scenario by its name, or single conditions that never change."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from udpconf.cli.options import flag, from_text, source_of
from udpconf.emulation.units import parse_share
from udpconf.errors import ConfigError

if TYPE_CHECKING:
    from udpconf.emulation.scenario import Scenario

# A command line's own word counts before what the environment holds.
SOURCES = ("COMMANDLINE", "ENVIRONMENT")
# The name of a scenario that is made of single conditions.
CUSTOM = "custom"


def parse_loss(text: str) -> float:
    """2% -> 0.02, and so is 2: after --loss a bare number has always been percent. Raises ValueError with a sentence."""
    return parse_share(f"{text}%" if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text) else text)


def _condition(word: str, metavar: str, words: str, parse: Callable[[str], Any] | None = None) -> Any:
    """The flag for a condition; its text is read as in a scenario file, or by ``parse``."""

    def read(text: str) -> Any:
        from udpconf.emulation.condition_words import WORDS

        return (parse or WORDS[word].parse)(text)

    return flag(_flag_of(word), parser=from_text(read), metavar=metavar, help=words, show_default=False)


def _flag_of(parameter: str) -> str:
    return "--" + parameter.replace("_", "-")


ScenarioName = Annotated[
    str | None,
    flag(
        "--scenario",
        metavar="NAME|FILE",
        help="What the network does: a name that `udpconf proxy --list` shows, or a .toml file.",
        show_default=False,
    ),
]
Delay = Annotated[int | None, _condition("delay", "25ms", "Delay of each way.")]
Jitter = Annotated[
    int | None,
    _condition("jitter", "10ms", "Up to this on top of it; packets keep their order."),
]
Loss = Annotated[float | None, _condition("loss", "2%", "Share of datagrams lost, each way.", parse_loss)]
Burst = Annotated[float | None, _condition("burst", "5", "Lose them in runs of this mean length.")]
Rate = Annotated[int | None, _condition("rate", "6mbit", "What fits through, IP headers included.")]
Queue = Annotated[Any, _condition("queue", "300ms", "What may wait before it, as a time or a size (64kB).")]
Reorder = Annotated[float | None, _condition("reorder", "1%", "Share held back, and overtaken.")]
ReorderDelay = Annotated[int | None, _condition("reorder_delay", "10ms", "By how much (10ms unless given).")]
Duplicate = Annotated[float | None, _condition("duplicate", "1%", "Share that arrives twice.")]
Corrupt = Annotated[float | None, _condition("corrupt", "0.1%", "Share that arrives with one bit flipped.")]
CONDITIONS = (
    "delay",
    "jitter",
    "loss",
    "burst",
    "rate",
    "queue",
    "reorder",
    "reorder_delay",
    "duplicate",
    "corrupt",
)


def chosen_scenario(context: typer.Context, conditions: Sequence[str] = CONDITIONS) -> "Scenario | None":
    """What --scenario or the verb's flags for single conditions say; None: nothing was asked for.

    Raises:
        typer.BadParameter: both, or flags that cannot go together.
        ConfigError: there is no such scenario, or its file is malformed.
    """
    for source in SOURCES:
        named = [name for name in conditions if source_of(context, name) == source]
        by_name = source_of(context, "scenario") == source
        if by_name and named:
            raise typer.BadParameter(
                f"--scenario and {_flag_of(named[0])} exclude each other; a scenario says everything about the network."
            )
        if by_name:
            return named_scenario(context.params["scenario"])
        if named:
            return _custom(context, conditions)
    return None


def named_scenario(name: str) -> "Scenario":
    """The scenario of this name or file.

    Raises:
        ConfigError: there is none, or its file is malformed.
    """
    from udpconf.emulation.scenario import ScenarioError, load_scenario

    try:
        return load_scenario(name)
    except ScenarioError as error:
        raise ConfigError(str(error)) from error


def _custom(context: typer.Context, conditions: Sequence[str]) -> "Scenario":
    from udpconf.emulation.condition_words import WORDS, Said, conditions_of, idle_words
    from udpconf.emulation.scenario import of_conditions

    given = {name: Said(name, value) for name in conditions if (value := context.params[name]) is not None}
    for name, _ in idle_words([given]):
        if source_of(context, name) == "COMMANDLINE":
            needed = next(other for other in WORDS[name].needs if other in conditions)
            raise typer.BadParameter(
                f"{_flag_of(name)} does nothing without {_flag_of(needed)}; add it, or leave it out."
            )
    try:
        return of_conditions(conditions_of(given), name=CUSTOM)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None

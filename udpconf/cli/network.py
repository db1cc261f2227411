"""The bad network that flags ask for: a scenario by its name, or single conditions that never change."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from udpconf.cli.options import flag
from udpconf.emulation.units import parse_duration_us, parse_rate_bps, parse_share
from udpconf.errors import ConfigError

if TYPE_CHECKING:
    from udpconf.emulation.scenario import Scenario

# A command line's own word counts before what the environment holds.
SOURCES = ("COMMANDLINE", "ENVIRONMENT")
# The name of a scenario that is made of single conditions.
CUSTOM = "custom"
# Each does nothing without the other one.
NEEDS = {"burst": "loss", "queue": "rate", "reorder_delay": "reorder"}


def _from_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """For typer, which keeps the sentence of BadParameter but not that of ValueError."""

    def convert(value: Any) -> Any:
        try:
            return parse(value) if isinstance(value, str) else value  # typer passes defaults through here too
        except ValueError as error:
            raise typer.BadParameter(f"{error}.") from None

    return convert


def parse_loss(text: str) -> float:
    """2% -> 0.02, and so is 2: after --loss a bare number has always been percent. Raises ValueError with a sentence."""
    return parse_share(f"{text}%" if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text) else text)


def _parse_burst(text: str) -> float:
    from udpconf.emulation.link_options import positive_number

    return positive_number(text)


def _parse_queue(text: str) -> tuple[int | None, int | None]:
    from udpconf.emulation.link_options import parse_queue

    return parse_queue(text)


def _condition(name: str, parse: Callable[[str], Any], metavar: str, words: str) -> Any:
    return flag(name, parser=_from_text(parse), metavar=metavar, help=words, show_default=False)


ScenarioName = Annotated[
    str | None,
    flag(
        "--scenario",
        metavar="NAME|FILE",
        help="What the network does: a name that `udpconf proxy --list` shows, or a .toml file.",
        show_default=False,
    ),
]
Delay = Annotated[int | None, _condition("--delay", parse_duration_us, "25ms", "Delay of each way.")]
Jitter = Annotated[
    int | None,
    _condition("--jitter", parse_duration_us, "10ms", "Up to this on top of it; packets keep their order."),
]
Loss = Annotated[float | None, _condition("--loss", parse_loss, "2%", "Share of datagrams lost, each way.")]
Burst = Annotated[
    float | None, _condition("--burst", _parse_burst, "5", "Lose them in runs of this mean length.")
]
Rate = Annotated[
    int | None, _condition("--rate", parse_rate_bps, "6mbit", "What fits through, IP headers included.")
]
Queue = Annotated[
    Any, _condition("--queue", _parse_queue, "300ms", "What may wait before it, as a time or a size (64kB).")
]
Reorder = Annotated[
    float | None, _condition("--reorder", parse_share, "1%", "Share held back, and overtaken.")
]
ReorderDelay = Annotated[
    int | None, _condition("--reorder-delay", parse_duration_us, "10ms", "By how much (10ms unless given).")
]
Duplicate = Annotated[float | None, _condition("--duplicate", parse_share, "1%", "Share that arrives twice.")]
Corrupt = Annotated[
    float | None, _condition("--corrupt", parse_share, "0.1%", "Share that arrives with one bit flipped.")
]
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
        named = [name for name in conditions if _source_of(context, name) == source]
        by_name = _source_of(context, "scenario") == source
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
    from udpconf.emulation.link import LinkConditions
    from udpconf.emulation.link_options import DEFAULT_REORDER_US
    from udpconf.emulation.loss import loss_model
    from udpconf.emulation.scenario import of_conditions

    given = {name: value for name in conditions if (value := context.params[name]) is not None}
    for name, needed in NEEDS.items():
        if name in given and needed not in given and _source_of(context, name) == "COMMANDLINE":
            raise typer.BadParameter(
                f"{_flag_of(name)} does nothing without {_flag_of(needed)}; add it, or leave it out."
            )
    share = given.get("loss", 0.0)
    queue_bytes, queue_us = given.get("queue", (None, None))
    try:
        link = LinkConditions(
            delay_us=given.get("delay", 0),
            jitter_us=given.get("jitter", 0),
            loss=loss_model(share, given.get("burst") if share > 0 else None),
            rate_bps=given.get("rate"),
            queue_bytes=queue_bytes,
            queue_us=queue_us,
            reorder=given.get("reorder", 0.0),
            reorder_us=given.get("reorder_delay", DEFAULT_REORDER_US),
            duplicate=given.get("duplicate", 0.0),
            corrupt=given.get("corrupt", 0.0),
        )
        link.validate()
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None
    return of_conditions(link, name=CUSTOM)


def _source_of(context: typer.Context, parameter: str) -> str:
    source = context.get_parameter_source(parameter)
    return "" if source is None else source.name


def _flag_of(parameter: str) -> str:
    return "--" + parameter.replace("_", "-")

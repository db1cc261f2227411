"""Named networks: what a path does to packets, when it changes, and where the numbers come from (netem/scenarios)."""

from pathlib import Path
from typing import NamedTuple

from udpconf.emulation.link import LinkConditions
from udpconf.emulation.scenario_file import read_scenario_file
from udpconf.emulation.units import shown

_HERE = Path(__file__).resolve().parent
# Installed from a wheel they lie beside this file; in a checkout, where people look for them.
_FOLDERS = (_HERE / "scenarios", _HERE.parent.parent / "netem" / "scenarios")


class ScenarioError(ValueError):
    """A scenario that is not there or not right; the text is a sentence for people."""


class Step(NamedTuple):
    """From ``at_us`` on, counted from the first packet, both directions are like this."""

    at_us: int
    up: LinkConditions  # from the client to the server, or from B to A
    down: LinkConditions


class Scenario(NamedTuple):
    """A network over time."""

    name: str
    title: str
    source: str  # where its numbers come from
    steps: tuple[Step, ...]  # the first at 0, times rising
    repeat_us: int | None  # then the steps begin anew; None: the last one stays


def scenario_names() -> list[str]:
    """The shipped scenarios, in alphabetical order."""
    return sorted(_shipped())


def load_scenario(name_or_path: str) -> Scenario:
    """Read a shipped scenario by its name, or any by the path of its .toml file.

    Raises:
        ScenarioError: with a sentence.
    """
    path = _path_of(name_or_path)
    try:
        said = read_scenario_file(path)
    except ValueError as error:
        name = str(path) if str(path).isprintable() else shown(str(path))
        raise ScenarioError(f"The scenario {name}: {error}.") from error
    steps = tuple(Step(*step) for step in said.steps)
    return Scenario(path.stem, said.title, said.source, steps, said.repeat_us)


def of_conditions(up: LinkConditions, down: LinkConditions | None = None, name: str = "custom") -> Scenario:
    """A scenario that never changes; ``down`` None: the same as up."""
    return Scenario(name, name, "", (Step(0, up, up if down is None else down),), None)


def step_at(scenario: Scenario, elapsed_us: int) -> int:
    """The number of the step that holds then, from 0."""
    if scenario.repeat_us is not None:
        elapsed_us %= scenario.repeat_us
    return max(number for number, step in enumerate(scenario.steps) if step.at_us <= max(0, elapsed_us))


def _shipped() -> dict[str, Path]:
    return {path.stem: path for folder in _FOLDERS if folder.is_dir() for path in folder.glob("*.toml")}


def _path_of(name_or_path: str) -> Path:
    if name_or_path.endswith(".toml"):
        return Path(name_or_path)
    if (path := _shipped().get(name_or_path)) is not None:
        return path
    known = ", ".join(scenario_names())
    raise ScenarioError(
        f"There is no scenario {shown(name_or_path)}. Give one of {known}, or the path of a .toml file."
    )

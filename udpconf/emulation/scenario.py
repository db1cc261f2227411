"""Named networks: what a path does to packets, when it changes, and where the numbers come from (netem/scenarios).

A scenario file is TOML. [link] holds for both directions, [up] and [down] add to it for one; each [[step]] says what is
different from a moment on, counted from the first packet. The words of the conditions are those of `tc`:
netem/README.md has the list.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli, LossModel, NoLoss, TraceLoss, loss_model
from udpconf.emulation.rate_trace import (
    LINES_MAX,
    OPPORTUNITY_BYTES,
    RateTrace,
    parse_rate_trace,
    synthetic_cellular,
)
from udpconf.emulation.units import parse_duration_us, parse_rate_bps, parse_share, parse_size_bytes

_HERE = Path(__file__).resolve().parent
# Installed from a wheel they lie beside this file; in a checkout, where people look for them.
_FOLDERS = (_HERE / "scenarios", _HERE.parent.parent / "netem" / "scenarios")
SYNTHETIC_SECONDS_MAX = 3600
# Steps cost their time; a schedule finer than this would leave none for packets.
STEP_MIN_US = 1000


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
    return sorted({path.stem for folder in _FOLDERS if folder.is_dir() for path in folder.glob("*.toml")})


def load_scenario(name_or_path: str) -> Scenario:
    """Read a shipped scenario by its name, or any by the path of its .toml file.

    Raises:
        ScenarioError: with a sentence.
    """
    path = _path_of(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ScenarioError(f"The scenario {path} cannot be read: {why}.") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"The scenario {path} is no valid TOML: {error}.") from error
    except RecursionError as error:
        raise ScenarioError(
            f"The scenario {path} is no valid TOML: its brackets are nested too deeply."
        ) from error
    return _Reader(path).scenario(document)


def of_conditions(up: LinkConditions, down: LinkConditions | None = None, name: str = "custom") -> Scenario:
    """A scenario that never changes; ``down`` None: the same as up."""
    return Scenario(name, name, "", (Step(0, up, up if down is None else down),), None)


def conditions_at(scenario: Scenario, elapsed_us: int) -> tuple[LinkConditions, LinkConditions]:
    """Up and down, so long after the first packet."""
    step = scenario.steps[step_at(scenario, elapsed_us)]
    return step.up, step.down


def step_at(scenario: Scenario, elapsed_us: int) -> int:
    """The number of the step that holds then, from 0."""
    if scenario.repeat_us is not None:
        elapsed_us %= scenario.repeat_us
    return max(number for number, step in enumerate(scenario.steps) if step.at_us <= max(0, elapsed_us))


def _path_of(name_or_path: str) -> Path:
    if name_or_path.endswith(".toml"):
        return Path(name_or_path)
    for folder in _FOLDERS:
        path = folder / f"{name_or_path}.toml"
        if Path(name_or_path).name == name_or_path and path.is_file():
            return path
    known = ", ".join(scenario_names())
    raise ScenarioError(
        f"There is no scenario {name_or_path!r}. Give one of {known}, or the path of a .toml file."
    )


# --- the file --------------------------------------------------------------------------------------------------------

_Table = Mapping[str, Any]


class _Reader:
    """Turns one file's tables into conditions; every complaint names the file, the table and the key."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def scenario(self, document: _Table) -> Scenario:
        self._check_keys(
            document, {"title", "source", "link", "up", "down", "step", "schedule"}, "at the top"
        )
        link, up, down = (self._table(document, key) for key in ("link", "up", "down"))
        steps = [self._step(0, "[link]", _over(link, up), _over(link, down))]
        listed = document.get("step", [])
        if not isinstance(listed, list) or not all(isinstance(table, dict) for table in listed):
            raise self._error("[[step]]", "is written with two brackets")
        for number, table in enumerate(listed, 1):
            where = f"[[step]] number {number}"
            own_up, own_down = self._table(table, "up"), self._table(table, "down")
            both = {key: value for key, value in table.items() if key not in ("at", "up", "down")}
            if "at" not in table:
                raise self._error(where, 'has no time; add at = "10s"')
            at_us = self._value(where, "at", table["at"], parse_duration_us)
            if at_us < steps[-1].at_us + STEP_MIN_US:
                raise self._error(where, "does not come 1 ms or more after the step before it")
            steps.append(
                self._step(at_us, where, _over(link, up, both, own_up), _over(link, down, both, own_down))
            )
        schedule = self._table(document, "schedule")
        self._check_keys(schedule, {"repeat"}, "[schedule]")
        repeat_us = None
        if "repeat" in schedule:
            repeat_us = self._value("[schedule]", "repeat", schedule["repeat"], parse_duration_us)
            if repeat_us < steps[-1].at_us + STEP_MIN_US:
                raise self._error("[schedule]", "repeats before its last step has lasted for 1 ms")
        title, source = (self._text(document, key) for key in ("title", "source"))
        return Scenario(self._path.stem, title, source, tuple(steps), repeat_us)

    def _step(self, at_us: int, where: str, up: _Table, down: _Table) -> Step:
        return Step(at_us, self._conditions(where, up), self._conditions(where, down))

    def _conditions(self, where: str, table: _Table) -> LinkConditions:
        self._check_keys(table, _WORDS.keys() | {"burst", "queue", "loss", "loss_trace", "outage"}, where)
        fields: dict[str, Any] = {"reorder_us": 10_000} if "reorder" in table else {}
        for word, (field, parse) in _WORDS.items():
            if word in table:
                fields[field] = self._value(where, word, table[word], parse)
        if "rate_trace" in table:
            fields["rate_trace"] = self._rate_trace(where, table["rate_trace"])
        if "queue" in table:
            fields.update(self._value(where, "queue", table["queue"], _parse_queue))
        conditions = LinkConditions(loss=self._loss(where, table), **fields)
        try:
            conditions.validate()
        except ValueError as error:
            raise self._error(where, f"cannot be: {error}") from error
        return conditions

    def _loss(self, where: str, table: _Table) -> LossModel:
        if self._value(where, "outage", table.get("outage", False), _parse_flag):
            return Bernoulli(1.0)
        if "loss_trace" in table:
            if "loss" in table or "burst" in table:
                raise self._error(where, "has both loss and loss_trace; leave one of them out")
            text = self._file_or(where, "loss_trace", table["loss_trace"])
            digits = "".join(text.split())
            if not digits or set(digits) - {"0", "1"}:
                raise self._error(where, "has a loss_trace that is not a row of 0 (passes) and 1 (lost)")
            return TraceLoss(tuple(digit == "1" for digit in digits))
        share = self._value(where, "loss", table.get("loss", "0%"), parse_share)
        burst = self._value(where, "burst", table["burst"], _parse_number) if "burst" in table else None
        try:
            return loss_model(share, burst) if share else NoLoss()
        except ValueError as error:
            raise self._error(where, f"cannot be: {error}") from error

    def _rate_trace(self, where: str, value: Any) -> RateTrace:
        if isinstance(value, dict) and isinstance(value.get("synthetic"), dict) and len(value) == 1:
            recipe = value["synthetic"]
            self._check_keys(recipe, {"seed", "seconds", "mean"}, f"{where} rate_trace")
            seconds = self._value(where, "seconds", recipe.get("seconds", 60), _parse_number)
            if not 1 <= seconds <= SYNTHETIC_SECONDS_MAX:
                raise self._error(
                    where, f"has a synthetic trace of {seconds:g} seconds, not 1 to {SYNTHETIC_SECONDS_MAX}"
                )
            mean_bps = self._value(where, "mean", recipe.get("mean", "6mbit"), parse_rate_bps)
            if mean_bps * seconds / 8 / OPPORTUNITY_BYTES > LINES_MAX:
                raise self._error(where, f"has a synthetic trace of more than {LINES_MAX} opportunities")
            return synthetic_cellular(str(recipe.get("seed", 1)), int(seconds), mean_bps)
        try:
            return parse_rate_trace(self._file_or(where, "rate_trace", value))
        except ScenarioError:
            raise
        except ValueError as error:
            raise self._error(where, f"has a bad rate_trace: {error}") from error

    def _file_or(self, where: str, key: str, value: Any) -> str:
        """The text itself, or that of a file beside the scenario."""
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and value.keys() == {"file"} and isinstance(value["file"], str):
            path = self._path.parent / value["file"]
            try:
                return path.read_text(encoding="ascii")
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not plain text"
                raise self._error(
                    where, f"names the {key} file {path}, which cannot be read: {why}"
                ) from error
        raise self._error(where, f'has a {key} that is neither text nor {{ file = "..." }}')

    def _value(self, where: str, key: str, value: Any, parse: Callable[[Any], Any]) -> Any:
        try:
            return parse(value)
        except (ValueError, AttributeError, TypeError) as error:
            why = (
                str(error)
                if isinstance(error, ValueError)
                else f"{value!r} is not written in quotes with its unit"
            )
            raise self._error(where, f"has a bad {key}: {why}") from error

    def _table(self, table: _Table, key: str) -> _Table:
        value = table.get(key, {})
        if not isinstance(value, dict):
            raise self._error(f"[{key}]", "is not a table")
        return value

    def _text(self, table: _Table, key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self._error("at the top", f'has no {key}; add {key} = "..."')
        return value

    def _check_keys(self, table: _Table, known: set[str], where: str) -> None:
        unknown = sorted(table.keys() - known)
        if unknown:
            raise self._error(
                where, f"has an unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}"
            )

    def _error(self, where: str, what: str) -> ScenarioError:
        return ScenarioError(f"The scenario {self._path}: {where} {what}.")


# A word of a more particular table takes the place of these, too.
_REPLACES = {
    "loss": ("loss_trace",),
    "loss_trace": ("loss", "burst"),
    "rate": ("rate_trace",),
    "rate_trace": ("rate", "rate_burst"),
}


def _over(*tables: _Table) -> _Table:
    """The later, more particular tables on top of the earlier ones."""
    result: dict[str, Any] = {}
    for table in tables:
        for word in table:
            for other in _REPLACES.get(word, ()):
                result.pop(other, None)
        result.update(table)
    return result


def _parse_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004 - a wrong file, not a wrong call
    return value


def _parse_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")  # noqa: TRY004
    return float(value)


def _parse_shape(value: Any) -> JitterShape:
    try:
        return JitterShape(value)
    except ValueError:
        words = ", ".join(shape.value for shape in JitterShape)
        raise ValueError(f"{value!r} is not one of {words}") from None


def _parse_queue(value: Any) -> dict[str, int]:
    try:
        return {"queue_us": parse_duration_us(value)}
    except ValueError:
        try:
            return {"queue_bytes": parse_size_bytes(value)}
        except ValueError:
            raise ValueError(f"{value!r} is neither a time such as 300ms nor a size such as 64kB") from None


def _no_parse(value: Any) -> Any:
    return value


# Word in the file: field of LinkConditions, and how it is read.
_WORDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "delay": ("delay_us", parse_duration_us),
    "jitter": ("jitter_us", parse_duration_us),
    "jitter_shape": ("jitter_shape", _parse_shape),
    "jitter_correlation": ("jitter_correlation", parse_share),
    "keep_order": ("keep_order", _parse_flag),
    "rate": ("rate_bps", parse_rate_bps),
    "rate_burst": ("burst_bytes", parse_size_bytes),
    "rate_trace": ("rate_trace", _no_parse),
    "reorder": ("reorder", parse_share),
    "reorder_delay": ("reorder_us", parse_duration_us),
    "duplicate": ("duplicate", parse_share),
    "corrupt": ("corrupt", parse_share),
}

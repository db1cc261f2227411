"""What a scenario file says, read from its TOML.

[link] holds for both directions, [up] and [down] add to it for one; each [[step]] says what is different from a moment
on, counted from the first packet. netem/README.md has the list of words.
"""

import tomllib
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from udpconf.emulation.condition_words import WORDS, Description, Said, conditions_of, idle_words, over
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import TraceLoss
from udpconf.emulation.rate_trace import (
    LINES_MAX,
    OPPORTUNITY_BYTES,
    RateTrace,
    parse_rate_trace,
    synthetic_cellular,
)
from udpconf.emulation.units import parse_duration_us, parse_rate_bps, shown

SYNTHETIC_SECONDS_MAX = 3600
# A rate trace of LINES_MAX lines fits.
FILE_MAX_CHARACTERS = 150_000_000
# Steps cost their time; a schedule finer than this would leave none for packets.
STEP_MIN_US = 1000

_Table = Mapping[str, Any]


class ScenarioFile(NamedTuple):
    """What a file says."""

    title: str
    source: str
    steps: list[tuple[int, LinkConditions, LinkConditions]]  # at_us, up, down; the first at 0, times rising
    repeat_us: int | None


def read_scenario_file(path: Path) -> ScenarioFile:
    """Read a file; others that it names lie beside it.

    Raises:
        ValueError: with a sentence without its period, which names the table and the key.
    """
    text = _read_text(path, "utf-8", "it")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is no valid TOML: {error}") from error
    except RecursionError as error:
        raise ValueError("it is no valid TOML: its brackets are nested too deeply") from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise ValueError("it is no valid TOML: it has a number of thousands of digits") from error
    return _Reader(path.parent).scenario(document)


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # The same trace is the same object in every step and direction: making one of ten minutes takes a second, and a
        # link knows by it that its rate goes on.
        self._recorded = cache(parse_rate_trace)
        self._synthetic = cache(synthetic_cellular)

    def scenario(self, document: _Table) -> ScenarioFile:
        _check_keys("at the top", document, {"title", "source", "link", "up", "down", "step", "schedule"})
        title, source = (_text(document, key) for key in ("title", "source"))
        link, up, down = (
            self._words(f"[{key}]", _table(f"[{key}]", document, key)) for key in ("link", "up", "down")
        )
        times_us, links = [0], [over(link, up), over(link, down)]
        listed = document.get("step", [])
        if not isinstance(listed, list) or not all(isinstance(table, dict) for table in listed):
            raise ValueError("[[step]] is written with two brackets")
        for number, table in enumerate(listed, 1):
            where = f"[[step]] number {number}"
            if "at" not in table:
                raise ValueError(f'{where} has no time; add at = "10s"')
            times_us.append(_parsed(where, "at", table["at"], parse_duration_us))
            if times_us[-1] < times_us[-2] + STEP_MIN_US:
                raise ValueError(f"{where} does not come 1 ms or more after the step before it")
            both = self._words(where, {key: table[key] for key in table if key not in ("at", "up", "down")})
            for key, inherited in (("up", up), ("down", down)):
                there = f"{where}, [step.{key}]"
                links.append(over(link, inherited, both, self._words(there, _table(there, table, key))))
        schedule = _table("[schedule]", document, "schedule")
        _check_keys("[schedule]", schedule, {"repeat"})
        repeat_us = None
        if "repeat" in schedule:
            repeat_us = _parsed("[schedule]", "repeat", schedule["repeat"], parse_duration_us)
            if repeat_us < times_us[-1] + STEP_MIN_US:
                raise ValueError("[schedule] repeats before its last step has lasted for 1 ms")
        for where, word in idle_words(links):
            raise ValueError(
                f"{where} has {word}, which does nothing without {' or '.join(WORDS[word].needs)}"
            )
        conditions = [_conditions(link) for link in links]
        steps = list(zip(times_us, conditions[::2], conditions[1::2], strict=True))
        return ScenarioFile(title, source, steps, repeat_us)

    def _words(self, where: str, table: _Table) -> Description:
        _check_keys(where, table, WORDS.keys())
        special = {"rate_trace": self._rate_trace, "loss_trace": self._loss_trace}
        return {
            word: Said(where, _parsed(where, word, value, special.get(word, WORDS[word].parse)))
            for word, value in table.items()
        }

    def _loss_trace(self, value: Any) -> TraceLoss:
        trace: TraceLoss = WORDS["loss_trace"].parse(self._text_or_file(value))
        return trace

    def _rate_trace(self, value: Any) -> RateTrace:
        if not (isinstance(value, dict) and value.keys() == {"synthetic"}):
            return self._recorded(self._text_or_file(value))
        recipe = _table("synthetic", value, "synthetic")
        _check_keys("synthetic", recipe, {"seed", "seconds", "mean"})
        seconds = _parsed("synthetic", "seconds", recipe.get("seconds", 60), _parse_seconds)
        mean_bps = _parsed("synthetic", "mean", recipe.get("mean", "6mbit"), parse_rate_bps)
        if mean_bps * seconds / 8 / OPPORTUNITY_BYTES > LINES_MAX:
            raise ValueError(f"synthetic has more than {LINES_MAX} opportunities")
        seed = _parsed("synthetic", "seed", recipe.get("seed", 1), _parse_seed)
        return self._synthetic(seed, seconds, mean_bps)

    def _text_or_file(self, value: Any) -> str:
        """The text itself, or that of a file beside the scenario."""
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and value.keys() == {"file"} and isinstance(value["file"], str):
            name = f"the file {shown(value['file'])} beside it"
            return _read_text(self._folder / value["file"], "ascii", name)
        raise ValueError('it is neither text nor { file = "..." }')


def _read_text(path: Path, encoding: str, name: str) -> str:
    try:
        with path.open(encoding=encoding) as file:
            text = file.read(FILE_MAX_CHARACTERS + 1)
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} cannot be read: it is not text in {encoding.upper()}") from error
    except ValueError as error:  # a NUL, for example
        raise ValueError(f"{name} cannot be read: no file can have that name") from error
    if len(text) > FILE_MAX_CHARACTERS:
        raise ValueError(f"{name} cannot be read: it has more than {FILE_MAX_CHARACTERS} characters")
    return text


def _conditions(link: Description) -> LinkConditions:
    try:
        return conditions_of(link)
    except ValueError as error:
        tables = " and ".join(dict.fromkeys(said.where for said in link.values()))
        raise ValueError(f"{tables} cannot be: {error}") from error


def _parsed(where: str, key: str, value: Any, parse: Callable[[Any], Any]) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{where} has a bad {key}: {error}") from error
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"{where} has a bad {key}: {shown(value)} is not written in quotes with its unit"
        ) from error


def _parse_seconds(value: Any) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 1 <= value <= SYNTHETIC_SECONDS_MAX
    ):
        raise ValueError(f"{shown(value)} is not a number from 1 to {SYNTHETIC_SECONDS_MAX}")
    return int(value)


def _parse_seed(value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64
    if not (whole or isinstance(value, str)):
        raise ValueError(f"{shown(value)} is neither text nor a whole number of 64 bits")
    return str(value)


def _table(where: str, table: _Table, key: str) -> _Table:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not a table")  # noqa: TRY004 - a wrong file, not a wrong call
    return value


def _text(table: _Table, key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f'at the top has no {key}; add {key} = "..."')
    return value


def _check_keys(where: str, table: _Table, known: Collection[str]) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{where} has an unknown key {shown(key)}; known are {', '.join(sorted(known))}")

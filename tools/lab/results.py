"""The file of results: a line of JSON a run, complete at any time."""

import json
from pathlib import Path
from typing import Any


class ResultsError(Exception):
    """The results or their report cannot be read or written, or are none; the text is a sentence."""


def begin(path: Path, *, keep: bool) -> None:
    """Make sure that lines can be added; without ``keep`` what was there is gone. Raises ResultsError."""
    if keep and path.exists():
        read(path)
    _write(path, "a" if keep else "w", "")


def append(path: Path, line: dict[str, Any]) -> None:
    """A line more, on disk at once. Raises ResultsError."""
    _write(path, "a", json.dumps(line) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The runs that gave figures. Raises ResultsError."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ResultsError(f"The results in {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ResultsError(f"The results in {path} cannot be read: they are no text.") from error
    runs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            run = json.loads(line)
        except ValueError as error:
            raise ResultsError(f"Line {number} of {path} is not JSON: {error}.") from error
        if not isinstance(run, dict) or not {"scenario", "program", "setting", "seed"} <= run.keys():
            raise ResultsError(f"Line {number} of {path} is not a result of tools/lab.py.")
        if "failed" in run:
            continue
        if not {"frames", "timeline", "latency_quantiles_ms"} <= run.keys():
            raise ResultsError(f"Line {number} of {path} lacks its figures.")
        runs.append(run)
    return runs


def _write(path: Path, mode: str, text: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(text)
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror}.") from error

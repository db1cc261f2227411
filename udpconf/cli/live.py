"""Statistics while the program runs: a table on a terminal, elsewhere a line each 5 s if it differs from the last one,
with --json an object each 5 s.
"""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from udpconf.cli.console import QUIET, Console
from udpconf.cli.stop import check_stop

# Fast enough to look alive, slow enough to be read.
TABLE_INTERVAL_S = 0.25
LINE_INTERVAL_S = 5.0


class Readout(NamedTuple):
    """One look at the statistics, in the three forms it may be shown in."""

    rows: Sequence[Sequence[str]]
    line: str
    fields: dict[str, Any]


class LiveStatistics:
    """Reads and shows statistics as often as suits the output. Used from the main thread.

    Args:
        console: decides where and how.
        title: above the table.
        columns: the table's heads.
        read: looks at the statistics; not called more often than they are shown.
        wide: so many of the last columns are left out, one by one, where the terminal is too narrow for them.
    """

    def __init__(
        self,
        console: Console,
        title: str,
        columns: Sequence[str],
        read: Callable[[], Readout],
        *,
        wide: int = 0,
    ) -> None:
        self._console = console
        self._title = title
        self._columns = columns
        self._read = read
        self._wide = wide
        self._live: Any = None
        self._last_line = ""
        self._next_s = time.monotonic() + LINE_INTERVAL_S

    def __enter__(self) -> Self:
        if not self._console.json_lines and self._console.level > QUIET:
            # Imported here: rich's table costs 40 ms that --help and errors need not pay.
            from rich.console import Console as Terminal
            from rich.live import Live

            terminal = Terminal(stderr=True)
            if terminal.is_terminal and not terminal.is_dumb_terminal:
                # Lines that others write to stderr go above the table; stdout is left alone, it may be a pipe.
                self._live = Live(console=terminal, auto_refresh=False, redirect_stdout=False, transient=True)
                self._live.start()
                self._next_s = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tick(self) -> None:
        """Show the statistics if it is time to; cheap otherwise.

        Raises:
            StopRequested: somebody wants the program to end, and that went astray.
        """
        check_stop()
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + (LINE_INTERVAL_S if self._live is None else TABLE_INTERVAL_S)
        if self._live is not None:
            self._live.update(self._table(self._read().rows, self._live.console.width), refresh=True)
        elif self._console.json_lines:
            self._console.line({"event": "stats", **_rounded(self._read().fields)})
        elif self._console.level > QUIET:
            line = self._read().line
            if line and line != self._last_line:  # nothing new, as while nobody is there: no line
                self._console.say(line)
            self._last_line = line

    def _table(self, rows: Sequence[Sequence[str]], width: int) -> Any:
        from rich.markup import escape
        from rich.table import Table

        table = Table(
            title=self._title,
            title_justify="left",
            title_style="",
            box=None,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        shown = fitting_columns(self._columns, rows, width, self._wide)
        for index, column in enumerate(self._columns[:shown]):
            table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row[:shown]))
        return table


def fitting_columns(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, wide: int) -> int:
    """How many columns, from the first one on, fit a terminal so wide, a space between them; all but ``wide`` at least."""
    widths = [max(map(len, cells)) + 1 for cells in zip(columns, *rows, strict=True)]
    fitting = len(columns)
    while fitting > len(columns) - wide and sum(widths[:fitting]) - 1 > width:
        fitting -= 1
    return fitting


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    """Rates to 0.1 kbit/s, everything else to 4 digits (a share to 0.01 %): what is meant, not what a float can hold."""

    def one(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return _rounded(value)
        return round(value, 1 if name.endswith("_kbps") else 4) if isinstance(value, float) else value

    return {name: one(name, value) for name, value in fields.items()}

"""What the program says and where: results on stdout, everything else on stderr, one JSON object a line if asked."""

import json
import logging
import os
import sys
import threading
import traceback
from typing import Any

from udpconf.cli.stop import StopRequested

QUIET, NORMAL, VERBOSE, DEBUG = -1, 0, 1, 2


class Console:
    """The two streams, how much is said, and in which form. One a process; any thread may
    speak, and no line is torn by another's.

    Attributes:
        json_lines: events and results are JSON objects on stdout.
        level: QUIET, NORMAL, VERBOSE or DEBUG.
    """

    def __init__(self) -> None:
        self.json_lines = False
        self.level = NORMAL
        # A stream writes a text and its end of line as two things: another thread's line could come between them. Each stream has
        # a lock of its own: who no longer reads our results does not keep anybody from hearing of it.
        self._results, self._words = threading.Lock(), threading.Lock()

    def configure(self, *, json_lines: bool, quiet: bool, verbose: int) -> None:
        """Take the flags given before or after the verb; each can only add."""
        self.json_lines = self.json_lines or json_lines
        if quiet:
            self.level = QUIET
        elif self.level != QUIET:
            self.level = min(DEBUG, self.level + verbose)
        logger = logging.getLogger("udpconf")
        logger.handlers = [_ConsoleHandler(self)]
        logger.propagate = False
        logger.setLevel(
            {QUIET: logging.ERROR, NORMAL: logging.WARNING, VERBOSE: logging.INFO}.get(
                self.level, logging.DEBUG
            )
        )

    def say(self, text: str) -> None:
        """A line for the person at the terminal."""
        if self.level > QUIET:
            self._write_stderr(text)

    def error(self, text: str, exit_code: int) -> None:
        """A sentence about why the program ends; never held back. The traceback comes with it under -vv."""
        if self.level >= DEBUG and sys.exc_info()[0] is not None:
            self._write_stderr(traceback.format_exc().rstrip())
        self._write_stderr(text)
        if self.json_lines:
            self.line({"event": "error", "message": text, "exit_code": exit_code})

    def result(self, text: str) -> None:
        """A line of the answer itself, on stdout; only where --json is off."""
        self._write_stdout(text)

    def event(self, event: str, text: str, **fields: Any) -> None:
        """Something happened: a line on stderr, and with --json an object on stdout."""
        self.say(text)
        if self.json_lines:
            self.line({"event": event, **fields})

    def line(self, value: dict[str, Any]) -> None:
        """One JSON object on a line of stdout."""
        self._write_stdout(json.dumps(value, ensure_ascii=False, default=str))

    def _write_stdout(self, text: str) -> None:
        try:
            with self._results:
                print(text, flush=True)
        except BrokenPipeError:
            # Whoever read it has seen enough. Python would complain once more when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise StopRequested("nobody reads standard output any more", 0) from None

    def _write_stderr(self, text: str) -> None:
        with self._words:
            print(text, file=sys.stderr, flush=True)


def counted(number: int, what: str) -> str:
    """``1 sender``, ``2 senders``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class _ConsoleHandler(logging.Handler):
    """Log records of the package as plain lines; their level is named only under -v, where there are several."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self._console.level >= VERBOSE:
            text = f"{record.levelname.lower()}: {record.name.removeprefix('udpconf.')}: {text}"
        if record.exc_info and self._console.level >= DEBUG:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        if record.levelno >= logging.ERROR or self._console.level > QUIET:
            self._console._write_stderr(text)  # noqa: SLF001  (the other half of this file)

"""Ctrl-C and SIGTERM as one exception that unwinds the program in order; the second one ends it at once."""

import os
import signal
from types import FrameType

INTERRUPTED = 130


class StopRequested(BaseException):
    """Somebody wants the program to end. Raised once, in the main thread, wherever that is.

    Like KeyboardInterrupt it is no Exception, so nobody swallows it, and every ``with`` on the way closes what it holds:
    BYE is sent, recordings are closed.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


_requested = False


def _stop(number: int, _frame: FrameType | None) -> None:
    global _requested  # noqa: PLW0603  (a signal handler has nowhere else to remember)
    exit_code = INTERRUPTED if number == signal.SIGINT else 0
    if _requested:
        os._exit(exit_code or 128 + number)
    _requested = True
    raise StopRequested(exit_code)


def stop_on_interrupt() -> None:
    """Ctrl-C ends any verb with 130, also one started in the background, whose shell had it ignored."""
    signal.signal(signal.SIGINT, _stop)


def stop_on_terminate() -> None:
    """For verbs that run until told to stop, SIGTERM is that telling, so it ends them in order and with 0."""
    signal.signal(signal.SIGTERM, _stop)

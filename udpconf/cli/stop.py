"""Ctrl-C and SIGTERM as one exception that unwinds the program in order; the second one ends it at once."""

import os
import signal
import time
from types import FrameType

INTERRUPTED = 130
# One key press may come as two signals: to the terminal's group, and from a parent (timeout, a shell script) that passes
# its own on. They are microseconds apart; nobody presses twice within this.
SAME_PRESS_S = 0.5


class StopRequested(BaseException):
    """Somebody wants the program to end: by a signal, raised in the main thread, wherever that is, or by no longer
    reading what it prints, raised where that shows.

    Like KeyboardInterrupt it is no Exception, so nobody swallows it, and every ``with`` on the way closes what it holds:
    BYE is sent, recordings are closed.
    """

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason, exit_code)
        self.reason = reason
        self.exit_code = exit_code


_requested: tuple[int, float] | None = None  # the signal and when it came


def _stop(number: int, _frame: FrameType | None) -> None:
    global _requested  # noqa: PLW0603  (a signal handler has nowhere else to remember)
    now_s = time.monotonic()
    if _requested is not None:
        first, first_s = _requested
        if number == first and now_s - first_s < SAME_PRESS_S:
            return
        os._exit(128 + number)
    _requested = (number, now_s)
    raise StopRequested("Ctrl-C", INTERRUPTED) if number == signal.SIGINT else StopRequested("SIGTERM", 0)


def stop_on_interrupt() -> None:
    """Ctrl-C ends any verb with 130, also one started in the background, whose shell had it ignored."""
    signal.signal(signal.SIGINT, _stop)


def stop_on_terminate() -> None:
    """For verbs that run until told to stop, SIGTERM is that telling, so it ends them in order and with 0."""
    signal.signal(signal.SIGTERM, _stop)

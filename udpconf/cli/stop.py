"""Ctrl-C and SIGTERM as one exception that unwinds the program in order; the second one ends it at once.

An exception that may come between any two instructions is the only one that ends a wait in somebody else's code, and it
can go astray there: Python drops what is raised while an object is finalized (a module's lock, after an import), and a
condition variable that loses its lock in between complains of that instead. So who waits in a loop asks ``check_stop`` too,
and Ctrl-C's exit code holds however the program ends after it.
"""

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
    check_stop()


def requested() -> StopRequested | None:
    """What was asked for, whether it has been heard or not; None while the program may go on."""
    if _requested is None:
        return None
    return (
        StopRequested("Ctrl-C", INTERRUPTED)
        if _requested[0] == signal.SIGINT
        else StopRequested("SIGTERM", 0)
    )


def check_stop() -> None:
    """Raise again what a signal asked for, should it have gone astray. For loops of the main thread, before they unwind."""
    if (stop := requested()) is not None:
        raise stop


def stop_on_interrupt() -> None:
    """Ctrl-C ends any verb with 130, also one started in the background, whose shell had it ignored."""
    signal.signal(signal.SIGINT, _stop)


def stop_on_terminate() -> None:
    """For verbs that run until told to stop, SIGTERM is that telling, so it ends them in order and with 0."""
    signal.signal(signal.SIGTERM, _stop)

"""Waiting for what happens in other threads and processes."""

import time
from collections.abc import Callable

# Only a failing test waits so long; the slowest of these waits, for a window, takes some 2 s on a busy machine.
PATIENCE_S = 30.0
INTERVAL_S = 0.01


def wait_until(condition: Callable[[], object], otherwise: object = "it never came about") -> None:
    """Look until the condition is true; ``otherwise``, as it is then, explains a failure."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, otherwise
        time.sleep(INTERVAL_S)

"""The clock of the emulators that run in real time, and its precision."""

import ctypes
import sys
import time

# prctl(2): how late the kernel may wake the calling thread in order to save power. 50 us by default.
PR_SET_TIMERSLACK = 29
TIMER_SLACK_NS = 1000


def monotonic_us() -> int:
    """CLOCK_MONOTONIC in microseconds; the same for all processes and network namespaces of a machine."""
    return time.monotonic_ns() // 1000


def sharpen_timers() -> None:
    """Let the calling thread wake within microseconds of what it asked for (Linux; nothing elsewhere)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0)

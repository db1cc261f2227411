"""The two clocks of the program. Everything is timed by the first; the second is for captions, file names and logs."""

import time


def monotonic_us() -> int:
    """CLOCK_MONOTONIC in microseconds: never steps, equal in all processes of one machine, unrelated between machines."""
    return time.monotonic_ns() // 1000


def wall_us() -> int:
    """UTC in microseconds since 1970. Steps whenever somebody sets the clock: never compare, never schedule by it."""
    return time.time_ns() // 1000

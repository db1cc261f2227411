"""Two sound cards whose clocks differ, a network with jitter, and a controller that keeps the delay: for hours.

The microphone's clock runs ``skew_ppm`` faster than the loudspeaker's. Every block is measured when it is popped, with
noise; the target is what the jitter of the last seconds asks for, with a margin. A network's late packets are no
matter: the delay counts from capture to pop.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from udpconf.limits import MS, SECOND

BLOCK_US = 10 * MS
# As audio_jitter: the q99.5 of 5 s, looked at every second here, and a margin for late calls of pop().
WINDOW_BLOCKS = 500
QUANTILE = 0.995
MARGIN_US = 5 * MS


class Course(NamedTuple):
    """What happened in that time."""

    lowest_us: float  # of the delay, from where it began
    highest_us: float
    underruns: int  # blocks that arrived after they were due
    most_faster: float  # pitch, as a share
    most_slower: float

    @property
    def wander_us(self) -> float:
        """Between the shortest and the longest delay."""
        return self.highest_us - self.lowest_us


def play(
    control: Callable[[float], float],
    seconds: float,
    *,
    skew_ppm: float,
    jitter_us: int = 30 * MS,
    noise_us: int = 2 * MS,
    seed: int = 1,
) -> Course:
    """Let ``control`` (astray_us -> ratio) hold the delay for so long."""
    draw = random.Random(seed).random
    window = [draw() * jitter_us for _ in range(WINDOW_BLOCKS)]
    target_us = _target_us(window)
    began_us = delay_us = target_us  # over the path's least
    lowest_us = highest_us = delay_us
    underruns = 0
    ratio = slowest = fastest = 1.0
    # Captured 10 ms later by a clock that is too fast: sooner by the loudspeaker's.
    captured_us = BLOCK_US / (1 + skew_ppm * 1e-6)
    for index in range(round(seconds * SECOND / BLOCK_US)):
        delay_us += BLOCK_US * ratio - captured_us
        late_us = draw() * jitter_us
        window[index % WINDOW_BLOCKS] = late_us
        if index % 100 == 99:
            target_us = _target_us(window)
        if late_us > delay_us:
            underruns += 1
        if delay_us < lowest_us:
            lowest_us = delay_us
        elif delay_us > highest_us:
            highest_us = delay_us
        noise = (2 * draw() - 1) * noise_us
        ratio = control(delay_us + noise - target_us)
        if ratio < slowest:
            slowest = ratio
        elif ratio > fastest:
            fastest = ratio
    return Course(lowest_us - began_us, highest_us - began_us, underruns, 1 - slowest, fastest - 1)


def _target_us(window: list[float]) -> float:
    return sorted(window)[int(QUANTILE * (len(window) - 1))] + MARGIN_US


class Switched:
    """What scrcpy does, for comparison: over 4 s, on at 4 ms, off at 1 ms, looked at once a second."""

    def __init__(self) -> None:
        self.ratio = 1.0
        self._average_us = 0.0
        self._blocks = 0

    def update(self, astray_us: float) -> float:
        self._average_us += (astray_us - self._average_us) / 128
        self._blocks += 1
        if self._blocks % 100 == 0:
            threshold_us = 1 * MS if self.ratio != 1.0 else 4 * MS
            change = min(max(self._average_us / (4 * SECOND), -0.02), 0.02)
            self.ratio = 1 - change if abs(self._average_us) > threshold_us else 1.0
        return self.ratio

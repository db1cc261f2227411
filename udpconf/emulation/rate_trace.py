"""Links whose rate was recorded, or made up, millisecond by millisecond: the format of mahimahi (Netravali et al., 2015).

Each line of a trace is a whole number: a millisecond at which 1504 bytes may leave. Several lines may bear the same
number. After the last line the trace begins anew. An opportunity that finds nothing waiting is lost.
"""

import random
from math import exp
from typing import NamedTuple

OPPORTUNITY_BYTES = 1504  # an Ethernet frame's IP packet, as mahimahi counts
LINES_MAX = 10_000_000
# A cellular link's rate wanders by a factor of two to four within seconds and fades to nothing now and then: the look of
# mahimahi's recorded traces. The step is one of theirs, the rest is chosen, not fitted.
_STEP_MS = 20
_WANDER = 0.6  # standard deviation of the rate's logarithm
_MEMORY_MS = 1000  # in which the logarithm forgets to 1/e
_FADES_PER_MINUTE = 4
_FADE_MS = (100, 600)


class RateTrace(NamedTuple):
    """When 1504 bytes may leave, in milliseconds from the start, repeated after ``period_ms``."""

    opportunities_ms: tuple[int, ...]  # not falling, all of 0..period_ms
    period_ms: int

    @property
    def mean_bps(self) -> float:
        return len(self.opportunities_ms) * OPPORTUNITY_BYTES * 8 * 1000 / self.period_ms


def parse_rate_trace(text: str) -> RateTrace:
    """Read a trace in mahimahi's format.

    Raises:
        ValueError: with a sentence that names the line.
    """
    times: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if not word:
            continue
        if not (word.isascii() and word.isdigit()) or len(word) > 12:
            raise ValueError(
                f"line {number} of the rate trace is {word[:40]!r}, not a whole number of milliseconds"
            )
        if times and int(word) < times[-1]:
            raise ValueError(
                f"line {number} of the rate trace goes back in time, from {times[-1]} to {word} ms"
            )
        if len(times) == LINES_MAX:
            raise ValueError(f"the rate trace has more than {LINES_MAX} lines")
        times.append(int(word))
    if not times or times[-1] == 0:
        raise ValueError("the rate trace is empty or ends at 0 ms, so it has no length")
    return RateTrace(tuple(times), times[-1])


def synthetic_cellular(seed: int | str, seconds: int, mean_bps: float) -> RateTrace:
    """A made-up cellular link: a rate that wanders about the mean, with fades to nothing. The same seed, the same trace.

    Raises:
        ValueError: it is so short or slow that nothing would ever leave; a sentence.
    """
    rng = random.Random(f"{seed}/cellular")
    steps = seconds * 1000 // _STEP_MS
    keep = exp(-_STEP_MS / _MEMORY_MS)
    wander = rng.gauss(0, _WANDER)
    fade_until_ms = 0
    rates: list[float] = []
    for step in range(steps):
        wander = keep * wander + rng.gauss(0, _WANDER * (1 - keep**2) ** 0.5)
        if rng.random() < _FADES_PER_MINUTE * _STEP_MS / 60_000:
            fade_until_ms = step * _STEP_MS + rng.randint(*_FADE_MS)
        rates.append(0.0 if step * _STEP_MS < fade_until_ms else exp(wander))
    total = sum(rates)
    if total == 0:
        raise ValueError(f"the link fades for all of {seconds} s; make it longer or take another seed")
    per_unit = mean_bps * seconds / 8 / OPPORTUNITY_BYTES / total
    times: list[int] = []
    credit = 0.0
    for step, rate in enumerate(rates):
        credit += rate * per_unit
        whole = int(credit + 1e-9)
        credit -= whole
        times += [step * _STEP_MS + place * _STEP_MS // whole for place in range(whole)]
    if not times:
        raise ValueError(f"at {mean_bps:g} bit/s nothing leaves within {seconds} s; make it longer or faster")
    return RateTrace(tuple(times), seconds * 1000)

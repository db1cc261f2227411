"""How the delay of one packet differs from that of the next: four shapes, each with or without a memory.

A shape is a quantile function: it turns a uniform random number into a delay, so each packet costs one number whatever
the shape. The memory works on the number before: as a Gaussian it follows an AR(1) process (x' = r x + sqrt(1 - r^2) e),
which correlates neighbours and leaves the distribution as it was. (`tc netem` averages uniform numbers instead, which
narrows the distribution the more the stronger the correlation.)
"""

from enum import Enum
from math import log, sqrt
from statistics import NormalDist

_NORMAL = NormalDist()
# Random numbers are multiples of 2^-53 below 1; the quantile functions have no value at 0 and 1.
_SMALLEST = 2.0**-54
_LARGEST = 1 - 2.0**-53
# Of the Lomax distribution: rare delays of many times the mean, and still a variance.
PARETO_SHAPE = 3


class JitterShape(Enum):
    """What ``jitter_us`` means. The value is the word in scenario files."""

    UNIFORM = "uniform"  # 0..jitter on top of the delay
    NORMAL = "normal"  # around the delay, standard deviation jitter
    EXPONENTIAL = "exponential"  # mean jitter on top of the delay
    PARETO = "pareto"  # the same with a heavy tail


def jitter_us(shape: JitterShape, scale_us: int, uniform: float) -> int:
    """The packet's own part of the delay, microseconds, from a number in [0, 1). Only NORMAL may be negative."""
    if shape is JitterShape.UNIFORM:
        return int(uniform * (scale_us + 1))
    if scale_us == 0:
        return 0
    uniform = min(max(uniform, _SMALLEST), _LARGEST)
    if shape is JitterShape.NORMAL:
        return round(scale_us * _NORMAL.inv_cdf(uniform))
    if shape is JitterShape.EXPONENTIAL:
        return round(-scale_us * log(1 - uniform))
    tail: float = (1 - uniform) ** (-1 / PARETO_SHAPE) - 1
    return round(scale_us * (PARETO_SHAPE - 1) * tail)


def correlated(before: float | None, uniform: float, correlation: float) -> tuple[float, float]:
    """The Gaussian number of this packet, to be passed in with the next, and the uniform number that belongs to it."""
    fresh = _NORMAL.inv_cdf(min(max(uniform, _SMALLEST), _LARGEST))
    gauss = fresh if before is None else correlation * before + sqrt(1 - correlation**2) * fresh
    return gauss, _NORMAL.cdf(gauss)

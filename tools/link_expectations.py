"""What a link should do to packets in the long run, and by how much chance may make a sample differ: formulas only.

They are written down anew here, apart from the emulator, which draws random numbers and knows none of this.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import exp, factorial, sqrt
from statistics import NormalDist
from typing import Literal

from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import DEFAULT_QUEUE_US, LinkConditions
from udpconf.emulation.loss import Bernoulli, GilbertElliott, LossModel, TraceLoss
from udpconf.emulation.rate_trace import OPPORTUNITY_BYTES, RateTrace
from udpconf.emulation.scenario import Step

SECOND = 1_000_000
STANDARD_ERRORS = 3
# Terms of Mehler's series; at r = 0.99 the rest is below a per cent.
SERIES_TERMS = 60
# Of packets: a score of 7, for delays that cannot be. Chosen.
SMALLEST_SHARE = 1e-12
_NORMAL = NormalDist()


def loss_share(model: LossModel) -> float:
    """Long-run share of lost packets."""
    if isinstance(model, Bernoulli):
        return model.share
    if isinstance(model, GilbertElliott):
        return model.loss_good + _bad_share(model) * (model.loss_bad - model.loss_good)
    return sum(model.pattern) / len(model.pattern) if isinstance(model, TraceLoss) else 0.0


def _bad_share(model: GilbertElliott) -> float:
    """Of the packets, those that meet the bad state: in balance as many leave it as enter it, b q = (1 - b) p."""
    p, q = model.p_good_to_bad, model.p_bad_to_good
    return p / (p + q) if p + q > 0 else 0.0


def loss_error(model: LossModel, packets: int) -> float:
    """Standard error of the share of losses among so many packets.

    Losses of Gilbert and Elliott's model are correlated by r^k at a distance of k, r = 1 - p_good_to_bad - p_bad_to_good, so
    that the variance of the mean grows by the sum over all k, twice r / (1 - r) times the variance between the states.
    """
    share = loss_share(model)
    variance = share * (1 - share)
    if isinstance(model, GilbertElliott) and (change := model.p_good_to_bad + model.p_bad_to_good) > 0:
        bad = _bad_share(model)
        between = bad * (1 - bad) * (model.loss_bad - model.loss_good) ** 2
        variance += 2 * between * (1 - change) / change
    if isinstance(model, TraceLoss):
        return (
            len(model.pattern) / packets / STANDARD_ERRORS
        )  # no chance in it: at most one round is incomplete
    return sqrt(max(0.0, variance) / packets)


def chance_of_another(model: LossModel) -> float | None:
    """Of a packet to be lost when the one before was; None: the model does not say it in one number."""
    if isinstance(model, Bernoulli):
        return model.share
    if isinstance(model, GilbertElliott) and (model.loss_good, model.loss_bad) == (0, 1):
        return 1 - model.p_bad_to_good
    return None


def delay_share(c: LinkConditions, delay_us: int) -> float:
    """Of the packets, those whose delay after the bottleneck is at most this."""

    def jitter_share(us: int) -> float:
        """Of the packets, those with a jitter of at most this; it is rounded to microseconds."""
        if c.jitter_shape is JitterShape.UNIFORM:
            return min(1.0, max(0.0, (us + 1) / (c.jitter_us + 1)))
        if c.jitter_us == 0:
            return float(us >= 0)
        relative = (us + 0.5) / c.jitter_us
        if c.jitter_shape is JitterShape.NORMAL:
            return _NORMAL.cdf(relative)
        if relative <= 0:
            return 0.0
        return 1 - (exp(-relative) if c.jitter_shape is JitterShape.EXPONENTIAL else (1 + relative / 2) ** -3)

    def at_most(us: int) -> float:
        return jitter_share(us - c.delay_us) if us >= 0 else 0.0

    return (1 - c.reorder) * at_most(delay_us) + c.reorder * at_most(delay_us - c.reorder_us)


def delay_quantile_us(c: LinkConditions, quantile: float) -> int:
    """The least delay that so many packets do not exceed."""
    below, above = -1, 1
    while delay_share(c, above) < quantile:
        above *= 2
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if delay_share(c, middle) >= quantile else (middle, above)
    return above


def normal_score(c: LinkConditions, delay_us: int) -> float:
    """The Gaussian number behind a delay, in the middle of those that are rounded to it."""
    share = (delay_share(c, delay_us) + delay_share(c, delay_us - 1)) / 2
    return _NORMAL.inv_cdf(min(max(share, SMALLEST_SHARE), 1 - SMALLEST_SHARE))


def correlated_variance(share: float, correlation: float) -> float:
    """How much the variance of "so many are below this" grows when the Gaussian numbers behind follow an AR(1) process.

    Mehler: two indicators of Gaussians correlated by r^k are correlated by the sum over j of r^(kj) He_{j-1}(z)^2 phi(z)^2 /
    (j! p (1 - p)); the sum over all distances k is a geometric one.
    """
    if correlation == 0 or not 0 < share < 1:
        return 1.0
    z = _NORMAL.inv_cdf(share)
    hermite_before, hermite = 0.0, 1.0
    grown = 1.0
    for j in range(1, SERIES_TERMS + 1):
        weight = hermite**2 * _NORMAL.pdf(z) ** 2 / (factorial(j) * share * (1 - share))
        grown += 2 * weight * correlation**j / (1 - correlation**j)
        hermite_before, hermite = hermite, z * hermite - (j - 1) * hermite_before
    return grown


def until_opportunity_us(trace: RateTrace, at_us: int) -> int:
    """Until a trace that began at 0 lets something through; a byte fits any opportunity."""
    rounds, into_us = divmod(at_us, trace.period_ms * 1000)
    times = trace.opportunities_ms
    if rounds and into_us == 0 and times[-1] == trace.period_ms:
        return 0
    place = bisect_left(times, -(-into_us // 1000))
    due_ms = times[place] if place < len(times) else trace.period_ms + times[0]
    return due_ms * 1000 - into_us


def trace_begins_us(steps: Sequence[Step], way: Literal["up", "down"], step: int) -> int:
    """When, in the first round, a step's recorded rate begins: with the first of the steps that have this one on end."""
    trace: RateTrace | None = getattr(steps[step], way).rate_trace
    while step and getattr(steps[step - 1], way).rate_trace is trace:
        step -= 1
    return steps[step].at_us


def queue_bytes(c: LinkConditions) -> float | None:
    """How much waits where a queue is full; None: no rate, or one that does not say it."""
    rate_bps = c.rate_bps if c.rate_trace is None else c.rate_trace.mean_bps
    if rate_bps is None or (c.rate_trace is not None and c.queue_us is not None):
        return None
    limits = [] if c.queue_bytes is None else [float(c.queue_bytes)]
    if c.queue_us is not None:
        limits.append(c.queue_us * rate_bps / 8 / SECOND)
    return min(limits, default=DEFAULT_QUEUE_US * rate_bps / 8 / SECOND)


def peak_bps(c: LinkConditions) -> float | None:
    """The rate, or the highest of a trace over some of its opportunities."""
    if c.rate_trace is None:
        return c.rate_bps
    times, some = c.rate_trace.opportunities_ms, 8
    spans = [later - earlier for earlier, later in zip(times, times[some:], strict=False)]
    return some * OPPORTUNITY_BYTES * 8000 / max(1, min(spans, default=1))


def asked_bytes(c: LinkConditions, from_us: int, to_us: int) -> float:
    """What may leave between two instants, if enough waits; counted from the beginning of the trace, if there is one."""
    if c.rate_trace is None:
        assert c.rate_bps is not None
        return c.rate_bps * (to_us - from_us) / 8 / SECOND

    def until(us: int) -> int:
        assert c.rate_trace is not None
        rounds, into_us = divmod(us, c.rate_trace.period_ms * 1000)
        times = c.rate_trace.opportunities_ms
        return rounds * len(times) + bisect_right(times, into_us // 1000)

    return float((until(to_us) - until(from_us)) * OPPORTUNITY_BYTES)

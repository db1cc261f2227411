"""How many shards beyond a frame's data are worth their bytes: parity with it, and repair when the receiver asks.

A block of k data and f parity shards of which l are lost is whole if l <= f. When nothing can be asked for before the frame
is shown, the parity was for nothing otherwise, and of the data l / (k + f) is missing on average. So the fresh area to be
expected is

    fresh(k, f) = sum over l of P(l of k + f are lost) * (1 if l <= f else 1 - l / (k + f))

and f is what makes what the lost area, 1 - fresh(k, f), and the bytes, f / k, cost together the least. P is Gilbert's model
(Gilbert, 1960) with the share and the mean length of losses that the server reports: where they come in long bursts, parity
of a frame saves little, and less is bought.

When there is time to ask, what is still missing can be sent in up to R more rounds. With n missing, the least cost to be
expected, where a frame that is not whole at its deadline costs L, is Bellman's recursion (as in Hairpin, Meng et al., NSDI
2024; any shard serves, so n is all there is to know):

    Q[0][n] = L if n else 0
    A[r][n] = min over f of  PRICE * f / k + sum over l of P(l of f are lost) * Q[r - 1][max(0, n - f + l)]
    Q[r][n] = q Q[r - 1][n] + (1 - q) A[r][n]

where q is the chance that a request does not come through. A's f tells how many shards to answer with, and how much parity to
send at first is the f that makes cost(f / k) + sum over l of P(l of k + f are lost) * Q[R][max(0, l - f)] the smallest.

One shard more for each frame is a coarse step, 8 % of the bytes of twelve. So f is a fraction: the share of frames that get
one more than the rest. What they are worth together lies on the line between two whole numbers, and as bytes cost the more
the more there are, the best is somewhere on one of these lines.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from math import exp, log
from typing import NamedTuple

from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX

# What an overhead x = f / k costs where parity has to do it all, in shares of the picture: AREA_PRICE * x^2.25. Chosen so that
# thirteen data shards get 1.2 of parity at 2 % of independent loss, two at 5 %, five at 20 %, and 2.2 at 10 % in runs of five.
AREA_PRICE = 0.47
AREA_PRICE_POWER = 2.25
# The same where there is time to ask.
PRICE = 0.10
PRICE_RISE = 1.5
# What a frame costs that is not whole though there was time to ask: more than its hole, since who spends time on wholeness
# wants it. Chosen with the figures of docs/recovery.md.
LOST_FRAME = 1.2
# Below this nothing is bought: one shard more for twelve would cost 8 % of the bytes.
LOSS_MIN = 0.003
LOSS_MAX = 0.9
BURST_MAX = 50.0
# Decisions are worked out for shares of loss a tenth apart and for bursts half a packet apart, and kept.
_STEPS_PER_FACTOR_E = 10
# Where repair can follow, more shards get parity in proportion to so many: a decision for 32 takes 1.5 ms, for 128 it would take 20.
_LARGE = 32
# Where it cannot, large blocks get a smaller share than small ones, but in bursts a larger one: between these two it is taken
# to change evenly. They take 1 to 9 ms, once for each loss.
_LARGER, _LARGEST = 64, 128
_CACHED_DECISIONS = 4096
_CACHED_PATHS = 64
# And for shares of lost requests so far apart: few are sent, so no better is known of them.
_REQUEST_LOSS_STEP = 0.05
# A third round hardly changes what the first ones send, and costs as much to work out.
ROUNDS_MAX = 2
# What is less likely counts as a frame lost, and no answer is longer than needed by more than this, or than twice what is missing:
# both bound the work.
_NEGLIGIBLE = 1e-3
_SPARE_MAX = 16
# So many more packets are looked at than was asked for, and a quarter: soon it will be asked for one more.
_AHEAD = 8


class _Path(NamedTuple):
    """What decisions depend on, rounded so that they are worked out once."""

    loss: float
    burst: float
    request_loss: float


def _path(loss: float, burst: float, request_loss: float) -> _Path:
    step = round(log(min(loss, LOSS_MAX)) * _STEPS_PER_FACTOR_E)
    requests = round(min(request_loss, LOSS_MAX) / _REQUEST_LOSS_STEP) * _REQUEST_LOSS_STEP
    return _Path(exp(step / _STEPS_PER_FACTOR_E), round(2 * min(burst, BURST_MAX)) / 2, requests)


def parity_wanted(
    data_shards: int, loss: float, burst: float = 1.0, rounds: int = 0, request_loss: float = 0.0
) -> float:
    """How many parity shards are sent with a block, on average over blocks like it.

    Args:
        data_shards: of the block, 1..128.
        loss: share of packets that the path loses, 0..1.
        burst: mean length of a run of losses in packets; less than independent losses have counts as that.
        rounds: how often more can be asked for before the frame is shown.
        request_loss: share of packets that the way back loses.

    Returns:
        0..data_shards, and no more than a block has room for.
    """
    if loss < LOSS_MIN:
        return 0.0
    share = _share(data_shards, _path(loss, burst, request_loss), min(rounds, ROUNDS_MAX))
    return min(share * data_shards, SHARDS_PER_BLOCK_MAX - data_shards)


def _share(data_shards: int, path: _Path, rounds: int) -> float:
    if rounds:
        like = min(data_shards, _LARGE)
        return _best(like, path, rounds) / like
    if data_shards <= _LARGER:
        return _best(data_shards, path, 0) / data_shards
    smaller, larger = _best(_LARGER, path, 0) / _LARGER, _best(_LARGEST, path, 0) / _LARGEST
    return smaller + (larger - smaller) * (data_shards - _LARGER) / (_LARGEST - _LARGER)


def repair_count(
    missing: int,
    data_shards: int,
    loss: float,
    burst: float = 1.0,
    rounds: int = 0,
    request_loss: float = 0.0,
) -> int:
    """How many shards answer a request.

    Args:
        missing: shards that the block still needs, 1..data_shards.
        data_shards: of the block, 1..128.
        loss: share of packets that the path loses, 0..1.
        burst: mean length of a run of losses in packets.
        rounds: how often more can be asked for after this answer.
        request_loss: share of packets that the way back loses.

    Returns:
        At least ``missing``, as fewer would make the request useless; 0 where so much is lost that no answer is worth its bytes.
    """
    if loss < LOSS_MIN:
        return missing
    like = min(missing, _LARGE)
    k = round(data_shards * like / missing)
    count, _ = _answer(like, k, _path(loss, burst, request_loss), min(rounds, ROUNDS_MAX) + 1)
    return -(-count * missing // like)


@lru_cache(_CACHED_DECISIONS)
def _best(data_shards: int, path: _Path, rounds: int) -> float:
    """The parity, a fraction, that makes its worth less its cost the largest."""
    best, best_value = 0.0, float("-inf")
    before = _worth(0, data_shards, path, rounds)
    for parity in range(data_shards):
        after = _worth(parity + 1, data_shards, path, rounds)
        # On this line, up to where a little more costs more than it is worth.
        overhead = _overhead_at_price((after - before) * data_shards, rounds)
        part = min(max(0.0, overhead * data_shards - parity), 1.0)
        value = before + part * (after - before) - _cost((parity + part) / data_shards, rounds)
        if value > best_value:
            best, best_value = parity + part, value
        # More parity cannot be worth it: a whole frame would not pay for what it costs by now.
        if (0 if rounds else 1) - _cost((parity + 1) / data_shards, rounds) < best_value:
            break
        before = after
    return best


def _worth(parity: int, data_shards: int, path: _Path, rounds: int) -> float:
    chances = _chances(path.loss, path.burst).of(data_shards + parity)
    if rounds:
        return -_cost_to_go(chances, parity, data_shards, path, rounds)
    return fresh_area(parity, chances)


def _cost(overhead: float, rounds: int) -> float:
    if rounds:
        return PRICE * (overhead + PRICE_RISE * overhead**2)
    return AREA_PRICE * float(overhead**AREA_PRICE_POWER)


def _overhead_at_price(price: float, rounds: int) -> float:
    """Where a little more overhead costs so much: the inverse of the derivative of ``_cost``."""
    if rounds:
        return (price / PRICE - 1) / (2 * PRICE_RISE)
    return float((max(0.0, price) / (AREA_PRICE * AREA_PRICE_POWER)) ** (1 / (AREA_PRICE_POWER - 1)))


@lru_cache(_CACHED_DECISIONS)
def _answer(missing: int, data_shards: int, path: _Path, rounds: int) -> tuple[int, float]:
    """How many shards to send when so many are missing and rounds, this one included, are left; and A[rounds][missing]."""
    best, best_cost = missing, float("inf")
    for spare in range(max(_SPARE_MAX, missing) + 1):
        sent = missing + spare
        price = PRICE * sent / data_shards
        if price >= best_cost:
            break
        chances = _chances(path.loss, path.burst).of(sent)
        cost = price + _cost_to_go(chances, spare, data_shards, path, rounds - 1)
        if cost < best_cost:
            best, best_cost = sent, cost
    return (best, best_cost) if best_cost < LOST_FRAME else (0, LOST_FRAME)


def _cost_to_go(chances: list[float], spare: int, data_shards: int, path: _Path, rounds: int) -> float:
    """The cost to be expected after sending ``spare`` shards more than needed, given the chances of 0, 1, ... losses."""
    cost = 0.0
    for still_missing, chance in enumerate(chances[spare + 1 :], 1):
        if chance < _NEGLIGIBLE or still_missing > _LARGE:
            cost += chance * LOST_FRAME
        else:
            cost += chance * _cost_of_missing(still_missing, data_shards, path, rounds)
    return cost


def _cost_of_missing(missing: int, data_shards: int, path: _Path, rounds: int) -> float:
    """Q[rounds][missing]."""
    cost = LOST_FRAME
    for left in range(1, rounds + 1):
        _, answered = _answer(missing, data_shards, path, left)
        cost = path.request_loss * cost + (1 - path.request_loss) * answered
    return cost


class _Chances:
    """The chances of losses among n packets, worked out as far as anybody asked."""

    def __init__(self, loss: float, burst: float) -> None:
        self._loss = loss
        self._burst = burst
        self._by_count: list[list[float]] = []

    def of(self, packets: int) -> list[float]:
        by_count = self._by_count
        if len(by_count) < packets:
            # Anew, and set as a whole: the senders of one program share this, and each has a thread.
            more = loss_counts(self._loss, self._burst)
            by_count = self._by_count = list(islice(more, packets * 5 // 4 + _AHEAD))
        return by_count[packets - 1]


_chances = lru_cache(_CACHED_PATHS)(_Chances)


def fresh_area(parity: int, chances: list[float]) -> float:
    """The area to be expected of a block with so much parity, 0..1, given the chances of 0, 1, ... losses of its shards."""
    sent = len(chances) - 1
    return sum(
        chance if lost <= parity else chance * (1 - lost / sent) for lost, chance in enumerate(chances)
    )


def loss_counts(loss: float, burst: float) -> Iterator[list[float]]:
    """The chances of 0, 1, ... n losses among n packets in a row, for n = 1, 2, ..."""
    burst = max(burst, 1 / (1 - loss))
    to_good = 1 / burst
    to_bad = loss / (1 - loss) * to_good
    # By the state of the last packet, good (it arrived) or bad (it was lost), and the losses so far.
    good, bad = [1 - loss, 0.0], [0.0, loss]
    while True:
        yield [came + went for came, went in zip(good, bad, strict=True)]
        came = [g * (1 - to_bad) + b * to_good for g, b in zip(good, bad, strict=True)]
        went = [g * to_bad + b * (1 - to_good) for g, b in zip(good, bad, strict=True)]
        good, bad = [*came, 0.0], [0.0, *went]

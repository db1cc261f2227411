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
    Q[r][n] = min over f of  PRICE * f / k + sum over l of P(l of f are lost) * Q[r - 1][max(0, n - f + l)]

which tells how many shards to answer with, and how much parity to send at first: f makes
cost(f / k) + sum over l of P(l of k + f are lost) * Q[R][max(0, l - f)] the smallest.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import exp, log

from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX

# What an overhead x = f / k costs where parity has to do it all, in shares of the picture: AREA_PRICE * x^2.4. Chosen so that with
# thirteen data shards one parity shard is bought at 0.3 to 2 % of independent loss, two at 3 to 5 %, five at 20 %, and two at
# 7 to 12 % in runs of five.
AREA_PRICE = 0.51
AREA_PRICE_POWER = 2.4
# The same where there is time to ask.
PRICE = 0.10
PRICE_RISE = 1.5
# What a frame costs that is not whole though there was time to ask: more than its hole, since who spends time on wholeness
# wants it. Chosen with the figures of docs/recovery.md.
LOST_FRAME = 1.5
# Below this nothing is bought: one shard more for twelve would cost 8 % of the bytes.
LOSS_MIN = 0.003
LOSS_MAX = 0.9
BURST_MAX = 50.0
# Decisions are worked out for shares of loss a tenth apart and for bursts half a packet apart, and kept.
_STEPS_PER_FACTOR_E = 10
# From here on the share of parity hardly changes; a decision for 32 shards takes 1.5 ms, for 128 it would take 20.
_LARGE = 32
_CACHED_DECISIONS = 4096
_CACHED_PATHS = 64
# A third round hardly changes what the first ones send, and costs as much to work out.
ROUNDS_MAX = 2
# What is less likely counts as a frame lost, and no answer is longer than needed by more than this: both bound the work.
_NEGLIGIBLE = 1e-3
_SPARE_MAX = 16


def parity_count(data_shards: int, loss: float, burst: float = 1.0, rounds: int = 0) -> int:
    """How many parity shards are sent with a block.

    Args:
        data_shards: of the block, 1..128.
        loss: share of packets that the path loses, 0..1.
        burst: mean length of a run of losses in packets; less than independent losses have counts as that.
        rounds: how often more can be asked for before the frame is shown.

    Returns:
        0..data_shards, and no more than a block has room for.
    """
    if loss < LOSS_MIN:
        return 0
    like = min(data_shards, _LARGE)
    parity = _best(like, *_rounded(loss, burst), min(rounds, ROUNDS_MAX))
    return min(round(parity * data_shards / like), SHARDS_PER_BLOCK_MAX - data_shards)


def repair_count(missing: int, data_shards: int, loss: float, burst: float = 1.0, rounds: int = 0) -> int:
    """How many shards answer a request.

    Args:
        missing: shards that the block still needs, 1..data_shards.
        data_shards: of the block, 1..128.
        loss: share of packets that the path loses, 0..1.
        burst: mean length of a run of losses in packets.
        rounds: how often more can be asked for after this answer.

    Returns:
        At least ``missing``: fewer would make the request useless.
    """
    if loss < LOSS_MIN:
        return missing
    like = min(missing, _LARGE)
    k = round(data_shards * like / missing)
    count, _ = _repair(like, k, *_rounded(loss, burst), min(rounds, ROUNDS_MAX) + 1)
    return -(-count * missing // like)


def _rounded(loss: float, burst: float) -> tuple[float, float]:
    step = round(log(min(loss, LOSS_MAX)) * _STEPS_PER_FACTOR_E)
    return exp(step / _STEPS_PER_FACTOR_E), round(2 * min(burst, BURST_MAX)) / 2


@lru_cache(_CACHED_DECISIONS)
def _best(data_shards: int, loss: float, burst: float, rounds: int) -> int:
    best, best_value = 0, float("-inf")
    for parity in range(data_shards + 1):
        chances = _chances(loss, burst).of(data_shards + parity)
        overhead = parity / data_shards
        if rounds:
            cost = PRICE * (overhead + PRICE_RISE * overhead**2)
            value = LOST_FRAME - _cost_to_go(chances, parity, data_shards, loss, burst, rounds) - cost
        else:
            cost = AREA_PRICE * overhead**AREA_PRICE_POWER
            value = fresh_area(parity, chances) - cost
        if value > best_value:
            best, best_value = parity, value
        # More parity cannot be worth it: a whole frame would not pay for what it costs by now.
        if (LOST_FRAME if rounds else 1) - cost < best_value:
            break
    return best


@lru_cache(_CACHED_DECISIONS)
def _repair(missing: int, data_shards: int, loss: float, burst: float, rounds: int) -> tuple[int, float]:
    """How many shards to send when so many are missing and rounds, this one included, are left; and Q[rounds][missing]."""
    best, best_cost = missing, float("inf")
    for spare in range(_SPARE_MAX + 1):
        sent = missing + spare
        price = PRICE * sent / data_shards
        if price >= best_cost:
            break
        chances = _chances(loss, burst).of(sent)
        cost = price + _cost_to_go(chances, spare, data_shards, loss, burst, rounds - 1)
        if cost < best_cost:
            best, best_cost = sent, cost
    return best, min(LOST_FRAME, best_cost)


def _cost_to_go(
    chances: list[float], spare: int, data_shards: int, loss: float, burst: float, rounds: int
) -> float:
    """The cost to be expected after sending ``spare`` shards more than needed, given the chances of 0, 1, ... losses."""
    cost = 0.0
    for still_missing, chance in enumerate(chances[spare + 1 :], 1):
        if not rounds or chance < _NEGLIGIBLE or still_missing > _LARGE:
            cost += chance * LOST_FRAME
        else:
            cost += chance * _repair(still_missing, data_shards, loss, burst, rounds)[1]
    return cost


class _Chances:
    """The chances of losses among n packets, worked out as far as anybody asked."""

    def __init__(self, loss: float, burst: float) -> None:
        self._more = loss_counts(loss, burst)
        self._by_count: list[list[float]] = []

    def of(self, packets: int) -> list[float]:
        while len(self._by_count) < packets:
            self._by_count.append(next(self._more))
        return self._by_count[packets - 1]


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

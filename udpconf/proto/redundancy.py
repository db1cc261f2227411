"""How much parity a frame is sent with when nothing can be asked for again before it is shown.

A block of k data and f parity shards of which l are lost is whole if l <= f; else the parity was for nothing, and of the
data l / (k + f) is missing on average. So the fresh area to be expected is

    fresh(k, f) = sum over l of P(l of k + f are lost) * (1 if l <= f else 1 - l / (k + f))

and f is what makes fresh(k, f) - cost(f / k) the largest. P is Gilbert's model (Gilbert, 1960) with the share and the mean
length of losses that the server reports: where they come in long bursts, parity of a frame saves little, and little is
bought.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import exp, log

from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX

# What an overhead x = f / k costs, in shares of the picture: PRICE * (x + PRICE_RISE * x^2), so that the first tenth of the
# bytes must save 1.2 % of the area and more bytes more. Chosen so that with ten data shards one parity shard is bought at
# 2 % of independent loss, two at 5 %, three at 10 %, five at 20 %.
PRICE = 0.10
PRICE_RISE = 1.5
# Below this nothing is bought anyway, for blocks of 128 as well.
LOSS_MIN = 0.001
LOSS_MAX = 0.9
BURST_MAX = 50.0
# Decisions are worked out for shares of loss a tenth apart and for bursts half a packet apart, and kept.
_STEPS_PER_FACTOR_E = 10
# From here on the share of parity hardly changes; a decision for 32 shards takes 1.5 ms, for 128 it would take 20.
_LARGE = 32
_CACHED_DECISIONS = 4096


def parity_count(data_shards: int, loss: float, burst: float = 1.0) -> int:
    """How many parity shards are sent with a block.

    Args:
        data_shards: of the block, 1..128.
        loss: share of packets that the path loses, 0..1.
        burst: mean length of a run of losses in packets; less than independent losses have counts as that.

    Returns:
        0..data_shards, and no more than a block has room for.
    """
    if loss < LOSS_MIN:
        return 0
    step = round(log(min(loss, LOSS_MAX)) * _STEPS_PER_FACTOR_E)
    like = min(data_shards, _LARGE)
    parity = _best(like, exp(step / _STEPS_PER_FACTOR_E), round(2 * min(burst, BURST_MAX)) / 2)
    return min(round(parity * data_shards / like), SHARDS_PER_BLOCK_MAX - data_shards)


@lru_cache(_CACHED_DECISIONS)
def _best(data_shards: int, loss: float, burst: float) -> int:
    best, best_value = 0, -1.0
    for sent, chances in enumerate(loss_counts(loss, burst), 1):
        parity = sent - data_shards
        if parity < 0:
            continue
        overhead = parity / data_shards
        cost = PRICE * (overhead + PRICE_RISE * overhead**2)
        value = fresh_area(parity, chances) - cost
        if value > best_value:
            best, best_value = parity, value
        # More parity cannot be worth it: a whole frame would not pay for what it costs by now.
        if 1 - cost < best_value or parity == data_shards:
            break
    return best


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

"""Parity is bought where it saves the most picture for its bytes, and not at all where nothing is lost."""

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice, pairwise, product
from math import exp

import pytest

from udpconf.emulation.loss import GilbertElliott
from udpconf.proto import redundancy
from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX
from udpconf.proto.redundancy import (
    AREA_PRICE,
    AREA_PRICE_POWER,
    LOSS_MIN,
    LOST_FRAME,
    PRICE,
    PRICE_RISE,
    fresh_area,
    loss_counts,
    parity_wanted,
    repair_count,
)


def fresh_share(data_shards: int, parity: int, loss: float, burst: float) -> float:
    *_, chances = islice(loss_counts(loss, burst), data_shards + parity)
    return fresh_area(parity, chances)


def by_enumeration(data_shards: int, parity: int, loss: float, burst: float) -> float:
    """Every pattern of losses with its chance, by the definition of Gilbert's model."""
    model = GilbertElliott.from_share_and_burst(loss, burst)
    fresh = 0.0
    for pattern in product((False, True), repeat=data_shards + parity):
        chance, before = 1.0, None
        for lost in pattern:
            if before is None:
                bad = model.bad_share
            else:
                bad = 1 - model.p_bad_to_good if before else model.p_good_to_bad
            chance *= bad if lost else 1 - bad
            before = lost
        lost_count = sum(pattern)
        hole = 0.0 if lost_count <= parity else lost_count / (data_shards + parity)
        fresh += chance * (1 - hole)
    return fresh


@pytest.mark.parametrize("data_shards", [1, 4, 7])
@pytest.mark.parametrize("parity", [0, 1, 3])
@pytest.mark.parametrize(("loss", "burst"), [(0.02, 1.1), (0.1, 5.0), (0.5, 2.5)])
def test_the_expected_area_is_that_of_all_patterns_of_losses(
    data_shards: int, parity: int, loss: float, burst: float
) -> None:
    found = fresh_share(data_shards, parity, loss, burst)
    assert found == pytest.approx(by_enumeration(data_shards, parity, loss, burst), abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_no_other_mean_number_of_shards_is_worth_more(seed: int) -> None:
    rng = random.Random(seed)
    # Of the shares of loss for which decisions are worked out.
    data_shards, loss, burst = rng.randint(1, 14), exp(-rng.randint(5, 58) / 10), rng.choice([1.0, 2.0, 6.0])
    chosen = parity_wanted(data_shards, loss, burst)

    def worth(parity: float) -> float:
        """Of frames of which some have one more than the others."""
        fewer = min(int(parity), data_shards - 1)
        one_more = parity - fewer
        fresh = (1 - one_more) * fresh_share(data_shards, fewer, loss, burst)
        fresh += one_more * fresh_share(data_shards, fewer + 1, loss, burst)
        return fresh - AREA_PRICE * float((parity / data_shards) ** AREA_PRICE_POWER)

    others = [parity / 50 for parity in range(50 * data_shards + 1)]
    assert worth(chosen) >= max(map(worth, others)) - 1e-12, seed


def test_nothing_is_bought_where_nothing_is_lost() -> None:
    assert parity_wanted(10, 0.0) == 0
    assert parity_wanted(128, LOSS_MIN / 2) == 0


@pytest.mark.parametrize(
    ("loss", "shards"),
    [(0.003, 0.9), (0.005, 1.0), (0.01, 1.0), (0.02, 1.2), (0.03, 2.0), (0.05, 2.0), (0.1, 3.0), (0.2, 5.0)],
)
def test_thirteen_shards_are_protected_in_proportion(loss: float, shards: float) -> None:
    assert parity_wanted(13, loss) == pytest.approx(shards, abs=0.05)


def test_a_little_more_loss_is_a_little_more_parity() -> None:
    losses = [exp(-step / 10) for step in range(58, 10, -1)]  # 0.3 to 33 %
    for data_shards in (6, 10, 13, 24):
        wanted = [parity_wanted(data_shards, loss) for loss in losses]
        assert wanted == sorted(wanted)
        assert max(after - before for before, after in pairwise(wanted)) <= max(1.0, data_shards / 12)


def test_long_bursts_are_hardly_fought_with_the_parity_of_one_frame() -> None:
    assert parity_wanted(13, 0.1) == 3
    assert parity_wanted(13, 0.1, burst=5) == pytest.approx(2.2, abs=0.05)
    assert parity_wanted(10, 0.05, burst=8) == pytest.approx(0.35, abs=0.05)


def test_a_path_that_loses_nearly_everything_is_worth_a_bounded_price() -> None:
    for data_shards in (1, 2, 10, 128):
        assert 0 <= parity_wanted(data_shards, 1.0) <= data_shards


@pytest.mark.parametrize("loss", [0.3, 0.4, 0.45, 0.48, 0.5, 0.55, 0.6])
def test_a_full_block_never_gets_more_parity_than_the_code_has(loss: float) -> None:
    for data_shards in (100, 127, 128):
        for burst in (1.0, 3.0, 10.0):
            assert data_shards + parity_wanted(data_shards, loss, burst) <= SHARDS_PER_BLOCK_MAX


# --- when more can be asked for ---


def chance_of(pattern: tuple[bool, ...], loss: float) -> float:
    """Of these packets lost and no others, each on its own."""
    chance = 1.0
    for lost in pattern:
        chance *= loss if lost else 1 - loss
    return chance


def cost_of_playing(
    policy: dict[tuple[int, int], int], missing: int, rounds: int, k: int, loss: float, request_loss: float
) -> float:
    """What a frame costs on average when so many shards answer in each situation: every pattern of losses is played."""
    if missing == 0:
        return 0.0
    if rounds == 0:
        return LOST_FRAME

    def after(left: int) -> float:
        """The next round begins with a request, which may be lost."""
        if left == 0 or rounds == 1:
            return LOST_FRAME * (left > 0)
        unheard = LOST_FRAME
        for fewer in range(1, rounds):
            heard = cost_of_playing(policy, left, fewer, k, loss, request_loss)
            unheard = request_loss * unheard + (1 - request_loss) * heard
        return unheard

    sent = policy[missing, rounds]
    cost = PRICE * sent / k
    for pattern in product((False, True), repeat=sent):
        cost += chance_of(pattern, loss) * after(max(0, missing - (sent - sum(pattern))))
    return cost


@pytest.mark.parametrize("request_loss", [0.0, 0.2])
@pytest.mark.parametrize("step", [16, 22, 30])
@pytest.mark.parametrize(
    ("missing", "rounds", "k"), [(1, 1, 10), (2, 1, 10), (1, 2, 4), (2, 2, 10), (2, 2, 24)]
)
def test_an_answer_is_the_best_of_all_policies(
    step: int, missing: int, rounds: int, k: int, request_loss: float
) -> None:
    """Bellman's recursion against brute force: all ways to answer in all situations that can come about."""
    loss = exp(-step / 10)  # of those for which decisions are worked out
    situations = [(n, r) for r in range(1, rounds) for n in range(1, missing + 1)] + [(missing, rounds)]
    longest = missing + 4
    costs: dict[int, float] = {}
    for sent in product(*[range(n, longest + 1) for n, _ in situations]):
        policy = dict(zip(situations, sent, strict=True))
        cost = cost_of_playing(policy, missing, rounds, k, loss, request_loss)
        first = policy[missing, rounds]
        costs[first] = min(cost, costs.get(first, cost))
    # What is less likely than one in a thousand is rounded up to a lost frame, so equals may change places.
    chosen = repair_count(missing, k, loss, rounds=rounds - 1, request_loss=request_loss)
    if chosen > longest:
        pytest.fail("the enumeration is too small for this case")
    assert costs[chosen] <= min(costs.values()) + LOST_FRAME * 1e-3


@pytest.mark.parametrize("request_loss", [0.0, 0.3])
@pytest.mark.parametrize("k", [4, 10, 24])
@pytest.mark.parametrize("step", [10, 20, 30])
def test_parity_leaves_to_repair_what_repair_does_cheaper(k: int, step: int, request_loss: float) -> None:
    loss = exp(-step / 10)

    @cache
    def to_go(missing: int, rounds: int) -> float:
        if not missing or not rounds:
            return LOST_FRAME * (missing > 0)
        answered = min(
            PRICE * sent / k + after(sent, missing, rounds - 1) for sent in range(missing, missing + 17)
        )
        return request_loss * to_go(missing, rounds - 1) + (1 - request_loss) * min(LOST_FRAME, answered)

    def after(sent: int, missing: int, rounds: int) -> float:
        *_, chances = islice(loss_counts(loss, 1.0), sent)
        return sum(
            chance * to_go(max(0, missing - sent + lost), rounds) for lost, chance in enumerate(chances)
        )

    def cost(parity: float, rounds: int) -> float:
        fewer = min(int(parity), k - 1)
        one_more = parity - fewer
        overhead = parity / k
        sent = PRICE * (overhead + PRICE_RISE * overhead**2)
        return (
            sent + (1 - one_more) * after(k + fewer, k, rounds) + one_more * after(k + fewer + 1, k, rounds)
        )

    for rounds in (1, 2):
        chosen = parity_wanted(k, loss, rounds=rounds, request_loss=request_loss)
        least = min(cost(parity / 20, rounds) for parity in range(20 * k + 1))
        assert cost(chosen, rounds) <= least + LOST_FRAME * 1e-3


def test_where_requests_are_lost_more_is_sent_in_advance() -> None:
    for k, loss in product((6, 12, 24), (0.05, 0.1, 0.2)):
        wanted = [
            parity_wanted(k, loss, rounds=1, request_loss=request_loss)
            for request_loss in (0.0, 0.1, 0.3, 0.9)
        ]
        assert wanted == sorted(wanted)
        assert wanted[-1] > wanted[0]


def test_the_more_often_can_be_asked_the_less_is_sent_in_advance() -> None:
    for k, loss in product((4, 12, 32, 128), (0.01, 0.05, 0.2)):
        counts = [parity_wanted(k, loss, rounds=rounds) for rounds in range(4)]
        assert counts == sorted(counts, reverse=True)
        answers = [repair_count(2, k, loss, rounds=rounds) for rounds in range(4)]
        assert answers == sorted(answers, reverse=True)
        assert answers[-1] >= 2


@pytest.mark.parametrize("data_shards", [64, 80, 96, 112, 128])
@pytest.mark.parametrize(("step", "burst"), [(46, 1.0), (30, 1.0), (16, 1.0), (46, 5.0), (16, 5.0)])
def test_a_large_block_gets_nearly_what_it_is_worth(data_shards: int, step: int, burst: float) -> None:
    loss = exp(-step / 10)

    def worth(parity: float) -> float:
        fewer = int(parity)
        fresh = (fewer + 1 - parity) * fresh_share(data_shards, fewer, loss, burst)
        fresh += (parity - fewer) * fresh_share(data_shards, fewer + 1, loss, burst)
        return fresh - AREA_PRICE * float((parity / data_shards) ** AREA_PRICE_POWER)

    best = max(worth(float(parity)) for parity in range(data_shards))
    assert worth(parity_wanted(data_shards, loss, burst)) >= best - 0.002


def test_nothing_is_answered_where_no_answer_would_be_enough() -> None:
    assert repair_count(5, 12, 0.9) == 0
    assert repair_count(60, 120, 0.9) == 0
    assert repair_count(5, 12, 0.5) > 10


def test_an_answer_is_never_less_than_what_is_missing() -> None:
    for missing, k in ((1, 1), (5, 12), (40, 100), (128, 128)):
        assert repair_count(missing, k, 0.0) == missing
        assert repair_count(missing, k, 0.3, burst=4.0) >= missing


def test_threads_that_share_the_decisions_get_the_same_ones() -> None:
    losses = [0.01 * 1.3**step for step in range(12)]

    def decide(_: int) -> list[float]:
        return [parity_wanted(60, loss) for loss in losses]

    alone = decide(0)
    redundancy._best.cache_clear()
    redundancy._chances.cache_clear()
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(decide, range(4))) == [alone] * 4
    finally:
        sys.setswitchinterval(interval_s)

"""Parity is bought where it saves the most picture for its bytes, and not at all where nothing is lost."""

import random
from itertools import islice, product
from math import exp

import pytest

from udpconf.emulation.loss import GilbertElliott
from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX
from udpconf.proto.redundancy import LOSS_MIN, PRICE, PRICE_RISE, fresh_area, loss_counts, parity_count


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
def test_no_other_number_of_shards_is_worth_more(seed: int) -> None:
    rng = random.Random(seed)
    # Of the shares of loss for which decisions are worked out.
    data_shards, loss, burst = rng.randint(1, 14), exp(-rng.randint(5, 60) / 10), rng.choice([1.0, 2.0, 6.0])
    chosen = parity_count(data_shards, loss, burst)

    def worth(parity: int) -> float:
        overhead = parity / data_shards
        return fresh_share(data_shards, parity, loss, burst) - PRICE * (overhead + PRICE_RISE * overhead**2)

    assert worth(chosen) == max(worth(parity) for parity in range(data_shards + 1)), seed


def test_nothing_is_bought_where_nothing_is_lost() -> None:
    assert parity_count(10, 0.0) == 0
    assert parity_count(128, LOSS_MIN / 2) == 0


@pytest.mark.parametrize(("loss", "shards"), [(0.02, 1), (0.05, 2), (0.1, 3), (0.2, 5)])
def test_ten_shards_are_protected_in_proportion(loss: float, shards: int) -> None:
    assert parity_count(10, loss) == shards


def test_long_bursts_are_not_fought_with_the_parity_of_one_frame() -> None:
    assert parity_count(10, 0.1, burst=5) == 0


def test_a_path_that_loses_nearly_everything_is_worth_a_bounded_price() -> None:
    for data_shards in (1, 2, 10, 128):
        assert 0 <= parity_count(data_shards, 1.0) <= data_shards


@pytest.mark.parametrize("loss", [0.3, 0.4, 0.45, 0.48, 0.5, 0.55, 0.6])
def test_a_full_block_never_gets_more_parity_than_the_code_has(loss: float) -> None:
    for data_shards in (100, 127, 128):
        for burst in (1.0, 3.0, 10.0):
            assert data_shards + parity_count(data_shards, loss, burst) <= SHARDS_PER_BLOCK_MAX

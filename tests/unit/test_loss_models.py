"""The loss models lose what they promise, in runs as long as they promise, and the same for the same seed."""

import math
import random

import pytest

from udpconf.emulation.loss import Bernoulli, GilbertElliott, LossModel, NoLoss, loss_model

PACKETS = 200_000


def losses_of(model: LossModel, seed: str, packets: int = PACKETS) -> list[bool]:
    uniform = random.Random(seed).random
    state: int | None = None
    lost = []
    for number in range(packets):
        state, is_lost = model.step(number, state, uniform(), uniform())
        lost.append(is_lost)
    return lost


def runs_of(lost: list[bool]) -> list[int]:
    """Lengths of the runs of losses."""
    runs, length = [], 0
    for is_lost in [*lost, False]:
        if is_lost:
            length += 1
        elif length:
            runs.append(length)
            length = 0
    return runs


def test_no_loss_loses_nothing() -> None:
    assert not any(losses_of(NoLoss(), "none", 1000))


@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.5])
def test_bernoulli_loses_its_share_within_three_standard_errors(share: float) -> None:
    seed = f"bernoulli {share}"
    lost = losses_of(Bernoulli(share), seed)
    error = math.sqrt(share * (1 - share) / PACKETS)
    assert abs(sum(lost) / PACKETS - share) < 3 * error, f"seed {seed!r}"


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_bernoulli_runs_are_geometric(share: float) -> None:
    seed = f"runs {share}"
    runs = runs_of(losses_of(Bernoulli(share), seed))
    mean, deviation = 1 / (1 - share), math.sqrt(share) / (1 - share)
    assert abs(sum(runs) / len(runs) - mean) < 3 * deviation / math.sqrt(len(runs)), f"seed {seed!r}"


@pytest.mark.parametrize(("share", "burst"), [(0.01, 3.0), (0.02, 5.0), (0.1, 1.5), (0.2, 20.0), (0.5, 1.0)])
def test_gilbert_elliott_has_the_asked_share_and_burst_length(share: float, burst: float) -> None:
    seed = f"gilbert {share} {burst}"
    model = GilbertElliott.from_share_and_burst(share, burst)
    lost = losses_of(model, seed)
    # Neighbours are correlated: the variance of the mean grows by (1 + r) / (1 - r) with r the correlation at lag one.
    correlation = 1 - model.p_good_to_bad - model.p_bad_to_good
    error = math.sqrt(share * (1 - share) / PACKETS * (1 + correlation) / max(1 - correlation, 1e-9))
    assert abs(sum(lost) / PACKETS - share) <= 3 * error + 1 / PACKETS, f"seed {seed!r}"
    runs = runs_of(lost)
    deviation = math.sqrt(1 - 1 / burst) * burst
    assert abs(sum(runs) / len(runs) - burst) <= 3 * deviation / math.sqrt(len(runs)), f"seed {seed!r}"


def test_gilbert_elliott_with_loss_in_both_states_loses_the_mixture() -> None:
    model = GilbertElliott(p_good_to_bad=0.01, p_bad_to_good=0.09, loss_good=0.01, loss_bad=0.4)
    lost = losses_of(model, "mixture")
    share = 0.9 * 0.01 + 0.1 * 0.4
    in_states = (
        0.1 * 0.9 * (0.4 - 0.01) ** 2 * (1 + 0.9) / (1 - 0.9)
    )  # variance from wandering between the states
    error = math.sqrt((share * (1 - share) + in_states) / PACKETS)
    assert abs(sum(lost) / PACKETS - share) < 3 * error


def test_the_first_packet_is_lost_as_often_as_any_other() -> None:
    """A model that always started in its good state would spare the first packets of every short test."""
    model = GilbertElliott.from_share_and_burst(0.2, 10)
    lost = sum(losses_of(model, f"first {seed}", 1)[0] for seed in range(5000))
    assert abs(lost / 5000 - 0.2) < 3 * math.sqrt(0.2 * 0.8 / 5000)


def test_the_same_seed_loses_the_same_packets_and_another_seed_others() -> None:
    model = GilbertElliott.from_share_and_burst(0.1, 3)
    assert losses_of(model, "a", 5000) == losses_of(model, "a", 5000)
    assert losses_of(model, "a", 5000) != losses_of(model, "b", 5000)


def test_all_or_nothing_is_possible() -> None:
    assert all(losses_of(GilbertElliott.from_share_and_burst(1, 4), "all", 1000))
    assert not any(losses_of(GilbertElliott.from_share_and_burst(0, 4), "nothing", 1000))
    assert all(losses_of(Bernoulli(1), "all", 1000))


def test_the_simplest_model_is_chosen() -> None:
    assert loss_model(0) == NoLoss()
    assert loss_model(0.05) == Bernoulli(0.05)
    assert loss_model(0.05, 4) == GilbertElliott.from_share_and_burst(0.05, 4)


@pytest.mark.parametrize("share", [-0.01, 1.01, math.nan])
def test_a_share_outside_of_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        loss_model(share)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Bernoulli(share).validate()
    with pytest.raises(ValueError, match="p_bad_to_good"):
        GilbertElliott(0.1, share).validate()


def test_bursts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 packet"):
        GilbertElliott.from_share_and_burst(0.1, 0.5)
    with pytest.raises(ValueError, match=r"at least 4\.00 packets"):
        GilbertElliott.from_share_and_burst(0.8, 2)

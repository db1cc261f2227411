"""The line that a run through a bad network begins with says what that network does."""

import pytest

from udpconf.cli.network_words import in_words
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import NoLoss, loss_model
from udpconf.emulation.scenario import load_scenario, of_conditions


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (LinkConditions(), "a network that changes nothing"),
        (
            LinkConditions(loss=NoLoss(), reorder_us=10_000, queue_us=300_000),
            "a network that changes nothing",
        ),
        (LinkConditions(delay_us=25_000), "a network with 25 ms of delay each way"),
        (
            LinkConditions(delay_us=500, jitter_us=10_000, loss=loss_model(0.07)),
            "a network with 0.5 ms of delay, up to 10 ms of jitter, 7 % lost each way",
        ),
        (LinkConditions(loss=loss_model(0.02, 5)), "a network with 2 % lost in runs of 5 each way"),
        (LinkConditions(loss=loss_model(1.0, 5)), "a network with 100 % lost each way"),
        (
            LinkConditions(rate_bps=1_500_000),
            "a network with 1.5 Mbit/s and a queue of 300 ms each way",
        ),
        (
            LinkConditions(rate_bps=6_000_000, queue_bytes=64_000),
            "a network with 6 Mbit/s and a queue of 64000 bytes each way",
        ),
        (
            LinkConditions(reorder=0.01, reorder_us=10_000, duplicate=0.02, corrupt=0.001),
            "a network with 1 % held back for 10 ms, 2 % doubled, 0.1 % damaged each way",
        ),
    ],
)
def test_single_conditions_are_said_one_by_one(link: LinkConditions, words: str) -> None:
    assert in_words(of_conditions(link)) == words


def test_a_scenario_is_said_by_its_name_and_title() -> None:
    scenario = load_scenario("loss-5")
    assert in_words(scenario) == f"the network loss-5 ({scenario.title})"

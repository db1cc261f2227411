"""A link's conditions as options of a command line, for netem/lab-net and tools/lab.py."""

import argparse
from pathlib import Path

import pytest

from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.link_options import add_link_options, scenario_of
from udpconf.emulation.loss import loss_model
from udpconf.emulation.scenario import Scenario, load_scenario


def asked(*arguments: str) -> Scenario:
    parser = argparse.ArgumentParser()
    add_link_options(parser)
    return scenario_of(parser.parse_args(arguments))


def test_each_direction_may_have_its_own_conditions() -> None:
    there = "--delay 25ms --rate 6mbit --queue 64kB --loss 2% --burst 5"
    back = "--delay-back 5ms --loss-back 0% --queue-back 300ms"
    (step,) = asked(*there.split(), *back.split()).steps
    assert step.up == LinkConditions(
        delay_us=25_000, loss=loss_model(0.02, 5), rate_bps=6_000_000, queue_bytes=64_000
    )
    assert step.down == LinkConditions(delay_us=5_000, rate_bps=6_000_000, queue_us=300_000)


def test_without_scenario_and_options_the_link_is_perfect() -> None:
    (step,) = asked().steps
    assert step.up == step.down == LinkConditions()


def test_options_say_the_same_as_a_scenario_file(tmp_path: Path) -> None:
    file = tmp_path / "same.toml"
    words = {
        "delay": "25ms",
        "jitter": "5ms",
        "jitter-shape": "normal",
        "jitter-correlation": "25%",
        "loss": "2%",
        "rate": "6mbit",
        "rate-burst": "15kB",
        "queue": "64kB",
        "reorder": "1%",
        "reorder-delay": "3ms",
        "duplicate": "1%",
        "corrupt": "0.1%",
    }
    table = "\n".join(f'{word.replace("-", "_")} = "{value}"' for word, value in words.items())
    file.write_text(
        f'title = "t"\nsource = "s"\n[link]\n{table}\n[down]\nloss = "0%"\njitter_shape = "pareto"\n'
    )
    arguments = [argument for word, value in words.items() for argument in (f"--{word}", value)]
    by_options = asked(*arguments, "--loss-back", "0%", "--jitter-shape-back", "pareto")
    assert by_options.steps == load_scenario(str(file)).steps
    assert by_options.steps[0].down.jitter_shape is JitterShape.PARETO


@pytest.mark.parametrize("back", ["", "-back"])
@pytest.mark.parametrize(
    ("option", "value", "partner"),
    [
        ("--burst", "5", "--loss"),
        ("--queue", "64kB", "--rate"),
        ("--rate-burst", "15kB", "--rate"),
        ("--reorder-delay", "5ms", "--reorder"),
        ("--jitter-shape", "normal", "--jitter"),
        ("--jitter-correlation", "25%", "--jitter"),
    ],
)
def test_an_option_that_does_nothing_without_its_partner_says_so(
    option: str, value: str, partner: str, back: str
) -> None:
    with pytest.raises(
        ValueError, match=f"^{option}{back} does nothing without {partner}; add it"
    ) as refused:
        asked(option + back, value, "--delay", "5ms")
    assert refused.value.__cause__ is None
    given = {"--loss": "2%", "--rate": "1mbit", "--reorder": "1%", "--jitter": "5ms"}[partner]
    asked(option + back, value, partner, given)


def test_an_option_for_both_ways_may_be_meant_for_one_of_them() -> None:
    (step,) = asked("--queue", "64kB", "--rate-back", "1mbit").steps
    assert (step.up.rate_bps, step.down.rate_bps, step.down.queue_bytes) == (None, 1_000_000, 64_000)
    with pytest.raises(ValueError, match="--burst-back does nothing"):
        asked("--burst-back", "5", "--delay-back", "5ms")


def test_a_scenario_says_all_about_the_link() -> None:
    assert asked("loss-5") == load_scenario("loss-5")
    with pytest.raises(ValueError, match="leave out either it or --loss-back"):
        asked("loss-5", "--loss-back", "2%")

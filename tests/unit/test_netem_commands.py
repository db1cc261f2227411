"""What netem/apply tells `tc`, word by word; the words are those of tc-netem(8)."""

from pathlib import Path

import pytest

from udpconf.emulation import netem_commands
from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli, GilbertElliott, TraceLoss, loss_model
from udpconf.emulation.netem_commands import NetemPlan, netem_plan
from udpconf.emulation.rate_trace import RateTrace
from udpconf.emulation.scenario import (
    Scenario,
    ScenarioError,
    Step,
    load_scenario,
    of_conditions,
    scenario_names,
)


def said(conditions: LinkConditions) -> str:
    (step,) = netem_plan(of_conditions(conditions), "up").steps
    return step.arguments


def planned(*halves: LinkConditions, repeat_us: int | None = None) -> NetemPlan:
    steps = tuple(Step(1_000_000 * n, half, LinkConditions()) for n, half in enumerate(halves))
    return netem_plan(Scenario("mine", "", "", steps, repeat_us), "up")


def test_a_perfect_wire_is_a_netem_that_does_nothing() -> None:
    assert said(LinkConditions()) == "netem limit 100000"


def test_uniform_jitter_on_top_of_the_delay_is_netems_plus_or_minus_half_of_it() -> None:
    # netem lets jitter reorder packets unless it has a rate.
    conditions = LinkConditions(delay_us=20_000, jitter_us=10_000)
    assert said(conditions) == "netem limit 100000 delay 25ms 5ms rate 10gbit"
    assert said(conditions._replace(keep_order=False)) == "netem limit 100000 delay 25ms 5ms"


def test_normal_jitter_is_around_the_delay_in_both() -> None:
    conditions = LinkConditions(
        delay_us=50_000, jitter_us=2_500, jitter_shape=JitterShape.NORMAL, keep_order=False
    )
    assert said(conditions) == "netem limit 100000 delay 50ms 2500us distribution normal"
    assert "delay 1us 2500us" in said(conditions._replace(delay_us=0))


def test_pareto_jitter_has_its_mean_and_its_quantiles_in_the_table_of_iproute2() -> None:
    conditions = LinkConditions(
        delay_us=3_000, jitter_us=9_000, jitter_shape=JitterShape.PARETO, keep_order=False
    )
    assert said(conditions) == "netem limit 100000 delay 12ms 13500us distribution pareto"
    # Its generator: (P - 3/2) * 4/3 sigmas above the mean, P a Pareto number of shape 3 and at least 1.
    for uniform in (0.0, 0.5, 0.9):
        pareto = (1 - uniform) ** (-1 / 3)
        ours_us = 3_000 + 2 * 9_000 * (pareto - 1)
        assert 12_000 + 13_500 * (pareto - 1.5) * 4 / 3 == pytest.approx(ours_us)


def test_correlation_follows_the_jitter_and_is_said_to_be_weaker() -> None:
    plan = netem_plan(of_conditions(LinkConditions(jitter_us=4_000, jitter_correlation=0.25)), "up")
    assert plan.steps[0].arguments == "netem limit 100000 delay 2ms 2ms 25% rate 10gbit"
    assert plan.notes == ("netem's correlation makes the jitter smaller than it is asked for",)


def test_loss_is_random_or_in_the_states_of_the_gilbert_elliott_model() -> None:
    assert said(LinkConditions(loss=Bernoulli(0.02))) == "netem limit 100000 loss random 2%"
    assert said(LinkConditions(loss=loss_model(0.2, 5))) == "netem limit 100000 loss gemodel 5% 20% 100% 0%"
    four = GilbertElliott(0.01, 0.1, loss_good=0.001, loss_bad=0.5)
    assert said(LinkConditions(loss=four)) == "netem limit 100000 loss gemodel 1% 10% 50% 0.1%"


def test_the_limit_holds_the_queue_and_what_is_on_its_way() -> None:
    # 300 ms + 25 ms at 6 Mbit/s are 243 750 bytes.
    link = LinkConditions(delay_us=25_000, rate_bps=6_000_000)
    assert said(link) == "netem limit 163 delay 25ms rate 6mbit -14"
    assert said(link._replace(queue_us=300_000)) == said(link)
    assert said(link._replace(queue_bytes=64_000)) == "netem limit 56 delay 25ms rate 6mbit -14"
    assert said(LinkConditions(rate_bps=11_300_001, queue_bytes=0)) == "netem limit 2 rate 11300001bit -14"
    a_week = LinkConditions(delay_us=604_800_000_000, rate_bps=10**12)
    assert said(a_week) == "netem limit 4294967295 delay 604800000ms rate 1000gbit -14"


def test_who_is_held_back_in_our_link_is_who_does_not_overtake_in_netem() -> None:
    link = LinkConditions(reorder=0.02, reorder_us=15_000)
    assert said(link) == "netem limit 100000 delay 15ms reorder 98%"
    plan = netem_plan(of_conditions(link._replace(delay_us=25_000)), "up")
    assert plan.steps[0].arguments == "netem limit 100000 delay 25ms reorder 2%"
    assert "without any delay" in plan.notes[0]


def test_duplicates_and_wrong_bits_are_shares() -> None:
    assert (
        said(LinkConditions(duplicate=0.01, corrupt=0.001)) == "netem limit 100000 duplicate 1% corrupt 0.1%"
    )


def test_a_step_takes_back_what_netem_would_keep_of_the_one_before() -> None:
    plan = planned(
        LinkConditions(
            delay_us=5_000, jitter_us=2_000, jitter_correlation=0.5, corrupt=0.01, rate_bps=8_000_000
        ),
        LinkConditions(),
    )
    assert plan.steps[1].arguments == "netem limit 100000 delay 0ms 0ms 0% corrupt 0% rate 0bit"


def test_steps_that_change_only_the_other_direction_are_not_steps() -> None:
    slow, fast = LinkConditions(rate_bps=1_000_000), LinkConditions(rate_bps=2_000_000)
    assert [step.at_us for step in planned(fast, fast, slow, slow, fast).steps] == [0, 2_000_000, 4_000_000]
    assert planned(fast, slow, repeat_us=5_000_000).repeat_us == 5_000_000
    assert planned(fast, fast, repeat_us=5_000_000).repeat_us is None
    down = netem_plan(of_conditions(fast, slow), "down")
    assert down.steps[0].arguments.endswith("rate 1mbit -14")


@pytest.mark.parametrize(
    ("conditions", "what"),
    [
        (LinkConditions(loss=TraceLoss((True, False))), "a trace of losses"),
        (LinkConditions(rate_trace=RateTrace((1, 2), 2)), "a trace of rates"),
        (LinkConditions(jitter_us=5, jitter_shape=JitterShape.EXPONENTIAL), "exponential jitter"),
    ],
)
def test_what_tc_cannot_do_is_refused_in_a_sentence(conditions: LinkConditions, what: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        netem_plan(of_conditions(conditions), "up")
    assert (
        str(refused.value)
        == f"custom has {what}, which tc netem cannot do; netem/lab-net and the UDP proxy can"
    )
    netem_plan(of_conditions(LinkConditions(), conditions), "up")  # the other direction does not matter


def test_a_distribution_cannot_be_taken_back() -> None:
    uniform = LinkConditions(jitter_us=5)
    with pytest.raises(ScenarioError, match="uniform"):
        planned(uniform, uniform._replace(jitter_shape=JitterShape.NORMAL))


def test_every_named_scenario_without_a_trace_can_be_applied() -> None:
    refused = []
    for name in scenario_names():
        for direction in ("up", "down"):
            try:
                assert netem_plan(load_scenario(name), direction).steps[0].at_us == 0
            except ScenarioError:
                refused.append((name, direction))
    assert refused == [("cellular-trace", "up"), ("cellular-trace", "down")]


def test_the_script_reads_one_line_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert netem_commands.main(["--direction", "up", "outage"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "step 0 netem limit 100000 delay 20ms",
        "step 4000000 netem limit 100000 delay 20ms loss random 100%",
        "step 6000000 netem limit 100000 delay 20ms",
        "repeat 20000000",
    ]


def test_bad_scenarios_end_in_a_sentence_and_the_code_of_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[link]\ndelay = 5\n")
    for scenario in ("no-such-scenario", str(tmp_path / "none.toml"), str(bad), str(tmp_path)):
        assert netem_commands.main([scenario]) == 3
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("apply: ")
        assert captured.err.count("\n") == 1

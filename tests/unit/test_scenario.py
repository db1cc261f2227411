"""Scenario files: what they say, when it holds, and what is said of a wrong one."""

from pathlib import Path

import pytest

from udpconf.emulation.jitter import JitterShape
from udpconf.emulation.link import Fate, LinkConditions, flip_bit
from udpconf.emulation.loss import Bernoulli, GilbertElliott, NoLoss, TraceLoss
from udpconf.emulation.scenario import (
    Scenario,
    ScenarioError,
    Step,
    load_scenario,
    of_conditions,
    scenario_names,
    step_at,
)
from udpconf.emulation.scenario_link import ScenarioLink
from udpconf.limits import MS, SECOND

HEAD = 'title = "A test"\nsource = "Made up."\n'
START_US = 12_345_678


def scenario_of(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "made-up.toml"
    path.write_text(HEAD + text, encoding="utf-8")
    return load_scenario(str(path))


def test_at_least_twelve_scenarios_are_shipped_and_each_says_where_its_numbers_come_from() -> None:
    names = scenario_names()
    assert len(names) >= 12
    for name in names:
        scenario = load_scenario(name)
        assert scenario.name == name
        assert len(scenario.source) > 20


def test_every_word_of_a_file_becomes_its_condition(tmp_path: Path) -> None:
    scenario = scenario_of(
        tmp_path,
        """
        [link]
        delay = "25ms"
        jitter = "10ms"
        jitter_shape = "pareto"
        jitter_correlation = "25%"
        keep_order = false
        rate = "6mbit"
        rate_burst = "15kB"
        queue = "64kB"
        reorder = "1%"
        duplicate = "3%"
        corrupt = "0.5%"
        [up]
        loss = "2%"
        burst = 5.0
        [down]
        loss_trace = "001 1"
        """,
    )
    (step,) = scenario.steps
    assert step.up == LinkConditions(
        delay_us=25 * MS,
        jitter_us=10 * MS,
        jitter_shape=JitterShape.PARETO,
        jitter_correlation=0.25,
        keep_order=False,
        loss=GilbertElliott.from_share_and_burst(0.02, 5.0),
        rate_bps=6_000_000,
        burst_bytes=15_000,
        queue_bytes=64_000,
        reorder=0.01,
        reorder_us=10 * MS,
        duplicate=0.03,
        corrupt=0.005,
    )
    assert step.down == step.up._replace(loss=TraceLoss((False, False, True, True)))


def test_a_step_says_what_is_different_from_the_beginning_not_from_the_step_before(tmp_path: Path) -> None:
    scenario = scenario_of(
        tmp_path,
        """
        [link]
        rate = "6mbit"
        [[step]]
        at = "10s"
        rate = "1.5mbit"
        loss = "5%"
        [[step]]
        at = "15s"
        [step.up]
        outage = true
        [schedule]
        repeat = "20s"
        """,
    )
    assert [step.at_us for step in scenario.steps] == [0, 10 * SECOND, 15 * SECOND]
    assert scenario.steps[1].up.rate_bps == 1_500_000
    assert scenario.steps[2].down == scenario.steps[0].down
    assert scenario.steps[2].up.loss == Bernoulli(1.0)
    for elapsed_us, rate_bps in ((0, 6_000_000), (12 * SECOND, 1_500_000), (31 * SECOND, 1_500_000)):
        assert scenario.steps[step_at(scenario, elapsed_us)].up.rate_bps == rate_bps


def test_a_more_particular_table_may_replace_the_kind_of_loss_and_of_rate(tmp_path: Path) -> None:
    scenario = scenario_of(
        tmp_path,
        """
        [link]
        loss = "2%"
        burst = 5.0
        rate = "6mbit"
        rate_burst = "15kB"
        [up]
        loss_trace = "01"
        [down]
        rate_trace = "5"
        [[step]]
        at = "1s"
        loss = "1%"
        rate = "1mbit"
        """,
    )
    first, second = scenario.steps
    assert first.up.loss == TraceLoss((False, True))
    assert first.down.rate_trace is not None
    assert (first.down.rate_bps, first.down.burst_bytes) == (None, 0)
    assert (second.up.loss, second.up.rate_bps) == (Bernoulli(0.01), 1_000_000)
    assert second.down.rate_trace is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[link", "no valid TOML"),
        ("[link]\ndellay = '1ms'", "unknown key 'dellay'"),
        ("[link]\ndelay = 5", "delay"),
        ("[link]\ndelay = '5'", "delay"),
        ("[link]\nloss = '200%'", "loss"),
        ("[link]\nloss = '50%'\nburst = 0.5", "burst"),
        ("[link]\nloss = '5%'\nloss_trace = '01'", "leave one of them out"),
        ("[link]\nloss_trace = '012'", "loss_trace"),
        ("[link]\nloss_trace = { file = 'no-such.txt' }", "no-such.txt"),
        ("[link]\nrate = '1mbit'\nrate_trace = \"1\\n2\"", "not both"),
        ('[link]\nrate_trace = "5\\n3"', "back in time"),
        ('[link]\nrate_trace = "1\\nx"', "line 2"),
        ("[link]\nrate_trace = ''", "empty"),
        ("[link]\nrate_trace = { synthetic = { mean = '6' } }", "mean"),
        ("[link]\njitter_shape = 'round'", "uniform, normal, exponential, pareto"),
        ("[link]\nqueue = '3'", "queue"),
        ("[link]\noutage = 'yes'", "true nor false"),
        ("link = 3", "not a table"),
        ("[[step]]\nrate = '1mbit'", "no time"),
        ("[[step]]\nat = '0s'", "1 ms or more after"),
        ("[[step]]\nat = '999us'", "1 ms or more after"),
        ("[[step]]\nat = '1ms'\n[schedule]\nrepeat = '1999us'", "repeats before"),
        ("x = " + 5000 * "[", "nested too deeply"),
        ("[link]\nrate_trace = { synthetic = { seconds = 3600, mean = '100gbit' } }", "opportunities"),
        ("step = 3", "two brackets"),
        ("[[step]]\nat = '5s'\n[schedule]\nrepeat = '3s'", "repeats before"),
        ("[schedule]\nrepet = '3s'", "unknown key 'repet'"),
        ("[link]\ndelay = '1ms'\n[up]\nloss = '2'", "[up] has a bad loss"),
        ("[[step]]\nat = '1s'\n[step.up]\nloss = '2'", "[[step]] number 1, [step.up] has a bad loss"),
        (
            "[link]\nloss = '90%'\n[up]\nburst = 2.0",
            "[link] and [up] cannot be: a loss of 90.0% needs bursts",
        ),
        ("[link]\nburst = 5.0", "[link] has burst, which does nothing without loss"),
        ("[up]\nloss = '2%'\n[down]\nburst = 5.0", "[down] has burst, which does nothing without loss"),
        (
            "[link]\nloss_trace = '01'\n[[step]]\nat = '1s'\nburst = 2.0",
            "burst, which does nothing without loss",
        ),
        ("[[step]]\nat = '1s'\noutage = true\nburst = 5.0", "without loss"),
        ("[link]\nqueue = '64kB'", "[link] has queue, which does nothing without rate or rate_trace"),
        ("[link]\nrate_burst = '15kB'", "[link] has rate_burst, which does nothing without rate"),
        ("[link]\nrate_burst = '15kB'\nrate_trace = '5'", "rate_burst, which does nothing without rate"),
        ("[link]\nreorder_delay = '5ms'", "[link] has reorder_delay, which does nothing without reorder"),
        ("[link]\njitter_shape = 'normal'", "[link] has jitter_shape, which does nothing without jitter"),
        ("[link]\njitter_correlation = '5%'", "jitter_correlation, which does nothing without jitter"),
        (
            "[link]\nrate = '1mbit'\n[up]\nrate_trace = '5'\n[[step]]\nat = '1s'\n[step.up]\nrate_burst = '15kB'",
            "[step.up]",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario_of(tmp_path, text)
    assert words in str(caught.value)
    assert "made-up.toml" in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_word_may_wait_for_the_table_that_makes_it_do_something(tmp_path: Path) -> None:
    scenario = scenario_of(
        tmp_path,
        """
        [link]
        queue = "64kB"
        burst = 5.0
        [up]
        rate = "1mbit"
        [[step]]
        at = "1s"
        loss = "10%"
        [[step]]
        at = "2s"
        loss = "0%"
        """,
    )
    first, lossy, again = scenario.steps
    assert (first.up.queue_bytes, first.up.rate_bps, first.down.rate_bps) == (64_000, 1_000_000, None)
    assert (first.up.loss, lossy.up.loss) == (NoLoss(), GilbertElliott.from_share_and_burst(0.1, 5.0))
    assert again == first._replace(at_us=2 * SECOND)


def test_a_step_may_take_the_loss_away_and_leave_the_burst(tmp_path: Path) -> None:
    """And an outage needs no burst."""
    text = """
        [link]
        loss = "2%"
        burst = 5.0
        [[step]]
        at = "1s"
        loss = "0%"
        [[step]]
        at = "2s"
        outage = true
        """
    losses: list[object] = [step.up.loss for step in scenario_of(tmp_path, text).steps]
    bursts = GilbertElliott.from_share_and_burst(0.02, 5.0)
    assert losses == [bursts, NoLoss(), bursts._replace(loss_good=1.0, loss_bad=1.0)]


@pytest.mark.parametrize("ends_ms", [21, 24, 30])
def test_bursts_of_loss_are_the_same_whenever_an_outage_before_them_ended(
    tmp_path: Path, ends_ms: int
) -> None:
    bursts = '[link]\nloss = "50%"\nburst = 20.0\n'
    text = f"{bursts}[[step]]\nat = '10ms'\noutage = true\n[[step]]\nat = '{ends_ms}ms'\n"
    with_outage: ScenarioLink[int] = ScenarioLink(scenario_of(tmp_path, text), 1)
    without: ScenarioLink[int] = ScenarioLink(scenario_of(tmp_path, bursts), 1)
    for number in range(100):
        now_us = START_US + number * MS
        fate, usual = (link.send("up", now_us, number, 100).fate for link in (with_outage, without))
        assert fate is (Fate.LOST if 10 <= number < ends_ms else usual)


def test_the_same_trace_is_one_object_in_every_step_and_direction(tmp_path: Path) -> None:
    """Reading one of ten minutes takes a second, and a link knows by the object that its rate goes on."""
    (tmp_path / "beside.txt").write_text("5\n7\n")
    scenario = scenario_of(
        tmp_path,
        """
        [link]
        rate_trace = { synthetic = { seed = 7 } }
        [down]
        rate_trace = { synthetic = { seconds = 60, mean = "6mbit", seed = "7" } }
        [[step]]
        at = "1s"
        [[step]]
        at = "2s"
        rate_trace = { file = "beside.txt" }
            [step.down]
            rate_trace = "5\\n7\\n"
        [[step]]
        at = "3s"
        rate_trace = { synthetic = { seed = 8 } }
        """,
    )
    made_up, same, recorded, other = [(step.up.rate_trace, step.down.rate_trace) for step in scenario.steps]
    assert made_up[0] is made_up[1] is same[0] is same[1] is not None
    assert recorded[0] is recorded[1] is not None
    assert other[0] is other[1] is not made_up[0]


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    for name in ("wifi-brusts", "../secret", ""):
        with pytest.raises(ScenarioError, match="wifi-bursts"):
            load_scenario(name)
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(str(tmp_path / "none.toml"))
    (tmp_path / "bare.toml").write_text("", encoding="utf-8")
    with pytest.raises(ScenarioError, match="has no title"):
        load_scenario(str(tmp_path / "bare.toml"))


# --- in time ---------------------------------------------------------------------------------------------------------


def steps(*at: tuple[int, LinkConditions], repeat_us: int | None = None) -> Scenario:
    return Scenario("t", "t", "t", tuple(Step(at_us, c, c) for at_us, c in at), repeat_us)


SLOW, QUICK = LinkConditions(delay_us=50 * MS), LinkConditions(delay_us=5 * MS)


def test_the_schedule_starts_with_the_first_packet() -> None:
    link: ScenarioLink[int] = ScenarioLink(steps((0, QUICK), (SECOND, SLOW)), 1)
    assert link.poll_timeout() is None
    assert link.send("up", START_US, 0, 100).due_us == START_US + 5 * MS
    assert link.send("down", START_US + SECOND - 1, 1, 100).due_us == START_US + SECOND - 1 + 5 * MS
    assert link.send("up", START_US + SECOND, 2, 100).due_us == START_US + SECOND + 50 * MS
    assert link.step == 1


def test_a_schedule_that_repeats_begins_anew_also_after_a_long_silence() -> None:
    link: ScenarioLink[int] = ScenarioLink(steps((0, QUICK), (SECOND, SLOW), repeat_us=2 * SECOND), 1)
    for elapsed_us, delay_us in ((0, 5), (1, 50), (2, 5), (3, 50), (100, 5), (201, 50)):
        now_us = START_US + elapsed_us * SECOND
        assert link.send("up", now_us, 1, 100).due_us == now_us + delay_us * MS


def test_a_step_is_a_timer_and_each_comes_once() -> None:
    link: ScenarioLink[int] = ScenarioLink(steps((0, QUICK), (SECOND, SLOW), (3 * SECOND, QUICK)), 1)
    link.send("up", START_US, 1, 100)
    seen: list[int] = []
    while (at_us := link.poll_timeout()) is not None:
        assert not seen or at_us > seen[-1]
        seen.append(at_us)
        link.poll_delivery("up", at_us)
    assert seen == [START_US + 5 * MS, START_US + SECOND, START_US + 3 * SECOND]


def test_what_waits_leaves_at_the_rate_of_the_new_step() -> None:
    slow, quick = LinkConditions(rate_bps=80_000), LinkConditions(rate_bps=8_000_000)
    link: ScenarioLink[int] = ScenarioLink(steps((0, slow), (100 * MS, quick)), 1)
    for number in range(3):
        link.send("up", START_US, number, 1000)
    assert link.poll_delivery("up", START_US + 100 * MS) == 0
    assert link.up.poll_timeout() == START_US + 101 * MS


def test_another_scenario_may_be_put_in_while_packets_are_under_way() -> None:
    link: ScenarioLink[int] = ScenarioLink(of_conditions(SLOW), 1)
    link.send("up", START_US, 0, 100)
    link.set_scenario(START_US + 10 * MS, steps((0, QUICK), (SECOND, SLOW)))
    assert link.send("up", START_US + 60 * MS, 1, 100).due_us == START_US + 65 * MS
    assert link.send("up", START_US + 2 * SECOND, 2, 100).due_us == START_US + 2 * SECOND + 50 * MS


def test_a_scenario_whose_later_step_cannot_be_is_refused_at_once() -> None:
    wrong = steps((0, QUICK), (SECOND, LinkConditions(duplicate=2.0)))
    with pytest.raises(ValueError, match="duplicate"):
        ScenarioLink(wrong, 1)
    link: ScenarioLink[int] = ScenarioLink(of_conditions(SLOW), 1)
    with pytest.raises(ValueError, match="duplicate"):
        link.set_scenario(START_US, wrong)
    assert link.send("up", START_US, 0, 100).due_us == START_US + 50 * MS


def test_a_corrupted_packet_arrives_with_one_bit_turned_over() -> None:
    link: ScenarioLink[bytes] = ScenarioLink(of_conditions(LinkConditions(corrupt=0.3)), 1, flip_bit)
    data = bytes(range(100))
    corrupted = [link.send("up", START_US + number, data, 128).corrupted for number in range(1000)]
    arrived = [link.poll_delivery("up", START_US + SECOND) for _ in corrupted]
    for is_corrupted, packet in zip(corrupted, arrived, strict=True):
        assert packet is not None
        flipped = sum((a ^ b).bit_count() for a, b in zip(data, packet, strict=True))
        assert flipped == is_corrupted
    assert link.up.counters.corrupted == sum(corrupted)
    assert 240 < sum(corrupted) < 360
    assert flip_bit(b"", 0.5) == b""

"""The emulator gives what the scenarios ask for, and the judge of that is no yes-man (tools/check_emulator.py with few packets)."""

from collections.abc import Callable, Iterable
from math import erf, sqrt
from pathlib import Path

import pytest

from tools.check_emulator import SHIPPED, main
from tools.emulator_figures import Finding, Row
from tools.emulator_flood import flood
from tools.emulator_sparse import judge, sample
from tools.emulator_statistics import check
from tools.link_expectations import correlated_variance, delay_quantile_us, loss_error
from tools.scenario_words import compare_loss
from udpconf.emulation.jitter import JitterShape, correlated
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli, GilbertElliott, TraceLoss, loss_model
from udpconf.emulation.rate_trace import synthetic_cellular
from udpconf.emulation.scenario import Scenario, Step, load_scenario, of_conditions, scenario_names
from udpconf.limits import MS, SECOND

PACKETS = 30_000
FEW = 10_000
SOME = 20_000  # enough to tell the changes below from chance
SEED = 1


def wrong(findings: Iterable[Finding]) -> list[Row]:
    return [row for row in findings if isinstance(row, Row) and not row.right]


@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_does_what_it_says(name: str) -> None:
    scenario = load_scenario(name)
    report = check(scenario, PACKETS, SEED)
    assert report.rows
    assert wrong(report.rows) == [], f"seed {SEED}"
    assert wrong(compare_loss(SHIPPED / f"{name}.toml", scenario)) == []


@pytest.mark.parametrize("shape", JitterShape)
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_every_shape_of_jitter_has_its_quantiles(shape: JitterShape, correlation: float) -> None:
    c = LinkConditions(
        delay_us=50 * MS, jitter_us=10 * MS, jitter_shape=shape, jitter_correlation=correlation
    )
    assert wrong(check(of_conditions(c, name=f"{shape} {correlation}"), FEW, SEED).rows) == []


@pytest.mark.parametrize(
    "c",
    [
        LinkConditions(loss=TraceLoss((True, False, False, True, True, False, False))),
        LinkConditions(loss=GilbertElliott(0.02, 0.2, 0.01, 0.5)),
        LinkConditions(loss=loss_model(0.3, 1.0)),
        LinkConditions(rate_bps=3_000_000, burst_bytes=30_000, queue_bytes=64_000),
        LinkConditions(rate_trace=synthetic_cellular(3, 10, 8e6), delay_us=7 * MS),
        LinkConditions(reorder=0.1, reorder_us=20 * MS, jitter_us=5 * MS, duplicate=0.5, corrupt=0.5),
        LinkConditions(loss=Bernoulli(1.0)),
    ],
    ids=["loss trace", "lossy states", "no neighbours", "token bucket", "rate trace", "all dice", "nothing"],
)
def test_what_no_shipped_scenario_asks_for_comes_true_as_well(c: LinkConditions) -> None:
    assert wrong(check(of_conditions(c), FEW, SEED).rows) == []


def test_a_schedule_without_a_repeat_is_played_over_and_over() -> None:
    before, after = (
        LinkConditions(loss=Bernoulli(0.1)),
        LinkConditions(loss=Bernoulli(0.3), rate_bps=2_000_000),
    )
    scenario = Scenario("steps", "", "", (Step(0, before, before), Step(2 * SECOND, after, before)), None)
    rows = check(scenario, FEW, SEED).rows
    assert wrong(rows) == []
    assert {(row.step, row.what) for row in rows} >= {(0, "loss %"), (1, "loss %"), (1, "Mbit/s")}


def test_a_recorded_rate_begins_with_its_step_and_goes_on_in_the_next() -> None:
    constant = LinkConditions(rate_bps=3_000_000, delay_us=5 * MS)
    recorded = LinkConditions(rate_trace=synthetic_cellular(3, 10, 8e6), delay_us=5 * MS)
    lossy = recorded._replace(loss=Bernoulli(0.1))
    steps = (Step(0, constant, recorded), Step(2700 * MS, recorded, lossy), Step(4 * SECOND, lossy, recorded))
    report = check(Scenario("into a trace", "", "", steps, 6 * SECOND), FEW, SEED)
    assert wrong(report.rows) == []
    rates = {(row.step, row.way) for row in report.rows if row.what == "Mbit/s"}
    assert rates == {(step, way) for step in range(3) for way in ("up", "down")}
    assert {(gap.step, gap.what) for gap in report.gaps} >= {(step, "delay") for step in range(3)}


def test_what_cannot_be_judged_is_told() -> None:
    usual = LinkConditions(rate_bps=8_000_000)
    narrow = LinkConditions(rate_bps=500_000)
    steps = (Step(0, usual, usual), Step(2 * SECOND, narrow, usual), Step(4 * SECOND, usual, usual))
    short = Step(4 * SECOND + 2 * MS, usual, usual)
    report = check(Scenario("short", "", "", (*steps, short), 6 * SECOND), 1000, SEED)
    assert wrong(report.rows) == []
    gaps = {(gap.step, gap.way, gap.what) for gap in report.gaps}
    assert gaps == {
        (1, "up", "queue"),  # 300 ms at 8 Mbit/s are 4.8 s at 0.5
        *((2, way, what) for way in ("up", "down") for what in ("all but rate and queue", "rate and queue")),
        *((2, way, "overtaking") for way in ("up", "down")),
    }


def test_a_queue_of_time_at_a_recorded_rate_is_not_judged() -> None:
    c = LinkConditions(rate_trace=synthetic_cellular(3, 10, 8e6), queue_us=200 * MS)
    report = check(of_conditions(c), FEW, SEED)
    assert wrong(report.rows) == []
    assert {(gap.way, gap.what) for gap in report.gaps} == {("up", "queue"), ("down", "queue")}


def test_the_words_of_a_file_are_read_a_second_time(tmp_path: Path) -> None:
    (tmp_path / "seen.txt").write_text("0001\n0000\n")
    file = tmp_path / "words.toml"
    file.write_text(
        'title = "t"\nsource = "s"\n[link]\nloss = "2%"\nburst = 8.0\n[up]\nloss = "4%"\n'
        '[[step]]\nat = "1s"\n[step.up]\noutage = true\n[step.down]\nloss_trace = { file = "seen.txt" }\n'
    )
    scenario = load_scenario(str(file))
    assert [(row.step, row.way, row.asked) for row in compare_loss(file, scenario)] == [
        (0, "up", 4.0),
        (0, "up", 8.0),
        (0, "down", 2.0),
        (0, "down", 8.0),
        (1, "up", 100.0),
        (1, "down", 12.5),
    ]
    assert wrong(compare_loss(file, scenario)) == []


ASKED = LinkConditions(
    delay_us=20 * MS,
    jitter_us=10 * MS,
    loss=loss_model(0.03, 8),
    rate_bps=6_000_000,
    queue_us=200 * MS,
    duplicate=0.02,
)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("loss %", lambda c: c._replace(loss=loss_model(0.06, 8))),
        ("burst", lambda c: c._replace(loss=loss_model(0.03, 5))),
        ("p50 ms", lambda c: c._replace(delay_us=20_200)),
        ("p95 ms", lambda c: c._replace(jitter_us=10_300)),
        ("duplicates %", lambda c: c._replace(duplicate=0.03)),
        ("Mbit/s", lambda c: c._replace(rate_bps=6_050_000)),
        ("queue ms", lambda c: c._replace(queue_us=210 * MS)),
    ],
)
def test_a_link_that_does_something_else_is_found_out(
    what: str, change: Callable[[LinkConditions], LinkConditions]
) -> None:
    given = of_conditions(change(ASKED))
    asked = of_conditions(ASKED)
    findings = [*judge(asked, sample(given, SOME, SEED)), *flood(given, FEW, SEED, asked=asked)]
    assert what in {row.what for row in wrong(findings)}


def test_bursts_of_losses_say_less_than_single_ones() -> None:
    """Mean runs of 8 at 3 %: one packet in some 15 counts. Of runs that are independent, every one does."""
    independent = loss_error(Bernoulli(0.03), 10_000)
    assert loss_error(loss_model(0.03, 1 / 0.97), 10_000) == pytest.approx(independent)
    assert (loss_error(loss_model(0.03, 8), 10_000) / independent) ** 2 == pytest.approx(14.52, abs=0.01)


def test_quantiles_are_those_of_the_textbook() -> None:
    def median(shape: JitterShape) -> int:
        return delay_quantile_us(LinkConditions(0, 10_000, shape), 0.5)

    assert median(JitterShape.UNIFORM) == 5000
    assert median(JitterShape.EXPONENTIAL) == pytest.approx(6931, abs=1)
    assert median(JitterShape.PARETO) == pytest.approx(2 * 10_000 * (2 ** (1 / 3) - 1), abs=1)
    normal = delay_quantile_us(LinkConditions(100 * MS, 10_000, JitterShape.NORMAL), 0.95)
    assert normal == pytest.approx(100 * MS + 16_449, abs=1)


def test_correlated_delays_say_as_little_as_the_formula_says() -> None:
    """Against the spread of a hundred samples: 1.64 standard deviations above the mean, correlation 0.8."""
    import random

    rng = random.Random(SEED)
    at, packets = 1.6449, 1000
    counts = []
    for _ in range(150):
        gauss: float | None = None
        below = 0
        for _ in range(packets):
            gauss, _ = correlated(gauss, rng.random(), 0.8)
            below += gauss < at
        counts.append(below / packets)
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1)
    share = (1 + erf(at / sqrt(2))) / 2
    grown = variance / (share * (1 - share) / packets)
    assert 0.65 < grown / correlated_variance(share, 0.8) < 1.5, f"seed {SEED}"
    assert correlated_variance(0.5, 0.0) == 1.0


def test_the_tool_shows_a_table_and_says_how_many_figures_are_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["loss-5", "--packets", "4000"]) == 0
    told = capsys.readouterr().out
    assert "loss-5" in told
    assert "16 figures, 0 wrong, 0 not judged" in told


def test_two_files_of_the_same_name_are_both_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / folder / "kitchen.toml" for folder in ("here", "there")]
    for file, delay in zip(files, ("1ms", "2ms"), strict=True):
        file.parent.mkdir()
        file.write_text(f'title = "kitchen"\nsource = "none"\n[link]\ndelay = "{delay}"\n')
    assert main([*map(str, files), "--packets", "1000"]) == 0
    told = capsys.readouterr().out
    assert " 1/1 " in told
    assert " 2/2 " in told


def test_a_file_that_says_what_cannot_be_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A correlation of 100 % was a division by nothing."""
    file = tmp_path / "same.toml"
    file.write_text('title = "same"\nsource = "none"\n[link]\njitter = "4ms"\njitter_correlation = "100%"\n')
    assert main([str(file), "--packets", "1000"]) == 3
    told = capsys.readouterr().err
    assert told.startswith("check_emulator: The scenario")
    assert "jitter_correlation" in told


def test_the_tool_says_what_was_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reordering", "--packets", "4000"]) == 0
    told = capsys.readouterr().out
    assert "not judged: reordering, from 0 s, up: overtaking: some are held back on purpose" in told


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["no-such-scenario"], 3), (["--packets", "many"], 2), (["--packets", "10"], 2)],
)
def test_the_tool_answers_what_it_cannot_do_with_a_sentence(
    arguments: list[str], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr().err
    assert code == expected
    assert "Traceback" not in told
    assert "check_emulator" in told or "usage" in told

#!/usr/bin/env python3
"""Does the link emulator do what its scenarios ask for? Sends packets in virtual time and compares, within chance.

    tools/check_emulator.py                       every shipped scenario, 10^6 packets each: a quarter of an hour
    tools/check_emulator.py wifi-bursts dsl --packets 100000
    tools/check_emulator.py --call                how long 60 s of a call take in virtual time

What is measured, and when it counts as wrong, is told in emulator_statistics.py. Exit codes: 0 all is right, 1 something
is not, or the call took too long, 2 usage, 3 a scenario that cannot be read, 130 Ctrl-C.
"""

import argparse
import sys
import time
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.emulator_figures import WAYS, Row
from tools.emulator_statistics import Report, check
from tools.link_expectations import SECOND, STANDARD_ERRORS
from tools.scenario_words import compare_loss
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli
from udpconf.emulation.scenario import Scenario, ScenarioError, load_scenario, scenario_names

PACKETS_DEFAULT = 1_000_000
COLUMNS = ("loss %", "burst", "p50 ms", "p95 ms", "p99 ms", "neighbours", "Mbit/s", "queue ms")
# Of the table; a narrower window wraps its lines.
WIDTH_MIN = 180
SHIPPED = Path(__file__).resolve().parent.parent / "netem" / "scenarios"
CALL_SECONDS = 60
CALLS = 3
CALL_BAR_S = 3.0


def show(console: Console, results: list[tuple[Scenario, Report]]) -> None:
    """A line for each scenario, step and direction: each figure as asked for and as measured."""
    table = Table(title="asked for / measured", box=SIMPLE)
    for heading in ("scenario", "from s", "way", *COLUMNS, "others", "worst"):
        table.add_column(heading, no_wrap=True)
    for scenario, report in results:
        for step, way in sorted(
            {(row.step, row.way) for row in report.rows}, key=lambda key: (key[0], WAYS.index(key[1]))
        ):
            line = [row for row in report.rows if (row.step, row.way) == (step, way)]
            cells = {row.what: _cell(row) for row in line}
            # Of the books, the order and the file's words nothing is said while they are right.
            others = [row.what for row in line if row.what not in COLUMNS and row.z]
            table.add_row(
                scenario.name,
                _from(scenario, step),
                way,
                *(cells.get(what, "") for what in COLUMNS),
                "\n".join(f"{what} {cells[what]}" for what in others),
                f"{max(abs(row.z) for row in line):.1f}",
            )
    console.print(table)
    console.print('"worst": by how many standard errors the worst figure of a line is off.')
    for scenario, report in results:
        for gap in report.gaps:
            where = f"{scenario.name}, from {_from(scenario, gap.step)} s, {gap.way}"
            console.print(f"not judged: {where}: {gap.what}: {gap.why}", highlight=False)


def _from(scenario: Scenario, step: int) -> str:
    return f"{scenario.steps[step].at_us / SECOND:g}"


def _cell(row: Row) -> str:
    told = f"{row.asked:.4g}/{row.measured:.4g}"
    return told if row.right else f"[bold red]{told}[/]"


def time_call(console: Console, seed: int) -> int:
    """Processor time of a call of 3 Mbit/s and sound in virtual time; the best of some, for other programs only add."""
    from tests.sim.stories import Conditions, Media, Run, play

    conditions = Conditions(LinkConditions(delay_us=25_000, jitter_us=5_000, loss=Bernoulli(0.02)))
    play([conditions, Media(), Run(1)])  # imports, and pictures to send
    took_s: list[float] = []
    for _ in range(CALLS):
        before_s = time.process_time()
        story = play([conditions, Media(), Run(CALL_SECONDS)], seed)
        took_s.append(time.process_time() - before_s)
    told = ", ".join(f"{seconds:.2f}" for seconds in took_s)
    console.print(
        story.told(f"{CALL_SECONDS} s of a call took {told} s of a core; the bar is {CALL_BAR_S:g} s")
    )
    return int(min(took_s) > CALL_BAR_S)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare the link emulator with what its scenarios ask for.")
    parser.add_argument(
        "scenario", nargs="*", help="a shipped scenario or a .toml file; default: all shipped ones"
    )
    parser.add_argument(
        "--packets", type=int, default=PACKETS_DEFAULT, help="for each scenario, both ways together"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--call", action="store_true", help="time a call in virtual time instead")
    arguments = parser.parse_args(argv)
    if arguments.packets < 1000:
        parser.error("fewer than 1000 packets say nothing")
    console = Console()
    console.width = max(console.width, WIDTH_MIN)
    if arguments.call:
        return time_call(console, arguments.seed)
    try:
        scenarios = [(name, load_scenario(name)) for name in arguments.scenario or scenario_names()]
    except ScenarioError as error:
        print(f"check_emulator: {error}", file=sys.stderr)
        return 3
    results: list[tuple[Scenario, Report]] = []
    for name, scenario in track(scenarios, "in virtual time", console=Console(stderr=True), transient=True):
        report = check(scenario, arguments.packets, arguments.seed)
        file = Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml"
        results.append((scenario, report._replace(rows=[*compare_loss(file, scenario), *report.rows])))
    show(console, results)
    wrong = [
        f"{scenario.name}, {row.what}" for scenario, report in results for row in report.rows if not row.right
    ]
    figures = sum(len(report.rows) for _, report in results)
    gaps = sum(len(report.gaps) for _, report in results)
    print(f"{figures} figures, {len(wrong)} wrong, {gaps} not judged {wrong or ''}")
    print(f"Wrong is what is off by more than {STANDARD_ERRORS} standard errors twice, with different luck.")
    return int(bool(wrong))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

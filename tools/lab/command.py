"""The command line of tools/lab.py."""

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Never

from tools.lab import results
from tools.lab.plan import Setting, parse_setting
from tools.lab.report import write_report
from tools.lab.runner import (
    AROUND_S,
    ROOT,
    Case,
    Clip,
    LabUnavailable,
    Link,
    RunFailed,
    Stopped,
    identity,
    make_folder,
    run_case,
)
from udpconf.emulation.link_options import add_link_options, scenario_of
from udpconf.emulation.scenario import ScenarioError, load_scenario, scenario_names

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIGURATION = 3
EXIT_UNAVAILABLE = 4
EXIT_SIGNAL = 128

PROGRAMS = ("udpconf", "tcp")
# Nothing wrong, bursts, a moving cell and a link that becomes too narrow: what differs most in 10 s.
QUICK_SCENARIOS = ("clean-lan", "wifi-bursts", "4g-moving", "rate-drop")
QUICK_SECONDS = 10.0
FULL_SECONDS = 20.0

DESCRIPTION = """\
Sends a film with numbered pictures, and sound with a chirp every second, over bad networks between two network
namespaces, with udpconf and with the plain TCP way (length, JPEG, length, JPEG, ...), and measures what arrives.
Writes a line of JSON a run and an HTML report. What the figures mean: docs/testing-under-loss.md.
"""
EPILOG = """\
Examples:
  sudo tools/lab.py --quick
  sudo tools/lab.py wifi-bursts my-office.toml --seeds 5 -o office.jsonl
  sudo tools/lab.py satellite --setting default --setting calm:latency_ms=900,kbps=1500
  sudo tools/lab.py --link "--delay 25ms --loss 2% --rate 6mbit --queue 300ms"
Exit codes: 0 all runs gave figures; 1 some did not; 2 usage, or results that cannot be written; 3 a scenario that is not
there or not right; 4 no root, or no namespaces here; 128 and a signal's number when that ended it: 130 Ctrl-C, 143 SIGTERM.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        cases = cases_of(options)
        if os.geteuid() != 0:
            raise LabUnavailable("Network namespaces need root: start this with sudo.")
        with stoppable(), folder() as work:
            return run_all(options, cases, work)
    except (ValueError, results.ResultsError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return EXIT_CONFIGURATION if isinstance(error, ScenarioError) else EXIT_USAGE
    except (LabUnavailable, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    except Stopped as stopped:
        kept = f"; the runs before are in {options.output}" if options.output.exists() else ""
        print(f"lab: stopped{kept}", file=sys.stderr)
        return EXIT_SIGNAL + stopped.number


def run_all(options: argparse.Namespace, cases: list[Case], work: Path) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    clip = Clip(options.clip, work)
    qualities = {kbps: clip.quality_for(kbps) for kbps in {case.setting.kbps for case in cases}}
    results.begin(options.output, keep=options.append)
    failed = 0
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # Twice a second: drawing takes processor time from what is measured.
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as progress:
        runs = progress.add_task("", total=len(cases))
        for done, case in enumerate(cases):
            expected = case.seconds + AROUND_S

            def tick(elapsed: float, done: int = done, expected: float = expected) -> None:
                progress.update(runs, completed=done + min(elapsed / expected, 0.99))

            progress.update(runs, description=f"{case.link.name}, {case.program}")
            try:
                line = run_case(case, clip, qualities[case.setting.kbps], work / "run", tick)
            except RunFailed as error:
                failed += 1
                line = {**identity(case), "failed": str(error)}
            results.append(options.output, line)
            give_back(options.output)
            progress.console.print(words(line), highlight=False, soft_wrap=True)
        progress.update(runs, completed=len(cases), description="done")
    report = options.report or options.output.with_suffix(".html")
    if failed < len(cases):
        write_report(options.output, report)
        give_back(report)
        print(f"{options.output} and {report} are written.")
    if failed:
        print(f"lab: {failed} of {len(cases)} runs gave no figures.", file=sys.stderr)
    return EXIT_SOME_FAILED if failed else 0


def words(line: dict[str, Any]) -> str:
    """A run in one line, for people who wait."""
    name = f"{line['scenario']}, {line['program']}, {line['setting']['name']}, seed {line['seed']}"
    if "failed" in line:
        return f"{name}: no figures. {line['failed']}"
    latency = "nothing shown"
    if line["latency_p50_ms"] is not None:
        latency = f"latency {line['latency_p50_ms']:.0f} ms, p99 {line['latency_p99_ms']:.0f} ms"
    return (
        f"{name}: {latency}, {line['frames_whole']} whole, {line['frames_with_holes']} with holes, "
        f"{line['frames_skipped']} skipped, frozen {line['frozen_s']:.1f} s"
    )


def cases_of(options: argparse.Namespace) -> list[Case]:
    """Every run in its order. Raises ValueError with a sentence."""
    links = links_of(options)
    settings = options.setting or [Setting()]
    names = [setting.name for setting in settings]
    if len(set(names)) < len(names):
        raise ValueError(f"Two settings have one name: {', '.join(names)}.")
    if not options.clip.is_file():
        raise ValueError(f"There is no film at {options.clip}; tools/get_media.py fetches the usual one.")
    for path in (options.output, options.report or options.output):
        if not path.absolute().parent.is_dir():
            raise ValueError(f"There is no folder for {path}; create {path.absolute().parent} first.")
        if path.is_dir():
            raise ValueError(f"{path} is a folder; name a file in it.")
    seconds = options.seconds or (QUICK_SECONDS if options.quick else FULL_SECONDS)
    cases = []
    for seed in range(options.seed, options.seed + options.seeds):
        for link in links:
            of_tcp: set[int] = set()
            for setting in settings:
                for program in options.programs:
                    if program == "tcp":  # it has no setting but this
                        if setting.kbps in of_tcp:
                            continue
                        of_tcp.add(setting.kbps)
                    cases.append(Case(link, setting, program, seed, seconds))
    return cases


def links_of(options: argparse.Namespace) -> list[Link]:
    known = scenario_names()
    names = options.scenario
    if not names and not options.link:
        names = QUICK_SCENARIOS if options.quick else known
    links = []
    for name in names:
        scenario = load_scenario(name)
        argument = name if name in known else str(Path(name).absolute())
        links.append(Link(scenario.name, scenario.title, (argument,)))
    for number, conditions in enumerate(options.link, 1):
        name = "own link" if len(options.link) == 1 else f"own link {number}"
        links.append(Link(name, conditions, words_of(conditions)))
    if len({link.name for link in links}) < len(links):
        raise ValueError(f"A scenario is named twice: {', '.join(link.name for link in links)}.")
    return links


def words_of(conditions: str) -> tuple[str, ...]:
    """Arguments for lab-net, looked at as lab-net does, but before anything runs. Raises ValueError with a sentence."""
    looked_at = argparse.ArgumentParser(
        "lab.py --link", usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False
    )
    add_link_options(looked_at)
    try:
        words = tuple(shlex.split(conditions))
        if "--" in words:
            raise ValueError("a -- separates programs")
        scenario_of(looked_at.parse_args(words))
    except ValueError as error:
        raise ValueError(f"--link {conditions!r} is not possible: {str(error).rstrip('.')}.") from error
    return words


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Until the end of the block Ctrl-C, SIGTERM and a closed terminal raise Stopped, once: tidying up is not cut short."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
        numbers.append(signal.SIGHUP)

    def stop(number: int, frame: object) -> Never:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    path = make_folder()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def give_back(path: Path) -> None:
    """What root wrote under sudo belongs to the one who asked."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if user.isdecimal() and group.isdecimal():
        with contextlib.suppress(OSError):
            os.chown(path, int(user), int(group))


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        "lab.py",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def checked(kind: Any, least: float, most: float, what: str) -> Any:
        def convert(text: str) -> Any:
            try:
                value = kind(text)
            except ValueError:
                value = least - 1
            if not least <= value <= most:
                raise argparse.ArgumentTypeError(f"{text!r} is not {what}, {least:g} to {most:g}")
            return value

        return convert

    def setting(text: str) -> Setting:
        try:
            return parse_setting(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    def programs(text: str) -> list[str]:
        names = text.split(",")
        if not set(names) <= set(PROGRAMS):
            raise argparse.ArgumentTypeError(
                f"{text!r}: there are udpconf and tcp, with a comma between them"
            )
        return list(dict.fromkeys(names))

    result.add_argument(
        "scenario", nargs="*", help="shipped names and paths of .toml files; none: all shipped ones"
    )
    result.add_argument(
        "--link",
        action="append",
        default=[],
        metavar="CONDITIONS",
        help="options of netem/lab-net, in quotes",
    )
    result.add_argument(
        "--setting",
        action="append",
        type=setting,
        metavar="NAME:key=value,...",
        help=(
            "of udpconf: kbps (of the film, 3000; of tcp too), ceiling_kbps (8000), latency_ms (as early as possible), "
            "sound (on), recovery (on). May be repeated"
        ),
    )
    result.add_argument("--programs", type=programs, default=list(PROGRAMS), help="udpconf,tcp")
    result.add_argument(
        "--seconds", type=checked(float, 2, 600, "a number of seconds"), help="a run; 20, quick 10"
    )
    result.add_argument(
        "--seeds", type=checked(int, 1, 1000, "a number of runs"), default=1, help="runs of each (1)"
    )
    result.add_argument(
        "--seed", type=checked(int, 0, 2**31, "a whole number"), default=1, help="the first one (1)"
    )
    result.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK_SCENARIOS)}, 10 s each")
    result.add_argument(
        "-o", "--output", type=Path, default=Path("lab-results.jsonl"), help="lab-results.jsonl"
    )
    result.add_argument("--append", action="store_true", help="to what is in the output already")
    result.add_argument("--report", type=Path, metavar="FILE.html", help="beside the output")
    result.add_argument(
        "--clip", type=Path, default=ROOT / ".media" / "bigbuckbunny.mp4", help="another film"
    )
    return result

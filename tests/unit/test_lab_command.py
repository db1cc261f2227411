"""What a user types wrong is a sentence and an exit code, and nothing is run or written."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.lab import command, runner
from tools.lab.runner import FOLDER_BYTES, FOLDER_PREFIX, last_line
from udpconf.emulation.scenario import scenario_names


@pytest.fixture
def film(tmp_path: Path) -> str:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no film")
    return str(path)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    try:
        code = command.main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr().err
    assert code == 2, said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["clean-lan", "clean-lan"], "named twice"),
        (["--link", "--delay '5ms"], "No closing quotation"),
        (["--link", "-- rm"], "separates programs"),
        (["--link", "--delay soon"], "'soon' is not a time"),
        (["--link", "--colour red"], "unrecognized arguments: --colour"),
        (["--setting", "a:colour=3"], "colour=3"),
        (["--setting", "a", "--setting", "a"], "one name"),
        (["--seconds", "1"], "'1' is not a number of seconds, 2 to 600"),
        (["--seeds", "many"], "'many' is not a number of runs"),
        (["--programs", "udpconf,quic"], "there are udpconf and tcp"),
        (["--seed", "-1"], "'-1' is not a whole number, 0 to"),
        (["--seed", "lucky"], "'lucky' is not a whole number"),
        (["-o", "nowhere/at/all.jsonl"], "no folder"),
        (["-o", "/dev"], "is a folder"),
        (["--report", "/dev"], "is a folder"),
    ],
)
def test_each_mistake_is_a_sentence(
    capsys: pytest.CaptureFixture[str], film: str, arguments: list[str], says: str
) -> None:
    assert says in refusal(capsys, "--clip", film, *arguments)


def test_a_scenario_that_is_not_there_ends_with_3(capsys: pytest.CaptureFixture[str], film: str) -> None:
    assert command.main(["no-such-place", "--clip", film]) == 3
    assert "no-such-place" in capsys.readouterr().err


def test_a_missing_film_is_a_sentence_that_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "tools/get_media.py" in refusal(capsys, "--clip", "nowhere.mp4")


def test_without_root_it_says_so(
    capsys: pytest.CaptureFixture[str], film: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert command.main(["--clip", film]) == 4
    assert "need root" in capsys.readouterr().err


def test_no_scenario_means_all_of_them_with_both_programs(film: str) -> None:
    options = command.parser().parse_args(["--clip", film])
    cases = command.cases_of(options)
    assert [(case.link.name, case.program) for case in cases] == [
        (name, program) for name in scenario_names() for program in ("udpconf", "tcp")
    ]


def test_quick_is_four_scenarios_of_ten_seconds(film: str) -> None:
    cases = command.cases_of(command.parser().parse_args(["--quick", "--clip", film]))
    assert len(cases) == 8
    assert {case.seconds for case in cases} == {10}


def test_tcp_runs_once_for_settings_that_do_not_concern_it(film: str) -> None:
    words = [
        "--clip",
        film,
        "dsl",
        "--setting",
        "a",
        "--setting",
        "b:latency_ms=200",
        "--setting",
        "c:kbps=900",
    ]
    cases = command.cases_of(command.parser().parse_args(words))
    assert [(case.program, case.setting.name) for case in cases] == [
        ("udpconf", "a"),
        ("tcp", "a"),
        ("udpconf", "b"),
        ("udpconf", "c"),
        ("tcp", "c"),
    ]


def test_the_reason_of_a_failed_run_is_what_was_said_last() -> None:
    text = "lab: the sender gave up: no answer\nlab-net: B to A: 3 packets, 0 lost, 0 dropped by the queue; ...\n"
    assert last_line(text) == "lab: the sender gave up: no answer"


def test_the_lab_works_on_disk_where_memory_has_no_room_and_clears_what_killed_runs_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    free = {memory: 2 * FOLDER_BYTES, disk: 2 * FOLDER_BYTES}
    for place in free:
        (place / f"{FOLDER_PREFIX}999999999-of-a-killed-run").mkdir(parents=True)
        (place / f"{FOLDER_PREFIX}{os.getpid()}-of-this-one").mkdir()
    monkeypatch.setattr(runner, "MEMORY", memory)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(disk))
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=free[place]))
    assert runner.make_folder().parent == memory
    assert not list(tmp_path.rglob("*-of-a-killed-run"))
    assert len(list(tmp_path.rglob("*-of-this-one"))) == 2
    free[memory] = 64_000_000
    assert runner.make_folder().parent == disk

"""tools/lab.py as people run it: what it writes, and what is left when it is stopped."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clips import write_clip
from tests.loopback.lab_net import PYTHON, alive, devices_of, lab_works, names_of
from tests.loopback.waiting import wait_until

TOOLS = Path(__file__).parent.parent.parent / "tools"
CTRL_C = 130


class Lab:
    """tools/lab.py in a process group of its own, as a terminal would have it, with a film of one second."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        film = folder / "film.mp4"
        if not film.exists():
            write_clip(film, tone_hz=None)
        self.results = folder / "results.jsonl"
        files = ["--clip", str(film), "-o", str(self.results)]
        self.process = subprocess.Popen(
            [PYTHON, str(TOOLS / "lab.py"), "clean-lan", *arguments, *files],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self) -> tuple[int, str, str]:
        """Its exit code, output and complaints."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.results.read_text().splitlines()]

    @property
    def folders(self) -> list[Path]:
        """Where its processes leave what they saw."""
        places = Path("/dev/shm"), Path(os.environ.get("TMPDIR", "/tmp"))
        return [folder for place in places for folder in place.glob(f"udpconf-lab-{self.process.pid}-*")]

    @property
    def links(self) -> list[int]:
        """netem/lab-net: its process, or, while that is starting, what becomes it."""
        return [pid for pid, words in self._programs().items() if "lab-net" in words]

    @property
    def roles(self) -> list[int]:
        """Both sides of the call, when their network is there and they have begun."""
        return [pid for pid, words in self._programs().items() if "lab-net" not in words]

    def _programs(self) -> dict[int, str]:
        """All processes that were told of its folder on their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    words = (entry / "cmdline").read_text()
                except OSError:  # it has just ended
                    continue
                if f"/udpconf-lab-{self.process.pid}-" in words:
                    found[int(entry.name)] = words
        return found

    def wait_for_a_call(self) -> int:
        """Until both sides of a call run; the number of the process that carries their packets."""
        wait_until(lambda: len(self.roles) == 2, "no call has begun")
        (link,) = self.links
        assert len(names_of(link)) == 2
        return link


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Starts tools/lab.py with these arguments."""
    started: list[Lab] = []

    def begin(*arguments: str) -> Lab:
        started.append(Lab(tmp_path, *arguments))
        return started[-1]

    yield begin
    for lab in started:
        if lab.process.poll() is None:
            lab.process.terminate()
            lab.end()


def nothing_is_left_of(lab: Lab, link: int) -> bool:
    return not alive(link) and not lab.links + lab.roles + names_of(link) + devices_of(link)


def test_a_run_is_lines_of_json_and_a_page_that_loads_nothing(
    tmp_path: Path, start: Callable[..., Lab]
) -> None:
    if not lab_works():
        return
    lab = start("--seconds", "2")
    code, out, err = lab.end()
    assert (code, out) == (0, f"{lab.results} and {tmp_path / 'results.html'} are written.\n"), err
    assert lab.folders == []
    udpconf, tcp = lab.lines
    assert (udpconf["program"], tcp["program"]) == ("udpconf", "tcp")
    for line in (udpconf, tcp):
        assert (line["scenario"], line["seed"], line["seconds"]) == ("clean-lan", 1, 2)
        assert line["frames"] == 60
        assert line["frames_whole"] + line["frames_with_holes"] + line["frames_skipped"] == 60
        assert line["frames_whole"] > 30
        in_order = [line[f"latency_{key}_ms"] for key in ("p50", "p95", "p99", "max")]
        assert 0 < line["ideal_p50_ms"] <= in_order[0]
        assert sorted(in_order) == in_order
        assert 0.5 < line["fresh_area"] <= 1
        assert 0 <= line["frozen_s"] < 2
        assert 25 < line["psnr_db"] <= 60
        assert 0.7 < line["ssim"] <= 1
        assert line["picture_kbps"] < line["wire_media_kbps"] < 2 * line["picture_kbps"]
        assert 0 < line["sender_cpu_percent"] < 200
        assert 0 < line["receiver_cpu_percent"] < 200
        assert len(line["timeline"]["sent_kbps"]) == 4
    assert udpconf["chirps"] == 1
    assert udpconf["wire_sound_kbps"] > 0
    assert "chirps" not in tcp
    page = (tmp_path / "results.html").read_text()
    assert "clean-lan" in page
    assert not re.search(r"https?:|src=|<link|<script|@import|url\(", page)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_after_a_signal(number: signal.Signals, start: Callable[..., Lab]) -> None:
    if not lab_works():
        return
    lab = start()
    link = lab.wait_for_a_call()
    os.killpg(lab.process.pid, number)
    code, _, err = lab.end()
    assert code == 128 + number
    assert err.splitlines()[-1].startswith("lab: stopped")
    assert nothing_is_left_of(lab, link)
    assert lab.folders == []


def test_what_a_killed_run_left_is_gone_with_the_next_and_ctrl_c_keeps_the_complete_runs(
    tmp_path: Path, start: Callable[..., Lab]
) -> None:
    if not lab_works():
        return
    killed = start("--seconds", "600")
    link = killed.wait_for_a_call()
    killed.process.kill()
    killed.process.communicate()
    wait_until(lambda: nothing_is_left_of(killed, link), "it goes on without anybody who waits for it")
    assert len(killed.folders) == 1

    lab = start("--seconds", "2", "--programs", "tcp,udpconf")
    wait_until(lambda: lab.results.exists() and lab.lines, "no run came to its end")
    link = lab.wait_for_a_call()
    os.killpg(lab.process.pid, signal.SIGINT)
    code, _, err = lab.end()
    assert code == CTRL_C
    assert err.splitlines()[-1] == f"lab: stopped; the runs before are in {lab.results}"
    assert nothing_is_left_of(lab, link)
    assert killed.folders + lab.folders == []
    (line,) = lab.lines
    assert line["program"] == "tcp"
    assert line["frames_whole"] > 30
    plot = [PYTHON, str(TOOLS / "plot.py"), str(lab.results)]
    assert subprocess.run(plot, check=True, capture_output=True, timeout=60).stdout
    assert "clean-lan" in (tmp_path / "results.html").read_text()

"""Runs one case: two processes in netem/lab-net, and afterwards what they and the link wrote down."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.lab.figures import figures
from tools.lab.plan import DRAIN_S, FPS, HEIGHT, WARM_UP_S, WIDTH, Plan, Setting, save
from udpconf.media.native import av, cv2

ROOT = Path(__file__).resolve().parent.parent.parent
LAB_NET = ROOT / "netem" / "lab-net"
EXIT_UNAVAILABLE = 4  # lab-net's
# Whoever kills this process with SIGKILL has the link and its programs end as well, and tidied up (util-linux).
WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")
FOLDER_PREFIX = "udpconf-lab-"
# No disk shall delay a run. In a container it may have 64 MB only.
MEMORY = Path("/dev/shm")
# 20 s of pictures before their compression, and what a run of 600 s notes down.
FOLDER_BYTES = 1_000_000_000

# Of the frames shown, one in so many is kept: in 10 s enough for a mean, and at 0.2 ms each not to be noticed.
SAMPLE_EVERY = 10
# Starting two Pythons, connecting, saving, reading the notes; measured 3 to 4 s, more where the path is bad.
AROUND_S = 2.5 + WARM_UP_S + DRAIN_S
PATIENCE_S = 90
STOPPING_S = 15
# How many of the clip's pictures decide which JPEG quality has the wanted bitrate.
QUALITY_SAMPLES = 16

Image = NDArray[np.uint8]


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; the number is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class LabUnavailable(Exception):  # noqa: N818 - a state of the machine
    """There can be no namespaces here; the text is a sentence."""


class RunFailed(Exception):  # noqa: N818 - counted, and the next run begins
    """This run gave no figures; the text is a sentence."""


class Link(NamedTuple):
    """A bad network: a scenario or conditions of the user's own, as arguments for lab-net."""

    name: str
    title: str
    arguments: tuple[str, ...]


class Case(NamedTuple):
    """One run."""

    link: Link
    setting: Setting
    program: str
    seed: int
    seconds: float


class Clip:
    """The pictures of a film, as they are sent, and as they are compared."""

    def __init__(self, path: Path, folder: Path) -> None:
        """Decode the film. Raises ValueError with a sentence."""
        try:
            with av.open(str(path)) as container:
                pictures = [
                    cv2.resize(
                        frame.to_ndarray(format="bgr24"), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA
                    )
                    for frame, _ in zip(container.decode(video=0), range(20 * FPS), strict=False)
                ]
        except (av.FFmpegError, IndexError) as error:
            raise ValueError(f"{path} is no film that can be read: {error}") from error
        if not pictures:
            raise ValueError(f"{path} holds no pictures.")
        self.path = folder / "pictures.npy"
        np.save(self.path, np.array(pictures, np.uint8))
        self.luma = np.array([cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in pictures], np.uint8)
        self._samples = pictures[:: max(1, len(pictures) // QUALITY_SAMPLES)]

    def quality_for(self, kbps: int) -> int:
        """The JPEG quality 5..95 at which the film has about this bitrate."""
        wanted = kbps * 1000 / 8 / FPS * len(self._samples)
        low, high = 5, 95
        while low < high:
            middle = (low + high + 1) // 2
            options = [cv2.IMWRITE_JPEG_QUALITY, middle, cv2.IMWRITE_JPEG_RST_INTERVAL, WIDTH // 16]
            size = sum(len(cv2.imencode(".jpg", picture, options)[1]) for picture in self._samples)
            low, high = (middle, high) if size <= wanted else (low, middle - 1)
        return low


def run_case(
    case: Case, clip: Clip, quality: int, folder: Path, on_tick: Callable[[float], None]
) -> dict[str, Any]:
    """The line of results of one run.

    Args:
        case: what to run.
        clip: what to send.
        quality: of the JPEGs.
        folder: for what the processes write; emptied before.
        on_tick: called now and then with the seconds since the start.

    Raises:
        RunFailed: no figures.
        LabUnavailable: there will be none here.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    setting = case.setting
    plan = Plan(
        case.program,
        str(clip.path),
        str(folder),
        case.seconds,
        quality,
        setting.ceiling_kbps,
        setting.latency_ms,
        setting.sound and case.program == "udpconf",
        SAMPLE_EVERY,
        setting.recovery,
    )
    save(plan, folder / "plan.json")
    begun, ticks_before = datetime.now(UTC), stolen_ticks()
    output = _run_lab(case, folder, on_tick)
    stolen, ticks = (now - before for now, before in zip(stolen_ticks(), ticks_before, strict=True))
    try:
        found = figures(plan, clip.luma)
    except (OSError, ValueError, KeyError) as error:
        raise RunFailed(f"The notes of the run cannot be read ({error}). {last_line(output)}") from error
    late = re.search(r"(\d+) delivered more than", output)
    return {
        **identity(case),
        "begun": begun.isoformat(timespec="seconds"),
        "jpeg_quality": quality,
        **found,
        # How far the measurement itself can be trusted: the link's own delays, and processors that were not there.
        "link_late_packets": int(late[1]) if late else None,
        "stolen_cpu_percent": round(100 * stolen / ticks, 1) if ticks else None,
    }


def identity(case: Case) -> dict[str, Any]:
    """The fields that say which run a line is about."""
    return {
        "scenario": case.link.name,
        "title": case.link.title,
        "program": case.program,
        "setting": case.setting._asdict(),
        "seed": case.seed,
        "seconds": case.seconds,
    }


def _run_lab(case: Case, folder: Path, on_tick: Callable[[float], None]) -> str:
    """Run both processes to their end; returns what they and lab-net had to say."""

    def role(name: str) -> list[str]:
        return [sys.executable, str(ROOT / "tools" / "lab.py"), "--role", name, str(folder / "plan.json")]

    command = [
        *WITH_US,
        str(LAB_NET),
        *case.link.arguments,
        "--seed",
        str(case.seed),
        "--log",
        str(folder / "link.jsonl"),
    ]
    said = folder / "output.txt"
    with said.open("w") as output:
        lab = subprocess.Popen(
            [*command, "--", *role("receive"), "--", *role("send")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        start = time.monotonic()
        try:
            while lab.poll() is None:
                elapsed = time.monotonic() - start
                if elapsed > case.seconds + PATIENCE_S:
                    raise RunFailed(f"It did not end within {elapsed:.0f} s.")
                on_tick(elapsed)
                time.sleep(0.25)
        finally:
            stop(lab)
    text = said.read_text(errors="replace")
    if lab.returncode == EXIT_UNAVAILABLE:
        raise LabUnavailable(last_line(text))
    if lab.returncode != 0:
        raise RunFailed(f"It ended with code {lab.returncode}. {last_line(text)}")
    return text


def stop(lab: "subprocess.Popen[bytes]") -> None:
    """Have it take its namespaces and programs away."""
    if lab.poll() is not None:
        return
    lab.terminate()
    try:
        lab.wait(STOPPING_S)
    except subprocess.TimeoutExpired:
        lab.kill()
        lab.wait()


def last_line(text: str) -> str:
    """What a program said last, of lines that are not lab-net's summary."""
    lines = [line for line in text.splitlines() if line.strip() and "dropped by the queue" not in line]
    return lines[-1].removeprefix("lab-net: ") if lines else "It said nothing."


def stolen_ticks() -> tuple[int, int]:
    """(ticks that the hypervisor took, all ticks) of all processors since the machine started."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return 0, 0
    return ticks[7] if len(ticks) > 7 else 0, sum(ticks)


def make_folder() -> Path:
    """A folder in memory, or on disk where memory has no room; those of runs that were killed are removed first."""
    places = [place for place in (MEMORY, Path(tempfile.gettempdir())) if place.is_dir()]
    for old in [old for place in places for old in place.glob(f"{FOLDER_PREFIX}*")]:
        pid = old.name.removeprefix(FOLDER_PREFIX).split("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(old, ignore_errors=True)
    roomy = [place for place in places if shutil.disk_usage(place).free > FOLDER_BYTES]
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=(roomy or places)[0]))

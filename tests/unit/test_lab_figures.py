"""The figures of made-up runs whose right answers are known by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.lab import barcode, figures
from tools.lab.link_log import NEVER, LinkLog, Packets
from tools.lab.plan import FPS, HEIGHT, WIDTH, Plan

START_US = 5_000_000
FIRST = 45  # the first frame after the warm-up of 1.5 s
FRAMES = range(FIRST, FIRST + 60)
MS = 1000

Line = dict[str, Any]


def capture_us(number: int) -> int:
    return START_US + number * 1_000_000 // FPS


def link(*packets: tuple[int, int | None, int]) -> Packets:
    """(sent_us, due_us, size)."""
    rows = [(sent, NEVER if due is None else due, size) for sent, due, size in packets]
    return Packets(*np.array(rows, np.int64).reshape(-1, 3).T)


class MadeUpRun:
    """What the two processes and the link of a run of 2 s could have noted down."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, program: str = "udpconf") -> None:
        self.plan = Plan(program, "", str(folder), 2.0, 50, 8000, None, program == "udpconf", sample_every=10)
        self.originals = np.full((2, HEIGHT, WIDTH), 100, np.uint8)
        self.up, self.down = link(), link()
        self.taken = [(n, capture_us(n), 0) for n in range(FRAMES.stop)]
        self.pcm, self.sound_us = np.zeros(0, np.int16), np.zeros(0, np.int64)
        self.received: dict[str, Any] = {}
        self._rows: list[tuple[int, int, bool, float, int]] = []
        self._strips: list[NDArray[np.uint8]] = []
        self._kept: list[NDArray[np.uint8]] = []
        monkeypatch.setattr(figures, "read_link_log", lambda path: LinkLog(self.up, self.down, []))

    def show(
        self, number: int | None, shown_us: int, *, fresh: float = 1.0, size: int = 0, cpu_us: int = 0
    ) -> None:
        """A picture of even grey comes out with this number in it; None: with no number that can be read."""
        image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
        if number is not None:
            barcode.draw(image, barcode.row(number, WIDTH))
        self._rows.append((shown_us, cpu_us, fresh == 1, fresh, size))
        self._strips.append(barcode.sample(image))
        if len(self._kept) * self.plan.sample_every < len(self._rows):
            self._kept.append(image[:, :, 1].copy())

    def figures(self) -> Line:
        folder = Path(self.plan.folder)
        sent = {"start_us": START_US, "taken": self.taken, "counters": {}}
        (folder / "send.json").write_text(json.dumps(sent))
        (folder / "receive.json").write_text(json.dumps(self.received))
        shown_us, cpu_us, complete, fresh, sizes = zip(*self._rows, strict=True) if self._rows else [()] * 5
        np.savez(
            folder / "receive.npz",
            strips=np.array(self._strips, np.uint8).reshape(-1, 2, 160),
            shown_us=np.array(shown_us, np.int64),
            cpu_us=np.array(cpu_us, np.int64),
            complete=np.array(complete, bool),
            fresh_area=np.array(fresh, np.float64),
            coded_bytes=np.array(sizes, np.int64),
            kept=np.array(self._kept, np.uint8),
            sound=self.pcm,
            sound_us=self.sound_us,
        )
        return figures.figures(self.plan, self.originals)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUpRun:
    return MadeUpRun(tmp_path, monkeypatch)


def of(line: Line, *fields: str) -> list[Any]:
    return [line[field] for field in fields]


COUNTS = ("frames", "frames_whole", "frames_with_holes", "frames_skipped")
LATENCIES = tuple(f"latency_{key}_ms" for key in ("p50", "p95", "p99", "max"))


def test_latencies_are_from_capture_to_display_and_the_warm_up_does_not_count(run: MadeUpRun) -> None:
    for number in range(FIRST):
        run.show(number, capture_us(number) + 900 * MS - 20 * MS * number)
    for latency_ms, number in enumerate(FRAMES, 1):  # 1 to 60 ms
        run.show(number, capture_us(number) + latency_ms * MS)
    line = run.figures()
    # Quantiles between two values are interpolated: at p of 60 values stands the (1 + 59 p)th.
    assert of(line, *LATENCIES) == [30.5, 57.05, 59.41, 60.0]
    assert len(line["latency_quantiles_ms"]) == 101
    assert line["latency_quantiles_ms"][0] == 1.0
    assert of(line, *COUNTS) == [60, 60, 0, 0]
    # Twice a second: the medians of 1..15, 16..30, 31..45 and 46..60 ms.
    assert line["timeline"]["latency_ms"] == [8, 23, 38, 53]


def test_each_frame_is_whole_has_holes_or_was_skipped(run: MadeUpRun) -> None:
    for number in FRAMES:
        if number in (50, 51, 52):
            continue
        run.show(number, capture_us(number) + 10 * MS, fresh=0.25 if number in (60, 70) else 1.0)
    line = run.figures()
    assert of(line, *COUNTS) == [60, 55, 2, 3]
    assert line["fresh_area"] == pytest.approx((55 + 2 * 0.25) / 60, abs=1e-4)
    # 12 of the first 15 frames; two of the next with a quarter each.
    assert line["timeline"]["fresh_area"] == [0.8, 0.9, 1.0, 1.0]


def test_a_frame_that_comes_again_or_after_a_newer_one_was_not_shown_anew(run: MadeUpRun) -> None:
    for number in FRAMES:
        if number != 60:
            run.show(number, capture_us(number) + 10 * MS)
        if number in (70, 80):
            run.show(number, capture_us(number) + 20 * MS)
        if number == 61:
            run.show(60, capture_us(61) + 15 * MS)
    line = run.figures()
    assert of(line, *COUNTS) == [60, 59, 0, 1]
    assert line["latency_max_ms"] == 10


def test_a_misread_number_from_the_future_does_not_hide_what_follows(run: MadeUpRun) -> None:
    for number in FRAMES:
        run.show(100 if number == 60 else number, capture_us(number) + 10 * MS)
    line = run.figures()
    assert of(line, *COUNTS) == [60, 59, 0, 1]
    assert line["frames_unreadable"] == 1


def test_frames_whose_own_number_fell_into_holes_are_known_by_their_place(run: MadeUpRun) -> None:
    nameless = {50: 49, 60: None, 61: 59, 103: 102, 104: 102}  # and what their strips show
    for number in FRAMES:
        fresh = 0.5 if number in nameless else 1.0
        run.show(nameless.get(number, number), capture_us(number) + 10 * MS, fresh=fresh)
    line = run.figures()
    # After the last number nothing tells which ones they are.
    assert of(line, *COUNTS) == [60, 55, 3, 2]
    assert of(line, *LATENCIES) == [10, 10, 10, 10]
    assert line["frames_unreadable"] == 1  # the other one came after the end
    assert line["fresh_area"] == pytest.approx((55 + 3 * 0.5) / 60, abs=1e-4)


def test_a_picture_with_holes_is_nobodys_where_more_frames_are_missing_than_came(run: MadeUpRun) -> None:
    for number in FRAMES:
        if number != 51:
            run.show(
                49 if number == 50 else number, capture_us(number) + 10 * MS, fresh=0.1 if number == 50 else 1
            )
    line = run.figures()
    assert of(line, *COUNTS) == [60, 58, 0, 2]
    assert line["frames_unreadable"] == 1

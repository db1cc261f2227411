"""The figures of made-up runs whose right answers are known by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.lab import barcode, chirp, figures
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


def test_time_is_frozen_where_no_new_picture_comes_for_more_than_a_fifth_of_a_second(run: MadeUpRun) -> None:
    for number in range(30, FRAMES.stop):
        if number not in range(61, 71) and number not in range(80, 85):  # gaps of 367 and 200 ms
            run.show(number, capture_us(number) + 10 * MS)
    assert run.figures()["frozen_s"] == pytest.approx(11 / 30, abs=1e-3)


def test_likeness_is_that_of_the_frame_itself_without_its_strips(run: MadeUpRun) -> None:
    run.originals[0] = 110  # frames take turns: this one is every even number's
    for number in FRAMES:
        run.show(number, capture_us(number) + 10 * MS)
    line = run.figures()
    # Every tenth picture is kept: 45, 55, 65, ..., all odd, so all like the original to the dot.
    assert of(line, "psnr_db", "ssim", "ssim_loss_free") == [60, 1, 1]
    run.originals[1] = 110
    line = run.figures()
    # 10 grey levels of error: 20 log10(255 / 10) dB. Of even areas SSIM is (2 m n + C1) / (m^2 + n^2 + C1), C1 = 2.55^2.
    assert line["psnr_db"] == pytest.approx(28.13, abs=0.01)
    assert line["ssim"] == pytest.approx((2 * 100 * 110 + 6.5025) / (100**2 + 110**2 + 6.5025), abs=1e-4)
    assert line["timeline"]["psnr_db"] == [28.13] * 4


def test_sound_is_timed_from_mouth_to_ear_and_against_its_picture(run: MadeUpRun) -> None:
    for number in FRAMES:
        run.show(number, capture_us(number) + 30 * MS)
    run.pcm = np.tile(chirp.two_seconds(), 2)
    run.sound_us = START_US + 80 * MS + np.arange(400, dtype=np.int64) * 10_000
    run.received = {"audio_frames_concealed": 6}
    line = run.figures()
    # At 0.2, 1.2 and 2.2 s; the one at 3.2 s might be heard after the end only, the first two belong to the warm-up.
    assert of(line, "chirps", "chirps_heard") == [1, 1]
    assert line["sound_p50_ms"] == pytest.approx(80, abs=0.2)
    assert line["sound_after_picture_ms"] == pytest.approx(50, abs=0.2)
    assert line["sound_concealed"] == 6 / 400


def test_sound_that_was_lost_has_no_delay(run: MadeUpRun) -> None:
    run.pcm = np.tile(chirp.two_seconds(), 2)
    run.pcm[2 * chirp.RATE : 3 * chirp.RATE] = 0
    run.sound_us = START_US + 80 * MS + np.arange(400, dtype=np.int64) * 10_000
    line = run.figures()
    assert of(line, "chirps", "chirps_heard", "sound_p50_ms", "sound_after_picture_ms") == [1, 0, None, None]


def test_bytes_are_counted_by_kind_as_they_are_put_into_the_link_while_it_is_measured(run: MadeUpRun) -> None:
    inside, before, after = capture_us(60), capture_us(44), capture_us(FRAMES.stop)
    run.up = link(
        (before, before + MS, 1200),
        *[(inside + n, inside + n + 25 * MS, 1200) for n in range(10)],
        (inside + 10, None, 1000),  # lost, but sent
        *[(inside + 20 + n, inside + 20 + n + 25 * MS, 150) for n in range(20)],
        (inside + 50, inside + 50 + MS, 80),
        (after, after + MS, 1200),
    )
    run.down = link((inside, inside + MS, 80), (inside + 1, None, 70))
    line = run.figures()
    seconds = 59 / 30  # from the first measured frame to the last
    assert line["wire_media_kbps"] == pytest.approx(13_000 * 8 / 1000 / seconds, abs=0.1)
    assert line["wire_sound_kbps"] == pytest.approx(3_000 * 8 / 1000 / seconds, abs=0.1)
    assert line["wire_control_kbps"] == pytest.approx((80 + 80 + 70) * 8 / 1000 / seconds, abs=0.1)
    assert line["link_packets"] == 10 + 1 + 20 + 1 + 2
    assert line["link_loss"] == pytest.approx(2 / 34, abs=1e-4)
    # Frame 60 is half a second after the first, its packets arrive in the same half second.
    per_half_second = (13_000 + 3_000 + 80) * 8 / 1000 / 0.5
    assert line["timeline"]["sent_kbps"] == pytest.approx([0, per_half_second, 0, 0], abs=0.1)
    assert line["timeline"]["arrived_kbps"] == pytest.approx([0, per_half_second - 16, 0, 0], abs=0.1)
    assert line["timeline"]["link_delay_ms"] == [None, 25, None, None]


def test_tcps_bytes_are_pictures_forward_and_control_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = MadeUpRun(tmp_path, monkeypatch, "tcp")
    at = capture_us(60)
    run.up = link((at, at + MS, 1500), (at + 1, at + MS, 100), (at + 2, at + MS, 52))
    run.down = link((at, at + MS, 52), (at + 1, at + MS, 64))
    line = run.figures()
    seconds = 59 / 30
    assert line["wire_media_kbps"] == pytest.approx(1600 * 8 / 1000 / seconds, abs=0.1)
    assert line["wire_control_kbps"] == pytest.approx(168 * 8 / 1000 / seconds, abs=0.1)
    assert line["wire_sound_kbps"] == 0
    assert "chirps" not in line


def test_processor_time_is_of_one_core_while_it_is_measured(run: MadeUpRun) -> None:
    run.taken = [(n, capture_us(n), 500_000 * (n < FIRST) + 2000 * n) for n in range(FRAMES.stop)]
    for number in range(FRAMES.stop):
        run.show(number, capture_us(number) + 10 * MS, cpu_us=4000 * number)
    line = run.figures()
    assert line["sender_cpu_percent"] == pytest.approx(6, abs=0.01)  # 2 ms of each 33.3
    assert line["receiver_cpu_percent"] == pytest.approx(12, abs=0.01)


def test_compressed_bytes_are_those_that_arrived_while_it_was_measured(run: MadeUpRun) -> None:
    for number in range(FRAMES.stop):
        run.show(number, capture_us(number) + 10 * MS, size=12_500)
    assert run.figures()["picture_kbps"] == pytest.approx(12_500 * 8 / 1000 * FPS, abs=0.1)


def test_bytes_above_the_media_are_those_of_both_directions_without_ip_and_sound(run: MadeUpRun) -> None:
    for number in FRAMES:
        # What came of the ones with holes is no measure of a picture.
        size = 500 if number % 2 else 1000
        run.show(number, capture_us(number) + 10 * MS, fresh=0.5 if number % 2 else 1.0, size=size)
    times = [capture_us(number) + 1 for number in FRAMES]
    run.up = link(
        *[(at_us, at_us + 5 * MS, 1128) for at_us in times], *[(at_us, None, 200) for at_us in times]
    )
    run.down = link(*[(at_us, at_us + 5 * MS, 78) for at_us in times])
    line = run.figures()
    # The last frame's packets leave after the last capture, with which the window ends.
    assert line["bytes_above_media"] == pytest.approx(59 * (1100 + 50) / (60 * 1000) - 1, abs=1e-4)

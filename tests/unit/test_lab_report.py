"""The page is one file that loads nothing."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.lab import quality
from tools.lab.plan import Setting, parse_setting
from tools.lab.report import DELAY_COLUMNS, QUALITY_COLUMNS, rows_of, write_report
from tools.lab.svg import Axis, Line, chart, round_up


def run(scenario: str = "loss-2", program: str = "udpconf", **changes: Any) -> dict[str, Any]:
    bins: list[float | None] = [1.0, None, 2.0]
    names = ("sent_kbps", "arrived_kbps", "link_delay_ms", "latency_ms", "fresh_area", "psnr_db")
    return {
        "scenario": scenario,
        "title": "Lossy <and> slow",
        "program": program,
        "setting": Setting()._asdict(),
        "seed": 1,
        "seconds": 1.5,
        "frames": 45,
        "frames_whole": 40,
        "frames_with_holes": 3,
        "frames_skipped": 2,
        "frozen_s": 0.0,
        "latency_p50_ms": 30.0,
        "latency_quantiles_ms": [30.0 + n for n in range(101)],
        "ideal_quantiles_ms": None,
        "ideal_share": 0.0,
        "wire_media_kbps": 1.0,
        "wire_sound_kbps": 1.0,
        "wire_parity_kbps": 1.0,
        "wire_control_kbps": 1.0,
        "timeline": {"step_s": 0.5, "scenario_steps_s": [0.7], **dict.fromkeys(names, bins)},
        **changes,
    }


def page(tmp_path: Path, *runs: dict[str, Any]) -> str:
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(one) + "\n" for one in runs))
    write_report(results, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text()


def test_the_page_loads_nothing_from_anywhere(tmp_path: Path) -> None:
    html = page(tmp_path, run())
    assert not re.search(r"https?:|src=|<link|<script|@import|url\(", html)


def test_text_from_scenario_files_cannot_become_markup(tmp_path: Path) -> None:
    html = page(tmp_path, run())
    assert "Lossy &lt;and&gt; slow" in html
    assert "<and>" not in html


def test_the_best_and_the_worst_cell_of_a_column_are_marked(tmp_path: Path) -> None:
    html = page(tmp_path, run(), run(program="tcp", latency_p50_ms=90.0), run("outage", latency_p50_ms=60.0))
    assert re.findall(r'<td class="best">&#9650; (30|60|90)</td>', html) == ["30"]
    assert re.findall(r'<td class="worst">&#9660; (30|60|90)</td>', html) == ["90"]


def test_several_seeds_become_their_median(tmp_path: Path) -> None:
    html = page(tmp_path, *(run(seed=n, latency_p50_ms=v) for n, v in enumerate((11.0, 500.0, 13.0))))
    assert "<td>13</td>" in html
    assert "medians over 3 seeds" in html


def test_a_run_that_showed_nothing_still_has_its_row(tmp_path: Path) -> None:
    nothing = run(
        latency_p50_ms=None, latency_quantiles_ms=None, frames_whole=0, frames_with_holes=0, frames_skipped=45
    )
    assert "&ndash;" in page(tmp_path, run(program="tcp"), nothing)


def test_a_gap_in_the_figures_is_a_gap_in_the_line() -> None:
    svg = chart("x", [Line([(0, 1), (1, None), (2, 1), (3, 2)], "#000")], Axis("s", 0, 3), Axis("ms", 0, 2))
    path = re.search(r'class="line"[^>]* d="([^"]*)"', svg)
    assert path is not None
    assert (path[1].count("M"), path[1].count("L")) == (2, 1)


def test_axes_have_round_ticks() -> None:
    assert Axis("s", 0, 10).ticks() == [0, 5, 10]
    assert Axis("ms", 9, 210, logarithmic=True).ticks() == [10, 20, 50, 100, 200]
    assert [round_up(value) for value in (0, 0.3, 7, 100, 101)] == [1, 0.5, 10, 100, 200]


def test_settings_are_read_and_wrong_ones_are_a_sentence() -> None:
    wanted = Setting("calm", kbps=2000, latency_ms=150, sound=False)
    assert parse_setting("calm:latency_ms=150,kbps=2000,sound=off") == wanted
    assert parse_setting("plain") == Setting("plain")
    for text in ("", ":kbps=1", "kbps=1", "a:kbps", "a:kbps=-1", "a:colour=3", "a:sound=1", "a:kbps=999999"):
        with pytest.raises(ValueError, match=r"The setting .*[.;]"):
            parse_setting(text)


def test_identical_pictures_are_perfect_and_noise_is_not() -> None:
    image = np.random.default_rng(1).integers(0, 256, (90, 160), np.uint8)
    noisy = np.clip(image + np.random.default_rng(2).normal(0, 10, image.shape), 0, 255).astype(np.uint8)
    assert quality.psnr_db(image, image) == quality.PSNR_MAX_DB
    assert quality.ssim(image, image) == pytest.approx(1, abs=1e-5)
    assert (
        27 < quality.psnr_db(noisy, image) < 30
    )  # 10 grey levels of noise are 28.1 dB, clipping takes some away
    assert quality.ssim(noisy, image) < 0.999


def test_each_column_says_its_unit_and_what_it_means(tmp_path: Path) -> None:
    for column in (*DELAY_COLUMNS, *QUALITY_COLUMNS):
        assert re.search(r", (ms|s|%|dB|kbit/s)$|^SSIM", column.title)
    html = page(tmp_path, run())
    assert "<dt>frozen, s</dt><dd>time in intervals above 200 ms without a new picture</dd>" in html


def labels(*runs: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(row.scenario, row.label, len(row.runs)) for row in rows_of(list(runs))]


def test_seeds_share_a_row_and_settings_have_their_own() -> None:
    calm = Setting("calm", latency_ms=150)._asdict()
    narrow = Setting("narrow", kbps=900)._asdict()
    assert labels(run(), run(program="tcp"), run(seed=2), run(program="tcp", seed=2)) == [
        ("loss-2", "udpconf", 2),
        ("loss-2", "tcp", 2),
    ]
    assert labels(run(), run(setting=calm), run(program="tcp")) == [
        ("loss-2", "udpconf, default", 1),
        ("loss-2", "udpconf, calm", 1),
        ("loss-2", "tcp", 1),
    ]
    assert labels(run(program="tcp"), run(program="tcp", setting=narrow)) == [
        ("loss-2", "tcp, 3000 kbit/s", 1),
        ("loss-2", "tcp, 900 kbit/s", 1),
    ]


def test_results_of_several_days_that_are_not_the_same_are_not_mixed() -> None:
    assert labels(run("own link", title="--loss 2%"), run(), run("own link", title="--loss 9%")) == [
        ("own link: --loss 2%", "udpconf", 1),
        ("loss-2", "udpconf", 1),
        ("own link: --loss 9%", "udpconf", 1),
    ]
    other = Setting(latency_ms=90)._asdict()
    assert labels(run(), run(setting=other)) == [
        ("loss-2", "udpconf, latency_ms=None", 1),
        ("loss-2", "udpconf, latency_ms=90", 1),
    ]
    assert labels(run(), run(seconds=20.0)) == [
        ("loss-2", "udpconf, 1.5 s", 1),
        ("loss-2", "udpconf, 20 s", 1),
    ]

"""An HTML page of the results: one file that loads nothing."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tools.lab.link_log import KINDS
from tools.lab.results import ResultsError, read
from tools.lab.svg import Axis, Line, chart, round_up

# Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 2rem auto; max-width: 1180px;
  padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 .2rem }
p { margin: .3rem 0 } .faint { color: #59636e }
.wide { overflow-x: auto; margin: 1rem 0 } table { border-collapse: collapse; font-size: 13px; min-width: 100% }
td { white-space: nowrap } th, td { padding: .28rem .5rem; text-align: right; border-bottom: 1px solid #e4e8ec }
th { font-weight: 600; vertical-align: bottom; background: #f6f8fa }
td.name, th.name { text-align: left } tr.first td { border-top: 2px solid #c8d0d8 }
td.best { background: #d4f0dd } td.worst { background: #fbd9d3 }
summary { cursor: pointer } dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; font-size: 13px }
dt { font-weight: 600 } dd { margin: 0 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: .6rem 1.6rem }
svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: #59636e }
svg .title { font-weight: 600; fill: #1b1f24 } svg .grid { stroke: #e4e8ec; fill: none }
svg .mark { stroke: #8c959f; stroke-dasharray: 2 3; fill: none }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round }
.key { display: inline-block; width: 1.6em; height: 3px; vertical-align: middle; margin: 0 .4em 0 1em }
"""


class Column(NamedTuple):
    """A figure in the table. ``better``: -1 low, 1 high, 0 neither."""

    title: str
    field: str
    digits: int
    better: int
    meaning: str
    factor: float = 1.0


DELAY_COLUMNS = (
    Column(
        "latency p50, ms", "latency_p50_ms", 0, -1, "of the frames shown: capture to decoded picture, median"
    ),
    Column("p95, ms", "latency_p95_ms", 0, -1, "the same: 95 % of the frames shown were not later"),
    Column("p99, ms", "latency_p99_ms", 0, -1, "the same: 99 %"),
    Column("max, ms", "latency_max_ms", 0, -1, "the same: the latest frame"),
    Column(
        "ideal p50, ms", "ideal_p50_ms", 0, 0, "arrival of the last packet that any code would have needed"
    ),
    Column("ideal p99, ms", "ideal_p99_ms", 0, 0, "the same: 99 % of the frames that have one"),
    Column("whole, %", "whole_share", 1, 1, "of all frames that the camera took: shown without a hole", 100),
    Column("ideal whole, %", "ideal_share", 1, 0, "of all frames: so many could have been whole", 100),
    Column("holes, %", "holes_share", 1, 0, "of all frames: shown with parts of the picture before", 100),
    Column("skipped, %", "skipped_share", 1, -1, "of all frames: never shown, or never taken", 100),
    Column("frozen, s", "frozen_s", 1, -1, "time in intervals above 200 ms without a new picture"),
)
QUALITY_COLUMNS = (
    Column("fresh area, %", "fresh_area", 1, 1, "of all frames' area: shown, and of its own time", 100),
    Column(
        "PSNR, dB",
        "psnr_db",
        1,
        1,
        "luma of the frames shown against those taken, mean; above 40 hardly visible",
    ),
    Column("SSIM", "ssim", 3, 1, "the same as structural similarity, 1 is identical"),
    Column(
        "SSIM to loss-free",
        "ssim_loss_free",
        4,
        1,
        "the same against the picture compressed at the quality asked for",
    ),
    Column("sound p50, ms", "sound_p50_ms", 0, -1, "mouth to ear, median of the chirps that were heard"),
    Column("sound concealed, %", "sound_concealed", 1, -1, "of the 10 ms frames: invented", 100),
    Column(
        "sound after picture, ms", "sound_after_picture_ms", 0, 0, "median; below 0 the sound comes first"
    ),
    Column(
        "on the wire, kbit/s", "wire_kbps", 0, 0, "put into the link in both directions, IP headers included"
    ),
    Column(
        "CPU send, %", "sender_cpu_percent", 1, -1, "of one core; udpconf's is with its sound, TCP has none"
    ),
    Column("CPU receive, %", "receiver_cpu_percent", 1, -1, "the same at the receiver"),
)

INTRODUCTION = """\
Every picture carries its number, and every second of sound a chirp; latency is from capture to the decoded picture, on one clock.
A frame that the camera took is shown whole, shown with holes, or skipped. Dashed: the earliest instant at which any code
of the same overhead could have had the frame, from the link's own log. In each column of the table the best cell is
marked &#9650;, the worst &#9660;, over all scenarios. Upright dotted lines: the scenario's next step. Curves over time are the first run's.\
"""


class Row(NamedTuple):
    """All runs of one program and setting in one scenario."""

    scenario: str
    label: str
    runs: list[dict[str, Any]]

    def value(self, field: str) -> float | None:
        """The median over the runs that have it."""
        values = [run[field] for run in self.runs if run.get(field) is not None]
        return float(median(values)) if values else None


def write_report(results: Path, report: Path) -> None:
    """Read JSON lines, write a page. Raises ResultsError with a sentence."""
    runs = read(results)
    if not runs:
        raise ResultsError(f"There is no run with figures in {results}.")
    try:
        report.write_text(report_of(runs))
    except OSError as error:
        raise ResultsError(f"The report cannot be written to {report}: {error.strerror}.") from error


def rows_of(runs: list[dict[str, Any]]) -> list[Row]:
    """In the order of their first appearance, scenario by scenario; what is not the same has not the same name."""
    rows: dict[tuple[str, str], Row] = {}

    def several(field: str, among: Sequence[dict[str, Any]] = runs) -> bool:
        return any(run[field] != among[0][field] for run in among)

    settings = [run["setting"] for run in runs if run["program"] != "tcp"]
    for run in runs:
        scenario, setting, label = run["scenario"], run["setting"], run["program"]
        if several("title", [other for other in runs if other["scenario"] == scenario]):
            scenario += f": {run['title']}"
        if label == "tcp":
            rates = [other["setting"] for other in runs]
            label += f", {setting['kbps']} kbit/s" if several("kbps", rates) else ""
        else:
            label += f", {setting['name']}" if several("name", settings) else ""
            same = [other for other in settings if other["name"] == setting["name"]]
            label += "".join(f", {key}={setting[key]}" for key in setting if several(key, same))
        if several("seconds"):
            label += f", {run['seconds']:g} s"
        rows.setdefault((scenario, label), Row(scenario, label, [])).runs.append(run)
    scenarios = list(dict.fromkeys(scenario for scenario, _ in rows))
    return sorted(rows.values(), key=lambda row: scenarios.index(row.scenario))


def report_of(runs: list[dict[str, Any]]) -> str:
    """The page."""
    runs = [with_shares(run) for run in runs]
    rows = rows_of(runs)
    labels = list(dict.fromkeys(row.label for row in rows))
    colours = {label: COLOURS[n % len(COLOURS)] for n, label in enumerate(labels)}
    keys = "".join(f'<span class="key" style="background:{colours[k]}"></span>{escape(k)}' for k in labels)
    seeds = len({run["seed"] for run in runs})
    begun = escape(str(runs[0].get("begun", "at an unknown time")))
    lasted = " and ".join(f"{seconds:g}" for seconds in sorted({run["seconds"] for run in runs}))
    which = f"medians over {seeds} seeds" if seeds > 1 else "one seed"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Network lab</title>',
        f"<style>{STYLE}</style></head><body><h1>Network lab</h1>",
        f'<p class="faint">{len(runs)} runs of {lasted} s, begun {begun}; {which}.</p>',
        f"<p>{INTRODUCTION}</p><p>{keys}</p>",
        table(rows, DELAY_COLUMNS),
        table(rows, QUALITY_COLUMNS),
    ]
    for scenario in dict.fromkeys(row.scenario for row in rows):
        its = [row for row in rows if row.scenario == scenario]
        parts.append(
            f"<h2>{escape(scenario)}</h2><p class='faint'>{escape(its[0].runs[0]['title'])} {keys}</p>"
        )
        parts.append(f'<div class="charts">{charts(its, colours)}</div>')
    return "\n".join([*parts, "</body></html>\n"])


def with_shares(run: dict[str, Any]) -> dict[str, Any]:
    """What the table shows and the results do not name."""
    counts = {"whole": "frames_whole", "holes": "frames_with_holes", "skipped": "frames_skipped"}
    return {
        **run,
        **{f"{kind}_share": run[field] / run["frames"] for kind, field in counts.items()},
        "wire_kbps": sum(run.get(f"wire_{kind}_kbps", 0) for kind in KINDS),
    }


def table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """One row a program and scenario; the best and the worst cell of each column are marked."""
    values = {column: [row.value(column.field) for row in rows] for column in columns}
    columns = [column for column in columns if any(value is not None for value in values[column])]
    head = "".join(f"<th>{escape(column.title)}</th>" for column in columns)
    lines = [f'<tr><th class="name">scenario</th><th class="name">program</th>{head}</tr>']
    for n, row in enumerate(rows):
        first = n == 0 or rows[n - 1].scenario != row.scenario
        cells = "".join(cell(column, values[column], n) for column in columns)
        lines.append(
            f'<tr class="{"first" if first else ""}"><td class="name">{escape(row.scenario) if first else ""}</td>'
            f'<td class="name">{escape(row.label)}</td>{cells}</tr>'
        )
    meanings = "".join(
        f"<dt>{escape(column.title)}</dt><dd>{escape(column.meaning)}</dd>" for column in columns
    )
    return (
        f'<div class="wide"><table>{"".join(lines)}</table></div>'
        f"<details><summary>What the columns mean</summary><dl>{meanings}</dl></details>"
    )


def cell(column: Column, values: Sequence[float | None], n: int) -> str:
    value = values[n]
    if value is None:
        return "<td>&ndash;</td>"
    text = f"{value * column.factor:.{column.digits}f}"
    known = [v * column.better for v in values if v is not None]
    if column.better and min(known) < max(known):
        if value * column.better == max(known):
            return f'<td class="best">&#9650; {text}</td>'
        if value * column.better == min(known):
            return f'<td class="worst">&#9660; {text}</td>'
    return f"<td>{text}</td>"


def charts(rows: Sequence[Row], colours: dict[str, str]) -> str:
    """Distribution, rate, queue and quality of one scenario."""
    distributions = []
    for row in rows:
        for kind, share, dashed in (("ideal", "ideal_share", True), ("latency", None, False)):
            curve = distribution(row.runs, f"{kind}_quantiles_ms", share)
            if curve:
                distributions.append(Line(curve, colours[row.label], dashed))
    times = [point[0] for line in distributions for point in line.points]
    low, high = max(1.0, min(times, default=1.0) * 0.9), max([10.0, *times]) * 1.05
    parts = [
        chart(
            "Latency, capture to display",
            distributions,
            Axis("ms", low, max(high, low * 2), logarithmic=True),
            Axis("% of the frames", 0, 100),
        )
    ]
    for title, unit, fields, factor, top in (
        (
            "Rate: put into the link (dashed) and arrived",
            "Mbit/s",
            ("arrived_kbps", "sent_kbps"),
            0.001,
            None,
        ),
        ("Queue: the longest delay on the link", "ms", ("link_delay_ms",), 1.0, None),
        ("Quality: fresh area", "%", ("fresh_area",), 100.0, 100.0),
    ):
        lines = [
            Line(series(row.runs[0], field, factor), colours[row.label], dashed=bool(n))
            for row in rows
            for n, field in enumerate(fields)
        ]
        highest = top or round_up(
            max((v for line in lines for _, v in line.points if v is not None), default=1.0)
        )
        run = rows[0].runs[0]
        steps = run["timeline"].get("scenario_steps_s", [])
        parts.append(chart(title, lines, Axis("s", 0, run["seconds"]), Axis(unit, 0, highest), steps))
    return "".join(f"<div>{part}</div>" for part in parts)


def distribution(
    runs: list[dict[str, Any]], field: str, share: str | None
) -> list[tuple[float, float | None]]:
    """(ms, % of all frames that the camera took), so that skipped frames keep the curve below 100 %."""
    runs = [run for run in runs if run.get(field)]
    if not runs:
        return []
    part = median(run[share] if share else 1 - run["skipped_share"] for run in runs)
    quantiles = [median(values) for values in zip(*(run[field] for run in runs), strict=True)]
    return [(value, n * part) for n, value in enumerate(quantiles)]


def series(run: dict[str, Any], field: str, factor: float) -> list[tuple[float, float | None]]:
    step = run["timeline"]["step_s"]
    return [
        ((n + 0.5) * step, None if value is None else value * factor)
        for n, value in enumerate(run["timeline"][field])
    ]

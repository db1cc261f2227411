"""The file of results can be read at any time; what is none, or cannot be written, is a sentence."""

import json
from pathlib import Path

import pytest

from tools.lab import results
from tools.lab.report import write_report
from tools.lab.results import ResultsError

RUN = {"scenario": "a", "program": "tcp", "setting": {}, "seed": 1}
FIGURES = {"frames": 45, "timeline": {}, "latency_quantiles_ms": None}


def test_each_run_is_a_line_and_failed_ones_give_no_figures(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results.begin(path, keep=False)
    results.append(path, RUN | {"failed": "why"})
    results.append(path, RUN | FIGURES)
    assert results.read(path) == [RUN | FIGURES]
    results.begin(path, keep=True)
    results.append(path, RUN | FIGURES)
    assert len(results.read(path)) == 2
    results.begin(path, keep=False)
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{\n", "Line 1 .* is not JSON"),
        ("\n[1]\n", "Line 2 .* is not a result"),
        (json.dumps(RUN), "Line 1 .* lacks"),
    ],
)
def test_what_is_no_file_of_results_is_a_sentence_and_nothing_is_added_to_it(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    with pytest.raises(ResultsError, match=says):
        results.read(path)
    with pytest.raises(ResultsError, match=says):
        results.begin(path, keep=True)
    assert path.read_text() == text


def test_a_file_that_cannot_be_read_or_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"cannot be read: No such file or directory\."):
        results.read(tmp_path / "nowhere.jsonl")
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG")
    with pytest.raises(ResultsError, match="cannot be read: they are no text"):
        results.begin(picture, keep=True)
    with pytest.raises(ResultsError, match="cannot be written: Is a directory"):
        results.begin(tmp_path, keep=False)
    with pytest.raises(ResultsError, match="cannot be written: No space left on device"):
        results.append(Path("/dev/full"), RUN)


def test_no_run_with_figures_is_no_report(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(RUN | {"failed": "why"}))
    with pytest.raises(ResultsError, match="no run with figures"):
        write_report(path, tmp_path / "report.html")

"""What a scenario file says about loss, read a second time and more simply, apart from the emulator's own reader."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.emulator_figures import WAYS, Row, figure
from tools.link_expectations import chance_of_another, loss_share
from udpconf.emulation.loss import LossModel
from udpconf.emulation.scenario import Scenario


def compare_loss(file: Path, scenario: Scenario) -> Iterator[Row]:
    """The words of a file that could be read as this scenario, beside what was made of them: share and mean burst."""
    document = tomllib.loads(file.read_text("utf-8"))
    for step, table in enumerate([{}, *document.get("step", [])]):
        for way in WAYS:
            words: dict[str, Any] = {}
            for layer in (document.get("link", {}), document.get(way, {}), table, table.get(way, {})):
                # Either word takes the place of the other.
                if "loss" in layer:
                    words.pop("loss_trace", None)
                if "loss_trace" in layer:
                    words.pop("loss", None)
                    words.pop("burst", None)
                words |= layer
            model: LossModel = getattr(scenario.steps[step], way).loss
            share = _share(words, file.parent)
            yield figure(step, way, "loss % as written", share, loss_share(model), 0, scale=100)
            again = chance_of_another(model)
            if "burst" in words and 0 < share < 1 and again is not None:
                yield figure(step, way, "burst as written", float(words["burst"]), 1 / (1 - again), 0)


def _share(words: dict[str, Any], folder: Path) -> float:
    if words.get("outage"):
        return 1.0
    trace = words.get("loss_trace")
    if trace is None:
        return float(words.get("loss", "0%").strip().removesuffix("%")) / 100
    if isinstance(trace, dict):
        trace = (folder / trace["file"]).read_text("ascii")
    return float(trace.count("1") / (trace.count("0") + trace.count("1")))

"""docs/statistics.md is where people look a number up: by its whole name, as they read it in the output."""

import dataclasses
import re
from pathlib import Path

import pytest

from udpconf.proto.stats import ClientStats, SenderStats

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text()


@pytest.mark.parametrize("kind", [ClientStats, SenderStats])
def test_every_statistic_is_told_by_its_whole_name(
    kind: type[ClientStats] | type[SenderStats],
) -> None:
    table = PAGE.partition(f"## {kind.__name__}\n")[2].partition("\n## ")[0]
    told_above = PAGE.partition("\n## ")[0]  # `extra` is for later
    named = set(re.findall(r"`(\w+)`", table + told_above))
    assert {field.name for field in dataclasses.fields(kind)} <= named


def test_no_name_is_cut_short() -> None:
    assert "`…" not in PAGE

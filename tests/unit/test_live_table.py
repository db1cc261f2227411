"""The live table has as many columns as the terminal has room for."""

from udpconf.app.values import ClientStats
from udpconf.cli.live import fitting_columns
from udpconf.cli.serve_table import COLUMNS, NARROW, WIDE, table


def of(**figures: object) -> ClientStats:
    one = ClientStats(name="cam", address="192.168.100.200:54321", connected_s=1.0)
    for name, value in figures.items():
        setattr(one, name, value)
    return one


def test_columns_are_left_out_from_the_end_until_the_rest_fits() -> None:
    columns, rows = ("a", "bb", "cc", "dd"), [("aaaa", "b", "c", "ddd")]
    wanted = len("aaaa bb cc ddd")
    assert fitting_columns(columns, rows, wanted, 2) == 4
    assert fitting_columns(columns, rows, wanted - 1, 2) == 3
    assert fitting_columns(columns, rows, 1, 2) == 2, "what is not optional stays"
    assert fitting_columns(columns, [], 100, 0) == 4


def test_eighty_columns_show_how_it_goes_and_more_show_why() -> None:
    one = of(video_fps=30.0, received_kbps=3000.0, frames_by_parity=20, frames_by_repair=3, jitter_ms=4.0)
    one.frame_age_p99_ms = 45.2
    rows = table({"id": one}, {"id"}).rows
    assert fitting_columns(COLUMNS, rows, 80, len(WIDE)) == len(NARROW)
    assert fitting_columns(COLUMNS, rows, 120, len(WIDE)) == len(COLUMNS)
    assert dict(zip(WIDE, rows[0][len(NARROW) :], strict=True)) == {
        "mended": "23",
        "age ms": "45",
        "jitter ms": "4",
        "late": "0",
        "kernel": "0",
    }


def test_nobody_is_a_row_as_well() -> None:
    (row,) = table({}, ()).rows
    assert row[0] == "waiting for senders"
    assert len(row) == len(COLUMNS)

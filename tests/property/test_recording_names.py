"""No client can choose where its recording goes, by whatever name or id."""

import re
from pathlib import PurePosixPath, PureWindowsPath

from hypothesis import example, given
from hypothesis import strategies as st

from udpconf.media.recording_file import recording_name, slug

NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}-[a-z0-9_-]{1,24}(-[0-9]+)?\.mkv")
YEAR_2286_US = 10**16


@given(
    name=st.text(max_size=100),
    client_id=st.text(max_size=40),
    wall_us=st.integers(0, YEAR_2286_US),
    number=st.integers(1, 10_000),
)
@example("..", "..", 0, 1)
@example("../../etc/passwd", "../" * 20, 0, 1)
@example("C:\\CON", "CON", 0, 2)
@example("a\x00b", "\x00" * 16, 0, 1)
@example("\u202egpj.exe", "\u202e0123456789abcdef", 0, 1)
@example("😀", "😀", 0, 1)
@example("-rf", "-", 0, 1)
@example("\ud800", "\ud800", 0, 1)
@example("İ" * 30, "0123456789ABCDEF", 0, 1)
def test_a_name_is_one_harmless_part_of_a_path(name: str, client_id: str, wall_us: int, number: int) -> None:
    made = recording_name(wall_us, client_id, name, number)
    assert NAME.fullmatch(made), made
    assert PurePosixPath(made).name == made == PureWindowsPath(made).name
    assert len(made.encode()) < 80


@given(st.text())
def test_a_slug_of_a_slug_is_itself(name: str) -> None:
    assert slug(slug(name)) == slug(name)
    assert 1 <= len(slug(name)) <= 24

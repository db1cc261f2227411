"""Keys in the window select one client and change how loud it alone is heard."""

import pytest

from udpconf.cli.volumes import HIGHEST_DB, LOWEST_DB, Volume, Volumes


class Room:
    """Stands for the server and the wall."""

    def __init__(self, *tiles: str) -> None:
        self.tiles = list(tiles)
        self.heard: dict[str, float] = {}
        self.volumes = Volumes(self.heard.__setitem__, lambda: self.tiles)

    def press(self, keys: str) -> None:
        for key in keys:
            self.volumes.handle_key(key)


def test_tab_selects_one_after_the_other_then_nobody() -> None:
    room = Room("a", "b")
    selected = []
    for _ in range(4):
        room.press("\t")
        selected.append(room.volumes.selected)
    assert selected == ["a", "b", None, "a"]


def test_a_digit_selects_by_place_and_one_beyond_the_last_changes_nothing() -> None:
    room = Room("a", "b")
    room.press("2")
    assert room.volumes.selected == "b"
    assert not room.volumes.handle_key("3")
    assert room.volumes.selected == "b"


def test_x_mutes_the_selected_one_alone_and_gives_its_volume_back() -> None:
    room = Room("a", "b")
    room.press("2--x")
    assert room.heard == {"b": 0.0}
    assert room.volumes.of("b") == Volume(-6, muted=True)
    room.press("x")
    assert room.heard["b"] == pytest.approx(0.501, abs=0.001)


def test_plus_and_minus_are_3_db_within_limits() -> None:
    room = Room("a")
    room.press("1+")
    assert room.heard["a"] == pytest.approx(1.413, abs=0.001)
    room.press("=" * 20)
    assert room.volumes.of("a").decibels == HIGHEST_DB
    assert room.heard["a"] <= 4, "what Server.set_volume allows"
    room.press("-" * 40)
    assert room.volumes.of("a").decibels == LOWEST_DB


def test_nothing_happens_while_nobody_is_selected() -> None:
    room = Room("a")
    room.press("x+-")
    assert room.heard == {}
    assert not room.volumes.handle_key("")


def test_who_has_left_is_not_selected_any_more_and_tab_begins_anew() -> None:
    room = Room("a", "b")
    room.press("2")
    room.tiles.remove("b")
    assert room.volumes.selected is None
    assert not room.volumes.handle_key("x")
    room.press("\t")
    assert room.volumes.selected == "a"


def test_who_comes_back_is_heard_as_before() -> None:
    room = Room("a", "b")
    room.press("1x")
    room.heard.clear()
    room.volumes.joined("b")
    assert room.heard == {}, "as it came"
    room.volumes.joined("a")
    assert room.heard == {"a": 0.0}
